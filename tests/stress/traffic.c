// SPDX-License-Identifier: MIT
// What a worker does with sockets: one random step after the other, each looked at from all sides.
//
// A socket with SO_REUSEADDR or SO_REUSEPORT is "shy": the kernel would let another of that kind
// have its port, so only the fence keeps them apart, as far as it sees. Such sockets are copied by
// dup and fork, and not by what goes past every hook.
#define _GNU_SOURCE 1
#include "traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define HELD_MAX 128
#define UNTOUCHED 4242

struct held {
	int fd; // -1: nothing
	bool tcp, listens, shy;
	bool bound;  // by the program
	bool shared; // another process may do to it what this one knows nothing of
};

struct page *page;
struct orders orders;
_Thread_local _Atomic(uint64_t) *watch;

static struct held table[HELD_MAX];
static unsigned held;

// ---- What is wrong ---------------------------------------------------------------------------

void finding(const char *format, ...)
{
	char line[300];
	va_list arguments;
	int length = snprintf(line, sizeof line, "worker %d: ", (int)getpid());
	va_start(arguments, format);
	length += vsnprintf(line + length, sizeof line - 60, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	// One write to a file opened for appending: lines of several workers do not mix.
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		_exit(3);
}

void count(enum count what)
{
	atomic_fetch_add_explicit(&page->count[what], 1, memory_order_relaxed);
}

void call_begin(int line)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	atomic_store(watch, ms << 16 | (uint64_t)line);
	errno = UNTOUCHED;
}

long call_end(int line, long result)
{
	int error = errno;
	atomic_store(watch, 0);
	if (result >= 0 && error != UNTOUCHED)
		finding("line %d: success, and errno is %s", line, strerrorname_np(error));
	errno = error;
	return result;
}

// Complains about an errno that is none of `legal`, which ends in 0. Returns false: it failed.
static bool failed(const char *call, const int *legal)
{
	int error = errno;
	for (; *legal; legal++)
		if (error == *legal)
			return false;
	finding("%s: %s", call, strerrorname_np(error));
	return false;
}

#define FAILED(call, ...) failed(call, (const int[]){__VA_ARGS__, 0})

// Looks at the port that a socket has now.
static void port_check(const char *call, int fd, bool must)
{
	struct sockaddr_in6 local;
	socklen_t length = sizeof local;
	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0) {
		finding("%s: getsockname: %s", call, strerrorname_np(errno));
		return;
	}
	unsigned port = ntohs(local.sin6_port); // at the same place in both families
	if ((must || port) && (port < orders.first || port > orders.last))
		finding("%s: port %u", call, port);
}

// Looks at the peer of a connected socket: it is not the socket itself.
static void peer_check(const char *call, int fd)
{
	struct sockaddr_in6 local, peer;
	socklen_t length = sizeof local, peer_length = sizeof peer;
	if (getsockname(fd, (struct sockaddr *)&local, &length) == 0 &&
		getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 &&
		length == peer_length && memcmp(&local, &peer, length) == 0)
		finding("%s: port %u is connected to itself", call, ntohs(local.sin6_port));
}

// ---- What is held ----------------------------------------------------------------------------

static void table_add(struct held one)
{
	if (one.fd >= 0 && held < HELD_MAX)
		table[held++] = one;
	else if (one.fd >= 0)
		CALL(close(one.fd));
}

static void table_remove(unsigned at)
{
	table[at] = table[--held];
}

static void table_remove_range(int first, int last)
{
	for (unsigned at = 0; at < held;) {
		if (table[at].fd >= first && table[at].fd <= last)
			table_remove(at);
		else
			at++;
	}
}

// Returns the place of a random one, or -1.
static int table_pick(uint64_t *seed)
{
	return held ? (int)below(seed, held) : -1;
}

void traffic_share(void)
{
	for (unsigned at = 0; at < held; at++)
		table[at].shared = true;
}

bool traffic_is_shy(void)
{
	for (unsigned at = 0; at < held; at++)
		if (table[at].shy)
			return true;
	return false;
}

int traffic_any(uint64_t *seed)
{
	int at = table_pick(seed);
	return at < 0 ? -1 : table[at].fd;
}

