// SPDX-License-Identifier: MIT
// The shim on a kernel of our own (kernel.h): the input is a program's calls, what other processes
// do, and what the network answers. After every call
//
//	no port is outside the pool, but for those that came past the hooks;
//	the program gets what the kernel said, or the one errno that says "exhausted", and that only
//	if there is no port that nobody has;
//	whatever has a port of the pool is known to have it, as long as nothing happens past the
//	hooks;
//
// and after the last close nothing is left: at once if nothing happened past the hooks, after a
// reap in any case.
#include "kernel.h"

#include "assign.h"
#include "fdmap.h"
#include "fence.h"
#include "lifetime.h"
#include "option.h"
#include "real.h"

#include "random.h"

#include <portfence/claim.h>
#include <portfence/reap.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PORTS "20000-20003,20006,20010-20011"
#define STEPS_MAX 64
#define FDS 12 // that a program uses

// Descriptors of the shim's own.
enum { FD_NETLINK = 1000, FD_RANGE, FD_RESERVED };

#define NOT_CALLED 12345

int LLVMFuzzerInitialize(int *argc, char ***argv);
uint64_t __wrap_pf_now_ms(void);

static struct input *script;
static bool faulty; // something happened past the hooks
static bool dumped; // a reap may have marked ports that are no leases
static bool administered;
static uint8_t asked; // the family and protocol of the dump in hand
static uint8_t asked_protocol;
static bool answered;
static uint64_t seed;

// ---- What the shim asks of the system ----------------------------------------------------------

uint64_t __wrap_pf_now_ms(void)
{
	return kernel.now;
}

void pf_random_use(void *page)
{
	(void)page;
}

uint64_t pf_random(void)
{
	return seed = seed * 6364136223846793005u + 1442695040888963407u;
}

static long option_get(int fd, int level, int name, void *value, socklen_t *size)
{
	const struct socket *socket = kernel_socket_of(fd);
	int result = 0;
	if (level == SOL_SOCKET && name == 71) { // SO_NETNS_COOKIE
		memcpy(value, &(uint64_t){1}, sizeof(uint64_t));
		return 0;
	}
	if (!socket)
		return -EBADF;
	if (level == SOL_IP && name == IP_LOCAL_PORT_RANGE)
		result = socket->high << 16 | socket->low;
	else if (level == SOL_IP && name == IP_BIND_ADDRESS_NO_PORT)
		result = socket->deferred;
	else if (level == SOL_SOCKET && name == SO_REUSEADDR)
		result = socket->reuse;
	else if (level == SOL_SOCKET && name == SO_DOMAIN)
		result = socket->domain;
	else if (level == SOL_SOCKET && name == SO_TYPE)
		result = socket->type;
	else if (level == SOL_SOCKET && name == SO_PROTOCOL)
		result = socket->protocol;
	else if (level == IPPROTO_TCP && name == TCP_INFO && kernel_is_tcp(socket)) {
		*(uint8_t *)value = (uint8_t)socket->state;
		return 0;
	} else
		return -ENOPROTOOPT;
	memcpy(value, &result, sizeof result);
	*size = sizeof result;
	return 0;
}

static long option_set(int fd, int level, int name, const void *value)
{
	struct socket *socket = kernel_socket_of(fd);
	uint32_t number;
	if (!socket)
		return -EBADF;
	if (kernel.no_options)
		return -EPERM;
	memcpy(&number, value, sizeof number);
	if (level == SOL_SOCKET && name == SO_REUSEADDR)
		socket->reuse = number;
	else if (level == SOL_IP && name == IP_BIND_ADDRESS_NO_PORT)
		socket->deferred = number;
	else if (level == SOL_IP && name == IP_LOCAL_PORT_RANGE) {
		require((number & 0xffff) <= number >> 16);
		socket->low = (uint16_t)number;
		socket->high = (uint16_t)(number >> 16);
	} else
		return -ENOPROTOOPT;
	return 0;
}

