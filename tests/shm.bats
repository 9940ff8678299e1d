#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Without a usable segment the range still holds, and one line says so.

# Each test is a process of its own.
# shellcheck disable=SC2030,SC2031

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

# Runs a probe with each claim: its port is in the pool, and standard error is one line.
# A first argument "--in SCRIPT" runs SCRIPT, in a mount namespace of its own, before.
assert_fenced_without_segment()
{
	local script=: pool
	if [ "${1-}" = --in ]; then
		script=$2
	fi
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		# shellcheck disable=SC2016 # for the inner shell
		run --separate-stderr net unshare -m sh -c "$script"' && exec "$@"' sh \
			"$PORTFENCE" run --ports "$pool" -- "$PROBE/dial" tcp 127.0.0.1 8080
		echo "$output"
		[ "$status" -eq 0 ]
		assert_ports_in "$pool" <<<"$output"
		assert_one_line
	done
}

# Gives the name of the bind pool's segment, which a first run makes.
segment_name()
{
	local -a names
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080 >/dev/null
	names=("$PORTFENCE_DIR"/portfence.*)
	[ "${#names[@]}" -eq 1 ] && [ -f "${names[0]}" ] && echo "${names[0]}"
}

# Runs a probe whose segment is spoilt: the port is in the pool, one line, no crash.
assert_spoilt_segment_is_refused()
{
	run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	echo "$output"
	[ "$status" -eq 0 ]
	assert_ports_in "$BIND_POOL" <<<"$output"
	assert_one_line
}

@test "a segment is made, private to its user, and nothing is said" {
	run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	[ -z "$stderr" ]
	name=$(basename "$(segment_name)")
	[[ $name =~ ^portfence\.[0-9a-f]{16}\.[0-9]+\.0$ ]]
	[ "$(stat -c %a "$PORTFENCE_DIR/$name")" = 600 ]
}

@test "who makes a segment and who finds one keeps no descriptor of it" {
	for _ in maker finder; do
		run -0 fence "$BIND_POOL" /usr/bin/python3 -c 'if True:
			import os, socket
			before = os.listdir("/proc/self/fd")
			socket.create_connection(("127.0.0.1", 8080)).close()
			print(len(os.listdir("/proc/self/fd")) - len(before))'
		[ "$output" = 0 ]
	done
}

@test "a missing directory (trap 22)" {
	PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere
	assert_fenced_without_segment
	[ ! -e "$PORTFENCE_DIR" ]
}

@test "a directory that is a file (trap 22)" {
	PORTFENCE_DIR=$PROBE/dial
	assert_fenced_without_segment
}

@test "a full tmpfs (trap 22)" {
	assert_fenced_without_segment --in "mount -t tmpfs -o size=4k none '$PORTFENCE_DIR'"
}

@test "a read-only directory (trap 22)" {
	assert_fenced_without_segment --in "mount -t tmpfs -o ro none '$PORTFENCE_DIR'"
}

@test "a directory that its user may not write to" {
	chmod 755 "$PORTFENCE_DIR"
	run --separate-stderr net setpriv --reuid=nobody --regid=nogroup --clear-groups \
		"$PORTFENCE" run --ports "$BIND_POOL" -- "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in "$BIND_POOL" <<<"$output"
	assert_one_line
}

@test "PORTFENCE_LOG=none keeps it quiet" {
	export PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere PORTFENCE_LOG=none
	run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	[ -z "$stderr" ]
	assert_ports_in "$BIND_POOL" <<<"$output"
}

@test "the fence by environment alone says the same one line" {
	export PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere
	run --separate-stderr preload "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	assert_ports_in "$BIND_POOL" <<<"$output"
	assert_one_line
}

@test "without a segment one process still fills its pool, and no more" {
	export PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere
	for pool in 20000-20099 40000-40099; do
		fence_in_background "$pool" "$PROBE/hold" 101 8080 127.0.0.1
		wait_for_line ' held'
		[ "$(grep held "$LOG")" = '100 held, then EADDRNOTAVAIL' ]
		companion_end "$PID"
	done
}

