// SPDX-License-Identifier: MIT
// portfence status: the pools.
#include "cli.h"

#include <portfence/reap.h>

#include <stdio.h>
#include <string.h>

static const char usage[] =
	"Usage: portfence status\n"
	"\n"
	"Show the pools of this network namespace, after giving back what no socket uses.\n"
	"\n"
	"  SIZE       ports in the pool\n"
	"  CLAIM      how ports are fixed on outgoing TCP sockets: late (at connect) or bind\n"
	"  LEASED     ports in use; TCP can use a port once per destination, so it may pass SIZE\n"
	"  HOLDING    ports released lately, used last\n"
	"  FREE       ports neither in use nor holding\n"
	"  REFUSED    claims that the kernel refused: somebody else had the port\n"
	"  EXHAUSTED  calls that failed for want of a port\n"
	"  REAPED     ports given back because no socket used them any more\n";

static void segment_show(struct cli_segment *segment, void *arg)
{
	struct cli_table *table = arg;
	uint32_t reaped;
	int result = pf_reap(&segment->segment, &reaped);
	if (result < 0)
		cli_error("%s: cannot reap: %s", segment->path, strerror(-result));
	for (uint32_t i = 0; i < segment->segment.pools; i++) {
		const struct pf_pool *pool = &segment->segment.pool[i];
		struct pf_pool_usage usage_now = pf_pool_usage(pool);
		char ranges[PF_RANGES_TEXT];
		pf_ranges_format(&pool->ranges, ranges);
		cli_table_add(table, "%s", pool->name);
		cli_table_add(table, "%s", ranges);
		cli_table_add(table, "%u", pool->ranges.ports);
		cli_table_add(table, "%s", pf_pool_claim(pool) == PF_CLAIM_LATE ? "late" : "bind");
		cli_table_add(table, "%u", usage_now.used);
		cli_table_add(table, "%u", usage_now.holding);
		cli_table_add(table, "%u", usage_now.free);
		const enum pf_counter counters[] = {
			PF_COUNT_REFUSED, PF_COUNT_EXHAUSTED, PF_COUNT_REAPED};
		for (size_t c = 0; c < sizeof counters / sizeof *counters; c++)
			cli_table_add(table, "%llu",
				(unsigned long long)pf_pool_counted(pool, counters[c]));
	}
}

int cli_status(int argc, char **argv)
{
	static const char *const heading[] = {"POOL", "PORTS", "SIZE", "CLAIM", "LEASED", "HOLDING",
		"FREE", "REFUSED", "EXHAUSTED", "REAPED"};
	int result = cli_options(argc, argv, usage, NULL);
	if (result >= 0)
		return result;
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	if (cli_segments(segment_show, table))
		return EXIT_PORTFENCE;
	cli_table_print(table);
	return 0;
}