static long name_get(int fd, void *address, socklen_t *size)
{
	const struct socket *socket = kernel_socket_of(fd);
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (!socket)
		return -EBADF;
	bool ipv6 = socket->domain == AF_INET6;
	in.sin_port = in6.sin6_port = htons(socket->shown);
	if (socket->placed || socket->peer.port) {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in6.sin6_addr = in6addr_loopback;
	}
	*size = ipv6 ? sizeof in6 : sizeof in;
	memcpy(address, ipv6 ? (void *)&in6 : (void *)&in, *size);
	return 0;
}

// The text of a sysctl. Returns its length.
static long sysctl_read(int fd, char *text, size_t size)
{
	if (answered)
		return 0;
	answered = true;
	if (fd == FD_RANGE)
		return snprintf(text, size, "%u\t%u\n", kernel.low, kernel.high);
	if (!kernel.reserved)
		return snprintf(text, size, "\n");
	return snprintf(text, size, "80,%u\n", kernel.reserved);
}

static long file_open(const char *path)
{
	answered = false;
	if (strstr(path, "ip_local_port_range"))
		return FD_RANGE;
	return strstr(path, "ip_local_reserved_ports") ? FD_RESERVED : -ENOENT;
}

// Adds what sock_diag says of a socket, or of one that rests.
static unsigned char *dump_add(
	unsigned char *at, int domain, int state, uint16_t port, const struct pf_endpoint *peer)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_msg message;
	} reply = {.header = {.nlmsg_len = sizeof reply, .nlmsg_type = SOCK_DIAG_BY_FAMILY},
		.message = {.idiag_family = (uint8_t)domain, .idiag_state = (uint8_t)state}};
	reply.message.id.idiag_sport = htons(port);
	reply.message.id.idiag_dport = htons(peer->port);
	bool ipv6 = domain == AF_INET6;
	memcpy(reply.message.id.idiag_dst, peer->address + (ipv6 ? 0 : 12), ipv6 ? 16 : 4);
	memcpy(at, &reply, sizeof reply);
	return at + sizeof reply;
}

// A whole dump in one datagram. Returns its size.
static long dump_read(unsigned char *buffer)
{
	const struct nlmsghdr done = {.nlmsg_len = sizeof done, .nlmsg_type = NLMSG_DONE};
	unsigned char *at = buffer;
	bool tcp = asked_protocol == IPPROTO_TCP;
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		const struct socket *socket = &kernel.socket[i];
		if (socket->refs && socket->domain == asked && kernel_is_tcp(socket) == tcp &&
			socket->port)
			at = dump_add(at, asked, socket->state, socket->port, &socket->peer);
	}
	for (int i = 0; tcp && i < KERNEL_RESTS; i++)
		if (kernel.rest[i].until > kernel.now && kernel.rest[i].domain == asked)
			at = dump_add(at, asked, TCP_TIME_WAIT, kernel.rest[i].port,
				&kernel.rest[i].peer);
	memcpy(at, &done, sizeof done);
	return at + sizeof done - buffer;
}

static long dump_ask(const unsigned char *request)
{
	const struct inet_diag_req_v2 *what = (const void *)(request + NLMSG_HDRLEN);
	dumped = true;
	asked = what->sdiag_family;
	asked_protocol = what->sdiag_protocol;
	return 1;
}

// Everything that the shim asks of the system itself goes through here.
long syscall(long number, ...)
{
	va_list list;
	va_start(list, number);
	long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
	long d = va_arg(list, long), e = va_arg(list, long);
	va_end(list);
	long result = 0;
	switch (number) {
	case SYS_getsockopt:
		result = option_get((int)a, (int)b, (int)c, (void *)d, (socklen_t *)e);
		break;
	case SYS_setsockopt:
		trace("  setsockopt(%ld, %ld, %#x)\n", a, c, *(unsigned *)d);
		result = option_set((int)a, (int)b, (int)c, (const void *)d);
		break;
	case SYS_getsockname:
		result = name_get((int)a, (void *)b, (socklen_t *)c);
		break;
	case SYS_openat:
		result = file_open((const char *)b);
		break;
	case SYS_read:
		result = sysctl_read((int)a, (char *)b, (size_t)c);
		break;
	case SYS_socket:
		result = FD_NETLINK;
		break;
	case SYS_sendto:
		result = dump_ask((const unsigned char *)b);
		break;
	case SYS_recvfrom:
		result = dump_read((unsigned char *)b);
		break;
	case SYS_nanosleep:
		kernel.now++;
		break;
	case SYS_statx:
		result = -ENOENT;
		break;
	case SYS_rt_sigprocmask: // whatever is asked, it can be read
	case SYS_rt_sigpending:
	case SYS_close:
	case SYS_write:
		break;
	case SYS_getpid:
		result = 1;
		break;
	default:
		fprintf(stderr, "system call %ld\n", number);
		abort();
	}
	errno = result < 0 ? (int)-result : errno;
	return result < 0 ? -1 : result;
}

