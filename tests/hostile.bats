#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Somebody writes what he likes into a segment, or puts something else into its place: whoever uses
# it does not crash, does not hang, and never leaves the range.

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

# The segment of a pool, which a first run makes.
segment_of()
{
	local -a names
	fence "$1" "$PROBE/dial" tcp 127.0.0.1 8080 >/dev/null
	names=("$PORTFENCE_DIR"/portfence.*)
	[ "${#names[@]}" -eq 1 ] && echo "${names[0]}"
}

# Eight processes connect, listen, bind and send while somebody scribbles on their segment: they come
# to an end, they get ports, and all that is seen of them is in the range.
assert_scribbling_is_harmless()
{
	local kind=$1 pool name logs pids scribbler
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		name=$(segment_of "$pool")
		wire_start
		logs=() pids=()
		serve "$PROBE/scribble" "$name" "$kind"
		scribbler=$PID
		wait_for_line '^ready$'
		for _ in 1 2 3 4 5 6 7 8; do
			fence_in_background "$pool" timeout -s ABRT 60 "$PROBE/storm" "${2:-150}" 8080
			logs+=("$LOG") pids+=("$PID")
		done
		for pid in "${pids[@]}"; do
			wait "$pid" || {
				cat "${logs[@]}"
				false
			}
		done
		kill -0 "$scribbler"
		companion_end "$scribbler"
		wire_end
		{
			wire_sources
			grep -h '^[0-9]*$' "${logs[@]}" || :
		} >"$BATS_TEST_TMPDIR/ports"
		# Where all is said to be taken again and again, it may be that nobody got a port.
		if [ "$kind" != ones ] || [ -s "$BATS_TEST_TMPDIR/ports" ]; then
			assert_ports_in "$pool" <"$BATS_TEST_TMPDIR/ports"
		fi
		rm "$name"
	done
}

@test "random words all over a living segment" {
	assert_scribbling_is_harmless random
}

@test "header and table of a living segment scribbled on" {
	assert_scribbling_is_harmless header
}

@test "a living segment that says again and again that all is taken" {
	assert_scribbling_is_harmless ones 20
}

@test "a living segment that forgets again and again" {
	assert_scribbling_is_harmless zeroes
}

@test "a living segment that forgets everything and takes everything, in turn" {
	assert_scribbling_is_harmless flip 50
}

@test "a living segment full of times, past and to come" {
	assert_scribbling_is_harmless times
}

# --- what stands in a segment's place ------------------------------------------------------------

# Runs a probe: its port is in the pool, and one line says what is wrong.
assert_falls_back()
{
	run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
	echo "$output"
	[ "$status" -eq 0 ]
	assert_ports_in "$BIND_POOL" <<<"$output"
	assert_one_line "$1"
}

as_nobody()
{
	net setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
}

@test "programs that start while header and table change fall back, in range" {
	name=$(segment_of "$BIND_POOL")
	serve "$PROBE/scribble" "$name" header
	wait_for_line '^ready$'
	for _ in {1..30}; do
		run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
		[ "$status" -eq 0 ]
		assert_ports_in "$BIND_POOL" <<<"$output"
		assert_one_line 'damaged, or of another version'
	done
}

@test "the command while a segment is scribbled on" {
	for kind in random header times; do
		name=$(segment_of "$BIND_POOL")
		serve "$PROBE/scribble" "$name" "$kind"
		wait_for_line '^ready$'
		for _ in {1..20}; do
			run net timeout -s ABRT 20 "$PORTFENCE" status
			[ "$status" -eq 0 ] || [ "$status" -eq 125 ]
			run net timeout -s ABRT 20 "$PORTFENCE" gc
			[ "$status" -eq 0 ] || [ "$status" -eq 125 ]
			for listing in status ls log; do
				net timeout -s ABRT 20 "$PORTFENCE" $listing --json |
					/usr/bin/python3 -m json.tool >/dev/null
			done
			run net timeout -s ABRT 20 "$PORTFENCE" who --at now 20500
			[ "$status" -le 1 ]
		done
		servers_end
		sink_start
		rm -f "$name"
	done
}

@test "a good segment that another user put there first is not used" {
	name=$(segment_of "$BIND_POOL")
	cp "$name" "$BATS_TEST_TMPDIR/good"
	rm "$name"
	chmod 644 "$BATS_TEST_TMPDIR/good"
	as_nobody cp "$BATS_TEST_TMPDIR/good" "$name"
	as_nobody chmod 600 "$name"
	assert_falls_back 'belongs to another user'
	cmp "$name" "$BATS_TEST_TMPDIR/good"
}

@test "a file of root that is not this user's to write is not used" {
	run --separate-stderr as_nobody "$PORTFENCE" run --ports "$BIND_POOL" -- \
		"$PROBE/dial" tcp 127.0.0.1 8080
	name=$(echo "$PORTFENCE_DIR"/portfence.*)
	cp --remove-destination "$name" "$name.root"
	chown root:root "$name.root"
	chmod 644 "$name.root"
	mv "$name.root" "$name"
	run --separate-stderr as_nobody "$PORTFENCE" run --ports "$BIND_POOL" -- \
		"$PROBE/dial" tcp 127.0.0.1 8080
	[ "$status" -eq 0 ]
	assert_ports_in "$BIND_POOL" <<<"$output"
	assert_one_line 'EACCES (permission denied)'
}

