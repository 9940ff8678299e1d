// SPDX-License-Identifier: MIT
// A client that does as it is told: so several of them, fenced or not, can be measured in turns.
//
//	driver METHOD FIRST LAST PORT DESTINATIONS
//
// Its sockets get ports of FIRST-LAST (anything else ends it) by
//
//	kernel     nothing it does: the kernel chooses, or the shim
//	range      IP_LOCAL_PORT_RANGE, which it sets itself
//	random     bind to one random port after the other till one is free
//	scatter    the next of all ports in random order, chosen as the kernel chooses
//	explicit   the same, by bind with SO_REUSEADDR
//
// and connect to PORT of 127.0.0.1, 127.0.0.2 ... in turns. A command is a line on standard input,
// its answer a line of "DONE REFUSED NANOSECONDS":
//
//	listen tcp|unix        at PORT, TCP and UDP, or AF_UNIX; takes connections, accepts none
//	hold WHAT N SECONDS    makes N sockets, for at most so long, and keeps them
//	drop                   closes them
//	time WHAT N SECONDS    makes and closes N sockets one by one, for at most so long
//	files PATH N           opens a file N times and closes them, which alone is timed
//	churn WHO SECONDS RATE makes RATE connections a second, which WHO ends: client or server
//	storm HOW N SECONDS    connects and closes in N processes or threads at once
//	spawn N LIB PROGRAM    runs a program; answers "BARE FENCED", the median nanoseconds of each
//	pool PORTS PERCENT THREADS N    takes and gives ports of a pool in its own memory
//
// What fails for want of a port counts as refused. With nobody who accepts, a held connection costs
// one descriptor; a timed one ends by a reset, so that nothing of it stays.
#include "driver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

enum method { KERNEL, RANGE, RANDOM, SCATTER, EXPLICIT, METHODS };
static const char *const method_name[METHODS] = {
	"kernel", "range", "random", "scatter", "explicit"};

static enum method method;
static uint16_t first, last, peer_port;
static uint32_t destinations;
static int listener = -1;

// All ports, shuffled.
static uint16_t scattered[65536];
static uint32_t scatter_next;

double nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint32_t below(uint32_t count)
{
	static _Thread_local uint64_t state;
	if (!state)
		state = (uint64_t)nanoseconds() ^ (uint64_t)(uintptr_t)&state ^ (uint64_t)getpid();
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state >> 32) * count >> 32);
}

static void scatter(void)
{
	for (uint32_t i = 0; i <= (uint32_t)last - first; i++) {
		uint32_t at = below(i + 1);
		scattered[i] = scattered[at];
		scattered[at] = (uint16_t)(first + i);
	}
}

// ---- How a socket gets its port --------------------------------------------------------------

static struct sockaddr_in address_of(uint32_t host, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = {htonl(host)}, .sin_port = htons(port)};
}

static int bind_to(int fd, uint16_t port)
{
	struct sockaddr_in address = address_of(INADDR_ANY, port);
	return bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int range_set(int fd, uint16_t from, uint16_t to)
{
	uint32_t range = (uint32_t)to << 16 | from;
	return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range);
}

// Gives the socket its port, or says where it is to come from. Returns 0, or -1 with errno.
static int claim(int fd)
{
	uint32_t ports = (uint32_t)last - first + 1;
	uint16_t port;
	int on = 1;
	switch (method) {
	case RANGE:
		return range_set(fd, first, last);
	case RANDOM:
		// So many tries miss one free port in a third of cases.
		for (uint32_t tries = 0; tries < ports; tries++)
			if (bind_to(fd, (uint16_t)(first + below(ports))) == 0)
				return 0;
			else if (errno != EADDRINUSE)
				return -1;
		return -1;
	case SCATTER:
		port = scattered[scatter_next++ % ports];
		return range_set(fd, port, port);
	case EXPLICIT:
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		return bind_to(fd, scattered[scatter_next++ % ports]);
	default:
		return 0;
	}
}

static bool is_bound_by_claim(void)
{
	return method == RANDOM || method == EXPLICIT;
}

// ---- What is done with it --------------------------------------------------------------------

static struct sockaddr_in peer_of(uint32_t i)
{
	return address_of(INADDR_LOOPBACK + i % destinations, peer_port);
}

