#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# portfence doctor: what it finds, and that the command it shows mends it.

# shellcheck disable=SC2154 # `run` sets stderr

# shellcheck disable=SC2030,SC2031 # each test has its own environment

load test_helper

setup()
{
	world_new
	SHM=$PORTFENCE_DIR
	mount -t tmpfs -o mode=1777,size=4m none "$SHM"
	cd "$BATS_TEST_TMPDIR" || return
}

teardown()
{
	servers_end
	cd /
	umount "$SHM"
	netns_end
}

# Runs doctor in the namespace, behind the command of the array `as`.
as=()
doctor()
{
	net "${as[@]}" "$PORTFENCE" doctor "$@"
}

# Fails unless doctor says `GRADE WHAT ...TEXT...`: assert_finds STATUS 'GRADE WHAT' TEXT ARGUMENT...
assert_finds()
{
	run --separate-stderr doctor "${@:4}"
	echo "status $status: $output $stderr"
	[ "$status" -eq "$1" ]
	grep -E "^$2 +" <<<"$(tr -s ' ' <<<"$output")" | grep -Fq -- "$3"
	[ -z "$stderr" ]
}

# Fails unless every finding of the last doctor but those on WHAT... is `ok`.
assert_rest_is_ok()
{
	awk -v spared=" $* " '
		/^[a-z]/ { bad = $1 != "ok" && !index(spared, " " $2 " ") }
		bad { print; status = 1 }
		END { exit status }' <<<"$output"
}

# Prints the command below the finding on WHAT.
mend_of()
{
	sed -nE "/^(warn|fail) +$1 /{ n; s/^ {16}//p }" <<<"$output"
}

# Runs the command that the last doctor showed for WHAT, in the shell of this test and the namespace.
# Then all must be well: assert_mended WHAT ARGUMENT...
assert_mended()
{
	local what=$1 mend
	mend=$(mend_of "$what")
	echo "mend: $mend"
	[ -n "$mend" ]
	case $mend in
	export* | unset* | ulimit*) eval "$mend" ;;
	*) net bash -ec "$mend" ;;
	esac
	run --separate-stderr doctor "${@:2}"
	echo "after: $output $stderr"
	[ "$status" -eq 0 ]
	if grep -E "^(warn|fail) +$what " <<<"$output"; then return 1; fi
}

# Prints the numbers of system calls, with commas: call_numbers NAME...
call_numbers()
{
	{
		echo '#include <sys/syscall.h>'
		printf 'SYS_%s,' "$@"
	} | gcc -E -P - | tr -d ' \n' | sed 's/,$//'
}

@test "all is well: each line says ok, aligned, and the exit status is 0" {
	run -0 --separate-stderr doctor --ports "$BIND_POOL" -- true
	[ -z "$stderr" ]
	[ "$(grep -cE '^ok    [a-z]+ +[^ ]' <<<"$output")" -eq 14 ]
	[ "$(awk '{ print $2 }' <<<"$output" | tr '\n' ' ')" = \
		'ports kernel library preload seccomp segment shm claim reserved timewait sockets strict files program ' ]
	[ "$(grep -cE '^.{15} [^ ]' <<<"$output")" -eq 14 ]
	[ -z "$(ls "$PORTFENCE_DIR")" ]
}

@test "bad usage is exit status 125, and one line" {
	for arguments in '--nonsense' '--ports' '--ports abc' '--ports 30000-20000 -- true'; do
		# shellcheck disable=SC2086 # words
		run -125 --separate-stderr doctor $arguments
		assert_one_line
		[ -z "$output" ]
	done
}

@test "without ports it examines the rest, and says so" {
	assert_finds 0 'warn ports' 'none given'
	[ "$(mend_of ports)" = 'portfence doctor --ports 20000-20999' ]
	assert_rest_is_ok ports
	[[ ! $output =~ ' '(claim|reserved|sockets|files|segment)' ' ]]
	PORTFENCE_PORTS=$BIND_POOL assert_finds 0 'ok ports' "$BIND_POOL: 1000"
	export PORTFENCE_PORTS=20000-x
	assert_finds 1 'fail ports' '"20000-x"'
	assert_mended ports
}

