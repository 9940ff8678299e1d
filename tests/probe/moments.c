// SPDX-License-Identifier: MIT
// Connects before any constructor ran, in one, in a thread that is ending, in a cancelled one's
// clean-up, in an exit handler and in a destructor; prints the port each time.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void dial(void *moment)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(8080)}, local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
		getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "%s", (const char *)moment);
	dprintf(STDOUT_FILENO, "%s %u\n", (const char *)moment, ntohs(local.sin_port));
	close(fd);
}

static void before_all(void)
{
	dial("before constructors");
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;

__attribute__((constructor)) static void begin(void)
{
	dial("constructor");
}

__attribute__((destructor)) static void end(void)
{
	dial("destructor");
}

static void at_exit(void)
{
	dial("exit handler");
}

static void *thread_end(void *key)
{
	pthread_setspecific(*(pthread_key_t *)key, "end of a thread");
	return NULL;
}

static void *thread_cancelled(void *unused)
{
	pthread_cleanup_push(dial, "cancelled thread");
	pause();
	pthread_cleanup_pop(0);
	return unused;
}

int main(void)
{
	pthread_t thread;
	pthread_key_t key;

	dial("main");
	pthread_key_create(&key, dial);
	pthread_create(&thread, NULL, thread_end, &key);
	pthread_join(thread, NULL);
	pthread_create(&thread, NULL, thread_cancelled, NULL);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	atexit(at_exit);
	return 0;
}
