// SPDX-License-Identifier: MIT
// A kernel that fits a fuzzer: one network namespace whose sockets, ports and descriptors are ours
// to see. It knows what the shim's calls depend on, and each rule is the one of Linux 6.8
// (net/ipv4: inet_hashtables.c, inet_connection_sock.c, tcp_ipv4.c, udp.c). All addresses are this
// host's, and a port is a port whatever address it is bound to.
#ifndef KERNEL_H
#define KERNEL_H

#include "fuzz.h"

#include <portfence/endpoint.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>

#define KERNEL_FDS 40
#define KERNEL_SOCKETS 96
#define KERNEL_RESTS 16

struct socket {
	int refs; // 0: free
	int domain, type, protocol;
	int state;               // TCP_CLOSE, TCP_SYN_SENT, TCP_ESTABLISHED, TCP_LISTEN
	uint16_t port;           // inet_num
	uint16_t shown;          // inet_sport: it outlives a connect that failed
	bool bound;              // SOCK_BINDPORT_LOCK
	bool placed;             // SOCK_BINDADDR_LOCK
	bool reuse, deferred;    // SO_REUSEADDR, IP_BIND_ADDRESS_NO_PORT
	uint16_t low, high;      // IP_LOCAL_PORT_RANGE
	struct pf_endpoint peer; // port 0: none
	int error;               // of a connect that failed after it returned
	bool asked_reuse;        // what the program set, and must be shown
	uint32_t asked_range;
	bool asked; // it set a range, if only to none
	bool wild;  // its port came past the hooks, or is of the program's choice
};

// TIME_WAIT, and FIN_WAIT before it.
struct rest {
	int domain;
	uint16_t port;
	bool reuse;
	struct pf_endpoint peer;
	uint64_t until;
};

static struct kernel {
	struct socket socket[KERNEL_SOCKETS];
	struct socket *fd[KERNEL_FDS];
	bool copied[KERNEL_SOCKETS]; // a reference that is in no descriptor: another process's
	struct rest rest[KERNEL_RESTS];
	uint64_t now;
	uint16_t low, high, reserved; // the sysctls
	bool raw;                     // the call in hand comes past the hooks
	bool no_options;              // a sandbox without setsockopt
	uint8_t outcome;              // of the next connect
	int last;                     // what the last connect, bind, listen or send returned
	bool refused_bound;           // a connect failed for the port that its socket was bound to
} kernel;

// What a connect comes to.
enum outcome {
	OUTCOME_REFUSED = 4,
	OUTCOME_UNDER_WAY,
	OUTCOME_UNREACHABLE,
	OUTCOME_INTERRUPTED,
};

// ---- Descriptors -----------------------------------------------------------------------------

static struct socket *kernel_socket_of(int fd)
{
	return fd >= 0 && fd < KERNEL_FDS ? kernel.fd[fd] : NULL;
}

// Returns the first free descriptor from `least` on, or -EMFILE.
static int kernel_fd_free(int least)
{
	for (int fd = least; fd < KERNEL_FDS; fd++)
		if (!kernel.fd[fd])
			return fd;
	return -EMFILE;
}

static struct socket *kernel_socket_free(void)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++)
		if (!kernel.socket[i].refs)
			return memset(&kernel.socket[i], 0, sizeof *kernel.socket);
	return NULL;
}

static struct socket *kernel_socket_make(int domain, int type, int protocol)
{
	struct socket *socket = kernel_socket_free();
	if (!socket)
		return NULL;
	socket->refs = 1;
	socket->domain = domain;
	socket->type = type;
	socket->protocol = protocol ? protocol : type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	socket->state = TCP_CLOSE;
	return socket;
}

static int kernel_socket(int domain, int type, int protocol)
{
	int fd = kernel_fd_free(0);
	if (fd < 0)
		return fd;
	struct socket *socket = kernel_socket_make(domain, type, protocol);
	if (!socket)
		return -ENFILE;
	kernel.fd[fd] = socket;
	return fd;
}

// The last reference is gone. A connection that this side closed first rests for a while.
static void kernel_release(struct socket *socket)
{
	if (--socket->refs || socket->state != TCP_ESTABLISHED || !(kernel.outcome & 1))
		return;
	for (int i = 0; i < KERNEL_RESTS; i++)
		if (kernel.rest[i].until <= kernel.now) {
			kernel.rest[i] = (struct rest){socket->domain, socket->port, socket->reuse,
				socket->peer, kernel.now + 60000};
			return;
		}
}

