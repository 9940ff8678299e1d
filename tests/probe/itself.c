// SPDX-License-Identifier: MIT
// Connects to a port nobody listens on, many times, and counts the sockets that met themselves.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to;
	int refused = 0, connected = 0, other = 0;

	if (argc < 4 || getaddrinfo(argv[1], argv[2], &hints, &to) != 0)
		errx(2, "usage: itself ADDRESS PORT TRIES");
	for (int i = 0; i < atoi(argv[3]); i++) {
		int fd = socket(to->ai_family, SOCK_STREAM, 0);

		if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
			connected++;
		else if (errno == ECONNREFUSED)
			refused++;
		else
			other++;
		close(fd);
	}
	printf("refused %d, connected %d, other %d\n", refused, connected, other);
	return 0;
}
