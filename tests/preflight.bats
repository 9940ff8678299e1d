#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What `portfence run` knows of a program before it runs it. The kernel and the loader are the judges:
# a probe says whether the library is in it.

# shellcheck disable=SC2154,SC2030,SC2031 # `run` sets stderr, output and status

load test_helper

# Builds a Go program, of packages that Debian has compiled: go_build FILE [LINKER-FLAGS [LINE]]
go_build()
{
	printf '%s\n' 'package main' "${3-}" 'import "syscall"' \
		'func main() { syscall.Write(1, []byte("unfenced\n")) }' >"$1.go"
	HOME=$1.home GO111MODULE=off GOFLAGS='' go build -ldflags "${2-}" -o "$1" "$1.go"
}

setup_file()
{
	local dir
	dir=$(scratch)
	cp "$PORTFENCE" "$SHIM" "$PROBE/fenced" "$dir"
	gcc -static -o "$dir/static" "$BATS_TEST_DIRNAME/probe/fenced.c"
	gcc -static-pie -o "$dir/static-pie" "$BATS_TEST_DIRNAME/probe/fenced.c"
	gcc -m32 -o "$dir/i386" "$BATS_TEST_DIRNAME/probe/fenced.c"
	go_build "$dir/go"
	go_build "$dir/go-stripped" '-s -w -buildid='
	go_build "$dir/cgo" '' 'import "C"'
	cp "$dir/cgo" "$dir/cgo-sections"
	strip --strip-all "$dir/cgo"
	cp "$dir/go" "$dir/go-sectionless"
	dd if=/dev/zero of="$dir/go-sectionless" bs=1 seek=40 count=8 conv=notrunc status=none
}

setup()
{
	DIR=$BATS_FILE_TMPDIR
	cd "$(scratch)" || return
	pool_dir_new
	export PORTFENCE_PORTS=20000-20999
	PATH=$PATH:$BATS_TEST_TMPDIR
}

# Runs a program in the fence.
fenced()
{
	"$DIR/portfence" run "$@"
}

# Runs a command as nobody: as_nobody COMMAND...
as_nobody()
{
	setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"
}

# Writes an executable script: script NAME LINE...
script()
{
	printf '%s\n' "${@:2}" >"$1"
	chmod 755 "$1"
}

# Fails unless standard error was exactly one line of portfence, which matches REGEX.
assert_says()
{
	assert_one_line
	grep -Eq -- "$1" <<<"$stderr"
}

# Fails unless the program is refused, in one line that has each TEXT: assert_refused PROGRAM TEXT...
assert_refused()
{
	local text
	run -126 --separate-stderr fenced "$1"
	[ -z "$output" ]
	for text in "${@:2}" 'cannot be fenced' '--force'; do
		assert_one_line "$text"
	done
}

# Fails unless doctor says of the program that it can be fenced, or TEXT: assert_diagnosis PROGRAM [TEXT]
assert_diagnosis()
{
	run "$DIR/portfence" doctor -- "$1"
	echo "$output"
	grep -E '^(ok|warn|fail) +program ' <<<"$output" | grep -F -- "${2:-can be fenced}"
}

# Fails unless the program runs fenced and without a word, as doctor says.
assert_runs_fenced()
{
	for program; do
		assert_diagnosis "$program"
		run -0 --separate-stderr fenced "$program"
		echo "$program: $output $stderr"
		[ "$output" = fenced ]
		[ -z "$stderr" ]
	done
}

@test "a program of the C library runs, by its path, through PATH, and through its loader" {
	cp "$DIR/fenced" ./prog
	assert_runs_fenced ./prog prog "$PWD/prog"
	cd /
	PATH=:$PATH run fenced prog
	[ "$output" = fenced ]
	cd "$BATS_TEST_TMPDIR"
	run -0 fenced /lib64/ld-linux-x86-64.so.2 ./prog
	[ "$output" = fenced ]
}

@test "static programs are refused (trap 28)" {
	assert_refused "$DIR/static" "$DIR/static: " 'linked statically' 'run it with --strict'
	assert_refused "$DIR/static-pie" 'linked statically'
}

@test "Go programs are refused, with and without cgo, stripped or not (trap 28)" {
	readelf -l "$DIR/cgo" | grep -q INTERP
	for program in go cgo cgo-sections go-stripped go-sectionless; do
		assert_refused "$DIR/$program" "$DIR/$program: " 'own system calls' 'run it with --strict'
	done
}

