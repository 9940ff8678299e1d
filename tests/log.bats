#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# portfence log: the leases that were taken, and those that are taken.

load test_helper

setup()
{
	world_new
	sink_start
	sink_start 8081 udp
}

teardown()
{
	world_end
}

log()
{
	net "$PORTFENCE" log "$@"
}

# The lines, without the time, the process and the width of the columns.
lines_of()
{
	log --no-header "$@" | awk '{ print $2, $3, $4, $5, $6, $8, $9 }'
}

# True once a file has so many lines.
has_lines()
{
	[ "$(wc -l <"$1")" -ge "$2" ]
}

# A line of COMMAND, and what it printed for its port: expected PROTO PEER HOW COMMAND PORT
expected()
{
	echo "default $1 $5 $2 $3 root $4"
}

@test "every way to get a port leaves a line" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		how=late
		[ "$pool" = "$LATE_POOL" ] || how=bind
		{
			expected tcp 127.0.0.1:8080 $how dial "$(fence "$pool" "$PROBE/dial" tcp 127.0.0.1 8080)"
			expected udp 127.0.0.1:8081 bind dial "$(fence "$pool" "$PROBE/dial" udp 127.0.0.1 8081)"
			expected tcp '*' any bindzero "$(fence "$pool" "$PROBE/bindzero" tcp 127.0.0.1)"
			expected tcp '*' listen autolisten "$(fence "$pool" "$PROBE/autolisten")"
		} >"$BATS_TEST_TMPDIR/expected"
		lines_of | diff "$BATS_TEST_TMPDIR/expected" -
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a port that the program asked for is the pool's, and the destination comes with the connect" {
	fence "$BIND_POOL" "$PROBE/explicit" tcp 127.0.0.1 20123 8080
	lines_of >"$BATS_TEST_TMPDIR/lines"
	diff - "$BATS_TEST_TMPDIR/lines" <<-'EOF'
		default tcp 20123 * port root explicit
		default tcp 20123 127.0.0.1:8080 bind root explicit
	EOF
}

@test "a connect that was refused was on the wire: it leaves a line, too" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run -1 fence "$pool" "$PROBE/dial" tcp 127.0.0.1 9999
		run -0 lines_of --to 127.0.0.1:9999
		[ "${#lines[@]}" -eq 1 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a forked child's leases are its own" {
	cat >"$BATS_TEST_TMPDIR/two.py" <<-'EOF'
		import os, socket
		def lease():
		    socket.create_connection(("127.0.0.1", 8080))
		    print(os.getpid(), flush=True)
		lease()
		if os.fork() == 0:
		    os.setuid(65534)
		    lease()
		else:
		    os.wait()
	EOF
	run -0 fence "$BIND_POOL" /usr/bin/python3 "$BATS_TEST_TMPDIR/two.py"
	[ "$(log --no-header | awk '{ print $7 }')" = "$output" ]
	[ "$(log --no-header | awk '{ print $8 }' | tr '\n' ' ')" = 'root nobody ' ]
}

@test "only so many lines, and only what is asked for" {
	for address in 127.0.0.1 127.0.0.2 127.0.0.3; do
		fence "$BIND_POOL" "$PROBE/dial" tcp "$address" 8080
	done >"$BATS_TEST_TMPDIR/ports"
	fence "$LATE_POOL" "$PROBE/dial" udp 127.0.0.1 8081
	[ "$(lines_of | wc -l)" -eq 4 ]
	[ "$(log | wc -l)" -eq 5 ]
	[ "$(lines_of -n 0)" = '' ]
	[ "$(lines_of -n 1 | awk '{ print $2 }')" = udp ]
	[ "$(lines_of --lines=99 | wc -l)" -eq 4 ]
	[ "$(lines_of --pool "$BIND_POOL" | wc -l)" -eq 3 ]
	[ "$(lines_of --to 127.0.0.2 | awk '{ print $4 }')" = 127.0.0.2:8080 ]
	[ "$(lines_of --to 127.0.0.0/8:8081 | wc -l)" -eq 1 ]
	port=$(sed -n 2p "$BATS_TEST_TMPDIR/ports")
	[ "$(lines_of --port "$port" | awk '{ print $3 }')" = "$port" ]
	[ "$(lines_of --port 20000-29999 | wc -l)" -eq 3 ]
	pid=$(log --no-header -n 1 | awk '{ print $7 }')
	[ "$(lines_of --pid "$pid" | wc -l)" -eq 1 ]
}

@test "log -f shows a lease as it is taken, also of a pool that was not there" {
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	serve "$PORTFENCE" log -f
	wait_for_line ' dial$'
	first=$(fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.2 8080)
	wait_for_line " $first +127.0.0.2:8080 "
	second=$(fence "$LATE_POOL" "$PROBE/dial" tcp 127.0.0.3 8080)
	wait_for_line " $second +127.0.0.3:8080 "
	[ "$(grep -c . "$LOG")" -eq 4 ]
	companion_end "$PID"
	run -1 grep portfence: "$LOG"
}

@test "log -f goes on with a segment that was removed, damaged, and made again" {
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	serve "$PORTFENCE" log -f --no-header
	wait_for_line ' 127.0.0.1:8080 '
	rm "$PORTFENCE_DIR"/*
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.2 8080
	wait_for_line ' 127.0.0.2:8080 '
	truncate -s 100 "$PORTFENCE_DIR"/*
	rm "$PORTFENCE_DIR"/*
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.3 8080
	wait_for_line ' 127.0.0.3:8080 '
	[ "$(grep -c 127.0.0 "$LOG")" -eq 3 ]
}

@test "log -f begins with the last ten" {
	for _ in {1..12}; do
		fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	done
	serve "$PORTFENCE" log -f --no-header
	wait_for_line .
	[ "$(grep -c . "$LOG")" -eq 10 ]
}

@test "log -f misses none of a thousand that eight processes take at once" {
	serve "$PORTFENCE" log -f --no-header --json
	follower=$PID log=$LOG
	pids=()
	for _ in 1 2 3 4 5 6 7 8; do
		fence_in_background "$LATE_POOL" "$PROBE/threads" 4 31 8080
		pids+=("$PID")
	done
	wait "${pids[@]}"
	wait_for 20 has_lines "$log" 992
	companion_end "$follower"
	[ "$(grep -c . "$log")" -eq 992 ]
	[ "$(sort "$log" | uniq -d | wc -l)" -eq 0 ]
}

@test "log -f ends quietly when nobody reads it any more" {
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	run -0 --separate-stderr net timeout 10 bash -c "set -o pipefail; '$PORTFENCE' log -f | head -n 1"
	[ "${#lines[@]}" -eq 1 ]
	[ -z "$stderr" ]
	# A shell that ignores SIGPIPE hands that on.
	run -0 --separate-stderr net timeout 10 bash -c "trap '' PIPE; '$PORTFENCE' log -f | head -n 1"
	[ -z "$stderr" ]
}

@test "a whole ring: the newest are there, as many as it holds, in order" {
	fence 20000-20099 "$PROBE/threads" 1 1500 8080
	log --no-header >"$BATS_TEST_TMPDIR/all"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/all")" -eq 1024 ]
	sort -s -c -k1,1 "$BATS_TEST_TMPDIR/all"
}

@test "bad usage is exit status 125" {
	for arguments in '--nonsense' 'more' '-n' '-n -1' '-n x' '--port 0' '--pid x' '--to x' '--pool'; do
		# shellcheck disable=SC2086 # words
		run -125 --separate-stderr log $arguments
		[ -z "$output" ]
		assert_one_line log
	done
}
