#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --json: what is listed, for programs. The names of the fields are a promise.

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

# Evaluates a Python expression over `all`, the JSON that a command prints: of EXPRESSION COMMAND...
of()
{
	local expression=$1
	shift
	net "$PORTFENCE" "$@" | /usr/bin/python3 -c "
import json, sys
all = json.load(sys.stdin)
print($expression)"
}

# The names of the fields that each object of a listing has, in their order.
fields_of()
{
	of '"\n".join(sorted({" ".join(each) for each in all}))' "$@"
}

# A pool with a connection, a datagram, a listener, and an intruder.
everything_start()
{
	cat >"$BATS_TEST_TMPDIR/all.py" <<-'EOF'
		import signal, socket
		tcp = socket.create_connection(("127.0.0.1", 8080))
		udp = socket.socket(type=socket.SOCK_DGRAM)
		udp.sendto(b"", ("127.0.0.1", 9))
		tcp6 = socket.socket(socket.AF_INET6)
		tcp6.bind(("::1", 0))
		tcp6.listen()
		print(tcp.getsockname()[1], flush=True)
		signal.pause()
	EOF
	fence_in_background "$BIND_POOL" /usr/bin/python3 "$BATS_TEST_TMPDIR/all.py"
	wait_for_line '^[0-9]+$'
	HOLDER=$PID PORT=$(cat "$LOG")
	serve_on 20500 "$PROBE/sink" 20500 tcp
}

@test "map: an object for each port that is not free" {
	everything_start
	[ "$(fields_of map --json)" = 'pool port leases holding foreign' ]
	net "$PORTFENCE" map --json | /usr/bin/python3 -c 'if True:
		import json, sys
		for each in json.load(sys.stdin): print(each["port"])' | assert_ports_in "$BIND_POOL"
	[ "$(of 'sum(each["leases"] for each in all)' map --json)" -eq "$(of 'all[0]["leased"]' status --json)" ]
	[ "$(of 'sum(each["foreign"] for each in all)' map --json)" -eq 1 ]
}

@test "status: an object for each pool, with all that is counted" {
	everything_start
	fence "$LATE_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	[ "$(fields_of status --json)" = "pool ports size sharing claim hold_ms leased busy holding free \
foreign sockets intruders blocks exhausted refused searched strayed fallback quota reaped segment" ]
	run -0 of '[each["ports"] for each in all]' status --json
	[ "$output" = "['$BIND_POOL', '$LATE_POOL']" ] || [ "$output" = "['$LATE_POOL', '$BIND_POOL']" ]
	run -0 of 'len(all), all[0]["sockets"], all[0]["size"], all[0]["hold_ms"], all[0]["claim"]' \
		status --json "$BIND_POOL"
	[ "$output" = "1 3 1000 120000 bind" ]
	run -125 --separate-stderr net "$PORTFENCE" status --json nonsense
	[ -z "$output" ]
	assert_one_line nonsense
}

@test "ls: an object for each socket" {
	everything_start
	[ "$(fields_of ls --json)" = \
		'pool protocol address port peer_address peer_port state pid command kind' ]
	run -0 of 'len(all), {each["pid"] for each in all}, {each["kind"] for each in all}' ls --json
	[ "$output" = "3 {$HOLDER} {'lease'}" ]
	run -0 of 'all' ls --json --port "$PORT"
	[ "$output" = "[{'pool': 'default', 'protocol': 'tcp', 'address': '127.0.0.1', 'port': $PORT, \
'peer_address': '127.0.0.1', 'peer_port': 8080, 'state': 'ESTAB', 'pid': $HOLDER, \
'command': 'python3', 'kind': 'lease'}]" ]
	run -0 of '{each["kind"] for each in all if each["port"] == 20500 and each["pid"] != '"$HOLDER"'}' \
		ls --json --all
	[ "$output" = "{'foreign'}" ]
	run -0 of '[(each["address"], each["peer_address"], each["peer_port"]) for each in all
		if each["state"] == "LISTEN"]' ls --json
	[ "$output" = "[('::1', None, None)]" ]
	[ "$(of all ls --json --port 19999)" = '[]' ]
}

