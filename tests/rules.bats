#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Rules that are easily broken: what a reviewer once found broken, each as a program sees it.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test has its own PORTFENCE_DIR

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

# Runs the Python program on standard input in the fence: python RANGES [ARGUMENT...]
python()
{
	fence "$1" timeout 20 /usr/bin/python3 - "${@:2}"
}

# Runs the Python program on standard input in each fence; each time it must print just TEXT:
# assert_python TEXT RANGES...
assert_python()
{
	local expected=$1 program ranges
	program=$(cat)
	shift
	for ranges; do
		run --separate-stderr python "$ranges" <<<"$program"
		echo "$ranges: $output; $stderr"
		[ "$output" = "$expected" ]
	done
}

# The same, each time with a new pool, which was never exhausted and left nothing to the reap.
assert_python_reaps_nothing()
{
	local expected=$1 program ranges
	program=$(cat)
	shift
	for ranges; do
		assert_python "$expected" "$ranges" <<<"$program"
		[ "$(status_of REAPED) $(status_of EXHAUSTED)" = '0 0' ]
		rm "$PORTFENCE_DIR"/*
	done
}

# Prints the inode and name of each segment.
segments()
{
	find "$PORTFENCE_DIR" -mindepth 1 -printf '%i %f\n'
}

# --- ports that come back, and ports that do not ----------------------------------------------

@test "copies outlive their lease and a program is killed: the pool finds its free ports again (trap 18)" {
	assert_python '7 stand in time' 20000-20009 <<-'EOF'
		from sockets import *
		import signal
		for _ in range(3):
		    s = dial(8080)
		    kept.append(os.dup(s.fileno()))
		    s.close()
		def killed():
		    for _ in range(7): kept.append(dial(8080))
		    os.kill(os.getpid(), signal.SIGKILL)
		assert in_child(killed) == signal.SIGKILL
		print(stand(7), "stand in time")
	EOF
}

@test "what another user holds is found out: few connects fail, and soon none (trap 30)" {
	mkfifo "$BATS_TEST_TMPDIR/go"
	serve setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$PORTFENCE" run --ports 20000-20999 -- /usr/bin/python3 -c 'if True:
		from sockets import *
		kept.append(dial(8080))
		print("ready", flush=True)
		open(sys.argv[1]).close()
		for half in 1, 2:
		    print("half", half, refusals([lambda: dial(8080)] * 50), flush=True)' "$BATS_TEST_TMPDIR/go"
	nobody=$LOG
	wait_for_line '^ready$'
	fence_in_background 20000-20999 "$PROBE/hold" 500 8080 127.0.0.1
	wait_for_line '^500 held$'
	LOG=$nobody
	chmod 644 "$BATS_TEST_TMPDIR/go"
	timeout 5 cp /dev/null "$BATS_TEST_TMPDIR/go"
	wait_for_line '^half 2'
	cat "$LOG"
	grep -q '^half 2 [0-5]$' "$LOG"
}

@test "a socket refused here and connected there leaves the ports of there alone" {
	assert_python '0 refused, 5 leave room for 5' 20000-20009 <<-'EOF'
		from sockets import *
		refused = 0
		for _ in range(5):
		    kept.append(new())
		    kept[-1].connect_ex(("127.0.0.1", 9))
		    refused += kept[-1].connect_ex(("127.0.0.1", 8080)) != 0
		print(refused, "refused, 5 leave room for", 5 - refusals([lambda: dial(8080)] * 5))
	EOF
}

@test "a socket refused here connects there while half of the pool is busy there" {
	# Late: a socket that was bound cannot be bound again (ip(7)), so there luck decides.
	assert_python '0 of 40 refused' 40000-40009 <<-'EOF'
		from sockets import *
		for _ in range(5): kept.append(dial(8080))
		refused = 0
		for _ in range(40):
		    s = new()
		    assert s.connect_ex(("127.0.0.1", 9)) == 111
		    refused += s.connect_ex(("127.0.0.1", 8080)) != 0
		    s.close()
		print(refused, "of 40 refused")
	EOF
}

@test "a socket that was refused three times leaves nothing to the reap" {
	assert_python_reaps_nothing 'refused three times' 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		s = new()
		for port in 9, 10, 11: assert s.connect_ex(("127.0.0.1", port)) == 111
		s.close()
		print("refused three times")
	EOF
}

@test "a socket refused here and connected there leaves nothing to the reap" {
	assert_python_reaps_nothing '111 0' 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		s = new()
		print(*(s.connect_ex(("127.0.0.1", port)) for port in (9, 8080)))
		s.close()
	EOF
}

@test "a bind that fails for its address leaks no port" {
	assert_python_reaps_nothing '[99, 99, 99]' 20000-20001 40000-40001 <<-'EOF'
		from sockets import *
		def answer(s):
		    try: s.bind(("10.77.77.77", 0))
		    except OSError as e: return e.errno
		print([answer(new()) for _ in range(3)])
	EOF
}

@test "a refused socket that is still open connects in the end, whatever was reaped meanwhile" {
	assert_python '0 of 8 failed' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		failed = 0
		for port in range(7000, 7008):
		    s = new()
		    assert s.connect_ex(("127.0.0.1", port)) == 111
		    unfenced(os.environ["PORTFENCE"], "gc")
		    server = listener(port)
		    for _ in range(20): dial(port).close()
		    others = [dial(port) for _ in range(3)]
		    failed += s.connect_ex(("127.0.0.1", port)) != 0
		    for x in (s, server, *others): x.close()
		print(failed, "of 8 failed")
	EOF
}

@test "127.0.0.1 and 0.0.0.0 are one destination, and so are ::1 and ::" {
	assert_python '0 and 0 refused' 20000-20019 40000-40019 <<-'EOF'
		from sockets import *
		four = refusals([lambda: dial(8080, "127.0.0.1"), lambda: dial(8080, "0.0.0.0")] * 10)
		six = refusals([lambda: dial(8080, "::1"), lambda: dial(8080, "::")] * 10)
		print(four, "and", six, "refused")
	EOF
}

@test "a close in one stripe serves the other at once: a listener's port a connect" {
	assert_python 'refused, then inside' 20000-20001 40000-40001 <<-'EOF'
		from sockets import *
		a, b = listener(), listener()
		assert refusals([lambda: dial(8080)]) == 1
		a.close()
		print("refused, then", where(dial(8080)))
	EOF
}

@test "a close in one stripe serves the other at once: a connection's port a listener" {
	assert_python 'refused, then inside' 20000-20001 40000-40001 <<-'EOF'
		from sockets import *
		a, b = dial(8080), dial(8080)
		assert refusals([listener]) == 1
		a.close()
		print("refused, then", where(listener()))
	EOF
}

@test "a port that one destination must avoid serves another at once" {
	assert_python 'inside' 20000-20001 40000-40001 <<-'EOF'
		from sockets import *
		a, b, c = new(UDP), new(UDP), new(UDP)
		a.bind(("127.0.0.1", 0))
		other = sum(pool()) - port_of(a)
		b.connect_ex(("127.0.0.1", other))
		b.close()
		c.connect(("127.0.0.1", 53))
		print(where(c))
	EOF
}

# --- calls that take a port by the back door ----------------------------------------------------

@test "odd sends and connects end in a UDP port of the pool" {
	for call in family-0 family-77 name-256 short-connect no-address; do
		assert_prints_port_in "$BIND_POOL" oddsend $call 8080
		assert_prints_port_in "$LATE_POOL" oddsend $call 8080
	done
}

@test "a message with a name longer than any address has leaves from the pool" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		fence "$pool" "$PROBE/oddsend" name-256 8080
		wire_end
		wire_sources | assert_ports_in "$pool"
	done
}

@test "a bind to AF_UNSPEC, which is one to any address, takes a port of the pool" {
	assert_python 'inside' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		kept += new(), new(UDP)
		for s in kept: assert libc.bind(s.fileno(), bytes(16), 16) == 0
		print(where(*kept))
	EOF
}

@test "IP_BIND_ADDRESS_NO_PORT keeps the address that was bound" {
	assert_python '0, then 127.0.0.5 inside' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		s = new()
		s.setsockopt(socket.IPPROTO_IP, 24, 1)
		s.bind(("127.0.0.5", 0))
		print(port_of(s), end=", then ")
		s.connect(("127.0.0.1", 8080))
		print(s.getsockname()[0], where(s))
	EOF
}

@test "IP_BIND_ADDRESS_NO_PORT taken back past libc: the bind takes a port of the pool" {
	assert_python inside "$BIND_POOL" <<-'EOF'
		from sockets import *
		call = {"x86_64": 54, "aarch64": 208}[os.uname().machine]
		s = new()
		s.setsockopt(socket.IPPROTO_IP, 24, 1)
		assert libc.syscall(call, s.fileno(), 0, 24, bytes(4), 4) == 0
		s.bind(("127.0.0.1", 0))
		print(where(s))
	EOF
}

@test "a fresh socket put in a connected one's place by dup2 connects from the pool (trap 5)" {
	assert_python inside "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		a, b = dial(8080), new()
		os.dup2(b.fileno(), a.fileno())
		b.close()
		a.connect(("127.0.0.1", 8080))
		print(where(a))
	EOF
}

@test "an accepted socket, dissolved and connected, connects from the pool (trap 21)" {
	assert_python inside "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		server = listener(8090)
		client = dial(8090)
		a = server.accept()[0]
		assert disconnect(a) == 0
		a.connect(("127.0.0.1", 8080))
		print(where(a))
	EOF
}

@test "a socket refused outside the fence and inherited connects from the pool (trap 21)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run net timeout 20 /usr/bin/python3 - "$PORTFENCE" "$pool" <<-'EOF'
			from sockets import *
			s = new()
			assert s.connect_ex(("127.0.0.1", 9)) == 111
			inside = f"""if True:
			    from sockets import *
			    s = socket.socket(fileno={s.fileno()})
			    s.connect(("127.0.0.1", 8080))
			    print(where(s))"""
			command = [sys.argv[1], "run", "--ports", sys.argv[2], "--", sys.executable, "-c", inside]
			subprocess.run(command, pass_fds=[s.fileno()], check=True)
		EOF
		echo "$pool: $output"
		[ "$output" = inside ]
	done
}

@test "bind to port 0 never joins a port that was asked for, and gets it when it is closed (trap 13c)" {
	assert_python '[]' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		joined = []
		new(UDP).bind(("127.0.0.1", 0))  # there is a segment now
		for kind in (TCP, UDP):
		    for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
		        asked = new(kind, option)
		        asked.bind(("127.0.0.1", pool()[1]))
		        for _ in range(20):
		            any = new(kind, option)
		            any.bind(("127.0.0.1", 0))
		            if port_of(any) == pool()[1]: joined.append((kind.name, option))
		            any.close()
		        asked.close()
		        four = [new(kind) for _ in pool()]
		        for s in four: s.bind(("127.0.0.1", 0))
		        for s in four: s.close()
		print(joined)
	EOF
}

@test "a connect to an own address never meets itself (trap 13)" {
	ip -n "$NETNS" address add 10.9.9.9/32 dev lo
	for pool in 20000-20003 40000-40003; do
		for address in 10.9.9.9 ::ffff:10.9.9.9; do
			run fence "$pool" "$PROBE/itself" "$address" "${pool%-*}" 50
			echo "$pool $address: $output"
			[ "$output" = 'refused 50, connected 0, other 0' ]
		done
	done
}

@test "the last port of a pool is not for an own address's service there, and is for another host's (trap 13)" {
	ip -n "$NETNS" address add 10.9.9.9/32 dev lo
	for port in 20000 40000; do
		run fence "$port" "$PROBE/itself" 10.9.9.9 "$port" 20
		[ "$output" = 'refused 0, connected 0, other 20' ]
		rm "$PORTFENCE_DIR"/*
	done
	other=$NETNS-other
	ip netns add "$other"
	ip -n "$NETNS" link add near type veth peer name far netns "$other"
	ip -n "$NETNS" address add 10.8.8.1/24 dev near
	ip -n "$other" address add 10.8.8.2/24 dev far
	ip -n "$NETNS" link set near up
	ip -n "$other" link set far up
	for port in 20000 40000; do
		run -0 fence "$port" timeout 20 /usr/bin/python3 - "$other" "$port" <<-'EOF'
			from sockets import *
			namespace, port = os.open("/run/netns/" + sys.argv[1], os.O_RDONLY), int(sys.argv[2])
			server = subprocess.Popen(["nsenter", f"--net=/run/netns/{sys.argv[1]}", "env", "PORTFENCE_DISABLE=1", sys.executable, "-c", f"import socket; s = socket.create_server(('10.8.8.2', {port})); print('up', flush=True); s.accept()"], stdout=subprocess.PIPE)
			server.stdout.readline()
			s = dial(port, "10.8.8.2")
			print(port_of(s))
			s.close()
			server.wait()
		EOF
		[ "$output" = "$port" ]
		rm "$PORTFENCE_DIR"/*
	done
	ip netns delete "$other"
}

@test "a connection that was inherited stays one, also when the pool's range is not honoured any more" {
	fence 40000-40999 "$PROBE/dial" tcp 127.0.0.1 8080
	net sysctl -qw net.ipv4.ip_local_port_range='50000 59999'
	run -0 net /usr/bin/python3 - "$PORTFENCE" <<-'EOF'
		from sockets import *
		s = dial(8080)
		print(port_of(s), flush=True)
		subprocess.run([sys.argv[1], "run", "--ports", "40000-40999", "--", sys.executable, "-c", f"import socket; s = socket.socket(fileno={s.fileno()}); print(s.connect_ex(('127.0.0.1', 8080)), s.getsockname()[1])"], pass_fds=[s.fileno()], check=True)
	EOF
	[ "${lines[1]}" = "106 ${lines[0]}" ]
}

@test "an inherited connect under way stays one when the pool's range is not honoured any more" {
	netns_add_silence
	fence 40000-40999 "$PROBE/dial" tcp 127.0.0.1 8080
	net sysctl -qw net.ipv4.ip_local_port_range='50000 59999'
	run -0 net /usr/bin/python3 - "$PORTFENCE" run --ports 40000-40999 -- <<-'EOF'
		from sockets import *
		s = new()
		s.setblocking(False)
		s.connect_ex(("10.99.0.2", 80))
		print(port_of(s), flush=True)
		hand_over(s, """if True:
		    s.setblocking(False)
		    print(s.connect_ex(("10.99.0.2", 80)), port_of(s))""")
	EOF
	[ "${lines[1]}" = "114 ${lines[0]}" ] # EALREADY
}

@test "a connected socket is EISCONN to every address, its own too" {
	assert_python 106 "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		s = dial(8080)
		print(s.connect_ex(("127.0.0.1", port_of(s))))
	EOF
}

@test "a socket that was refused does not meet itself on the port it had" {
	assert_python '0 connected to themselves' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		met = 0
		for _ in range(20):
		    s = new()
		    assert s.connect_ex(("127.0.0.1", 9)) == 111
		    port = port_of(s)
		    if s.connect_ex(("127.0.0.1", port)) == 0: met += 1
		    s.close()
		print(met, "connected to themselves")
	EOF
}

@test "a port whose lease ended early is not shared: SO_REUSEADDR, SO_REUSEPORT" {
	for kind in UDP,SO_REUSEADDR UDP,SO_REUSEPORT TCP,SO_REUSEPORT; do
		assert_python 'True 98' 20000-20000 40000-40000 <<-EOF
			from sockets import *
			kind, option = ${kind/,/, socket.}
			def bound():
			    s = new(kind, option)
			    s.bind(("127.0.0.1", 0))
			    return s
			s = bound()
			box, post = socket.socketpair(socket.AF_UNIX, UDP)
			socket.send_fds(post, [b"x"], [s.fileno()])
			copy = socket.recv_fds(box, 1, 1)[1][0]
			print(s.getsockopt(socket.SOL_SOCKET, option) != 0, end=" ")
			s.close()
			try: print(port_of(bound()))
			except OSError as e: print(e.errno)
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

# --- errors ---------------------------------------------------------------------------------------

@test "a pool held by others altogether: the kernel's errors, and soon (trap 30)" {
	fence 20000-21999 "$PROBE/bindzero" udp 127.0.0.1
	serve /usr/bin/python3 -c 'if True:
		from sockets import *
		for kind in (TCP, UDP):
		    for port in range(20000, 22000):
		        kept.append(new(kind))
		        kept[-1].bind(("0.0.0.0", port))
		print("ready", flush=True)
		import signal
		signal.pause()'
	wait_for_line '^ready$'
	run --separate-stderr fence 20000-21999 timeout 3 /usr/bin/python3 - <<-'EOF'
		from sockets import *
		import errno
		def answer(call):
		    try: call()
		    except OSError as e: return errno.errorcode[e.errno]
		print(*sorted({answer(lambda: new().bind(("127.0.0.1", 0))) for _ in range(50)}))
		print(*sorted({answer(lambda: dial(8080)) for _ in range(50)}))
		print(*sorted({answer(lambda: new(UDP).connect(("127.0.0.1", 8080))) for _ in range(50)}))
	EOF
	echo "$status: $output"
	[ "$output" = 'EADDRINUSE
EADDRNOTAVAIL
EAGAIN' ]
}

@test "strangers on every port are found out once, and the next calls are short" {
	fence 20000-20099 "$PROBE/bindzero" udp 127.0.0.1
	strangers_on 20000 20099 listen
	for _ in {1..4}; do
		run ! fence 20000-20099 strace -f -qq -A -o "$BATS_TEST_TMPDIR/calls" -e trace=bind \
			"$PROBE/bindzero" tcp 127.0.0.1
	done
	[ "$(grep -c AF_INET "$BATS_TEST_TMPDIR/calls")" -le 200 ]
}

@test "sockets that strangers have bound are met a few times, not by every call" {
	fence 20000-20099 "$PROBE/bindzero" udp 127.0.0.1
	strangers_on 20000 20099
	cat >"$BATS_TEST_TMPDIR/binds.py" <<-'EOF'
		from sockets import *
		print(refusals([lambda: new().bind(("127.0.0.1", 0))] * 10), *errors)
	EOF
	run -0 --separate-stderr fence 20000-20099 strace --seccomp-bpf -f -qq -e trace=bind \
		-o "$BATS_TEST_TMPDIR/calls" /usr/bin/python3 "$BATS_TEST_TMPDIR/binds.py"
	[ "$output" = '10 98' ]
	[ "$(grep -c AF_INET "$BATS_TEST_TMPDIR/calls")" -le 600 ]
}

@test "a late pool of which every port is tried counts that the kernel searched" {
	python 40000-40001 <<-'EOF'
		from sockets import *
		assert refusals([lambda: dial(8080)] * 3) == 1
	EOF
	net "$PORTFENCE" status --json | grep -Eq '"searched": *[1-9]'
}

@test "an address that runs off a mapping is EFAULT" {
	assert_python '[14, 14, 14, 14]' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		import mmap
		page, prot_none = mmap.PAGESIZE, 0
		pages = mmap.mmap(-1, 2 * page)
		start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
		assert libc.mprotect(ctypes.c_void_p(start + page), page, prot_none) == 0
		pages[page - 8:page] = struct.pack("=H", AF_INET6) + struct.pack("!HI", 8080, 0)
		to = ctypes.c_void_p(start + page - 8)
		s, u = socket.socket(AF_INET6, TCP), socket.socket(AF_INET6, UDP)
		def answer(call, *arguments):
		    assert call(*arguments) == -1
		    return ctypes.get_errno()
		print([
		    answer(libc.connect, s.fileno(), to, 28),
		    answer(libc.bind, s.fileno(), to, 28),
		    answer(libc.connect, u.fileno(), to, 28),
		    answer(libc.sendto, u.fileno(), b"x", 1, 0, to, 28)])
		sys.stdout.flush()
		os._exit(0)  # with no unmapping of what is shown to C
	EOF
}

@test "an address that runs off the top of the stack is EFAULT (trap 9)" {
	net "$PROBE/stacktop" >"$BATS_TEST_TMPDIR/bare"
	[ "$(grep -c EFAULT "$BATS_TEST_TMPDIR/bare")" -eq 7 ]
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence "$pool" "$PROBE/stacktop" >"$BATS_TEST_TMPDIR/wrapped"
		diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
	done
}

@test "a closed fence lets through what has a port of its own" {
	for protocol in tcp udp; do
		run --separate-stderr preload nonsense "$PROBE/explicit" $protocol 127.0.0.1 5001 8080
		[ "$output" = 5001 ]
	done
}

# --- a world that changes ---------------------------------------------------------------------------

@test "the pool is reserved under way: connects go on, in range, by the other claim" {
	assert_python '0 refused, inside' "$LATE_POOL" <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		sysctl("ip_local_reserved_ports", "40000-40999")
		print(refusals([lambda: dial(8080)] * 20), "refused,", where(*kept))
	EOF
	[ "$(status_of CLAIM)" = bind ]
	net "$PORTFENCE" status --json | grep -Eq '"strayed": *[1-9]'
	assert_prints_port_in "$LATE_POOL" dial tcp 127.0.0.1 8080
}

@test "the sysctl moves away: after a tick no SYN leaves the pool, refused ones neither" {
	wire_start
	python "$LATE_POOL" <<-'EOF'
		from sockets import *
		new().connect_ex(("127.0.0.1", 9))
		sysctl("ip_local_port_range", "50000 60000")
		end = time.monotonic() + 0.05
		while time.monotonic() < end: new().connect_ex(("127.0.0.1", 9))
		for _ in range(20):
		    new().connect_ex(("127.0.0.1", 10))
		    s = new()
		    s.setblocking(False)
		    s.connect_ex(("127.0.0.1", 10))
		    dial(8080).close()
	EOF
	wire_end
	awk '$1 == "tcp" && $3 != 9 { print $2 }' "$WIRE" >"$BATS_TEST_TMPDIR/later"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/later")" -ge 60 ]
	assert_ports_in "$LATE_POOL" <"$BATS_TEST_TMPDIR/later"
}

@test "a process that moves to another network namespace leaves the leases of the old one alone (traps 20, 24)" {
	for pool in 20000-20009 40000-40009; do
		assert_python 'inside
6 stand in time' $pool <<-'EOF'
			from sockets import *
			for _ in range(4): kept.append(dial(8080))
			def moved():
			    netns_new()
			    server = listener(8080)
			    del kept[:]
			    refusals([lambda: dial(8080)] * 7)
			    print(where(*kept))
			assert in_child(moved) == 0
			print(stand(6), "stand in time")
		EOF
		[ "$(status_of REFUSED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "what a process closes in one network namespace is not given in the other" {
	for pool in 20000-20000 40000-40000; do
		assert_python '99, 0 refused' $pool <<-'EOF'
			from sockets import *
			import json
			elsewhere = dial(8080)
			netns_new()
			server = listener(8080)
			here = dial(8080)
			elsewhere.close()
			print(new().connect_ex(("127.0.0.1", 8080)), end=", ")
			environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
			command = os.environ["PORTFENCE"], "status", "--json"
			status = json.loads(subprocess.check_output(command, env=environment))
			print(sum(pool["refused"] for pool in status), "refused")
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a process that comes back to a network namespace by setns finds its pool there" {
	assert_python 'inside, then 1 refused' 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		for _ in range(9): kept.append(dial(8080))
		def moved():
		    home = os.open("/proc/self/ns/net", os.O_RDONLY)
		    netns_new()
		    server = listener(8080)
		    there = dial(8080)
		    assert libc.setns(home, 0x40000000) == 0
		    kept.append(dial(8080))
		    print(where(kept[-1]) + ", then", refusals([lambda: dial(8080)]), "refused")
		assert in_child(moved) == 0
	EOF
	[ "$(status_of REFUSED)" -eq 0 ]
}

@test "what a process closes in another network namespace frees no port in the old one (trap 20)" {
	assert_python '0 refused' 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		gone, go = os.pipe(), os.pipe()
		if os.fork() == 0:
		    netns_new()
		    server = listener(8080)
		    there = [dial(8080) for _ in range(5)]
		    os.write(gone[1], b"x")
		    os.read(go[0], 1)
		    for s in there: s.close()
		    os._exit(0)
		os.read(gone[0], 1)
		assert stand(9) == 9
		os.write(go[1], b"x")
		os.wait()
		for s in kept[:5]: s.close()
		print(refusals([lambda: dial(8080)] * 5), "refused")
	EOF
}

@test "a process that moves to another network namespace leaves the claim of the old one alone (trap 20)" {
	assert_python '' "$LATE_POOL" <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		def moved():
		    netns_new()
		    sysctl("ip_local_port_range", "50000 60000")
		    server = listener(8080)
		    for _ in range(20): kept.append(dial(8080))
		assert in_child(moved) == 0
	EOF
	[ "$(status_of CLAIM)" = late ]
}

@test "a process that cannot see the sysctls leaves the pool's claim alone" {
	assert_python 99 40000-40000 <<-'EOF'
		from sockets import *
		import resource
		kept.append(dial(8080))
		s = new()
		resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
		print(s.connect_ex(("127.0.0.1", 8080)))
	EOF
	[ "$(status_of CLAIM)" = late ]
}

@test "a process that moves to a network namespace with another sysctl stays in its pool (trap 20)" {
	assert_python inside "$LATE_POOL" <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		def moved():
		    netns_new()
		    sysctl("ip_local_port_range", "50000 60000")
		    server = listener(8080)
		    end = time.monotonic() + 0.05
		    while time.monotonic() < end: new().connect_ex(("127.0.0.1", 9))
		    print(where(*[dial(8080) for _ in range(10)]))
		assert in_child(moved) == 0
	EOF
}

@test "a process in a chroot without /proc leaves the segment where it is (trap 20)" {
	mkdir -p "$BATS_TEST_TMPDIR/root/shm"
	export PORTFENCE_DIR=$BATS_TEST_TMPDIR/root/shm
	fence_in_background "$BIND_POOL" "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	before=$(segments)
	[ "$(wc -l <<<"$before")" -eq 1 ]
	for _ in 1 2; do
		PORTFENCE_DIR=/shm run python "$BIND_POOL" "$BATS_TEST_TMPDIR/root" <<-'EOF'
			from sockets import *
			os.chroot(sys.argv[1])
			os.chdir("/")
			print(where(dial(8080)))
		EOF
		[ "${lines[-1]}" = inside ]
		[ "$(segments)" = "$before" ]
		fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
		[ "$(segments)" = "$before" ]
	done
}

# --- the reap -----------------------------------------------------------------------------------------

@test "a reaper that is killed at it does not hold up the next call (trap 18)" {
	run --separate-stderr python 20000-20003 "$PROBE/dial" <<-'EOF'
		from sockets import *
		kill = "strace -qq -o /dev/null -e inject=recvfrom,recvmsg,recvmmsg:signal=KILL:when=1".split()
		took = []
		for _ in pool():
		    kept.append(new(UDP))
		    kept[-1].connect(("127.0.0.1", 9))
		while len(took) < 10:
		    reaper = subprocess.run([*kill, sys.argv[1], "udp", "127.0.0.1", "9"], capture_output=True)
		    before = time.monotonic()
		    assert new(UDP).connect_ex(("127.0.0.1", 9)) == 11
		    if reaper.returncode == -9: took.append((time.monotonic() - before) * 1000)
		print(*map(int, took))
		print("at once" if min(took) < 75 else "late")
	EOF
	echo "$output; $stderr"
	[ "${lines[-1]}" = 'at once' ]
}

@test "a reaper that is overtaken gives nothing back: the port has a new owner" {
	run --separate-stderr python 20000-20000 "$PROBE/dial" "$BATS_TEST_TMPDIR/trace" <<-'EOF'
		from sockets import *
		import signal
		def killed():
		    kept.append(new(UDP))
		    kept[0].bind(("127.0.0.1", 0))
		    os.kill(os.getpid(), signal.SIGKILL)
		assert in_child(killed) == signal.SIGKILL
		# Two dumps of two families and two protocols: it is late when it has seen everything.
		delay = "strace -qq -e inject=recvfrom:delay_exit=2000000:when=8 -o".split()
		slow = subprocess.Popen([*delay, sys.argv[2], sys.argv[1], "udp", "127.0.0.1", "9"],
		    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
		while not os.path.exists(sys.argv[2]) or open(sys.argv[2]).read().count("recvfrom") < 8:
		    time.sleep(0.01)
		owner = new(UDP)
		while owner.connect_ex(("127.0.0.1", 9)): time.sleep(0.01)
		assert slow.poll() is None
		slow.wait()
		print(port_of(owner))
	EOF
	echo "$output; $stderr"
	[ "$output" = 20000 ]
	[ "$(status_of REFUSED)" -eq 0 ]
}

@test "a signal handler that interrupts a reap does not wait for it to end (trap 2)" {
	run --separate-stderr fence 20000-20499 timeout 20 "$PROBE/interrupted" 500
	echo "slow: $output"
	[ "$output" -le 2 ]
}

# --- where segments are -------------------------------------------------------------------------------

@test "a PORTFENCE_DIR that is too long or not absolute is not replaced: one line, a private segment" {
	long=$BATS_TEST_TMPDIR/$(printf '%0600d' 0)
	for dir in "$long" here; do
		for pool in "$BIND_POOL" "$LATE_POOL"; do
			PORTFENCE_DIR=$dir run --separate-stderr preload "$pool" \
				strace -f -qq -o "$BATS_TEST_TMPDIR/calls" -e trace=%file "$PROBE/dial" tcp 127.0.0.1 8080
			assert_ports_in "$pool" <<<"$output"
			assert_one_line
			run ! grep /dev/shm "$BATS_TEST_TMPDIR/calls"
		done
	done
}

@test "gc removes the segment of a namespace that is gone, and none in use, by whatever name" {
	fence "$BIND_POOL" unshare --net "$PROBE/bindzero" udp 0.0.0.0
	fence_in_background "$LATE_POOL" unshare --net /usr/bin/python3 -c 'if True:
		from sockets import *
		import signal
		new(UDP).bind(("0.0.0.0", 0))
		print("ready", flush=True)
		signal.pause()'
	wait_for_line '^ready$'
	[ "$(segments | wc -l)" -eq 2 ]
	in_use=$(segments | grep "^$(awk '$6 ~ "/shm/" { print $5; exit }' "/proc/$PID/maps") ")
	! blind || in_use=$(segments)
	ln -s "$PORTFENCE_DIR" "$BATS_TEST_TMPDIR/link"
	for name in "$PORTFENCE_DIR" "$BATS_TEST_TMPDIR/link" "$PORTFENCE_DIR/../shm"; do
		PORTFENCE_DIR=$name net "$PORTFENCE" gc
		[ "$(segments)" = "$in_use" ]
	done
}

# --- copies -------------------------------------------------------------------------------------

# One port, used again and again within milliseconds: no reap could give it back in time.
@test "a lease goes with the last copy, however it is made and closed (trap 5)" {
	assert_python 'copies ok' 20000-20000 40000-40000 <<-'EOF'
		from sockets import *
		import ctypes, itertools, socket
		libc = ctypes.CDLL(None)
		copies = {
		    "dup": lambda fd: libc.dup(fd),
		    "dup2": lambda fd: libc.dup2(fd, 200),
		    "dup3": lambda fd: libc.dup3(fd, 201, 0),
		    "fcntl": lambda fd: libc.fcntl(fd, 0, 300),
		    "over another": lambda fd: libc.dup2(fd, os.open("/dev/null", os.O_RDONLY)),
		}
		closes = {
		    "close": lambda fd: os.close(fd),
		    "libc's close": lambda fd: libc.close(fd),
		    "close_range": lambda fd: libc.close_range(fd, fd, 0),
		    "dup2 over": lambda fd: libc.close(libc.dup2(0, fd)),
		    "dup3 over": lambda fd: libc.close(libc.dup3(0, fd, 0)),
		    "fclose": lambda fd: libc_fclose(fd),
		}
		libc.fdopen.restype = ctypes.c_void_p
		libc.fclose.argtypes = [ctypes.c_void_p]
		def libc_fclose(fd):
		    assert libc.fclose(libc.fdopen(fd, b"r")) == 0
		for (how, copy), (end, close) in itertools.product(copies.items(), closes.items()):
		    s = dial(8080)
		    fd = copy(s.fileno())
		    assert fd > 2, how
		    s.close()
		    assert refusals([lambda: dial(8080)]) == 1, (how, end, "given back too early")
		    close(fd)
		    s = dial(8080)
		    assert libc.dup2(s.fileno(), s.fileno()) == s.fileno()
		    s.close()
		print("copies ok")
	EOF
}

@test "closefrom gives everything back on a kernel without close_range" {
	assert_closes_from()
	{
		net strace -f --seccomp-bpf -qq -o /dev/null -e trace=close_range -e inject=close_range:error=ENOSYS \
			"$PORTFENCE" run --ports "$1" -- timeout 60 /usr/bin/python3 -
	}
	for pool in 20000-20009 40000-40009; do
		run assert_closes_from "$pool" <<-'EOF'
			from sockets import *
			def fill(): return [dial(8080).detach() for _ in range(10)]
			fds = fill()
			assert libc.close_range(min(fds), 0xffffffff, 0) == -1 and ctypes.get_errno() == 38
			assert refusals([lambda: dial(8080)]) == 1
			libc.closefrom(min(fds))
			print(len(fill()), "again")
		EOF
		echo "$output"
		[ "${lines[-1]}" = '10 again' ]
	done
}

@test "connect and close by their other names, __connect and __close, take a port and give it back" {
	assert_python 'inside 10 times' 20000-20001 40000-40001 <<-'EOF'
		from sockets import *
		to = struct.pack("=H", AF_INET) + struct.pack("!H4s8x", 8080, socket.inet_aton("127.0.0.1"))
		for _ in range(10):
		    s = new()
		    assert libc["__connect"](s.fileno(), to, len(to)) == 0
		    assert where(s) == "inside", where(s)
		    assert libc["__close"](s.detach()) == 0
		    os.open("/dev/null", os.O_RDONLY)  # else socket() would see that the number is free
		print("inside 10 times")
	EOF
}

@test "closing everything gives everything back, and CLOSE_RANGE_CLOEXEC gives nothing (trap 6)" {
	assert_python '20 again' 20000-20019 40000-40019 <<-'EOF'
		from sockets import *
		import ctypes
		libc = ctypes.CDLL(None)
		def fill():
		    fds = [dial(8080).detach() for _ in range(20)]
		    assert refusals([lambda: dial(8080)]) == 1
		    return fds
		fds = fill()
		assert libc.close_range(min(fds), 0xffffffff, 4) == 0
		assert refusals([lambda: dial(8080)]) == 1
		assert libc.close_range(min(fds), 0xffffffff, 0) == 0
		fds = fill()
		libc.closefrom(min(fds))
		print(len(fill()), "again")
	EOF
}

@test "fcntl keeps its negative results" {
	assert_python 'owner kept' 20000-20000 <<-'EOF'
		from sockets import *
		import ctypes
		libc = ctypes.CDLL(None)
		s, set_owner, get_owner = new(), 8, 9
		assert libc.fcntl(s.fileno(), set_owner, -os.getpgrp()) == 0
		print("owner", "kept" if libc.fcntl(s.fileno(), get_owner) == -os.getpgrp() else "lost")
	EOF
}

# --- what the fuzzer found ------------------------------------------------------------------------

@test "the one port that unfenced programs leave is found every time" {
	serve /usr/bin/python3 -u -c 'import signal, socket
held = [socket.socket() for _ in range(31)]
for port, s in enumerate(held, 20001):
    s.bind(("0.0.0.0", port))
print("bound")
signal.pause()'
	wait_for_line '^bound$'
	# The order of the first search decides about the next ones.
	for _ in {1..8}; do
		rm -f "$PORTFENCE_DIR"/portfence.*
		assert_python 'found it' 20000-20031 <<-'EOF'
			from sockets import *
			for _ in range(10):
			    s = new()
			    s.bind(("0.0.0.0", 0))
			    assert port_of(s) == 20000
			    s.close()
			print("found it")
		EOF
	done
}

@test "a new segment knows the connections that there are" {
	serve /usr/bin/python3 -uc 'if True:
		from sockets import *
		import signal
		s = new(TCP, socket.SO_REUSEADDR)
		s.bind(("127.0.0.1", 20000))
		s.connect(("127.0.0.1", 8080))
		print("connected")
		signal.pause()'
	wait_for_line '^connected$'
	# Which port is tried first is luck.
	for _ in {1..8}; do
		fence 20000-20001 "$PROBE/dial" tcp 127.0.0.1 8080
		[ "$(status_of REFUSED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a socket whose connect past libc has failed is bound in the pool" {
	netns_add_silence
	assert_python inside 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		import select
		call = {"x86_64": 42, "aarch64": 203}[os.uname().machine]
		to = struct.pack("=H", AF_INET) + struct.pack("!H4s8x", 80, bytes([10, 99, 0, 2]))
		s = new()
		s.setsockopt(socket.IPPROTO_TCP, 18, 1)  # TCP_USER_TIMEOUT
		s.setblocking(False)
		libc.syscall(call, s.fileno(), to, len(to))
		s.connect_ex(("10.99.0.2", 80))
		assert select.select([], [s], [], 20)[1]
		assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
		s.bind(("127.0.0.1", 0))
		print(where(s))
	EOF
}

@test "a socket that is bound after its connect has failed has the port, and leaves nothing to the reap" {
	netns_add_silence
	fence_in_background 40000-40001 /usr/bin/python3 -u -c 'from sockets import *
import select, signal
def failed_and_bound():
    s = new()
    s.setsockopt(socket.IPPROTO_TCP, 18, 1) # TCP_USER_TIMEOUT
    s.setblocking(False)
    s.connect_ex(("10.99.0.2", 80))
    assert select.select([], [s], [], 20)[1]
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    s.bind(("127.0.0.1", 0))
    return s
kept = failed_and_bound()
failed_and_bound().close()
print("closed")
signal.pause()'
	wait_for_line '^closed$'
	[ "$(status_of REAPED)" -eq 0 ]
	[ "$(status_of LEASED)" -eq 1 ]
}

@test "a socket that has the number of one closed, both past the hooks, connects from the pool" {
	assert_python inside "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		call = {"x86_64": (3, 41), "aarch64": (57, 198)}[os.uname().machine]
		s = dial(8080)
		assert libc.syscall(call[0], s.fileno()) == 0
		assert libc.syscall(call[1], AF_INET, TCP, 0) == s.fileno()
		s.connect(("127.0.0.1", 8080))
		print(where(s))
	EOF
}

@test "without a fence every option is shown as the kernel has it" {
	run -0 net env LD_PRELOAD="$SHIM" PORTFENCE_DISABLE=1 /usr/bin/python3 -c 'if True:
		import os, socket, subprocess, sys
		show = "import socket; print(socket.socket(fileno=0).getsockopt(socket.IPPROTO_IP, 51))"
		s = socket.socket()
		s.setsockopt(socket.IPPROTO_IP, 51, 20010 << 16 | 20001)
		subprocess.run([sys.executable, "-c", show], stdin=s, check=True)'
	[ "$output" -eq $((20010 << 16 | 20001)) ]
}

@test "a connect that finds no port leaves SO_REUSEADDR as the program had it" {
	assert_python '0 1' 20000-20000 <<-'EOF'
		from sockets import *
		first = dial(8080)
		plain, reusing = new(), new(TCP, socket.SO_REUSEADDR)
		assert refusals([lambda s=s: s.connect(("127.0.0.1", 8080)) for s in (plain, reusing)]) == 2
		print(*(s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) for s in (plain, reusing)))
	EOF
}
