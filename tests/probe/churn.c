// SPDX-License-Identifier: MIT
// Makes COUNT short connections one after the other, closes first, and counts the refused ones.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int refused = 0;

	if (argc < 3)
		errx(2, "usage: churn COUNT PORT");
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	for (int i = 0; i < atoi(argv[1]); i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		refused += connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0;
		close(fd);
	}
	printf("%d refused\n", refused);
	return 0;
}
