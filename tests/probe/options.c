// SPDX-License-Identifier: MIT
// Prints the socket options that a fence may set, as the program itself sees them, at many points.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void set(int fd, int level, int name, unsigned int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
		err(1, "setsockopt");
}

// Returns a socket that is connected to the listener, having set what the letters say.
static int dial(const char *name, const char *letters, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (strchr(letters, 'a'))
		set(fd, SOL_IP, IP_LOCAL_PORT_RANGE, 50009U << 16 | 50000);
	if (strchr(letters, 'r'))
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (strchr(letters, 'n'))
		set(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	options_print(name, fd);
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		err(1, "connect");
	options_print("connected", fd);
	return fd;
}

int main(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
			   any = to;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	to.sin_port = htons(9999);
	set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(listener, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(listener, 8) < 0)
		err(1, "listen");
	options_print("listener", listener);

	fd = dial("new", "", &to);
	options_print("accepted", accept(listener, NULL, NULL));
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	options_print("reuse on", fd);
	set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
	options_print("reuse off", fd);
	options_print("copy", dup(fd));
	dial("all set", "arn", &to);
	dial("reuse set", "r", &to);
	fd = dial("range set", "a", &to);
	set(fd, SOL_IP, IP_LOCAL_PORT_RANGE, 0);
	options_print("range off", fd);

	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		err(1, "bind");
	options_print("udp", fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (listen(fd, 8) < 0)
		err(1, "listen");
	options_print("autolisten", fd);
	return 0;
}
