// SPDX-License-Identifier: MIT
// Takes a UDP socket's port by a call that is odd but leaves it one; prints the port in the end.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

// The address to send to, with more room behind it than any address needs.
static union {
	struct sockaddr any;
	struct sockaddr_in in;
	char room[256];
} to;

// Makes the odd call. Its answer is the kernel's affair.
static void odd_call(int fd, const char *which)
{
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data, .msg_iovlen = 1};

	if (strcmp(which, "family-0") == 0)
		to.in.sin_family = 0;
	else if (strcmp(which, "family-77") == 0)
		to.in.sin_family = 77;
	if (strncmp(which, "family", 6) == 0)
		sendto(fd, "x", 1, 0, &to.any, sizeof(to.in));
	else if (strcmp(which, "name-256") == 0)
		sendmsg(fd, &msg, 0);
	else if (strcmp(which, "short-connect") == 0)
		connect(fd, &to.any, 4);
	else if (strcmp(which, "no-address") == 0)
		send(fd, "x", 1, 0);
	else
		errx(2, "no such call: %s", which);
}

int main(int argc, char **argv)
{
	struct sockaddr_in local;
	socklen_t len = sizeof(local);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 3)
		errx(2, "usage: oddsend family-0|family-77|name-256|short-connect|no-address PORT");
	to.in.sin_port = htons((uint16_t)atoi(argv[2]));
	to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.in.sin_family = AF_INET;
	odd_call(fd, argv[1]);
	to.in.sin_family = AF_INET;
	if (connect(fd, &to.any, sizeof(to.in)) < 0)
		err(1, "connect");
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin_port));
	return 0;
}
