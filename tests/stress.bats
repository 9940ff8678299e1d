#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The short form of `make stress`.

# shellcheck disable=SC2154 # `run` sets output and lines

load test_helper

@test "processes killed at any moment lose no port, leave no range, share nothing, hang nobody" {
	run "$BATS_TEST_DIRNAME/stress/run.sh" 16
	echo "$output"
	[ "$status" -eq 0 ]
	[[ ${lines[-1]} =~ ^([0-9]+)\ kills,.*\ 0\ lost,\ 0\ out\ of\ range,\ 0\ shared,\ 0\ hangs,\ 0\ wrong$ ]]
	[ "${BASH_REMATCH[1]}" -ge 200 ]
}