@test "who: an object for each holder" {
	everything_start
	[ "$(fields_of who --json "$PORT")" = "pool protocol port peer_address peer_port how pid \
command uid user foreign live since ended_by" ]
	run -0 of 'all[0]["pid"], all[0]["user"], all[0]["live"], all[0]["how"], all[0]["ended_by"]' \
		who "$PORT" --json
	[ "$output" = "$HOLDER root True bind None" ]
	run -0 of 'all[0]["command"], all[0]["foreign"], all[0]["how"], all[0]["since"]' who 20500 --json
	[ "$output" = 'sink True None None' ]
	companion_end "$HOLDER"
	run -0 of 'all[0]["pid"], all[0]["live"]' who "$PORT" --json
	[ "$output" = "$HOLDER False" ]
}

@test "log: an object for each lease, with the time as RFC 3339 has it" {
	everything_start
	[ "$(fields_of log --json)" = \
		'time pool protocol port peer_address peer_port how pid command uid user' ]
	[ "$(of 'len(all)' log --json)" -eq 3 ]
	run -0 of '[(each["protocol"], each["peer_port"], each["how"]) for each in all]' log --json
	[ "$output" = "[('tcp', 8080, 'bind'), ('udp', 9, 'bind'), ('tcp', None, 'any')]" ]
	for zone in UTC Asia/Kolkata America/St_Johns; do
		TZ=$zone net "$PORTFENCE" log --json | /usr/bin/python3 -c '
import datetime, json, sys
for each in json.load(sys.stdin):
    age = datetime.datetime.now().astimezone() - datetime.datetime.fromisoformat(each["time"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1), each'
	done
}

@test "log -f: an object a line" {
	serve "$PORTFENCE" log -f --json
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.2 8080
	wait_for_line 127.0.0.2
	[ "$(wc -l <"$LOG")" -eq 2 ]
	while read -r line; do
		/usr/bin/python3 -m json.tool <<<"$line" >/dev/null
	done <"$LOG"
}

@test "top: an object for one moment, or for each" {
	everything_start
	[ "$(of '" ".join(all)' top --json)" = 'time pools processes' ]
	[ "$(of '" ".join(all["pools"][0])' top --json)" = \
		'pool ports size leased busy holding free foreign exhausted' ]
	[ "$(of '" ".join(all["processes"][0])' top --json)" = 'pid command pool ports kind sockets peers' ]
	run -0 of '[(p["pid"], p["kind"], p["ports"], p["sockets"]) for p in all["processes"]]' top --json
	[ "$output" = "[($HOLDER, 'lease', '$BIND_POOL', 3)]" ]
	run -0 of 'sorted((str(p["peer_port"]), p["sockets"]) for p in all["processes"][0]["peers"])' top --json
	[ "$output" = "[('8080', 1), ('None', 2)]" ]
	run -0 of '{(p["command"], p["kind"]) for p in all["processes"]} - {("python3", "lease")}' top --json -a
	[ "$output" = "{('sink', 'foreign')}" ]
	run -0 --separate-stderr net timeout 10 bash -c "trap '' PIPE; set -o pipefail; '$PORTFENCE' top --json -d 0.1 | head -n 3"
	[ "${#lines[@]}" -eq 3 ]
	[ -z "$stderr" ]
}

@test "nothing is an empty array" {
	for command in status ls log map; do
		[ "$(of all "$command" --json)" = '[]' ]
	done
}

@test "a program's name, whatever it is, is one word of text and valid in JSON" {
	name=$'a "\e[31m\n\xff\\'
	cp "$PROBE/dial" "$BATS_TEST_TMPDIR/$name"
	port=$(fence "$BIND_POOL" "$BATS_TEST_TMPDIR/$name" tcp 127.0.0.1 8080)
	for command in "log --json" "who --json $port"; do
		# shellcheck disable=SC2086 # words
		run -0 of 'all[0]["command"]' $command
		[ "$output" = 'a?"?[31m' ]
	done
	for command in log "who $port"; do
		# shellcheck disable=SC2086 # words
		net "$PORTFENCE" $command >"$BATS_TEST_TMPDIR/text"
		grep -qF 'a?"?[31m' "$BATS_TEST_TMPDIR/text"
		run -1 grep -P '[^\x20-\x7e]' "$BATS_TEST_TMPDIR/text"
	done
}
