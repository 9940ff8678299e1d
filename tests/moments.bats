#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Calls at odd moments: before main and after it, in signal handlers, on small stacks and cancelled
# threads, inside malloc; and calls whose descriptor changes hands while they are under way.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

load test_helper

setup()
{
	world_new
	sink_start 8080
}

teardown()
{
	world_end
}

# The last words of the lines of standard input are ports of the pool, on COUNT lines.
assert_moments_in()
{
	tee "$BATS_TEST_TMPDIR/moments"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/moments")" -eq "$2" ]
	sed 's/.* //' "$BATS_TEST_TMPDIR/moments" | assert_ports_in "$1"
}

@test "connects before main, after it, and at the end of threads leave from the pool (trap 2)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		preload "$pool" "$PROBE/moments" 2>&1 | assert_moments_in "$pool" 7
		[ "$(status_of LEASED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "another library's constructor, exit handler and destructor connect from the pool (trap 2)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for order in "$SHIM:$PRELOAD/early.so" "$PRELOAD/early.so:$SHIM"; do
			net env LD_PRELOAD="$order" PORTFENCE_PORTS="$pool" true 2>&1 | assert_moments_in "$pool" 3
		done
	done
}

@test "a signal handler that makes every call in the midst of every call fails none (trap 2)" {
	for pool in 20000-20063 40000-40063; do
		run fence "$pool" "$PROBE/signals" 8080 "${pool%-*}" "${pool#*-}"
		echo "$output"
		[ "$output" = '0 failed, 0 strays' ]
		[ "$(status_of LEASED)" -eq 0 ]
		[ "$(status_of EXHAUSTED)" -eq 0 ]
	done
}

@test "every call is at home on a thread stack of 16 KiB, the first of a process too (trap 2)" {
	calls="socket connect connect-udp bind listen sendto sendmsg sendmmsg fastopen close close_range
		closefrom dup dup2 dup3 fcntl fclose setns unshare fork"
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for call in $calls; do
			bare=$(net "$PROBE/smallstack" 8080 "$call")
			run --separate-stderr preload "$pool" "$PROBE/smallstack" 8080 "$call"
			echo "$output; without a fence: $bare"
			[ "${output%,*}" = "${bare%,*}" ]
			# A signal handler must fit in, too.
			[[ $output =~ \ ([0-9]+)\ bytes ]]
			[ "${BASH_REMATCH[1]}" -lt 12288 ]
			rm -f "$PORTFENCE_DIR"/*
		done
	done
}

@test "exhaustion, a reap and a line on stderr fit on a stack of 16 KiB (trap 2)" {
	for pool in 20000 40000; do
		serve "$PROBE/sink" "$pool"
		wait_for 5 listening "$pool"
		for call in connect bind listen sendto sendmmsg fastopen; do
			PORTFENCE_DIR=$BATS_TEST_TMPDIR/$(printf '%0200d' 0) \
				run --separate-stderr preload "$pool" "$PROBE/smallstack" 8080 "$call"
			echo "$output"
			[[ $output =~ :\ -[0-9]+,\ ([0-9]+)\ bytes ]]
			[ "${BASH_REMATCH[1]}" -lt 12288 ]
			assert_one_line
		done
	done
}

@test "cancellation points are cancellation points, and other calls are none (traps 2, 4)" {
	net "$PROBE/cancel" 127.0.0.1 8080 >"$BATS_TEST_TMPDIR/bare"
	[ "$(grep -c cancelled "$BATS_TEST_TMPDIR/bare")" -eq 5 ]
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence "$pool" "$PROBE/cancel" 127.0.0.1 8080 >"$BATS_TEST_TMPDIR/wrapped"
		diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
		[ "$(status_of LEASED)" -eq 0 ]
	done
}

@test "threads cancelled while they wait in connect lose no port (trap 2)" {
	netns_add_silence
	for pool in 20000-20063 40000-40063; do
		run fence "$pool" "$PROBE/cancel" 10.99.0.2 80 60
		[ "$output" = '60 cancelled' ]
		[ "$(status_of LEASED)" -eq 0 ]
		fence_in_background "$pool" "$PROBE/hold" 64 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '64 held'
		rm "$PORTFENCE_DIR"/*
	done
}

@test "an allocator and a dlsym that call the fence back get on with it (trap 3)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for order in "$SHIM:$PRELOAD/callback.so" "$PRELOAD/callback.so:$SHIM"; do
			net env LD_PRELOAD="$order" PORTFENCE_PORTS="$pool" timeout 20 "$PROBE/moments" |
				assert_moments_in "$pool" 7
			net env LD_PRELOAD="$order" PORTFENCE_PORTS="$pool" timeout 20 \
				"$PROBE/threads" 8 50 8080 >"$BATS_TEST_TMPDIR/threads"
			grep -q '^400 connected, 0 failed$' "$BATS_TEST_TMPDIR/threads"
		done
	done
}

# --- hands that change ------------------------------------------------------------------------

@test "a descriptor that gets a new socket during a call keeps that socket's lease (trap 8)" {
	for pool in 20000-20003 40000-40003; do
		for scene in close close_range dup2 dup2-fails connect bind; do
			run --separate-stderr env LD_PRELOAD="$PRELOAD/between.so" \
				nsenter --net="/run/netns/$NETNS" -- \
				"$PORTFENCE" run --ports "$pool" -- "$PROBE/races" 8080 $scene
			echo "$output $stderr"
			[ "$output" = "$scene: 3 more" ]
			# No port was taken for free that a socket had.
			[ "$(status_of REFUSED)" -eq 0 ]
			rm "$PORTFENCE_DIR"/*
		done
	done
}

# One port, used again and again within milliseconds: no reap could give it back in time.
@test "a close that fails with EINTR or EIO has closed, and gives the port back (trap 7)" {
	for pool in 20000-20000 40000-40000; do
		LD_PRELOAD=$PRELOAD/between.so run --separate-stderr fence "$pool" \
			env PYTHONPATH="$BATS_TEST_DIRNAME/probe" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c '
from sockets import *
import errno
failure = ctypes.c_int.in_dll(libc, "between_close_error")
for error in errno.EINTR, errno.EIO:
    for _ in range(20):
        fd = dial(8080).detach()
        failure.value = error
        result = libc.close(fd), ctypes.get_errno()
        failure.value = 0
        assert result == (-1, error), result
print("given back each time")'
		echo "$output $stderr"
		[ "$output" = 'given back each time' ]
	done
}
