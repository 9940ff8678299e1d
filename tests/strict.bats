#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# run --strict: what the library does not see leaves from the pool, too.

# shellcheck disable=SC2154,SC2030,SC2031 # `run` sets stderr; each test is a process of its own
# shellcheck disable=SC2016 # shells inside have variables of their own

load test_helper

setup_file()
{
	local dir
	netns_new
	dir=$(scratch)
	net sysctl -qw net.ipv4.tcp_fastopen=3
	serve_on 8080 "$PROBE/sink" 8080
	serve_on 8000 /usr/bin/python3 -m http.server --directory "$BATS_TEST_DIRNAME/probe" 8000
	serve_on 53 dnsmasq -k -C /dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 \
		--bind-interfaces --address=/test/127.0.0.1 --pid-file= --user=root
	gcc -static -o "$dir/held" "$BATS_TEST_DIRNAME/probe/hold.c"
	musl-gcc -static -o "$dir/musl" "$BATS_TEST_DIRNAME/probe/raw.c"
	gcc -m32 -static -o "$dir/i386" "$BATS_TEST_DIRNAME/probe/raw.c"
	gcc -o "$dir/uring" "$BATS_TEST_DIRNAME/strict/uring.c" -luring
	HOME=$dir GO111MODULE=off CGO_ENABLED=0 GOFLAGS='' \
		go build -o "$dir/go" "$BATS_TEST_DIRNAME/strict/get.go"
	printf '%s\n' 'nameserver 127.0.0.1' 'options timeout:1 attempts:2' >"$dir/resolv.conf"
}

teardown_file()
{
	world_end
}

setup()
{
	DIR=$BATS_FILE_TMPDIR
	pool_dir_new
	chmod 755 "$DIR"
	cd "$(scratch)" || return
}

teardown()
{
	servers_end
}

# Runs a command in a strict run: strict RANGES COMMAND...
strict()
{
	net "$PORTFENCE" run --strict --ports "$1" -- "${@:2}"
}

# Runs a command so with each claim, watched from the wire: all its ports must be inside.
assert_strict()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		strict "$pool" "$@"
		wire_end
		wire_sources | assert_ports_in "$pool"
	done
}

# Runs a program so with each claim; all the ports that it prints must be inside.
assert_strict_prints()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr strict "$pool" "$@"
		echo "$pool: $*: $output $stderr"
		[ "$status" -eq 0 ]
		[ -z "$stderr" ]
		assert_ports_in "$pool" <<<"$output"
	done
}

# --- programs ------------------------------------------------------------------------------------

@test "a Go program, which is refused otherwise, takes its ports from the pool" {
	run -126 fence "$LATE_POOL" "$DIR/go" http://127.0.0.1:8000/raw.c
	assert_strict "$DIR/go" http://127.0.0.1:8000/raw.c
}

@test "a Go program resolves a name and takes all its ports from the pool" {
	assert_strict "${NAMES[@]}" "$DIR/go" http://host.test:8000/raw.c
	awk '$1 == "udp" && $3 == 53' "$WIRE" | grep -q .
}

@test "busybox, static, takes its ports from the pool" {
	assert_strict busybox wget -qO page http://127.0.0.1:8000/raw.c
	cmp page "$BATS_TEST_DIRNAME/probe/raw.c"
}

@test "curl by name: without --strict the queries escape, and nothing else; with it nothing" {
	wire_start
	fence "$BIND_POOL" "${NAMES[@]}" curl -sSf -o page http://host.test:8000/raw.c
	wire_end
	awk '$3 == 53 { print $2 }' "$WIRE" | assert_ports_in 32768-60999
	awk '$3 == 8000 { print $2 }' "$WIRE" | assert_ports_in "$BIND_POOL"
	assert_strict "${NAMES[@]}" curl -sSf -o page http://host.test:8000/raw.c
	[ "$(awk '$3 == 53' "$WIRE" | wc -l)" -gt 0 ]
}

@test "a program that nobody may read is fenced" {
	cp "$DIR/go" unreadable
	chmod 711 unreadable
	cp "$PORTFENCE" "$SHIM" .
	wire_start
	net "${NOBODY[@]}" ./portfence run --strict --ports "$LATE_POOL" -- ./unreadable \
		http://127.0.0.1:8000/raw.c
	wire_end
	wire_sources | assert_ports_in "$LATE_POOL"
}

