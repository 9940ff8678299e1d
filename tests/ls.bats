#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What `ls` and `status` show: order, filters, and whose a socket on a pool's port is.

load test_helper

setup()
{
	world_new
	sink_start
}

teardown()
{
	world_end
}

ls_of()
{
	net "$PORTFENCE" ls "$@"
}

# A column of `ls` without the heading: column HEADING OPTION...
column()
{
	local heading=$1
	shift
	ls_of "$@" | awk -v heading="$heading" '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == heading) at = i; next }
		{ print $at }'
}

# Three programs: alpha with four connections, beta with two, and gamma, which listens.
three_start()
{
	local name
	for name in alpha beta; do
		cp "$PROBE/hold" "$BATS_TEST_TMPDIR/$name"
	done
	cp "$PROBE/sink" "$BATS_TEST_TMPDIR/gamma"
	# First, or it may happen that one of the others has its port.
	fence_in_background 20000-20099 "$BATS_TEST_TMPDIR/gamma" 20099
	wait_for 10 listening 20099
	fence_in_background 20000-20099 "$BATS_TEST_TMPDIR/alpha" 4 8080 127.0.0.1 127.0.1.2
	wait_for_line '^4 held$'
	ALPHA=$PID
	fence_in_background 20000-20099 "$BATS_TEST_TMPDIR/beta" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
}

# Fails unless a column has all eight leases, in order; of an endpoint, the port counts: assert_sorted HEADING SORT_OPTION... -- OPTION...
assert_sorted()
{
	local heading=$1 words=()
	shift
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	column "$heading" "${@:2}" | sed 's/.*:\([0-9]\)/\1/' >"$BATS_TEST_TMPDIR/column"
	cat "$BATS_TEST_TMPDIR/column"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/column")" -eq 8 ]
	sort -c "${words[@]}" "$BATS_TEST_TMPDIR/column"
}

@test "ls sorts by every key, either way, and by port of itself" {
	three_start
	assert_sorted LOCAL -n --
	assert_sorted LOCAL -n -- --sort port
	assert_sorted LOCAL -nr -- --sort -port
	assert_sorted PID -n -- --sort pid
	assert_sorted PID -nr -- --sort -pid
	assert_sorted COMMAND -- --sort command
	assert_sorted COMMAND -r -- --sort=-command
	assert_sorted STATE -- --sort state
	assert_sorted STATE -r -- --sort -state
	assert_sorted POOL -- --sort pool
	# What listens has no peer, and comes first.
	peers='* * 127.0.0.1:8080 127.0.0.1:8080 127.0.0.1:8080 127.0.0.1:8080 127.0.1.2:8080 127.0.1.2:8080'
	[ "$(column PEER --sort peer | xargs)" = "$peers" ]
	[ "$(column PEER --sort -peer | tac | xargs)" = "$peers" ]
}

