#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Each call that takes a port takes it from the pool; each other call answers as without a fence.

# shellcheck disable=SC2154 # `run` sets stderr

load test_helper

setup()
{
	world_new
	sink_start 8080 mptcp
}

teardown()
{
	world_end
}

# Runs a probe in both pools; the port it prints must be in each.
assert_port_in_pools()
{
	assert_prints_port_in "$BIND_POOL" "$@"
	assert_prints_port_in "$LATE_POOL" "$@"
}

# Runs a probe bare and in both pools; it must print the same.
assert_same_answers()
{
	local pool
	net "$PROBE/$1" "${@:2}" >"$BATS_TEST_TMPDIR/bare"
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence "$pool" "$PROBE/$1" "${@:2}" >"$BATS_TEST_TMPDIR/wrapped"
		diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
	done
}

@test "TCP connects from the pool: IPv4, IPv6, v4-mapped, blocking and not (trap 11)" {
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		assert_port_in_pools dial tcp "$address" 8080
		assert_port_in_pools dial tcp "$address" 8080 nonblock
	done
}

@test "UDP connects from the pool: IPv4, IPv6, v4-mapped, blocking and not (trap 11)" {
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		assert_port_in_pools dial udp "$address" 8080
		assert_port_in_pools dial udp "$address" 8080 nonblock
	done
}

@test "MPTCP connects from the pool: IPv4, IPv6, v4-mapped, blocking and not" {
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		assert_port_in_pools dial mptcp "$address" 8080
		assert_port_in_pools dial mptcp "$address" 8080 nonblock
	done
}

@test "the SYNs of every kind of connect show ports of the pool on the wire" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		for protocol in tcp mptcp; do
			for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
				fence "$pool" "$PROBE/dial" $protocol $address 8080
			done
		done
		wire_end
		[ "$(wire_sources | wc -l)" -eq 6 ]
		wire_sources | assert_ports_in "$pool"
	done
}

@test "bind to port 0 shows a port of the pool to getsockname (trap 11)" {
	for protocol in tcp udp mptcp; do
		for address in 127.0.0.1 0.0.0.0 ::1 :: ::ffff:127.0.0.1; do
			assert_port_in_pools bindzero $protocol $address
		done
	done
}

@test "bind to port 0 with SO_REUSEADDR, SO_REUSEPORT or IPV6_V6ONLY takes a port of the pool (traps 11, 13c)" {
	for protocol in tcp udp; do
		assert_port_in_pools bindzero $protocol 0.0.0.0 reuseaddr
		assert_port_in_pools bindzero $protocol 0.0.0.0 reuseport
		assert_port_in_pools bindzero $protocol :: reuseaddr reuseport
		assert_port_in_pools bindzero $protocol :: v6only
	done
}

@test "listen without bind takes a port of the pool (trap 11)" {
	assert_port_in_pools autolisten 4
	assert_port_in_pools autolisten 6
}

@test "IP_BIND_ADDRESS_NO_PORT still shows port 0 after bind, and a port of the pool after connect (trap 12)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for address in 127.0.0.1 ::1; do
			run --separate-stderr fence "$pool" "$PROBE/noport" $address 8080
			[ "${lines[0]}" = 0 ]
			assert_ports_in "$pool" <<<"${lines[1]}"
		done
	done
}

@test "sendto, sendmsg and sendmmsg on a UDP socket never bound take a port of the pool (trap 11)" {
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		for call in sendto sendmsg sendmmsg; do
			assert_port_in_pools udpsend $call $address 8080
		done
		[ "${lines[0]}" = 'sendmmsg 2' ]
	done
}

@test "datagrams of sockets never bound show ports of the pool on the wire" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		for call in sendto sendmsg sendmmsg; do
			fence "$pool" "$PROBE/udpsend" $call 127.0.0.1 8080
		done
		wire_end
		[ "$(wire_sources | wc -l)" -eq 4 ]
		wire_sources | assert_ports_in "$pool"
	done
}

@test "TCP fast open takes a port of the pool (trap 11)" {
	for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
		assert_port_in_pools fastopen sendto $address 8080
		assert_port_in_pools fastopen sendmsg $address 8080
	done
}

@test "explicit ports pass untouched, inside the pool and outside it" {
	for protocol in tcp udp; do
		for port in 5001 20500 50500; do
			run fence "$BIND_POOL" "$PROBE/explicit" $protocol 127.0.0.1 $port 8080
			[ "$output" = $port ]
		done
	done
}

