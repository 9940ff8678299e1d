#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# `top` on a terminal, and what the other commands make of one.

load test_helper

setup()
{
	world_new
	sink_start
}

teardown()
{
	terminal kill-server 2>/dev/null || :
	world_end
}

# A terminal of our own: a tmux that nobody else talks to.
terminal()
{
	tmux -u -S "$BATS_TEST_TMPDIR/tmux" -f /dev/null "$@" 3>&-
}

# Opens a terminal with a shell: terminal_open WIDTH HEIGHT [VARIABLE=VALUE]...
terminal_open()
{
	LC_ALL=C.UTF-8 PS1='$ ' net env "${@:3}" tmux -u -S "$BATS_TEST_TMPDIR/tmux" -f /dev/null \
		new-session -d -x "$1" -y "$2" "bash --norc --noprofile" 3>&-
}

# Types a line into the shell.
terminal_type()
{
	terminal send-keys -l "$*"
	terminal send-keys Enter
}

screen()
{
	terminal capture-pane -p "$@"
}

screen_has()
{
	screen | LC_ALL=C.UTF-8 grep -Eq -- "$1"
}

screen_lacks()
{
	! screen_has "$1"
}

# Waits until the screen has a line that matches, or none: wait_for_screen [has|lacks] PATTERN
wait_for_screen()
{
	wait_for 10 "screen_$1" "$2" || {
		screen >&2
		return 1
	}
}

top_start()
{
	terminal_open "$1" "$2" "${@:3}"
	terminal_type "$PORTFENCE top"
	wait_for_screen has '^ portfence: '
}

# Fails unless the screen is this wide and high at the most, with boxes that are whole.
assert_boxes()
{
	screen >"$BATS_TEST_TMPDIR/screen"
	cat "$BATS_TEST_TMPDIR/screen"
	python3 - "$1" "$2" "$BATS_TEST_TMPDIR/screen" <<-'EOF'
		import sys
		width, height = int(sys.argv[1]), int(sys.argv[2])
		lines = [l.rstrip("\n") for l in open(sys.argv[3], encoding="utf-8")]
		assert len(lines) == height, len(lines)
		assert lines[0].startswith(" portfence: ") and lines[-1].endswith(" q quit"), "bars"
		ends = "".join(l[0] + l[-1] for l in lines[1:-1])
		assert all(len(l) == width for l in lines[1:-1]), [len(l) for l in lines]
		boxes = [box for box in ends.replace("└┘", "└┘\n").split("\n") if box]
		assert len(boxes) == 2, ends
		for box in boxes:
		    assert box == "┌┐" + "│" * (len(box) - 4) + "└┘", box
		for line in lines[1:-1]:
		    assert not set(line[1:-1]) & set("│┌┐└┘"), line
	EOF
}

# Holders of 5, 3 and 1 leases, by the names of a, c and b; the last in a pool of its own.
three_start()
{
	local name count pool
	for holder in a:5:20000-20099 c:3:20000-20099 b:1:30000-30009; do
		IFS=: read -r name count pool <<<"$holder"
		cp "$PROBE/hold" "$BATS_TEST_TMPDIR/holder-$name"
		fence_in_background "$pool" "$BATS_TEST_TMPDIR/holder-$name" "$count" 8080 127.0.0.1 127.0.0.2
		wait_for_line "^$count held$"
	done
}

# The holders in the order of the screen.
holders()
{
	screen | grep -o 'holder-[a-z]' | tr -d '\n' | sed 's/holder-//g'
}

holders_are()
{
	[ "$(holders)" = "$1" ]
}

@test "top shows pools and processes at 80 x 24" {
	three_start
	top_start 80 24
	assert_boxes 80 24
	wait_for_screen has '│ default 20000-20099 \[\|+ +\] +8 +0 +9[2-7] +0 │'
	wait_for_screen has '│ +[0-9]+ holder-a +20000-20099 +5  127.0.0.1:8080 \(3\), 1 more +│'
	wait_for_screen has '│ +[0-9]+ holder-b +30000-30009 +1  127.0.0.1:8080 +│'
}

@test "top shows pools and processes at 200 x 50" {
	three_start
	top_start 200 50
	assert_boxes 200 50
	wait_for_screen has '│ default 20000-20099 \[\|{6,} +\] +8 +0 +9[2-7] +0 +0 │'
	wait_for_screen has ' holder-a +20000-20099 +5  127.0.0.1:8080 \(3\), 127.0.0.2:8080 \(2\) +│'
}

@test "top draws on terminals of every size" {
	three_start
	top_start 80 24
	for size in 60x10 61x11 79x24 90x12 120x30 300x80; do
		terminal resize-window -x "${size%x*}" -y "${size#*x}"
		wait_for 10 assert_boxes "${size%x*}" "${size#*x}"
	done
	terminal resize-window -x 30 -y 5
	wait_for_screen has '^too small$'
	terminal resize-window -x 80 -y 24
	wait_for 10 assert_boxes 80 24
}

