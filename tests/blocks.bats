#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Blocks: every run has ports of its own, for as long as anything of it lives.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets stderr

load test_helper

setup()
{
	world_new
	cd "$(scratch)" || return
	printf '%s\n' '[pool ci]' 'ports = 30000-33999' 'block = 100' >policy.conf
	runs=0
}

teardown()
{
	world_end
}

# What such a run says.
SAYS_BLOCK='^[0-9]+-[0-9]+ [0-9]+$'

# Runs a command with a block of its own: block [OPTION...] -- COMMAND...
block()
{
	net "$PORTFENCE" run --policy policy.conf --pool ci "$@"
}

# Starts a run that says its block and stays until somebody reads its gate: gate.1, gate.2, ...
block_start()
{
	local gate=gate.$((++runs))
	mkfifo $gate
	serve "$PORTFENCE" run --policy policy.conf --pool ci "$@" -- \
		sh -c "echo \$PORTFENCE_BLOCK \$PORTFENCE_BLOCK_FIRST; echo end >$gate"
}

@test "40 runs at once have disjoint blocks, and the 41st fails with one line, or waits" {
	for _ in {1..40}; do
		block_start
		logs+=("$LOG")
	done
	wait_for 20 eval '[ "$(cat "${logs[@]}" | wc -l)" -eq 40 ]'
	[ "$(sort -u "${logs[@]}" | wc -l)" -eq 40 ]
	sort "${logs[@]}" | awk '{ split($1, b, "-"); if (b[2] - b[1] != 99 || b[1] % 100 || b[1] < 30000 || b[2] > 33999 || $2 != b[1]) exit 1 }'
	[ "$(net "$PORTFENCE" status | sed -n 's/^BLOCKS  //p' | tr ' ' '\n' | sort)" = \
		"$(cut -d' ' -f1 "${logs[@]}" | sort)" ]
	run --separate-stderr block -- true
	[ "$status" -eq 125 ]
	assert_one_line 'all blocks of 100 ports are taken (40)'
	block_start --wait 20s
	[ "$(cat gate.7)" = end ]
	wait_for_line "$SAYS_BLOCK"
	run --separate-stderr block --wait 100ms -- true
	assert_one_line 'are taken'
}

