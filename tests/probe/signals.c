// SPDX-License-Identifier: MIT
// Makes every call that the fence stands in front of, while a signal handler makes them too, in the
// midst of whatever the fence does; prints how many failed and how many ports were not in
// FIRST-LAST.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};
static int first, last;
static volatile sig_atomic_t handled, failed, strays;

// Counts a socket whose port is not in the range.
static void port_check(int fd)
{
	struct sockaddr_in local;
	socklen_t len = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		failed++;
	else if (ntohs(local.sin_port) < first || ntohs(local.sin_port) > last)
		strays++;
}

// Opens a socket. Returns its descriptor.
static int open_one(int type)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, type, 0);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

// Gives a socket a port in one of four ways, copies it and closes all.
static void round_run(unsigned way)
{
	int fd = open_one(way % 4 < 2 ? SOCK_STREAM : SOCK_DGRAM), result = 0;

	switch (way % 4) {
	case 0:
		result = connect(fd, (struct sockaddr *)&to, sizeof(to));
		break;
	case 1:
		result = bind(fd, (struct sockaddr *)&any, sizeof(any));
		break;
	case 2:
		result = connect(fd, (struct sockaddr *)&to, sizeof(to));
		break;
	case 3:
		result = (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
		break;
	}
	if (result < 0)
		failed++;
	else
		port_check(fd);
	close(dup(fd));
	close(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	close(fd);
}

static void interrupt(int signal)
{
	int error = errno;

	(void)signal;
	round_run((unsigned)handled++);
	errno = error;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 150}, {0, 150}}, never = {{0, 0}, {0, 0}};

	if (argc < 4)
		errx(2, "usage: signals PORT FIRST LAST");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	first = atoi(argv[2]);
	last = atoi(argv[3]);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned way = 0; handled < 2000; way++) {
		errno = 0;
		round_run(way);
		if (errno != 0)
			failed++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%d failed, %d strays\n", failed, strays);
	return 0;
}
