// SPDX-License-Identifier: MIT
// Connects, listens, binds and sends, ROUNDS times, whatever comes of it; prints the ports it had.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server = {.sin_family = AF_INET};
static unsigned char seen[65536];

// Notes the port of a socket, and closes it.
static void finish(int fd)
{
	struct sockaddr_in local;
	socklen_t len = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	seen[ntohs(local.sin_port)] = 1;
	close(fd);
}

// Fails unless the call succeeded, or failed for want of a port. Returns true if it succeeded.
static int check(const char *what, int result)
{
	if (result < 0 && errno != EADDRNOTAVAIL && errno != EADDRINUSE && errno != EAGAIN)
		err(1, "%s", what);
	return result >= 0;
}

static int new (int type)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const struct sockaddr *to = (const struct sockaddr *)&server;
	int done = 0;

	if (argc < 3)
		errx(2, "usage: storm ROUNDS PORT");
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < atoi(argv[1]); i++) {
		int tcp = new (SOCK_STREAM), udp = new (SOCK_DGRAM), own = new (SOCK_STREAM);
		int bound = new (SOCK_DGRAM);

		done += check("connect", connect(tcp, to, sizeof(server)));
		done += check("sendto", (int)sendto(udp, "x", 1, 0, to, sizeof(server)));
		done += check("listen", listen(own, 1));
		done += check("bind", bind(bound, (struct sockaddr *)&any, sizeof(any)));
		finish(tcp);
		finish(udp);
		finish(own);
		finish(bound);
	}
	printf("%d done\n", done);
	for (int port = 1; port < 65536; port++)
		if (seen[port])
			printf("%d\n", port);
	return 0;
}
