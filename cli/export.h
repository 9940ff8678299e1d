// SPDX-License-Identifier: MIT
// What the files of export share, also with the server of one of its formats.
#ifndef PF_EXPORT_H
#define PF_EXPORT_H

#include "leases.h"

#include <portfence/rule.h>

#include <stdbool.h>
#include <stdio.h>

// What is to be exported.
struct export
{
	struct pf_policy policy;
	struct pf_rules rules;
	bool filter;
};

// One line of a filter, for what does not leave from a pool's port.
struct export_line {
	const char *rule;                // whose it is
	uint32_t protocols;              // PF_POLICY_TCP, PF_POLICY_UDP, or both
	char network[CLI_ENDPOINT + 16]; // "ADDRESS/BITS"; empty: any address
	bool is_ipv4;                    // that network
	uint16_t first, last;            // the destination's ports; 1 and 65535: any
	bool accepts;                    // or drops
};

// Calls `write` for every line of a filter, in their order. What no line is about is dropped.
typedef void export_line_fn(const struct export_line *line);
void export_filter_lines(const struct export *export, export_line_fn *write);

// Writes comments about what a filter drops, although the policy may leave it to the kernel.
void export_filter_explain(const struct export *export);

// Writes the state of the pools in use, as Prometheus reads it. Returns 0, or EXIT_PORTFENCE with a
// message.
int export_prometheus(FILE *stream);

#endif
