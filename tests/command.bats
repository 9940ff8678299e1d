#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The command's manners: exit status, streams, environment, messages.

load test_helper

setup()
{
	world_new
}

teardown()
{
	world_end
}

# Range lists that are refused, each with the part of it that the message must quote.
bad_ranges=(
	'20000-' '20000-'
	'-5' '-5'
	'30000-20000' '30000-20000'
	'0-10' '0-10'
	'0' '0'
	'70000-80000' '70000-80000'
	'65536' '65536'
	'abc' 'abc'
	'' '""'
	' ' '" "'
	'20000 20999' '20000 20999'
	'20000--20001' '20000--20001'
	'1,,2' '""'
	'20000-20010,20005-20020' '20005-20020'
	'20000,20000' '20000'
	'20000-20010,' '""'
	',20000' '""'
	'20000-20010;' '20000-20010;'
	'+20000' '+20000'
	'0x4e20' '0x4e20'
	'20000-20001-20002' '20000-20001-20002'
	'99999999999999999999' '99999999999999999999'
)

# 200 ranges, more than a policy may have.
many_ranges()
{
	seq -s, 20000 2 20398
}

@test "run's exit status is the program's own" {
	for code in 0 1 3 42 124 125 255; do
		run fence 20000 sh -c "exit $code"
		[ "$status" -eq $code ]
	done
}

@test "a program ended by a signal is seen to be" {
	# shellcheck disable=SC2016 # the inner shell's own pid
	run fence 20000 sh -c 'kill -TERM $$'
	[ "$status" -eq $((128 + 15)) ]
	# shellcheck disable=SC2016
	run fence 20000 sh -c 'kill -KILL $$'
	[ "$status" -eq $((128 + 9)) ]
}

@test "bad usage is exit status 125" {
	for arguments in 'run' 'run --ports' 'run --ports 20000' 'run -- true' 'run --nonsense true' \
		'nonsense' '--nonsense' 'status nonsense' 'ls --nonsense'; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr net "$PORTFENCE" $arguments
		echo "$arguments: $status $stderr"
		[ "$status" -eq 125 ]
		[ -n "$stderr" ]
		[ -z "$output" ]
	done
}

@test "an option that there is not is named, alone or among others" {
	while read -r arguments; do
		# shellcheck disable=SC2086 # words
		run -125 --separate-stderr "$PORTFENCE" ${arguments%%|*}
		assert_one_line "${arguments#*|}"
	done <<-'EOF'
		ls -xn|no option '-x'
		ls -nx|no option '-x'
		ls --nonsense -n|no option '--nonsense'
		log -fn|'-n' wants a value
		run --ports|'--ports' wants a value
	EOF
}

@test "a PORTFENCE_DIR that is not absolute is refused: who changes its directory would look elsewhere" {
	for command in 'run --ports 20000-20999 -- true' status gc 'who 20000' -- 'doctor'; do
		# shellcheck disable=SC2086 # words
		PORTFENCE_DIR=here run -125 --separate-stderr "$PORTFENCE" $command
		assert_one_line "PORTFENCE_DIR 'here': expected an absolute path"
	done
}

@test "what does not get out is one line, and exit status 125" {
	sink_start
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	for command in status ls log 'log --json' 'top --json' map version; do
		net bash -c "exec '$PORTFENCE' $command >/dev/full" 2>"$BATS_TEST_TMPDIR/err" && return 1
		[ "$(<"$BATS_TEST_TMPDIR/err")" = 'portfence: standard output: No space left on device' ]
	done
}

@test "a program that cannot be executed is exit status 126, and one line names it" {
	echo text >"$BATS_TEST_TMPDIR/file"
	run -126 --separate-stderr fence 20000 "$BATS_TEST_TMPDIR/file"
	assert_one_line "$BATS_TEST_TMPDIR/file"
	run -126 --separate-stderr fence 20000 "$BATS_TEST_TMPDIR"
	assert_one_line "$BATS_TEST_TMPDIR"
}

@test "a program that is not there is exit status 127, and one line names it" {
	run -127 --separate-stderr fence 20000 no-such-program
	assert_one_line no-such-program
	run -127 --separate-stderr fence 20000 "$BATS_TEST_TMPDIR/no-such-program"
	assert_one_line no-such-program
}

