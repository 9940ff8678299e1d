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

// An address as four words in network byte order, and what the third is in an IPv4 one.
struct words {
	uint32_t word[4];
};

static struct words words_of(const struct pf_endpoint *endpoint)
{
	struct words words;
	memcpy(&words, endpoint->address, sizeof words);
	return words;
}

static bool is_ipv4(const struct words *words)
{
	return !(words->word[0] | words->word[1]) && words->word[2] == htonl(0xffff);
}

static bool is_unspecified(const struct words *words)
{
	return !(words->word[0] | words->word[1] | words->word[3]) &&
		(!words->word[2] || words->word[2] == htonl(0xffff));
}

bool pf_endpoint_is_ipv4(const struct pf_endpoint *endpoint)
{
	struct words words = words_of(endpoint);
	return is_ipv4(&words);
}

bool pf_endpoint_is_unspecified(const struct pf_endpoint *endpoint)
{
	struct words words = words_of(endpoint);
	return is_unspecified(&words);
}

bool pf_endpoint_is_loopback(const struct pf_endpoint *endpoint)
{
	struct words words = words_of(endpoint);
	if (is_ipv4(&words))
		return !words.word[3] || ntohl(words.word[3]) >> 24 == 127;
	return !(words.word[0] | words.word[1] | words.word[2]) && ntohl(words.word[3]) <= 1;
}

uint64_t pf_endpoint_hash(const struct pf_endpoint *endpoint)
{
	struct words words = words_of(endpoint);
	uint64_t half[2];
	// connect() to the unspecified address goes to loopback.
	if (!words.word[3] && is_unspecified(&words))
		words.word[3] = htonl(is_ipv4(&words) ? INADDR_LOOPBACK : 1);
	memcpy(half, &words, sizeof half);
	uint64_t x =
		((half[0] ^ endpoint->port) * 0x9e3779b97f4a7c15u ^ half[1]) * 0xd6e8feb86659fd93u;
	return (x ^ x >> 32) * 0xbf58476d1ce4e5b9u;
}
