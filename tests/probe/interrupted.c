// SPDX-License-Identifier: MIT
// Fills a UDP pool, then goes on trying while a signal handler tries too, in the midst of whatever
// the fence does. Prints in how many handlers the call took long.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LONG_MS 75

static volatile sig_atomic_t slow;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Gives a UDP socket a peer, and so a port. Returns its descriptor.
static int udp_connect(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

static void interrupt(int signal)
{
	int error = errno;
	long before = now_ms();

	(void)signal;
	close(udp_connect());
	if (now_ms() - before > LONG_MS)
		slow++;
	errno = error;
}

int main(int argc, char **argv)
{
	struct itimerval often = {{0, 700}, {0, 700}};
	long end = now_ms() + 1500;

	if (argc < 2)
		errx(2, "usage: interrupted COUNT");
	for (int i = 0; i < atoi(argv[1]); i++)
		udp_connect();
	signal(SIGALRM, interrupt);
	setitimer(ITIMER_REAL, &often, NULL);
	while (now_ms() < end)
		close(udp_connect());
	printf("%d\n", (int)slow);
	return 0;
}
