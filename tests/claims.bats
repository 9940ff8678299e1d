#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Pools in every position to ip_local_port_range and ip_local_reserved_ports, and of every shape.

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

# Every way to get a port gives one of the pool, and the pool has the claim: RANGES late|bind
assert_every_call_in()
{
	local ranges=$1 address
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		assert_prints_port_in "$ranges" dial tcp "$address" 8080
		assert_prints_port_in "$ranges" dial udp "$address" 8080
		assert_prints_port_in "$ranges" udpsend sendto "$address" 8080
		assert_prints_port_in "$ranges" bindzero tcp "$address"
		assert_prints_port_in "$ranges" bindzero udp "$address"
	done
	assert_prints_port_in "$ranges" autolisten 4
	assert_prints_port_in "$ranges" autolisten 6
	[ "$(status_of CLAIM)" = "$2" ]
}

@test "a pool outside ip_local_port_range is claimed by bind" {
	assert_every_call_in 20000-20999 bind
}

@test "a pool inside ip_local_port_range is claimed late" {
	assert_every_call_in 40000-40999 late
}

@test "a pool inside ip_local_port_range but reserved is claimed by bind" {
	net sysctl -qw net.ipv4.ip_local_reserved_ports=40000-40999
	assert_every_call_in 40000-40999 bind
}

@test "a pool that is reserved in part stays in its range" {
	net sysctl -qw net.ipv4.ip_local_reserved_ports=40000-40499
	assert_every_call_in 40000-40999 bind
}

