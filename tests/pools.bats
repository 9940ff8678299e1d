#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A policy at work: its rules choose the pool of each call, and each pool does as it says.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test has its own policy

load test_helper

setup()
{
	world_new
	sink_start 8080
	serve_on 8081 "$PROBE/sink" 8081 tcp
	cd "$(scratch)" || return
}

teardown()
{
	world_end
}

# Writes the policy on standard input; the fence of the rest of this test is that.
policy()
{
	cat >policy.conf
}

# Runs a command in it: within [OPTION...] -- COMMAND...
within()
{
	net "$PORTFENCE" run --policy policy.conf "$@"
}

# Runs the Python program on standard input in it: within_python [OPTION...]
within_python()
{
	within "$@" -- timeout 20 /usr/bin/python3 -
}

# Fails unless the Python program on standard input prints just TEXT: assert_python TEXT [OPTION...]
assert_python()
{
	local expected=$1
	shift
	run --separate-stderr within_python "$@"
	echo "$output; $stderr"
	[ "$output" = "$expected" ]
}

# A cell of `portfence status` for one pool: pool_status POOL COLUMN
pool_status()
{
	net "$PORTFENCE" status | awk -v pool="$1" -v column="$2" '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i }
		$1 == pool && at { print $at; found = 1 }
		END { exit !found }'
}

# --- rules -------------------------------------------------------------------------------------

@test "two programs take from their own pools at the same time" {
	policy <<-'EOP'
		[pool web]
		ports = 20000-20099
		[pool scripts]
		ports = 40000-40099
		[rule curl]
		program = curl
		pool = web
		[rule python]
		program = /usr/bin/python3*
		pool = scripts
	EOP
	serve "$PORTFENCE" run --policy policy.conf -- /usr/bin/python3 -uc 'if True:
		from sockets import *
		import signal
		dialled = [dial(8080) for _ in range(50)]
		print("up")
		signal.pause()'
	wait_for_line '^up$'
	serve "$PORTFENCE" run --policy policy.conf -- curl -s -m 30 telnet://127.0.0.1:8081
	wait_for 5 eval '[ "$(tcp_local_ports "dport = :8081" | wc -l)" -eq 1 ]'
	tcp_local_ports 'dport = :8081' | assert_ports_in 20000-20099
	tcp_local_ports 'dport = :8080' | assert_ports_in 40000-40099
	[ "$(pool_status scripts LEASED)" -eq 50 ]
	[ "$(pool_status web LEASED)" -eq 1 ]
}

@test "one program takes from two pools, by where it connects to" {
	policy <<-'EOP'
		[pool near]
		ports = 20000-20099
		[pool far]
		ports = 40000-40099
		[rule near]
		destination = 127.0.0.0/8:8080 [::1]:8080
		pool = near
		[rule far]
		destination = 127.0.0.0/8
		pool = far
	EOP
	assert_python 'near far near far' <<-'EOF'
		from sockets import *
		def pool_of(s): return "near" if port_of(s) in range(20000, 20100) else "far" if port_of(s) in range(40000, 40100) else "out"
		print(*(pool_of(dial(port)) for port in (8080, 8081)), end=" ")
		u = [new(UDP), new(UDP)]
		u[0].sendto(b"x", ("127.0.0.1", 8080))
		u[1].sendto(b"x", ("127.0.0.1", 8081))
		print(*map(pool_of, u))
	EOF
}

@test "TCP and UDP can have pools of their own, and what no rule is about is the kernel's" {
	policy <<-'EOP'
		[pool streams]
		ports = 20000-20099
		[pool datagrams]
		ports = 20100-20199
		protocols = udp
		[rule datagrams]
		protocol = udp
		pool = datagrams
		[rule streams]
		destination = 127.0.0.1:8080
		pool = streams
	EOP
	assert_python 'True True True' <<-'EOF'
		from sockets import *
		u = new(UDP)
		u.bind(("127.0.0.1", 0))
		print(port_of(u) in range(20100, 20200), port_of(dial(8080)) in range(20000, 20100), port_of(dial(8081)) >= 32768)
	EOF
}

