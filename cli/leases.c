// SPDX-License-Identifier: MIT
// The sockets on the ports of pools, and what they make of each port.
//
// Two witnesses are heard. The ledger knows which ports were taken, but also has those of programs
// outside the fence: a reap marks what it finds. The processes know who is inside: those that have
// the library mapped, or are below a strict run's supervisor. So a lease is what the ledger has,
// unless its process is seen to be without either. Where the process cannot be seen (another
// user's, another pid namespace's, one that has ended), the ledger's word stands.
#include "leases.h"

#include <portfence/reap.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// No stripe: a TCP socket that is bound and neither listens nor is connected.
#define STRIPE_NONE UINT32_MAX

const char *cli_state(const struct pf_socket *socket)
{
	static const char *const names[] = {"?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1",
		"FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
		"SYN-RECV"};
	return socket->state < sizeof names / sizeof *names ? names[socket->state] : "?";
}

const char *cli_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

void cli_address(const struct pf_endpoint *endpoint, char *text)
{
	if (pf_endpoint_is_ipv4(endpoint))
		inet_ntop(AF_INET, endpoint->address + 12, text, CLI_ENDPOINT);
	else
		inet_ntop(AF_INET6, endpoint->address, text, CLI_ENDPOINT);
}

bool cli_network(const struct pf_rule_destination *network, char *text, unsigned *ret_bits)
{
	struct pf_endpoint endpoint = {.port = 0};
	memcpy(endpoint.address, network->address, sizeof endpoint.address);
	bool is_ipv4 = pf_endpoint_is_ipv4(&endpoint);
	cli_address(&endpoint, text);
	*ret_bits = network->prefix - (is_ipv4 ? 96u : 0u);
	return is_ipv4;
}

void cli_endpoint(const struct pf_endpoint *endpoint, char *text)
{
	char address[CLI_ENDPOINT];
	bool ipv4 = pf_endpoint_is_ipv4(endpoint);
	cli_address(endpoint, address);
	if (endpoint->port)
		snprintf(text, CLI_ENDPOINT, ipv4 ? "%s:%u" : "[%s]:%u", address, endpoint->port);
	else
		strcpy(text, "*");
}

bool cli_pool_is(const struct pf_pool *pool, const char *text)
{
	char ranges[PF_RANGES_TEXT];
	pf_ranges_format(&pool->ranges, ranges);
	return !strcmp(text, pool->name) || !strcmp(text, ranges);
}

// --- sockets -------------------------------------------------------------------------------------

// Returns the stripe in which a reap marks the socket, or STRIPE_NONE.
static uint32_t stripe_of(const struct pf_pool *pool, const struct pf_socket *socket)
{
	if (socket->protocol == IPPROTO_UDP)
		return PF_STRIPE_UDP;
	if (socket->peer.port)
		return pf_pool_stripe(pool, pf_endpoint_hash(&socket->peer));
	return socket->state == TCP_LISTEN ? PF_STRIPE_WHOLE : STRIPE_NONE;
}

// Returns true if the ledger has the socket's port in use, for its destination or for all; for any,
// if it has none yet.
static bool is_in_ledger(const struct pf_pool *pool, const struct cli_lease *lease)
{
	uint16_t port = lease->socket.local.port;
	if (lease->socket.protocol == IPPROTO_TCP && pf_pool_is_used(pool, PF_STRIPE_WHOLE, port))
		return true;
	if (lease->stripe != STRIPE_NONE)
		return pf_pool_is_used(pool, lease->stripe, port);
	for (uint32_t stripe = PF_STRIPE_TCP; stripe < pool->stripes; stripe++)
		if (pf_pool_is_used(pool, stripe, port))
			return true;
	return false;
}

static enum cli_kind kind_of(
	const struct pf_pool *pool, struct cli_lease *lease, struct cli_processes *processes)
{
	if (lease->socket.protocol == IPPROTO_TCP && lease->socket.state == TCP_TIME_WAIT)
		return CLI_ENDING;
	int fenced = lease->pid ? cli_processes_fenced(processes, lease->pid) : 1;
	if (fenced == 0)
		return CLI_FOREIGN;
	// The kernel chose it from the range that the supervisor gave: no ledger need know of it.
	lease->strict = fenced == CLI_SUPERVISED;
	if (lease->strict)
		return CLI_LEASE;
	if (is_in_ledger(pool, lease))
		return CLI_LEASE;
	return lease->socket.inode ? CLI_FOREIGN : CLI_ENDING;
}

// Returns room for one more.
static struct cli_lease *lease_new(struct cli_leases *leases)
{
	if (leases->count == leases->room) {
		leases->room = leases->room ? 2 * leases->room : 64;
		leases->lease = realloc(leases->lease, leases->room * sizeof *leases->lease);
		if (!leases->lease)
			exit(cli_error("out of memory"));
	}
	return &leases->lease[leases->count++];
}

struct reading {
	struct cli_leases *leases;
	const struct pf_segment *segment;
	struct cli_processes *processes;
};

static int socket_add(const struct pf_socket *socket, void *arg)
{
	const struct reading *reading = arg;
	for (uint32_t i = 0; i < reading->segment->pools; i++) {
		const struct pf_pool *pool = &reading->segment->pool[i];
		int32_t index = pf_ranges_index(&pool->ranges, socket->local.port);
		if (index < 0)
			continue;
		struct cli_lease *lease = lease_new(reading->leases);
		memset(lease, 0, sizeof *lease);
		lease->socket = *socket;
		lease->pool = i;
		lease->stripe = stripe_of(pool, socket);
		lease->index = (uint32_t)index;
		strcpy(lease->name, pool->name);
		lease->command = cli_processes_find(reading->processes, socket->inode, &lease->pid);
		lease->kind = kind_of(pool, lease, reading->processes);
	}
	return 0;
}

