// SPDX-License-Identifier: MIT
// Binds the port that its user asks for, connects from it, and prints it.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to, *from;
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);
	int fd;

	if (argc < 5 || getaddrinfo(argv[2], argv[3], &hints, &from) != 0 ||
		getaddrinfo(argv[2], argv[4], &hints, &to) != 0)
		errx(2, "usage: explicit tcp|udp ADDRESS LOCAL-PORT PEER-PORT");
	fd = socket(to->ai_family, strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (bind(fd, from->ai_addr, from->ai_addrlen) < 0 ||
		connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
		puts(strerrorname_np(errno));
		return 1;
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
	return 0;
}
