#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# portfence who: which program has a port, or had it.

load test_helper

setup()
{
	world_new
	sink_start
	export TZ=UTC
}

teardown()
{
	world_end
}

who()
{
	net "$PORTFENCE" who "$@"
}

# A dial that is known by NAME: named NAME RANGES tcp|udp ADDRESS PORT
named()
{
	local name=$1 ranges=$2
	shift 2
	[ -e "$BATS_TEST_TMPDIR/$name" ] || cp "$PROBE/dial" "$BATS_TEST_TMPDIR/$name"
	fence "$ranges" "$BATS_TEST_TMPDIR/$name" "$@"
}

# Runs a command to which it is another time: at 'TIME' COMMAND... ASan's runtime will not have
# another library before it.
at()
{
	local time=$1 faketime
	shift
	faketime=$(find /usr/lib /usr/lib64 -name libfaketime.so.1 -print -quit | grep .)
	LD_PRELOAD=$faketime FAKETIME=$time "$@"
}

# The cells of a column of the output, one a line.
column()
{
	awk -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next } { print $at }' \
		<<<"$output"
}

# Fails unless nothing is known, and the one line that says so has TEXT in it.
assert_nothing_known()
{
	local text=$1
	shift
	run --separate-stderr who "$@"
	echo "who $*: $status $output"
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	assert_one_line "$text"
}

