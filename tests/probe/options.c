// SPDX-License-Identifier: MIT
// Prints the socket options that a fence may set, as the program itself sees them, connected or
// not.
#define _GNU_SOURCE 1
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

// Prints the options of one socket.
static void options_print(const char *when, int fd)
{
	unsigned int range = 1, reuse = 1, noport = 1;
	socklen_t len = sizeof(range);

	getsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, &len);
	getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &len);
	getsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &noport, &len);
	printf("%s: range %#x reuseaddr %u noport %u\n", when, range, reuse, noport);
}

int main(void)
{
	unsigned int range = 50009U << 16 | 50000, on = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	options_print("set", fd);
	return 0;
}