@test "run keeps the pid" {
	# shellcheck disable=SC2016 # the inner shells' own pids
	run net sh -c 'echo $$; exec "$1" run --ports 20000 -- sh -c "echo \$\$"' sh "$PORTFENCE"
	[ "${#lines[@]}" -eq 2 ]
	[ "${lines[0]}" = "${lines[1]}" ]
}

@test "standard input, output and error pass through untouched" {
	head -c 1000000 /dev/urandom >"$BATS_TEST_TMPDIR/in"
	fence 20000 sh -c 'cat; echo error >&2' <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" \
		2>"$BATS_TEST_TMPDIR/err"
	cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
	[ "$(cat "$BATS_TEST_TMPDIR/err")" = error ]
}

@test "other descriptors, arguments, directory and environment are passed on" {
	cd /tmp
	# shellcheck disable=SC2016 # the inner shell's variables
	run net env A=b "$PORTFENCE" run --ports 20000 -- \
		sh -c 'pwd; echo "$A" "$@"; cat <&7' sh 'c  d' -- -e '' 7<<<seven
	[ "$output" = "/tmp
b c  d -- -e 
seven" ]
}

# bats test_tags=no-thread
@test "no descriptor is added" {
	net ls /proc/self/fd >"$BATS_TEST_TMPDIR/bare"
	fence 20000 ls /proc/self/fd >"$BATS_TEST_TMPDIR/wrapped"
	diff "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
}

@test "-- is not needed, and the program's options are its own" {
	run net "$PORTFENCE" run --ports 20000 echo --ports --help
	[ "$output" = '--ports --help' ]
}

@test "existing LD_PRELOAD entries are kept, and the library is put behind them" {
	# shellcheck disable=SC2016 # the inner shell's variable
	run net env LD_PRELOAD=libm.so.6 "$PORTFENCE" run --ports 20000 -- sh -c 'echo $LD_PRELOAD'
	[[ $output == libm.so.6:*/libportfence.so ]]
}

@test "LD_PRELOAD and PORTFENCE_PORTS alone make a fence" {
	sink_start
	for pool in "$BIND_POOL" "$LATE_POOL" 20000; do
		run --separate-stderr preload "$pool" "$PROBE/dial" tcp 127.0.0.1 8080
		assert_ports_in "$pool" <<<"$output"
		[ -z "$stderr" ]
	done
}

@test "a program run by a wrapped program is wrapped" {
	sink_start
	for command in '' "sh -c 'exec \"\$@\"' sh" 'env A=b' 'setsid -w' 'nice'; do
		run fence "$BIND_POOL" sh -c "exec $command $PROBE/dial tcp 127.0.0.1 8080"
		echo "$command: $output"
		assert_ports_in "$BIND_POOL" <<<"$output"
	done
}

@test "PORTFENCE_DISABLE=1 leaves the kernel's own ports" {
	sink_start
	run fence "$BIND_POOL" env PORTFENCE_DISABLE=1 "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 32768-60999 <<<"$output"
	PORTFENCE_DISABLE=1 run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 32768-60999 <<<"$output"
	assert_one_line 'PORTFENCE_DISABLE=1 is in the environment; it runs unfenced'
	PORTFENCE_DISABLE=1 run preload "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in 32768-60999 <<<"$output"
	[ -z "$(ls "$PORTFENCE_DIR")" ]
}

@test "--help of the command and of each subcommand shows its usage on standard output" {
	for subcommand in '' run ls status gc doctor version; do
		# shellcheck disable=SC2086 # none or one
		run -0 --separate-stderr net "$PORTFENCE" $subcommand --help
		echo "$subcommand: $output $stderr"
		[[ ${output,,} == *usage*"portfence${subcommand:+ $subcommand}"* ]]
		[ -z "$stderr" ]
	done
}

@test "version is one line with a version" {
	run -0 net "$PORTFENCE" version
	[[ $output =~ ^portfence\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	run -0 net "$PORTFENCE" --version
	[[ $output =~ ^portfence\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "a single port and a list of ranges are taken" {
	sink_start
	for ranges in 20000 20000-20000 20000,20002-20004 20000-20010,30000-30010; do
		run --separate-stderr fence "$ranges" "$PROBE/dial" tcp 127.0.0.1 8080
		assert_ports_in "$ranges" <<<"$output"
	done
}

@test "bad ranges: exit status 125 and one line that quotes them" {
	for ((n = 0; n < ${#bad_ranges[@]}; n += 2)); do
		echo "ranges '${bad_ranges[n]}'"
		run --separate-stderr fence "${bad_ranges[n]}" echo ran
		[ "$status" -eq 125 ]
		[ -z "$output" ]
		assert_one_line "${bad_ranges[n + 1]}"
	done
	run --separate-stderr fence "$(many_ranges)" echo ran
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	assert_one_line
}

@test "bad ranges in PORTFENCE_PORTS: every connect fails with EACCES, and one line quotes them" {
	sink_start
	for ((n = 0; n < ${#bad_ranges[@]}; n += 2)); do
		echo "ranges '${bad_ranges[n]}'"
		run --separate-stderr preload "${bad_ranges[n]}" "$PROBE/dial" tcp 127.0.0.1 8080
		[ "$status" -eq 1 ]
		[ "$output" = EACCES ]
		assert_one_line "${bad_ranges[n + 1]}"
	done
	run --separate-stderr preload "$(many_ranges)" "$PROBE/dial" tcp 127.0.0.1 8080
	[ "$output" = EACCES ]
	assert_one_line
}

@test "bad ranges in PORTFENCE_PORTS: UDP, bind and listen fail too" {
	sink_start
	run --separate-stderr preload abc "$PROBE/dial" udp 127.0.0.1 8080
	[ "$output" = EACCES ]
	run --separate-stderr preload abc "$PROBE/udpsend" sendto 127.0.0.1 8080
	[ "$output" = EACCES ]
	run --separate-stderr preload abc "$PROBE/bindzero" tcp 127.0.0.1
	[ "$output" = EACCES ]
	run --separate-stderr preload abc "$PROBE/autolisten"
	[ "$output" = EACCES ]
}

@test "status shows one line for each pool" {
	sink_start
	fence_in_background 20000-20009 "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^3 held$'
	run -0 --separate-stderr net "$PORTFENCE" status
	[ -z "$stderr" ]
	[ "${#lines[@]}" -eq 2 ]
	[ "$(tr -s ' ' <<<"${lines[0]}")" = \
		'POOL PORTS SIZE CLAIM LEASED HOLDING FREE FOREIGN EXHAUSTED REFUSED FALLBACK QUOTA REAPED' ]
	[ "$(status_of PORTS)" = 20000-20009 ]
	[ "$(status_of SIZE)" = 10 ]
	[ "$(status_of CLAIM)" = bind ]
	[ "$(status_of LEASED)" = 3 ]
	[ "$(status_of FREE)" = 7 ]
}

@test "status counts what was refused because the pool was exhausted" {
	sink_start
	fence_in_background 20000-20001 "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^2 held, then EADDRNOTAVAIL$'
	[ "$(status_of EXHAUSTED)" -eq 1 ]
}

@test "status and ls of nothing are a header, or say so, and succeed" {
	run -0 net "$PORTFENCE" status
	[ "${#lines[@]}" -le 1 ]
	run -0 net "$PORTFENCE" ls
	[ "${#lines[@]}" -le 1 ]
	run -0 net "$PORTFENCE" gc
}

@test "ls shows each socket with its process" {
	sink_start
	fence_in_background 20000 "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	run -0 --separate-stderr net "$PORTFENCE" ls
	echo "$output"
	[ "$(tr -s ' ' <<<"${lines[0]}")" = 'PROTO LOCAL PEER STATE PID COMMAND POOL' ]
	read -r proto local peer state pid command pool <<<"${lines[1]}"
	[ "$proto $local $peer" = 'tcp 127.0.0.1:20000 127.0.0.1:8080' ]
	[ "${state,,}" = established ] || [ "${state,,}" = estab ]
	[ "$pid $command" = "$PID hold" ]
	[ -n "$pool" ]
}