@test "top sorts by count, command and pool" {
	three_start
	top_start 80 24
	wait_for 5 holders_are acb
	terminal send-keys c
	wait_for 5 holders_are abc
	wait_for_screen has 'Processes by command'
	terminal send-keys n
	wait_for 5 holders_are acb
	wait_for_screen has 'Processes by count'
	terminal send-keys p
	wait_for_screen has 'Processes by pool'
	# The order of the segments' names, which nobody chose.
	[ "$(holders)" = acb ] || [ "$(holders)" = bac ]
}

@test "top shows what begins and ends" {
	top_start 80 24
	wait_for_screen has 'no process has a lease'
	fence_in_background 20000-20099 "$PROBE/hold" 7 8080 127.0.0.1
	wait_for_screen has ' hold +default +7 '
	companion_end "$PID"
	wait_for_screen lacks ' hold '
	wait_for_screen has '│ default 20000-20099 \[~+ +\] +0 +7 +93 +0 │'
}

@test "top shows programs outside the fence if asked" {
	serve_on 20005 "$PROBE/sink" 20005
	fence_in_background 20000-20009 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	top_start 80 24
	wait_for_screen has '│ default 20000-20009 \[xx+\|+ +\] +2 +0 +7 +1 │'
	wait_for_screen lacks ' sink '
	terminal send-keys a
	wait_for_screen has ' sink +default x +2  \*'
	terminal send-keys a
	wait_for_screen lacks ' sink '
}

@test "top scrolls, and says where it is" {
	for ((i = 0; i < 12; i++)); do
		fence_in_background 20000-20099 "$PROBE/hold" $((12 - i)) 8080 127.0.0.1
	done
	wait_for_line '^1 held$'
	top_start 80 14 # 14 - 2 bars, 4 lines of the pool, 3 of the second box: 5 rows
	wait_for_screen has 'Processes by count, 1 to 5 of 12 '
	terminal send-keys Down
	wait_for_screen has ', 2 to 6 of 12 '
	terminal send-keys PageDown
	wait_for_screen has ', 7 to 11 of 12 '
	terminal send-keys End
	wait_for_screen has ', 8 to 12 of 12 '
	terminal send-keys Up
	wait_for_screen has ', 7 to 11 of 12 '
	terminal send-keys Home
	wait_for_screen has ', 1 to 5 of 12 '
	assert_boxes 80 14
}

@test "top helps, and another key ends that" {
	top_start 80 24
	for key in h '?'; do
		terminal send-keys "$key"
		wait_for_screen has '┌─ Keys ─+┐'
		wait_for_screen has 'q +quit +│'
		terminal send-keys h
		wait_for_screen lacks 'Keys'
	done
	assert_boxes 80 24
}

@test "the delay is as it was asked for, and keys change it" {
	terminal_open 80 24
	terminal_type "$PORTFENCE top --delay 60"
	wait_for_screen has ' every 60 s '
	# Nobody looks meanwhile, but for who wants it.
	fence_in_background 20000-20099 "$PROBE/hold" 7 8080 127.0.0.1
	wait_for_line '^7 held$'
	screen_has 'no process has a lease'
	terminal send-keys Space
	wait_for_screen has ' hold +default +7 '
	terminal send-keys +
	wait_for_screen has ' every 30 s '
	terminal send-keys -
	wait_for_screen has ' every 60 s '
}

@test "q leaves the terminal as it was" {
	terminal_open 80 24
	terminal_type "stty -g >$BATS_TEST_TMPDIR/before"
	terminal_type "echo here; $PORTFENCE top; stty -g | cmp - $BATS_TEST_TMPDIR/before && echo status \$? again"
	wait_for_screen has '^ portfence: '
	[ "$(terminal display-message -p '#{alternate_on} #{cursor_flag}')" = '1 0' ]
	terminal send-keys q
	wait_for_screen has '^status 0 again$'
	wait_for_screen has '^here$'
	[ "$(terminal display-message -p '#{alternate_on} #{cursor_flag} #{keypad_flag}')" = '0 1 0' ]
}

@test "a signal that ends top leaves the terminal as it was, and is its status" {
	terminal_open 80 24
	for signal in INT:130 TERM:143 HUP:129 QUIT:131; do
		terminal_type "clear; stty -g >$BATS_TEST_TMPDIR/before"
		terminal_type "$PORTFENCE top"
		wait_for_screen has '^ portfence: '
		kill "-${signal%:*}" "$(pgrep -P "$(terminal display-message -p '#{pane_pid}')" portfence)"
		wait_for_screen lacks '^ portfence: ' # it would take what is typed
		terminal_type "echo status \$? here; stty -g | cmp - $BATS_TEST_TMPDIR/before"
		wait_for_screen has "^status ${signal#*:} here$"
		[ "$(terminal display-message -p '#{alternate_on} #{cursor_flag} #{keypad_flag}')" = '0 1 0' ]
		screen_lacks differ
	done
}

