// SPDX-License-Identifier: MIT
// IP_BIND_ADDRESS_NO_PORT, bind(address, 0), connect: prints the port before and after the connect.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

// Prints the local port of a socket.
static void port_print(int fd)
{
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to, *from;
	int fd, on = 1;

	if (argc < 3 || getaddrinfo(argv[1], argv[2], &hints, &to) != 0 ||
		getaddrinfo(argv[1], "0", &hints, &from) != 0)
		errx(2, "usage: noport ADDRESS PORT");
	fd = socket(to->ai_family, SOCK_STREAM, 0);
	if (setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0)
		err(1, "setsockopt");
	if (bind(fd, from->ai_addr, from->ai_addrlen) < 0)
		err(1, "bind");
	port_print(fd);
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
		err(1, "connect");
	port_print(fd);
	return 0;
}
