// SPDX-License-Identifier: MIT
// On a small stack of its own, connects to addresses around its end; prints each answer.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <ucontext.h>

#define STACK 65536

static ucontext_t program, coroutine;
static char *top;

// Runs on the small stack, whose end is so near that what lies behind it seems near too.
static void calls(void)
{
	for (int at = -12; at <= 12; at += 4) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		errno = 0;
		connect(fd, (struct sockaddr *)(void *)(top + at), sizeof(struct sockaddr_in));
		printf("%d: %s\n", at, strerrorname_np(errno));
	}
}

int main(void)
{
	char *stack =
		mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED || mprotect(stack + STACK, STACK, PROT_NONE) < 0)
		err(1, "mmap");
	top = stack + STACK;
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = stack;
	coroutine.uc_stack.ss_size = STACK;
	coroutine.uc_link = &program;
	makecontext(&coroutine, calls, 0);
	swapcontext(&program, &coroutine);
	return 0;
}
