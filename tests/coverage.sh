#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the tests in a build that counts the lines it runs (make SAN=coverage CC=clang), and says
# which of core/ and shim/ none of them ran: coverage.sh [FILE...]
# Fails below LEAST % of either. SHORT=1 leaves out the tests with other people's programs.
set -u
cd "$(dirname "$0")/.." || exit 1

export B=${B:-build-coverage} TAGS='!no-coverage'
units=(tests/unit/test_*.c)
status=0

# The first process makes the file that all users' processes count in, and it alone counts what runs
# before the profiler's constructor: the reading of the environment.
rm -rf "$B/profile"
(
	umask 0
	mkdir "$B/profile"
	LD_PRELOAD=$PWD/$B/libportfence.so PORTFENCE_PORTS=1 PORTFENCE_DIR=/ "$B/portfence" version
) || exit
[ -z "${SHORT-}" ] ||
	set -- "${units[@]}" tests/{calls,capacity,claims,command,descriptors,dlopen,exec,fork}.bats \
		tests/{isolation,moments,pools,processes,rules,shm}.bats
tests/run.sh all "$@" || status=1

llvm-profdata merge -o "$B/profile/all" "$B"/profile/*.profraw || exit
objects=("${units[@]/#tests/-object=$B}")
llvm-cov export -format=lcov -instr-profile="$B/profile/all" "$B/libportfence.so" \
	"${objects[@]%.c}" core shim include >"$B/profile/lines" || exit

# One line a file: how many of its lines were run, and which were not. Then one a folder.
awk -F '[:,]' -v root="$PWD/" -v least="${LEAST:-90}" '
	function share(run, lines) { return sprintf("%6.1f %% of %4d lines", 100 * run / lines, lines) }
	/^SF:/ { file = substr($2, length(root) + 1); lines = run = first = 0; missed = "" }
	/^DA:/ && $3 > 0 { first = 0; lines++; run++ }
	/^DA:/ && $3 == 0 {
		if (first) sub(/(-[0-9]+)?$/, "-" $2, missed)
		else missed = missed " " $2
		first = 1
		lines++
	}
	/^end_of_record/ {
		printf "coverage: %-28s %s%s\n", file, share(run, lines), missed ? ", not" missed : ""
		folder = substr(file, 1, index(file, "/"))
		all_lines[folder] += lines
		all_run[folder] += run
	}
	END {
		for (folder in all_lines) {
			printf "coverage: %-28s %s\n", folder, share(all_run[folder], all_lines[folder])
			if (100 * all_run[folder] < least * all_lines[folder]) {
				print "coverage: " folder " is below " least " %"
				bad = 1
			}
		}
		exit bad || !("core/" in all_lines) || !("shim/" in all_lines)
	}' "$B/profile/lines" || status=1
exit $status
