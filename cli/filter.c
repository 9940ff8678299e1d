// SPDX-License-Identifier: MIT
// Which sockets `portfence ls` shows.
#include "leases.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Reads a number of at most `max`. Returns it, or -EINVAL.
static long number_read(const char *text, long max)
{
	char *end;
	long number = strtol(text, &end, 10);
	bool digit = text[0] >= '0' && text[0] <= '9';
	return digit && !*end && number <= max ? number : -EINVAL;
}

// Reads an address without anything, and how many bits an own mask of it may have. Returns 0 or
// -EINVAL.
static int address_read(const char *text, struct pf_endpoint *peer, unsigned *ret_bits)
{
	struct in_addr ipv4;
	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		pf_endpoint_set_ipv4(peer, ipv4.s_addr);
		*ret_bits = 32;
		return 0;
	}
	*ret_bits = 128;
	return inet_pton(AF_INET6, text, peer->address) == 1 ? 0 : -EINVAL;
}

// Reads "ADDRESS[/BITS]". Returns 0 or -EINVAL.
static int network_read(struct cli_filter *filter, char *text)
{
	char *slash = strchr(text, '/');
	unsigned width;
	if (slash)
		*slash = 0;
	if (address_read(text, &filter->peer, &width) < 0)
		return -EINVAL;
	long bits = slash ? number_read(slash + 1, width) : (long)width;
	filter->bits = 128 - width + (unsigned)bits;
	return bits < 0 ? -EINVAL : 0;
}

// Takes ":PORT" off the end, and the brackets before it. Returns what is before them, or NULL.
static char *port_split(char *text, long *ret_port)
{
	char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	bool port = colon && (bracket ? colon > bracket : colon == strchr(text, ':'));
	if (port) {
		*ret_port = number_read(colon + 1, UINT16_MAX);
		*colon = 0;
		if (*ret_port <= 0)
			return NULL;
	}
	if (*text != '[')
		return bracket ? NULL : text;
	// "[::1]/64" and "[::1/64]" are both in use.
	if (!bracket || strchr(bracket + 1, ']'))
		return NULL;
	memmove(bracket, bracket + 1, strlen(bracket + 1) + 1);
	return text + 1;
}

int cli_filter_to(struct cli_filter *filter, const char *text)
{
	char buffer[CLI_ENDPOINT + 16];
	long port = 0;
	if (strlen(text) >= sizeof buffer)
		return -EINVAL;
	char *network = port_split(strcpy(buffer, text), &port);
	if (!network || (!*network && !port))
		return -EINVAL;
	filter->to = true;
	filter->bits = 0;
	filter->peer.port = (uint16_t)port;
	return *network ? network_read(filter, network) : 0;
}

// Returns true if the first `bits` bits are the same.
static bool is_same_net(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	return !rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

bool cli_filter_passes(
	const struct cli_filter *filter, const struct pf_pool *pool, const struct cli_lease *lease)
{
	const struct pf_endpoint *peer = &lease->socket.peer;
	if (filter->pool && !cli_pool_is(pool, filter->pool))
		return false;
	if (filter->ports.count && pf_ranges_index(&filter->ports, lease->socket.local.port) < 0)
		return false;
	if (filter->pid && filter->pid != lease->pid)
		return false;
	if (!filter->to)
		return true;
	return peer->port && (!filter->peer.port || filter->peer.port == peer->port) &&
		is_same_net(peer->address, filter->peer.address, filter->bits);
}
