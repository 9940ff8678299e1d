// SPDX-License-Identifier: MIT
// Cancels threads in libc's calls: those with a cancellation that is pending, call by call, or
// COUNT that wait for a peer that never answers. Prints which calls let themselves be cancelled, or
// that all threads ended; those close their socket on their way out.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static const struct sockaddr *at = (const struct sockaddr *)&to;
static sem_t ready;
static int tcp, udp;

static long call_connect(void)
{
	return connect(tcp, at, sizeof(to));
}

static long call_close(void)
{
	return close(tcp);
}

static long call_sendto(void)
{
	return sendto(udp, "x", 1, 0, at, sizeof(to));
}

static struct msghdr *message(void)
{
	static struct iovec data = {.iov_base = "x", .iov_len = 1};
	static struct msghdr msg = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data, .msg_iovlen = 1};

	return &msg;
}

static long call_sendmsg(void)
{
	return sendmsg(udp, message(), 0);
}

static long call_sendmmsg(void)
{
	struct mmsghdr many = {.msg_hdr = *message()};

	return sendmmsg(udp, &many, 1, 0);
}

static long call_fcntl(void)
{
	return fcntl(tcp, F_GETFL);
}

static long call_dup(void)
{
	return dup(tcp);
}

static long call_bind(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	return bind(udp, (struct sockaddr *)&any, sizeof(any));
}

static long call_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static const struct {
	const char *name;
	long (*make)(void);
} calls[] = {{"connect", call_connect}, {"sendto", call_sendto}, {"sendmsg", call_sendmsg},
	{"sendmmsg", call_sendmmsg}, {"close", call_close}, {"fcntl", call_fcntl},
	{"dup", call_dup}, {"bind", call_bind}, {"socket", call_socket}};

static void *thread_pending(void *make)
{
	pthread_cancel(pthread_self());
	return (*(long (**)(void))make)() < 0 ? "failed" : "returned";
}

// Makes each call on a thread that is cancelled already; prints what came of it.
static void points_print(void)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		pthread_t thread;
		void *result;

		tcp = socket(AF_INET, SOCK_STREAM, 0);
		udp = socket(AF_INET, SOCK_DGRAM, 0);
		pthread_create(&thread, NULL, thread_pending, (void *)(uintptr_t)&calls[i].make);
		pthread_join(thread, &result);
		printf("%s %s\n", calls[i].name,
			result == PTHREAD_CANCELED ? "cancelled" : (const char *)result);
		close(tcp);
		close(udp);
	}
}

static void close_late(void *fd)
{
	close((int)(intptr_t)fd);
}

static void *thread_blocked(void *unused)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	pthread_cleanup_push(close_late, (void *)(intptr_t)fd);
	sem_post(&ready);
	connect(fd, at, sizeof(to));
	pthread_cleanup_pop(1);
	return unused;
}

// Cancels a number of threads that wait in connect.
static void blocked_cancel(int count)
{
	pthread_t thread[64];

	sem_init(&ready, 0, 0);
	for (int i = 0; i < count; i++)
		pthread_create(&thread[i], NULL, thread_blocked, NULL);
	for (int i = 0; i < count; i++)
		sem_wait(&ready);
	for (int i = 0; i < count; i++) {
		void *result;

		pthread_cancel(thread[i]);
		pthread_join(thread[i], &result);
		if (result != PTHREAD_CANCELED)
			errx(1, "connect came back");
	}
	printf("%d cancelled\n", count);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: cancel ADDRESS PORT [COUNT]");
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	if (argc > 3)
		blocked_cancel(atoi(argv[3]));
	else
		points_print();
	return 0;
}