// What a listener outside the fence has not accepted yet, or has closed, is nobody's, but no lease.
static void heirless_disown(struct cli_lease *lease, size_t count)
{
	static bool listens[65536];
	memset(listens, 0, sizeof listens);
	for (size_t i = 0; i < count; i++)
		if (lease[i].kind == CLI_FOREIGN && lease[i].socket.state == TCP_LISTEN &&
			lease[i].socket.protocol == IPPROTO_TCP)
			listens[lease[i].socket.local.port] = true;
	for (size_t i = 0; i < count; i++)
		if (lease[i].kind == CLI_LEASE && !lease[i].socket.inode &&
			lease[i].socket.protocol == IPPROTO_TCP &&
			listens[lease[i].socket.local.port])
			lease[i].kind = CLI_FOREIGN;
}

void cli_leases_add(struct cli_leases *leases, const struct cli_segment *segment,
	struct cli_processes *processes)
{
	struct reading reading = {leases, &segment->segment, processes};
	struct pf_range ranges[PF_RANGES_MAX];
	size_t count = pf_segment_ranges(&segment->segment, ranges);
	size_t before = leases->count;
	const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	for (size_t i = 0; i < sizeof protocols; i++) {
		int result = pf_diag_each(protocols[i], ranges, count, socket_add, &reading);
		if (result < 0)
			cli_error("cannot list %s sockets: %s",
				protocols[i] == IPPROTO_UDP ? "UDP" : "TCP", strerror(-result));
	}
	heirless_disown(leases->lease + before, leases->count - before);
}

void cli_leases_refresh(
	struct cli_leases *leases, struct cli_segment *segment, struct cli_processes *processes)
{
	uint32_t reaped;
	int result = pf_reap(&segment->segment, &reaped);
	if (result < 0)
		cli_error("%s: cannot reap: %s", segment->path, strerror(-result));
	cli_leases_add(leases, segment, processes);
}

void cli_leases_free(struct cli_leases *leases)
{
	free(leases->lease);
}

// --- ports ---------------------------------------------------------------------------------------

// Returns what tells the place of a socket in a pool's ledger from every other's.
static uint64_t place_of(const struct cli_lease *lease)
{
	return (uint64_t)lease->stripe << 32 | lease->index;
}

static int place_compare(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
	return (first > second) - (first < second);
}

// Takes out of the ports' leases what only sockets outside the fence stand for.
static void foreign_discount(struct cli_port *ports, const struct pf_pool *pool, uint32_t place,
	const struct cli_leases *leases)
{
	uint64_t *foreign = calloc(2 * leases->count + 1, sizeof *foreign);
	size_t foreigners = 0, owned = 0;
	if (!foreign)
		exit(cli_error("out of memory"));
	uint64_t *ours = foreign + leases->count;
	for (size_t i = 0; i < leases->count; i++) {
		const struct cli_lease *lease = &leases->lease[i];
		if (lease->pool != place || lease->kind == CLI_ENDING)
			continue;
		if (lease->kind == CLI_LEASE) {
			ours[owned++] = place_of(lease);
			continue;
		}
		ports[lease->index].foreign = true;
		if (lease->stripe != STRIPE_NONE &&
			pf_pool_is_used(pool, lease->stripe, lease->socket.local.port))
			foreign[foreigners++] = place_of(lease);
	}
	qsort(foreign, foreigners, sizeof *foreign, place_compare);
	qsort(ours, owned, sizeof *ours, place_compare);
	for (size_t i = 0; i < foreigners; i++) {
		struct cli_port *port = &ports[(uint32_t)foreign[i]];
		bool again = i && foreign[i] == foreign[i - 1];
		if (port->leases && !again &&
			!bsearch(&foreign[i], ours, owned, sizeof *ours, place_compare))
			port->leases--;
	}
	free(foreign);
}

struct cli_port *cli_ports_read(
	const struct cli_segment *segment, uint32_t pool, const struct cli_leases *leases)
{
	const struct pf_pool *of = &segment->segment.pool[pool];
	struct cli_port *ports = calloc(of->ranges.ports, sizeof *ports);
	if (!ports)
		exit(cli_error("out of memory"));
	for (uint32_t w = 0; w < of->words; w++) {
		struct pf_pool_ports word = pf_pool_ports(of, w);
		for (uint32_t i = 64 * w; i < 64 * w + 64 && i < of->ranges.ports; i++) {
			ports[i].leases = word.used[i % 64];
			ports[i].holding = word.holding >> i % 64 & 1;
		}
	}
	foreign_discount(ports, of, pool, leases);
	return ports;
}

struct cli_usage cli_usage(const struct cli_port *ports, uint32_t count)
{
	struct cli_usage usage = {0};
	for (uint32_t i = 0; i < count; i++) {
		usage.leased += ports[i].leases;
		usage.busy += ports[i].leases > 0;
		usage.holding += ports[i].holding;
		usage.foreign += ports[i].foreign;
		usage.free += !ports[i].leases && !ports[i].holding && !ports[i].foreign;
	}
	return usage;
}
