// SPDX-License-Identifier: MIT
// Fills a pool for each address, then tries one more, closes one, and tries again.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Opens one connection that leaves no TIME_WAIT. Returns its descriptor, or -1 with
// errno.
static int connection_open(const struct sockaddr_in *to)
{
	struct linger reset = {.l_onoff = 1};
	int error, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct timespec before, after;
	int count, last = -1;
	long took;

	if (argc < 4)
		errx(2, "usage: full COUNT PORT ADDRESS...");
	count = atoi(argv[1]);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	for (int a = 3; a < argc; a++) {
		inet_pton(AF_INET, argv[a], &to.sin_addr);
		for (int i = 0; i < count; i++) {
			last = connection_open(&to);
			if (last < 0)
				err(1, "connection %d to %s", i + 1, argv[a]);
		}
		printf("%d to %s\n", count, argv[a]);
	}
	clock_gettime(CLOCK_MONOTONIC, &before);
	printf("one more: %s\n", connection_open(&to) < 0 ? strerrorname_np(errno) : "connected");
	clock_gettime(CLOCK_MONOTONIC, &after);
	took = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	printf("%s\n", took < 200 ? "at once" : "late");
	close(last);
	printf("after a close: %s\n",
		connection_open(&to) < 0 ? strerrorname_np(errno) : "connected");
	fflush(stdout);
	pause();
	return 0;
}
