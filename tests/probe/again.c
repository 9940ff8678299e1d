// SPDX-License-Identifier: MIT
// Calls connect three times on a non-blocking socket whose peer never answers; prints each outcome.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to;
	int fd;

	if (argc < 3 || getaddrinfo(argv[1], argv[2], &hints, &to) != 0)
		errx(2, "usage: again ADDRESS PORT");
	fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in6 local;
		socklen_t len = sizeof(local);
		int result = connect(fd, to->ai_addr, to->ai_addrlen);
		const char *name = result < 0 ? strerrorname_np(errno) : "0";

		if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
			err(1, "getsockname");
		printf("%s %u\n", name, ntohs(local.sin6_port));
	}
	fflush(stdout);
	pause();
	return 0;
}