int pf_real_socket(int domain, int type, int protocol)
{
	return kernel_socket(domain, type, protocol);
}

int pf_real_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	return kernel_told("connect", fd, kernel_connect(fd, address, length));
}

int pf_real_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	trace("  to %u\n", ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port));
	return kernel_told("bind", fd, kernel_bind(fd, address, length));
}

int pf_real_listen(int fd, int backlog)
{
	(void)backlog;
	return kernel_told("listen", fd, kernel_listen(fd));
}

ssize_t pf_real_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length)
{
	(void)data;
	(void)size;
	return kernel_told("send", fd, kernel_send(fd, address, length, flags));
}

ssize_t pf_real_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return kernel_told(
		"send", fd, kernel_send(fd, message->msg_name, message->msg_namelen, flags));
}

int pf_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	(void)count;
	return (int)pf_real_sendmsg(fd, &messages->msg_hdr, flags);
}

int pf_real_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	(void)length;
	return (int)option_set(fd, level, name, value);
}

int pf_real_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	return (int)option_get(fd, level, name, value, length);
}

int pf_real_close(int fd)
{
	return kernel_told("close", fd, kernel_close(fd));
}

int pf_real_close_range(unsigned first, unsigned last, int flags)
{
	return kernel_close_range(first, last, flags);
}

int pf_real_fclose(FILE *stream)
{
	(void)stream;
	abort();
}

int pf_real_dup(int fd)
{
	return kernel_dup_from(fd, 0);
}

int pf_real_dup_to(int fd, int copy, int flags)
{
	return kernel_dup_to(fd, copy, flags);
}

int pf_real_fcntl(int fd, int command, long argument)
{
	(void)command;
	int result = kernel_dup_from(fd, (int)argument);
	errno = result < 0 ? -result : errno;
	return result < 0 ? -1 : result;
}

// The other side of a fork has all the sockets, too, for as long as it lives.
pid_t pf_real_fork(void)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		if (kernel.socket[i].refs && !kernel.copied[i]) {
			kernel.copied[i] = true;
			kernel.socket[i].refs++;
		}
	return 42;
}

void *pf_real_vfork(void)
{
	abort();
}

int pf_real_setns(int fd, int type)
{
	(void)fd;
	(void)type;
	abort();
}

int pf_real_unshare(int flags)
{
	(void)flags;
	abort();
}

// ---- What must hold ----------------------------------------------------------------------------

static struct pf_pool *pool(void)
{
	return &pf_fence_attached()->pool[0];
}

static bool is_in_pool(uint16_t port)
{
	return pf_ranges_index(&pool()->ranges, port) >= 0;
}

// Returns true if some stripe for TCP has the port.
static bool is_used_by_tcp(uint16_t port)
{
	if (pf_pool_is_used(pool(), PF_STRIPE_WHOLE, port))
		return true;
	for (uint32_t stripe = PF_STRIPE_TCP; stripe < pool()->stripes; stripe++)
		if (pf_pool_is_used(pool(), stripe, port))
			return true;
	return false;
}

// Returns true if the stripe where the socket's port belongs has it.
static bool is_used(const struct socket *socket)
{
	if (!kernel_is_tcp(socket))
		return pf_pool_is_used(pool(), PF_STRIPE_UDP, socket->port);
	if (!socket->peer.port)
		return is_used_by_tcp(socket->port);
	uint32_t stripe = pf_pool_stripe(pool(), pf_endpoint_hash(&socket->peer));
	return pf_pool_is_used(pool(), PF_STRIPE_WHOLE, socket->port) ||
		pf_pool_is_used(pool(), stripe, socket->port);
}

