// SPDX-License-Identifier: MIT
// Connects and forks; the child closes its copy and ends, or the parent closes its own and ends.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
			   local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;

	if (argc < 3)
		errx(2, "usage: forker PORT child-closes|parent-closes");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "connect");
	getsockname(fd, (struct sockaddr *)&local, &len);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if ((pid == 0) == (strcmp(argv[2], "child-closes") == 0)) {
		close(fd);
		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
		return 0;
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	printf("%u\n", ntohs(local.sin_port));
	fflush(stdout);
	pause();
	return 0;
}
