#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Descriptors that are closed past the fence, copied, inherited, and closed by the thousand.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

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

# Runs the Python program on standard input in each fence; each time it must print just TEXT, and
# nobody may have been given a port that a socket had. Counts in $REAPED what was not given back in
# time: assert_python TEXT RANGES...
assert_python()
{
	local expected=$1 program ranges
	program=$(cat)
	shift
	REAPED=0
	for ranges; do
		run --separate-stderr fence "$ranges" timeout 60 /usr/bin/python3 - <<<"$program"
		echo "$ranges: $output; $stderr"
		[ "$output" = "$expected" ]
		[ "$(status_of REFUSED)" -eq 0 ]
		[ "$(status_of LEASED)" -eq 0 ]
		REAPED=$((REAPED + $(status_of REAPED)))
		rm "$PORTFENCE_DIR"/*
	done
}

# --- closes that nobody sees ----------------------------------------------------------------------

# One port, used again and again within milliseconds: no reap could give it back in time.
@test "a socket closed past libc gives its port to the next socket of that number (traps 1, 13e)" {
	assert_python 'again and again' 20000 40000 <<-'EOF'
		from sockets import *
		for _ in range(50):
		    assert libc.syscall(3, dial(8080).detach()) == 0
		dial(8080).close()
		print("again and again")
	EOF
}

@test "a socket closed past libc, its number another's, gives its port back to the reap (trap 1)" {
	assert_python '4 stand, 4 stand' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		server = listener(8090)
		def others():
		    "Whatever has a number: a file, a copy, a pipe, a pair, an accepted socket."
		    yield os.open("/dev/null", os.O_RDONLY)
		    yield libc.dup(0)
		    yield from os.pipe()
		    for each in socket.socketpair(): yield each.detach()
		stood = []
		for _ in range(2):
		    fds = [dial(8080).detach() for _ in range(4)]
		    for fd in fds: libc.syscall(3, fd)
		    opened = list(others())
		    assert set(fds) <= set(opened)
		    stood.append(f"{stand(4)} stand")
		    for fd in opened: os.close(fd)
		    kept.clear()
		print(*stood, sep=", ")
	EOF
}

@test "a number closed and opened past libc connects from the pool (trap 1)" {
	assert_python inside "$BIND_POOL" <<-'EOF'
		from sockets import *
		fd = dial(8080).detach()
		assert libc.syscall(3, fd) == 0
		assert libc.syscall(41, socket.AF_INET, TCP, 0) == fd
		s = socket.socket(fileno=fd)
		s.connect(("127.0.0.1", 8080))
		print(where(s))
	EOF
}

@test "a fast open of a number closed and opened past libc leaves from the pool" {
	assert_python inside "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		fd = dial(8080).detach()
		assert libc.syscall(3, fd) == 0
		assert libc.syscall(41, AF_INET, TCP, 0) == fd
		s = socket.socket(fileno=fd)
		s.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 8080))
		print(where(s))
	EOF
}

@test "a copy that gets the number of a socket closed past libc ends its lease" {
	assert_python 'all given back' 20000-20009 40000-40009 <<-'EOF'
		from sockets import *
		connection, file = dial(8080), os.open("/dev/null", os.O_RDONLY)
		for copied in connection.fileno(), file:
		    fd = dial(8080).detach()
		    assert libc.syscall(3, fd) == 0
		    assert libc.dup(copied) == fd
		    assert libc.close(fd) == 0
		connection.close()
		print("all given back")
	EOF
	[ "$REAPED" -eq 0 ]
}

@test "libc's own closes give ports back as well (trap 1)" {
	assert_python 'given back' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		libc.fdopen.restype = libc.freopen.restype = ctypes.c_void_p
		libc.fclose.argtypes = [ctypes.c_void_p]
		libc.freopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
		for _ in range(3):
		    streams = [libc.fdopen(dial(8080).detach(), b"r") for _ in range(4)]
		    streams = [libc.freopen(b"/dev/null", b"r", each) for each in streams]
		    assert stand(4) == 4
		    kept.clear()
		    for each in streams: assert libc.fclose(each) == 0
		socket.getaddrinfo("localhost", 80)
		print("given back")
	EOF
}

# --- copies -----------------------------------------------------------------------------------------

@test "a dup2 that fails, and one of a number to itself, close nothing (trap 5)" {
	assert_python held 20000 40000 <<-'EOF'
		from sockets import *
		for _ in range(5):
		    s = dial(8080)
		    for call in (lambda: libc.dup2(999, s.fileno()), lambda: libc.dup3(999, s.fileno(), 0),
		                 lambda: libc.dup3(0, s.fileno(), 1), lambda: libc.dup3(s.fileno(), s.fileno(), 0)):
		        assert call() == -1
		        assert refusals([lambda: dial(8080)]) == 1
		    assert libc.dup2(s.fileno(), s.fileno()) == s.fileno()
		    assert refusals([lambda: dial(8080)]) == 1
		    s.close()
		dial(8080).close()
		print("held")
	EOF
}

@test "copies by F_DUPFD_CLOEXEC, of copies, far apart: the lease goes with the last (trap 5)" {
	assert_python 'with the last' 20000 40000 <<-'EOF'
		from sockets import *
		for least in 100, 5000, 9000:
		    s = dial(8080)
		    fd = libc.fcntl(s.fileno(), 1030, least)
		    assert fd == least
		    copies = [fd, libc.dup(fd), libc.fcntl(fd, 0, least + 1), libc.dup3(fd, least + 7, 0)]
		    s.close()
		    for each in copies:
		        assert refusals([lambda: dial(8080)]) == 1
		        assert libc.close(each) == 0
		dial(8080).close()
		print("with the last")
	EOF
}

@test "copies of connections that share a port: its lease goes with the last of them all" {
	assert_python 'given back' 20000 40000 <<-'EOF'
		from sockets import *
		servers = [socket.create_server(("127.0.0.1", port)) for port in range(9000, 9003)]
		for _ in range(3):
		    sockets = [dial(port) for port in range(9000, 9003)]
		    copies = [os.dup(s.fileno()) for s in sockets]
		    sockets.pop(0).close()
		    os.close(copies.pop(0))
		    dial(9000).close()
		    for s in sockets: s.close()
		    for fd in copies: os.close(fd)
		dial(8080).close()
		print("given back")
	EOF
	[ "$REAPED" -eq 0 ]
}

# --- inherited sockets ------------------------------------------------------------------------------

# Runs the Python program on standard input, which hands sockets over to the fence, with each claim.
# Each time TEXT must be printed: assert_handed_over TEXT
assert_handed_over()
{
	local program pool
	program=$(cat)
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run net timeout 60 /usr/bin/python3 - "$PORTFENCE" run --ports "$pool" -- <<<"$program"
		echo "$pool: $output"
		[ "$output" = "$1" ]
	done
}

@test "an inherited socket that binds without a port has none until it connects" {
	assert_handed_over '0, then 127.0.0.5 inside' <<-'EOF'
		from sockets import *
		s = new()
		s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
		hand_over(s, """if True:
		    s.bind(("127.0.0.5", 0))
		    print(port_of(s), end=", then ")
		    s.connect(("127.0.0.1", 8080))
		    print(s.getsockname()[0], where(s))""")
	EOF
}

@test "an inherited socket that has an address and no port keeps that address" {
	assert_handed_over '127.0.0.5 inside' <<-'EOF'
		from sockets import *
		s = new()
		s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
		s.bind(("127.0.0.5", 0))
		hand_over(s, """if True:
		    s.connect(("127.0.0.1", 8080))
		    print(s.getsockname()[0], where(s))""")
	EOF
}

@test "an inherited socket keeps its SO_REUSEADDR" {
	assert_handed_over '1 inside' <<-'EOF'
		from sockets import *
		hand_over(new(TCP, socket.SO_REUSEADDR), """if True:
		    s.connect(("127.0.0.1", 8080))
		    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), where(s))""")
	EOF
}

@test "an inherited UDP socket keeps the port that the kernel gave it" {
	assert_handed_over 'the same' <<-'EOF'
		from sockets import *
		s = new(UDP)
		s.sendto(b"x", ("127.0.0.1", 8080))
		hand_over(s, f"""if True:
		    s.sendto(b"x", ("127.0.0.1", 8080))
		    print("the same" if port_of(s) == {port_of(s)} else port_of(s))""")
	EOF
}

# --- thousands ----------------------------------------------------------------------------------------

@test "6,000 sockets closed by one call give 6,000 ports back, with no reap (trap 6)" {
	for pool in 10000-15999 40000-45999; do
		run --separate-stderr fence "$pool" timeout 60 /usr/bin/python3 - <<-'EOF'
			from sockets import *
			def fill():
			    sockets = [new(UDP) for _ in pool()]
			    for s in sockets: s.bind(("127.0.0.1", 0))
			    return [s.detach() for s in sockets]
			fds = fill()
			assert libc.close_range(min(fds), 0xffffffff, 4) == 0
			assert refusals([lambda: new(UDP).bind(("127.0.0.1", 0))]) == 1
			assert libc.close_range(min(fds), max(fds), 0) == 0
			fds = fill()
			libc.closefrom(min(fds))
			assert libc.close_range(min(fill()), 0xffffffff, 2) == 0
			print("filled three times")
		EOF
		echo "$output $stderr"
		[ "$output" = 'filled three times' ]
		# The last ones are: CLOSE_RANGE_UNSHARE closes in this thread only.
		[ "$(status_of LEASED)" -eq 0 ]
		[ "$(status_of REAPED)" -le 6000 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "CLOSE_RANGE_UNSHARE closes for one thread: what the others have stays leased (trap 6)" {
	assert_python held 20000 40000 <<-'EOF'
		from sockets import *
		import threading
		s = dial(8080)
		results = []
		def alone():
		    results.append(libc.close_range(s.fileno(), 0xffffffff, 2))
		thread = threading.Thread(target=alone)
		thread.start()
		thread.join()
		assert results == [0]
		s.send(b"x")
		assert refusals([lambda: dial(8080)]) == 1
		s.close()
		print("held")
	EOF
}
