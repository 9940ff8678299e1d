// SPDX-License-Identifier: MIT
// A vfork child closes its copies of fresh sockets, and makes others of the same numbers. The
// parent's stay what they were: a datagram leaves from a port of the pool, a range that was set is
// shown, and a connection's port is free right after its close. Prints what each came to:
//	lend PORT	"UDP from PORT, range 45000-45999, TCP from PORT, TCP from PORT"
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

static struct sockaddr_in to = {.sin_family = AF_INET};

static int port_of(int fd)
{
	struct sockaddr_in local;
	socklen_t length = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
		err(1, "getsockname");
	return ntohs(local.sin_port);
}

// A child closes `fd` and, if `type` is not 0, makes a socket in its place. Returns `fd`.
static int lend(int fd, int type)
{
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		close(fd);
		_exit(type && socket(AF_INET, type, 0) != fd);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "the child: %d", status);
	return fd;
}

// Connects to PORT, and closes that by a reset. Returns the port it had.
static int dial(int fd)
{
	const struct linger reset = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "connect");
	int port = port_of(fd);
	close(fd);
	return port;
}

int main(int argc, char **argv)
{
	unsigned range = 45999u << 16 | 45000, shown = 0;
	socklen_t length = sizeof(shown);

	if (argc != 2)
		errx(2, "usage: lend PORT");
	to.sin_port = htons((unsigned short)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int datagrams = lend(socket(AF_INET, SOCK_DGRAM, 0), SOCK_STREAM);
	if (sendto(datagrams, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1)
		err(1, "sendto");
	int ranged = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(ranged, SOL_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
	lend(ranged, 0);
	if (getsockopt(ranged, SOL_IP, IP_LOCAL_PORT_RANGE, &shown, &length) < 0)
		err(1, "getsockopt");
	printf("UDP from %d, range %u-%u", port_of(datagrams), shown & 0xffff, shown >> 16);
	close(datagrams);
	for (int i = 0; i < 2; i++)
		printf(", TCP from %d", dial(lend(socket(AF_INET, SOCK_STREAM, 0), 0)));
	putchar('\n');
	return 0;
}