void traffic_adopt(void)
{
	for (int fd = FD_FIRST; fd < FD_FIRST + 2 * HELD_MAX; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			table_add((struct held){.fd = fd});
}

// ---- Addresses -------------------------------------------------------------------------------

enum family { IPV4, IPV6, MAPPED };

// Writes a loopback address with a port. Returns its length.
static socklen_t address_make(
	uint64_t *seed, enum family family, unsigned port, struct sockaddr_storage *address)
{
	struct sockaddr_in *in = (void *)address;
	struct sockaddr_in6 *in6 = (void *)address;
	uint32_t ipv4 = htonl(INADDR_LOOPBACK + below(seed, 3));
	memset(address, 0, sizeof *address);
	if (family == IPV4) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		in->sin_addr.s_addr = ipv4;
		return sizeof *in;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)port);
	in6->sin6_addr = in6addr_loopback;
	if (family == MAPPED) {
		in6->sin6_addr = (struct in6_addr){.s6_addr = {[10] = 255, 255}};
		memcpy(in6->sin6_addr.s6_addr + 12, &ipv4, sizeof ipv4);
	}
	return sizeof *in6;
}

// Makes a socket. Returns its fd, or -1 when there is no fd left.
static int socket_make(enum family family, int type)
{
	int fd = (int)CALL(socket(family == IPV4 ? AF_INET : AF_INET6, type, 0));
	if (fd < 0)
		FAILED("socket", EMFILE);
	return fd;
}

static int domain_of(int fd)
{
	int domain = -1;
	socklen_t size = sizeof domain;
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	return domain;
}

// Sets an option to 1.
static void option_set(int fd, int level, int name)
{
	const int on = 1;
	if (setsockopt(fd, level, name, &on, sizeof on) < 0)
		finding("setsockopt %d %d: %s", level, name, strerrorname_np(errno));
}

// Lets the kernel share the socket's port, if that is ordered. Returns true if it does.
static bool reuse_set(uint64_t *seed, int fd)
{
	if (!orders.reuse || chance(seed, 60))
		return false;
	option_set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (chance(seed, 50))
		option_set(fd, SOL_SOCKET, SO_REUSEPORT);
	return true;
}

// Makes close send a reset, so that no TIME_WAIT stays.
static void linger_set(uint64_t *seed, int fd)
{
	const struct linger reset = {.l_onoff = 1};
	if (chance(seed, 70))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

// ---- TCP -------------------------------------------------------------------------------------

// Binds a socket to a port of the fence's choice, and sometimes to one of the program's. Returns
// true if it has a port.
static bool bind_any(uint64_t *seed, int fd, enum family family, bool shy)
{
	struct sockaddr_storage address;
	unsigned port = 0;
	if (!shy && chance(seed, 10))
		port = orders.first + below(seed, orders.last - orders.first + 1);
	socklen_t length = address_make(seed, family, port, &address);
	if (CALL(bind(fd, (struct sockaddr *)&address, length)) < 0) {
		count(REFUSED);
		return FAILED("bind", EADDRINUSE);
	}
	count(BINDS);
	port_check("bind", fd, true);
	return true;
}

// Sets the address that a connect will leave from, and leaves the port to that.
static void bind_address_only(uint64_t *seed, int fd, enum family family)
{
	struct sockaddr_storage address;
	socklen_t length = address_make(seed, family, 0, &address);
	option_set(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT);
	if (CALL(bind(fd, (struct sockaddr *)&address, length)) < 0)
		finding("bind without a port: %s", strerrorname_np(errno));
}

// Connects a TCP socket. Returns true if it is connected or about to be.
static bool tcp_connect(
	uint64_t *seed, int fd, enum family family, unsigned port, bool blocks, bool fresh)
{
	struct sockaddr_storage address;
	socklen_t length = address_make(seed, family, port, &address);
	long result;
	if (fresh && chance(seed, 5))
		result = CALL(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
			(struct sockaddr *)&address, length));
	else
		result = CALL(connect(fd, (struct sockaddr *)&address, length));
	if (result >= 0 || (!blocks && errno == EINPROGRESS)) {
		count(CONNECTS);
		port_check("connect", fd, result >= 0);
		return true;
	}
	if (errno == EADDRNOTAVAIL)
		count(REFUSED);
	if (fresh)
		return FAILED("connect", EADDRNOTAVAIL, ECONNREFUSED, ECONNRESET);
	return FAILED("connect again", EADDRNOTAVAIL, ECONNREFUSED, ECONNRESET, EISCONN, EALREADY,
		ECONNABORTED, EPIPE, EINVAL);
}