@test "without a segment two processes do not get in each other's way" {
	export PORTFENCE_DIR=$BATS_TEST_TMPDIR/nowhere
	for pool in 20000-20099 40000-40099; do
		for _ in 1 2; do
			fence_in_background "$pool" "$PROBE/hold" 50 8080 127.0.0.1
			wait_for_line '^50 held$'
		done
		servers_end
		sink_start
	done
}

@test "a symlink in the segment's place (trap 22)" {
	name=$(segment_name)
	mv "$name" "$BATS_TEST_TMPDIR/elsewhere"
	ln -s "$BATS_TEST_TMPDIR/elsewhere" "$name"
	assert_spoilt_segment_is_refused
}

@test "a FIFO in the segment's place (trap 22)" {
	name=$(segment_name)
	rm "$name"
	mkfifo -m 600 "$name"
	assert_spoilt_segment_is_refused
}

@test "a directory in the segment's place (trap 22)" {
	name=$(segment_name)
	rm "$name"
	mkdir "$name"
	assert_spoilt_segment_is_refused
}

@test "a segment of another user (trap 22)" {
	name=$(segment_name)
	chown nobody "$name"
	assert_spoilt_segment_is_refused
}

@test "a segment that all may write (trap 22)" {
	name=$(segment_name)
	chmod 666 "$name"
	assert_spoilt_segment_is_refused
}

@test "an empty segment (trap 22)" {
	name=$(segment_name)
	: >"$name"
	assert_spoilt_segment_is_refused
}

@test "a truncated segment (trap 22)" {
	name=$(segment_name)
	truncate -s 5000 "$name"
	assert_spoilt_segment_is_refused
}

@test "a segment of garbage (trap 22)" {
	name=$(segment_name)
	dd if=/dev/urandom of="$name" bs="$(stat -c %s "$name")" count=1 conv=notrunc status=none
	assert_spoilt_segment_is_refused
}

@test "a segment of zeroes (trap 22)" {
	name=$(segment_name)
	dd if=/dev/zero of="$name" bs="$(stat -c %s "$name")" count=1 conv=notrunc status=none
	assert_spoilt_segment_is_refused
}

@test "garbage behind a good header never leads out of the range (trap 22)" {
	name=$(segment_name)
	size=$(stat -c %s "$name")
	head -c $((size - 8192)) /dev/urandom |
		dd of="$name" bs=4096 seek=2 conv=notrunc status=none
	for _ in 1 2 3; do
		run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
		[ "$status" -eq 0 ]
		assert_ports_in "$BIND_POOL" <<<"$output"
	done
}

@test "garbage from any offset on never leads threads out of the range" {
	name=$(segment_name)
	size=$(stat -c %s "$name")
	for offset in 0 1024 4096; do
		head -c $((size - offset)) /dev/urandom |
			dd of="$name" bs=64k seek="$offset" oflag=seek_bytes conv=notrunc status=none
		run --separate-stderr preload "$BIND_POOL" "$PROBE/threads" 4 20 8080
		echo "$offset: $status $output"
		[ "$status" -eq 0 ]
		[[ ${lines[0]} =~ ^[1-9][0-9]*\ connected ]]
		printf '%s\n' "${lines[@]:1}" | assert_ports_in "$BIND_POOL"
	done
}

@test "garbage in the place of a living segment never leads out of the range (trap 22)" {
	name=$(segment_name)
	size=$(stat -c %s "$name")
	fence_in_background "$BIND_POOL" "$PROBE/threads" 8 200 8080
	while kill -0 "$PID" 2>/dev/null; do
		dd if=/dev/urandom of="$name" bs="$size" count=1 conv=notrunc status=none
	done
	wait "$PID"
	cat "$LOG"
	grep -Eq '^[0-9]+$' "$LOG"
	grep -E '^[0-9]+$' "$LOG" | assert_ports_in "$BIND_POOL"
}
