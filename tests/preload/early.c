// SPDX-License-Identifier: MIT
// A library that connects in its constructor, in an exit handler and in its destructor, to port
// 8080; each time it prints the port it left from.
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void dial(const char *moment)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(8080)}, local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
		getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		perror(moment);
	else
		dprintf(STDERR_FILENO, "%s %u\n", moment, ntohs(local.sin_port));
	close(fd);
}

static void at_exit(void)
{
	dial("library's exit handler");
}

__attribute__((constructor)) static void begin(void)
{
	dial("library's constructor");
	atexit(at_exit);
}

__attribute__((destructor)) static void end(void)
{
	dial("library's destructor");
}