static int kernel_close(int fd)
{
	struct socket *socket = kernel_socket_of(fd);
	if (!socket)
		return -EBADF;
	kernel.fd[fd] = NULL;
	kernel_release(socket);
	return kernel.outcome == OUTCOME_INTERRUPTED ? -EINTR : 0;
}

static int kernel_dup_from(int fd, int least)
{
	if (!kernel_socket_of(fd))
		return -EBADF;
	if (least < 0 || least >= KERNEL_FDS)
		return -EINVAL;
	int copy = kernel_fd_free(least);
	if (copy < 0)
		return copy;
	kernel.fd[copy] = kernel.fd[fd];
	kernel.fd[copy]->refs++;
	return copy;
}

static int kernel_dup_to(int fd, int copy, int flags)
{
	if (flags > 0 || (flags == 0 && fd == copy))
		return -EINVAL;
	if (!kernel_socket_of(fd) || copy < 0 || copy >= KERNEL_FDS)
		return -EBADF;
	if (fd == copy)
		return copy;
	kernel.fd[fd]->refs++;
	if (kernel.fd[copy])
		kernel_release(kernel.fd[copy]);
	kernel.fd[copy] = kernel.fd[fd];
	return copy;
}

static int kernel_close_range(unsigned first, unsigned last, int flags)
{
	if (first > last || flags)
		return -EINVAL;
	for (unsigned fd = first; fd <= last && fd < KERNEL_FDS; fd++)
		if (kernel.fd[fd]) {
			kernel_release(kernel.fd[fd]);
			kernel.fd[fd] = NULL;
		}
	return 0;
}

// ---- Ports -----------------------------------------------------------------------------------

static bool kernel_is_inet(const struct socket *socket)
{
	return socket->domain != AF_UNIX;
}

static bool kernel_is_tcp(const struct socket *socket)
{
	return kernel_is_inet(socket) && socket->type == SOCK_STREAM;
}

// Sockets to one peer from one port: unless one of them is of the other family.
static bool kernel_is_same(const struct pf_endpoint *a, const struct pf_endpoint *b)
{
	return a->port == b->port && !memcmp(a->address, b->address, sizeof a->address);
}

// Returns true if a TCP connection, or its rest, goes from the port to the peer.
static bool kernel_is_connected(
	const struct socket *self, uint16_t port, const struct pf_endpoint *peer)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		const struct socket *other = &kernel.socket[i];
		if (other->refs && other != self && kernel_is_tcp(other) && other->port == port &&
			other->peer.port && kernel_is_same(&other->peer, peer))
			return true;
	}
	for (int i = 0; i < KERNEL_RESTS; i++)
		if (kernel.rest[i].until > kernel.now && kernel.rest[i].port == port &&
			kernel_is_same(&kernel.rest[i].peer, peer))
			return true;
	return false;
}

// Returns true if bind refuses the port.
static bool kernel_is_in_use(const struct socket *self, uint16_t port)
{
	bool tcp = kernel_is_tcp(self);
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		const struct socket *other = &kernel.socket[i];
		bool rival = other->refs && other != self && kernel_is_inet(other) &&
			kernel_is_tcp(other) == tcp && other->port == port;
		if (rival && !(self->reuse && other->reuse && other->state != TCP_LISTEN))
			return true;
	}
	for (int i = 0; tcp && i < KERNEL_RESTS; i++)
		if (kernel.rest[i].until > kernel.now && kernel.rest[i].port == port &&
			!(self->reuse && kernel.rest[i].reuse))
			return true;
	return false;
}

// Returns true if a connect may not choose the port, which somebody bound.
static bool kernel_is_bound(uint16_t port)
{
	for (int i = 0; i < KERNEL_SOCKETS; i++) {
		const struct socket *other = &kernel.socket[i];
		if (other->refs && kernel_is_tcp(other) && other->port == port &&
			(other->bound || other->state == TCP_LISTEN))
			return true;
	}
	return false;
}