@test "raw and ICMP sockets are bound as they ask to be (trap 13b)" {
	net sysctl -qw net.ipv4.ping_group_range='0 2147483647'
	assert_same_answers portless
	net strace -qq -e trace=bind,setsockopt -o "$BATS_TEST_TMPDIR/bare" "$PROBE/portless"
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		net strace -qq -e trace=bind,setsockopt -o "$BATS_TEST_TMPDIR/wrapped" \
			env LD_PRELOAD="$SHIM" PORTFENCE_PORTS="$pool" "$PROBE/portless"
		diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
	done
}

@test "connect called again while the first is in progress takes no second port (traps 10, 13a)" {
	netns_add_silence
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" "$PROBE/again" 10.99.0.2 80
		wait_for_line '^EALREADY'
		port=$(sed -n 's/^EINPROGRESS //p' "$LOG")
		assert_ports_in "$pool" <<<"$port"
		assert_log "EINPROGRESS $port
EALREADY $port
EALREADY $port"
		[ "$(tcp_pairs state syn-sent | wc -l)" -eq 1 ]
		[ "$(status_of LEASED)" -eq 1 ]
		companion_end "$PID"
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a socket whose connect was refused connects elsewhere, in the pool (trap 10)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr fence "$pool" "$PROBE/refused" 9 8080
		[ "${lines[0]}" = ECONNREFUSED ]
		[ "${#lines[@]}" -eq 2 ]
		assert_ports_in "$pool" <<<"${lines[1]}"
	done
}

@test "refused connects use up nothing" {
	for pool in 20000-20001 40000-40001; do
		run fence "$pool" "$PROBE/itself" 127.0.0.1 9 500
		[ "$output" = 'refused 500, connected 0, other 0' ]
	done
}

@test "a socket dissolved with AF_UNSPEC connects again, in the pool (trap 10)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for kind in tcp udp; do
			run --separate-stderr fence "$pool" "$PROBE/reconnect" $kind 8080 unspec
			[ "$status" -eq 0 ]
			printf '%s\n' "${lines[@]}" | assert_ports_in "$pool"
		done
	done
}

@test "a UDP socket that connects to another peer keeps its port (trap 10)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr fence "$pool" "$PROBE/reconnect" udp 8080 direct
		assert_ports_in "$pool" <<<"$output"
		[ "${lines[0]}" = "${lines[1]}" ]
	done
}

# bats test_tags=no-valgrind
@test "every odd call answers as it does without a fence (traps 4, 5, 9, 10)" {
	assert_same_answers answers 8080
}

# bats test_tags=no-valgrind
@test "every odd call answers as it does without a fence when the environment alone wraps it (traps 4, 9)" {
	net "$PROBE/answers" 8080 >"$BATS_TEST_TMPDIR/bare"
	preload "$BIND_POOL" "$PROBE/answers" 8080 >"$BATS_TEST_TMPDIR/wrapped"
	diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
}

@test "socket options are as the program set them, not as the fence did (trap 12)" {
	assert_same_answers options
}

@test "a range the program sets itself is no way out of the fence (trap 12)" {
	run fence "$LATE_POOL" /usr/bin/python3 -c '
import socket, struct
s = socket.socket()
s.setsockopt(socket.SOL_IP, 51, struct.pack("I", 50009 << 16 | 50000))
s.connect(("127.0.0.1", 8080))
print(s.getsockname()[1])'
	assert_ports_in "$LATE_POOL" <<<"$output"
}

@test "no socket ever connects to itself (trap 13)" {
	for pool in 20000-20001 40000-40001; do
		for address in 127.0.0.1 ::1 ::ffff:127.0.0.1; do
			run fence "$pool" "$PROBE/itself" $address "${pool%-*}" 200
			[ "$output" = 'refused 200, connected 0, other 0' ]
		done
	done
}

@test "a pool that is the destination's own port connects to nothing (traps 13, 29)" {
	for port in 20000 40000; do
		run fence "$port" "$PROBE/itself" 127.0.0.1 "$port" 20
		[[ $output == *'connected 0'* ]]
	done
}

