#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What gc removes, and what it leaves.

# shellcheck disable=SC2030,SC2031 # each test has its own world
# shellcheck disable=SC2016 # shells inside have variables of their own

load test_helper

setup()
{
	world_new
	sink_start 8080
	cd "$(scratch)" || return
	mkfifo gate
}

teardown()
{
	world_end
}

gc()
{
	net "$PORTFENCE" gc
}

# Makes all files in the pool directory two hours old.
age()
{
	find "$PORTFENCE_DIR" -mindepth 1 -exec touch -d '2 hours ago' {} +
}

# The names of the files in the pool directory.
files()
{
	find "$PORTFENCE_DIR" -mindepth 1 -printf '%f\n' | sort
}

# --- names -------------------------------------------------------------------------------------

@test "gc removes leftovers of its own making, and no file that only begins like them" {
	local foreign=(portfence.conf portfence.notes.txt .portfence.swp .portfence.conf portfence.1.2.3
		.portfence.0123456789abcde .portfence.0123456789abcdef0 portfence.0123456789ABCDEF.1.0
		portfence.0123456789abcdef.1.0.old .portfence.0123456789abcdef.1.0 portfence.0123456789abcdef.1.x0
		portfence.0123456789abcdef.-1.0 portfence.0123456789abcdef.0.policy.bak
		portfence.0123456789abcdef.0.policy.12345 portfence.0123456789abcdef.policy)
	(cd "$PORTFENCE_DIR" && touch .portfence.0123456789abcdef portfence.0123456789abcdef.1.0 \
		portfence.0123456789abcdef.1.g0 portfence.0123456789abcdef.0.policy \
		portfence.0123456789abcdef.0.policy.aB3456 "${foreign[@]}")
	age
	run -0 gc
	[ "${#lines[@]}" -eq 5 ] || blind
	diff <(printf '%s\n' "${foreign[@]}" | sort) <(files) || blind
	[ "$(comm -12 <(printf '%s\n' "${foreign[@]}" | sort) <(files) | wc -l)" -eq "${#foreign[@]}" ]
}

@test "a run keeps its block, whatever gc removes" {
	serve "$PORTFENCE" run --ports 30000-30099 --block 100 -- sh -c 'echo ready; read -r _ <gate'
	wait_for_line '^ready$'
	age
	gc
	run --separate-stderr net "$PORTFENCE" run --ports 30000-30099 --block 100 -- true
	[ "$status" -eq 125 ]
	assert_one_line 'all blocks of 100 ports are taken (1)'
}

# --- policies ----------------------------------------------------------------------------------

# Starts a command in the fence of a policy, and waits until it is ready: policed COMMAND...
policed()
{
	printf '%s\n' '[pool web]' 'ports = 20000-20099' '[rule all]' 'pool = web' >policy.conf
	serve "$PORTFENCE" run --policy policy.conf -- "$@"
	wait_for_line '^ready$'
}

@test "gc leaves a policy that a process says, or that was asked for within the last minute" {
	policed sh -c 'echo ready; read -r _ <gate; "$0" tcp 127.0.0.1 8080' "$PROBE/dial"
	gc
	[[ $(files) == *.policy* ]]
	age
	gc
	[[ $(files) == *.policy* ]]
	echo >gate
	wait "$PID"
	tail -n +2 "$LOG" | assert_ports_in 20000-20099
	net "$PORTFENCE" run --policy policy.conf -- true
	gc
	[[ $(files) == *.policy* ]]
	age
	gc
	[[ $(files) != *.policy* ]] || blind
}

@test "gc leaves the policy of a run with a block, for what that starts later" {
	serve "$PORTFENCE" run --ports 30000-30099 --block 100 -- \
		sh -c 'echo ready; read -r _ <gate; "$0" tcp 127.0.0.1 8080' "$PROBE/dial"
	wait_for_line '^ready$'
	age
	gc
	echo >gate
	wait "$PID"
	tail -n +2 "$LOG" | assert_ports_in 30000-30099
}

@test "gc leaves the policy of a program that writes over its environment, as setproctitle does" {
	policed /usr/bin/python3 -uc 'if True:
		import ctypes, os, subprocess
		fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
		start, end = int(fields[47]), int(fields[48])
		ctypes.memset(start, 0, end - start)
		print("ready")
		open("gate").read()
		subprocess.run([os.environ["PROBE"] + "/dial", "tcp", "127.0.0.1", "8080"], env={})'
	run ! grep -q PORTFENCE "/proc/$PID/environ"
	age
	gc
	echo >gate
	wait "$PID"
	tail -n +2 "$LOG" | assert_ports_in 20000-20099
}

# --- segments of other network namespaces ----------------------------------------------------------

