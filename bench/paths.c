// SPDX-License-Identifier: MIT
// One path through the shim, walked COUNT times, for bench/budget.py to count its instructions.
//
//	paths WHAT COUNT
//
// Two runs that differ only in COUNT differ by nothing but the path.
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_in server = {.sin_family = AF_INET};
static int listener, udp;

// Returns what it is given, unless that is negative.
static int or_die(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static void file(void)
{
	close(or_die(open("/dev/null", O_RDONLY | O_CLOEXEC), "open"));
}

static void local(void)
{
	const struct sockaddr_un nowhere = {AF_UNIX, "/nonexistent"};
	int fd = or_die(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
	if (connect(fd, (const struct sockaddr *)&nowhere, sizeof nowhere) == 0)
		exit(1);
	close(fd);
}

static void connection(void)
{
	const struct sockaddr_in peer = server; // on the stack, as most have it
	int fd = or_die(socket(AF_INET, SOCK_STREAM, 0), "socket");
	or_die(connect(fd, (const struct sockaddr *)&peer, sizeof peer), "connect");
	// Past the hooks, and first: no TIME_WAIT stays with the client.
	int accepted = or_die((int)syscall(SYS_accept4, listener, NULL, NULL, 0), "accept");
	syscall(SYS_close, accepted);
	close(fd);
}

static void bind_any(void)
{
	const struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = or_die(socket(AF_INET, SOCK_STREAM, 0), "socket");
	or_die(bind(fd, (const struct sockaddr *)&any, sizeof any), "bind");
	close(fd);
}

static void first_datagram(void)
{
	const struct sockaddr_in peer = server; // on the stack, as most have it
	int fd = or_die(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	or_die((int)sendto(fd, "", 1, 0, (const struct sockaddr *)&peer, sizeof peer), "sendto");
	close(fd);
}

static void connected_datagrams(void)
{
	const struct sockaddr_in peer = server;
	int fd = or_die(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	or_die(connect(fd, (const struct sockaddr *)&peer, sizeof peer), "connect");
	close(fd);
}

static void listen_at_any(void)
{
	int fd = or_die(socket(AF_INET, SOCK_STREAM, 0), "socket");
	or_die(listen(fd, 1), "listen");
	close(fd);
}

static void datagram(void)
{
	const struct sockaddr_in peer = server; // on the stack, as most have it
	or_die((int)sendto(udp, "", 1, 0, (const struct sockaddr *)&peer, sizeof peer), "sendto");
}

static const struct path {
	const char *name;
	void (*walk)(void);
} paths[] = {
	{"file", file},
	{"unix", local},
	{"connect", connection},
	{"bind", bind_any},
	{"first-datagram", first_datagram},
	{"udp-connect", connected_datagrams},
	{"listen", listen_at_any},
	{"datagram", datagram},
};

// Makes the sockets that the paths have in common.
static void prepare(void)
{
	const int on = 1;
	server.sin_port = htons(1080); // of no pool, or a new segment would learn of its TIME_WAITs
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = or_die(socket(AF_INET, SOCK_STREAM, 0), "socket");
	or_die(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
	or_die(bind(listener, (const struct sockaddr *)&server, sizeof server), "bind");
	or_die(listen(listener, 16), "listen");
	udp = or_die(socket(AF_INET, SOCK_DGRAM, 0), "socket");
}

int main(int argc, char **argv)
{
	const struct path *path = paths, *end = paths + sizeof paths / sizeof *paths;
	while (argc == 3 && path < end && strcmp(path->name, argv[1]) != 0)
		path++;
	if (argc != 3 || path == end)
		return fprintf(stderr, "usage: paths WHAT COUNT\n"), 2;
	prepare();
	for (long count = atol(argv[2]); count > 0; count--)
		path->walk();
	return 0;
}