static uint32_t stripe_of(const struct socket *socket)
{
	return pf_pool_stripe(pool(), pf_endpoint_hash(&socket->peer));
}

// Returns true if two TCP sockets share a port and the bit for it: their destinations have one
// stripe, or one is bound only, for a destination that refused it. Whoever ends first clears the
// bit; that is known, and costs another socket a refusal.
static bool is_shared(const struct socket *a, const struct socket *b)
{
	if (!b->refs || !kernel_is_tcp(a) || !kernel_is_tcp(b) || a->port != b->port)
		return false;
	return !a->peer.port || !b->peer.port || stripe_of(a) == stripe_of(b);
}

// Returns true if two fds have one lease, and are not copies: the kernel found a port whose
// connection had failed unseen.
static bool is_one_lease(int a, int b)
{
	uint64_t ticket;
	struct pf_fd one = pf_fdmap_get(a, &ticket), other = pf_fdmap_get(b, &ticket);
	return kernel.fd[a] != kernel.fd[b] && (one.flags & other.flags & PF_FD_LEASE) &&
		one.port == other.port && one.stripe == other.stripe;
}

static void shares_check(void)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		for (int other = 0; kernel.socket[i].refs && kernel.socket[i].port && other < i;
			other++)
			faulty |= is_shared(&kernel.socket[i], &kernel.socket[other]);
	for (int fd = 0; fd < KERNEL_FDS; fd++)
		for (int other = 0; kernel.fd[fd] && other < fd; other++)
			faulty |= is_one_lease(fd, other);
}

static void world_check(void)
{
	shares_check();
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		const struct socket *socket = &kernel.socket[i];
		if (!socket->refs || !socket->port || socket->wild)
			continue;
		if (!is_in_pool(socket->port) || (!faulty && !is_used(socket)))
			trace("socket %d, port %d\n", i, socket->port);
		require(is_in_pool(socket->port));
		require(faulty || is_used(socket));
	}
}

// Returns true if there is a port of the pool that no socket of the protocol has, `avoid` aside.
static bool is_some_free(bool tcp, uint16_t avoid)
{
	for (uint32_t index = 0; index < pool()->ranges.ports; index++) {
		uint16_t port = pf_ranges_port(&pool()->ranges, index);
		bool taken = port == avoid;
		for (int i = 0; i < KERNEL_SOCKETS; i++) {
			const struct socket *socket = &kernel.socket[i];
			taken |= socket->refs && socket->port == port &&
				kernel_is_tcp(socket) == tcp;
		}
		for (int i = 0; tcp && i < KERNEL_RESTS; i++)
			taken |= kernel.rest[i].until > kernel.now && kernel.rest[i].port == port;
		if (!taken)
			return true;
	}
	return false;
}

static uint32_t used_count(void)
{
	for (uint32_t stripe = 0; stripe < pool()->stripes; stripe++)
		if (pf_pool_word(pool(), stripe, 0)->used)
			trace("  stripe %u has %#llx\n", stripe,
				(unsigned long long)pf_pool_word(pool(), stripe, 0)->used);
	return pf_pool_usage(pool()).used;
}

// ---- The program's calls -----------------------------------------------------------------------

// An address of this host, out of the input, of the family that fits the socket most of the time.
static socklen_t address_make(
	const struct socket *socket, uint16_t port, struct sockaddr_storage *address)
{
	static const uint8_t hosts[4][4] = {
		{127, 0, 0, 1}, {10, 0, 0, 1}, {0, 0, 0, 0}, {10, 0, 0, 2}};
	uint8_t which = input_byte(script);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&in.sin_addr, hosts[which & 3], 4);
	memcpy((uint8_t *)&in6.sin6_addr + 12, hosts[which & 3], 4);
	if (which & 4)
		memset((uint8_t *)&in6.sin6_addr + 10, 0xff, 2);
	memset(address, 0, sizeof *address);
	if ((socket && socket->domain == AF_INET6) != (which >= 250)) {
		memcpy(address, &in6, sizeof in6);
		return sizeof in6;
	}
	memcpy(address, &in, sizeof in);
	return sizeof in;
}