@test "a connect interrupted by a signal goes on, with its port, and no second one (trap 10)" {
	netns_add_silence
	for pool in 20000-20001 40000-40001; do
		run --separate-stderr fence "$pool" env PYTHONPATH="$BATS_TEST_DIRNAME/probe" \
			PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'if True:
			from sockets import *
			import errno, signal
			address = struct.pack("!H4s8x", 80, bytes([10, 99, 0, 2]))
			address = struct.pack("=H", socket.AF_INET) + address
			def connect():
			    assert libc.connect(s.fileno(), address, 16) == -1
			    return errno.errorcode[ctypes.get_errno()]
			signal.signal(signal.SIGALRM, lambda *_: None)
			signal.siginterrupt(signal.SIGALRM, True)
			s = new()
			signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
			first, port = connect(), port_of(s)
			signal.setitimer(signal.ITIMER_REAL, 0)
			s.setblocking(False)
			print(first, connect(), port_of(s) == port, where(s))'
		echo "$output $stderr"
		[ "$output" = 'EINTR EALREADY True inside' ]
		[ "$(status_of EXHAUSTED)" -eq 0 ]
		[ "$(status_of LEASED)" -eq 0 ]
	done
}

@test "bind to port 0 on several addresses takes a port of the pool for each (trap 11)" {
	for pool in 20000-20009 40000-40009; do
		run --separate-stderr fence "$pool" env PYTHONPATH="$BATS_TEST_DIRNAME/probe" \
			PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'if True:
			from sockets import *
			hosts = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"]
			for kind in TCP, UDP:
			    for host in hosts * 2:
			        s = socket.socket(AF_INET6 if ":" in host else AF_INET, kind)
			        s.bind((host, 0))
			        if kind == TCP: s.listen()
			        kept.append(s)
			print(where(*kept), len({port_of(s) for s in kept[:10]}), len({port_of(s) for s in kept[10:]}))'
		echo "$output $stderr"
		[ "$output" = 'inside 10 10' ]
	done
}

@test "link-local IPv6 leaves from the pool, by every call (trap 11)" {
	netns_add_silence
	link=$(net ip -6 -o address show dev silent1 scope link | sed -n 's|.*inet6 \([^/]*\)/.*|\1|p')
	wait_for 5 eval '! net ip -6 address show dev silent1 | grep -q tentative'
	for call in 'dial tcp' 'dial udp' 'udpsend sendto' 'udpsend sendmsg' 'fastopen sendto'; do
		# shellcheck disable=SC2086 # a probe and its first argument
		assert_port_in_pools $call "$link%silent1" 8080
	done
	assert_port_in_pools bindzero udp "$link%silent1"
	assert_port_in_pools bindzero tcp "$link%silent1"
}

@test "a bound UDP socket that connects, as a server of iperf3 does, takes nothing (trap 13a)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run net strace -qq -e trace=bind,setsockopt,getsockopt -o "$BATS_TEST_TMPDIR/calls" \
			env LD_PRELOAD="$SHIM" PORTFENCE_PORTS="$pool" "$PROBE/explicit" udp 127.0.0.1 5001 8080
		[ "$output" = 5001 ]
		[ "$(grep -c 'bind(' "$BATS_TEST_TMPDIR/calls")" -eq 1 ]
		[ "$(status_of LEASED)" -eq 0 ]
	done
}

@test "bindresvport and explicit ports below 1024 pass (trap 13b)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for kind in TCP UDP; do
			run --separate-stderr fence "$pool" env PYTHONPATH="$BATS_TEST_DIRNAME/probe" \
				PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c "if True:
				from sockets import *
				a, b = new($kind), new($kind)
				assert libc.bindresvport(a.fileno(), None) == 0
				assert 512 <= a.getsockname()[1] < 1024
				a.connect(('127.0.0.1', 8080))
				b.bind(('127.0.0.1', 111))
				b.connect(('127.0.0.1', 8080))
				print(a.getsockname()[1] < 1024, b.getsockname()[1])"
			echo "$output $stderr"
			[ "$output" = 'True 111' ]
		done
	done
}

@test "bind to port 0, then connect, as Erlang does: one port, of the pool, counted once (trap 13d)" {
	for pool in 20000-20001 40000-40001; do
		run --separate-stderr fence "$pool" env PYTHONPATH="$BATS_TEST_DIRNAME/probe" \
			PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'if True:
			from sockets import *
			for kind in TCP, UDP:
			    for _ in range(20):
			        two = [new(kind), new(kind)]
			        for s in two: s.bind(("127.0.0.1", 0))
			        ports = [port_of(s) for s in two]
			        for s in two: s.connect(("127.0.0.1", 8080))
			        assert [port_of(s) for s in two] == ports and where(*two) == "inside"
			        for s in two: s.close()
			print("one each")'
		echo "$output $stderr"
		[ "$output" = 'one each' ]
		[ "$(status_of REFUSED)" -eq 0 ]
		[ "$(status_of LEASED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}