static int do_connect(int fd, uint32_t i)
{
	struct sockaddr_in peer = peer_of(i);
	return connect(fd, (struct sockaddr *)&peer, sizeof peer);
}

static int do_bind(int fd, uint32_t i)
{
	(void)i;
	return is_bound_by_claim() ? 0 : bind_to(fd, 0);
}

static int do_listen(int fd, uint32_t i)
{
	(void)i;
	return listen(fd, 1);
}

static int do_sendto(int fd, uint32_t i)
{
	struct sockaddr_in peer = peer_of(i);
	return sendto(fd, "x", 1, 0, (struct sockaddr *)&peer, sizeof peer) == 1 ? 0 : -1;
}

static int do_sendmmsg(int fd, uint32_t i)
{
	struct sockaddr_in peer = peer_of(i);
	struct iovec byte = {"x", 1};
	struct mmsghdr message[2] = {
		{.msg_hdr = {&peer, sizeof peer, &byte, 1, NULL, 0, 0}},
		{.msg_hdr = {&peer, sizeof peer, &byte, 1, NULL, 0, 0}},
	};
	return sendmmsg(fd, message, 2, 0) == 2 ? 0 : -1;
}

static socklen_t unix_address(struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length =
		snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "bench%d", peer_port);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static int do_unix(int fd, uint32_t i)
{
	struct sockaddr_un address;
	socklen_t length = unix_address(&address);
	(void)i;
	return connect(fd, (struct sockaddr *)&address, length);
}

struct deed {
	const char *name;
	int family, type;
	int (*run)(int fd, uint32_t i);
	bool accepts; // the connection is accepted, and ended from that side
	bool alone;   // what is timed is this call, and not the socket's beginning and end
};

static const struct deed deeds[] = {
	{"connect", AF_INET, SOCK_STREAM, do_connect, false, false},
	{"connect-alone", AF_INET, SOCK_STREAM, do_connect, false, true},
	{"served", AF_INET, SOCK_STREAM, do_connect, true, false},
	{"bind", AF_INET, SOCK_STREAM, do_bind, false, false},
	{"listen", AF_INET, SOCK_STREAM, do_listen, false, false},
	{"udp-connect", AF_INET, SOCK_DGRAM, do_connect, false, false},
	{"sendto", AF_INET, SOCK_DGRAM, do_sendto, false, false},
	{"sendmmsg", AF_INET, SOCK_DGRAM, do_sendmmsg, false, false},
	{"unix", AF_UNIX, SOCK_STREAM, do_unix, true, false},
};

static const struct deed *deed_named(const char *name)
{
	for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++)
		if (strcmp(deeds[i].name, name) == 0)
			return &deeds[i];
	errno = EINVAL;
	die(name);
}

// Ends the program if the socket's port is not one of ours.
static void check_port(int fd)
{
	struct sockaddr_in local = {.sin_port = 0};
	socklen_t length = sizeof local;
	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
		die("getsockname");
	uint16_t port = ntohs(local.sin_port);
	if (port >= first && port <= last)
		return;
	fprintf(stderr, "driver: port %d is not of %d-%d\n", port, first, last);
	exit(1);
}

// Makes one socket, counts it and adds its time. Returns it, or -1 if there was no port.
static int make(const struct deed *deed, uint32_t i, struct tally *tally)
{
	double start = nanoseconds();
	int fd = socket(deed->family, deed->type, 0);
	if (fd < 0)
		die("socket");
	int result = deed->family == AF_INET ? claim(fd) : 0;
	if (deed->alone)
		start = nanoseconds();
	if (result == 0)
		result = deed->run(fd, i);
	tally->ns += nanoseconds() - start;
	if (result == 0) {
		tally->done++;
		if (deed->family == AF_INET)
			check_port(fd);
		return fd;
	}
	if (errno != EADDRNOTAVAIL && errno != EADDRINUSE && errno != EAGAIN)
		die(deed->name);
	start = nanoseconds();
	close(fd);
	if (!deed->alone)
		tally->ns += nanoseconds() - start;
	tally->refused++;
	return -1;
}

static void close_accepted(void)
{
	int accepted = accept(listener, NULL, NULL);
	if (accepted < 0 || close(accepted) < 0)
		die("accept");
}