// A port to connect to: a server's, or one of the pool.
static uint16_t port_of_peer(void)
{
	static const uint16_t ports[] = {80, 81, 443, 20000, 20006, 20011, 9, 53};
	return ports[input_byte(script) % 8];
}

static int call_connect_or_send(
	int fd, uint8_t how, const struct sockaddr *address, socklen_t length)
{
	struct iovec data = {"x", 1};
	struct mmsghdr message = {.msg_hdr = {.msg_name = (void *)(uintptr_t)address,
					  .msg_namelen = length,
					  .msg_iov = &data,
					  .msg_iovlen = 1}};
	int flags = how & 4 ? MSG_FASTOPEN : 0;
	kernel.last = NOT_CALLED;
	switch (how & 3) {
	case 1:
		return (int)pf_assign_sendto(fd, "x", 1, flags, address, length);
	case 2:
		return (int)pf_assign_sendmsg(fd, &message.msg_hdr, flags);
	case 3:
		return pf_assign_sendmmsg(fd, &message, 1, flags);
	default:
		return pf_assign_connect(fd, address, length);
	}
}

// Fails unless `result` is the kernel's, or says that there is no port. Returns true if it does,
// and wrongly so.
static bool is_wrong(int result, int exhausted, bool tcp, uint16_t avoid)
{
	require(result == kernel.last || result == -exhausted);
	return result == -exhausted && !kernel.refused_bound && is_some_free(tcp, avoid);
}

// Returns true if the fd is known to have a port. Where UDP has lost it, past the hooks, a send is
// left to the kernel.
static bool is_known_bound(int fd, bool sends)
{
	uint64_t ticket;
	struct socket *socket = kernel_socket_of(fd);
	uint16_t flags = pf_fdmap_get(fd, &ticket).flags;
	// A port that may be lost is looked for anew.
	if ((flags & PF_FD_LATE) && socket && socket->state == TCP_CLOSE)
		return false;
	if (!(flags & PF_FD_BOUND) || !socket || socket->port)
		return flags & PF_FD_BOUND;
	socket->wild |= !kernel_is_tcp(socket);
	return sends && !kernel_is_tcp(socket);
}

static bool is_copied(int fd)
{
	uint64_t ticket;
	return pf_fdmap_get(fd, &ticket).flags & PF_FD_COPIED;
}

// A call that finds nothing although there is something may do so twice: what is remembered, and
// what a reap costs, keeps it from looking again for a while.
#define PATIENCE 3

// A connect, or a send, to a server.
static void step_connect(int fd, uint8_t how)
{
	struct socket *socket = kernel_socket_of(fd);
	struct sockaddr_storage address;
	struct pf_endpoint peer;
	socklen_t length = address_make(socket, port_of_peer(), &address);
	kernel.outcome = input_byte(script) % 8;
	require(pf_endpoint_read((struct sockaddr *)&address, length, &peer) == 0);
	if (!socket) { // closed past the hooks: a full pool may be noticed before
		require(call_connect_or_send(fd, how, (struct sockaddr *)&address, length) < 0);
		return;
	}
	bool tcp = kernel_is_tcp(socket), fresh = !socket->port;
	bool known = is_known_bound(fd, how & 3);
	kernel.refused_bound = false;
	for (int tries = 1;; tries++, kernel.now += 200) {
		int result = call_connect_or_send(fd, how, (struct sockaddr *)&address, length);
		if (!is_wrong(result, tcp ? EADDRNOTAVAIL : EAGAIN, tcp, peer.port) || known)
			break;
		require(tries < PATIENCE);
	}
	// A connection from a port that another connect left behind stays in that one's stripe, if
	// it is made by one copy of several.
	faulty |= kernel.refused_bound || (tcp && !fresh && is_copied(fd));
	// A socket that connects to its own port has itself as peer.
	if (fresh && !known && !administered && socket->peer.port && pf_endpoint_is_loopback(&peer))
		require(socket->port != peer.port);
}

