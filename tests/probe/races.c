// SPDX-License-Identifier: MIT
// With tests/preload/between.c: while one call is under way, another thread, as it were, closes its
// descriptor and gets a new socket of that number. Then fills the pool; prints how many fitted.
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static void (**between)(const char *call, int after);
static const char *intruded;
static bool after_kernel;
static int victim;

// Opens a socket. Returns its descriptor.
static int open_one(void)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

static int dial(int fd)
{
	return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

// Opens a connection. Returns its descriptor, or -1.
static int dial_new(void)
{
	int fd = open_one();

	if (dial(fd) == 0)
		return fd;
	close(fd);
	return -1;
}

// What the other thread does.
static void intrude(const char *call, int after)
{
	if (strcmp(call, intruded) != 0 || after != after_kernel)
		return;
	*between = NULL;
	if (!after_kernel)
		close(victim);
	if (dial_new() != victim)
		errx(1, "the number was not reused");
}

static void intrude_into(const char *call, int fd, bool after)
{
	intruded = call;
	victim = fd;
	after_kernel = after;
	*between = intrude;
}

static void scene_play(const char *scene)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd, other;

	if (strcmp(scene, "close") == 0) {
		fd = dial_new();
		intrude_into("close", fd, true);
		close(fd);
	} else if (strcmp(scene, "close_range") == 0) {
		fd = dial_new();
		intrude_into("close_range", fd, true);
		close_range((unsigned)fd, (unsigned)fd, 0);
	} else if (strcmp(scene, "dup2") == 0) {
		other = dial_new();
		fd = dial_new();
		intrude_into("dup2", fd, false);
		dup2(other, fd);
	} else if (strcmp(scene, "dup2-fails") == 0) {
		fd = dial_new();
		intrude_into("dup2", fd, false);
		dup2(-1, fd);
	} else if (strcmp(scene, "connect") == 0) {
		fd = open_one();
		intrude_into("connect", fd, false);
		dial(fd);
	} else if (strcmp(scene, "bind") == 0) {
		fd = open_one();
		intrude_into("bind", fd, false);
		bind(fd, (struct sockaddr *)&any, sizeof(any));
	} else {
		errx(2, "no such scene: %s", scene);
	}
}

int main(int argc, char **argv)
{
	int count = 0;

	between = (void (**)(const char *, int))dlsym(RTLD_DEFAULT, "between");
	if (argc < 3 || !between)
		errx(2, "usage: LD_PRELOAD=between.so races PORT SCENE");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	close(dial_new()); // there is a segment now
	scene_play(argv[2]);
	if (*between)
		errx(1, "nobody intruded");
	while (dial_new() >= 0)
		count++;
	printf("%s: %d more\n", argv[2], count);
	return 0;
}
