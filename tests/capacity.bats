#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# How much a pool holds: one connection for each of its ports, to each destination.

load test_helper

setup()
{
	world_new
	sink_start
}

teardown()
{
	world_end
}

# The pool's connections as ss sees them are COUNT, all in the pool, all different.
assert_connections()
{
	local lo=${1%-*} hi=${1#*-} pairs=$BATS_TEST_TMPDIR/pairs
	tcp_pairs state established "sport >= :$lo and sport <= :$hi and dport = :8080" >"$pairs"
	echo "$(wc -l <"$pairs") connections"
	[ "$(wc -l <"$pairs")" -eq "$2" ]
	[ -z "$(sort "$pairs" | uniq -d)" ]
}

@test "1,000 ports claimed late hold 3,000 connections to 3 destinations" {
	fence_in_background "$LATE_POOL" "$PROBE/full" 1000 8080 127.0.0.1 127.0.0.2 127.0.0.3
	wait_for_line '^after a close' 60
	assert_log '1000 to 127.0.0.1
1000 to 127.0.0.2
1000 to 127.0.0.3
one more: EADDRNOTAVAIL
at once
after a close: connected'
	assert_connections "$LATE_POOL" 3000
	[ "$(status_of CLAIM)" = late ]
}

@test "1,000 ports claimed by bind hold 3,000 connections to 3 destinations" {
	fence_in_background "$BIND_POOL" "$PROBE/full" 1000 8080 127.0.0.1 127.0.0.2 127.0.0.3
	wait_for_line '^after a close' 60
	assert_log '1000 to 127.0.0.1
1000 to 127.0.0.2
1000 to 127.0.0.3
one more: EADDRNOTAVAIL
at once
after a close: connected'
	assert_connections "$BIND_POOL" 3000
	[ "$(status_of CLAIM)" = bind ]
}

# Eight wrapped processes with 500 connections each, on one pool, and what the command says of them.
assert_eight_share()
{
	local pool=$1 pid
	local -a pids=() logs=()
	for _ in 1 2 3 4 5 6 7 8; do
		fence_in_background "$pool" "$PROBE/hold" 500 8080 127.0.0.{1..8}
		pids+=("$PID") logs+=("$LOG")
	done
	for LOG in "${logs[@]}"; do
		wait_for_line ' held' 60
		assert_log '500 held'
	done
	assert_connections "$pool" 4000
	[ "$(net "$PORTFENCE" ls | wc -l)" -eq 4001 ]
	for pid in "${pids[@]}"; do
		companion_end "$pid" "$2"
	done
	[ "$(status_of LEASED)" -eq 0 ]
}

@test "eight processes share a late pool of 1,000 ports, 4,000 connections, and give all back" {
	assert_eight_share "$LATE_POOL" TERM
}

@test "eight processes share a bind pool of 1,000 ports, 4,000 connections, and give all back" {
	assert_eight_share "$BIND_POOL" TERM
}

@test "what SIGKILL left behind is capacity again (trap 18)" {
	for pool in 20000-20099 40000-40099; do
		fence_in_background "$pool" "$PROBE/hold" 100 8080 127.0.0.1
		wait_for_line '^100 held$'
		companion_end "$PID" KILL
		fence_in_background "$pool" "$PROBE/hold" 100 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '100 held'
		companion_end "$PID" KILL
	done
}

@test "what SIGKILL left behind is capacity again for many threads at once (trap 18)" {
	# Pools of their own: what the threads close is in the kernel's hands for a while.
	for pool in 20000-20099 20100-20199 20200-20299 40000-40099 40100-40199 40200-40299; do
		fence_in_background "$pool" "$PROBE/hold" 100 8080 127.0.0.1
		wait_for_line '^100 held$'
		companion_end "$PID" KILL
		run --separate-stderr fence "$pool" "$PROBE/threads" 32 50 8080
		echo "$pool: $output"
		[ "${lines[0]}" = '1600 connected, 0 failed' ]
	done
}

@test "short connections are refused no more often than the kernel's own range refuses them" {
	net sysctl -qw net.ipv4.ip_local_port_range='50000 50999'
	bare=$(net "$PROBE/churn" 5000 8080)
	net sysctl -qw net.ipv4.ip_local_port_range='32768 60999'
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wrapped=$(fence "$pool" "$PROBE/churn" 5000 8080)
		echo "bare: $bare; $pool: $wrapped"
		# The kernel's own number varies by the second in which TIME_WAIT may be reused.
		[ "${wrapped% *}" -le $((${bare% *} + 500)) ]
	done
}

@test "every port that SIGKILL left behind is free after portfence gc (trap 18)" {
	fence_in_background "$BIND_POOL" "$PROBE/hold" 500 8080 127.0.0.1
	wait_for_line '^500 held$'
	companion_end "$PID" KILL
	net "$PORTFENCE" gc
	[ "$(status_of LEASED)" -eq 0 ]
}

@test "UDP and listening sockets take every port of the pool once" {
	for pool in 20000-20009 40000-40009; do
		for kind in udp tcp; do
			fence_in_background "$pool" "$PROBE/bindmany" "$kind" 11
			wait_for_line ' bound'
			assert_log '10 bound, then EADDRINUSE'
			companion_end "$PID"
		done
	done
}

@test "sockets with SO_REUSEADDR and SO_REUSEPORT take every port of the pool once (trap 13c)" {
	for pool in 20000-20009 40000-40009; do
		for kind in udp tcp; do
			fence_in_background "$pool" "$PROBE/bindmany" "$kind" 11 reuse
			wait_for_line ' bound'
			assert_log '10 bound, then EADDRINUSE'
			companion_end "$PID"
		done
	done
}

@test "an intruder on ports of the pool costs those ports and nothing else (trap 30)" {
	for port in 20001 20002 40001 40002; do
		serve "$PROBE/sink" "$port"
		wait_for 5 listening "$port"
	done
	for pool in 20000-20009 40000-40009; do
		fence_in_background "$pool" "$PROBE/hold" 9 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '8 held, then EADDRNOTAVAIL'
	done
}

@test "a wrapped server on a port of the pool costs that port and nothing else (trap 29)" {
	for pool in 20000-20003 40000-40003; do
		serve_on "${pool%-*}" "$PORTFENCE" run --ports "$pool" -- "$PROBE/sink" "${pool%-*}"
		for kind in tcp udp; do
			fence_in_background "$pool" "$PROBE/bindmany" $kind 4
			wait_for_line ' bound'
			assert_log '3 bound, then EADDRINUSE'
			companion_end "$PID"
			net "$PORTFENCE" gc # a reap of the shim's own may have been moments ago
		done
		fence_in_background "$pool" "$PROBE/hold" 4 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '3 held, then EADDRNOTAVAIL'
		companion_end "$PID"
		net "$PORTFENCE" gc # a reap of the shim's own may have been moments ago
		# Itself a client of its own server.
		run fence "$pool" "$PROBE/itself" 127.0.0.1 "${pool%-*}" 2
		[ "$output" = 'refused 0, connected 2, other 0' ]
	done
}

@test "strangers that fill what is left of a pool are found out, not met again and again (trap 30)" {
	local pool=40000-40099
	net sysctl -qw net.ipv4.ip_local_port_range='40000 40099'
	fence "$pool" "$PROBE/bindzero" udp 127.0.0.1
	serve "$PROBE/hold" 60 8080 127.0.0.1
	wait_for_line '^60 held$'
	fence_in_background "$pool" "$PROBE/hold" 40 8080 127.0.0.1
	wait_for_line '^[0-9]+ held'
	run fence "$pool" "$PROBE/churn" 300 8080
	[ "$output" = '300 refused' ]
	status_of REFUSED
	[ "$(status_of REFUSED)" -le 200 ]
}

@test "intruders that come to a living pool are marked, counted, and none is met twice (trap 30)" {
	for pool in 20000-20009 40000-40009; do
		fence "$pool" "$PROBE/bindzero" udp 127.0.0.1
		for port in 2 3 4; do
			serve "$PROBE/sink" $((${pool%-*} + port))
			wait_for 5 listening $((${pool%-*} + port))
		done
		for call in 'hold 8 8080 127.0.0.1' 'bindmany udp 8' 'bindmany tcp 8'; do
			# shellcheck disable=SC2086 # a probe and its arguments
			fence_in_background "$pool" "$PROBE"/$call
			wait_for_line '^7 .*, then' # one more asks for the intruders' ports, too
			companion_end "$PID" KILL
			net "$PORTFENCE" gc
		done
		refused=$(status_of REFUSED)
		[ "$refused" -gt 0 ]
		fence "$pool" "$PROBE/bindzero" udp 127.0.0.1
		[ "$(status_of REFUSED)" -eq "$refused" ]
		rm "$PORTFENCE_DIR"/*
	done
}
