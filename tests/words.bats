#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Word sizes, byte orders and libcs: whatever loads a shared library finds one that serves it.

# Each test is a process of its own.
# shellcheck disable=SC2030,SC2031

# It builds for itself.
# bats file_tags=no-coverage

load test_helper

# 64-bit and 32-bit library, laid out as they are installed.
PAIR=$B-words
# Probes for other machines and libcs; but for 32 bit, a library of their own is beside them.
P32=$B-words-32
TIME64=$B-words-time64
MUSL=$B-words-musl
PORTFENCE=$PAIR/portfence

# Builds without a warning: build FOLDER COMPILER TARGET...
build()
{
	local b=$1 cc=$2
	shift 2
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$ROOT" -j"$(nproc)" WERROR=1 \
		B="$b" CC="$cc" "$@" 3>&-
}

# The folder of a cross build.
cross()
{
	echo "$B-words-$1"
}

setup_file()
{
	local machine b
	build "$PAIR" gcc M32=1 all
	build "$P32" 'gcc -m32' "$P32"/probe/{each,dial,hold,overexec}
	build "$TIME64" 'gcc -m32 -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64' "$TIME64"/probe/{each,options}
	# Beyond musl's own headers: the kernel's, and uthash's.
	build "$MUSL" "musl-gcc -idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)" \
		"$MUSL/libportfence.so" "$MUSL/probe/each"
	for machine in aarch64 s390x; do
		b=$(cross $machine)
		build "$b" "clang --target=$machine-linux-gnu" "$b/libportfence.so" "$b"/probe/{each,hold}
	done
}

setup()
{
	world_new
	sink_start
}

teardown()
{
	world_end
}

# Fails unless the last `run` got a port of RANGES in every way, and said nothing else.
assert_each_in()
{
	echo "$output" "$stderr"
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	[ "${#lines[@]}" -eq 9 ]
	awk '{ print $2 }' <<<"$output" | assert_ports_in "$1"
}

# Runs a probe's every way in the fence, with each claim.
assert_each_fenced()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr fence "$pool" "$1/probe/each" 127.0.0.1 8080
		assert_each_in "$pool"
	done
}

# Runs a probe of another machine in the fence: emulate MACHINE RANGES PROBE ARGUMENT...
emulate()
{
	local machine=$1 ranges=$2 b
	b=$(cross "$1")
	shift 2
	net "qemu-$machine" -L "/usr/$machine-linux-gnu" -E LD_PRELOAD="$b/libportfence.so" \
		-E PORTFENCE_PORTS="$ranges" "$b/probe/$1" "${@:2}"
}

# --- 32 and 64 bit -----------------------------------------------------------------------------

@test "one path in LD_PRELOAD serves programs of both word sizes, and the loader says nothing (trap 23)" {
	# shellcheck disable=SC2016 # the loader expands it
	run --separate-stderr fence "$BIND_POOL" printenv LD_PRELOAD
	[ "$output" = "$PAIR/\$LIB/libportfence.so" ]
	[ -z "$stderr" ]
	assert_each_fenced "$P32"
	assert_each_fenced "$B"
}

@test "where only one library was built, LD_PRELOAD is its plain path" {
	PORTFENCE=$B/portfence
	run --separate-stderr fence "$BIND_POOL" printenv LD_PRELOAD
	[ "$output" = "$B/libportfence.so" ]
}

@test "32-bit and 64-bit programs share one segment, down to the last port (trap 23)" {
	for pool in 20000-20999 40000-40999; do
		fence_in_background "$pool" "$P32/probe/hold" 500 8080 127.0.0.1
		small=$LOG
		fence_in_background "$pool" "$PROBE/hold" 500 8080 127.0.0.1
		wait_for_line '^500 held$'
		LOG=$small
		wait_for_line '^500 held$'
		[ "$(tcp_local_ports state established 'dport = :8080' | sort -u | wc -l)" -eq 1000 ]
		[ "$(net "$PORTFENCE" ls | grep -c hold)" -eq 1000 ]
		[ "$(status_of LEASED)" -eq 1000 ]
		[ "$(find "$PORTFENCE_DIR" -type f | wc -l)" -eq 1 ]
		for folder in "$P32/probe" "$PROBE"; do
			run fence "$pool" "$folder/dial" tcp 127.0.0.1 8080
			[ "$output" = EADDRNOTAVAIL ]
		done
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a segment is legal in the other word size, whichever made it (trap 23)" {
	for folder in "$P32/probe" "$PROBE"; do
		run --separate-stderr fence "$BIND_POOL" "$folder/dial" tcp 127.0.0.1 8080
		[ -z "$stderr" ]
		run --separate-stderr fence "$BIND_POOL" "$P32/probe/dial" tcp 127.0.0.1 8080
		[ -z "$stderr" ]
		run --separate-stderr fence "$BIND_POOL" "$PROBE/dial" tcp 127.0.0.1 8080
		[ -z "$stderr" ]
		[ "$(find "$PORTFENCE_DIR" -type f | wc -l)" -eq 1 ]
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a 32-bit program starts a 64-bit one in the same fence, and the other way round (traps 17, 23)" {
	for pool in 20000-20009 40000-40009; do
		for pair in "$P32/probe $PROBE" "$PROBE $P32/probe"; do
			read -r first second <<<"$pair"
			run --separate-stderr fence "$pool" "$first/overexec" 8080 \
				"$second/dial" tcp 127.0.0.1 8080
			echo "$output $stderr"
			[ -z "$stderr" ]
			[ "${#lines[@]}" -eq 2 ]
			[ "${lines[0]}" != "${lines[1]}" ]
			assert_ports_in "$pool" <<<"$output"
		done
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a 32-bit program with 64-bit time calls by other names, and is fenced" {
	assert_each_fenced "$TIME64"
	run fence "$BIND_POOL" env LD_DEBUG=bindings "$TIME64/probe/each" 127.0.0.1 8080
	for symbol in __sendmsg64 __sendmmsg64 __fcntl_time64; do
		grep "/each .* to .*/libportfence.so .* symbol .$symbol'" <<<"$output"
	done
	net "$TIME64/probe/options" >"$BATS_TEST_TMPDIR/bare"
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		fence "$pool" "$TIME64/probe/options" >"$BATS_TEST_TMPDIR/wrapped"
		diff -u "$BATS_TEST_TMPDIR/bare" "$BATS_TEST_TMPDIR/wrapped"
	done
}