@test "a rule can leave calls to the kernel, in its whole range" {
	ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_local_port_range='40000 49999'
	policy <<-'EOP'
		[pool default]
		ports = 40000-40003
		[rule free]
		destination = *:8081
		pool = none
	EOP
	assert_python '4 of 40' <<-'EOF'
		from sockets import *
		free = {port_of(kept.append(dial(8081)) or kept[-1]) for _ in range(40)}
		assert len(free) == 40 and free - set(range(40000, 40004))
		errors.add(99)
		print(f"{40 - refusals([lambda: dial(8080)] * 40)} of 40")
	EOF
}

@test "a rule about a user is about the effective one of the moment" {
	policy <<-'EOP'
		[segment]
		group = nogroup
		mode = 0660
		[pool nobody]
		ports = 20000-20099
		[pool root]
		ports = 20100-20199
		[rule nobody]
		user = nobody
		pool = nobody
		[rule root]
		group = 0
		pool = root
	EOP
	chmod 777 .
	assert_python 'root nobody' <<-'EOF'
		from sockets import *
		def pool_of(s): return "nobody" if port_of(s) in range(20000, 20100) else "root" if port_of(s) in range(20100, 20200) else "out"
		print(pool_of(dial(8080)), end=" ")
		os.setegid(65534)
		os.seteuid(65534)
		print(pool_of(dial(8080)))
	EOF
}

@test "a pool chosen on the command line is taken whatever the rules say, in all that is started" {
	policy <<-'EOP'
		[pool one]
		ports = 20000-20099
		[pool two]
		ports = 20100-20199
		[rule all]
		pool = one
	EOP
	run within --pool two -- env -i "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 20100-20199 <<<"$output"
	run within -- env -i "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 20000-20099 <<<"$output"
	run --separate-stderr within --pool three -- true
	[ "$status" -eq 125 ]
	assert_one_line "no pool 'three'"
}

@test "an empty PORTFENCE_POOL is none" {
	policy <<-'EOP'
		[pool default]
		ports = 20000-20099
	EOP
	run -0 --separate-stderr within -- env PORTFENCE_POOL= "$PROBE/dial" tcp 127.0.0.1 8080
	[ -z "$stderr" ]
	assert_ports_in 20000-20099 <<<"$output"
}

@test "where the policy leaves a port to the kernel, a program's own range serves" {
	policy <<-'EOP'
		[pool default]
		ports = 40000-40003
		protocols = udp
	EOP
	assert_python 45000 <<-'EOF'
		from sockets import *
		s = new()
		s.setsockopt(socket.IPPROTO_IP, 51, struct.pack("I", 45000 << 16 | 45000))
		s.connect(("127.0.0.1", 8080))
		print(port_of(s))
	EOF
}

@test "run refuses a policy in the environment that cannot be read, before the program does" {
	for path in /no/such /etc/passwd; do
		PORTFENCE_POLICY=$path run -125 --separate-stderr "$PORTFENCE" run -- echo no
		[ -z "$output" ]
		assert_one_line "PORTFENCE_POLICY: $path: "
	done
}

@test "who chooses ports for a program gets none of the policy around it" {
	policy <<-'EOP'
		[pool all]
		ports = 20000-20099
	EOP
	run within -- env PORTFENCE_PORTS=20200-20299 "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 20000-20099 <<<"$output" # PORTFENCE_POLICY is there, and comes first
	run within -- env -i PORTFENCE_PORTS=20200-20299 "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 20200-20299 <<<"$output"
	run within -- "$PORTFENCE" run --ports 20200-20299 "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 20200-20299 <<<"$output"
}

# --- settings ----------------------------------------------------------------------------------

