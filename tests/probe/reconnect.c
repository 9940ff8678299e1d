// SPDX-License-Identifier: MIT
// Connects, dissolves the connection with AF_UNSPEC, connects elsewhere; prints both local ports.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET}, local;
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t len;
	int fd;

	if (argc < 4)
		errx(2, "usage: reconnect tcp|udp PORT unspec|direct");
	fd = socket(AF_INET, strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, 0);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	for (uint32_t i = 0; i < 2; i++) {
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			err(1, "connect %u", i);
		len = sizeof(local);
		if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
			err(1, "getsockname");
		printf("%u\n", ntohs(local.sin_port));
		if (strcmp(argv[3], "unspec") == 0 && connect(fd, &none, sizeof(none)) < 0)
			err(1, "connect to AF_UNSPEC");
	}
	return 0;
}
