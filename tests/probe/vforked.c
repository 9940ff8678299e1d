// SPDX-License-Identifier: MIT
// A vfork child does a deed to its copy of the parent's bound socket; then the parent stays
// until it is killed.
//	vforked rebind	closes it, binds a new one of its number, and prints that one's port
//	vforked WAY	closes it by fclose, dup2, close_range or dup; prints the parent's port
#define _GNU_SOURCE 1
#include <err.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int port_of(int fd)
{
	struct sockaddr_in local;
	socklen_t length = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
		return -1;
	return ntohs(local.sin_port);
}

// Makes a socket with a port that is left to the kernel.
static int bound(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -1;
	return fd;
}

// Does the deed to `fd`, of which `stream` is. Returns whether it worked.
static bool done(const char *deed, int fd, FILE *stream, volatile int *port)
{
	if (strcmp(deed, "fclose") == 0)
		return fclose(stream) == 0;
	if (strcmp(deed, "dup2") == 0)
		return dup2(0, fd) == fd;
	if (strcmp(deed, "close_range") == 0)
		return close_range((unsigned)fd, UINT_MAX, 0) == 0;
	if (strcmp(deed, "dup") == 0)
		return close(fd) == 0 && dup(0) == fd;
	if (strcmp(deed, "rebind") != 0 || close(fd) < 0 || bound() != fd)
		return false;
	*port = port_of(fd);
	return true;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: vforked rebind|fclose|dup2|close_range|dup");
	const char *deed = argv[1];
	int status, fd = bound();
	if (fd < 0)
		err(1, "bind");
	volatile int port = port_of(fd);
	FILE *stream = strcmp(deed, "fclose") == 0 ? fdopen(fd, "r") : NULL;
	pid_t pid = vfork();
	if (pid == 0)
		_exit(!done(deed, fd, stream, &port));
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "the child: %d", status);
	printf("%d\n", port);
	fflush(stdout);
	pause();
	return 0;
}
