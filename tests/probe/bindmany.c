// SPDX-License-Identifier: MIT
// Binds port 0 on one socket after the other until COUNT are bound or one bind fails.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int i, type, count, on = 1;

	if (argc < 3)
		errx(2, "usage: bindmany tcp|udp COUNT [reuse]");
	type = strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
	count = atoi(argv[2]);
	for (i = 0; i < count; i++) {
		int fd = socket(AF_INET, type, 0);

		if (argc > 3) {
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		}
		if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
			break;
	}
	if (i < count)
		printf("%d bound, then %s\n", i, strerrorname_np(errno));
	else
		printf("%d bound\n", i);
	fflush(stdout);
	pause();
	return 0;
}
