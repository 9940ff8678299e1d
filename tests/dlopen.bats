#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Libraries that are loaded at run time.

load test_helper

setup()
{
	world_new
	cd "$BATS_TEST_TMPDIR" || return
	mkdir lib
	cat >plugin.c <<-'END'
		#include <arpa/inet.h>
		int plugin_port(void)
		{
			struct sockaddr_in local = {.sin_family = AF_INET};
			socklen_t length = sizeof local;
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			bind(fd, (struct sockaddr *)&local, sizeof local);
			getsockname(fd, (struct sockaddr *)&local, &length);
			return ntohs(local.sin_port);
		}
	END
	cat >program.c <<-'END'
		#define _GNU_SOURCE
		#include <dlfcn.h>
		#include <stdio.h>
		int main(void)
		{
			void *library = dlopen("libplugin.so", RTLD_NOW | RTLD_DEEPBIND);
			if (!library)
				return puts(dlerror()), 1;
			printf("%d\n", ((int (*)(void))dlsym(library, "plugin_port"))());
		}
	END
	gcc -shared -fPIC -o lib/libplugin.so plugin.c
	# shellcheck disable=SC2016 # $ORIGIN is the loader's
	gcc -o program program.c -ldl '-Wl,-rpath,$ORIGIN/lib'
}

teardown()
{
	world_end
}

@test "a library loaded with RTLD_DEEPBIND is in the fence, and found by the program's RUNPATH (trap 13f)" {
	run fence "$BIND_POOL" ./program
	echo "$output"
	assert_ports_in "$BIND_POOL" <<<"$output"
}

@test "PORTFENCE_DEEPBIND=1 leaves RTLD_DEEPBIND alone" {
	run fence "$BIND_POOL" env PORTFENCE_DEEPBIND=1 ./program
	echo "$output"
	assert_ports_in 32768-60999 <<<"$output"
}
