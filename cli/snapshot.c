// SPDX-License-Identifier: MIT
// What `portfence top` shows at one moment.
#include "snapshot.h"

#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct snapshot *snapshot;
	struct cli_processes *processes;
	bool all;
};

// Returns `memory` of `count` things with room for one more.
static void *grown(void *memory, size_t count, size_t size)
{
	if (count & (count - 1))
		return memory; // it grows at powers of two only
	memory = realloc(memory, (count ? 2 * count : 1) * size);
	if (!memory)
		exit(cli_error("out of memory"));
	return memory;
}

// --- reading -------------------------------------------------------------------------------------

static void pool_add(
	struct snapshot *snapshot, const struct pf_pool *pool, const struct cli_usage *usage)
{
	snapshot->pool = grown(snapshot->pool, snapshot->pools, sizeof *snapshot->pool);
	struct snapshot_pool *row = &snapshot->pool[snapshot->pools++];
	memcpy(row->name, pool->name, sizeof row->name);
	pf_ranges_format(&pool->ranges, row->ports);
	row->size = pool->ranges.ports;
	row->usage = *usage;
	row->exhausted = pf_pool_counted(pool, PF_COUNT_EXHAUSTED);
	snapshot->leased += usage->leased;
}

static void segment_read(struct cli_segment *segment, void *arg)
{
	const struct reading *reading = arg;
	struct snapshot *snapshot = reading->snapshot;
	uint32_t first = (uint32_t)snapshot->pools;
	CLI_LEASES leases = {0};
	cli_leases_refresh(&leases, segment, reading->processes);
	for (uint32_t i = 0; i < segment->segment.pools; i++) {
		const struct pf_pool *pool = &segment->segment.pool[i];
		struct cli_port *ports = cli_ports_read(segment, i, &leases);
		struct cli_usage usage = cli_usage(ports, pool->ranges.ports);
		free(ports);
		pool_add(snapshot, pool, &usage);
	}
	struct cli_leases *to = &snapshot->leases;
	for (size_t i = 0; i < leases.count; i++) {
		const struct cli_lease *lease = &leases.lease[i];
		if (lease->kind != CLI_LEASE && !(reading->all && lease->kind == CLI_FOREIGN))
			continue;
		to->lease = grown(to->lease, to->count, sizeof *to->lease);
		to->lease[to->count] = *lease;
		to->lease[to->count++].pool += first;
	}
}

static int number_compare(long long a, long long b)
{
	return (a > b) - (a < b);
}

// No peer is no peer, in either family.
static int peer_compare(const struct pf_endpoint *a, const struct pf_endpoint *b)
{
	if (!a->port || !b->port)
		return number_compare(a->port, b->port);
	int order = memcmp(a->address, b->address, sizeof a->address);
	return order ? order : number_compare(a->port, b->port);
}

// Returns 0 if both are shown in one row.
static int row_compare(const struct cli_lease *a, const struct cli_lease *b)
{
	int order = number_compare(a->pool, b->pool);
	if (!order)
		order = number_compare(a->kind, b->kind);
	return order ? order : number_compare(a->pid, b->pid);
}

static int lease_compare(const void *a, const void *b)
{
	const struct cli_lease *first = a, *second = b;
	int order = row_compare(first, second);
	return order ? order : peer_compare(&first->socket.peer, &second->socket.peer);
}

static void processes_add(struct snapshot *snapshot)
{
	const struct cli_lease *lease = snapshot->leases.lease;
	for (size_t i = 0; i < snapshot->leases.count; i++) {
		if (i == 0 || row_compare(&lease[i], &lease[i - 1]) != 0) {
			snapshot->process = grown(
				snapshot->process, snapshot->processes, sizeof *snapshot->process);
			struct snapshot_process *row = &snapshot->process[snapshot->processes++];
			memset(row, 0, sizeof *row);
			row->pid = lease[i].pid;
			row->pool = lease[i].pool;
			row->foreign = lease[i].kind == CLI_FOREIGN;
			row->first = i;
			snprintf(row->command, sizeof row->command, "%s",
				lease[i].command ? lease[i].command : "-");
		}
		snapshot->process[snapshot->processes - 1].sockets++;
	}
}

int snapshot_read(struct snapshot *ret_snapshot, bool all)
{
	struct reading reading = {ret_snapshot, NULL, all};
	CLI_PROCESSES processes = cli_processes_new();
	memset(ret_snapshot, 0, sizeof *ret_snapshot);
	reading.processes = processes;
	if (cli_segments(segment_read, &reading))
		return EXIT_PORTFENCE;
	if (ret_snapshot->leases.count)
		qsort(ret_snapshot->leases.lease, ret_snapshot->leases.count,
			sizeof *ret_snapshot->leases.lease, lease_compare);
	processes_add(ret_snapshot);
	// Names are in the rows; what they pointed to goes now.
	for (size_t i = 0; i < ret_snapshot->leases.count; i++)
		ret_snapshot->leases.lease[i].command = NULL;
	return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->pool);
	free(snapshot->process);
	cli_leases_free(&snapshot->leases);
}

// --- order ---------------------------------------------------------------------------------------

static int count_order(const void *a, const void *b)
{
	const struct snapshot_process *first = a, *second = b;
	int order = number_compare(second->sockets, first->sockets);
	return order ? order : number_compare((long long)first->first, (long long)second->first);
}

static int command_order(const void *a, const void *b)
{
	const struct snapshot_process *first = a, *second = b;
	int order = strcmp(first->command, second->command);
	return order ? order : number_compare(first->pid, second->pid);
}