@test "a process with all that its quota allows gets no more, and another goes on" {
	for ports in 20000-20999 40000-40999; do
		printf '%s\n' '[pool default]' "ports = $ports" 'quota = 10' >policy.conf
		assert_python '10 then 99, 9 and one more, 5 elsewhere' <<-'EOF'
			from sockets import *
			errors.add(99)
			kept += [dial(8080) for _ in range(10)]
			assert refusals([lambda: dial(8080), lambda: dial(8081)]) == 2
			copies = [os.dup(s.fileno()) for s in kept]
			kept.pop().close()
			os.close(copies.pop())
			print(f"10 then {min(errors)}, {len(kept)} and", end=" ")
			kept.append(dial(8080))
			assert refusals([lambda: dial(8080)]) == 1
			print("one more,", subprocess.check_output([sys.executable, "-c", "from sockets import *; print(len([dial(8080) for _ in range(5)]), 'elsewhere')"], text=True).strip())
		EOF
		[ "$(pool_status default QUOTA)" -eq 3 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a socket whose number is high counts for the quota" {
	for ports in 20000-20999 40000-40999; do
		printf '%s\n' '[pool default]' "ports = $ports" 'quota = 2' >policy.conf
		assert_python 99 <<-'EOF'
			from sockets import *
			import fcntl
			for _ in range(2):
			    s = dial(8080)
			    fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 5000)
			    s.close()
			print(new().connect_ex(("127.0.0.1", 8080)))
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a fast open that may not block waits for no port" {
	for ports in 20000 40000; do
		printf '%s\n' '[pool default]' "ports = $ports" 'exhausted = wait 1h' >policy.conf
		assert_python 99 <<-'EOF'
			from sockets import *
			kept.append(dial(8080))
			flags = socket.MSG_FASTOPEN | socket.MSG_DONTWAIT
			try: new().sendto(b"x", flags, ("127.0.0.1", 8080))
			except OSError as e: print(e.errno)
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a call that finds no port waits for one, if it may block, and as long as the policy says" {
	for ports in 20000-20001 40000-40001; do
		printf '%s\n' '[pool default]' "ports = $ports" 'exhausted = wait 20s' >policy.conf
		assert_python '2, then 3, at once 99' <<-'EOF'
			from sockets import *
			import threading
			ports = [dial(8080), dial(8080)]
			waiting = []
			thread = threading.Thread(target=lambda: waiting.append(dial(8080)))
			thread.start()
			early = new()
			early.setblocking(False)
			print(f"{len(ports)}, then", end=" ")
			quick = early.connect_ex(("127.0.0.1", 8080))
			ports.pop().close()
			thread.join()
			print(f"{len(ports) + len(waiting) + 1}, at once {quick}")
		EOF
		[ "$(pool_status default EXHAUSTED)" -eq 1 ] # however often the other looked
		assert_python 'each signal ends one: {99}' <<-'EOF'
			from sockets import *
			import random, signal
			ports = [dial(8080), dial(8080)]
			signal.signal(signal.SIGALRM, lambda *_: None)
			codes = set()
			for _ in range(60): # in the midst of a wait, a look, a reap
			    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.05))
			    codes.add(new().connect_ex(("127.0.0.1", 8080)))
			print("each signal ends one:", codes)
		EOF
		[ "$(pool_status default EXHAUSTED)" -eq 61 ]
		rm "$PORTFENCE_DIR"/*
	done
	printf '%s\n' '[pool default]' "ports = 20000" 'exhausted = wait 300ms' >policy.conf
	assert_python '98 98 11 within a second, at once 11' <<-'EOF'
		from sockets import *
		s, u = listener(), new(UDP)
		u.bind(("127.0.0.1", 0))
		began = time.monotonic()
		def error_of(call):
		    try: call()
		    except OSError as e: return e.errno
		codes = error_of(lambda: new().bind(("127.0.0.1", 0))), error_of(lambda: new().listen(1)), error_of(lambda: new(UDP).sendto(b"x", ("127.0.0.1", 9)))
		took = time.monotonic() - began
		assert took > 0.6, took
		print(*codes, "within a second," if took < 3 else took, "at once", end=" ")
		began = time.monotonic()
		code = error_of(lambda: new(UDP).sendto(b"x", socket.MSG_DONTWAIT, ("127.0.0.1", 9)))
		assert time.monotonic() - began < 0.2
		print(code)
	EOF
	[ "$(pool_status default EXHAUSTED)" -eq 4 ]
}

@test "an address that no source goes with is no want of a port: nothing waits or falls back" {
	net sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	for ports in 20000-20999 40000-40999; do
		for exhausted in 'wait 1h' fallback fail; do
			printf '%s\n' '[pool default]' "ports = $ports" "exhausted = $exhausted" >policy.conf
			assert_python '99 99' <<-'EOF'
				from sockets import *
				codes = [socket.socket(AF_INET6).connect_ex(("::1", 8080)) for _ in range(2)]
				dial(8080)
				print(*codes)
			EOF
			[ "$(pool_status default EXHAUSTED) $(pool_status default FALLBACK)" = '0 0' ]
			rm "$PORTFENCE_DIR"/*
		done
	done
}

@test "a pool that another thread's change of user gives no part in is not given another's port" {
	printf '%s\n' '[pool a]' 'ports = 40000-40999' '[rule r]' 'user = 0' 'pool = a' >policy.conf
	assert_python 'refused: 111' <<-'EOF'
		from sockets import *
		import threading
		slow = new(TCP, socket.SO_REUSEADDR)
		slow.bind(("127.0.0.1", 8090))
		slow.listen(0)
		for _ in range(4): # till its queue is full
		    s = socket.socket()
		    s.setblocking(False)
		    s.connect_ex(("127.0.0.1", 8090))
		    kept.append(s)
		codes = []
		late = new()
		thread = threading.Thread(target=lambda: codes.append(late.connect_ex(("127.0.0.1", 8090))))
		thread.start()
		while not subprocess.run("ss -Htn state syn-sent 'dport = 8090' | grep -c .", shell=True, capture_output=True, text=True).stdout.strip() >= "2":
		    pass
		os.seteuid(65534)
		slow.close() # which refuses what is sent once more
		thread.join()
		os.seteuid(0)
		print("refused:", *codes)
	EOF
}

@test "a call that finds no port falls back to the kernel's choice, which is counted and said once" {
	for ports in 20000-20001 40000-40001; do
		printf '%s\n' '[pool default]' "ports = $ports" 'exhausted = fallback' >policy.conf
		assert_python '2 inside, 4 outside' <<-'EOF'
			from sockets import *
			kept += [dial(8080) for _ in range(4)]
			kept.append(listener())
			u = new(UDP), new(UDP), new(UDP)
			for s in u: s.bind(("127.0.0.1", 0))
			inside = [s for s in kept if port_of(s) % 20000 < 2]
			print(f"{len(inside)} inside, {len(kept) - len(inside) + len([s for s in u if port_of(s) % 20000 > 1])} outside")
		EOF
		[ "${#stderr_lines[@]}" -eq 1 ]
		[ "$(pool_status default FALLBACK)" -eq 4 ]
		[ "$(pool_status default EXHAUSTED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a UDP socket that fell back keeps its port when the pool has one again" {
	for ports in 20000 40000; do
		printf '%s\n' '[pool default]' "ports = $ports" 'exhausted = fallback' >policy.conf
		assert_python 'outside, the same' <<-'EOF'
			from sockets import *
			first, second = new(UDP), new(UDP)
			first.connect(("127.0.0.1", 8080))
			second.sendto(b"x", ("127.0.0.1", 8080))
			before = port_of(second)
			first.close()
			second.sendto(b"x", ("127.0.0.1", 8080))
			print("outside" if before % 20000 else "inside", end=", ")
			print("the same" if port_of(second) == before else port_of(second))
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a call falls back where strangers have all of a late pool" {
	printf '%s\n' '[pool default]' 'ports = 40000-40003' 'exhausted = fallback' >policy.conf
	within -- "$PROBE/bindzero" udp 127.0.0.1
	strangers_on 40000 40003
	run -0 --separate-stderr within -- "$PROBE/dial" tcp 127.0.0.1 8080
	[[ $output =~ ^[0-9]+$ ]]
	run ! assert_ports_in 40000-40003 <<<"$output"
	[ "$(pool_status default FALLBACK)" -eq 1 ]
}

@test "explicit ports outside the pool are denied where the policy says so" {
	policy <<-'EOP'
		[pool default]
		ports = 20000-20099
		parity = even
		explicit-bind = deny
	EOP
	assert_python 'bound bound 13 13' <<-'EOF'
		from sockets import *
		def bound(kind, port):
		    try: new(kind).bind(("127.0.0.1", port))
		    except OSError as e: return e.errno
		    return "bound"
		print(bound(TCP, 20010), bound(UDP, 20011), bound(TCP, 30000), bound(UDP, 20100))
	EOF
}

@test "with sharing = none a port has one socket, whatever the destination" {
	for ports in 20000-20003 40000-40003; do
		printf '%s\n' '[pool default]' "ports = $ports" 'sharing = none' >policy.conf
		assert_python '4 of 12, all different' <<-'EOF'
			from sockets import *
			errors.add(99)
			refused = refusals([lambda p=p, h=h: dial(p, h) for p in (8080, 8081) for h in ("127.0.0.1", "127.0.0.2", "127.0.0.3")] * 2)
			different = len({port_of(s) for s in kept}) == len(kept)
			print(f"{12 - refused} of 12, {'all different' if different else 'shared'}")
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a pool of even ports gives even ports, to TCP and UDP, and none twice" {
	for ports in 20001-20021 40001-40021; do
		printf '%s\n' '[pool default]' "ports = $ports" 'parity = even' >policy.conf
		assert_python '10 10 10 even' <<-'EOF'
			from sockets import *
			errors |= {98, 99}
			def count(make):
			    before = len(kept)
			    refusals([make] * 15)
			    return len({port_of(s) for s in kept[before:]})
			def datagram():
			    u = new(UDP)
			    u.bind(("127.0.0.1", 0))
			    return u
			print(count(lambda: dial(8080)), count(lambda: dial(8081)), count(datagram), "odd" if any(port_of(s) % 2 for s in kept) else "even")
		EOF
		rm "$PORTFENCE_DIR"/*
	done
}

# --- who shares it -------------------------------------------------------------------------------

@test "programs of two users share the pool of a policy that has a group, and no other's do" {
	policy <<-'EOP'
		[segment]
		group = nogroup
		mode = 0660
		[pool default]
		ports = 20000-20001
	EOP
	chmod 777 .
	serve "$PORTFENCE" run --policy policy.conf -- /usr/bin/python3 -uc 'if True:
		from sockets import *
		import signal
		dialled = [dial(8080)]
		print("up")
		signal.pause()'
	wait_for_line '^up$'
	[ "$(find "$PORTFENCE_DIR" -name 'portfence.*.g*' -perm 660 -group nogroup | wc -l)" -eq 1 ]
	run -0 net setpriv --reuid 65534 --regid 65534 --clear-groups "$PORTFENCE" run --policy policy.conf -- \
		/usr/bin/python3 -c 'if True:
		from sockets import *
		errors.add(99)
		print(2 - refusals([lambda: dial(8080)] * 2))'
	[ "$output" -eq 1 ]
	[ "$(pool_status default LEASED)" -ge 1 ]
	[ "$(pool_status default REFUSED)" -eq 0 ]
	run --separate-stderr net setpriv --reuid 12345 --regid 12345 --clear-groups "$PORTFENCE" run \
		--policy policy.conf -- "$PROBE/dial" tcp 127.0.0.1 8080
	assert_one_line 'ports are not shared with other processes'
}

@test "the segment is where the policy says" {
	mkdir elsewhere
	printf '%s\n' '[segment]' "directory = $PWD/elsewhere" '[pool default]' 'ports = 20000-20099' >policy.conf
	within -- "$PROBE/dial" tcp 127.0.0.1 8080
	[ "$(find elsewhere -name 'portfence.*' | wc -l)" -eq 2 ]
	[ "$(find "$PORTFENCE_DIR" -name 'portfence.*' | wc -l)" -eq 0 ]
}

# --- the file that carries it --------------------------------------------------------------------

@test "a compiled policy that cannot be trusted closes the fence, with one line" {
	policy <<-'EOP'
		[pool default]
		ports = 20000-20099
	EOP
	compiled=$(within -- sh -c 'echo "$PORTFENCE_POLICY"')
	for damage in 'rm policy' 'truncate -s 100 policy' 'chmod 666 policy' 'chown 12345 policy' \
		'printf x | dd of=policy bs=1 seek=300 conv=notrunc status=none' 'ln -sf /etc/passwd policy' \
		'rm policy; mkfifo policy'; do
		cp "$compiled" policy
		chmod 644 policy
		eval "$damage"
		run --separate-stderr net timeout 20 env LD_PRELOAD="$SHIM" \
			PORTFENCE_POLICY="$PWD/policy" "$PROBE/dial" tcp 127.0.0.1 8080
		echo "$damage: $output"
		[ "$status" -ne 0 ]
		[[ ${stderr_lines[0]} == "portfence: PORTFENCE_POLICY: "* ]]
		[ "$(grep -c ^portfence: <<<"$stderr")" -eq 1 ]
		rm -f policy
	done
	run --separate-stderr net env LD_PRELOAD="$SHIM" PORTFENCE_POLICY="$compiled" PORTFENCE_POOL=no "$PROBE/dial" tcp 127.0.0.1 8080
	[[ ${stderr_lines[0]} == "portfence: PORTFENCE_POOL: "* ]]
}