@test "a hard link to another file of this user, whose bytes stay as they are" {
	name=$(segment_of "$BIND_POOL")
	head -c "$(stat -c %s "$name")" /dev/urandom >"$PORTFENCE_DIR/diary"
	cp "$PORTFENCE_DIR/diary" "$BATS_TEST_TMPDIR/before"
	ln -f "$PORTFENCE_DIR/diary" "$name"
	assert_falls_back 'damaged, or of another version'
	cmp "$PORTFENCE_DIR/diary" "$BATS_TEST_TMPDIR/before"
}

@test "a dangling symlink, whose target is not made" {
	name=$(segment_of "$BIND_POOL")
	ln -sf "$BATS_TEST_TMPDIR/target" "$name"
	assert_falls_back 'ELOOP (a symbolic link)'
	[ ! -e "$BATS_TEST_TMPDIR/target" ]
}

@test "a socket and a device" {
	name=$(segment_of "$BIND_POOL")
	rm "$name"
	/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$name"
	assert_falls_back
	rm "$name"
	mknod -m 600 "$name" c 1 5
	assert_falls_back 'not a regular file'
}

@test "a file of the group's, and one of a size that no segment has" {
	name=$(segment_of "$BIND_POOL")
	chmod 620 "$name"
	assert_falls_back 'others may write to it'
	chmod 600 "$name"
	truncate -s 8G "$name"
	assert_falls_back 'damaged (its size)'
}

# Writes a lease into a segment's ring, whole and sealed, as somebody who means harm would.
forge()
{
	/usr/bin/python3 - "$1" <<-'EOF'
		import mmap, struct, sys
		NAME = b"\x1b]0;gotcha\x07\xff\""
		def forge(number, port, protocol, how, pool):
		    words = [2**64 - 1, 2**64 - 1, port | 53 << 16 | protocol << 32 | how << 40 | pool << 48]
		    words += struct.unpack("<4Q", b"\xff" * 16 + NAME.ljust(16, b"\xff"))
		    total = 0x65636e6566747270 ^ number
		    for word in words:
		        total = (total ^ word) * 0x9e3779b97f4a7c15 % 2**64
		    return struct.pack("<8Q", number | total >> 32 << 32, *words)
		with open(sys.argv[1], "r+b") as file:
		    segment = mmap.mmap(file.fileno(), 0)
		ring = len(segment) - 1024 * 64
		entries = [(20500, 6, 1, 0), (20501, 6, 1, 1), (20502, 6, 1, 255), (20503, 6, 9, 0),
		    (20504, 6, 0, 0), (20505, 132, 1, 0), (19999, 6, 1, 0), (0, 6, 1, 0), (21000, 17, 5, 0)]
		for at, entry in enumerate(entries):
		    segment[ring + 64 * at:ring + 64 * at + 64] = forge(at + 2**20, *entry)
	EOF
}

@test "leases that somebody made up: what cannot be is not shown, and nothing can harm a terminal" {
	name=$(segment_of "$BIND_POOL")
	forge "$name"
	net "$PORTFENCE" log --no-header >"$BATS_TEST_TMPDIR/log"
	cat -v "$BATS_TEST_TMPDIR/log"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/log")" -eq 1 ]
	grep -q ' 20500 .*?]0;gotcha??"' "$BATS_TEST_TMPDIR/log"
	run -1 grep -P '[^\x20-\x7e]' "$BATS_TEST_TMPDIR/log"
	net "$PORTFENCE" log --json | /usr/bin/python3 -m json.tool
	net "$PORTFENCE" who --json --at now 20500 || [ $? -eq 1 ]
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080 | assert_ports_in "$BIND_POOL"
}

# Setuid programs run unfenced; the command of root looks into every user's segments.
@test "root looks at what a user writes, and takes nothing from it" {
	install -o root -m 4755 "$PROBE/dial" "$(scratch)/dial"
	run --separate-stderr as_nobody "$PORTFENCE" run --ports "$BIND_POOL" -- \
		"$PROBE/dial" tcp 127.0.0.1 8080
	name=$(echo "$PORTFENCE_DIR"/portfence.*)
	serve setpriv --reuid=nobody --regid=nogroup --clear-groups "$PROBE/scribble" "$name" random
	wait_for_line '^ready$'
	for _ in {1..10}; do
		run net timeout -s ABRT 20 "$PORTFENCE" status
		[ "$status" -eq 0 ] || [ "$status" -eq 125 ]
	done
	fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080 | assert_ports_in "$BIND_POOL"
	[ "$(find "$PORTFENCE_DIR" -user root -name 'portfence.*.0' | wc -l)" -eq 1 ]
	run --separate-stderr as_nobody env LD_PRELOAD="$SHIM" PORTFENCE_PORTS="$BIND_POOL" \
		"$(scratch)/dial" tcp 127.0.0.1 8080
	[ "$status" -eq 0 ]
}
