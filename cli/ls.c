// SPDX-License-Identifier: MIT
// portfence ls: the leases, as the kernel shows them.
#include "json.h"
#include "leases.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: portfence ls [OPTION]...\n"
	"\n"
	"List the leases of this network namespace: sockets on ports of a pool that portfence "
	"gave.\n"
	"\n"
	"  -a, --all         also what has such a port and no lease; KIND is then 'lease',\n"
	"                    'strict' (a lease by a supervisor), 'foreign' (a program outside\n"
	"                    the fence) or '-' (TIME-WAIT and the like)\n"
	"  -n, --no-header   no first line\n"
	"      --sort KEY    port (default), peer, pid, command, state or pool; -KEY: downwards\n"
	"      --pool POOL   only that pool's: its name, or its ports as status shows them\n"
	"      --port PORTS  only these local ports: 20000-20099,20200\n"
	"      --pid PID     only this process's\n"
	"      --to PEER     only to ADDRESS[/BITS][:PORTS] or *:PORTS\n"
	"      --json        an array of objects, see portfence(1)\n"
	"      --no-color    no colours on a terminal\n"
	"  -h, --help        show this\n";

struct listing {
	bool all, no_header, json;
	struct cli_filter filter;
	struct cli_processes *processes;
	struct cli_leases leases;
};

// --- order ---------------------------------------------------------------------------------------

static int number_compare(long long a, long long b)
{
	return (a > b) - (a < b);
}

static int port_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	return number_compare(a->socket.local.port, b->socket.local.port);
}

static int peer_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	int order = memcmp(
		a->socket.peer.address, b->socket.peer.address, sizeof a->socket.peer.address);
	return order ? order : number_compare(a->socket.peer.port, b->socket.peer.port);
}

static int pid_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	return number_compare(a->pid, b->pid);
}

static int command_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	return strcmp(a->command ? a->command : "", b->command ? b->command : "");
}

static int state_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	return strcmp(cli_state(&a->socket), cli_state(&b->socket));
}

static int pool_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	return strcmp(a->name, b->name);
}

typedef int lease_compare(const struct cli_lease *a, const struct cli_lease *b);

static const struct {
	const char *name;
	lease_compare *compare;
} keys[] = {
	{"port", port_compare},
	{"peer", peer_compare},
	{"pid", pid_compare},
	{"command", command_compare},
	{"state", state_compare},
	{"pool", pool_compare},
};

// What --sort said. What is equal is in the order of ports, then peers.
static struct {
	lease_compare *compare;
	int sign;
} order = {port_compare, 1};

static int compare(const void *a, const void *b)
{
	int result = order.sign * order.compare(a, b);
	if (!result)
		result = port_compare(a, b);
	if (!result)
		result = peer_compare(a, b);
	return result;
}

static int order_read(const char *key)
{
	const char *name = key + (*key == '-');
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!strcmp(keys[i].name, name)) {
			order.compare = keys[i].compare;
			order.sign = *key == '-' ? -1 : 1;
			return 0;
		}
	return cli_error(
		"ls: '%s' is no key; expected port, peer, pid, command, state or pool", key);
}

// --- the list ------------------------------------------------------------------------------------

static void segment_read(struct cli_segment *segment, void *arg)
{
	struct listing *listing = arg;
	struct cli_leases *leases = &listing->leases;
	size_t kept = leases->count;
	cli_leases_add(leases, segment, listing->processes);
	for (size_t i = kept; i < leases->count; i++) {
		const struct cli_lease *lease = &leases->lease[i];
		if ((listing->all || lease->kind == CLI_LEASE) &&
			cli_filter_passes(&listing->filter, &segment->segment.pool[lease->pool],
				lease->socket.local.port, lease->pid, &lease->socket.peer))
			leases->lease[kept++] = *lease;
	}
	leases->count = kept;
}

static enum cli_colour state_colour(const struct cli_lease *lease)
{
	if (lease->kind == CLI_ENDING)
		return CLI_FAINT;
	if (lease->socket.protocol == IPPROTO_TCP && lease->socket.state == TCP_ESTABLISHED)
		return CLI_GOOD;
	return lease->socket.state == TCP_LISTEN || lease->socket.state == TCP_CLOSE ? CLI_PLAIN
										     : CLI_WARN;
}