@test "a program that nobody may look into gets no port of a bind pool, and a line says so" {
	cp "$DIR/musl" unreadable
	chmod 711 unreadable
	cp "$PORTFENCE" "$SHIM" .
	run --separate-stderr net "${NOBODY[@]}" ./portfence run --strict --ports "$BIND_POOL" -- \
		./unreadable connect 8080
	[ "$output" = EACCES ]
	assert_one_line 'unreadable (pid'
	assert_one_line 'it is closed to portfence'
}

@test "an ordinary user's strict run needs no privilege, with each claim" {
	cp "$PORTFENCE" "$SHIM" .
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr net "${NOBODY[@]}" ./portfence run --strict --ports "$pool" -- \
			"$DIR/musl" connect 8080
		echo "$output $stderr"
		[ -z "$stderr" ]
		assert_ports_in "$pool" <<<"$output"
	done
}

# --- every call, in every way ---------------------------------------------------------------------

@test "raw system calls of a 64-bit program" {
	for verb in 'connect 8080' 'datagram 8080' 'message 8080' 'messages 8080' 'named 8080' \
		'again 8080' 'fastopen 8080' 'deferred 8080' any listen udpany; do
		# shellcheck disable=SC2086 # words
		assert_strict_prints "$PROBE/raw" $verb
	done
}

@test "system calls of a 32-bit program, one by one and by socketcall" {
	for verb in 'connect 8080' 'datagram 8080' 'message 8080' 'messages 8080' 'named 8080' \
		'again 8080' 'fastopen 8080' any listen udpany; do
		# shellcheck disable=SC2086 # words
		assert_strict_prints "$DIR/i386" $verb
		# shellcheck disable=SC2086 # words
		assert_strict_prints "$DIR/i386" socketcall $verb
	done
}

@test "32-bit system calls of a 64-bit program; those of x32 are refused" {
	assert_strict_prints "$PROBE/raw" int80 8080
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -0 strict "$pool" "$PROBE/raw" x32
		[ "$output" = ENOSYS ]
	done
}

@test "the mark of a call is gone when the next one is made" {
	assert_strict_prints "$PROBE/raw" behind 8080
}

@test "a family with bits that the kernel does not look at is seen" {
	run -0 net strace -qq -f -e trace=ioctl -o log "$PORTFENCE" run --strict --ports "$LATE_POOL" \
		-- "$PROBE/raw" domain
	[ "$output" = ok ]
	[ "$(grep -c NOTIF_ADDFD log)" -eq 2 ] # one is the trial's
}

@test "io_uring is not there, unless it is allowed" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -0 strict "$pool" "$PROBE/raw" uring
		[ "$output" = ENOSYS ]
		run strict "$pool" "$DIR/uring" 8080
		[ "$output" = "io_uring: Function not implemented" ]
	done
	run -0 net "$PORTFENCE" run --strict --io-uring --ports "$LATE_POOL" -- "$DIR/uring" 8080
	assert_ports_in 32768-60999 <<<"$output"
}

@test "calls that the library made are not stopped" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		net strace -qq -f -e trace=ioctl -o log "$PORTFENCE" run --strict --ports "$pool" -- \
			/usr/bin/python3 -c '
import socket
HOST = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for family in (socket.AF_INET, socket.AF_INET6):
        s = socket.socket(family, kind); s.bind((HOST[family], 0)); s.close()
        s = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM: s.connect((HOST[family], 8080)); s.sendall(b"x")
        else: s.sendto(b"x", (HOST[family], 8080)); s.sendmsg([b"x"], [], 0, (HOST[family], 8080))
        s.close()
s = socket.socket(); s.listen()'
		# One is the trial, one the look at the network namespace.
		grep -c NOTIF_RECV log
		[ "$(grep -c NOTIF_RECV log)" -le 2 ]
	done
}

# --- what the program sees -------------------------------------------------------------------------