@test "who has a port now: program, process, user, destination, pool, since when" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		began=$(date -d '-1 sec' +%FT%T)
		fence_in_background "$pool" "$PROBE/hold" 1 8080 127.0.0.1
		wait_for_line '^1 held$'
		port=$(net "$PORTFENCE" ls --no-header | awk -F'[ :]+' '{ print $3 }')
		run -0 --separate-stderr who "$port"
		echo "$output"
		[ "$(column PEER)" = 127.0.0.1:8080 ]
		[ "$(column PID)" = "$PID" ]
		[ "$(column COMMAND)" = hold ]
		[ "$(column USER)" = root ]
		[ "$(column POOL)" = default ]
		[ "$(column UNTIL)" = still ]
		[[ $(column SINCE) > $began ]]
		[[ ! $(column SINCE) > $(date +%FT%T.%3N) ]]
		companion_end "$PID"
		rm "$PORTFENCE_DIR"/*
	done
}

@test "who had a port, after its program has ended" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for protocol in tcp udp; do
			port=$(named gone "$pool" "$protocol" 127.0.0.1 8080)
			run -0 --separate-stderr who "$port"
			echo "$output"
			[ "$(column PROTO)" = "$protocol" ]
			[ "$(column COMMAND)" = gone ]
			[ "$(column PEER)" = 127.0.0.1:8080 ]
			[ "$(column UNTIL)" = ended ]
		done
	done
}

# bats test_tags=no-address
@test "who had a port a minute ago" {
	port=$(at -90s fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080)
	for time in -1min '1 min ago' -60 -1m '60 seconds ago' -85s now; do
		run -0 --separate-stderr who "$port" --at "$time"
		echo "$time: $output"
		[ "$(column COMMAND)" = dial ]
	done
	for time in -2min '2 minutes ago' -120 -1h -1d; do
		assert_nothing_known "nothing is known of port $port at $time, only from " "$port" --at "$time"
	done
}

@test "which of two programs had the port then" {
	pool=20000-20001 # one of them is the destination's
	first=$(named first "$pool" udp 127.0.0.1 20001)
	second=$(named second "$pool" udp 127.0.0.1 20001)
	[ "$first" = "$second" ]
	run -0 --separate-stderr who "$first" --at now
	echo "$output"
	[ "$(column COMMAND)" = second ]
	began=$(column SINCE)
	since=$(net "$PORTFENCE" log --no-header -n 2 | awk 'NR == 1 { print $1 }')
	run -0 --separate-stderr who "$first" --at "$since"
	echo "$output"
	[ "$(column COMMAND)" = first ]
	[[ ${lines[1]} == *" ended by $began" ]]
}

@test "one port, two destinations: who had it for which" {
	pool=20000
	named first "$pool" tcp 127.0.0.1 8080
	named second "$pool" tcp 127.0.0.2 8080
	run -0 --separate-stderr who 20000 --at now
	echo "$output"
	[ "$(column COMMAND | tr '\n' ' ')" = 'first second ' ]
	[ "$(column PEER | tr '\n' ' ')" = '127.0.0.1:8080 127.0.0.2:8080 ' ]
}

# bats test_tags=no-address
@test "times as people write them" {
	port=$(at '@2026-11-20 04:10:30' fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080)
	for time in '2026-11-20 04:10' 2026-11-20T04:10 '2026-11-20 04:10:30' 2026-11-20T04:10:31.5 \
		2026-11-20T04:10:59Z '2026-11-20 05:10:59+01:00' 2026-11-19T23:10:59-0500 2026-11-20; do
		run -0 --separate-stderr who "$port" --at "$time"
	done
	for time in '2026-11-20 04:09' 2026-11-20T04:10:28 2026-11-20T04:10:59+01:00 2026-11-19; do
		assert_nothing_known "at $time" "$port" --at "$time"
	done
	# A time of day is the last one that was.
	run -0 at '@2026-11-20 05:00:00' who "$port" --at 04:10
	run -0 at '@2026-11-21 00:05:00' who "$port" --at 23:55
	run -0 at '@2026-11-20 04:10:45' who "$port" --at 04:10:31
	run -1 at '@2026-11-20 04:05:00' who "$port" --at 04:10
	run -1 at '@2026-11-20 04:20:00' who "$port" --at 04:09:59
	run -0 env TZ=Asia/Kolkata nsenter --net="/run/netns/$NETNS" "$PORTFENCE" who "$port" --at '2026-11-20 09:40'
	run -1 env TZ=Asia/Kolkata nsenter --net="/run/netns/$NETNS" "$PORTFENCE" who "$port" --at '2026-11-20 09:39'
}

@test "who says plainly that nothing is known" {
	assert_nothing_known 'portfence: port 20000 is in no pool here' 20000
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	assert_nothing_known 'portfence: port 80 is in no pool here' 80
	other=$(net "$PORTFENCE" log --no-header | awk '{ print $4 == 20000 ? 20001 : 20000 }')
	assert_nothing_known "portfence: nothing is known of port $other" "$other"
	assert_nothing_known "portfence: nothing is known of port $other at -5min" "$other" --at -5min
	run -1 --separate-stderr who --json "$other"
	[ "$(tr -d '\n' <<<"$output")" = '[]' ]
}

@test "who names a program outside the fence" {
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	serve_on 20500 "$PROBE/sink" 20500
	run -0 who 20500
	echo "$output"
	[ "$(column COMMAND | uniq)" = sink ]
	[ "$(column HOW | uniq)" = foreign ]
	[ "$(column SINCE | uniq)" = - ]
}

@test "of a port of another user's program, too, root learns the user" {
	port=$(net setpriv --reuid=nobody --regid=nogroup --clear-groups "$PORTFENCE" run \
		--ports "$BIND_POOL" -- "$PROBE/dial" tcp 127.0.0.1 8080)
	run -0 who "$port"
	[ "$(column USER)" = nobody ]
}

@test "what cannot be understood is exit status 125" {
	for arguments in '' 'abc' '0' '65536' '-1' '20000 20001' '--nonsense 20000' '20000 --at'; do
		# shellcheck disable=SC2086 # words
		run -125 --separate-stderr who $arguments
		[ -z "$output" ]
		assert_one_line who
	done
	for time in '' 4 25:00 04:60 04:10:61 2026-02-30 '2026-13-01 00:00' yesterday '-5 parsecs' \
		'5 min' '-5min ago' 2026-11-20T04:10x '-' ago; do
		run -125 --separate-stderr who 20000 --at "$time"
		assert_one_line "'$time' is no time"
	done
}
