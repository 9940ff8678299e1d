#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# fork, exec and threads: who holds a port, and for how long.

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

# While the companion lives, another wrapped connect gets the pool's other port; then either.
assert_port_is_held()
{
	local pool=$1 port
	wait_for_line '^[0-9]+$'
	port=$(cat "$LOG")
	assert_ports_in "$pool" <<<"$port"
	fence_in_background "$pool" "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line ' held'
	assert_log '1 held, then EADDRNOTAVAIL'
	[ "$(tcp_local_ports state established 'dport = :8080' | sort -u | wc -l)" -eq 2 ]
}

@test "a port stays held when the child closes its copy and the parent lives (trap 14)" {
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" "$PROBE/forker" 8080 child-closes
		wait_for_line '^[0-9]+$'
		[ "$(status_of LEASED)" -eq 1 ]
		assert_port_is_held "$pool"
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a port stays held when the parent closes its copy and the child lives (trap 14)" {
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" "$PROBE/forker" 8080 parent-closes
		wait_for_line '^[0-9]+$'
		[ "$(status_of LEASED)" -eq 1 ]
		assert_port_is_held "$pool"
		# The child is nobody's: find it by its socket.
		companion_end "$(net ss -Htnp | sed -n 's/.*"forker",pid=\([0-9]*\).*/\1/p')"
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a port stays held when its socket passes over exec (trap 16)" {
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" "$PROBE/overexec" 8080 sleep 60
		wait_for_line '^[0-9]+$'
		[ "$(status_of LEASED)" -eq 1 ]
		assert_port_is_held "$pool"
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "64 threads connect and close on one pool without an error (trap 19)" {
	for pool in "$BIND_POOL" "$LATE_POOL" 20000-20127 40000-40127; do
		run --separate-stderr fence "$pool" "$PROBE/threads" 64 100 8080
		echo "$output $stderr"
		[ "${lines[0]}" = '6400 connected, 0 failed' ]
		assert_ports_in "$pool" <<<"${lines[1]}"
		assert_ports_in "$pool" <<<"${lines[2]}"
		[ -z "$stderr" ]
		[ "$(status_of LEASED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "64 threads on a pool of as many ports never run short (trap 19)" {
	for pool in 20000-20063 40000-40063; do
		run fence "$pool" "$PROBE/threads" 64 100 8080
		[ "${lines[0]}" = '6400 connected, 0 failed' ]
	done
}

@test "a vforked child that closes everything leaves the parent's ports held (trap 15)" {
	cat >"$BATS_TEST_TMPDIR/parent.py" <<-'EOF'
		import socket, subprocess, sys, time
		s = socket.create_connection(("127.0.0.1", 8080))
		subprocess.run(["true"], close_fds=True)
		print(s.getsockname()[1], flush=True)
		time.sleep(60)
	EOF
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" /usr/bin/python3 "$BATS_TEST_TMPDIR/parent.py"
		wait_for_line '^[0-9]+$'
		[ "$(status_of LEASED)" -eq 1 ]
		assert_port_is_held "$pool"
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a port stays held as long as one copy of its socket is open (trap 5)" {
	cat >"$BATS_TEST_TMPDIR/copy.py" <<-'EOF'
		import os, socket, time
		s = socket.create_connection(("127.0.0.1", 8080))
		os.dup2(s.fileno(), 100)
		port = s.getsockname()[1]
		s.close()
		print(port, flush=True)
		time.sleep(60)
	EOF
	for pool in 20000-20001 40000-40001; do
		fence_in_background "$pool" /usr/bin/python3 "$BATS_TEST_TMPDIR/copy.py"
		assert_port_is_held "$pool"
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "what a wrapped server accepts is none of the pool's (trap 21)" {
	fence_in_background 20000-20009 "$PROBE/sink" 8090
	wait_for 10 listening 8090
	serve "$PROBE/hold" 50 8090 127.0.0.1
	wait_for_line '^50 held$'
	[ -z "$(ls "$PORTFENCE_DIR")" ] || [ "$(status_of LEASED)" -eq 0 ]
	[ "$(net "$PORTFENCE" ls | wc -l)" -le 1 ]
}

@test "two network namespaces with one directory are two pools (trap 24)" {
	fence_in_background 20000 "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	first=$NETNS
	netns_new
	second=$NETNS
	serve "$PROBE/sink" 8080
	wait_for 5 listening 8080
	run --separate-stderr fence 20000 "$PROBE/dial" tcp 127.0.0.1 8080
	netns_end
	NETNS=$first
	[ "$NETNS" != "$second" ]
	[ "$output" = 20000 ]
	[ -z "$stderr" ]
}

@test "a program that changes its root before its first socket shares the pool (trap 20)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence_in_background "$pool" python3 -uc '
import os, socket, sys, time
os.mkdir(sys.argv[1])
os.chroot(sys.argv[1])
s = socket.socket()
s.connect(("127.0.0.1", 8080))
print(s.getsockname()[1])
sys.stdin.close()
time.sleep(100)' "$BATS_TEST_TMPDIR/root.$pool"
		wait_for_line '^[0-9]+$'
		assert_ports_in "$pool" <"$LOG" # and no line about a private segment
		[ "$(status_of LEASED)" -eq 1 ]
		companion_end "$PID"
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a program that gives up privileges to come attaches before that (trap 20)" {
	run fence "$BIND_POOL" python3 -c '
import ctypes, glob, os
before = glob.glob(os.environ["PORTFENCE_DIR"] + "/*")
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) # PR_SET_NO_NEW_PRIVS
print(len(before), len(glob.glob(os.environ["PORTFENCE_DIR"] + "/*")))'
	[ "$output" = '0 1' ]
}
