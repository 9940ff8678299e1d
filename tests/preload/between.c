// SPDX-License-Identifier: MIT
// Loaded behind the fence, it calls the program back right before and right after the kernel is
// asked, so that a test can do there, each time, what another thread might do by chance.
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

// The program's own: which call, and whether the kernel has answered.
void (*between)(const char *call, int after);
// What every close says after it closed, unless 0.
int between_close_error;

// libc's headers declare the real names with attributes and unions of their own.
int between_close(int fd) __asm__("close");
int between_connect(int fd, const struct sockaddr *address, socklen_t length) __asm__("connect");
int between_bind(int fd, const struct sockaddr *address, socklen_t length) __asm__("bind");
int between_dup2(int fd, int copy) __asm__("dup2");
int between_close_range(unsigned first, unsigned last, int flags) __asm__("close_range");

#define BETWEEN(name, call, ...)                                                                   \
	int (*next)(__VA_ARGS__) = __extension__(int (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, name);     \
	void (*then)(const char *, int) = between;                                                 \
	if (then)                                                                                  \
		then(name, 0);                                                                     \
	int answer = next call;                                                                    \
	if (then)                                                                                  \
	then(name, 1)

int between_close(int fd)
{
	BETWEEN("close", (fd), int);
	if (!between_close_error || answer < 0)
		return answer;
	errno = between_close_error;
	return -1;
}

int between_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	BETWEEN("connect", (fd, address, length), int, const struct sockaddr *, socklen_t);
	return answer;
}

int between_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	BETWEEN("bind", (fd, address, length), int, const struct sockaddr *, socklen_t);
	return answer;
}

int between_dup2(int fd, int copy)
{
	BETWEEN("dup2", (fd, copy), int, int);
	return answer;
}

int between_close_range(unsigned first, unsigned last, int flags)
{
	BETWEEN("close_range", (first, last, flags), unsigned, unsigned, int);
	return answer;
}