@test "flags, fd numbers and the limit of files are the program's own" {
	local bare
	bare=$(net "$DIR/musl" flags)
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		[ "$(strict "$pool" "$DIR/musl" flags)" = "$bare" ]
		[ "$(strict "$pool" "$DIR/musl" full)" = EMFILE ]
	done
}

@test "signals every half millisecond lose no call and no fd" {
	for pool in 27000-31999 50000-54999; do
		strict "$pool" timeout 60 "$DIR/musl" times 500 8080
	done
}

@test "threads and processes at once" {
	for pool in 27000-31999 50000-54999; do
		strict "$pool" timeout 60 "$DIR/musl" threads 40 8080
	done
}

@test "a socket belongs to the user whose privileges are left" {
	[ "$(strict "$LATE_POOL" setpriv --reuid 65534 --regid 65533 --clear-groups -- \
		"$DIR/musl" owner)" = '65534 65533' ]
	[ "$(strict "$LATE_POOL" "$DIR/musl" owner)" = '0 0' ]
}

@test "a full pool fails as it does in the library" {
	for pool in 25000-25001 45000-45001; do
		run strict "$pool" /usr/bin/python3 -c '
import socket, subprocess
held = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(2)]
subprocess.run(["'"$DIR/musl"'", "connect", "8080"])'
		[ "$output" = EADDRNOTAVAIL ]
	done
}

# Runs the raw probe beside a program that holds two ports: full RANGES POLICY-LINE COMMAND...
beside_two()
{
	printf '%s\n' '[pool default]' "ports = $1" "$2" >policy.conf
	net "$PORTFENCE" run --strict --policy policy.conf -- /usr/bin/python3 -c '
import socket, subprocess, sys
held = [socket.socket(), socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)]
for s in held: s.bind(("127.0.0.1", 0))
sys.exit(subprocess.call(sys.argv[1:]))' "${@:3}"
}

@test "a bind pool that others exhausted: the errors, and the policy that falls back" {
	for verb in any listen; do
		[ "$(beside_two 25100-25101 '' "$DIR/musl" $verb)" = EADDRINUSE ]
	done
	for verb in datagram message messages named; do
		[ "$(beside_two 25100-25101 '' "$DIR/musl" $verb 8080)" = EAGAIN ]
	done
	for verb in connect datagram any; do
		run -0 beside_two 25100-25101 'exhausted = fallback' "$DIR/musl" $verb 8080
		assert_ports_in 32768-60999 <<<"$output"
	done
}

@test "unix sockets, and addresses that cannot be read, are the kernel's matter" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve /usr/bin/python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.bind("there"); s.listen(); print("up", flush=True); s.accept()'
		wait_for_line '^up$'
		[ "$(strict "$pool" "$DIR/musl" unix there)" = ok ]
		rm there
	done
}

@test "an explicit bind is the program's choice, unless the policy denies it" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		[ "$(strict "$pool" "$DIR/musl" explicit 26000)" = ok ]
		printf '%s\n' '[pool default]' "ports = $pool" 'explicit-bind = deny' >policy.conf
		[ "$(net "$PORTFENCE" run --strict --policy policy.conf -- "$DIR/musl" explicit 26000)" \
			= EACCES ]
	done
}

# --- policies --------------------------------------------------------------------------------------

@test "rules choose the pool by program, user and destination" {
	cat >policy.conf <<-EOF
		[pool one]
		ports = 40000-40099
		[pool two]
		ports = 41000-41099
		[pool three]
		ports = 20000-20099
		[rule r]
		program = musl
		user = nobody
		pool = two
		[rule s]
		program = musl
		destination = 127.0.0.0/8:8080
		pool = three
		[rule t]
		program = musl
		pool = one
	EOF
	run -0 net "$PORTFENCE" run --strict --policy policy.conf -- "$DIR/musl" connect 8080
	assert_ports_in 20000-20099 <<<"$output"
	run -0 net "$PORTFENCE" run --strict --policy policy.conf -- "$DIR/musl" connect 8000
	assert_ports_in 40000-40099 <<<"$output"
	run -0 net "$PORTFENCE" run --strict --policy policy.conf -- "${NOBODY[@]}" "$DIR/musl" connect 8080
	assert_ports_in 41000-41099 <<<"$output"
	run -0 net "$PORTFENCE" run --strict --policy policy.conf --pool two -- "$DIR/musl" connect 8080
	assert_ports_in 41000-41099 <<<"$output"
}