static unsigned tcp_port(uint64_t *seed, bool blocks)
{
	unsigned draw = below(seed, 100);
	if (draw < 75)
		return PORT_SINK + draw % 2;
	if (draw < 85 || blocks)
		return PORT_CLOSED;
	if (draw < 90)
		return PORT_STUCK;
	unsigned port = atomic_load(&page->listener[below(seed, LISTENERS)]);
	return port ? port : PORT_CLOSED;
}

// Connects, in IPv4, a socket that did before.
static void tcp_again(uint64_t *seed, const struct held *one)
{
	bool done = tcp_connect(seed, one->fd, IPV4, tcp_port(seed, false), false, false);
	if (done && !one->shared && !one->bound)
		peer_check("connect again", one->fd);
}

// Opens a TCP connection. Returns it; fd -1 if there is none.
static struct held tcp_open(uint64_t *seed)
{
	enum family family = below(seed, 3);
	bool blocks = chance(seed, 50);
	struct held one = {.tcp = true};
	one.fd = socket_make(family, SOCK_STREAM | (blocks ? 0 : SOCK_NONBLOCK));
	if (one.fd < 0)
		return one;
	linger_set(seed, one.fd);
	if (chance(seed, 8))
		one.bound = bind_any(seed, one.fd, family, false);
	else if (chance(seed, 5))
		bind_address_only(seed, one.fd, family);
	// A socket bound to 127.0.0.2 can connect to 127.0.0.1.
	if (tcp_connect(seed, one.fd, family, tcp_port(seed, blocks), blocks, !one.bound) &&
		!one.bound)
		peer_check("connect", one.fd);
	return one;
}

// Opens a server, bound or not. Returns it; fd -1 if there is none.
static struct held tcp_listen(uint64_t *seed)
{
	struct sockaddr_in6 local;
	socklen_t length = sizeof local;
	enum family family = below(seed, 2);
	struct held one = {.tcp = true, .listens = true};
	one.fd = socket_make(family, SOCK_STREAM | SOCK_NONBLOCK);
	if (one.fd < 0)
		return one;
	one.shy = reuse_set(seed, one.fd);
	if (chance(seed, 60))
		bind_any(seed, one.fd, family, one.shy);
	if (CALL(listen(one.fd, 4)) < 0) {
		count(REFUSED);
		FAILED("listen", EADDRINUSE);
		return one;
	}
	count(BINDS);
	port_check("listen", one.fd, true);
	if (getsockname(one.fd, (struct sockaddr *)&local, &length) == 0)
		atomic_store(
			&page->listener[below(seed, LISTENERS)], (uint16_t)ntohs(local.sin6_port));
	return one;
}

// ---- UDP -------------------------------------------------------------------------------------

// Sends through an unbound socket in one of the ways there are. Returns as they do.
static long udp_send(uint64_t *seed, int fd, struct sockaddr_storage *address, socklen_t length)
{
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
		.msg_name = address, .msg_namelen = length, .msg_iov = &data, .msg_iovlen = 1};
	struct mmsghdr messages[3] = {{.msg_hdr = message}, {.msg_hdr = message}};
	messages[2].msg_hdr = message;
	switch (below(seed, 4)) {
	case 0:
		return CALL(sendto(fd, "x", 1, 0, (struct sockaddr *)address, length));
	case 1:
		return CALL(sendmsg(fd, &message, 0));
	case 2:
		return CALL(sendmmsg(fd, messages, 3, 0));
	default:
		return CALL(connect(fd, (struct sockaddr *)address, length));
	}
}

// Opens a UDP socket with a port. Returns it; fd -1 if there is none.
static struct held udp_open(uint64_t *seed)
{
	struct sockaddr_storage address;
	enum family family = below(seed, 3);
	struct held one = {.fd = socket_make(family, SOCK_DGRAM)};
	if (one.fd < 0)
		return one;
	one.shy = reuse_set(seed, one.fd);
	if (chance(seed, 30)) {
		bind_any(seed, one.fd, family, one.shy);
		return one;
	}
	socklen_t length = address_make(seed, family, PORT_SINK + below(seed, 2), &address);
	if (udp_send(seed, one.fd, &address, length) < 0) {
		count(REFUSED);
		FAILED("UDP send", EAGAIN);
		return one;
	}
	count(SENDS);
	port_check("UDP send", one.fd, true);
	return one;
}

