// SPDX-License-Identifier: MIT
// Listens on a socket that was never bound and prints the port it listens on.
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
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);
	int fd = socket(argc > 1 && strcmp(argv[1], "6") == 0 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

	if (listen(fd, 5) < 0) {
		puts(strerrorname_np(errno));
		return 1;
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
	return 0;
}