static void lease_show(struct cli_table *table, const struct cli_lease *lease, bool all)
{
	static const char *const kinds[] = {"lease", "foreign", "-"};
	static const enum cli_colour colours[] = {CLI_PLAIN, CLI_BAD, CLI_FAINT};
	char local[CLI_ENDPOINT], peer[CLI_ENDPOINT];
	cli_endpoint(&lease->socket.local, local);
	cli_endpoint(&lease->socket.peer, peer);
	cli_table_add(table, "%s", cli_protocol(lease->socket.protocol));
	cli_table_add(table, "%s", local);
	cli_table_add(table, "%s", peer);
	cli_table_add(table, "%s", cli_state(&lease->socket));
	cli_table_paint(table, state_colour(lease));
	if (lease->command)
		cli_table_add(table, "%d", (int)lease->pid);
	else
		cli_table_add(table, "-");
	cli_table_add(table, "%s", lease->command ? lease->command : "-");
	cli_table_add(table, "%s", lease->name);
	if (!all)
		return;
	cli_table_add(table, "%s", lease->strict ? "strict" : kinds[lease->kind]);
	cli_table_paint(table, colours[lease->kind]);
}

static void list_json(const struct cli_leases *leases)
{
	static const char *const kinds[] = {"lease", "foreign", "ending"};
	struct json_object *array = json_object_new_array();
	for (size_t i = 0; i < leases->count; i++) {
		const struct cli_lease *lease = &leases->lease[i];
		const struct pf_socket *socket = &lease->socket;
		struct json_object *object = json_object_new_object();
		cli_json_text(object, "pool", lease->name);
		cli_json_text(object, "protocol", cli_protocol(socket->protocol));
		cli_json_endpoint(object, "address", "port", &socket->local);
		cli_json_endpoint(object, "peer_address", "peer_port", &socket->peer);
		cli_json_text(object, "state", cli_state(socket));
		cli_json_some(object, "pid", (uint32_t)lease->pid);
		cli_json_text(object, "command", lease->command);
		cli_json_text(object, "kind", lease->strict ? "strict" : kinds[lease->kind]);
		json_object_array_add(array, object);
	}
	cli_json_print(array);
}

static int list(struct listing *listing)
{
	static const char *const heading[] = {
		"PROTO", "LOCAL", "PEER", "STATE", "PID", "COMMAND", "POOL", "KIND"};
	size_t columns = sizeof heading / sizeof *heading - (listing->all ? 0 : 1);
	CLI_TABLE table = cli_table_new(columns);
	for (size_t i = 0; i < columns && !listing->no_header; i++)
		cli_table_add(table, "%s", heading[i]);
	if (cli_segments(segment_read, listing))
		return EXIT_PORTFENCE;
	if (listing->leases.count)
		qsort(listing->leases.lease, listing->leases.count, sizeof *listing->leases.lease,
			compare);
	if (listing->json) {
		list_json(&listing->leases);
		return 0;
	}
	for (size_t i = 0; i < listing->leases.count; i++)
		lease_show(table, &listing->leases.lease[i], listing->all);
	cli_table_print(table);
	return 0;
}

// --- options -------------------------------------------------------------------------------------

enum { OPTION_SORT = CLI_FILTER_END, OPTION_JSON };

static const struct option options[] = {
	{"all", no_argument, NULL, 'a'},
	{"no-header", no_argument, NULL, 'n'},
	{"sort", required_argument, NULL, OPTION_SORT},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, 'h'},
	CLI_FILTER_OPTIONS,
	{0},
};

int cli_ls(int argc, char **argv)
{
	struct listing listing = {.all = false};
	int option, result = 0;
	opterr = 0;
	while (!result && (option = getopt_long(argc, argv, ":anh", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		if (option == 'a')
			listing.all = true;
		else if (option == 'n')
			listing.no_header = true;
		else if (option == OPTION_JSON)
			listing.json = true;
		else if (option == OPTION_SORT)
			result = order_read(optarg);
		else
			result = cli_filter_option(&listing.filter, argv, option);
	}
	if (!result && optind < argc)
		result = cli_error("ls: '%s' is one argument too many", argv[optind]);
	if (result)
		return result;
	CLI_PROCESSES processes = cli_processes_new();
	listing.processes = processes;
	result = list(&listing);
	cli_leases_free(&listing.leases);
	return result;
}