@test "a strict run stops no call of a 32-bit program, nor of a musl one, that the library made" {
	for each in "$P32/probe/each" "$MUSL/probe/each"; do
		for pool in "$BIND_POOL" "$LATE_POOL"; do
			run --separate-stderr net strace -f -qq -e trace=ioctl -o "$BATS_TEST_TMPDIR/log" \
				"$PAIR/portfence" run --strict --ports "$pool" -- "$each" 127.0.0.1 8080
			assert_each_in "$pool"
			# One is the trial, one the look at the network namespace.
			[ "$(grep -c NOTIF_RECV "$BATS_TEST_TMPDIR/log")" -le 2 ]
		done
	done
}

@test "both libraries serve from where they are installed" {
	build "$PAIR" gcc M32=1 install DESTDIR="$BATS_TEST_TMPDIR"
	run ! grep -rE '/usr/(bin|lib)/portfence' "$BATS_TEST_TMPDIR/usr/local/share/doc/portfence/examples"
	for folder in "$P32/probe" "$PROBE"; do
		# shellcheck disable=SC2016 # for the inner shell
		run --separate-stderr net unshare -m sh -c 'mount --bind "$0" /usr/local && exec "$@"' \
			"$BATS_TEST_TMPDIR/usr/local" /usr/local/bin/portfence run --ports "$BIND_POOL" -- \
			"$folder/each" 127.0.0.1 8080
		assert_each_in "$BIND_POOL"
	done
}

# --- musl --------------------------------------------------------------------------------------

@test "a musl program is fenced by the library that was built with glibc (trap 27)" {
	assert_each_fenced "$MUSL"
	PORTFENCE=$B/portfence
	assert_each_fenced "$MUSL"
}

@test "a musl program is fenced by a library that was built with musl (trap 27)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		run --separate-stderr net env LD_PRELOAD="$MUSL/libportfence.so" \
			PORTFENCE_PORTS="$pool" "$MUSL/probe/each" 127.0.0.1 8080
		assert_each_in "$pool"
	done
}

# --- other machines ----------------------------------------------------------------------------

# The emulator knows no IP_LOCAL_PORT_RANGE and no sock_diag, so every pool here claims by bind.

@test "aarch64 and s390x programs get their ports from the pool in every way" {
	for machine in aarch64 s390x; do
		for pool in "$BIND_POOL" "$LATE_POOL"; do
			run --separate-stderr emulate $machine "$pool" each 127.0.0.1 8080
			assert_each_in "$pool"
		done
		rm "$PORTFENCE_DIR"/*
	done
}

@test "aarch64 and s390x programs share a segment with their like, down to the last port" {
	for machine in aarch64 s390x; do
		b=$(cross $machine)
		for _ in 1 2; do
			serve "qemu-$machine" -L "/usr/$machine-linux-gnu" -E LD_PRELOAD="$b/libportfence.so" \
				-E PORTFENCE_PORTS=20000-20019 "$b/probe/hold" 10 8080 127.0.0.1
			wait_for_line '^10 held$'
		done
		[ "$(tcp_local_ports state established 'dport = :8080' | sort -u | wc -l)" -eq 20 ]
		serve "qemu-$machine" -L "/usr/$machine-linux-gnu" -E LD_PRELOAD="$b/libportfence.so" \
			-E PORTFENCE_PORTS=20000-20019 "$b/probe/hold" 1 8080 127.0.0.1
		wait_for_line ' held'
		assert_log '0 held, then EADDRNOTAVAIL'
		servers_end
		sink_start
		rm "$PORTFENCE_DIR"/*
	done
}

@test "a segment of the other byte order is refused in one line, and the range still holds (trap 22)" {
	for pair in 'aarch64 s390x' 's390x aarch64'; do
		read -r first second <<<"$pair"
		emulate "$first" "$BIND_POOL" each 127.0.0.1 8080
		run --separate-stderr emulate "$second" "$BIND_POOL" each 127.0.0.1 8080
		assert_one_line damaged
		stderr=
		assert_each_in "$BIND_POOL"
		rm "$PORTFENCE_DIR"/*
	done
}