@test "a pool of several ranges" {
	run -0 strict 46000-46001,47000-47031 /usr/bin/python3 -c '
import socket, struct, subprocess, sys
held = []
while sum(s.getsockname()[1] < 47000 for s in held) < 2:
    held.append(socket.create_connection(("127.0.0.1", 8080)))
    # Without TIME_WAIT, which the ledger does not count.
    held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if held[-1].getsockname()[1] >= 47000: held.pop().close()
sys.exit(subprocess.call(["'"$DIR/musl"'", "connect", "8080"]))'
	echo "$output"
	assert_ports_in 47000-47031 <<<"$output"
	run -0 strict 46000-46001,47000-47031 "$DIR/musl" udpany
	assert_ports_in 46000-46001,47000-47031 <<<"$output"
}

@test "a block of one's own" {
	printf '%s\n' '[pool ci]' 'ports = 40000-40999' 'block = 100' >policy.conf
	run -0 net "$PORTFENCE" run --strict --policy policy.conf -- sh -c \
		'echo $PORTFENCE_BLOCK; "$0" connect 8080' "$DIR/musl"
	assert_ports_in "${lines[0]}" <<<"${lines[1]}"
	[ "${lines[0]}" ]
}

both_hold()
{
	[ "$(grep -c '^1 held$' "$LOG")" -eq 2 ]
}

@test "ls and log tell the leases that came by the supervisor" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve "$PORTFENCE" run --strict --ports "$pool" -- sh -c \
			'"$0" 1 8080 127.0.0.1 & exec "$1" 1 8080 127.0.0.1' "$DIR/held" "$PROBE/hold"
		wait_for 5 both_hold
		run -0 net "$PORTFENCE" ls --all --pool "$pool"
		echo "$output"
		listed=$output
		[ "$(awk '$6 == "held" { print $NF }' <<<"$output")" = strict ]
		[ "$(awk '$6 == "hold" { print $NF }' <<<"$output")" = lease ]
		[ "$(net "$PORTFENCE" ls --json --pool "$pool" | grep -c '"kind": *"strict"')" -eq 1 ]
		if [ "$pool" = "$BIND_POOL" ]; then
			net "$PORTFENCE" log | grep -E 'held.*bind|bind.*held'
		fi
		# shellcheck disable=SC2046 # two words
		kill $(awk '$6 == "held" || $6 == "hold" { print $5 }' <<<"$listed" | sort -u)
		wait_for 5 pid_gone "$PID"
	done
}

# --- where it ends ---------------------------------------------------------------------------------

@test "PORTFENCE_DISABLE=1 ends the library's fence, not this" {
	assert_strict env PORTFENCE_DISABLE=1 curl -sSf -o page http://127.0.0.1:8000/raw.c
	assert_strict env -i "$(command -v curl)" -sSf -o page http://127.0.0.1:8000/raw.c
}

@test "when the supervisor is killed, calls fail" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		rm -f gate
		mkfifo gate
		serve "$PORTFENCE" run --strict --ports "$pool" -- sh -c \
			'echo up; read line <gate; "$0" connect 8080 >made 2>&1; echo $? >ended' "$DIR/musl"
		wait_for_line '^up$'
		companion_end "$PID" KILL
		echo go >gate
		wait_for 5 test -s ended
		cat made
		grep -q 'ENOSYS\|Function not implemented' made
		rm made ended
	done
}

@test "while the supervisor is stopped, calls that it is asked for wait, and others do not" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		rm -f gate
		mkfifo gate
		serve "$PORTFENCE" run --strict --ports "$pool" -- sh -c 'echo up; read line <gate
			"$0" tcp 127.0.0.1 8080; "$1" connect 8080' "$PROBE/dial" "$DIR/musl"
		wait_for_line '^up$'
		kill -STOP "$PID"
		echo go >gate
		wait_for_line '^[0-9]+$'
		wait_for 5 asks_supervisor
		[ "$(grep -c '^[0-9]' "$LOG")" -eq 1 ]
		kill -CONT "$PID"
		wait_for 5 pid_gone "$PID"
		grep '^[0-9]' "$LOG" | assert_ports_in "$pool"
		[ "$(grep -c '^[0-9]' "$LOG")" -eq 2 ]
	done
}