// Reads an address for a socket. Returns 0, or what the kernel says of another family's.
static int kernel_read(const struct socket *socket, const struct sockaddr *address,
	socklen_t length, struct pf_endpoint *endpoint)
{
	if (!kernel_is_inet(socket) || pf_endpoint_read(address, length, endpoint) < 0)
		return -EAFNOSUPPORT;
	if (socket->domain == AF_INET)
		return address->sa_family == AF_INET ? 0 : -EAFNOSUPPORT;
	return 0;
}

// Chooses a port for a socket that has none, to connect to `peer` or, if NULL, for everybody.
// Returns 0, or -`error`.
static int kernel_choose(struct socket *socket, const struct pf_endpoint *peer, int error)
{
	uint16_t low = kernel.low, high = kernel.high;
	if (socket->low >= kernel.low && socket->low <= kernel.high)
		low = socket->low;
	if (socket->high >= kernel.low && socket->high <= kernel.high)
		high = socket->high;
	for (uint32_t port = low; port <= high; port++) {
		uint16_t at = (uint16_t)port;
		if (at == kernel.reserved)
			continue;
		if (peer ? kernel_is_bound(at) || kernel_is_connected(socket, at, peer)
			 : kernel_is_in_use(socket, at))
			continue;
		socket->port = socket->shown = at;
		socket->wild |= kernel.raw;
		return 0;
	}
	return -error;
}

// A TCP socket that is connected no more: its port goes, if it was not bound.
static void kernel_forget(struct socket *socket)
{
	socket->state = TCP_CLOSE;
	socket->peer.port = 0;
	if (!socket->bound)
		socket->port = 0;
}

// ---- Calls -----------------------------------------------------------------------------------

static int kernel_bind_port(struct socket *socket, uint16_t port)
{
	if (socket->port || socket->state != TCP_CLOSE)
		return -EINVAL;
	if (!port && socket->deferred) {
		socket->placed = true;
		return 0;
	}
	if (!port) {
		int result = kernel_choose(socket, NULL, EADDRINUSE);
		if (result < 0)
			return result;
	} else if (kernel_is_in_use(socket, port))
		return -EADDRINUSE;
	else
		socket->port = socket->shown = port;
	socket->bound = true;
	return 0;
}

static int kernel_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	struct socket *socket = kernel_socket_of(fd);
	struct pf_endpoint local;
	if (!socket)
		return kernel.last = -EBADF;
	int result = kernel_read(socket, address, length, &local);
	if (result == 0 && socket->domain != address->sa_family)
		result = -EINVAL;
	return kernel.last = result < 0 ? result : kernel_bind_port(socket, local.port);
}

static int kernel_connect_udp(struct socket *socket, const struct pf_endpoint *peer)
{
	int result = socket->port ? 0 : kernel_choose(socket, NULL, EAGAIN);
	if (result < 0)
		return result;
	if (kernel.outcome == OUTCOME_UNREACHABLE)
		return -ENETUNREACH;
	socket->peer = *peer;
	socket->state = TCP_ESTABLISHED;
	return 0;
}

// What a connect on a socket that is not fresh says, or 0.
static int kernel_connect_old(struct socket *socket)
{
	int error = socket->error;
	if (socket->state == TCP_LISTEN || socket->state == TCP_ESTABLISHED)
		return -EISCONN;
	if (socket->state == TCP_SYN_SENT)
		return -EALREADY;
	socket->error = 0;
	return -error;
}

static int kernel_connect_tcp(struct socket *socket, const struct pf_endpoint *peer)
{
	int result = 0;
	if (kernel.outcome == OUTCOME_UNREACHABLE)
		return -ENETUNREACH;
	if (!socket->port)
		result = kernel_choose(socket, peer, EADDRNOTAVAIL);
	else if (kernel_is_connected(socket, socket->port, peer)) {
		kernel.refused_bound = true;
		result = -EADDRNOTAVAIL;
	}
	if (result < 0)
		return result;
	socket->shown = socket->port;
	socket->peer = *peer;
	switch (kernel.outcome) {
	case OUTCOME_REFUSED:
		kernel_forget(socket);
		return -ECONNREFUSED;
	case OUTCOME_UNDER_WAY:
	case OUTCOME_INTERRUPTED:
		socket->state = TCP_SYN_SENT;
		return kernel.outcome == OUTCOME_UNDER_WAY ? -EINPROGRESS : -EINTR;
	default:
		socket->state = TCP_ESTABLISHED;
		return 0;
	}
}

