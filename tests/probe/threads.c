// SPDX-License-Identifier: MIT
// Connects and closes in many threads at once; prints how many failed and the ports' bounds.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static int rounds;
static atomic_int done, failed, low = 65536, high;

// Connects and closes a number of times. Returns NULL.
static void *thread_run(void *unused)
{
	struct linger reset = {.l_onoff = 1};
	struct sockaddr_in local;

	for (int i = 0; i < rounds; i++) {
		socklen_t len = sizeof(local);
		int seen, port, fd = socket(AF_INET, SOCK_STREAM, 0);

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
			if (atomic_fetch_add(&failed, 1) == 0)
				warn("connect");
			close(fd);
			continue;
		}
		getsockname(fd, (struct sockaddr *)&local, &len);
		port = ntohs(local.sin_port);
		for (seen = low; port < seen && !atomic_compare_exchange_weak(&low, &seen, port);)
			;
		for (seen = high; port > seen && !atomic_compare_exchange_weak(&high, &seen, port);)
			;
		atomic_fetch_add(&done, 1);
		close(fd);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[256];
	int count;

	if (argc < 4)
		errx(2, "usage: threads COUNT ROUNDS PORT");
	count = atoi(argv[1]);
	rounds = atoi(argv[2]);
	to.sin_port = htons((uint16_t)atoi(argv[3]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, thread_run, NULL) != 0)
			errx(1, "pthread_create");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("%d connected, %d failed\n%d\n%d\n", done, failed, low, high);
	return 0;
}
