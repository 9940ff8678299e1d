#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the tests with something that watches every access:
#     sanitize.sh address|undefined|thread|valgrind [FILE...]
# A finding ends the program it is in, fails its test, and is shown here, in whatever program it was.
# SHORT=1 runs a part of the tests, for CI. Build with SAN=address|undefined|thread first.
set -u
cd "$(dirname "$0")/.." || exit 1

watcher=$1
shift
findings=$(mktemp -d)
trap 'rm -r "$findings"' EXIT
chmod 1777 "$findings" # some programs drop their privileges
log=$findings/$watcher

# Those whose programs are ours: others may call us before a runtime is ready, in the constructor of a
# library, or leave it no room (Node). What else a watcher cannot watch has the tag no-WATCHER.
files=(tests/unit/test_*.c tests/{calls,capacity,claims,command,exec,processes,rules,shm}.bats)
short=(tests/unit/test_*.c tests/{calls,exec,processes}.bats)
export TAGS="!no-$watcher"

case $watcher in
address)
	# asan.c has those that must outlive an empty environment.
	export ASAN_OPTIONS="log_path=$log:exitcode=99:detect_leaks=0"
	;;
undefined)
	export UBSAN_OPTIONS="log_path=$log:print_stacktrace=1"
	# It wants nothing of the programs it is in.
	files+=(tests/{dlopen,ftp,programs,proxy,strict}.bats)
	;;
thread)
	export TSAN_OPTIONS="log_path=$log:exitcode=99:halt_on_error=1"
	;;
valgrind)
	export WATCHER="valgrind -q --trace-children=yes --error-exitcode=99 --log-file=$log.%p"
	# Each program takes a second or two, each bats file minutes.
	export BATS_TEST_TIMEOUT=600
	files=(tests/unit/test_*.c tests/{calls,claims,processes,shm}.bats)
	short=(tests/unit/test_*.c)
	;;
*)
	sed -n '4p' "$0" >&2
	exit 2
	;;
esac
[ -z "${SHORT-}" ] || files=("${short[@]}")
[ $# -eq 0 ] || files=("$@")

tests/run.sh all "${files[@]}"
status=$?
# What valgrind has nothing to say about leaves an empty file.
find "$findings" -type f ! -empty -exec cat {} + | head -n 500
[ -z "$(find "$findings" -type f ! -empty)" ] || {
	echo "$watcher: found something, see above"
	status=1
}
exit $status