// ---- Copies ----------------------------------------------------------------------------------

// Copies one that is held, perhaps over another.
static void copy_make(uint64_t *seed)
{
	int from = table_pick(seed), to = table_pick(seed), copy = -1;
	if (from < 0)
		return;
	struct held one = table[from];
	switch (below(seed, 6)) {
	case 0:
		copy = (int)CALL(dup(one.fd));
		break;
	case 1:
		copy = (int)CALL(fcntl(one.fd, F_DUPFD, FD_FIRST + (int)below(seed, 50)));
		break;
	case 2:
		copy = (int)CALL(fcntl(one.fd, F_DUPFD_CLOEXEC, FD_FIRST));
		break;
	case 3:
		copy = one.shy ? (int)CALL(dup(one.fd)) : (int)syscall(SYS_dup, one.fd);
		break;
	default:
		if (to == from || chance(seed, 50))
			copy = (int)CALL(dup2(one.fd, table[to].fd));
		else
			copy = (int)CALL(dup3(one.fd, table[to].fd, O_CLOEXEC));
		if (copy != table[to].fd)
			finding("dup over %d: %d, %s", table[to].fd, copy, strerrorname_np(errno));
		table[to] = one;
		table[to].fd = copy;
		count(COPIES);
		return;
	}
	if (copy < 0) {
		FAILED("dup", EMFILE, EINVAL);
		return;
	}
	count(COPIES);
	one.fd = copy;
	table_add(one);
}

// Closes one that is held.
static void one_close(uint64_t *seed, unsigned at)
{
	int fd = table[at].fd;
	bool plain = table[at].tcp && domain_of(fd) == AF_INET;
	FILE *stream;
	table_remove(at);
	switch (below(seed, 10)) {
	case 0:
		// Past the fence, which then takes what comes to this number without socket() for
		// what was here before: let that do no harm.
		if (plain)
			syscall(SYS_close, fd);
		else
			CALL(close(fd));
		return;
	case 1:
		stream = fdopen(fd, "r+");
		call_begin(__LINE__);
		if (!stream || fclose(stream) != 0)
			finding("fclose: %s", strerrorname_np(errno));
		atomic_store(watch, 0);
		return;
	case 2:
		shutdown(fd, SHUT_RDWR);
		break;
	default:
		break;
	}
	if (CALL(close(fd)) < 0)
		finding("close: %s", strerrorname_np(errno));
}

static void some_close(uint64_t *seed)
{
	int at = table_pick(seed);
	if (at < 0)
		return;
	if (!chance(seed, 10)) {
		one_close(seed, (unsigned)at);
		return;
	}
	int first = table[at].fd, last = first + (int)below(seed, 6);
	if (CALL(close_range((unsigned)first, (unsigned)last, 0)) < 0)
		finding("close_range: %s", strerrorname_np(errno));
	table_remove_range(first, last);
}

void traffic_close_all(uint64_t *seed)
{
	if (chance(seed, 30)) {
		call_begin(__LINE__);
		closefrom(FD_FIRST);
		atomic_store(watch, 0);
		held = 0;
	}
	while (held)
		one_close(seed, held - 1);
}

// Sends a copy of one that is held to whoever reads the mail.
static void mail_send(uint64_t *seed)
{
	int at = table_pick(seed);
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	if (at < 0 || table[at].shy)
		return;
	memcpy(CMSG_DATA(&control.header), &table[at].fd, sizeof(int));
	if (CALL(sendmsg(FD_MAIL_IN, &message, MSG_DONTWAIT)) < 0) {
		FAILED("sendmsg of an fd", EAGAIN, ETOOMANYREFS);
		return;
	}
	count(PASSED);
	table[at].shared = true;
	if (chance(seed, 70))
		one_close(seed, (unsigned)at);
}