@test "programs of another word size or machine are refused (trap 28)" {
	assert_refused "$DIR/i386" "$DIR/i386: it is built for i386, and libportfence.so is not"
	# An arm64 header, and a machine that has no name.
	for machine in '\0267' '\0377'; do
		cp "$DIR/fenced" other
		printf %b "$machine" | dd of=other bs=1 seek=18 conv=notrunc status=none
		assert_refused ./other libportfence.so
	done
}

# Runs the program of the test as the kernel would, then fenced: both must agree on the fence.
assert_agrees_with_kernel()
{
	local truth
	truth=$("${@:2}" env LD_PRELOAD="$DIR/libportfence.so" "$1")
	run --separate-stderr "${@:2}" "$DIR/portfence" run "$1"
	echo "$*: $truth; portfence: $status $output $stderr"
	if [ "$truth" = fenced ]; then
		[ "$status" -eq 0 ]
		[ "$output" = fenced ]
		[ -z "$stderr" ]
	else
		[ "$status" -eq 126 ]
		assert_says 'switch(es)? LD_PRELOAD off'
	fi
}

# Each kind of privilege, for each kind of caller: where the kernel keeps LD_PRELOAD, so do we.
@test "set-ID programs and file capabilities are refused just where the kernel drops LD_PRELOAD (trap 28)" {
	local kind caller
	install -m 4755 "$DIR/fenced" setuid
	install -m 4755 -o nobody "$DIR/fenced" setuid-nobody
	install -m 2755 -g tty "$DIR/fenced" setgid
	install -m 2745 -g tty "$DIR/fenced" setgid-not-executable
	install -m 2755 -g nogroup "$DIR/fenced" setgid-nogroup
	for capabilities in ep p i; do
		cp "$DIR/fenced" caps-$capabilities
		setcap cap_net_raw+$capabilities caps-$capabilities
	done
	cp "$DIR/fenced" caps-none
	setcap '=' caps-none
	local nobody='setpriv --reuid 65534 --regid 65534 --clear-groups'
	unfenced=0
	for kind in setuid setuid-nobody setgid setgid-not-executable setgid-nogroup caps-*; do
		for caller in env "$nobody" "$nobody --no-new-privs" "$nobody --inh-caps +net_raw" \
			"$nobody unshare -U" "$nobody unshare -Ur" 'unshare -Ur'; do
			# shellcheck disable=SC2086 # words
			assert_agrees_with_kernel "./$kind" $caller
			[ "$status" -eq 0 ] || unfenced=$((unfenced + 1))
		done
	done
	[ "$unfenced" -ge 10 ]
}

@test "on a nosuid file system set-ID bits and capabilities count for nothing" {
	local nosuid
	mkdir system
	# shellcheck disable=SC2016 # the inner shell's
	nosuid='mount -t tmpfs -o nosuid,mode=755 none system
		install -m 6755 -g tty "$DIR/fenced" system/setid; cp "$DIR/fenced" system/caps
		setcap cap_net_raw+ep system/caps
		for program in setid caps; do
			setpriv --reuid 65534 --regid 65534 --clear-groups "$DIR/portfence" run system/$program
		done'
	export DIR
	run -0 unshare --mount sh -ec "$nosuid"
	[ "$output" = $'fenced\nfenced' ]
}

@test "a refusal of privileges says as whom to run it instead" {
	chmod 755 .
	install -m 4755 "$DIR/fenced" setuid
	install -m 4755 -o 12345 "$DIR/fenced" setuid-12345
	install -m 2755 -g tty "$DIR/fenced" setgid
	cp "$DIR/fenced" caps
	setcap cap_net_raw+ep caps
	assert_refused ./setgid './setgid: its set-group-ID bit switches LD_PRELOAD off' 'run it in group tty (sg tty)'
	run sg tty "$DIR/portfence run ./setgid"
	[ "$output" = fenced ]
	run -126 --separate-stderr as_nobody "$DIR/portfence" run ./setuid
	assert_says './setuid: its set-user-ID bit switches LD_PRELOAD off.* run it as root, or with --force'
	run -126 --separate-stderr as_nobody "$DIR/portfence" run ./setuid-12345
	assert_one_line 'run it as user 12345,'
	run -126 --separate-stderr as_nobody "$DIR/portfence" run ./caps
	assert_says './caps: its file capabilities switch LD_PRELOAD off.* run it as root, or with --force'
}

@test "--force runs what cannot be fenced, and one line says so" {
	for program in static go i386; do
		run -0 --separate-stderr fenced --force "$DIR/$program"
		[ "$output" = unfenced ]
		[ "$(grep -vc '^ERROR: ld.so: .*wrong ELF class' <<<"$stderr")" -eq 1 ]
		[[ ${stderr_lines[0]} == "portfence: $DIR/$program: "*'; it runs unfenced' ]]
	done
	run -0 --separate-stderr "$DIR/portfence" --ports 20000 -f -- "$DIR/static"
	[ "$output" = unfenced ]
	assert_one_line 'it runs unfenced'
	run -127 --separate-stderr fenced --force ./nothing
	assert_one_line ./nothing
}

