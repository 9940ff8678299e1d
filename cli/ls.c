// SPDX-License-Identifier: MIT
// portfence ls: the leases, as the kernel shows them.
#include "cli.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "Usage: portfence ls [--all]\n"
			    "\n"
			    "List the leases of this network namespace: sockets on ports of a pool "
			    "that portfence gave.\n"
			    "\n"
			    "  -a, --all  also sockets on those ports that have no lease (POOL is "
			    "'-'), and TIME-WAIT\n";

struct listing {
	struct cli_table *table;
	const struct cli_processes *processes;
	const struct pf_segment *segment;
	bool all;
};

// Returns the name of a state, as ss(8) has it.
static const char *state_name(const struct pf_socket *socket)
{
	static const char *const names[] = {"?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1",
		"FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
		"SYN-RECV"};
	return socket->state < sizeof names / sizeof *names ? names[socket->state] : "?";
}

static void endpoint_add(struct cli_table *table, const struct pf_endpoint *endpoint)
{
	char text[INET6_ADDRSTRLEN];
	if (endpoint->port == 0) {
		cli_table_add(table, "*");
		return;
	}
	if (pf_endpoint_is_ipv4(endpoint)) {
		inet_ntop(AF_INET, endpoint->address + 12, text, sizeof text);
		cli_table_add(table, "%s:%u", text, endpoint->port);
		return;
	}
	inet_ntop(AF_INET6, endpoint->address, text, sizeof text);
	cli_table_add(table, "[%s]:%u", text, endpoint->port);
}

// Returns the name of the pool that leased this port to this destination or for all, or NULL.
static const char *lease_of(const struct pf_segment *segment, const struct pf_socket *socket)
{
	for (uint32_t i = 0; i < segment->pools; i++) {
		const struct pf_pool *pool = &segment->pool[i];
		uint32_t stripe = socket->protocol == IPPROTO_UDP ? PF_STRIPE_UDP : PF_STRIPE_WHOLE;
		if (pf_pool_is_used(pool, stripe, socket->local.port))
			return pool->name;
		if (socket->protocol == IPPROTO_TCP && socket->peer.port &&
			pf_pool_is_used(pool, pf_pool_stripe(pool, pf_endpoint_hash(&socket->peer)),
				socket->local.port))
			return pool->name;
	}
	return NULL;
}

static int socket_show(const struct pf_socket *socket, void *arg)
{
	const struct listing *listing = arg;
	pid_t pid = 0;
	const char *pool = lease_of(listing->segment, socket);
	bool waits = socket->protocol == IPPROTO_TCP && socket->state == TCP_TIME_WAIT;
	if ((!pool || waits) && !listing->all)
		return 0;
	const char *command = cli_processes_find(listing->processes, socket->inode, &pid);
	cli_table_add(listing->table, "%s", socket->protocol == IPPROTO_UDP ? "udp" : "tcp");
	endpoint_add(listing->table, &socket->local);
	endpoint_add(listing->table, &socket->peer);
	cli_table_add(listing->table, "%s", state_name(socket));
	if (command)
		cli_table_add(listing->table, "%d", (int)pid);
	else
		cli_table_add(listing->table, "-");
	cli_table_add(listing->table, "%s", command ? command : "-");
	cli_table_add(listing->table, "%s", pool ? pool : "-");
	return 0;
}

static void segment_show(struct cli_segment *segment, void *arg)
{
	struct listing *listing = arg;
	struct pf_range ranges[PF_RANGES_MAX];
	size_t count = pf_segment_ranges(&segment->segment, ranges);
	listing->segment = &segment->segment;
	const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	for (size_t i = 0; i < sizeof protocols; i++) {
		int result = pf_diag_each(protocols[i], ranges, count, socket_show, listing);
		if (result < 0)
			cli_error("cannot list %s sockets: %s",
				protocols[i] == IPPROTO_UDP ? "UDP" : "TCP", strerror(-result));
	}
}

int cli_ls(int argc, char **argv)
{
	static const char *const heading[] = {
		"PROTO", "LOCAL", "PEER", "STATE", "PID", "COMMAND", "POOL"};
	struct listing listing = {.all = false};
	int result = cli_options(argc, argv, usage, &listing.all);
	if (result >= 0)
		return result;
	CLI_PROCESSES processes = cli_processes_new();
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	listing.processes = processes;
	listing.table = table;
	if (cli_segments(segment_show, &listing))
		return EXIT_PORTFENCE;
	cli_table_print(table);
	return 0;
}
