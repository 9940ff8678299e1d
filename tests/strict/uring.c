// SPDX-License-Identifier: MIT
// Connects to PORT by io_uring, socket included, and prints the port that it got.
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Submits what is prepared. Returns its result.
static int result_of(struct io_uring *ring)
{
	struct io_uring_cqe *entry;
	io_uring_submit(ring);
	if (io_uring_wait_cqe(ring, &entry) < 0)
		return -EIO;
	int result = entry->res;
	io_uring_cqe_seen(ring, entry);
	return result;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0")),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof to;
	struct io_uring ring;
	int result = io_uring_queue_init(4, &ring, 0);
	if (result < 0) {
		printf("io_uring: %s\n", strerror(-result));
		return 1;
	}
	io_uring_prep_socket(io_uring_get_sqe(&ring), AF_INET, SOCK_STREAM, 0, 0);
	int fd = result_of(&ring);
	io_uring_prep_connect(io_uring_get_sqe(&ring), fd, (struct sockaddr *)&to, sizeof to);
	result = result_of(&ring);
	if (fd < 0 || result < 0 || getsockname(fd, (struct sockaddr *)&to, &size) < 0) {
		printf("io_uring: %d %s\n", fd, strerror(-result));
		return 1;
	}
	printf("%u\n", ntohs(to.sin_port));
	return 0;
}