# Starts a program in the fence and in a network namespace of its own, as the command that is given
# has it: elsewhere [COMMAND...]
elsewhere()
{
	fence_in_background 40000-40099 unshare --net "$@" /usr/bin/python3 -c 'if True:
		from sockets import *
		import signal
		libc.prctl(4, int(os.environ.get("DUMPABLE", 1)), 0, 0, 0)
		new(UDP).bind(("0.0.0.0", 0))
		print("ready", flush=True)
		signal.pause()'
	wait_for_line '^ready$'
}

@test "gc in a container leaves the segments of other network namespaces, whose programs it cannot see" {
	elsewhere
	local in_use
	in_use=$(files)
	net unshare --pid --fork --mount-proc "$PORTFENCE" gc
	[ "$(files)" = "$in_use" ]
	gc
	[ "$(files)" = "$in_use" ]
	companion_end "$PID"
	net unshare --pid --fork --mount-proc "$PORTFENCE" gc
	[ "$(files)" = "$in_use" ]
}

@test "gc leaves a user's segment that a program may have whom that user cannot look into" {
	local user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	DUMPABLE=0 elsewhere "${user[@]}"
	local in_use
	in_use=$(files)
	net "${user[@]}" "$PORTFENCE" gc
	[ "$(files)" = "$in_use" ]
	companion_end "$PID"
	net "${user[@]}" "$PORTFENCE" gc
	[ -z "$(files)" ] || blind
}

# --- ports of this network namespace ---------------------------------------------------------------

# Runs gc with the netlink requests of WHEN, as strace -e inject counts them, denied. That must give
# back no port: assert_denied_gives_nothing_back WHEN
assert_denied_gives_nothing_back()
{
	net strace -f -qq -o denied -e trace=sendto,sendmsg \
		-e inject=sendto,sendmsg:error=EPERM:when="$1" "$PORTFENCE" gc || :
	cat denied
	grep -q INJECTED denied
	[ "$(status_of REAPED)" -eq 0 ]
}

@test "what the kernel does not show keeps its ports: connections" {
	fence_in_background 20000-20009 "$PROBE/hold" 5 8080 127.0.0.1
	wait_for_line '^5 held$'
	assert_denied_gives_nothing_back 1+3
}

@test "what the kernel does not show keeps its ports: UDP sockets" {
	fence_in_background 20000-20009 /usr/bin/python3 -uc 'if True:
		from sockets import *
		import signal
		s = new(UDP)
		s.bind(("127.0.0.1", 0))
		print("ready")
		signal.pause()'
	wait_for_line '^ready$'
	assert_denied_gives_nothing_back 3+3
}

# --- segments of this network namespace ------------------------------------------------------------

# Makes all leases in the history of the one segment there is two hours older.
age_leases()
{
	/usr/bin/python3 - "$PORTFENCE_DIR"/portfence.* <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as file:
		    bytes = bytearray(file.read())
		    magic = int.from_bytes(bytes[:8], "little")
		    for at in range(len(bytes) - 1024 * 64, len(bytes), 64):
		        seal, time, *rest = struct.unpack_from("<8Q", bytes, at)
		        if not time:
		            continue
		        time -= 7200 * 10**9
		        number = seal & 0xffffffff
		        sum = magic ^ number
		        for word in (time, *rest):
		            sum = (sum ^ word) * 0x9e3779b97f4a7c15 & (1 << 64) - 1
		        struct.pack_into("<2Q", bytes, at, number | sum >> 32 << 32, time)
		    file.seek(0)
		    file.write(bytes)
	END
}

@test "gc removes this namespace's segment once nobody has it and its last lease is an hour ago" {
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	local segment
	segment=$(files)
	gc
	[ "$(files)" = "$segment" ]
	age_leases
	[ "$(net "$PORTFENCE" log | wc -l)" -eq 2 ]
	net unshare --pid --fork --mount-proc "$PORTFENCE" gc
	[ "$(files)" = "$segment" ]
	run -0 gc
	echo "$output"
	[ "${#lines[@]}" -eq 1 ]
	[ -z "$(files)" ] || blind
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080 | assert_ports_in "$BIND_POOL"
}

@test "gc leaves this namespace's segment as long as somebody has it, and until its hold is over" {
	fence_in_background "$BIND_POOL" /usr/bin/python3 -uc 'if True:
		from sockets import *
		s = dial(8080)
		print("ready")
		open("gate").read()'
	wait_for_line '^ready$'
	local segment
	segment=$(files)
	age_leases
	gc
	[ "$(files)" = "$segment" ]
	echo >gate
	wait "$PID"
	gc
	[ -z "$(files)" ] || blind
	find "$PORTFENCE_DIR" -mindepth 1 -delete
	printf '%s\n' '[pool default]' "ports = $BIND_POOL" 'hold = 3h' >policy.conf
	net "$PORTFENCE" run --policy policy.conf -- "$PROBE/dial" tcp 127.0.0.1 8080
	find "$PORTFENCE_DIR" -name '*.policy' -delete
	segment=$(files)
	age_leases
	gc
	[ "$(files)" = "$segment" ]
	age_leases
	gc
	[ -z "$(files)" ] || blind
}