@test "a pool that straddles an end of ip_local_port_range stays in its range" {
	assert_every_call_in 32700-32799 bind
	rm "$PORTFENCE_DIR"/*
	assert_every_call_in 60990-61009 bind
}

@test "a pool that is the whole of ip_local_port_range is claimed late" {
	net sysctl -qw net.ipv4.ip_local_port_range='40000 40999'
	assert_every_call_in 40000-40999 late
}

@test "ip_local_port_range may move away from a living pool" {
	assert_prints_port_in 40000-40999 dial tcp 127.0.0.1 8080
	net sysctl -qw net.ipv4.ip_local_port_range='50000 59999'
	assert_prints_port_in 40000-40999 dial tcp 127.0.0.1 8080
	assert_prints_port_in 40000-40999 bindzero udp 127.0.0.1
	assert_prints_port_in 40000-40999 udpsend sendto 127.0.0.1 8080
}

@test "a range of one port is that port (trap 29)" {
	for port in 20000 40000; do
		assert_prints_port_in "$port" dial udp 127.0.0.1 8080
		assert_prints_port_in "$port-$port" bindzero tcp 127.0.0.1
		fence_in_background "$port" "$PROBE/hold" 3 8080 127.0.0.1 127.0.0.2 127.0.0.1
		wait_for_line ' held'
		assert_log '2 held, then EADDRNOTAVAIL'
		companion_end "$PID"
	done
}

@test "pools of odd and even size give out every port (trap 29)" {
	for pool in 20001-20005 20000-20005 20000-20004 40001-40005 40000-40005 40000-40004; do
		size=$((${pool#*-} - ${pool%-*} + 1))
		fence_in_background "$pool" "$PROBE/hold" 20 8080 127.0.0.1
		wait_for_line ' held'
		assert_log "$size held, then EADDRNOTAVAIL"
		companion_end "$PID"
		rm "$PORTFENCE_DIR"/*
		fence_in_background "$pool" "$PROBE/bindmany" tcp 20
		wait_for_line ' bound'
		assert_log "$size bound, then EADDRINUSE"
		companion_end "$PID"
	done
}

@test "two ranges are one pool, and every port of both is given out" {
	for pool in 20000-20004,21000-21004 40000-40004,41000-41004 40000-40004,20000-20004; do
		fence_in_background "$pool" "$PROBE/hold" 11 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '10 held, then EADDRNOTAVAIL'
		ports=$(tcp_local_ports state established 'dport = :8080')
		assert_ports_in "$pool" <<<"$ports"
		[ "$(sort -u <<<"$ports" | wc -l)" -eq 10 ]
		companion_end "$PID"
	done
}

@test "a pool of two ranges serves every call" {
	assert_every_call_in 20000-20004,21000-21004 bind
}

@test "a pool that is partly inside ip_local_port_range serves every call" {
	assert_every_call_in 40000-40004,20000-20004 bind
}

@test "threads find ports in pools of every shape" {
	for pool in 1-65535 65535 1 20000 20000-20004,21000-21004 20001-20065 32700-32799; do
		run --separate-stderr preload "$pool" "$PROBE/threads" 8 20 8080
		echo "$pool: $status $output"
		[ "$status" -eq 0 ]
		[[ ${lines[0]} =~ ^[1-9][0-9]*\ connected ]]
		printf '%s\n' "${lines[@]:1}" | assert_ports_in "$pool"
	done
}

@test "ports below 1024 are refused without privilege, at once, as the kernel refuses them (trap 29)" {
	run net setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all \
		"$PORTFENCE" run --ports 600-699 -- "$PROBE/dial" tcp 127.0.0.1 8080
	echo "$output"
	[ "${lines[-1]}" = EACCES ]
	run net setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all \
		strace -f -qq -e trace=bind -o "$PORTFENCE_DIR/calls" \
		env LD_PRELOAD="$SHIM" PORTFENCE_PORTS=600-699 "$PROBE/bindzero" udp 127.0.0.1
	[ "$status" -ne 0 ]
	[ "$(grep -c EACCES "$PORTFENCE_DIR/calls")" -eq 1 ]
}

@test "a kernel that gives no random numbers gives ports all the same" {
	for pool in 20000-20099 40000-40099; do
		run net strace -f -qq -o /dev/null -e trace=getrandom -e inject=getrandom:error=ENOSYS \
			"$PORTFENCE" run --ports "$pool" -- "$PROBE/threads" 8 20 8080
		echo "$output"
		[ "${lines[0]}" = '160 connected, 0 failed' ]
		printf '%s\n' "${lines[@]:1}" | assert_ports_in "$pool"
		[ "${lines[1]}" -ne "${lines[2]}" ]
	done
}

@test "a new pool's first ports are nowhere near each other" {
	for _ in 1 2 3 4 5 6; do
		fence 20000-20999 "$PROBE/dial" tcp 127.0.0.1 8080
		rm "$PORTFENCE_DIR"/*
	done >"$BATS_TEST_TMPDIR/ports"
	[ "$(sort -u "$BATS_TEST_TMPDIR/ports" | wc -l)" -gt 3 ]
}

@test "connects of one program stay in a window for a while, in no order; another's are elsewhere" {
	local who connects='import socket
for _ in range(200):
    with socket.create_connection(("127.0.0.1", 8080)) as connection:
        print(connection.getsockname()[1])'
	for who in one another; do
		fence 33000-60999 python3 -c "$connects" >"$BATS_TEST_TMPDIR/$who"
		assert_ports_in 33000-60999 <"$BATS_TEST_TMPDIR/$who"
		awk '{print int(($1 - 33000) / 64)}' "$BATS_TEST_TMPDIR/$who" |
			sort -u >"$BATS_TEST_TMPDIR/$who.windows"
		run wc -l <"$BATS_TEST_TMPDIR/$who.windows"
		[ "$output" -ge 4 ]
		[ "$output" -le 25 ]
		run awk '$1 > last {up++} {last = $1} END {print up}' "$BATS_TEST_TMPDIR/$who"
		[ "$output" -gt 60 ]
		[ "$output" -lt 140 ]
	done
	run comm -12 "$BATS_TEST_TMPDIR/one.windows" "$BATS_TEST_TMPDIR/another.windows"
	[ "${#lines[@]}" -le 3 ]
}
