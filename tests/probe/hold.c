// SPDX-License-Identifier: MIT
// Opens COUNT TCP connections, in turn to each address, and holds them until it is killed.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct linger reset = {.l_onoff = 1};
	struct sockaddr_in to = {.sin_family = AF_INET};
	int i, count;

	if (argc < 4)
		errx(2, "usage: hold COUNT PORT ADDRESS...");
	count = atoi(argv[1]);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	for (i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		inet_pton(AF_INET, argv[3 + i % (argc - 3)], &to.sin_addr);
		if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			break;
	}
	if (i < count)
		printf("%d held, then %s\n", i, strerrorname_np(errno));
	else
		printf("%d held\n", i);
	fflush(stdout);
	pause();
	return 0;
}
