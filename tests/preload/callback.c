// SPDX-License-Identifier: MIT
// An allocator and a dlsym that make system calls of their own by way of libc, as instrumented ones
// do: whoever calls malloc or dlsym inside a hook gets another hook.
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

static __thread int depth;

// Calls what the fence stands in front of, unless it is what calls us.
static void call_back(void)
{
	int pair[2];

	if (depth++ == 0) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0), copy = dup(fd);

		close(fcntl(copy, F_DUPFD, 100));
		dup2(fd, copy);
		close(copy);
		close(fd);
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0) {
			sendto(pair[0], "x", 1, 0, NULL, 0);
			close_range((unsigned)pair[0], (unsigned)pair[0], 0);
			close(pair[1]);
		}
	}
	depth--;
}

void *malloc(size_t size)
{
	call_back();
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	call_back();
	return __libc_calloc(count, size);
}

void *dlsym(void *restrict handle, const char *restrict name)
{
	static void *(*next)(void *, const char *);

	call_back(); // as its malloc would
	if (!next)
		next = __extension__(void *(*)(void *, const char *))
			dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	// A jump, at -O2: RTLD_NEXT is about whom this returns to.
	return next(handle, name);
}
