// SPDX-License-Identifier: MIT
// Takes every port of a pool in each way there is, and says how many are missing:
// fill FIRST LAST PORT OTHER-PORT
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned first, ports;
static int missing;

// Opens one socket that has a port: bound to 0, or connected to `port`. Returns it, or -1.
static int open_one(int type, unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, type, 0);
	if (fd < 0)
		err(2, "socket");
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	address.sin_port = htons((uint16_t)port);
	int result = port ? connect(fd, (struct sockaddr *)&address, sizeof address)
			  : bind(fd, (struct sockaddr *)&address, sizeof address);
	if (result == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

// Returns the local port of a socket.
static unsigned port_of(int fd)
{
	struct sockaddr_in local = {.sin_port = 0};
	socklen_t length = sizeof local;
	getsockname(fd, (struct sockaddr *)&local, &length);
	return ntohs(local.sin_port);
}

// Opens as many as there are ports, and one too many, which must fail with `error`. The fds go into
// `fd`. Prints and counts what is missing.
static void fill(const char *what, int type, unsigned port, int error, int *fd)
{
	bool *seen = calloc(ports, sizeof *seen);
	unsigned taken;
	if (!seen)
		err(2, "calloc");
	for (taken = 0; taken < ports; taken++) {
		fd[taken] = open_one(type, port);
		if (fd[taken] < 0)
			break;
		unsigned index = port_of(fd[taken]) - first;
		if (index >= ports || seen[index])
			errx(1, "%s: port %u twice or outside", what, first + index);
		seen[index] = true;
	}
	if (taken < ports)
		printf("%s: %u of %u ports, then %s\n", what, taken, ports, strerrorname_np(errno));
	else if (open_one(type, port) >= 0 || errno != error)
		errx(1, "%s: one more than %u: %s", what, ports, strerrorname_np(errno));
	missing += (int)(ports - taken);
	for (; taken < ports; taken++)
		fd[taken] = -1;
	free(seen);
}

static void let_go(const int *fd)
{
	for (unsigned i = 0; i < ports; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: fill FIRST LAST PORT OTHER-PORT");
	first = (unsigned)atoi(argv[1]);
	ports = (unsigned)atoi(argv[2]) - first + 1;
	int *fd = calloc(ports, sizeof *fd), *other = calloc(ports, sizeof *other);
	if (!fd || !other)
		err(2, "calloc");
	fill("UDP", SOCK_DGRAM, 0, EADDRINUSE, fd);
	fill("bind", SOCK_STREAM, 0, EADDRINUSE, other);
	let_go(other);
	let_go(fd);
	fill("connect", SOCK_STREAM, (unsigned)atoi(argv[3]), EADDRNOTAVAIL, fd);
	fill("connect elsewhere", SOCK_STREAM, (unsigned)atoi(argv[4]), EADDRNOTAVAIL, other);
	let_go(other);
	let_go(fd);
	fill("bind after connect", SOCK_STREAM, 0, EADDRINUSE, fd);
	return missing ? 1 : 0;
}
