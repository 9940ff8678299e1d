// SPDX-License-Identifier: MIT
// Connects once and prints the local port.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to;
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local), four = sizeof(int);
	int fd, result, protocol = 0, type = SOCK_STREAM;

	if (argc < 4)
		errx(2, "usage: dial tcp|udp|mptcp ADDRESS PORT [nonblock]");
	if (strcmp(argv[1], "udp") == 0)
		type = SOCK_DGRAM;
	if (strcmp(argv[1], "mptcp") == 0)
		protocol = IPPROTO_MPTCP;
	if (argc > 4)
		type |= SOCK_NONBLOCK;
	if (getaddrinfo(argv[2], argv[3], &hints, &to) != 0)
		errx(2, "bad address");
	fd = socket(to->ai_family, type, protocol);
	if (fd < 0)
		err(2, "socket");
	errno = 0;
	result = connect(fd, to->ai_addr, to->ai_addrlen) < 0 ? errno : 0;
	if (result == 0 && errno != 0)
		errx(1, "connect succeeded and changed errno");
	if (result == EINPROGRESS &&
		poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 5000) == 1)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &four);
	if (result != 0) {
		puts(strerrorname_np(result));
		return 1;
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
	return 0;
}