@test "it tells the claim, and why" {
	assert_finds 0 'ok claim' 'bind: 1000 of the ports are outside ip_local_port_range (32768-60999)' --ports "$BIND_POOL"
	assert_finds 0 'ok claim' 'bind: 501 of the ports are outside' --ports 32267-33000
	assert_finds 0 'ok claim' 'late: all ports are in ip_local_port_range (32768-60999)' --ports "$LATE_POOL"
	net sysctl -qw net.ipv4.ip_local_reserved_ports=40990-41010,80
	assert_finds 0 'ok claim' 'bind: 10 of the ports are in ip_local_reserved_ports' --ports "$LATE_POOL"
	fence "$LATE_POOL" "$PROBE/bindzero" tcp 127.0.0.1
	[ "$(status_of CLAIM)" = bind ]
}

@test "a pool that the kernel gives to others, too: the command reserves it, and keeps what is reserved" {
	net sysctl -qw net.ipv4.ip_local_reserved_ports=8080,39990-40009,50000-50010
	assert_finds 0 'warn reserved' 'gives 990 of the ports to other programs' --ports "$LATE_POOL"
	assert_rest_is_ok reserved
	assert_mended reserved --ports "$LATE_POOL"
	[ "$(net sysctl -n net.ipv4.ip_local_reserved_ports)" = 8080,39990-40999,50000-50010 ]
}

@test "a segment that was made under other sysctls is shown" {
	fence "$LATE_POOL" "$PROBE/bindzero" tcp 127.0.0.1
	net sysctl -qw net.ipv4.ip_local_reserved_ports="$LATE_POOL"
	assert_finds 0 'warn claim' 'the segment in use has the claim late' --ports "$LATE_POOL"
	assert_mended claim --ports "$LATE_POOL"
}

@test "ports below 1024 fail for who may not bind them" {
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
	cp "$PORTFENCE" "$SHIM" .
	PORTFENCE=$PWD/portfence
	scratch
	assert_finds 1 'fail ports' 'below 1024' --ports 700-799
	assert_mended ports --ports 700-799
	as=()
	net sysctl -qw net.ipv4.ip_unprivileged_port_start=1024
	run -0 doctor --ports 700-799
}

@test "who sits on ports of the pool is named; leases are nobody's fault" {
	sink_start 8080
	sink_start 20005
	serve_on 20007 socat -u UDP4-RECV:20007 OPEN:/dev/null
	fence_in_background "$BIND_POOL" "$PROBE/hold" 5 8080 127.0.0.1
	wait_for_line '^5 held$'
	assert_finds 0 'warn sockets' '2 of the ports have other owners: 20005 (tcp, sink), 20007 (udp, socat)' --ports "$BIND_POOL"
	[[ $output != *'connections of other'* ]]
	assert_finds 0 'ok segment' 'version 4' --ports "$BIND_POOL"
	[ "$(mend_of sockets)" = 'portfence run --ports 20000-20004,20006,20008-20999 -- PROGRAM' ]
	assert_finds 0 'ok sockets' 'nobody' --ports 20000-20004,20006,20008-20999
	assert_finds 1 'fail sockets' 'all of the ports have other owners' --ports 20005
	[[ $(net bash -c "$(mend_of sockets)") == *20005*sink* ]]
}

@test "connections that others have from the pool are counted" {
	sink_start 8080
	net sysctl -qw net.ipv4.ip_local_port_range='40000 40009'
	serve "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^3 held$'
	assert_finds 0 'ok sockets' '3 connections of other programs' --ports 40000-40009
}

@test "tcp_tw_reuse = 0 is a warning for a late pool only" {
	net sysctl -qw net.ipv4.tcp_tw_reuse=0
	assert_finds 0 'ok timewait' 'does not matter' --ports "$BIND_POOL"
	assert_finds 0 'warn timewait' 'tcp_tw_reuse = 0' --ports "$LATE_POOL"
	assert_mended timewait --ports "$LATE_POOL"
}

# --- shared memory --------------------------------------------------------------------------------

@test "a directory for segments that is not there, no directory, or too long" {
	export PORTFENCE_DIR=$PORTFENCE_DIR/not/there
	assert_finds 0 'warn shm' 'No such file or directory' --ports "$BIND_POOL"
	assert_rest_is_ok shm
	assert_mended shm --ports "$BIND_POOL"
	PORTFENCE_DIR=$BATS_TEST_TMPDIR/shm
	touch file
	for dir in "$PWD/file" "$PORTFENCE_DIR/$(printf '%0600d' 0)"; do
		(
			export PORTFENCE_DIR=$dir
			assert_finds 0 'warn shm' '' --ports "$BIND_POOL"
		)
	done
	mkdir -p "$PORTFENCE_DIR/$(printf '%0200d/%0200d/%0200d' 0 0 0)"
	PORTFENCE_DIR=$PORTFENCE_DIR/$(printf '%0200d/%0200d/%0200d' 0 0 0) assert_finds 0 'warn shm' 'too long' --ports "$BIND_POOL"
}

