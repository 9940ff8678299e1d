// SPDX-License-Identifier: MIT
// What `portfence top` shows at one moment: pools, and what their leases are of.
#ifndef PF_SNAPSHOT_H
#define PF_SNAPSHOT_H

#include "leases.h"

struct snapshot_pool {
	char name[PF_POOL_NAME];
	char ports[PF_RANGES_TEXT];
	uint32_t size;
	struct cli_usage usage;
	uint64_t exhausted;
};

// The sockets of one process on ports of one pool.
struct snapshot_process {
	pid_t pid;        // 0: not known
	char command[16]; // "-": not known
	uint32_t pool;    // its place among the pools
	bool foreign;     // they are no leases
	uint32_t sockets;
	size_t first; // of them, among the leases; they are in the order of peers
};

struct snapshot {
	struct snapshot_pool *pool;
	struct snapshot_process *process;
	size_t pools, processes;
	size_t leased;            // over all pools
	struct cli_leases leases; // lease[].pool is a place among the pools here
};

enum snapshot_order { SNAPSHOT_BY_COUNT, SNAPSHOT_BY_COMMAND, SNAPSHOT_BY_POOL };

// Reads all pools of this network namespace; with `all`, also who has their ports from outside the
// fence. Returns 0, or EXIT_PORTFENCE with a message.
int snapshot_read(struct snapshot *ret_snapshot, bool all);
void snapshot_free(struct snapshot *snapshot);

// Puts the processes into this order.
void snapshot_sort(struct snapshot *snapshot, enum snapshot_order order);

// Returns what tells a pool from the others: its name, or, if another has that, too, its ports.
const char *snapshot_label(const struct snapshot *snapshot, uint32_t pool);

// Writes "PEER (SOCKETS), ..." into text[size], those with the most first; what does not fit is
// counted at the end.
void snapshot_peers(const struct snapshot *snapshot, const struct snapshot_process *process,
	char *text, size_t size);

// Returns all of it as one object, taken at `time_ns`; portfence(1) lists the fields.
struct json_object *snapshot_json(const struct snapshot *snapshot, uint64_t time_ns);

#endif
