#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Sockets that pass from process to process: by fork, vfork, exec, and in messages.

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

# The pool gave out no port that a socket had, and none is leased any more.
assert_no_port_given_twice()
{
	[ "$(status_of REFUSED)" -eq 0 ]
	[ "$(status_of LEASED)" -eq 0 ]
}

@test "a vforked child does what it likes with its copies: the parent's map survives (trap 15)" {
	for pool in 20000 40000; do
		run fence "$pool" "$PROBE/borrow" 8080 vfork
		echo "$output"
		[ "$output" = 'all 8 held' ]
		assert_no_port_given_twice
	done
}

@test "a child forked past libc does what it likes with its copies (trap 14)" {
	for pool in 20000 40000; do
		run fence "$pool" "$PROBE/borrow" 8080 clone
		echo "$output"
		[ "$output" = 'all 8 held' ]
		assert_no_port_given_twice
	done
}

@test "what a vfork child does to fresh sockets, none bound yet, is not done to its parent's (trap 15)" {
	for port in 20000 40000; do
		run fence "$port" "$PROBE/lend" 8080
		[ "$output" = "UDP from $port, range 45000-45999, TCP from $port, TCP from $port" ]
		[ "$(status_of REAPED)" -eq 0 ]
	done
}

@test "a vfork child that closes a bound socket takes no port from its parent" {
	for pool in 20000-20009 40000-40009; do
		for deed in fclose dup2 close_range dup rebind; do
			fence_in_background "$pool" "$PROBE/vforked" $deed
			wait_for_line '^[0-9]+$'
			echo "$deed: $(cat "$LOG")"
			assert_ports_in "$pool" <"$LOG"
			[ "$(status_of LEASED)" -eq 1 ]
			companion_end "$PID"
			rm "$PORTFENCE_DIR"/*
		done
	done
}

@test "processes forked from many threads close, connect and execute (trap 14)" {
	# So many ports that none is used again within a child's life: whether that has the socket that
	# another thread opens and closes while the kernel copies the process, nobody can know.
	for pool in 10000-19999 40000-49999; do
		run fence "$pool" timeout 60 "$PROBE/forkstorm" 8080 8 100
		echo "$output"
		[ "$output" = '0 children ended badly, 0 connects failed' ]
		[ "$(status_of LEASED)" -eq 0 ]
	done
}

@test "a child that goes on alone has its leases counted, and its own come and go (trap 14)" {
	for pool in 20000-20003 40000-40003; do
		run --separate-stderr fence "$pool" /usr/bin/python3 - <<-'EOF'
			from sockets import *
			a, b = dial(8080), dial(8080)
			def child():
			    a.close()
			    for _ in range(50): dial(8080).close()
			    c = dial(8080)
			    assert port_of(c) not in (port_of(b), parents), "given away"
			parents = port_of(a)
			assert in_child(child) == 0
			b.close()
			a.close()
			print(stand(4), "stand")
		EOF
		echo "$output $stderr"
		[ "$output" = '4 stand' ]
		assert_no_port_given_twice
	done
}

@test "a socket made before a fork and connected after it is the child's, too (trap 14)" {
	for pool in 20000-20001 40000-40001; do
		run --separate-stderr fence "$pool" /usr/bin/python3 - <<-'EOF'
			from sockets import *
			s = new()
			wait, go = os.pipe()
			if os.fork() == 0:
			    os.close(go)
			    os.read(wait, 1)
			    os._exit(0)
			s.connect(("127.0.0.1", 8080))
			port = port_of(s)
			s.close()
			assert refusals([lambda: dial(8080)] * 2) == 1 and port_of(*kept) != port
			os.close(go)
			os.wait()
			print(stand(1), "stands")
		EOF
		echo "$output $stderr"
		[ "$output" = '1 stands' ]
		[ "$(status_of REFUSED)" -eq 0 ]
	done
}

@test "Python's subprocess and Java's ProcessBuilder leave the parent's ports alone (trap 15)" {
	cat >"$BATS_TEST_TMPDIR/Parent.java" <<-'EOF'
		import java.net.*;

		public class Parent {
			public static void main(String[] a) throws Exception {
				var s = new Socket("127.0.0.1", 8080);
				s.setSoLinger(true, 0);
				for (int i = 0; i < 3; i++)
					if (new ProcessBuilder("true").start().waitFor() != 0)
						System.exit(1);
				try {
					new Socket("127.0.0.1", 8080);
					System.out.println("given away");
				} catch (SocketException e) {
					System.out.println("held");
				}
				s.close();
				System.exit(0);
			}
		}
	EOF
	javac -d "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/Parent.java"
	for pool in 20000 40000; do
		for mechanism in VFORK POSIX_SPAWN FORK; do
			run fence "$pool" java -Djava.net.preferIPv4Stack=true \
				-Djdk.lang.Process.launchMechanism=$mechanism -cp "$BATS_TEST_TMPDIR" Parent
			echo "$mechanism: $output"
			[ "$output" = held ]
			assert_no_port_given_twice
		done
		run --separate-stderr fence "$pool" /usr/bin/python3 - <<-'EOF'
			from sockets import *
			for close_fds in True, False:
			    s = dial(8080)
			    for _ in range(3): subprocess.run(["true"], close_fds=close_fds, check=True)
			    assert refusals([lambda: dial(8080)]) == 1
			    s.close()
			dial(8080).close()
			print("held")
		EOF
		echo "$output $stderr"
		[ "$output" = held ]
		assert_no_port_given_twice
	done
}

@test "a socket that passed over exec goes back with the program that got it (trap 16)" {
	for pool in 20000 40000; do
		for how in 'os.close(fd)' 'os.dup2(0, fd)' 'pass'; do
			run --separate-stderr fence "$pool" /usr/bin/python3 - "$how" <<-'EOF'
				from sockets import *
				s = dial(8080)
				os.set_inheritable(s.fileno(), True)
				inside = f"""if True:
				    from sockets import *
				    fd = {s.fileno()}
				    assert refusals([lambda: dial(8080)]) == 1
				    {sys.argv[1]}
				    print("ended")"""
				os.execv(sys.executable, [sys.executable, "-c", inside])
			EOF
			echo "$how: $output $stderr"
			[ "$output" = ended ]
			assert_no_port_given_twice
			rm "$PORTFENCE_DIR"/*
		done
	done
}

@test "a socket accepted, inherited on fd 0, or received has no lease, and keeps its port (trap 21)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr net /usr/bin/python3 - "$PORTFENCE" "$pool" <<-'EOF'
			from sockets import *
			server = listener(8090)
			client = dial(8090)
			accepted = server.accept()[0]
			calls = ["strace", "-qq", "-e", "trace=bind,connect,setsockopt", "-o", "calls"]
			inside = """if True:
			    from sockets import *
			    s = socket.socket(fileno=os.dup(0))
			    s.sendmsg([b"x"])
			    assert libc.sendto(s.fileno(), b"y", 1, 0, None, 0) == 1
			    os.dup2(s.fileno(), 0)
			    other = socket.socket(fileno=3)
			    got = socket.recv_fds(other, 1, 1)[1][0]
			    libc.send(got, b"z", 1, 0)
			    libc.close(got)
			    s.close()
			    print("done")"""
			ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
			os.dup2(theirs.fileno(), 3)
			socket.send_fds(ours, [b"x"], [accepted.fileno()])
			os.chdir(os.environ["BATS_TEST_TMPDIR"])
			wrapped = [sys.argv[1], "run", "--ports", sys.argv[2], "--", sys.executable, "-c", inside]
			subprocess.run(calls + wrapped, stdin=accepted, pass_fds=[3], check=True)
			print(client.recv(3).decode(), flush=True)
		EOF
		echo "$output $stderr"
		[ "$output" = 'done
xyz' ]
		[ ! -s "$BATS_TEST_TMPDIR/calls" ]
		[ -z "$(ls "$PORTFENCE_DIR")" ]
	done
}

@test "a socket received unbound connects and sends from the pool (trap 21)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for call in 's.connect(at)' 's.sendto(b"x", at)' 's.sendmsg([b"x"], [], 0, at)'; do
			run --separate-stderr net /usr/bin/python3 - "$PORTFENCE" "$pool" "$call" <<-'EOF'
				from sockets import *
				ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
				kept.append(new(UDP))
				socket.send_fds(ours, [b"x"], [kept[0].fileno()])
				inside = f"""if True:
				    from sockets import *
				    other = socket.socket(fileno={theirs.fileno()})
				    s = socket.socket(fileno=socket.recv_fds(other, 1, 1)[1][0])
				    at = ("127.0.0.1", 8080)
				    {sys.argv[3]}
				    print(where(s))"""
				wrapped = [sys.argv[1], "run", "--ports", sys.argv[2], "--", sys.executable, "-c", inside]
				subprocess.run(wrapped, pass_fds=[theirs.fileno()], check=True)
			EOF
			echo "$call: $output $stderr"
			[ "$output" = inside ]
		done
	done
}