@test "--force says nothing of a program that can be fenced" {
	run -0 --separate-stderr fenced --force "$DIR/fenced"
	[ "$output" = fenced ]
	[ -z "$stderr" ]
}

# --- scripts -------------------------------------------------------------------------------------

@test "a script is as fenced as its interpreter" {
	script good "#!$DIR/fenced" && script blanks "#!  	$DIR/fenced 	 -x  y " && script plain "$DIR/fenced"
	script nothing ''
	printf '#!%s' "$DIR/fenced" >unended && chmod 755 unended
	assert_runs_fenced ./good good ./blanks ./plain ./unended
	run -0 fenced ./nothing
	assert_diagnosis ./nothing '/bin/sh (interpreter of ./nothing)'
	script bad "#!$DIR/static -x"
	assert_refused ./bad "$DIR/static (interpreter of ./bad): it is linked statically"
	assert_refused bad "$DIR/static (interpreter of "
	run -0 --separate-stderr fenced --force ./bad
	[ "$output" = unfenced ]
	assert_one_line 'it runs unfenced'
}

@test "scripts that interpret scripts are followed as far as the kernel does" {
	script 1 "#!$DIR/fenced"
	script bad1 "#!$DIR/go"
	for n in 2 3 4 5 6 7; do
		script $n "#!$PWD/$((n - 1))"
		script bad$n "#!$PWD/bad$((n - 1))"
	done
	assert_runs_fenced ./1 ./2 ./5
	assert_refused ./bad5 "$DIR/go (interpreter of ./bad5): Go programs"
	run -126 env ./6
	for n in 6 7; do
		run -126 --separate-stderr fenced ./$n
		assert_one_line 'more than 5 scripts'
	done
}

@test "what env starts is followed through PATH" {
	ln -s "$DIR/static" ./a-static
	ln -s "$DIR/fenced" ./a-fenced
	mkdir elsewhere && ln -s "$DIR/go" elsewhere/a-fenced
	script 1 '#!/usr/bin/env a-fenced'
	script 2 '#!/usr/bin/env -S a-fenced -x'
	script 3 '#!/usr/bin/env -S A=b C=d a-fenced'
	script 4 '#!/usr/bin/env -vS a-fenced'
	script 5 '#!/usr/bin/env --split-string=A=b a-fenced'
	script 6 '#!/usr/bin/env 5'
	script 7 "#!/usr/bin/env -S PATH=$PWD/nowhere:$PWD a-fenced"
	for n in 1 2 3 5 6 7; do
		assert_runs_fenced ./$n
	done
	run -0 --separate-stderr fenced ./4
	[ "$output" = fenced ]
	sed -i 's/a-fenced/a-static/' 1 2 3 4 5
	for n in 1 2 3 4 5 6; do
		assert_refused ./$n "a-static (interpreter of ./$n): it is linked statically"
	done
	sed -i "s|PATH=[^ ]*|PATH=$PWD/elsewhere|" 7
	assert_refused ./7 'elsewhere/a-fenced (interpreter of ./7): Go programs'
}

@test "what env cannot run is env's to say" {
	script 1 '#!/usr/bin/env no-such-program'
	# shellcheck disable=SC2016 # env's own variable
	script 2 '#!/usr/bin/env -S ${X'
	run -127 --separate-stderr fenced ./1
	[ "$stderr" = "$(env ./1 2>&1)" ]
	run -125 --separate-stderr fenced ./2
	[ "$stderr" = "$(env ./2 2>&1)" ]
	assert_diagnosis ./1 '/usr/bin/env (interpreter of ./1) can be fenced'
	assert_diagnosis ./2 '/usr/bin/env (interpreter of ./2) can be fenced'
}

@test "a script that runs itself is refused" {
	script loop "#!$PWD/loop"
	run -126 --separate-stderr fenced ./loop
	assert_one_line 'interpret each other'
	script circle '#!/usr/bin/env circle'
	run -126 --separate-stderr fenced circle
	assert_one_line 'running itself'
}