@test "Ctrl-C and a closed terminal end top" {
	top_start 80 24
	terminal send-keys C-c
	wait_for_screen lacks '^ portfence: '
	terminal_type "$PORTFENCE top"
	wait_for_screen has '^ portfence: '
	pid=$(pgrep -P "$(terminal display-message -p '#{pane_pid}')" portfence)
	terminal kill-server
	wait_for 5 pid_gone "$pid"
}

@test "without a terminal top shows everything once" {
	three_start
	run -0 --separate-stderr net "$PORTFENCE" top
	echo "$output"
	[ -z "$stderr" ]
	[ "$(tr -s ' ' <<<"${lines[0]}")" = 'POOL PORTS SIZE LEASED HOLDING FREE FOREIGN EXHAUSTED' ]
	grep -Eqx 'default +20000-20099 +100 +8 +0 +9[2-7] +0 +0' <<<"$output"
	grep -Eqx '[0-9]+ +holder-a +20000-20099 +5 +127.0.0.1:8080 \(3\), 127.0.0.2:8080 \(2\)' <<<"$output"
	[ "$(grep -c holder- <<<"$output")" -eq 3 ]
	[[ $output != *$'\e'* ]]
}

@test "what top cannot understand, or draw on, is exit status 125, and one line" {
	for option in -d0 -d0.05 -d3601 -d1x -dx -d '-d ' --delay=nan --bad more; do
		run -125 --separate-stderr net "$PORTFENCE" top "$option"
		assert_one_line 'top: '
		[ -z "$output" ]
	done
	terminal_open 80 24
	terminal_type "TERM=nonsense $PORTFENCE top; echo status \$? here"
	wait_for_screen has "^portfence: top: cannot draw on a terminal of type 'nonsense'$"
	wait_for_screen has '^status 125 here$'
}

# --- colours -----------------------------------------------------------------------------------

# Prints how many lines of the screen have a colour, or are faint.
coloured()
{
	screen -e | grep -Ec $'\e\\[([0-9]+;)*(2|3[1-7])m' || :
}

# Runs a command on the terminal; then the screen must have colours, or none: shows [some|none] LINE
shows()
{
	terminal_type "clear; $2; echo 'do''ne'"
	wait_for_screen has '^done$'
	echo "$2: $1, $(coloured)"
	if [ "$1" = some ]; then
		[ "$(coloured)" -gt 0 ]
	else
		[ "$(coloured)" -eq 0 ]
	fi
}

@test "a terminal gets colours, unless it is told not to" {
	serve_on 20005 "$PROBE/sink" 20005
	fence_in_background 20000-20009 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	terminal_open 120 40
	for command in status 'ls -a' map 'map default'; do
		shows some "$PORTFENCE $command"
		shows some "NO_COLOR= $PORTFENCE $command"
		shows none "NO_COLOR=1 $PORTFENCE $command"
		shows none "TERM=dumb $PORTFENCE $command"
		shows none "$PORTFENCE --no-color $command"
		shows none "$PORTFENCE $command --no-color"
		shows none "$PORTFENCE $command | cat"
	done
}

@test "--no-color behind run is the program's own" {
	run -0 fence 20000 echo --no-color
	[ "$output" = --no-color ]
	run -0 net "$PORTFENCE" --no-color run --ports 20000 -- echo --no-color
	[ "$output" = --no-color ]
	run -0 net "$PORTFENCE" run --no-color --ports 20000 echo --no-color
	[ "$output" = --no-color ]
	run -0 net "$PORTFENCE" --no-color --ports 20000 echo --no-color
	[ "$output" = --no-color ]
}

@test "top has colours, or none" {
	serve_on 20005 "$PROBE/sink" 20005
	fence_in_background 20000-20009 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	top_start 80 24
	wait_for_screen has ' hold '
	[ "$(screen -e | grep -Ec $'\e\\[([0-9]+;)*3[1-7]m')" -ge 1 ]
	terminal send-keys q
	wait_for_screen lacks '^ portfence: '
	terminal_type "NO_COLOR=1 $PORTFENCE top"
	wait_for_screen has ' hold '
	run ! grep -Eq $'\e\\[([0-9]+;)*3[1-7]m' <(screen -e)
}

@test "status on a terminal leaves out the columns that do not fit" {
	fence_in_background 20000-20009,20020-20029,20040-20049,20060 "$PROBE/hold" 2 8080 127.0.0.1
	wait_for_line '^2 held$'
	terminal_open 80 24
	terminal_type "$PORTFENCE status"
	wait_for_screen has '^POOL .*EXHAUSTED$'
	wait_for_screen has '^default  20000-20009,\.\.\.  31    bind   2  '
	screen_lacks REFUSED
	terminal_type "clear; $PORTFENCE status | cat"
	wait_for_screen has 'REAPED$'
	wait_for_screen has '20060 '
	terminal_type "clear; COLUMNS=24 $PORTFENCE status"
	wait_for_screen has '^POOL     PORTS$'
}
