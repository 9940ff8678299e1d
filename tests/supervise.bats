#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A run with a supervisor, strict or with a block, is its program: calls that only the supervisor
# sees answer as the kernel does, signals and files are the program's own.

# shellcheck disable=SC2016,SC2154,SC2030,SC2031 # as in strict.bats

load test_helper

setup()
{
	world_new
	sink_start 8080
	cd "$(scratch)" || return
}

teardown()
{
	world_end
}

# Fails unless a Python program, the library's fence off, prints this: assert_asks EXPECTED RANGES
assert_asks()
{
	local expected=$1 ranges=$2
	run --separate-stderr net env PORTFENCE_DISABLE=1 timeout 60 \
		"$PORTFENCE" run --strict --ports "$ranges" -- /usr/bin/python3 -
	echo "$ranges: $output; $stderr"
	[ "$output" = "$expected" ]
}

# The two kinds of runs that have a supervisor, as "supervised COMMAND...".
KINDS=('--strict --ports 20000-20009' '--strict --ports 40000-40009' '--ports 20000-20009 --block=10')

# Does a test with each: each_kind FUNCTION, which finds the command in RUN.
each_kind()
{
	local kind
	for kind in "${KINDS[@]}"; do
		echo "$kind"
		# shellcheck disable=SC2206 # words
		RUN=("$PORTFENCE" run $kind --)
		"$1"
	done
}

# --- what it answers -------------------------------------------------------------------------

@test "sockets that a program has bound itself need no port of a full pool" {
	assert_asks '8080 9090 inside' 20000-20001 <<-'EOF'
		from sockets import *
		for kind in TCP, UDP:
		    for _ in range(2):
		        kept.append(new(kind))
		        kept[-1].bind(("127.0.0.1", 0))
		server, client = listener(8090), new()
		client.bind(("127.0.0.1", 9090))
		client.connect(("127.0.0.1", 8090))
		os.environ["PORTFENCE_PORTS"] = "20000-20001"
		print(8080, port_of(client), where(*kept))
	EOF
}

@test "one port is enough to bind to port 0 and to listen" {
	assert_asks 20000 20000 <<-'EOF'
		from sockets import *
		print(port_of(listener()))
	EOF
}

@test "after a connect that failed, a socket gets a port for the next one" {
	assert_asks '111 20000' 20000-20000 <<-'EOF'
		from sockets import *
		s = new()
		print(s.connect_ex(("127.0.0.1", 9)), end=" ")
		s.connect(("127.0.0.1", 8080))
		print(port_of(s))
	EOF
}

@test "a UDP socket stays on the device that it is bound to" {
	assert_asks "b'lo' b'lo'" 20000-20009 <<-'EOF'
		from sockets import *
		def device(*local):
		    s = new(UDP)
		    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
		    s.bind(local)
		    s.sendto(b"x", ("127.0.0.1", 9))
		    return s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0")
		print(device("0.0.0.0", 5353), device("127.0.0.1", 0))
	EOF
}

@test "a hundred sockets, one after the other, in a pool of twenty" {
	assert_asks 0 20000-20019 <<-'EOF'
		from sockets import *
		def bound():
		    with new() as s:
		        s.bind(("127.0.0.1", 0))
		def sent():
		    with new(UDP) as s:
		        s.sendto(b"x", ("127.0.0.1", 9))
		def refused():
		    with new() as s:
		        assert s.connect_ex(("127.0.0.1", 9)) == 111
		print(sum(refusals([deed] * 100) for deed in (bound, sent, refused)))
	EOF
}

@test "no connect meets itself where the kernel chooses from a range" {
	assert_asks "{111}" 40000-40009,40020-40021 <<-'EOF'
		from sockets import *
		def answer(port):
		    with new() as s:
		        return s.connect_ex(("127.0.0.1", port))
		print({answer(port) for port in range(40000, 40010) for _ in range(20)})
	EOF
}

@test "bind of AF_UNSPEC to an address is refused as the kernel does" {
	assert_asks "97 True" 20000-20009 <<-'EOF'
		from sockets import *
		def answer(host):
		    to = struct.pack("HH4s8x", 0, 0, socket.inet_aton(host))
		    return 0 if libc.bind(s.fileno(), to, 16) == 0 else ctypes.get_errno()
		s = new()
		print(answer("127.0.0.1"), answer("0.0.0.0") == 0 and 20000 <= port_of(s) <= 20009)
	EOF
}

@test "a supervisor whose pids are not those of /proc refuses to begin" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -125 --separate-stderr net unshare --pid --fork \
			"$PORTFENCE" run --strict --ports "$pool" -- true
		assert_one_line '/proc shows no or another PID namespace'
	done
}

@test "nobody waits for the reader of its messages" {
	cp "$PORTFENCE" "$SHIM" .
	chmod 755 .
	chmod 777 "$PORTFENCE_DIR"
	net /usr/bin/python3 - "${NOBODY[@]}" ./portfence run --strict --ports 20000-20009 -- \
		/usr/bin/python3 -c 'if True:
			import ctypes, socket
			ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
			print(socket.socket().connect_ex(("127.0.0.1", 8080)), flush=True)' <<-'EOF' >answer
		import os, subprocess, sys
		_, full = os.pipe()
		os.set_blocking(full, False)
		try:
		    while True:
		        os.write(full, bytes(4096))
		except BlockingIOError:
		    os.set_blocking(full, True)
		subprocess.run(sys.argv[1:], stderr=full, timeout=20, check=True,
		               env=dict(os.environ, PORTFENCE_DISABLE="1"))
	EOF
	[ "$(cat answer)" = 13 ]
}

