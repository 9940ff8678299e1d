// SPDX-License-Identifier: MIT
// Connects, prints the port, and executes another program that inherits the socket.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
			   local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc < 3)
		errx(2, "usage: overexec PORT COMMAND...");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "connect");
	getsockname(fd, (struct sockaddr *)&local, &len);
	printf("%u\n", ntohs(local.sin_port));
	fflush(stdout);
	execvp(argv[2], argv + 2);
	err(127, "%s", argv[2]);
}
