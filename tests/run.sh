#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs what was built and adds it up: run.sh [all|unit|bats|real] [FILE...]
# FILE is a .bats or a tests/unit/test_*.c; without one, everything of that kind runs: all is both.
# WATCHER is a command to run the tested programs under, TAGS an expression on bats tags.
# The last line is "N passed, N failed, N skipped". Nothing run is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1

export B=${B:-build}
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}
kind=${1:-all}
shift
passed=0 failed=0 skipped=0
output=$(mktemp)
runner=
trap '[ -z "$runner" ] || kill "$runner"; rm -f "$output"' EXIT
trap 'exit 130' INT TERM

# Runs a command for at most $1 seconds, shows what it prints and leaves that in $output. A pipe to
# tee would wait for every daemon that a test left behind.
run()
{
	timeout -k 5 "$@" >"$output" 2>&1 </dev/null &
	runner=$!
	tail -s 0.1 -n +1 -f --pid=$runner "$output"
	wait $runner
	local status=$?
	runner=
	return $status
}

# Adds up the TAP in $output. What the plan promised and nobody reported counts as failed, as does
# a run whose exit status $2 says failure where $1's tests say none.
count()
{
	local plan=0 line pass=0 fail=0 skip=0
	while IFS= read -r line; do
		case $line in
		1..*) plan=$((plan + ${line#1..})) ;;
		'ok '*'# skip'* | 'not ok '*'# SKIP '*) skip=$((skip + 1)) ;;
		'ok '*) pass=$((pass + 1)) ;;
		'not ok '*) fail=$((fail + 1)) ;;
		esac
	done <"$output"
	local lost=$((plan - pass - fail - skip))
	if [ $lost -gt 0 ]; then
		echo "# $1: $lost of $plan tests never ended (exit status $2)"
		fail=$((fail + lost))
	elif [ "$2" -ne 0 ] && [ $fail -eq 0 ]; then
		echo "# $1: exit status $2"
		fail=1
	elif [ $((pass + fail + skip)) -eq 0 ]; then
		echo "# $1: ran no test"
		fail=1
	fi
	passed=$((passed + pass)) failed=$((failed + fail)) skipped=$((skipped + skip))
}

run_unit()
{
	echo "# $1"
	# shellcheck disable=SC2086 # words
	CMOCKA_MESSAGE_OUTPUT=TAP run 300 ${WATCHER-} "$1"
	count "$1" $?
}

run_bats()
{
	run 1200 bats --formatter tap --timing --print-output-on-failure \
		${TAGS:+--filter-tags "$TAGS"} "$@"
	count bats $?
}

units=() bats=()
shopt -s nullglob
case $kind in all | unit) [ $# -gt 0 ] || units=(tests/unit/test_*.c) ;; esac
case $kind in all | bats) [ $# -gt 0 ] || bats=(tests/*.bats) ;; esac
case $kind in real) [ $# -gt 0 ] || bats=(tests/real/*.bats) ;; esac
for file; do
	case $file in
	*.bats) bats+=("$file") ;;
	*) units+=("$file") ;;
	esac
done

for unit in "${units[@]}"; do
	run_unit "$B/unit/$(basename "$unit" .c)"
done
[ ${#bats[@]} -eq 0 ] || run_bats "${bats[@]}"

[ $((passed + failed + skipped)) -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