static void step_disconnect(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	kernel.last = NOT_CALLED;
	// What one copy dissolves, another is still known to be connected by.
	faulty |= is_copied(fd);
	require(pf_assign_connect(fd, &none, sizeof none) == kernel.last);
}

static void step_bind(int fd, uint16_t port)
{
	struct socket *socket = kernel_socket_of(fd);
	struct sockaddr_storage address;
	socklen_t length = address_make(socket, port, &address);
	kernel.last = NOT_CALLED;
	bool kernels = port || is_known_bound(fd, false);
	int result = pf_assign_bind(fd, (struct sockaddr *)&address, length);
	if (!socket) {
		require(result < 0);
		return;
	}
	bool tcp = kernel_is_tcp(socket);
	if (kernels)
		require(result == kernel.last);
	for (int tries = 1; !kernels && is_wrong(result, EADDRINUSE, tcp, 0); tries++) {
		require(tries < PATIENCE);
		kernel.now += 200;
		result = pf_assign_bind(fd, (struct sockaddr *)&address, length);
	}
	if (port && result == 0)
		socket->wild = true;
}

static void step_listen(int fd)
{
	kernel.last = NOT_CALLED;
	struct socket *socket = kernel_socket_of(fd);
	bool kernels = is_known_bound(fd, false);
	int result = pf_assign_listen(fd, 5);
	if (!socket) {
		require(result < 0);
		return;
	}
	// That it has a port, which came past the hooks, shows only when another is tried.
	bool unseen = !kernels && socket->port && result < 0;
	if (kernels || unseen)
		require(result == kernel.last || (unseen && result == -EADDRINUSE));
	for (int tries = 1; !kernels && !unseen && is_wrong(result, EADDRINUSE, true, 0); tries++) {
		require(tries < PATIENCE);
		kernel.now += 200;
		result = pf_assign_listen(fd, 5);
	}
}

static void step_copy(int fd, uint8_t how)
{
	int other = input_byte(script) % FDS;
	bool open = kernel_socket_of(fd);
	// Which of them is closed last is known only of copies that are younger than the lease.
	faulty |= open && kernel_is_inet(kernel_socket_of(fd)) && !kernel_socket_of(fd)->port;
	switch (how % 4) {
	case 0:
		require((pf_lifetime_dup(fd) >= 0) <= open);
		break;
	case 1:
		require((pf_lifetime_dup_from(fd, 0, other) >= 0) <= open);
		break;
	case 2:
		require((pf_lifetime_dup_to(fd, other, -1) == other) == open);
		break;
	default:
		require((pf_lifetime_dup_to(fd, other, 0) == other) == (open && fd != other));
	}
}

static void step_socket(uint8_t how)
{
	static const int domains[] = {AF_INET, AF_INET, AF_INET6, AF_UNIX};
	int fd = pf_assign_socket(domains[how & 3], how & 4 ? SOCK_DGRAM : SOCK_STREAM, 0);
	require(fd < 0 || kernel_socket_of(fd));
}

// The program sets an option that the shim uses, too, and is shown what it set.
static void step_option(int fd, uint8_t how)
{
	static const int levels[] = {SOL_SOCKET, SOL_IP, SOL_IP};
	static const int names[] = {SO_REUSEADDR, IP_LOCAL_PORT_RANGE, IP_BIND_ADDRESS_NO_PORT};
	int level = levels[how % 3], name = names[how % 3];
	struct socket *socket = kernel_socket_of(fd);
	uint32_t value = how & 64 ? name == IP_LOCAL_PORT_RANGE ? 20006u << 16 | 20002 : 1 : 0;
	socklen_t size = sizeof value;
	int result = pf_option_set(fd, level, name, &value, size);
	require(result == (socket ? kernel.no_options ? -EPERM : 0 : -EBADF));
	if (result < 0)
		return;
	if (name == SO_REUSEADDR)
		socket->asked_reuse = value;
	if (name == IP_LOCAL_PORT_RANGE) {
		socket->asked_range = value;
		socket->asked = true;
	}
	// What is set by one copy is not known of the others.
	faulty |= is_copied(fd);
	socket->wild |= is_copied(fd);
}

