// SPDX-License-Identifier: MIT
// The leases that the segments' rings remember.
#ifndef PF_HISTORY_H
#define PF_HISTORY_H

#include "leases.h"

// A lease that was taken. What can be checked is: the port is the pool's, the name can be printed.
struct cli_taken {
	struct pf_lease lease;
	char pool[PF_POOL_NAME];
	bool live; // a socket has it still: whoever finds that out says so
};

struct cli_history {
	const struct cli_filter *filter;
	struct cli_taken *taken;
	size_t count, room;
	uint64_t oldest_ns;    // of all that is remembered, whatever the filter; 0: nothing is
	struct watch *watches; // what was seen in each ring
};

// Reads what the rings of all segments remember and the filter lets pass, in the order of time; on
// later calls only what is new. Returns 0 or EXIT_PORTFENCE.
int cli_history_read(struct cli_history *history);

void cli_history_free(struct cli_history *history);
#define CLI_HISTORY __attribute__((cleanup(cli_history_free))) struct cli_history

// Returns a name for how a lease was taken: "late", "bind", "any", "port" or "listen"; NULL for 0.
const char *cli_how(const struct pf_lease *lease);

// Returns the name of a user, or the number, in static memory.
const char *cli_user(uint32_t uid);

// Adds all of it but the time.
struct json_object;
void cli_json_taken(struct json_object *object, const struct cli_taken *taken);

#endif
