// SPDX-License-Identifier: MIT
// Connects to a closed port, then with the same socket to an open one; prints each outcome.
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
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
			   local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc < 3)
		errx(2, "usage: refused CLOSED-PORT OPEN-PORT");
	for (int i = 1; i <= 2; i++) {
		to.sin_port = htons((uint16_t)atoi(argv[i]));
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			puts(strerrorname_np(errno));
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin_port));
	return 0;
}
