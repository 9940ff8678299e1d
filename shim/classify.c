// SPDX-License-Identifier: MIT
// What an fd is: by the fd map, and where that does not know, by asking the kernel.
#include "classify.h"

#include <portfence/endpoint.h>

#include "util.h"

#include <netinet/in.h>
#include <string.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct pf_fd pf_classify_new(int domain, int type, int protocol)
{
	struct pf_fd fd = {.kind = PF_FD_OTHER};
	if (domain != AF_INET && domain != AF_INET6)
		return fd;
	if (domain == AF_INET6)
		fd.flags = PF_FD_IPV6;
	type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (type == SOCK_STREAM &&
		(protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		fd.kind = PF_FD_TCP;
	else if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
		fd.kind = PF_FD_UDP;
	return fd;
}

// Returns an integer option of a socket, or -errno.
static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof value;
	long result = pf_sys(SYS_getsockopt, fd, level, name, &value, &size);
	return result < 0 ? (int)result : value;
}

// Returns the local endpoint of `fd`; all zero if it has none.
static struct pf_endpoint local_endpoint(int fd)
{
	struct sockaddr_storage address;
	struct pf_endpoint local = {.port = 0};
	socklen_t size = sizeof address;
	if (pf_sys(SYS_getsockname, fd, &address, &size) == 0)
		pf_endpoint_read((const struct sockaddr *)&address, size, &local);
	return local;
}

uint16_t pf_classify_port(int fd)
{
	return local_endpoint(fd).port;
}

// An endpoint, for the kernel.
union address {
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

// Writes the endpoint. Returns its length.
static socklen_t address_write(const struct pf_endpoint *endpoint, union address *ret_address)
{
	memset(ret_address, 0, sizeof *ret_address);
	if (pf_endpoint_is_ipv4(endpoint)) {
		ret_address->in.sin_family = AF_INET;
		ret_address->in.sin_port = htons(endpoint->port);
		memcpy(&ret_address->in.sin_addr, endpoint->address + 12, 4);
		return sizeof ret_address->in;
	}
	ret_address->in6.sin6_family = AF_INET6;
	ret_address->in6.sin6_port = htons(endpoint->port);
	memcpy(&ret_address->in6.sin6_addr, endpoint->address, 16);
	return sizeof ret_address->in6;
}

int pf_classify_reach(const struct pf_endpoint *destination, uint16_t port)
{
	union address to, from = {.in6 = {.sin6_port = htons(port)}}; // of any address
	socklen_t length = address_write(destination, &to);
	from.in6.sin6_family = to.in6.sin6_family;
	int fd = (int)pf_sys(SYS_socket, to.in6.sin6_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	int result = 0;
	if (pf_sys(SYS_bind, fd, &from, length) == 0) {
		result = (int)pf_sys(SYS_connect, fd, &to, length);
		struct pf_endpoint local = local_endpoint(fd);
		if (result == 0)
			result = !memcmp(local.address, destination->address, sizeof local.address);
		else if (result != -EADDRNOTAVAIL)
			result = 0;
	}
	pf_sys(SYS_close, fd);
	return result;
}

// Returns the address family of a socket, or -errno. -EBADF and -ENOTSOCK are the kernel's own
// word; anything else is a sandbox that does not let us ask, or only in another way.
static int domain_of(int fd)
{
	struct sockaddr_storage local;
	socklen_t size = sizeof local;
	int domain = option(fd, SOL_SOCKET, SO_DOMAIN);
	if (domain >= 0 || domain == -EBADF || domain == -ENOTSOCK)
		return domain;
	long result = pf_sys(SYS_getsockname, fd, &local, &size);
	return result < 0 ? (int)result : local.ss_family;
}

bool pf_classify_defers(int fd)
{
	return option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT) > 0;
}

// Asks the kernel. Returns kind PF_FD_UNKNOWN for what is no socket.
static struct pf_fd look(int fd)
{
	int domain = domain_of(fd);
	if (domain < 0)
		return (struct pf_fd){.kind = PF_FD_UNKNOWN};
	if (domain != AF_INET && domain != AF_INET6)
		return (struct pf_fd){.kind = PF_FD_OTHER};
	int type = option(fd, SOL_SOCKET, SO_TYPE), protocol = option(fd, SOL_SOCKET, SO_PROTOCOL);
	if (type < 0) // a sandbox: TCP's way to a port, by bind there, serves everybody
		type = SOCK_STREAM;
	struct pf_fd seen = pf_classify_new(domain, type, protocol < 0 ? 0 : protocol);
	if (pf_classify_defers(fd))
		seen.flags |= PF_FD_DEFER;
	if (option(fd, SOL_SOCKET, SO_REUSEADDR) > 0)
		seen.flags |= PF_FD_REUSE;
	// A TCP socket shows the port of a connect that failed, too, which it has lost: only an
	// attempt to bind it tells.
	struct pf_endpoint local = local_endpoint(fd);
	if (local.port && seen.kind == PF_FD_UDP)
		seen.flags |= PF_FD_BOUND;
	else if (!pf_endpoint_is_unspecified(&local))
		seen.flags |= PF_FD_ADDRESS;
	return seen;
}

struct pf_fd pf_classify_look(int fd, uint64_t *ret_ticket)
{
	struct pf_fd seen = look(fd);
	if (seen.kind != PF_FD_UNKNOWN && pf_fdmap_replace(fd, *ret_ticket, seen))
		pf_fdmap_get(fd, ret_ticket);
	return seen;
}

// Probes one place. An impossible `how` makes rt_sigprocmask read its argument and do nothing
// (kernel/signal.c: EFAULT comes before EINVAL).
static bool probe(const void *address)
{
	const int no_such_how = -1;
	const size_t kernel_sigset = 8;
	return pf_sys(SYS_rt_sigprocmask, no_such_how, address, NULL, kernel_sigset) != -EFAULT;
}

bool pf_classify_probe(const void *address, size_t size)
{
	const size_t probed = 8, page = 4096;
	uintptr_t first = (uintptr_t)address, last = first + size;
	if (last < first || first < page)
		return false;
	if (!probe(address))
		return false;
	return size <= probed || first / page == (last - 1) / page ||
		probe((const char *)address + size - probed);
}
