#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Sockets that pass from process to process: by fork, vfork, exec, and in messages.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

load test_helper

setup()
{
	world_new
	sink_start 8080
	export PYTHONPATH=$BATS_TEST_DIRNAME/probe PYTHONDONTWRITEBYTECODE=1
}

teardown()
{
	world_end
}

# The pool gave out no port that a socket had, and none is leased any more.
assert_no_port_given_twice()
{
	[ "$(status_of REFUSED)" -eq 0 ]
	[ "$(status_of LEASED)" -eq 0 ]
}

@test "a vforked child does what it likes with its copies: the parent's map survives (trap 15)" {
	for pool in 20000 40000; do
		run fence "$pool" "$PROBE/borrow" 8080 vfork
		echo "$output"
		[ "$output" = 'all 8 held' ]
		assert_no_port_given_twice
	done
}

@test "a child forked past libc does what it likes with its copies (trap 14)" {
	for pool in 20000 40000; do
		run fence "$pool" "$PROBE/borrow" 8080 clone
		echo "$output"
		[ "$output" = 'all 8 held' ]
		assert_no_port_given_twice
	done
}
