// SPDX-License-Identifier: MIT
// An address and a port, the same for IPv4, IPv6 and IPv4 inside IPv6.
#include <portfence/endpoint.h>

#include "util.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// The shortest sockaddr_in6 that the kernel takes: without the scope (RFC 2133).
#define SOCKADDR_IN6_MIN offsetof(struct sockaddr_in6, sin6_scope_id)

void pf_endpoint_set_ipv4(struct pf_endpoint *endpoint, uint32_t address)
{
	memcpy(endpoint->address, mapped, sizeof mapped);
	memcpy(endpoint->address + sizeof mapped, &address, sizeof address);
}

int pf_endpoint_read(
	const struct sockaddr *address, socklen_t length, struct pf_endpoint *ret_endpoint)
{
	if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof in);
		pf_endpoint_set_ipv4(ret_endpoint, in.sin_addr.s_addr);
		ret_endpoint->port = ntohs(in.sin_port);
		return 0;
	}
	if (address->sa_family == AF_INET6 && length >= SOCKADDR_IN6_MIN) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, SOCKADDR_IN6_MIN);
		memcpy(ret_endpoint->address, &in6.sin6_addr, sizeof ret_endpoint->address);
		ret_endpoint->port = ntohs(in6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

bool pf_endpoint_is_ipv4(const struct pf_endpoint *endpoint)
{
	return !memcmp(endpoint->address, mapped, sizeof mapped);
}

static const uint8_t zero[16];

bool pf_endpoint_is_unspecified(const struct pf_endpoint *endpoint)
{
	if (pf_endpoint_is_ipv4(endpoint))
		return !memcmp(endpoint->address + sizeof mapped, zero, 4);
	return !memcmp(endpoint->address, zero, sizeof zero);
}

bool pf_endpoint_is_loopback(const struct pf_endpoint *endpoint)
{
	if (pf_endpoint_is_unspecified(endpoint))
		return true;
	if (pf_endpoint_is_ipv4(endpoint))
		return endpoint->address[sizeof mapped] == 127;
	return !memcmp(endpoint->address, zero, 15) && endpoint->address[15] == 1;
}

uint64_t pf_endpoint_hash(const struct pf_endpoint *endpoint)
{
	struct pf_endpoint means = *endpoint;
	uint64_t half[2];
	// connect() to the unspecified address goes to loopback.
	if (pf_endpoint_is_unspecified(endpoint)) {
		if (pf_endpoint_is_ipv4(endpoint))
			means.address[sizeof mapped] = 127;
		means.address[15] = 1;
	}
	memcpy(half, means.address, sizeof half);
	return pf_mix(pf_mix(pf_mix(means.port, half[0]), half[1]), means.port);
}