static void reset_on_close(int fd)
{
	const struct linger reset = {.l_onoff = 1};
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) < 0)
		die("SO_LINGER");
}

// Ends what `make` made, and adds the time.
static void end(const struct deed *deed, int fd, struct tally *tally)
{
	if (deed->accepts)
		close_accepted();
	else if (deed->type == SOCK_STREAM)
		reset_on_close(fd);
	double start = nanoseconds();
	if (close(fd) < 0)
		die("close");
	if (!deed->alone)
		tally->ns += nanoseconds() - start;
}

// ---- Commands --------------------------------------------------------------------------------

static int listen_at(int family, const void *address, socklen_t length)
{
	int fd = socket(family, SOCK_STREAM, 0), on = 1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
		bind(fd, address, length) < 0 || listen(fd, 65535) < 0)
		die("listen");
	return fd;
}

// The descriptors of UDP and AF_UNIX stay open, for their ports' sake.
static struct tally command_listen(const char *family)
{
	struct sockaddr_in address = address_of(INADDR_ANY, peer_port);
	struct sockaddr_un path;
	socklen_t length = unix_address(&path);
	if (strcmp(family, "unix") == 0) {
		listener = listen_at(AF_UNIX, &path, length);
		return (struct tally){.done = 1};
	}
	listener = listen_at(AF_INET, &address, sizeof address);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (udp < 0 || bind(udp, (struct sockaddr *)&address, sizeof address) < 0)
		die("listen");
	return (struct tally){.done = 1};
}

static int held[65536];
static int holds;

static struct tally command_hold(const char *what, long count, double seconds)
{
	const struct deed *deed = deed_named(what);
	struct tally tally = {0};
	double start = nanoseconds(), until = start + seconds * 1e9;
	// Who goes through all ports in turn meets those of others; who guesses may miss the last.
	long patience = method == SCATTER || method == EXPLICIT ? 65536L * destinations
		: method == RANDOM                              ? 20
								: 0;
	while (tally.done < count && nanoseconds() < until) {
		int fd = make(deed, (uint32_t)tally.done, &tally);
		if (fd >= 0)
			held[holds++] = fd;
		else if (tally.refused > patience)
			break;
	}
	tally.ns = nanoseconds() - start;
	return tally;
}

static struct tally command_drop(void)
{
	struct tally tally = {.done = holds};
	while (holds > 0) {
		reset_on_close(held[--holds]);
		close(held[holds]);
	}
	return tally;
}

static struct tally command_time(const char *what, long count, double seconds)
{
	const struct deed *deed = deed_named(what);
	struct tally tally = {0};
	double until = nanoseconds() + seconds * 1e9;
	for (long i = 0; i < count && nanoseconds() < until; i++) {
		int fd = make(deed, (uint32_t)i, &tally);
		if (fd >= 0)
			end(deed, fd, &tally);
	}
	return tally;
}

// Only the closes are timed, all at once: reading the clock takes as long as one.
static struct tally command_files(const char *path, long count)
{
	struct tally tally = {.done = count};
	int *fd = calloc((size_t)count, sizeof *fd);
	for (long i = 0; i < count; i++)
		if ((fd[i] = open(path, O_RDONLY)) < 0)
			die(path);
	double start = nanoseconds();
	for (long i = 0; i < count; i++)
		close(fd[i]);
	tally.ns = nanoseconds() - start;
	free(fd);
	return tally;
}

static void wait_till(double moment)
{
	double left = moment - nanoseconds();
	if (left > 0)
		nanosleep(&(struct timespec){.tv_nsec = (long)left}, NULL);
}

// So many attempts a second, whether they are refused or not; those that are late are made up for.
static struct tally command_churn(const char *who, double seconds, double rate)
{
	const struct deed *deed = deed_named("connect");
	bool client_first = strcmp(who, "client") == 0;
	struct tally tally = {0};
	double start = nanoseconds(), until = start + seconds * 1e9;
	for (uint32_t i = 0; i < seconds * rate && nanoseconds() < until; i++) {
		wait_till(start + i / rate * 1e9);
		int fd = make(deed, i, &tally);
		if (fd < 0)
			continue;
		int accepted = accept(listener, NULL, NULL);
		if (accepted < 0)
			die("accept");
		close(client_first ? fd : accepted);
		close(client_first ? accepted : fd);
	}
	tally.ns = nanoseconds() - start;
	return tally;
}

