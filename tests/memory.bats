#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The fence makes no invalid access: valgrind and the undefined-behaviour sanitizer watch it.

load test_helper

setup_file()
{
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$ROOT" SAN=undefined B="$B-undefined" \
		"$B-undefined/libportfence.so" 3>&-
}

setup()
{
	world_new
	sink_start 8080 mptcp
}

teardown()
{
	world_end
}

# Runs a probe in the fence under valgrind, with each claim: no error.
assert_valgrind_clean()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run fence "$pool" valgrind -q --error-exitcode=9 --leak-check=no "$PROBE/$1" "${@:2}"
		echo "$output"
		[ "$status" -eq 0 ]
	done
}

# Runs a probe with the sanitized library, with each claim: no complaint, and its own exit status.
assert_ubsan_clean()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		SHIM="$B-undefined/libportfence.so"
		[ -e "$SHIM" ]
		run preload "$pool" "$PROBE/$1" "${@:2}"
		echo "$output"
		[ "$status" -eq 0 ]
		[[ $output != *'runtime error'* ]]
	done
}

# Calls a checker with every probe that ends by itself.
each_probe()
{
	local address
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		"$1" dial tcp "$address" 8080
	done
	"$1" dial mptcp 127.0.0.1 8080 nonblock
	"$1" dial udp ::1 8080
	"$1" bindzero tcp :: reuseaddr
	"$1" bindzero udp 127.0.0.1
	"$1" autolisten 6
	"$1" udpsend sendto 127.0.0.1 8080
	"$1" udpsend sendmsg ::1 8080
	"$1" udpsend sendmmsg 127.0.0.1 8080
	"$1" fastopen sendto 127.0.0.1 8080
	"$1" noport 127.0.0.1 8080
	"$1" explicit udp 127.0.0.1 5001 8080
	"$1" refused 9 8080
	"$1" reconnect tcp 8080 unspec
	"$1" reconnect udp 8080 direct
	"$1" threads 8 20 8080
}

@test "valgrind finds no error in any call" {
	each_probe assert_valgrind_clean
}

@test "valgrind finds no error in an exhausted pool" {
	run fence 20000-20003 valgrind -q --error-exitcode=9 --leak-check=no \
		"$PROBE/itself" 127.0.0.1 20000 20
	[ "$status" -eq 0 ]
	run fence 20000-20003 valgrind -q --error-exitcode=9 --leak-check=no "$PROBE/threads" 16 10 8080
	[ "$status" -eq 0 ]
}

@test "the undefined-behaviour sanitizer finds nothing in any call" {
	each_probe assert_ubsan_clean
	assert_ubsan_clean answers 8080
	assert_ubsan_clean options
}

@test "the undefined-behaviour sanitizer finds nothing in pools of every shape" {
	SHIM="$B-undefined/libportfence.so"
	for pool in 1-65535 65535 1 20000 20000-20004,21000-21004 20001-20065 32700-32799; do
		run preload "$pool" "$PROBE/threads" 8 20 8080
		echo "$output"
		[[ $output == *connected* && $output != *'runtime error'* ]]
	done
}

@test "the undefined-behaviour sanitizer finds nothing in a spoilt segment" {
	SHIM="$B-undefined/libportfence.so"
	run preload "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	name=$(echo "$PORTFENCE_DIR"/portfence.*)
	size=$(stat -c %s "$name")
	for offset in 0 1024 4096; do
		head -c $((size - offset)) /dev/urandom |
			dd of="$name" bs=64k seek="$offset" oflag=seek_bytes conv=notrunc status=none
		run preload "$BIND_POOL" "$PROBE/threads" 4 20 8080
		echo "$output"
		[[ $output == *connected* && $output != *'runtime error'* ]]
	done
}