// Fails unless the options of a socket that is known are shown as the program set them.
static void options_check(int fd)
{
	const struct socket *socket = kernel_socket_of(fd);
	uint32_t reuse = 0, range = 0;
	socklen_t size = sizeof reuse;
	if (!socket || !kernel_is_inet(socket) || socket->wild || faulty)
		return;
	require(pf_option_get(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &size) == 0);
	require(pf_option_get(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, &size) == 0);
	require(reuse == socket->asked_reuse && range == socket->asked_range);
}

static void step_close_range(int fd)
{
	unsigned last = input_byte(script);
	int flags = kernel.outcome & 1 ? 8 : 0; // there is no such flag
	int result = pf_lifetime_close_range((unsigned)fd, last, flags);
	require(result == ((unsigned)fd > last || flags ? -EINVAL : 0));
}

// ---- What happens past the hooks ---------------------------------------------------------------

// Returns true if the next descriptor is one that the shim knows nothing of. What was closed past
// the hooks and is opened past them again is taken for what it was; nobody can see that.
static bool is_next_unknown(void)
{
	uint64_t ticket = 1;
	int fd = kernel_fd_free(0);
	if (fd >= 0)
		pf_fdmap_get(fd, &ticket);
	return ticket == 0;
}

// Raw system calls of the program.
static void step_raw(int fd, uint8_t how)
{
	struct socket *socket = kernel_socket_of(fd);
	struct sockaddr_storage address;
	socklen_t length;
	faulty = kernel.raw = true;
	switch (how % 5) {
	case 0:
		kernel_close(fd);
		break;
	case 1:
		if (is_next_unknown())
			kernel_dup_from(fd, 0);
		break;
	case 2:
		if (is_next_unknown())
			kernel_socket(how & 16 ? AF_INET : AF_INET6,
				how & 8 ? SOCK_DGRAM : SOCK_STREAM, 0);
		break;
	case 3:
		length = address_make(socket, port_of_peer(), &address);
		kernel.outcome = input_byte(script) % 8;
		if (socket)
			socket->wild = true;
		kernel_connect(fd, (struct sockaddr *)&address, length);
		break;
	default:
		length = address_make(socket, port_of_peer(), &address);
		if (kernel_bind(fd, (struct sockaddr *)&address, length) == 0)
			socket->wild = true;
	}
	kernel.raw = false;
}

// Another process gets a copy of the socket, or its copy comes back under another number.
static void step_pass(int fd)
{
	struct socket *socket = kernel_socket_of(fd);
	faulty = true;
	if (socket && !kernel.copied[socket - kernel.socket]) {
		kernel.copied[socket - kernel.socket] = true;
		socket->refs++;
		return;
	}
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		int copy = kernel_fd_free(0);
		if (kernel.copied[i] && copy >= 0 && is_next_unknown()) {
			kernel.copied[i] = false;
			kernel.fd[copy] = &kernel.socket[i];
			return;
		}
	}
}

// Other processes close what they have of our sockets, and their own.
static void copies_end(void)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		if (kernel.copied[i]) {
			kernel.copied[i] = false;
			kernel_release(&kernel.socket[i]);
		}
}

