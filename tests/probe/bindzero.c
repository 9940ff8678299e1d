// SPDX-License-Identifier: MIT
// Binds port 0 and prints the port that getsockname then shows.
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
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to;
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);
	int fd, on = 1, type = SOCK_STREAM, protocol = 0;

	if (argc < 3)
		errx(2, "usage: bindzero tcp|udp|mptcp ADDRESS [reuseaddr] [reuseport] [v6only]");
	if (strcmp(argv[1], "udp") == 0)
		type = SOCK_DGRAM;
	if (strcmp(argv[1], "mptcp") == 0)
		protocol = IPPROTO_MPTCP;
	if (getaddrinfo(argv[2], "0", &hints, &to) != 0)
		errx(2, "bad address");
	fd = socket(to->ai_family, type, protocol);
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "reuseaddr") == 0)
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (strcmp(argv[i], "reuseport") == 0)
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		if (strcmp(argv[i], "v6only") == 0)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	errno = 0;
	if (bind(fd, to->ai_addr, to->ai_addrlen) < 0) {
		puts(strerrorname_np(errno));
		return 1;
	}
	if (errno != 0)
		errx(1, "bind succeeded and changed errno");
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
	return 0;
}