@test "a directory that this user may not write to, that is read-only, or without its sticky bit" {
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
	cp "$PORTFENCE" "$SHIM" .
	PORTFENCE=$PWD/portfence
	chmod 755 "$PORTFENCE_DIR"
	assert_finds 0 'warn shm' 'not writable for this user' --ports "$BIND_POOL"
	assert_mended shm --ports "$BIND_POOL"
	chmod 777 "$PORTFENCE_DIR"
	assert_finds 0 'warn shm' 'anybody may remove' --ports "$BIND_POOL"
	assert_mended shm --ports "$BIND_POOL"
	mount -o remount,ro "$PORTFENCE_DIR"
	assert_finds 0 'warn shm' 'read-only' --ports "$BIND_POOL"
	assert_mended shm --ports "$BIND_POOL"
}

@test "the size of a segment is that of its file" {
	sink_start
	for ports in 20000 "$BIND_POOL" 10000-29999; do
		run -0 doctor --ports "$ports"
		said=$(sed -nE 's/^ok +shm .* a segment takes ([0-9]+)$/\1/p' <<<"$output")
		fence "$ports" "$PROBE/dial" tcp 127.0.0.1 8080
		bytes=$(stat -c %s "$PORTFENCE_DIR"/*)
		[ "$said" -eq $(((bytes + 1023) / 1024)) ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "no room for the segment: in the file system, or by the limit on files" {
	head -c 4100000 /dev/zero >"$PORTFENCE_DIR/filler"
	assert_finds 0 'warn shm' 'the segment takes 210' --ports "$BIND_POOL"
	assert_mended shm --ports "$BIND_POOL"
	ulimit -f 100 2>/dev/null
	assert_finds 0 'warn shm' 'may not make a file of 210 KiB' --ports "$BIND_POOL"
	[ "$(mend_of shm)" = 'ulimit -f unlimited' ]
}

@test "a directory that is no tmpfs is a warning" {
	export PORTFENCE_DIR=$PWD/other
	mkdir other
	mount -t ramfs none other
	assert_finds 0 'warn shm' 'not a tmpfs' --ports "$BIND_POOL" || { umount other && false; }
	net bash -ec "$(mend_of shm)"
	run doctor --ports "$BIND_POOL"
	umount other
	umount other
	grep -E '^ok +shm ' <<<"$output"
}

@test "a segment that cannot be used is a warning, and the command removes it" {
	sink_start
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	assert_finds 0 'ok segment' 'version 4' --ports "$BIND_POOL"
	path=$(echo "$PORTFENCE_DIR"/*)
	grep -F "$path: " <<<"$output"
	for spoil in 'chmod 666' 'truncate -s 1000' 'chown 12345' 'cp /dev/null'; do
		$spoil "$path"
		assert_finds 0 'warn segment' "$path: " --ports "$BIND_POOL"
		assert_rest_is_ok segment
		assert_mended segment --ports "$BIND_POOL"
		fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	done
	ln -sf /etc/passwd "$path"
	assert_finds 0 'warn segment' ELOOP --ports "$BIND_POOL"
	assert_mended segment --ports "$BIND_POOL"
}

# --- the process -----------------------------------------------------------------------------------

@test "a seccomp filter: fail without what every call needs, warn without what the segment needs" {
	as=("$PROBE/without" errno "$(call_numbers ptrace)")
	assert_finds 0 'ok seccomp' 'a filter, which allows what the library needs; no_new_privs' --ports "$BIND_POOL"
	for verdict in errno kill; do
		as=("$PROBE/without" "$verdict" "$(call_numbers setsockopt linkat)")
		run doctor
		echo "$output"
		if [ $verdict = errno ]; then
			[ "$status" -eq 1 ]
			grep -E '^fail +seccomp +the filter refuses setsockopt linkat$' <<<"$output"
		fi
		as=("$PROBE/without" "$verdict" "$(call_numbers fallocate)")
		assert_finds 0 'warn seccomp' 'refuses fallocate: programs do not know' --ports "$BIND_POOL"
		[[ $(mend_of seccomp) == 'SystemCallFilter=fallocate '* ]]
	done
}

@test "whether a run can be strict is tried, with what the pool needs" {
	assert_finds 0 'ok strict' 'possible, by explicit binds' --ports "$BIND_POOL"
	assert_finds 0 'ok strict' 'possible, by the range that sockets begin with' --ports "$LATE_POOL"
	as=("$PROBE/without" errno "$(call_numbers pidfd_getfd)")
	assert_finds 0 'ok strict' 'possible' --ports "$LATE_POOL"
	assert_finds 0 'warn strict' 'not possible: the pool needs explicit binds' --ports "$BIND_POOL"
	assert_rest_is_ok strict
	[ "$(mend_of strict)" = "portfence run --strict=auto --ports $BIND_POOL -- PROGRAM" ]
	as=("$PORTFENCE" run --strict --ports "$BIND_POOL" --)
	assert_finds 0 'warn strict' 'not possible: a supervisor is there already' --ports "$BIND_POOL"
	assert_rest_is_ok strict
}

@test "PORTFENCE_DISABLE=1 fails, PORTFENCE_LOG=none is a warning" {
	export PORTFENCE_DISABLE=1 PORTFENCE_LOG=none
	assert_finds 1 'fail disable' 'takes the fence away' --ports "$BIND_POOL"
	assert_mended disable --ports "$BIND_POOL"
	assert_finds 0 'warn log' 'PORTFENCE_LOG=none' --ports "$BIND_POOL"
	assert_mended log --ports "$BIND_POOL"
}

@test "a limit on open files that is smaller than the pool is a warning" {
	ulimit -Sn 900
	assert_finds 0 'warn files' 'may have 900 open: it cannot use the 1000 ports at once' --ports "$BIND_POOL"
	assert_rest_is_ok files
	assert_mended files --ports "$BIND_POOL"
}

# Makes a library that defines the functions: library NAME FUNCTION...
library()
{
	printf 'int %s(void) { return -1; }\n' "${@:2}" | gcc -shared -fPIC -fno-builtin -x c -o "$1" -
}

@test "rivals in LD_PRELOAD are named with what they stand in front of" {
	library calm.so nothing
	library rival.so sendmmsg listen
	as=(env LD_PRELOAD="$PWD/calm.so $PWD/rival.so")
	assert_finds 0 'ok preload' "$PWD/calm.so has nothing that libportfence.so has" --ports "$BIND_POOL"
	assert_finds 0 'ok preload' "$PWD/rival.so has listen sendmmsg, too; it comes before" --ports "$BIND_POOL"
	as=(env LD_PRELOAD="$PWD/rival.so:$SHIM")
	assert_finds 0 'ok preload' "$SHIM is there already" --ports "$BIND_POOL"
	assert_finds 0 'ok preload' "$PWD/rival.so has listen sendmmsg, too; it comes before" --ports "$BIND_POOL"
	as=()
	export LD_PRELOAD=$SHIM:$PWD/rival.so
	assert_finds 0 'warn preload' "$PWD/rival.so has listen sendmmsg, too, and comes behind" --ports "$BIND_POOL"
	assert_mended preload --ports "$BIND_POOL"
	unset LD_PRELOAD
}

@test "what LD_PRELOAD names and the loader does not load, and a second libportfence.so" {
	library rival.so listen
	cp "$SHIM" libportfence.so
	for entry in /no/such.so no-such.so "$PWD/libportfence.so"; do
		as=(env LD_PRELOAD="$PWD/rival.so:$entry:$SHIM")
		run doctor
		grep -E "^warn +preload +$entry" <<<"$output"
		[ "$(mend_of preload | tail -1)" = "export LD_PRELOAD='$PWD/rival.so:$SHIM'" ] ||
			[ "$(mend_of preload | sed -n 2p)" = "export LD_PRELOAD='$PWD/rival.so:$SHIM'" ]
		as=(env LD_PRELOAD="$entry")
		run doctor
		[ "$(mend_of preload)" = 'unset LD_PRELOAD' ]
	done
}

@test "a library for each word size is known by the name that the loader gives it" {
	library rival.so listen
	cp "$PORTFENCE" "$SHIM" .
	mkdir -p copy "\$LIB" "lib/$(gcc -print-multiarch)"
	cp "$SHIM" copy
	for dir in "\$LIB" "lib/$(gcc -print-multiarch)"; do
		ln -s "$PWD/libportfence.so" "$dir"
	done
	PORTFENCE=$PWD/portfence
	assert_finds 0 'ok library' "$PWD/\$LIB/libportfence.so" --ports "$BIND_POOL"
	export LD_PRELOAD=$PWD/copy/libportfence.so
	assert_finds 0 'warn preload' "$LD_PRELOAD is another one" --ports "$BIND_POOL"
	export LD_PRELOAD=$PWD/\$LIB/libportfence.so:$PWD/rival.so
	assert_finds 0 'ok preload' "lib/$(gcc -print-multiarch)/libportfence.so is there already" --ports "$BIND_POOL"
	assert_finds 0 'warn preload' 'listen, too, and comes behind' --ports "$BIND_POOL"
	assert_mended preload --ports "$BIND_POOL"
	unset LD_PRELOAD
}

@test "/etc/ld.so.preload is read, too" {
	library rival.so listen
	cp -a /etc etc
	printf '# comment\n%s/rival.so # more\n/no/such.so\n' "$PWD" >etc/ld.so.preload
	as=(unshare --mount sh -ec "mount --bind $PWD/etc /etc; exec \"\$0\" \"\$@\"")
	run doctor
	grep -E "^warn +preload +$PWD/rival.so has listen, too, and comes behind" <<<"$output"
	grep -E '^warn +preload +/no/such.so: cannot be loaded' <<<"$output"
	for entry in "$PWD/rival.so" /no/such.so; do
		[ "$(mend_of preload | grep -c "^sed -i 's|$entry||' /etc/ld.so.preload$")" -eq 1 ]
	done
}

# --- the program -----------------------------------------------------------------------------------

@test "a program that can be fenced, one that cannot, one that is not there" {
	gcc -static -o static "$BATS_TEST_DIRNAME/probe/fenced.c"
	printf '#!%s\n' "$PWD/static" >script
	chmod 755 script
	assert_finds 0 'ok program' '/usr/bin/true can be fenced' --ports "$BIND_POOL" true
	assert_finds 1 'fail program' "$PWD/static (interpreter of ./script): it is linked statically" -- ./script
	[[ $(mend_of program) == 'run it with --strict'* ]]
	assert_finds 1 'fail program' 'no-such-program: No such file' -- no-such-program
	assert_finds 1 'fail program' '/etc/passwd: Permission denied' -- /etc/passwd
}

@test "a program that cannot be read is a warning" {
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
	scratch
	cp "$PORTFENCE" "$SHIM" .
	PORTFENCE=$PWD/portfence
	install -m 711 "$PROBE/fenced" unreadable
	assert_finds 0 'warn program' './unreadable may not be read' --ports "$BIND_POOL" ./unreadable
}

# Doctor looks as closely as run does, and runs nothing.
@test "no ELF file, however damaged, does harm" {
	cat >mutilate.py <<-'EOF'
		import os, random, subprocess, sys
		random.seed(7)
		portfence, *programs = sys.argv[1:]
		def examine(data, *what):
		    open("victim", "wb").write(data)
		    os.chmod("victim", 0o755)
		    done = subprocess.run([portfence, "doctor", "--", "./victim"], capture_output=True, timeout=10)
		    assert done.returncode in (0, 1), (what, done)
		whole = open(programs[0], "rb").read()
		headers = int.from_bytes(whole[32:40], "little"), int.from_bytes(whole[40:48], "little")
		for at in [*range(16, 64, 8), *range(headers[0], headers[0] + 8 * 56, 8), *range(headers[1], len(whole), 8)]:
		    for value in (b"\xff" * 8, b"\0\x40\0\0\0\0\0\0"):
		        examine(whole[:at] + value + whole[at + 8:], at, value)
		for turn in range(100):
		    data = bytearray(open(random.choice(programs), "rb").read())
		    for _ in range(random.choice([1, 4, 64])):
		        data[random.randrange(4, 1024)] = random.choice([0, 1, 0x7f, 0xff])
		    examine(data[:random.randrange(4, 5000)] if turn % 3 else data, turn)
		print("harmless")
	EOF
	gcc -static -o static "$BATS_TEST_DIRNAME/probe/fenced.c"
	gcc -m32 -o i386 "$BATS_TEST_DIRNAME/probe/fenced.c"
	run -0 /usr/bin/python3 mutilate.py "$PORTFENCE" "$PROBE/fenced" static i386
	[ "$output" = harmless ]
}

@test "without its library everything fails" {
	cp "$PORTFENCE" .
	PORTFENCE=$PWD/portfence
	assert_finds 1 'fail library' 'libportfence.so: No such file' --ports "$BIND_POOL"
	[[ $(mend_of library) == 'make install'* ]]
}
