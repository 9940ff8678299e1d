// SPDX-License-Identifier: MIT
// Which sockets the kernel has: a sock_diag dump, read without malloc.
#ifndef PORTFENCE_DIAG_H
#define PORTFENCE_DIAG_H

#include <portfence/endpoint.h>
#include <portfence/range.h>

#include <stddef.h>

// A socket of this network namespace. MPTCP shows as TCP.
struct pf_socket {
	uint8_t protocol;         // IPPROTO_TCP or IPPROTO_UDP
	uint8_t state;            // TCP_ESTABLISHED... (netinet/tcp.h); TCP_CLOSE: bound only
	bool ipv6;                // of an AF_INET6 socket
	struct pf_endpoint local; // port 0: unbound
	struct pf_endpoint peer;  // port 0: not connected
	uint32_t uid;
	uint64_t inode; // 0 in TIME_WAIT
};

// Called with every socket. Returns 0 to go on, or -errno.
typedef int pf_diag_fn(const struct pf_socket *socket, void *arg);

// Calls `each` for the sockets of `protocol` whose local port lies in one of the `count`
// (1..PF_RANGES_MAX) ranges. Returns 0, what `each` returned if that was not 0, or -errno (no
// netlink, no fd left, and for UDP neither udp_diag nor /proc/net). TCP sockets that are bound only
// are missing before Linux 6.8.
int pf_diag_each(
	uint8_t protocol, const struct pf_range *ranges, size_t count, pf_diag_fn *each, void *arg);

// Returns the network namespace that pf_diag_each would show (see pf_segment_netns), or 0.
uint64_t pf_diag_netns(void);

// Reads one netlink datagram of a dump, believing nothing. Returns 0 to receive more, 1 at the end
// of the dump, what `each` returned if that was not 0, or -errno: the kernel's, or -EBADMSG.
int pf_diag_parse(const void *datagram, size_t size, uint8_t protocol, pf_diag_fn *each, void *arg);

// Reads one line of /proc/net/udp or udp6. Returns 0 with the socket, or -EINVAL (the heading).
int pf_diag_parse_udp(const char *line, size_t length, struct pf_socket *ret_socket);

#endif