# True once the static program waits for the supervisor.
asks_supervisor()
{
	grep -qs seccomp /proc/"$(pgrep -n -x musl)"/wchan /proc/"$(pgrep -n -x musl)"/stack
}

@test "a strict run inside a strict run is refused; =auto is content with the outer one" {
	run --separate-stderr -125 strict "$LATE_POOL" "$PORTFENCE" run --strict --ports "$LATE_POOL" -- true
	assert_one_line 'a supervisor is there already'
	run --separate-stderr -0 strict "$LATE_POOL" "$PORTFENCE" run --strict=auto --ports "$LATE_POOL" -- \
		"$PROBE/raw" connect 8080
	assert_one_line 'only what the library sees is fenced'
	assert_ports_in "$LATE_POOL" <<<"$output"
}

@test "set-user-ID programs and file capabilities are refused, and why" {
	cp "$PORTFENCE" "$SHIM" .
	cp "$DIR/musl" setuid
	chmod 4755 setuid
	run --separate-stderr -126 net "${NOBODY[@]}" ./portfence run --strict --ports "$LATE_POOL" -- ./setuid any
	assert_one_line no_new_privs
	cp "$DIR/musl" capable
	setcap cap_net_raw+ep capable
	run --separate-stderr -126 net "${NOBODY[@]}" ./portfence run --strict --ports "$LATE_POOL" -- ./capable any
	assert_one_line no_new_privs
}

@test "another network namespace has the range, if the supervisor may go there" {
	run -0 strict "$LATE_POOL" unshare --net sh -c 'ip link set lo up; exec "$0" listen' "$DIR/musl"
	assert_ports_in "$LATE_POOL" <<<"$output"
	run -0 strict "$BIND_POOL" unshare --net sh -c 'ip link set lo up; exec "$0" listen' "$DIR/musl"
	assert_ports_in "$BIND_POOL" <<<"$output"
	cp "$PORTFENCE" "$SHIM" .
	run -0 net "${NOBODY[@]}" ./portfence run --strict --ports "$LATE_POOL" -- \
		unshare --user --net "$DIR/musl" udpany
	assert_ports_in "$LATE_POOL" <<<"$output"
	run -1 strict "$LATE_POOL" unshare --net sh -c \
		'echo 50000 60000 >/proc/sys/net/ipv4/ip_local_port_range; exec "$0" listen' "$DIR/musl"
	grep -q 'does not honour' <<<"$output"
}

@test "a range that the kernel stops to honour closes the fence" {
	rm -f gate
	mkfifo gate
	serve "$PORTFENCE" run --strict --ports 40000-40099 -- sh -c \
		'echo up; read line <gate; "$0" connect 8080; "$0" connect 8080' "$DIR/musl"
	wait_for_line '^up$'
	net sysctl -qw net.ipv4.ip_local_port_range='50000 60999'
	echo go >gate
	wait_for_line 'does not honour'
	net sysctl -qw net.ipv4.ip_local_port_range='32768 60999'
}

@test "whoever starts it may ignore SIGCHLD; =auto is strict where that is possible" {
	run -0 net /usr/bin/python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$PORTFENCE" run --strict=auto --ports "$LATE_POOL" -- \
		"$DIR/musl" connect 8080
	assert_ports_in "$LATE_POOL" <<<"$output"
}

@test "status, signals, standard input and job control are the program's" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -7 strict "$pool" sh -c 'exit 7'
		run -143 strict "$pool" sh -c 'kill $$'
		[ "$(echo hello | strict "$pool" cat)" = hello ]
		serve "$PORTFENCE" run --strict --ports "$pool" -- sh -c \
			'trap "echo got it; exit 3" TERM; echo up; while :; do sleep 0.1; done'
		wait_for_line '^up$'
		kill -TERM "$PID"
		wait_for_line '^got it$'
	done
}