# --- signals ---------------------------------------------------------------------------------

# True for a process in one of these states: is_in PID STATES
is_in()
{
	[[ $2 == *"$(sed 's/.*) \(.\).*/\1/' "/proc/$1/stat")"* ]]
}

@test "a program that is stopped and goes on has its supervisor still" {
	stopped_and_continued()
	{
		local program
		mkfifo gate
		serve env PORTFENCE_DISABLE=1 "${RUN[@]}" sh -c \
			'echo $$; read line <gate; "$0" tcp 127.0.0.1 8080' "$PROBE/dial"
		wait_for_line '^[0-9]+$'
		program=$(grep -x '[0-9]*' "$LOG")
		kill -STOP "$program"
		wait_for 5 is_in "$program" T
		is_in "$PID" SR
		kill -CONT "$program"
		echo go >gate
		wait_for 5 pid_gone "$PID"
		[ "$(grep -cx '[0-9]*' "$LOG")" -eq 2 ]
		rm gate
	}
	each_kind stopped_and_continued
}

@test "a terminal that hangs up ends the program of its session's leader" {
	hung_up()
	{
		net timeout 20 /usr/bin/python3 - "${RUN[@]}" sh -c 'echo up; exec sleep 60' <<-'EOF'
			import os, pty, sys
			pid, terminal = pty.fork()
			if pid == 0:
			    os.execvp(sys.argv[1], sys.argv[1:])
			assert os.read(terminal, 2) == b"up"
			os.close(terminal)
			status = os.waitpid(pid, 0)[1]
			assert os.waitstatus_to_exitcode(status) == 129, status
		EOF
	}
	each_kind hung_up
}

@test "an alarm that was set before ends the program" {
	alarmed()
	{
		run -142 net timeout 20 /usr/bin/python3 -c 'import os, signal, sys
signal.setitimer(signal.ITIMER_REAL, 0.5)
os.execvp(sys.argv[1], sys.argv[1:])' "${RUN[@]}" sleep 60
	}
	each_kind alarmed
}

@test "signals that were to be ignored do not end the wait for a daemon" {
	daemon_kept()
	{
		mkfifo gate
		serve env --ignore-signal=HUP,INT PORTFENCE_DISABLE=1 "${RUN[@]}" sh -c \
			'{ read line <gate; "$0" tcp 127.0.0.1 8080; } & echo left' "$PROBE/dial"
		wait_for_line '^left$'
		wait_for 5 is_alone "$PID"
		kill -HUP "$PID"
		kill -INT "$PID"
		echo go >gate
		wait_for 5 pid_gone "$PID"
		wait_for_line '^[0-9]+$'
		rm gate
	}
	each_kind daemon_kept
}

# True once a supervisor's program has ended, and the one daemon is its child.
is_alone()
{
	[ "$(pgrep -c -P "$1")" -eq 1 ] && [ -z "$(pgrep -P "$(pgrep -P "$1")")" ]
}

# --- files -----------------------------------------------------------------------------------

@test "what came with exec is the program's to close, and its pid is what a service manager names" {
	files_closed()
	{
		run -0 net timeout 20 /usr/bin/python3 - "${RUN[@]}" /usr/bin/python3 -c 'if True:
			from sockets import *
			server = socket.socket(fileno=9)
			address = server.getsockname()
			server.close()
			print(new().connect_ex(address), os.environ["LISTEN_PID"] == str(os.getpid()))' <<-'EOF'
			from sockets import *
			server = listener(8085)
			os.dup2(server.fileno(), 9)
			os.environ["LISTEN_PID"] = str(os.getpid())
			os.execvp(sys.argv[1], sys.argv[1:])
		EOF
		[ "$output" = '111 True' ]
	}
	each_kind files_closed
}

@test "who writes to a program that closed its input learns it" {
	input_closed()
	{
		mkfifo gate
		net timeout 20 /usr/bin/python3 - "${RUN[@]}" sh -c 'exec <&-; echo closed; read line <gate' <<-'EOF'
			import os, subprocess, sys
			pipe = subprocess.PIPE
			run = subprocess.Popen(sys.argv[1:], stdin=pipe, stdout=pipe, bufsize=0)
			assert run.stdout.readline() == b"closed\n"
			os.set_blocking(run.stdin.fileno(), False)
			try:
			    while True:
			        run.stdin.write(b"x") or sys.exit("somebody may still read it")
			except BrokenPipeError:
			    open("gate", "w").write("go\n")
			run.wait()
		EOF
		rm gate
	}
	each_kind input_closed
}

@test "a library whose name begins with that of the shim is not the shim" {
	net env LD_PRELOAD="$SHIM.gone" "$PORTFENCE" run --ports "$BIND_POOL" -- \
		"$PROBE/dial" tcp 127.0.0.1 8080 | assert_ports_in "$BIND_POOL"
}
