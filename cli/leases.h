// SPDX-License-Identifier: MIT
// What the subcommands that show leases share: the sockets on the ports of pools, whose they are,
// and what that makes of each port.
#ifndef PF_LEASES_H
#define PF_LEASES_H

#include "cli.h"

// What a socket on a port of a pool is. The ledger alone cannot tell: a reap marks the ports of
// programs outside the fence as used, too, so that nobody tries them.
enum cli_kind {
	CLI_LEASE,   // the ledger has it, and its process, if it can be looked into, the library
	CLI_FOREIGN, // its process has no library, or the ledger knows nothing of it
	CLI_ENDING,  // TIME-WAIT; or no process has it any more, and the ledger knows nothing of it
};

struct cli_lease {
	struct pf_socket socket;
	enum cli_kind kind;
	bool strict;         // a lease that the supervisor of a strict run gave
	uint32_t pool;       // its place in the segment
	uint32_t stripe;     // where a reap marks it
	uint32_t index;      // of the port in the pool
	pid_t pid;           // 0: not known
	const char *command; // NULL: not known; as long as the processes are there
	char name[PF_POOL_NAME];
};

struct cli_leases {
	struct cli_lease *lease;
	size_t count, room;
};

// Adds the sockets on the ports of a segment's pools, whatever their kind; says so if the kernel
// does not list them.
void cli_leases_add(struct cli_leases *leases, const struct cli_segment *segment,
	struct cli_processes *processes);

// Gives back what no socket uses, then adds as above.
void cli_leases_refresh(
	struct cli_leases *leases, struct cli_segment *segment, struct cli_processes *processes);

void cli_leases_free(struct cli_leases *leases);
#define CLI_LEASES __attribute__((cleanup(cli_leases_free))) struct cli_leases

// One port of a pool, at this moment.
struct cli_port {
	uint16_t leases; // stripes that have it in use: destinations, nearly always
	bool foreign;    // a program outside the fence has it, too
	bool holding;    // and no stripe has it in use
};

// Returns the ports of a pool of the segment, pool->ranges.ports of them, for free(). `leases` are
// those of the segment, at least.
struct cli_port *cli_ports_read(
	const struct cli_segment *segment, uint32_t pool, const struct cli_leases *leases);

// What the ports of a pool add up to.
struct cli_usage {
	uint32_t leased;  // leases
	uint32_t busy;    // ports that have one
	uint32_t holding; // ports without one, released lately
	uint32_t foreign; // ports that a program outside the fence has, some of them leased, too
	uint32_t free;    // ports that are nothing of it
};

// Returns the sums over `count` ports.
struct cli_usage cli_usage(const struct cli_port *ports, uint32_t count);

// Returns true if `text` means the pool: its name, or its ports as `status` shows them.
bool cli_pool_is(const struct pf_pool *pool, const char *text);

// Returns "tcp" or "udp".
const char *cli_protocol(uint8_t protocol);

// Returns the name of a socket's state, as ss(8) has it.
const char *cli_state(const struct pf_socket *socket);

// Writes the address of a rule's network into text[CLI_ENDPOINT]. Returns true if it is IPv4, and
// in ret_bits how many of its 32 or 128 bits count.
bool cli_network(const struct pf_rule_destination *network, char *text, unsigned *ret_bits);

// Writes "ADDRESS:PORT" or "[ADDRESS]:PORT", "*" without a port, into text[CLI_ENDPOINT].
#define CLI_ENDPOINT 64
void cli_endpoint(const struct pf_endpoint *endpoint, char *text);

// Writes "ADDRESS" into text[CLI_ENDPOINT].
void cli_address(const struct pf_endpoint *endpoint, char *text);

// Which sockets or leases are to be shown.
struct cli_filter {
	const char *pool;       // see cli_pool_is; NULL: any
	struct pf_ranges ports; // count 0: any
	pid_t pid;              // 0: any
	bool to;                // only what is connected to:
	struct pf_rule_destination destination;
};

// Returns true if what is on `port` of `pool` passes.
bool cli_filter_passes(const struct cli_filter *filter, const struct pf_pool *pool, uint16_t port,
	pid_t pid, const struct pf_endpoint *peer);

// The filter's options, for getopt_long(3).
enum { CLI_FILTER_POOL = 256, CLI_FILTER_PORT, CLI_FILTER_PID, CLI_FILTER_TO, CLI_FILTER_END };
#define CLI_FILTER_OPTIONS                                                                         \
	{"pool", required_argument, NULL, CLI_FILTER_POOL},                                        \
		{"port", required_argument, NULL, CLI_FILTER_PORT},                                \
		{"pid", required_argument, NULL, CLI_FILTER_PID},                                  \
	{                                                                                          \
		"to", required_argument, NULL, CLI_FILTER_TO                                       \
	}

// Takes one of them, with its value in optarg, or says what is wrong with another. Returns 0 or
// EXIT_PORTFENCE.
int cli_filter_option(struct cli_filter *filter, char **argv, int option);

#endif
