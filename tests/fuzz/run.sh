#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the harnesses one after the other: run.sh [FILE...]
# TIME is the seconds for each (5), RUNS the inputs instead. What is new goes to $B/fuzz/corpus/, a
# finding to $B/fuzz/, with the line that shows it again. Exits with 1 if there is one.
set -u
cd "$(dirname "$0")/../.." || exit 1

B=${B:-build-fuzz}
if [ -n "${RUNS-}" ]; then
	limit=-runs=$RUNS
else
	limit=-max_total_time=${TIME:-5}
fi
failed=0

# Runs one harness from its corpus on, and prints what came of it.
fuzz()
{
	local name=$1 found=$B/fuzz/corpus/$1 log=$B/fuzz/$1.log
	mkdir -p "$found"
	if "$B/fuzz/$name" "$limit" -timeout=10 -entropic=0 -max_len=512 -print_final_stats=1 \
		-artifact_prefix="$B/fuzz/$name-" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
		sed -nE "s/^#([0-9]+)\tDONE +cov: ([0-9]+) ft: ([0-9]+).*/$name: \1 inputs, cov \2, ft \3/p" "$log"
	else
		grep -vE '^(#|INFO:)' "$log"
		echo "$name: a finding; again: FUZZ_TRACE=1 $B/fuzz/$name $(sed -n 's/.*Test unit written to //p' "$log")"
		failed=1
	fi
}

shopt -s nullglob
[ $# -gt 0 ] || set -- tests/fuzz/*.c
for file; do
	fuzz "$(basename "$file" .c)"
done
exit $failed