// An unfenced program takes a port of the pool, for everybody or for one peer.
static void step_intrude(uint8_t how)
{
	uint16_t port = pf_ranges_port(&pool()->ranges, input_byte(script) % pool()->ranges.ports);
	struct sockaddr_storage address;
	struct pf_endpoint peer;
	struct socket *socket = kernel_socket_make(AF_INET, how & 1 ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (!socket)
		return;
	socklen_t length = address_make(socket, port_of_peer(), &address);
	socket->wild = true;
	socket->reuse = how & 2;
	kernel.copied[socket - kernel.socket] = true;
	kernel.outcome = 0;
	if (kernel_bind_port(socket, port) == 0 && (how & 4) &&
		pf_endpoint_read((struct sockaddr *)&address, length, &peer) == 0 &&
		kernel_is_tcp(socket))
		kernel_connect_tcp(socket, &peer);
}

// The administrator changes a sysctl, or the program enters a sandbox.
static void step_administer(uint8_t how)
{
	faulty = administered = true;
	// A socket that connects again does so from the port it had; that is not looked at twice.
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		kernel.socket[i].wild = true;
	switch (how % 4) {
	case 0:
		kernel.low = 20005;
		break;
	case 1:
		kernel.high = 20009;
		break;
	case 2:
		kernel.reserved = 20010;
		break;
	default:
		kernel.no_options = true;
	}
}

// ---- A run -----------------------------------------------------------------------------------

// One call, or one event. Returns the fd that it was about.
static int step(void)
{
	uint8_t what = input_byte(script), how = input_byte(script);
	int fd = how % FDS;
	how = input_byte(script);
	kernel.outcome = how >> 5;
	// A sysctl that changes is noticed once in a tick of the clock.
	kernel.now += administered ? 10 : 0;
	trace("step %d, fd %d, %d\n", what % 24, fd, how);
	switch (what % 24) {
	default:
		step_socket(how);
		break;
	case 3:
		step_option(fd, how);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		step_connect(fd, 0);
		break;
	case 8:
		step_connect(fd, how);
		break;
	case 9:
	case 10:
		pf_lifetime_close(fd);
		break;
	case 11:
		step_bind(fd, how & 1 ? port_of_peer() : 0);
		break;
	case 12:
		step_listen(fd);
		break;
	case 13:
		step_copy(fd, how);
		break;
	case 14:
		step_close_range(fd);
		break;
	case 15:
		step_disconnect(fd);
		break;
	case 16:
		kernel_accept(fd, &(struct pf_endpoint){.port = how});
		break;
	case 17:
		kernel.now += (uint64_t)how * how;
		break;
	case 18:
		kernel_answer(kernel_socket_of(fd), how & 1);
		break;
	case 19:
		step_raw(fd, how);
		break;
	case 20:
		step_pass(fd);
		break;
	case 21:
		faulty = true;
		if (how & 1)
			pf_lifetime_fork();
		else
			copies_end();
		break;
	case 22:
		step_intrude(how);
		break;
	case 23:
		step_administer(how);
	}
	return fd;
}

// A new world, in which the pool has the claim that the kernel allows.
static void world_make(uint8_t flags)
{
	uint64_t now = kernel.now + 1000000;
	memset(&kernel, 0, sizeof kernel);
	kernel.now = now;
	kernel.low = flags & 1 ? 19990 : 30000;
	kernel.high = flags & 1 ? 20030 : 30010;
	seed = flags;
	faulty = administered = dumped = false;

	int fd = kernel_socket(AF_INET, SOCK_STREAM, 0);
	struct pf_segment *segment = pf_fence_segment(fd);
	memset(segment->pool[0].stripe, 0, segment->pool[0].stripes * segment->pool[0].stripe_size);
	segment->shared->reaped_ms = segment->shared->reap_done = 0;
	pool()->shared->claim = pf_claim_choose(&pool()->ranges, fd);
	require(pf_pool_claim(pool()) == (flags & 1 ? PF_CLAIM_LATE : PF_CLAIM_BIND));
	kernel_close(fd);
}

static void world_end(void)
{
	uint32_t reaped;
	uint64_t ticket;
	kernel.outcome = 0;
	for (int fd = 0; fd < KERNEL_FDS; fd++)
		if (kernel_socket_of(fd))
			require(pf_lifetime_close(fd) == 0);
	require(faulty || dumped || used_count() == 0);
	for (int fd = 0; fd < KERNEL_FDS; fd++) {
		pf_lifetime_close(fd);
		pf_fdmap_get(fd, &ticket);
		require(ticket == 0);
	}
	copies_end();
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		require(kernel.socket[i].refs == 0);
	require(pf_reap(pf_fence_attached(), &reaped) == 0);
	require(used_count() == 0);
}

// Before the shim's own constructor reads the environment.
__attribute__((constructor(101))) static void environment_make(void)
{
	setenv("PORTFENCE_PORTS", PORTS, 1);
	setenv("PORTFENCE_DIR", "/nowhere", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	script = &input;
	world_make(input_byte(&input));
	for (int steps = 0; steps < STEPS_MAX && input.left; steps++) {
		int fd = step();
		world_check();
		options_check(fd);
	}
	world_end();
	return 0;
}
