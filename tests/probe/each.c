// SPDX-License-Identifier: MIT
// Gets a port in every way there is and prints it; a vforked child closes all its copies meanwhile.
// Compiles with any libc.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};

// Ends the program unless the call that `way` names succeeded; prints the port that it got.
static void report(const char *way, int fd, ssize_t result)
{
	struct sockaddr_in local;
	socklen_t len = sizeof(local);

	if (result < 0 || getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "%s", way);
	printf("%s %u\n", way, ntohs(local.sin_port));
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

int main(int argc, char **argv)
{
	const struct sockaddr *peer = (const struct sockaddr *)&to;
	struct iovec data = {.iov_base = "hello", .iov_len = 5};
	struct mmsghdr message = {0};
	int fd, status;
	pid_t pid;

	if (argc < 3 || !inet_aton(argv[1], &to.sin_addr))
		errx(2, "usage: each ADDRESS PORT");
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	message.msg_hdr.msg_name = &to;
	message.msg_hdr.msg_namelen = sizeof(to);
	message.msg_hdr.msg_iov = &data;
	message.msg_hdr.msg_iovlen = 1;

	fd = open_socket(SOCK_STREAM);
	report("connect", fd, connect(fd, peer, sizeof(to)));
	fd = open_socket(SOCK_DGRAM);
	report("udp-connect", fd, connect(fd, peer, sizeof(to)));
	fd = open_socket(SOCK_DGRAM);
	report("sendto", fd, sendto(fd, "hello", 5, 0, peer, sizeof(to)));
	fd = open_socket(SOCK_DGRAM);
	report("sendmsg", fd, sendmsg(fd, &message.msg_hdr, 0));
	fd = open_socket(SOCK_DGRAM);
	report("sendmmsg", fd, sendmmsg(fd, &message, 1, 0));
	fd = open_socket(SOCK_STREAM);
	report("bind", fd, bind(fd, (const struct sockaddr *)&any, sizeof(any)));
	fd = open_socket(SOCK_STREAM);
	report("listen", fd, listen(fd, 5));
	fd = open_socket(SOCK_STREAM);
	fd = fcntl(fd, F_DUPFD, 100);
	report("copy", fd, connect(fd, peer, sizeof(to)));

	pid = vfork();
	if (pid == 0) {
		for (int copy = 3; copy <= fd; copy++)
			close(copy);
		_exit(7);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 7)
		err(1, "vfork");
	fd = open_socket(SOCK_STREAM);
	report("after-vfork", fd, connect(fd, peer, sizeof(to)));
	return 0;
}
