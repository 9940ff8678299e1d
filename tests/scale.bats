#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Many connections, many processes: nothing is lost, nothing is refused, nothing grows.
# How long it takes is measured in bench/.

load test_helper

# 60,000 ports, and the server's is none of them.
MANY=2000-61999

setup()
{
	world_new
	net sysctl -qw net.core.somaxconn=65535
	# The connections that nobody accepts wait in the server's queue, and cost it no descriptor.
	serve_on 1080 /usr/bin/python3 -c '
import signal, socket
listener = socket.create_server(("127.0.0.1", 1080), backlog=65535)
signal.pause()'
}

teardown()
{
	world_end
}

# Opens COUNT connections in each of PROCESSES processes: hold_in PROCESSES COUNT RANGES
hold_in()
{
	local i
	HOLDERS=()
	LOGS=()
	for ((i = 0; i < $1; i++)); do
		fence_in_background "$3" "$PROBE/hold" "$2" 1080 127.0.0.1
		HOLDERS+=("$PID")
		LOGS+=("$LOG")
	done
	for LOG in "${LOGS[@]}"; do
		wait_for_line "^$2 held$" 120
	done
}

# Ends them all, and does not ask what becomes of their ports.
holders_end()
{
	local pid
	kill -KILL "${HOLDERS[@]}"
	for pid in "${HOLDERS[@]}"; do
		companion_end "$pid"
	done
}

# Four processes take all ports of a pool for one destination, under this ip_local_port_range.
assert_60000()
{
	net sysctl -qw net.ipv4.ip_local_port_range="$1"
	hold_in 4 15000 $MANY
	tcp_local_ports 'dport = 1080' | sort -u >"$BATS_TEST_TMPDIR/ports"
	assert_ports_in $MANY <"$BATS_TEST_TMPDIR/ports"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/ports")" -eq 60000 ]
	[ "$(status_of LEASED)" -eq 60000 ]
	[ "$(fence $MANY "$PROBE/churn" 1 1080)" = '1 refused' ]
	holders_end
	net "$PORTFENCE" gc
	[ "$(status_of LEASED)" -eq 0 ]
}

@test "60,000 connections go to one destination from a pool of as many ports, late claim" {
	assert_60000 '1024 65535'
}

@test "60,000 connections go to one destination from a pool of as many ports, bind claim" {
	assert_60000 '62000 65535'
}

@test "two hundred processes share a pool to its last port" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		hold_in 200 5 "$pool"
		[ "$(tcp_local_ports 'dport = 1080' | sort -u | tee "$BATS_TEST_TMPDIR/ports" | wc -l)" -eq 1000 ]
		assert_ports_in "$pool" <"$BATS_TEST_TMPDIR/ports"
		[ "$(status_of LEASED)" -eq 1000 ]
		holders_end
		net "$PORTFENCE" gc
		[ "$(status_of LEASED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

# Prints how many dumps strace saw a process ask for, and the milliseconds from the first to the last.
dumps_of()
{
	awk '/AF_NETLINK/ { count++; last = $2; if (!first) first = $2 }
		END { printf "%d %d\n", count, (last - first) * 1000 }' "$1"
}

# A storm of refused connections in a pool that COUNT connections in each of PROCESSES fill reaps once
# in 100 ms, and not more: assert_reaps_seldom PROCESSES COUNT RANGES
assert_reaps_seldom()
{
	local trace=$BATS_TEST_TMPDIR/trace one storm took
	hold_in "$1" "$2" "$3"
	WATCHER="strace -f -ttt -e trace=socket -o $trace" fence "$3" "$PROBE/churn" 1 1080
	read -r one took < <(dumps_of "$trace")
	[ "$one" -gt 0 ]
	WATCHER="strace -f -ttt -e trace=socket -o $trace" fence "$3" "$PROBE/churn" 3000 1080
	read -r storm took < <(dumps_of "$trace")
	echo "$one for one refusal, $storm for 3,000, within $took ms"
	[ "$storm" -le $((one * (took / 100 + 1))) ]
	[ "$(status_of LEASED)" -eq $(($1 * $2)) ]
}

@test "a storm of refused connections reaps once in 100 ms, and not more, among 1,000" {
	assert_reaps_seldom 2 500 "$LATE_POOL"
}

@test "a storm of refused connections reaps once in 100 ms, and not more, among 50,000" {
	net sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
	assert_reaps_seldom 4 12500 10000-59999
}