static double storm_until;

static void *storm_one(void *arg)
{
	const struct deed *deed = deed_named("connect");
	struct tally *tally = arg;
	for (uint32_t i = 0; nanoseconds() < storm_until; i++) {
		int fd = make(deed, i, tally);
		if (fd < 0)
			continue;
		end(deed, fd, tally);
		close_accepted(); // some connection: there are as many as were made
	}
	return NULL;
}

static void storm_threads(int count, struct tally *tally)
{
	pthread_t thread[256];
	for (int i = 0; i < count; i++)
		if ((errno = pthread_create(&thread[i], NULL, storm_one, &tally[i])))
			die("pthread_create");
	for (int i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
}

static void storm_processes(int count, struct tally *tally)
{
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child < 0)
			die("fork");
		if (child)
			continue;
		storm_one(&tally[i]);
		_exit(0);
	}
	for (int i = 0; i < count; i++) {
		int status;
		if (wait(&status) < 0 || status != 0)
			die("a child failed");
	}
}

static struct tally command_storm(const char *how, long count, double seconds)
{
	struct tally *tally, sum = {0};
	if (count < 1 || count > 256)
		die("storm");
	tally = mmap(NULL, 256 * sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	if (tally == MAP_FAILED)
		die("mmap");
	double start = nanoseconds();
	storm_until = start + seconds * 1e9;
	if (strcmp(how, "threads") == 0)
		storm_threads((int)count, tally);
	else
		storm_processes((int)count, tally);
	for (long i = 0; i < count; i++) {
		sum.done += tally[i].done;
		sum.refused += tally[i].refused;
	}
	sum.ns = nanoseconds() - start;
	munmap(tally, 256 * sizeof *tally);
	return sum;
}

static void answer(struct tally tally)
{
	printf("%ld %ld %.1f\n", tally.done, tally.refused, tally.ns);
}

static void obey(const char *line)
{
	char verb[16] = "", word[256] = "", program[256] = "";
	double bare, fenced, number = 0, more = 0;
	unsigned ports;
	int threads;
	long count;
	if (sscanf(line, "pool %u %lf %d %ld", &ports, &more, &threads, &count) == 4) {
		answer(pool_churn(ports, more, threads, count));
		return;
	}
	if (sscanf(line, "spawn %lf %255s %255s", &number, word, program) == 3) {
		spawn_both((int)number, word, program, &bare, &fenced);
		printf("%.0f %.0f\n", bare, fenced);
		return;
	}
	sscanf(line, "%15s %255s %lf %lf", verb, word, &number, &more);
	if (strcmp(verb, "listen") == 0)
		answer(command_listen(word));
	else if (strcmp(verb, "hold") == 0)
		answer(command_hold(word, (long)number, more));
	else if (strcmp(verb, "drop") == 0)
		answer(command_drop());
	else if (strcmp(verb, "time") == 0)
		answer(command_time(word, (long)number, more));
	else if (strcmp(verb, "files") == 0)
		answer(command_files(word, (long)number));
	else if (strcmp(verb, "churn") == 0)
		answer(command_churn(word, number, more));
	else if (strcmp(verb, "storm") == 0)
		answer(command_storm(word, (long)number, more));
	else {
		errno = EINVAL;
		die(line);
	}
}

int main(int argc, char **argv)
{
	char line[600];
	if (argc != 6)
		return fprintf(stderr, "usage: driver METHOD FIRST LAST PORT DESTINATIONS\n"), 2;
	while (method < METHODS && strcmp(argv[1], method_name[method]) != 0)
		method++;
	first = (uint16_t)atoi(argv[2]);
	last = (uint16_t)atoi(argv[3]);
	peer_port = (uint16_t)atoi(argv[4]);
	destinations = (uint32_t)atoi(argv[5]);
	if (method == METHODS || !first || last < first || !destinations) {
		errno = EINVAL;
		die(argv[1]);
	}
	scatter();
	while (fgets(line, sizeof line, stdin)) {
		obey(line);
		fflush(stdout);
	}
	return 0;
}
