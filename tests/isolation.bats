#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs that lock themselves in, are locked in by others, or live in namespaces of their own.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets stderr
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
# after it no port is leased: assert_python TEXT STDERR RANGES...
assert_python()
{
	local expected=$1 complaint=$2 program ranges
	program=$(cat)
	shift 2
	for ranges; do
		run --separate-stderr fence "$ranges" timeout 20 /usr/bin/python3 - <<<"$program"
		echo "$ranges: $output; $stderr"
		[ "$output" = "$expected" ]
		if [ "$complaint" ]; then
			assert_one_line "$complaint"
		else
			[ -z "$stderr" ]
			wait_for 5 leased_are 0 # a peer may not have closed yet
		fi
		rm -f "$PORTFENCE_DIR"/*
	done
}

leased_are()
{
	[ "$(status_of LEASED)" -eq "$1" ]
}

no_datagram_socket_in()
{
	[ -z "$(net ss -Huan "sport >= ${1%-*} and sport <= ${1#*-}")" ]
}

# --- network namespaces --------------------------------------------------------------------------

@test "a program that goes to and fro between namespaces uses no more memory for each time (trap 24)" {
	assert_python 'inside, the same, and no map for each turn more' '' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		CLONE_NEWNET = 0x40000000
		here = os.open("/proc/self/ns/net", os.O_RDONLY)
		libc.unshare(CLONE_NEWNET)
		there = os.open("/proc/self/ns/net", os.O_RDONLY)
		def turn():
		    for namespace in there, here:
		        assert libc.setns(namespace, 0) == 0
		        u = new(UDP)
		        u.bind(("0.0.0.0", 0))
		        assert where(u) == "inside", where(u)
		        u.close()
		    return sum(1 for _ in open("/proc/self/maps"))
		turn()
		before = turn()
		for _ in range(50): after = turn()
		s = dial(8080)
		print(f"{where(s)}, the same, and {'no map' if after - before < 25 else after - before} for each turn more") # Python's own come and go
		s.close()
	EOF
}

@test "a program that enters a namespace of another kind gives its ports back at once" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -0 fence "$pool" /usr/bin/python3 - <<-'EOF'
			from sockets import *
			for kind in 0, 0x04000000: # any, CLONE_NEWUTS
			    s = dial(8080)
			    assert libc.setns(os.open("/proc/self/ns/uts", os.O_RDONLY), kind) == 0
			    s.close()
		EOF
		[ "$(status_of LEASED) $(status_of REAPED)" = '0 0' ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a thread in a namespace of its own does not keep the others from ports that came free (trap 24)" {
	assert_python 'inside' '' 20000-20003 <<-'EOF'
		from sockets import *
		import signal, threading
		ready, done = threading.Event(), threading.Event()
		def elsewhere():
		    libc.unshare(0x40000000)
		    kept.append(new(UDP))
		    ready.set()
		    done.wait()
		thread = threading.Thread(target=elsewhere)
		thread.start()
		ready.wait()
		reader, writer = os.pipe()
		child = os.fork()
		if child == 0:
		    kept += [dial(8080) for _ in range(4)]
		    os.write(writer, b"x")
		    signal.pause()
		os.read(reader, 1)
		os.kill(child, signal.SIGKILL)
		os.waitpid(child, 0)
		errors.add(99)
		end = time.monotonic() + 10
		while refusals([lambda: dial(8080)]) and time.monotonic() < end: pass
		print(where(kept[-1]) if len(kept) > 1 else "none")
		done.set()
		thread.join()
		kept.clear()
	EOF
}

# --- programs that lock themselves in -----------------------------------------------------------

@test "a program that closes every descriptor, again and again, stays in its pool (trap 20)" {
	assert_python '' '' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		for call in lambda: os.closerange(0, 4096), lambda: libc.closefrom(0), lambda: libc.close_range(0, ~0, 0):
		    call()
		    s = dial(8080)
		    assert s.fileno() == 0 and where(s) == "inside"
		    u = new(UDP)
		    u.sendto(b"x", ("127.0.0.1", 8080))
		    assert where(u) == "inside"
		    s.detach(), u.detach()
		call()
	EOF
}

@test "a program that drops its privileges before its first socket stays in its pool (trap 20)" {
	assert_python 'inside
4 stand' '' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		def nobody():
		    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
		    s = dial(8080)
		    print(where(s), flush=True)
		    s.close()
		    print(stand(4), "stand")
		assert in_child(nobody) == 0
		dial(8080).close()
	EOF
}

@test "a program that drops its privileges after its first socket keeps its segment (trap 20)" {
	assert_python '3 stand' '' 20000-20003 40000-40003 <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
		print(stand(3), "stand")
		errors.add(99)
		assert refusals([lambda: dial(8080)]) == 1
		assert len(os.listdir(os.environ["PORTFENCE_DIR"])) == 1
	EOF
}

@test "a program without memory to spare stays in its pool (trap 20)" {
	assert_python inside 'ENOMEM (out of memory)' "$BIND_POOL" "$LATE_POOL" <<-'EOF'
		from sockets import *
		import resource
		bytearray(1 << 20)
		pages = int(open("/proc/self/statm").read().split()[0])
		resource.setrlimit(resource.RLIMIT_AS, (pages * 4096, -1))
		a, b = dial(8080), new(UDP)
		b.sendto(b"x", ("127.0.0.1", 8080))
		c = [dial(8080) for _ in range(20)]
		resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
		print(where(a, b, *c))
	EOF
}

@test "a program that may not write files gets no SIGXFSZ, and stays in its pool (trap 20)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		# Standard error is a file, too.
		for limit in 0 100000; do
			run --separate-stderr fence "$pool" timeout 20 prlimit --fsize=$limit \
				"$PROBE/dial" tcp 127.0.0.1 8080
			echo "$limit: $output $stderr"
			assert_ports_in "$pool" <<<"$output"
			[ -z "$(ls -A "$PORTFENCE_DIR")" ]
		done
		assert_one_line 'EFBIG (over the file size limit)'
	done
}

@test "a program whose standard error is a broken pipe gets no SIGPIPE (trap 20)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		export PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere
		run --separate-stderr fence "$pool" /usr/bin/python3 - <<-'EOF'
			from sockets import *
			import signal
			reader, writer = os.pipe()
			os.close(reader)
			os.dup2(writer, 2)
			signal.signal(signal.SIGPIPE, signal.SIG_DFL)
			print(where(dial(8080)), len(signal.sigpending()), len(signal.pthread_sigmask(0, [])))
		EOF
		[ "$output" = 'inside 0 0' ]
	done
}

@test "a program that may open nothing connects an inherited socket from its pool (trap 20)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for kind in TCP UDP; do
			run --separate-stderr net /usr/bin/python3 - "$PORTFENCE" "$pool" "$kind" <<-'EOF'
				from sockets import *
				s = new(globals()[sys.argv[3]])
				inside = f"""if True:
				    from sockets import *
				    import resource
				    s = socket.socket(fileno={s.fileno()})
				    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
				    s.connect(("127.0.0.1", 8080))
				    print(where(s))"""
				wrapped = [sys.argv[1], "run", "--ports", sys.argv[2], "--", sys.executable, "-c", inside]
				subprocess.run(wrapped, pass_fds=[s.fileno()], check=True)
			EOF
			echo "$kind: $output $stderr"
			[ "$output" = inside ]
			assert_one_line 'EMFILE (no file descriptor left)'
		done
	done
}

@test "descriptors that run out are the kernel's EMFILE, and nothing is lost (trap 20)" {
	assert_python '8 stand' '' 20000-20007 40000-40007 <<-'EOF'
		from sockets import *
		import errno, resource
		dial(8080).close()
		resource.setrlimit(resource.RLIMIT_NOFILE, (20, 100))
		try:
		    while True: kept.append(new(UDP))
		except OSError as e: assert e.errno == errno.EMFILE
		resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
		kept.clear()
		print(stand(8), "stand")
	EOF
}

# --- seccomp --------------------------------------------------------------------------------------

# In a sandbox, before its first socket, after it, and in a child, a program gets the answers that it gets
# without a fence, and ports of the pool: assert_same_in_sandbox errno|kill own|more ports|none
assert_same_in_sandbox()
{
	local pool moment
	net sysctl -qw net.ipv4.tcp_max_tw_buckets=0
	for moment in before after forked; do
		net "$PROBE/sandbox" 8080 "$1" $moment "$2" "$3" | sed 's/^port .*/port/' >"$BATS_TEST_TMPDIR/bare"
		for pool in "$BIND_POOL" "$LATE_POOL"; do
			preload "$pool" "$PROBE/sandbox" 8080 "$1" $moment "$2" "$3" >"$BATS_TEST_TMPDIR/wrapped"
			sed 's/^port .*/port/' "$BATS_TEST_TMPDIR/wrapped" | diff -u "$BATS_TEST_TMPDIR/bare" -
			[ "$3" = none ] ||
				sed -n 's/^port //p' "$BATS_TEST_TMPDIR/wrapped" | assert_ports_in "$pool"
			wait_for 5 leased_are 0 # a peer may not have closed yet
			rm "$PORTFENCE_DIR"/*
		done
	done
}

@test "a sandbox that answers EPERM to what is not the program's own call: all works (trap 20)" {
	assert_same_in_sandbox errno own ports
	assert_same_in_sandbox errno own none
}

@test "a sandbox that kills spares copies, closes and sends that take no port (trap 20)" {
	assert_same_in_sandbox kill own none
}

@test "a sandbox that kills, and allows what a port takes: all works (trap 20)" {
	assert_same_in_sandbox kill more ports
}

# --- network namespaces ---------------------------------------------------------------------------

@test "unshare -n, ip netns exec and nsenter under the fence: a pool for each namespace (trap 20)" {
	for pool in 20000 40000; do
		fence_in_background "$pool" "$PROBE/hold" 1 8080 127.0.0.1
		wait_for_line '^1 held$'
		first=$NETNS
		netns_new
		net sysctl -qw net.ipv4.tcp_max_tw_buckets=0
		serve "$PROBE/sink" 8080
		wait_for 5 listening 8080
		# shellcheck disable=SC2086 # a command of words
		for how in "ip netns exec $NETNS" "nsenter --net=/run/netns/$NETNS"; do
			run --separate-stderr nsenter --net="/run/netns/$first" -- \
				"$PORTFENCE" run --ports "$pool" -- $how "$PROBE/dial" tcp 127.0.0.1 8080
			echo "$how: $output $stderr"
			[ "$output" = "$pool" ]
		done
		# shellcheck disable=SC2016 # the inner shell's
		run --separate-stderr nsenter --net="/run/netns/$first" -- \
			"$PORTFENCE" run --ports "$pool" -- unshare -n sh -c 'ip link set lo up &&
			{ "$0/sink" 8080 & } && until ss -Hltn | grep -q :8080; do :; done &&
			"$0/dial" tcp 127.0.0.1 8080; kill $!' "$PROBE"
		echo "unshare: $output $stderr"
		[ "$output" = "$pool" ]
		netns_end
		NETNS=$first
		[ "$(status_of LEASED)" -eq 1 ]
		servers_end
		sink_start 8080
		rm "$PORTFENCE_DIR"/*
	done
}

@test "setns there and back: each port is of the pool, and the first namespace loses none (trap 20)" {
	assert_python '10 more' '' 20000-20011 40000-40011 <<-'EOF'
		from sockets import *
		kept.append(dial(8080))
		home = os.open("/proc/self/ns/net", os.O_RDONLY)
		def setns(fd): assert libc.setns(fd, 0x40000000) == 0
		netns_new()
		away = os.open("/proc/self/ns/net", os.O_RDONLY)
		server = listener(8080)
		for _ in range(5):
		    setns(home)
		    dial(8080).close()
		    kept.append(dial(8080))
		    setns(away)
		    for s in [dial(8080) for _ in range(9)]: assert where(s) == "inside"
		setns(home)
		assert where(*kept) == "inside"
		kept[1:] = []
		s = dial(8080)
		print(stand(10), "more")
	EOF
}

@test "one network namespace with two directories: the kernel keeps the peace (trap 24)" {
	install -d -m 1777 "$BATS_TEST_TMPDIR"/{one,two}
	for pool in 20000-20299 40000-40299; do
		for dir in one two one two; do
			PORTFENCE_DIR=$BATS_TEST_TMPDIR/$dir fence_in_background "$pool" /usr/bin/python3 -c 'if True:
				from sockets import *
				import signal
				refused = refusals([lambda: dial(8080)] * 60)
				print(refused, "refused,", where(*kept), flush=True)
				signal.pause()'
			wait_for_line refused
			# Late: none. By bind: what a segment does not know costs an error, once.
			grep -Eq '^[0-5] refused, inside$' "$LOG"
			[ "$pool" = 20000-20299 ] || grep -q '^0 refused' "$LOG"
		done
		servers_end
		sink_start 8080
	done
}

@test "pid namespaces with the same pids share a pool as strangers do (trap 24)" {
	for pool in 20000-20999 40000-40999; do
		pids=()
		for _ in 1 2 3 4; do
			fence_in_background "$pool" unshare --pid --fork --kill-child "$PROBE/hold" 200 8080 127.0.0.1
			wait_for_line '^200 held$'
			pids+=("$PID")
		done
		[ "$(tcp_pairs state established 'dport = :8080' | sort -u | wc -l)" -eq 800 ]
		[ "$(status_of LEASED)" -eq 800 ]
		[ "$(status_of REFUSED)" -eq 0 ]
		companion_end "${pids[1]}" KILL
		wait_for 5 leased_are 600
		for PID in "${pids[@]}"; do
			companion_end "$PID" KILL
		done
		wait_for 5 leased_are 0
		rm "$PORTFENCE_DIR"/*
	done
}

# --- clocks ------------------------------------------------------------------------------------------

@test "processes whose clocks are years apart share a pool (trap 25)" {
	for pool in 20000-20099 40000-40099; do
		for _ in 1 2; do
			for offset in 100000000 0; do
				run fence "$pool" unshare -T --monotonic $offset --boottime $offset --fork \
					timeout 20 "$PROBE/threads" 8 50 8080
				echo "$offset: $output"
				[ "${lines[0]}" = '400 connected, 0 failed' ]
				assert_ports_in "$pool" <<<"${lines[1]}"
				assert_ports_in "$pool" <<<"${lines[2]}"
			done
		done
		wait_for 5 leased_are 0 # a peer may not have closed yet
		# What was found and reaped in the future is no exhaustion now, and no reap.
		fence_in_background "$pool" unshare -T --monotonic 100000000 --fork --kill-child \
			"$PROBE/bindmany" udp 101
		wait_for_line '100 bound, then EADDRINUSE'
		companion_end "$PID" KILL
		wait_for 5 no_datagram_socket_in "$pool"
		assert_prints_port_in "$pool" bindzero udp 127.0.0.1
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a segment in memory is of this boot, whatever a container is told of its boot (trap 25)" {
	PORTFENCE_DIR=$(mktemp -d /dev/shm/boot.XXXXXX)
	cat /proc/sys/kernel/random/uuid >"$BATS_TEST_TMPDIR/boot_id"
	net "$PORTFENCE" run --ports 20000-20999 -- "$PROBE/dial" tcp 127.0.0.1 8080
	inode=$(stat -c %i "$PORTFENCE_DIR"/portfence.*)
	net unshare --mount sh -c 'mount --bind "$BATS_TEST_TMPDIR/boot_id" /proc/sys/kernel/random/boot_id
		"$PORTFENCE" run --ports 20000-20999 -- "$PROBE/dial" tcp 127.0.0.1 8080'
	after=$(stat -c %i "$PORTFENCE_DIR"/portfence.*)
	taken=$(net "$PORTFENCE" log --no-header | wc -l)
	rm -r "$PORTFENCE_DIR"
	[ "$after" = "$inode" ]
	[ "$taken" -eq 2 ]
}

@test "a segment of an earlier boot is replaced, without a word (trap 25)" {
	PORTFENCE_DIR=$(mktemp -d /var/tmp/portfence.XXXXXX)
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence "$pool" "$PROBE/dial" tcp 127.0.0.1 8080
		name=$(echo "$PORTFENCE_DIR"/portfence.*)
		boot=$(tr -d - </proc/sys/kernel/random/boot_id)
		at=$(($(xxd -p -l 4096 "$name" | tr -d '\n' | grep -ob "$boot" | cut -d: -f1) / 2))
		printf '\xff\xff' | dd of="$name" bs=1 seek="$at" conv=notrunc status=none
		run --separate-stderr fence "$pool" "$PROBE/dial" tcp 127.0.0.1 8080
		assert_ports_in "$pool" <<<"$output"
		[ -z "$stderr" ]
		[ "$(xxd -p -s "$at" -l 16 "$name")" = "$boot" ]
		rm "$PORTFENCE_DIR"/*
	done
	rmdir "$PORTFENCE_DIR"
}
