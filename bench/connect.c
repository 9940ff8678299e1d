// SPDX-License-Identifier: MIT
// How long a socket, connect and close take on loopback, in nanoseconds each.
//
//	connect PORT
//
// For every line with a number on standard input, connects that often to its own listener on PORT
// and prints the mean; so two of these, one fenced, can be measured in turns. Every connection is
// accepted and closed first in the same process: no other's scheduling is measured, and no
// TIME_WAIT stays with the client.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void or_die(int result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	exit(1);
}

// Connects once. Returns the nanoseconds that socket, connect and close took.
static double connect_once(int listener, const struct sockaddr_in *address)
{
	double start = nanoseconds();
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	or_die(fd, "socket");
	or_die(connect(fd, (const struct sockaddr *)address, sizeof *address), "connect");
	double spent = nanoseconds() - start;

	int accepted = accept(listener, NULL, NULL);
	or_die(accepted, "accept");
	or_die(close(accepted), "close");

	start = nanoseconds();
	or_die(close(fd), "close");
	return spent + nanoseconds() - start;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM, 0), count, on = 1;

	or_die(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
	address.sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "1080"));
	or_die(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
	or_die(listen(listener, 16), "listen");
	while (scanf("%d", &count) == 1 && count > 0) {
		double spent = 0;
		for (int i = 0; i < count; i++)
			spent += connect_once(listener, &address);
		printf("%.1f\n", spent / count);
		fflush(stdout);
	}
	return 0;
}
