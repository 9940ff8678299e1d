// SPDX-License-Identifier: MIT
// Opens a TCP connection by sendto or sendmsg with MSG_FASTOPEN and prints the local port.
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
	struct iovec data = {.iov_base = "hello", .iov_len = 5};
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);
	struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1};
	ssize_t n;
	int fd;

	if (argc < 4 || getaddrinfo(argv[2], argv[3], &hints, &to) != 0)
		errx(2, "usage: fastopen sendto|sendmsg ADDRESS PORT");
	fd = socket(to->ai_family, SOCK_STREAM, 0);
	msg.msg_name = to->ai_addr;
	msg.msg_namelen = to->ai_addrlen;
	if (strcmp(argv[1], "sendto") == 0)
		n = sendto(fd, "hello", 5, MSG_FASTOPEN, to->ai_addr, to->ai_addrlen);
	else
		n = sendmsg(fd, &msg, MSG_FASTOPEN);
	if (n != 5) {
		puts(strerrorname_np(errno));
		return 1;
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin6_port));
	return 0;
}
