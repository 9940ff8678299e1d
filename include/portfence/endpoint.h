// SPDX-License-Identifier: MIT
// An address and a port, the same for IPv4, IPv6 and IPv4 inside IPv6.
#ifndef PORTFENCE_ENDPOINT_H
#define PORTFENCE_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct pf_endpoint {
	uint8_t address[16]; // IPv6; IPv4 as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2)
	uint16_t port;       // host byte order
};

// Reads an AF_INET or AF_INET6 address of `length` bytes. Returns 0, or -EAFNOSUPPORT for another
// family or an address too short for its family.
int pf_endpoint_read(
	const struct sockaddr *address, socklen_t length, struct pf_endpoint *ret_endpoint);

// Sets an IPv4 address, given in network byte order.
void pf_endpoint_set_ipv4(struct pf_endpoint *endpoint, uint32_t address);

// Returns true for an IPv4 address.
bool pf_endpoint_is_ipv4(const struct pf_endpoint *endpoint);

// Returns true for 0.0.0.0 and ::.
bool pf_endpoint_is_unspecified(const struct pf_endpoint *endpoint);

// Returns true for 127.0.0.0/8, ::1, and the unspecified addresses, which connect to this host.
bool pf_endpoint_is_loopback(const struct pf_endpoint *endpoint);

// Returns the hash that picks a destination's stripe: the same in every process.
uint64_t pf_endpoint_hash(const struct pf_endpoint *endpoint);

#endif
