// SPDX-License-Identifier: MIT
// In a pool of one port: a child that shares our memory (vfork) or has a copy of it (clone past
// libc) closes and replaces its copies of our connection; the port must stay ours, and be free
// right after our own close. Prints what went wrong, or "all N held".
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static FILE *stream;

// Opens a connection. Returns its descriptor, or -1.
static int dial(void)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void do_close(int fd)
{
	close(fd);
}

static void do_close_range(int fd)
{
	close_range((unsigned)fd, ~0u, 0);
}

static void do_closefrom(int fd)
{
	closefrom(fd);
}

static void do_dup2(int fd)
{
	dup2(0, fd);
}

static void do_dup3(int fd)
{
	dup3(0, fd, O_CLOEXEC);
}

static void do_copies(int fd)
{
	close(dup(fd));
	close(fcntl(fd, F_DUPFD, 50));
	close(fd);
}

static void do_fclose(int fd)
{
	dup2(fd, fileno(stream));
	fclose(stream);
	close(fd);
}

static void do_socket(int fd)
{
	close(fd);
	close(socket(AF_INET, SOCK_STREAM, 0));
}

static const struct {
	const char *name;
	void (*run)(int fd);
} deeds[] = {{"close", do_close}, {"socket", do_socket}, {"close_range", do_close_range},
	{"closefrom", do_closefrom}, {"dup2", do_dup2}, {"dup3", do_dup3}, {"copies", do_copies},
	{"fclose", do_fclose}};

int main(int argc, char **argv)
{
	volatile int count = sizeof(deeds) / sizeof(*deeds);

	if (argc < 3)
		errx(2, "usage: borrow PORT vfork|clone");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (volatile int i = 0; i < count; i++) {
		volatile int fd = dial();
		volatile pid_t pid;

		if (fd < 0)
			err(1, "before %s: the port did not come back", deeds[i].name);
		stream = fopen("/dev/null", "r");
		if (strcmp(argv[2], "vfork") == 0)
			pid = vfork();
		else
			pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid < 0)
			err(1, "%s", argv[2]);
		if (pid == 0) {
			deeds[i].run(fd);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		if (dial() >= 0)
			errx(1, "after %s in the child the port was given away", deeds[i].name);
		close(fd);
	}
	printf("all %d held\n", count);
	return 0;
}