static int kernel_disconnect(struct socket *socket)
{
	kernel_forget(socket);
	if (!socket->bound)
		socket->shown = 0;
	socket->error = 0;
	return 0;
}

static int kernel_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	struct socket *socket = kernel_socket_of(fd);
	struct pf_endpoint peer;
	if (!socket)
		return kernel.last = -EBADF;
	if (kernel_is_inet(socket) && address->sa_family == AF_UNSPEC)
		return kernel.last = kernel_disconnect(socket);
	int result = kernel_is_tcp(socket) ? kernel_connect_old(socket) : 0;
	if (result == 0)
		result = kernel_read(socket, address, length, &peer);
	if (result < 0)
		return kernel.last = result;
	if (kernel_is_tcp(socket))
		return kernel.last = kernel_connect_tcp(socket, &peer);
	return kernel.last = kernel_connect_udp(socket, &peer);
}

static int kernel_listen(int fd)
{
	struct socket *socket = kernel_socket_of(fd);
	if (!socket)
		return kernel.last = -EBADF;
	if (!kernel_is_tcp(socket))
		return kernel.last = -EOPNOTSUPP;
	if (socket->state == TCP_LISTEN)
		return kernel.last = 0;
	if (socket->state != TCP_CLOSE)
		return kernel.last = -EINVAL;
	if (!socket->port)
		kernel.last = kernel_choose(socket, NULL, EADDRINUSE);
	else
		kernel.last = kernel_is_in_use(socket, socket->port) ? -EADDRINUSE : 0;
	if (kernel.last == 0)
		socket->state = TCP_LISTEN;
	return kernel.last;
}

static int kernel_send(int fd, const struct sockaddr *address, socklen_t length, int flags)
{
	struct socket *socket = kernel_socket_of(fd);
	struct pf_endpoint peer;
	if (!socket)
		return kernel.last = -EBADF;
	if (!kernel_is_inet(socket))
		return kernel.last = -ENOTCONN;
	bool known = address && kernel_read(socket, address, length, &peer) == 0;
	if (kernel_is_tcp(socket)) {
		if ((flags & MSG_FASTOPEN) && address) {
			kernel.last = kernel_connect_old(socket);
			if (kernel.last == 0)
				kernel.last =
					known ? kernel_connect_tcp(socket, &peer) : -EAFNOSUPPORT;
		} else
			kernel.last = socket->state == TCP_ESTABLISHED ? 0 : -EPIPE;
	} else if (address && !known)
		kernel.last = -EAFNOSUPPORT;
	else if (!known && !socket->peer.port)
		kernel.last = -EDESTADDRREQ;
	else
		kernel.last = socket->port ? 0 : kernel_choose(socket, NULL, EAGAIN);
	if (kernel.last == 0)
		kernel.last = 1;
	return kernel.last;
}

// Returns what the kernel said, after telling it.
static int kernel_told(const char *call, int fd, int result)
{
	const struct socket *socket = kernel_socket_of(fd);
	trace("  %s(%d) = %d, port %d\n", call, fd, result, socket ? socket->port : 0);
	return result;
}

// Returns the descriptor of a new connection of a listener, or -errno.
static int kernel_accept(int fd, const struct pf_endpoint *peer)
{
	struct socket *listener = kernel_socket_of(fd);
	if (!listener || listener->state != TCP_LISTEN ||
		kernel_is_connected(NULL, listener->port, peer))
		return -EINVAL;
	int result = kernel_socket(listener->domain, SOCK_STREAM, listener->protocol);
	if (result < 0)
		return result;
	struct socket *socket = kernel.fd[result];
	socket->state = TCP_ESTABLISHED;
	socket->port = socket->shown = listener->port;
	socket->bound = true;
	socket->reuse = listener->reuse;
	socket->peer = *peer;
	socket->wild = true;
	return result;
}

// The network's answer to a connect that is under way.
static void kernel_answer(struct socket *socket, bool refused)
{
	if (!socket || socket->state != TCP_SYN_SENT)
		return;
	if (refused) {
		kernel_forget(socket);
		socket->error = ECONNREFUSED;
	} else
		socket->state = TCP_ESTABLISHED;
}

#endif
