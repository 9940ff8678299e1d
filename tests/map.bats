#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# `map`: the pools, drawn.

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

map()
{
	net env COLUMNS="${1:-80}" "$PORTFENCE" map "${@:2}"
}

# The rows of a map: what begins with a port.
map_rows()
{
	map "$@" | grep -E '^ *[0-9]+  [^0-9]'
}

# Binds and listens on ports of the pool, and lets others go: listeners_start POOL PORT... -- PORT...
listeners_start()
{
	fence_in_background "$1" python3 -c '
import signal, socket, sys
ports = sys.argv[1:]
keep = [socket.create_server(("127.0.0.1", int(p))) for p in ports[:ports.index("--")]]
for p in ports[ports.index("--") + 1:]:
    socket.create_server(("127.0.0.1", int(p))).close()
print("ready", flush=True)
signal.pause()' "${@:2}"
	wait_for_line '^ready$'
}

@test "a map shows each port's state, and where it is" {
	serve_on 20044 "$PROBE/sink" 20044
	listeners_start 20000-20062,21000-21001 20000 20011 20049 20062 21001 -- 20021
	run -0 --separate-stderr map
	diff - <(echo "$output") <<-'EOF'
		default  20000-20062,21000-21001
		65 ports: 5 leases on 5, 1 holding, 58 free, 1 foreign

		       +0         +10        +20        +30        +40
		20000  +......... .+........ .~........ .......... ....x....+
		20050  .......... ..+
		21000  .+

		       . free  ~ holding  x foreign
		       + leased  * to 2-4 destinations  # to more
	EOF
	[ -z "$stderr" ]
}

@test "a map tells how many destinations a port is leased to" {
	fence_in_background 20000 "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	[ "$(map_rows)" = '20000  +' ]
	fence_in_background 20000 "$PROBE/hold" 3 8080 127.0.0.{2..4}
	wait_for_line '^3 held$'
	[ "$(map_rows)" = '20000  *' ]
	fence_in_background 20000 "$PROBE/hold" 1 8080 127.0.0.5
	wait_for_line '^1 held$'
	[ "$(map_rows)" = '20000  #' ]
}

@test "a big pool fits, with more ports in a cell, and each range on rows of its own" {
	listeners_start 20000-29999,30500-30999 20000 20003 20010 20011 20012 30500 -- 20030
	run -0 map 80
	echo "$output"
	[ "$(map_rows 80 | wc -l)" -eq 11 ]
	[ "$(map_rows 80 | head -1)" = "20000  :~........$(printf ' ..........%.0s' 1 2 3 4)" ]
	[ "$(map_rows 80 | tail -1)" = "30500  :......... .......... ....." ]
	grep -q 'a cell is 20 ports' <<<"$output"
	grep -qx ' *+0         +200       +400       +600       +800' <<<"$output"
	for width in 1 20 40 80 132 200; do
		[ "$(map_rows $width | wc -l)" -le 21 ]
		[ "$width" -lt 40 ] || [ "$(map_rows $width | wc -L)" -le "$width" ]
	done
	[ "$(map 80 | wc -L)" -le 80 ]
}

@test "each of 64 ranges is there, whatever the height" {
	fence_in_background "$(seq -s, 20000 4 20252)" "$PROBE/hold" 1 8080 127.0.0.1
	wait_for_line '^1 held$'
	[ "$(map_rows | wc -l)" -eq 64 ]
	[ "$(map_rows | grep -c '  \.$')" -eq 63 ]
	[ "$(map | wc -L)" -le 80 ]
}

@test "map draws the pool that was asked for, and says if there is none" {
	listeners_start 20000-20009 20000 -- 20001
	listeners_start 30000-30009 30000 -- 30001
	[ "$(map_rows 80 | wc -l)" -eq 2 ]
	[ "$(map_rows 80 default | wc -l)" -eq 2 ]
	[ "$(map_rows 80 30000-30009)" = '30000  +~........' ]
	run -125 --separate-stderr map 80 other
	assert_one_line "map: no pool 'other' here"
	run -0 --separate-stderr net env PORTFENCE_DIR="$BATS_TEST_TMPDIR" "$PORTFENCE" map
	[ -z "$output$stderr" ]
}

@test "a map has shades where the locale has them" {
	fence_in_background 20000-20001 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	LC_ALL=C.UTF-8 run -0 map
	grep -qx '20000  ▒▒' <<<"$output"
	grep -q '· free' <<<"$output"
}