@test "the ports of all that a run starts are of its block" {
	sink_start 8080
	run -0 block -- sh -c 'echo "$PORTFENCE_BLOCK"; env -i /usr/bin/python3 -c "
import os, socket, sys
for _ in range(150):
    s = socket.socket()
    s.bind((\"127.0.0.1\", 0))
    print(s.getsockname()[1])
os.write(1, b\"\")
" & wait; /usr/bin/python3 -c "
import socket
print(socket.create_connection((\"127.0.0.1\", 8080)).getsockname()[1])"'
	[ "${#lines[@]}" -eq 152 ]
	tail -n +2 <<<"$output" | assert_ports_in "${lines[0]}"
}

@test "a run is its program to the outside: status, signals, input and output" {
	run block -- sh -c 'cat; exit 7' <<<'through'
	[ "$status" -eq 7 ]
	[ "$output" = through ]
	run block -- sh -c 'kill -KILL $$'
	[ "$status" -eq 137 ]
	run block -- no-such-program
	[ "$status" -eq 127 ]
	run block -- /etc/passwd
	[ "$status" -eq 126 ]
	mkfifo gate
	serve "$PORTFENCE" run --policy policy.conf --pool ci -- \
		sh -c 'trap "echo got it; exit 3" USR1; echo ready; while :; do read -r line <gate; done'
	wait_for_line '^ready$'
	kill -USR1 "$PID"
	wait_for_line '^got it$'
	rc=0
	wait "$PID" || rc=$?
	[ "$rc" -eq 3 ]
}

@test "a block is given back when the last descendant has ended, which the run is the parent of" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30099' 'block = 100' >policy.conf
	mkfifo gate
	serve "$PORTFENCE" run --policy policy.conf --pool ci -- sh -c '(setsid sh -c "echo end >gate" &); echo gone'
	wait_for_line '^gone$'
	run --separate-stderr block -- true
	assert_one_line 'all blocks of 100 ports are taken (1)'
	[ "$(cat gate)" = end ]
	wait "$PID"
	run -0 block -- true
	[ "$(find "$PORTFENCE_DIR" -name '*.policy' | wc -l)" -eq 0 ]
}

@test "the block of a run that was killed is another's once its sockets are gone" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30099' 'block = 100' >policy.conf
	mkfifo gate.1 gate.2
	serve "$PORTFENCE" run --policy policy.conf --pool ci -- /usr/bin/python3 -uc 'if True:
		from sockets import *
		s = listener()
		print(os.getpid())
		open("gate.1", "w").write("end")
		s.close()
		open("gate.2", "w").write("end")'
	wait_for_line '^[0-9]+$'
	kill -KILL "$PID"
	wait "$PID" || :
	run --separate-stderr block -- true
	[ "$status" -eq 125 ]
	[ "$(cat gate.1)" = end ]
	run -0 block --wait 10s -- true
	[ "$(cat gate.2)" = end ]
}

@test "blocks of several sizes and policies never overlap" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30199' 'block = 100' >policy.conf
	block_start
	wait_for_line "$SAYS_BLOCK"
	first=$(cut -d' ' -f1 "$LOG")
	printf '%s\n' '[pool ci]' 'ports = 30000-30199' 'block = 25' 'hold = 1s' >policy.conf
	for _ in 1 2 3; do
		block_start --block 25
		wait_for_line "$SAYS_BLOCK"
		cut -d' ' -f1 "$LOG" >>blocks
	done
	awk -v first="$first" 'BEGIN { split(first, f, "-") } { split($1, b, "-"); if (b[2] - b[1] != 24 || (b[1] <= f[2] && b[2] >= f[1])) exit 1 }' blocks
	[ "$(sort -u blocks | wc -l)" -eq 3 ]
	run --separate-stderr net "$PORTFENCE" run --ports 30000-30199 --block 150 -- true
	assert_one_line 'are taken'
}

# The blocks that status knows, in --json those of the pool with these ports: blocks_of [PORTS]
blocks_of()
{
	if (($#)); then
		net "$PORTFENCE" status --json "$1" | /usr/bin/python3 -c '
import json, sys
print(*(block for pool in json.load(sys.stdin) for block in pool["blocks"]))'
	else
		net "$PORTFENCE" status | sed -n '/^BLOCKS  /,$p' | sed 's/^BLOCKS *//; s/^  *//'
	fi
}

@test "status knows the blocks of a group, and which pool they are of" {
	printf '%s\n' '[segment]' 'group = nogroup' '[pool web]' 'ports = 20000-20099' \
		'[pool ci]' 'ports = 30000-30299' 'block = 100' '[rule all]' 'pool = web' >policy.conf
	chmod 755 .
	sink_start 8080
	net "$PORTFENCE" run --policy policy.conf -- "$PROBE/dial" tcp 127.0.0.1 8080
	block_start
	wait_for_line "$SAYS_BLOCK"
	first=$(cut -d' ' -f1 "$LOG")
	[ "$(blocks_of)" = "$first" ]
	[ "$(blocks_of 30000-30299)" = "$first" ]
	[ -z "$(blocks_of 20000-20099)" ]
	[ "$(net "$PORTFENCE" status ci | awk '$1 == "blocks" { print $2 }')" -eq 1 ]
	run -0 net setpriv --reuid 12345 --regid nogroup --clear-groups "$PORTFENCE" status
	[[ $output == *"BLOCKS  $first" ]]
	run -0 net setpriv --reuid 12345 --regid 12345 --clear-groups "$PORTFENCE" status
	[[ $output != *BLOCKS* ]]
	# Who has no policy with a group leases by a file of their own.
	printf '%s\n' '[pool ci]' 'ports = 31000-31099' 'block = 100' >policy.conf
	block_start
	wait_for_line "$SAYS_BLOCK"
	[ "$(blocks_of | tr ' ' '\n' | sort)" = "$(printf '%s\n' "$first" 31000-31099)" ]
}

@test "a shared pool has no blocks, and a block fits into its pool" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30099' '[pool web]' 'ports = 20000-20099' >policy.conf
	run --separate-stderr block --block 10 -- true
	[ "$status" -eq 125 ]
	assert_one_line "no 'block ='"
	run --separate-stderr net "$PORTFENCE" run --policy policy.conf --block 10 -- true
	assert_one_line '--pool NAME'
	run --separate-stderr net "$PORTFENCE" run --ports 20000-20009 --block 11 -- true
	assert_one_line 'no block of 11 ports fits'
	run --separate-stderr net "$PORTFENCE" run --ports 20000-20009 --wait 1s -- true
	[ "$status" -eq 125 ]
	assert_one_line '--wait'
	for size in 0 x 70000 1x ''; do
		run --separate-stderr net "$PORTFENCE" run --ports 20000-20009 --block "$size" -- true
		assert_one_line '--block'
	done
}
