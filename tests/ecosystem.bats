#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Beside other preloaded libraries: allocators, a false clock, a proxy, a sanitizer's runtime.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

load test_helper

setup()
{
	world_new
	sink_start 8080
	cd "$BATS_TEST_TMPDIR" || return
}

teardown()
{
	world_end
}

# Prints where a preloaded library is.
library()
{
	find /usr/lib /usr/lib64 -name "$1" -print -quit | grep .
}

# Runs a command with the fence and another library preloaded, in both orders and with each claim;
# the ports it prints must be in the pool: assert_beside LIBRARY COMMAND...
assert_beside()
{
	local library=$1 pool order
	shift
	for pool in 20000-20127 40000-40127; do
		for order in "$SHIM:$library" "$library:$SHIM"; do
			run --separate-stderr net env LD_PRELOAD="$order" PORTFENCE_PORTS="$pool" timeout 30 "$@"
			echo "$order: $output $stderr"
			[ "$status" -eq 0 ]
			[ -z "$stderr" ]
			grep -Ex '[0-9]+' <<<"$output" | assert_ports_in "$pool"
			wait_for 5 no_lease_left
		done
		rm "$PORTFENCE_DIR"/*
	done
}

# 16 threads have their connections, and so has Python.
assert_at_home_beside()
{
	assert_beside "$1" "$PROBE/threads" 16 50 8080
	assert_beside "$1" /usr/bin/python3 -c 'if True:
		import os, socket, threading
		def dial():
		    port = socket.create_connection(("127.0.0.1", 8080)).getsockname()[1]
		    os.write(1, f"{port}\n".encode())
		threads = [threading.Thread(target=dial) for _ in range(8)]
		for each in threads: each.start()
		for each in threads: each.join()'
}

@test "jemalloc, before the fence and after it (traps 13e, 26)" {
	assert_at_home_beside "$(library libjemalloc.so.2)"
}

@test "tcmalloc, before the fence and after it (trap 26)" {
	assert_at_home_beside "$(library libtcmalloc_minimal.so.4)"
}

@test "libfaketime, before the fence and after it, whatever time it says (traps 25, 26)" {
	for FAKETIME in -10y +10y '+0 x1000' '-20y x0.001' '@2000-01-01 00:00:00'; do
		export FAKETIME
		assert_beside "$(library libfaketimeMT.so.1)" "$PROBE/threads" 4 50 8080
	done
}

@test "a clock that steps while a program runs, to and fro (traps 25, 26)" {
	export FAKETIME_TIMESTAMP_FILE=$BATS_TEST_TMPDIR/time FAKETIME_NO_CACHE=1
	echo +0 >"$FAKETIME_TIMESTAMP_FILE"
	for pool in 20000-20031 40000-40031; do
		for order in "$SHIM:$(library libfaketimeMT.so.1)" "$(library libfaketimeMT.so.1):$SHIM"; do
			run net env LD_PRELOAD="$order" PORTFENCE_PORTS="$pool" \
				PYTHONPATH="$BATS_TEST_DIRNAME/probe" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'if True:
				from sockets import *
				for step in "+0", "-10y", "+10y", "+1d", "-1d", "+0":
				    with open("next", "w") as file: file.write(step)
				    os.rename("next", "time")
				    assert (time.gmtime().tm_year < 2020) == (step == "-10y")
				    assert refusals([lambda: dial(8080)] * 32) == 0, step
				    errors.add(99)
				    assert refusals([lambda: dial(8080)]) == 1
				    assert where(*kept) == "inside"
				    kept.clear()
				print("all stood")'
			echo "$order: $output"
			[ "$output" = 'all stood' ]
			rm "$PORTFENCE_DIR"/*
		done
	done
}

@test "proxychains in front of the fence: its connections to the proxy are of the pool (trap 26)" {
	serve_on 1080 microsocks -i 127.0.0.1 -p 1080
	printf '%s\n' strict_chain quiet_mode '[ProxyList]' 'socks5 127.0.0.1 1080' >proxychains.conf
	export PROXYCHAINS_CONF_FILE=$PWD/proxychains.conf
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		net env LD_PRELOAD="$(library libproxychains.so.4)" "$PORTFENCE" run --ports "$pool" \
			/usr/bin/python3 -c 'if True:
			import socket
			for _ in range(5): socket.create_connection(("127.0.0.1", 8080)).close()'
		wire_end
		awk '$1 == "tcp" && $3 == 1080 { print $2 }' "$WIRE" >sources
		[ "$(sort -u sources | wc -l)" -eq 5 ]
		assert_ports_in "$pool" <sources
		awk '$1 == "tcp" && $3 == 8080' "$WIRE" | grep -q .
		wait_for 5 no_lease_left
	done
}

@test "a program built with the address sanitizer is at home in the fence (trap 26)" {
	export ASAN_OPTIONS=detect_leaks=0
	for each in threads signals; do
		gcc -D_GNU_SOURCE -g -pthread -fsanitize=address -o $each-shared \
			"$BATS_TEST_DIRNAME/probe/$each.c"
		gcc -D_GNU_SOURCE -g -pthread -fsanitize=address -static-libasan -o $each-static \
			"$BATS_TEST_DIRNAME/probe/$each.c"
	done
	for pool in 20000-20127 40000-40127; do
		for way in shared:"$(gcc -print-file-name=libasan.so):$SHIM" static:"$SHIM"; do
			net env LD_PRELOAD="${way#*:}" PORTFENCE_PORTS="$pool" ./threads-"${way%%:*}" 8 50 8080 >log
			grep -q '^400 connected, 0 failed$' log
			tail -n +2 log | assert_ports_in "$pool"
			run net env LD_PRELOAD="${way#*:}" PORTFENCE_PORTS="$pool" \
				./signals-"${way%%:*}" 8080 "${pool%-*}" "${pool#*-}"
			[ "$output" = '0 failed, 0 strays' ]
		done
	done
}