static int pool_order(const void *a, const void *b)
{
	const struct snapshot_process *first = a, *second = b;
	int order = number_compare(first->pool, second->pool);
	return order ? order : count_order(a, b);
}

void snapshot_sort(struct snapshot *snapshot, enum snapshot_order order)
{
	static int (*const orders[])(const void *, const void *) = {
		[SNAPSHOT_BY_COUNT] = count_order,
		[SNAPSHOT_BY_COMMAND] = command_order,
		[SNAPSHOT_BY_POOL] = pool_order,
	};
	if (snapshot->processes)
		qsort(snapshot->process, snapshot->processes, sizeof *snapshot->process,
			orders[order]);
}

const char *snapshot_label(const struct snapshot *snapshot, uint32_t pool)
{
	const struct snapshot_pool *of = &snapshot->pool[pool];
	for (size_t i = 0; i < snapshot->pools; i++)
		if (i != pool && !strcmp(snapshot->pool[i].name, of->name))
			return of->ports;
	return of->name;
}

// --- peers ---------------------------------------------------------------------------------------

struct peer {
	const struct pf_endpoint *endpoint;
	uint32_t sockets;
};

static int sockets_order(const void *a, const void *b)
{
	const struct peer *first = a, *second = b;
	int order = number_compare(second->sockets, first->sockets);
	return order ? order : peer_compare(first->endpoint, second->endpoint);
}

// Returns the peers of a process, those with the most sockets first, for free().
static struct peer *peers_count(
	const struct snapshot *snapshot, const struct snapshot_process *process, size_t *ret_count)
{
	const struct cli_lease *lease = snapshot->leases.lease + process->first;
	struct peer *peer = NULL;
	size_t count = 0;
	for (uint32_t i = 0; i < process->sockets; i++) {
		const struct pf_endpoint *to = &lease[i].socket.peer;
		if (count == 0 || peer_compare(to, peer[count - 1].endpoint) != 0) {
			peer = grown(peer, count, sizeof *peer);
			peer[count++] = (struct peer){to, 0};
		}
		peer[count - 1].sockets++;
	}
	if (count)
		qsort(peer, count, sizeof *peer, sockets_order);
	*ret_count = count;
	return peer;
}

void snapshot_peers(const struct snapshot *snapshot, const struct snapshot_process *process,
	char *text, size_t size)
{
	size_t count, length = 0;
	struct peer *peer = peers_count(snapshot, process, &count);
	*text = 0;
	for (size_t i = 0; i < count; i++) {
		char one[CLI_ENDPOINT + 16], rest[32] = "";
		cli_endpoint(peer[i].endpoint, one);
		if (peer[i].sockets > 1 && count > 1)
			sprintf(one + strlen(one), " (%u)", peer[i].sockets);
		if (i + 1 < count)
			snprintf(rest, sizeof rest, ", %zu more", count - i - 1);
		if (i && length + 2 + strlen(one) + strlen(rest) >= size) {
			snprintf(text + length, size - length, ", %zu more", count - i);
			break;
		}
		length +=
			(size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "", one);
		if (length >= size)
			break;
	}
	free(peer);
}

// --- JSON ----------------------------------------------------------------------------------------

static struct json_object *pool_json(const struct snapshot_pool *pool)
{
	struct json_object *object = json_object_new_object();
	cli_json_text(object, "pool", pool->name);
	cli_json_text(object, "ports", pool->ports);
	cli_json_number(object, "size", pool->size);
	cli_json_number(object, "leased", pool->usage.leased);
	cli_json_number(object, "busy", pool->usage.busy);
	cli_json_number(object, "holding", pool->usage.holding);
	cli_json_number(object, "free", pool->usage.free);
	cli_json_number(object, "foreign", pool->usage.foreign);
	cli_json_number(object, "exhausted", pool->exhausted);
	return object;
}

static struct json_object *process_json(
	const struct snapshot *snapshot, const struct snapshot_process *process)
{
	const struct snapshot_pool *pool = &snapshot->pool[process->pool];
	struct json_object *object = json_object_new_object();
	struct json_object *peers = json_object_new_array();
	size_t count;
	struct peer *peer = peers_count(snapshot, process, &count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *to = json_object_new_object();
		cli_json_endpoint(to, "peer_address", "peer_port", peer[i].endpoint);
		cli_json_number(to, "sockets", peer[i].sockets);
		json_object_array_add(peers, to);
	}
	free(peer);
	cli_json_some(object, "pid", (uint32_t)process->pid);
	cli_json_text(object, "command", process->pid ? process->command : NULL);
	cli_json_text(object, "pool", pool->name);
	cli_json_text(object, "ports", pool->ports);
	cli_json_text(object, "kind", process->foreign ? "foreign" : "lease");
	cli_json_number(object, "sockets", process->sockets);
	json_object_object_add(object, "peers", peers);
	return object;
}

struct json_object *snapshot_json(const struct snapshot *snapshot, uint64_t time_ns)
{
	struct json_object *object = json_object_new_object();
	struct json_object *pools = json_object_new_array();
	struct json_object *processes = json_object_new_array();
	for (size_t i = 0; i < snapshot->pools; i++)
		json_object_array_add(pools, pool_json(&snapshot->pool[i]));
	for (size_t i = 0; i < snapshot->processes; i++)
		json_object_array_add(processes, process_json(snapshot, &snapshot->process[i]));
	cli_json_time(object, "time", time_ns);
	json_object_object_add(object, "pools", pools);
	json_object_object_add(object, "processes", processes);
	return object;
}