@test "a script whose interpreter is not there or cannot be run: one line names both" {
	script 1 '#!/no/such/interpreter -x'
	run -127 --separate-stderr fenced ./1
	[ "$stderr" = 'portfence: ./1: its interpreter /no/such/interpreter: No such file or directory' ]
	printf "#!/bin/sh\r\necho\r\n" >dos && chmod 755 dos
	run -127 --separate-stderr fenced ./dos
	assert_one_line 'its interpreter /bin/sh\r (lines end in CR LF): No such file'
	script 3 '#!/etc/passwd'
	run -126 --separate-stderr fenced ./3
	assert_one_line './3: its interpreter /etc/passwd: Permission denied'
	script 4 '#!/tmp'
	run -126 --separate-stderr fenced ./4
	assert_one_line
	gcc -o 5 -Wl,--dynamic-linker=/no/such/loader.so "$BATS_TEST_DIRNAME/probe/fenced.c"
	run -127 --separate-stderr fenced ./5
	[ "$stderr" = 'portfence: ./5: its loader /no/such/loader.so: No such file or directory' ]
}

# A line that the kernel does not take is the shell's to run, which takes it for a comment.
@test "#! lines that are none are left to the shell" {
	long=$(printf '%0300d' 0)
	script 1 '#!' "$DIR/fenced" && script 2 '#!   ' "$DIR/fenced" && script 3 "#!/$long" "$DIR/fenced"
	script 4 '# !/no' "$DIR/fenced"
	script text "$DIR/fenced" && script 5 "#!$PWD/text" "$DIR/fenced"
	for n in 1 2 3 4 5; do
		run -0 env ./$n
		[ "$output" = unfenced ]
	done
	assert_runs_fenced ./1 ./2 ./3 ./4 ./5
}

# --- PATH ----------------------------------------------------------------------------------------

@test "PATH is searched as execvp searches it: past what is missing, denied or no file" {
	mkdir -p 1/prog 2 3 4 5
	script 2/prog '#!/no/such/interpreter'
	touch 3/prog
	cp "$DIR/static" 4/prog
	cp "$DIR/fenced" 5/prog
	here=$PWD
	PATH=$here/0:$here/1:$here/2:$here/3:/etc/passwd:$here/5:$here/4:$PATH
	assert_runs_fenced prog
	PATH=$here/1:$here/2:$here/4:$here/5:$PATH
	assert_refused prog "$here/4/prog: it is linked statically"
	run -127 --separate-stderr fenced nothing
	assert_one_line 'nothing: No such file'
	run -127 --separate-stderr fenced ''
	assert_one_line
	run -127 --separate-stderr env PATH="$here/2:$here/0" "$DIR/portfence" run prog
	assert_one_line 'prog: its interpreter /no/such/interpreter'
	run -126 --separate-stderr env PATH="$here/3:$here/2" "$DIR/portfence" run prog
	assert_one_line 'prog: Permission denied'
	run -126 --separate-stderr env PATH="$here/1" "$DIR/portfence" run prog
	assert_one_line 'prog: a directory'
	cd 4
	run -126 --separate-stderr env PATH="$here/0::$here/5" "$DIR/portfence" run prog
	assert_one_line 'prog: it is linked statically'
}

@test "without PATH the system's own directories are searched" {
	run -0 env -u PATH "$DIR/portfence" run true
	run -127 env -u PATH "$DIR/portfence" run no-such-program
}

# --- files that are none -------------------------------------------------------------------------

@test "directories, pipes and devices are exit status 126 and one line" {
	mkdir directory
	mkfifo -m 777 pipe
	mknod -m 777 null c 1 3
	for file in directory pipe null; do
		run -126 --separate-stderr fenced "./$file"
		assert_one_line "./$file: "
	done
	assert_diagnosis ./directory './directory: a directory'
	assert_diagnosis ./pipe './pipe: no regular file'
}

@test "a program that may be executed and not read runs; its mode still tells" {
	chmod 755 .
	install -m 711 "$DIR/fenced" unreadable
	install -m 4711 "$DIR/fenced" setuid
	run -0 --separate-stderr as_nobody "$DIR/portfence" run ./unreadable
	[ "$output" = fenced ]
	[ -z "$stderr" ]
	run -126 --separate-stderr as_nobody "$DIR/portfence" run ./setuid
	assert_one_line 'set-user-ID'
}

@test "a damaged program is exit status 126 and one line, and no shell sees it" {
	printf '\177ELF' >magic
	head -c 100 "$DIR/fenced" >short
	cp "$DIR/fenced" odd && printf '\3' | dd of=odd bs=1 seek=4 conv=notrunc status=none
	gcc -c -o object "$BATS_TEST_DIRNAME/probe/fenced.c"
	for file in magic short odd object; do
		chmod 755 $file
		run -126 --separate-stderr fenced ./$file
		assert_one_line "./$file: no ELF program, or a damaged one"
	done
}
