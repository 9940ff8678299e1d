// SPDX-License-Identifier: MIT
// Sends from a UDP socket that was never bound, by each of the sending calls.
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
	struct mmsghdr many[2] = {0};
	struct sockaddr_in6 local;
	socklen_t len = sizeof(local);
	ssize_t n;
	int fd;

	if (argc < 4 || getaddrinfo(argv[2], argv[3], &hints, &to) != 0)
		errx(2, "usage: udpsend sendto|sendmsg|sendmmsg ADDRESS PORT");
	fd = socket(to->ai_family, SOCK_DGRAM, 0);
	for (int i = 0; i < 2; i++) {
		many[i].msg_hdr.msg_name = to->ai_addr;
		many[i].msg_hdr.msg_namelen = to->ai_addrlen;
		many[i].msg_hdr.msg_iov = &data;
		many[i].msg_hdr.msg_iovlen = 1;
	}
	if (strcmp(argv[1], "sendto") == 0)
		n = sendto(fd, "hello", 5, 0, to->ai_addr, to->ai_addrlen);
	else if (strcmp(argv[1], "sendmsg") == 0)
		n = sendmsg(fd, &many[0].msg_hdr, 0);
	else
		n = sendmmsg(fd, many, 2, 0);
	if (n < 0) {
		puts(strerrorname_np(errno));
		return 1;
	}
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%s %zd\n%u\n", argv[1], n, ntohs(local.sin6_port));
	return 0;
}
