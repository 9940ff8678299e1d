#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The fence over exec, whatever environment a program gives the next one.

load test_helper

WAYS=(execve execvpe execle fexecve execveat vfork posix_spawn posix_spawnp # have an environment
	execv execvp execl execlp system popen)                               # have not

setup()
{
	world_new
}

teardown()
{
	world_end
}

# Starts a program with an environment in each of the ways; its port must be the pool's.
assert_ways_keep_the_fence()
{
	local environment=$1 way
	shift
	for way; do
		assert_prints_port_in "$BIND_POOL" start "$way" "$environment" "$PROBE/bindzero" tcp 127.0.0.1
	done
}

@test "every way to start a program keeps the fence, with an empty environment (trap 17)" {
	assert_ways_keep_the_fence empty "${WAYS[@]}"
}

# The rival comes before the library, and so before the runtimes of ASan and TSan, which want to be first.
# bats test_tags=no-address,no-thread
@test "every way to start a program keeps the fence, with a rival LD_PRELOAD (trap 17)" {
	assert_ways_keep_the_fence rival "${WAYS[@]}"
}

@test "every way to start a program keeps the fence, with 3,000 variables (trap 17)" {
	assert_ways_keep_the_fence big "${WAYS[@]}"
}

@test "every way to start a program keeps the fence, with the environment as it is (trap 17)" {
	assert_ways_keep_the_fence own "${WAYS[@]}"
}

@test "an environment that is NULL is an empty one" {
	assert_ways_keep_the_fence null execve vfork
}

@test "an environment that cannot be read is the kernel's EFAULT" {
	for way in execve fexecve execveat; do
		run fence "$BIND_POOL" "$PROBE/start" "$way" broken "$PROBE/bindzero" tcp 127.0.0.1
		echo "$way: $output"
		[ "$output" = EFAULT ]
	done
}

@test "a program that cannot be started is the kernel's error" {
	for way in execve execv execvp execvpe execl execlp execle execveat posix_spawn posix_spawnp; do
		run fence "$BIND_POOL" "$PROBE/start" "$way" empty /nonexistent tcp 127.0.0.1
		echo "$way: $output"
		[ "$output" = ENOENT ]
	done
}

# bats test_tags=no-address
@test "PORTFENCE_DISABLE=1 in a program's environment ends the fence (trap 17)" {
	for way in "${WAYS[@]}"; do
		run fence "$BIND_POOL" "$PROBE/start" "$way" disabled "$PROBE/bindzero" tcp 127.0.0.1
		echo "$way: $output"
		assert_ports_in 32768-60999 <<<"$output"
	done
}

# bats test_tags=no-address,no-thread,no-coverage
@test "the next program's environment is its own, with the fence added" {
	local added=("PORTFENCE_PORTS=$BIND_POOL" "PORTFENCE_DIR=$PORTFENCE_DIR")
	run fence "$BIND_POOL" env -i FOO=1 env
	[ "$output" = "$(printf '%s\n' FOO=1 "LD_PRELOAD=$SHIM" "${added[@]}")" ]
	run fence "$BIND_POOL" env -i LD_PRELOAD=libm.so.6:libdl.so.2 FOO=1 env
	[ "$output" = "$(printf '%s\n' "LD_PRELOAD=libm.so.6:libdl.so.2:$SHIM" FOO=1 "${added[@]}")" ]
	run fence "$BIND_POOL" env -i "LD_PRELOAD=libm.so.6 $SHIM" FOO=1 env
	[ "$output" = "$(printf '%s\n' "LD_PRELOAD=libm.so.6 $SHIM" FOO=1 "${added[@]}")" ]
	run fence "$BIND_POOL" env -i PORTFENCE_DISABLE=1 env
	[ "$output" = PORTFENCE_DISABLE=1 ]
}

@test "the next program's own choice of ports stands" {
	run fence "$BIND_POOL" env -i PORTFENCE_PORTS=21000-21009 "$PROBE/bindzero" tcp 127.0.0.1
	assert_ports_in 21000-21009 <<<"$output"
}

@test "a program that writes over its environment, as setproctitle does, keeps the fence" {
	run fence "$BIND_POOL" python3 -c '
import ctypes, os, sys
libc = ctypes.CDLL(None)
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
first = ctypes.cast(environ, ctypes.POINTER(ctypes.c_void_p))
for i in range(len(os.environ)):
    ctypes.memset(first[i], ord("x"), 4)
os.execve(sys.argv[1], sys.argv[1:], {})' "$PROBE/bindzero" tcp 127.0.0.1
	echo "$output"
	assert_ports_in "$BIND_POOL" <<<"$output"
}

# bats test_tags=no-thread
@test "Python's subprocess and Java's ProcessBuilder with an empty environment keep the fence (traps 15, 17)" {
	run fence "$BIND_POOL" python3 -c '
import subprocess, sys
subprocess.run(sys.argv[1:], env={}, close_fds=True, check=True)' "$PROBE/bindzero" tcp 127.0.0.1
	assert_ports_in "$BIND_POOL" <<<"$output"
	cat >"$BATS_TEST_TMPDIR/Start.java" <<-'END'
		public class Start {
			public static void main(String[] arguments) throws Exception {
				ProcessBuilder builder = new ProcessBuilder(arguments).inheritIO();
				builder.environment().clear();
				System.exit(builder.start().waitFor());
			}
		}
	END
	run fence "$BIND_POOL" java "$BATS_TEST_TMPDIR/Start.java" "$PROBE/bindzero" tcp 127.0.0.1
	assert_ports_in "$BIND_POOL" <<<"$output"
}

@test "variables over 8 KiB close the fence" {
	run --separate-stderr net env LD_PRELOAD="$SHIM" PORTFENCE_PORTS="$BIND_POOL" \
		PORTFENCE_DIR="$(printf 'x%.0s' {1..9000})" "$PROBE/bindzero" tcp 127.0.0.1
	[ "$output" = EACCES ]
	assert_one_line 'too long, over 8 KiB together'
}
