// SPDX-License-Identifier: MIT
// Connects to HOST PORT by TCP, asks for a page, and ends well if there is an answer.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char question[] = "GET / HTTP/1.0\r\n\r\n";
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char answer[16];
	if (argc < 3 || getaddrinfo(argv[1], argv[2], &hints, &list) != 0)
		return 1;
	int fd = socket(list->ai_family, list->ai_socktype, list->ai_protocol);
	if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) < 0)
		return 2;
	if (write(fd, question, sizeof question - 1) < 0 || read(fd, answer, sizeof answer) < 12)
		return 3;
	return strncmp(answer, "HTTP/1.0 200", 12) != 0;
}