@test "ls shows the ports, the process, the pool and the peer that were asked for" {
	three_start
	port=$(column LOCAL --pid "$ALPHA" | head -1)
	port=${port##*:}
	cases=(
		'' 8
		'--port 20099' 2
		'--port 20000-20098' 6
		'--port 20000-20098,20099' 8
		"--port $port --pid $ALPHA" 1
		'--port 30000' 0
		"--pid $ALPHA" 4
		'--pid 1' 0
		'--pool default' 8
		'--pool 20000-20099' 8
		'--pool other' 0
		'--to 127.0.0.1' 4
		'--to 127.0.1.2' 2
		'--to 127.0.1.2:8080' 2
		'--to 127.0.1.2:8081' 0
		'--to *:8080' 6
		'--to *:8000-8100' 6
		'--to *' 6
		'--to 127.0.0.0/16:8080' 6
		'--to 127.0.0.0/24' 4
		'--to 0.0.0.0/0' 6
		'--to ::/0' 6
		'--to ::1' 0
		'--to [::1]:8080' 0
		'--to [::ffff:127.0.0.0]/120:8080' 4
		'--to [::ffff:127.0.0.0/112]:8080' 6
	)
	for ((i = 0; i < ${#cases[@]}; i += 2)); do
		echo "ls ${cases[i]}: ${cases[i + 1]} expected"
		read -ra words <<<"${cases[i]}"
		[ "$(ls_of --no-header "${words[@]}" | wc -l)" -eq "${cases[i + 1]}" ]
	done
}

@test "ls shows IPv6 peers, and finds them" {
	fence_in_background 20000-20009 python3 -c '
import socket
s = socket.create_connection(("::1", 8080))
print("ready", flush=True)
s.recv(1)'
	wait_for_line '^ready$'
	[ "$(column PEER)" = '[::1]:8080' ]
	for to in ::1 '[::1]' '[::1]:8080' ::/64 '[::]/127' ::/0 '*'; do
		[ "$(column PEER --to "$to")" = '[::1]:8080' ]
	done
	for to in ::2 '[::1]:8081' '[::2]/127' 127.0.0.1 0.0.0.0/0; do
		[ -z "$(column PEER --to "$to")" ]
	done
}

# What ls refuses, each with the part of it that the message must quote.
bad_options=(
	--sort colour "'colour'"
	--sort '' "''"
	--sort --port "'--port'"
	--port x '"x"'
	--port 0 '"0"'
	--port 9-8 '"9-8"'
	--pid 0 "'0'"
	--pid x "'x'"
	--pid -1 "'-1'"
	--pid 12x "'12x'"
	--to x "'x'"
	--to '' "''"
	--to : "':'"
	--to '*:0' "'0'"
	--to 1.2.3 "'1.2.3'"
	--to 1.2.3.4/33 "'33'"
	--to 1.2.3.5/31 "'1.2.3.5/31'"
	--to 1.2.3.4/ "''"
	--to 1.2.3.4:x "'x'"
	--to 1.2.3.4:65536 "'65536'"
	--to ::1/129 "'129'"
	--to '[::1' "'[::1'"
	--to '::1]' "'::1]'"
	--to '[::1]x' "'[::1]x'"
)

@test "what ls cannot understand is exit status 125, and one line quotes it" {
	for ((bad = 0; bad < ${#bad_options[@]}; bad += 3)); do
		run -125 --separate-stderr net "$PORTFENCE" ls "${bad_options[@]:bad:2}"
		assert_one_line "${bad_options[bad + 2]}"
		[ -z "$output" ]
	done
	run -125 --separate-stderr net "$PORTFENCE" ls --sort
	assert_one_line "'--sort' wants a value"
	run -125 --separate-stderr net "$PORTFENCE" ls more
	assert_one_line "'more'"
}

@test "a listener outside the fence is no lease, also after a reap has marked its port" {
	serve_on 20005 "$PROBE/sink" 20005
	fence_in_background 20000-20009 "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^3 held$'
	for _ in before after; do
		[ "$(ls_of -n | wc -l)" -eq 3 ]
		[ "$(ls_of -n --all | awk '$NF == "foreign" { print $1, $4 }')" = 'tcp LISTEN
udp UNCONN' ]
		[ "$(status_of LEASED)" -eq 3 ] # which reaps
		[ "$(status_of FOREIGN)" -eq 1 ]
		[ "$(status_of FREE)" -eq 6 ]
	done
}

@test "what a listener outside the fence accepts is no lease, nor what it has yet to accept" {
	cat >"$BATS_TEST_TMPDIR/server.py" <<-'EOF'
		import signal, socket
		s = socket.create_server(("127.0.0.1", 20005), backlog=10)
		accepted = [s.accept(), s.accept()]
		print("accepted", flush=True)
		signal.pause()
	EOF
	serve_on 20005 python3 "$BATS_TEST_TMPDIR/server.py"
	server=$LOG
	serve "$PROBE/hold" 5 20005 127.0.0.1
	wait_for_line '^5 held$'
	LOG=$server wait_for_line '^accepted$'
	fence_in_background 20000-20009 "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	for _ in before after; do
		[ "$(ls_of -n | wc -l)" -eq 1 ]
		[ "$(column KIND --all | grep -c foreign)" -eq 6 ]
		[ "$(status_of LEASED)" -eq 1 ]
		[ "$(status_of FOREIGN)" -eq 1 ]
	done
}

@test "a connection of a program outside the fence is no lease, beside one that is" {
	serve python3 -c '
import signal, socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 40000))
a.connect(("127.0.0.1", 8080))
b.bind(("127.0.0.1", 40001))
print("ready", flush=True)
signal.pause()'
	wait_for_line '^ready$'
	fence_in_background 40000-40009 "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^3 held$'
	[ "$(column KIND --all --sort port | sort | uniq -c | tr -s ' \n' ' ')" = ' 2 foreign 3 lease ' ]
	[ "$(column LOCAL --all | head -2)" = '127.0.0.1:40000
127.0.0.1:40001' ]
	[ "$(status_of LEASED)" -eq 3 ]
	[ "$(status_of FOREIGN)" -eq 2 ]
	[ "$(status_of FREE)" -eq 5 ]
}

# True if so many connections of the pool are in TIME_WAIT.
time_wait_has()
{
	[ "$(net ss -Htan state time-wait 'sport >= :20000 and sport <= :20009' | wc -l)" -eq "$1" ]
}

@test "what has ended is shown with --all only, and is not foreign" {
	fence 20000-20009 "$PROBE/churn" 3 8080
	fence_in_background 20000-20009 python3 -c '
import signal, socket
s = socket.create_connection(("127.0.0.1", 8080))
print("ready", flush=True)
signal.pause()'
	wait_for_line '^ready$'
	companion_end "$PID" KILL # so nobody has given its port back
	wait_for 10 time_wait_has 4
	[ -z "$(ls_of -n)" ]
	[ "$(column STATE --all | sort -u)" = TIME-WAIT ]
	[ "$(column KIND --all | sort -u)" = - ]
}

@test "a socket that passed over exec is a lease still" {
	fence_in_background 20000-20009 "$PROBE/overexec" 8080 sleep 60
	wait_for_line '^[0-9]+$'
	[ "$(column COMMAND)" = sleep ]
	[ "$(status_of LEASED)" -eq 1 ]
}

@test "status POOL shows one pool, one thing a line" {
	fence_in_background 20000-20009 "$PROBE/hold" 3 8080 127.0.0.1
	wait_for_line '^3 held$'
	fence_in_background 40000-40009 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	net "$PORTFENCE" status 20000-20009 | tr -s ' ' >"$BATS_TEST_TMPDIR/items"
	cat "$BATS_TEST_TMPDIR/items"
	for item in 'pool default' 'ports 20000-20009' 'size 10' 'sharing destination' 'claim bind' \
		'hold 120 s' 'leased 3' 'busy 3' 'holding 0' 'free 7' 'foreign 0' 'sockets 3' \
		'exhausted 0' 'refused 0' 'fallback 0' 'quota 0' 'reaped 0'; do
		grep -qx "$item" "$BATS_TEST_TMPDIR/items"
	done
	grep -q "^segment $PORTFENCE_DIR/portfence\.[0-9a-f]*\.[0-9]*\.0$" "$BATS_TEST_TMPDIR/items"
	[ "$(net "$PORTFENCE" status default | grep -c '^pool ')" -eq 2 ]
	run -125 --separate-stderr net "$PORTFENCE" status other
	assert_one_line "no pool 'other'"
}