static void mail_receive(void)
{
	char byte;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = 0}};
	struct msghdr message = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	if (recvmsg(FD_MAIL_OUT, &message, MSG_DONTWAIT) < 0 || !CMSG_FIRSTHDR(&message))
		return;
	struct held one = {.fd = -1};
	memcpy(&one.fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	table_add(one);
}

// ---- Steps -----------------------------------------------------------------------------------

// Does something to a socket that it has done before.
static void one_disturb(uint64_t *seed)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int at = table_pick(seed);
	if (at < 0 || !table[at].tcp)
		return;
	int fd = table[at].fd, more;
	bool again = domain_of(fd) == AF_INET && (fcntl(fd, F_GETFL) & O_NONBLOCK);
	if (table[at].listens) {
		more = accept4(fd, NULL, NULL, chance(seed, 50) ? SOCK_NONBLOCK : 0);
		table_add((struct held){.fd = more});
		return;
	}
	switch (below(seed, 4)) {
	case 0:
		if (CALL(connect(fd, &none, sizeof none)) < 0)
			finding("connect to AF_UNSPEC: %s", strerrorname_np(errno));
		// The same socket, to somewhere else.
		if (again && chance(seed, 50))
			tcp_again(seed, &table[at]);
		return;
	case 1:
		if (again)
			tcp_again(seed, &table[at]);
		return;
	case 2:
		shutdown(fd, chance(seed, 50) ? SHUT_WR : SHUT_RDWR);
		return;
	default:
		send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

void traffic_step(uint64_t *seed)
{
	unsigned draw = below(seed, 100);
	if (held >= orders.most)
		draw = 70;
	if (draw < 30)
		table_add(tcp_open(seed));
	else if (draw < 42)
		table_add(udp_open(seed));
	else if (draw < 47)
		table_add(tcp_listen(seed));
	else if (draw < 56)
		copy_make(seed);
	else if (draw < 60)
		mail_send(seed);
	else if (draw < 64)
		mail_receive();
	else if (draw < 70)
		one_disturb(seed);
	else
		some_close(seed);
}

// ---- Threads ---------------------------------------------------------------------------------

// Sockets that one thread connects and another closes meanwhile.
static _Atomic(int) exposed[THREADS];

struct thread {
	pthread_t id;
	uint64_t seed;
	_Atomic(uint64_t) *watch;
};

// Connects, and whoever takes the fd out of its place closes it.
static void expose(struct thread *self)
{
	struct sockaddr_storage address;
	_Atomic(int) *place = &exposed[below(&self->seed, THREADS)];
	int fd = socket_make(IPV4, SOCK_STREAM | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	linger_set(&self->seed, fd);
	int before = atomic_exchange(place, fd);
	if (before)
		CALL(close(before));
	// The fd may be gone or another's by now: what this says means nothing.
	socklen_t length = address_make(&self->seed, IPV4, PORT_RACED, &address);
	CALL(connect(fd, (struct sockaddr *)&address, length));
	int now = atomic_exchange(place, 0);
	if (now)
		CALL(close(now));
}

static void *thread_run(void *arg)
{
	struct thread *self = arg;
	watch = self->watch;
	bool exposes = self->seed & 1;
	for (unsigned turns = 2 + below(&self->seed, 20); turns; turns--) {
		if (exposes) {
			expose(self);
			continue;
		}
		struct held one =
			chance(&self->seed, 70) ? tcp_open(&self->seed) : udp_open(&self->seed);
		if (one.fd < 0)
			continue;
		int copy = chance(&self->seed, 30) ? (int)CALL(dup(one.fd)) : -1;
		CALL(close(one.fd));
		if (copy >= 0)
			CALL(close(copy));
	}
	return NULL;
}

void traffic_threads(uint64_t *seed, struct slot *slot)
{
	struct thread thread[THREADS];
	unsigned threads = 2 + below(seed, THREADS - 1);
	uint64_t kind = luck(seed) & 1; // all expose, or none: else another's socket might be hit
	for (unsigned i = 0; i < threads; i++) {
		thread[i].seed = luck(seed) << 1 | kind;
		thread[i].watch = &slot->call[1 + i];
		if (pthread_create(&thread[i].id, NULL, thread_run, &thread[i]) != 0)
			finding("pthread_create");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i].id, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		int left = atomic_exchange(&exposed[i], 0);
		if (left)
			CALL(close(left));
	}
}
