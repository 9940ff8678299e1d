// SPDX-License-Identifier: MIT
// portfence status: the pools.
#include "json.h"
#include "leases.h"

#include <portfence/reap.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence status [--no-color] [--json] [POOL]\n"
	"\n"
	"Show the pools of this network namespace, after giving back what no socket uses. POOL, a\n"
	"name or ports as they are shown, is shown in detail, one thing a line. On a terminal,\n"
	"columns that do not fit are left out. With --json, all is an array of objects, see\n"
	"portfence(1).\n"
	"\n"
	"  SIZE       ports in the pool\n"
	"  CLAIM      how ports are fixed on outgoing TCP sockets: late (at connect) or bind\n"
	"  LEASED     ports in use; TCP can use a port once per destination, so it may pass SIZE\n"
	"  HOLDING    ports released lately, used last\n"
	"  FREE       ports that are neither in use nor holding\n"
	"  FOREIGN    ports that programs outside the fence have\n"
	"  EXHAUSTED  calls that failed for want of a port\n"
	"  REFUSED    claims that the kernel refused, so that another port was tried\n"
	"  FALLBACK   calls that got a port of the kernel's choice, for want of another\n"
	"  QUOTA      calls that failed because their process has all it may have\n"
	"  REAPED     ports given back because no socket used them any more\n";

// What there is to show of one pool.
struct view {
	const struct cli_segment *segment;
	const struct pf_pool *pool;
	struct cli_usage usage;
	uint32_t sockets;   // that have a lease
	uint32_t intruders; // sockets outside the fence
	const struct cli_blocks *blocks;
};

struct report {
	const char *pool; // NULL: all, in a table
	bool found;
	size_t width; // of the terminal; 0: there is none
	struct cli_processes *processes;
	struct cli_table *table;
	struct json_object *array; // NULL: no JSON
	struct cli_blocks blocks;
};

static unsigned long long counted(const struct view *view, enum pf_counter counter)
{
	return pf_pool_counted(view->pool, counter);
}

// Adds a number that is better 0.
static void trouble_add(struct cli_table *table, unsigned long long count, enum cli_colour colour)
{
	cli_table_add(table, "%llu", count);
	if (count)
		cli_table_paint(table, colour);
}

// Adds the ranges; if there are many, for a terminal only the first.
static void ranges_add(const struct report *report, const struct pf_ranges *ranges)
{
	char text[PF_RANGES_TEXT];
	pf_ranges_format(ranges, text);
	char *comma = strchr(text, ',');
	if (report->width && comma && strlen(text) > 24)
		cli_table_add(report->table, "%.*s,...", (int)(comma - text), text);
	else
		cli_table_add(report->table, "%s", text);
}

static const char *claim_name(const struct pf_pool *pool)
{
	return pf_pool_claim(pool) == PF_CLAIM_LATE ? "late" : "bind";
}

static void row_add(const struct report *report, const struct view *view)
{
	struct cli_table *table = report->table;
	cli_table_add(table, "%s", view->pool->name);
	ranges_add(report, &view->pool->ranges);
	cli_table_add(table, "%u", view->pool->ranges.ports);
	cli_table_add(table, "%s", claim_name(view->pool));
	cli_table_add(table, "%u", view->usage.leased);
	cli_table_add(table, "%u", view->usage.holding);
	cli_table_add(table, "%u", view->usage.free);
	if (!view->usage.free)
		cli_table_paint(table, CLI_WARN);
	trouble_add(table, view->usage.foreign, CLI_WARN);
	trouble_add(table, counted(view, PF_COUNT_EXHAUSTED), CLI_BAD);
	cli_table_add(table, "%llu", counted(view, PF_COUNT_REFUSED));
	trouble_add(table, counted(view, PF_COUNT_FALLBACK), CLI_WARN);
	trouble_add(table, counted(view, PF_COUNT_QUOTA), CLI_WARN);
	cli_table_add(table, "%llu", counted(view, PF_COUNT_REAPED));
}

// Where the details of a pool go: rows of their own, or the fields of an object.
struct details {
	struct cli_table *table;
	struct json_object *object; // NULL: the table
};

static void text_add(const struct details *details, const char *name, const char *text)
{
	if (details->object)
		cli_json_text(details->object, name, text);
	else {
		cli_table_add(details->table, "%s", name);
		cli_table_add(details->table, "%s", text);
	}
}

// Adds a number that has this colour if it is not 0.
static void number_add(const struct details *details, const char *name, unsigned long long number,
	enum cli_colour colour)
{
	if (details->object)
		cli_json_number(details->object, name, number);
	else {
		cli_table_add(details->table, "%s", name);
		trouble_add(details->table, number, colour);
	}
}

static void hold_add(const struct details *details, uint32_t hold_ms)
{
	char text[32];
	snprintf(text, sizeof text, "%g s", hold_ms / 1000.0);
	if (details->object)
		cli_json_number(details->object, "hold_ms", hold_ms);
	else
		text_add(details, "hold", text);
}

static void counters_add(const struct details *details, const struct view *view)
{
	static const struct {
		const char *name;
		enum pf_counter counter;
		enum cli_colour colour;
	} counters[] = {
		{"exhausted", PF_COUNT_EXHAUSTED, CLI_BAD},
		{"refused", PF_COUNT_REFUSED, CLI_PLAIN},
		{"searched", PF_COUNT_SEARCHED, CLI_PLAIN},
		{"strayed", PF_COUNT_STRAYED, CLI_WARN},
		{"fallback", PF_COUNT_FALLBACK, CLI_WARN},
		{"quota", PF_COUNT_QUOTA, CLI_WARN},
		{"reaped", PF_COUNT_REAPED, CLI_PLAIN},
	};
	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
		number_add(details, counters[i].name, counted(view, counters[i].counter),
			counters[i].colour);
}

#define BLOCK_TEXT sizeof "65535-65535"

// Writes FIRST-LAST. Returns its length.
static size_t block_format(const struct pf_range *block, char *text)
{
	return (size_t)snprintf(text, BLOCK_TEXT, "%u-%u", block->first, block->last);
}

// Returns true if the block has ports of the pool.
static bool block_is_of(const struct pf_range *block, const struct pf_ranges *ranges)
{
	for (uint32_t i = 0; i < ranges->count; i++)
		if (ranges->range[i].first <= block->last && block->first <= ranges->range[i].last)
			return true;
	return false;
}

static void blocks_add(const struct details *details, const struct view *view)
{
	struct json_object *array = details->object ? json_object_new_array() : NULL;
	unsigned long long count = 0;
	for (size_t i = 0; i < view->blocks->count; i++) {
		const struct pf_range *block = &view->blocks->block[i];
		char text[BLOCK_TEXT];
		if (!block_is_of(block, &view->pool->ranges))
			continue;
		count++;
		block_format(block, text);
		if (array)
			json_object_array_add(array, json_object_new_string(text));
	}
	if (array)
		json_object_object_add(details->object, "blocks", array);
	else
		number_add(details, "blocks", count, CLI_PLAIN);
}

static void details_add(const struct details *details, const struct view *view)
{
	char ranges[PF_RANGES_TEXT];
	const struct pf_pool *pool = view->pool;
	const struct cli_usage *now = &view->usage;
	pf_ranges_format(&pool->ranges, ranges);
	text_add(details, "pool", pool->name);
	text_add(details, "ports", ranges);
	number_add(details, "size", pool->ranges.ports, CLI_PLAIN);
	text_add(details, "sharing", (pool->flags & PF_POLICY_EXCLUSIVE) ? "none" : "destination");
	text_add(details, "claim", claim_name(pool));
	hold_add(details, pool->hold_ms);
	number_add(details, "leased", now->leased, CLI_PLAIN);
	number_add(details, "busy", now->busy, CLI_PLAIN);
	number_add(details, "holding", now->holding, CLI_PLAIN);
	number_add(details, "free", now->free, CLI_PLAIN);
	number_add(details, "foreign", now->foreign, CLI_PLAIN);
	number_add(details, "sockets", view->sockets, CLI_PLAIN);
	number_add(details, "intruders", view->intruders, CLI_PLAIN);
	blocks_add(details, view);
	counters_add(details, view);
	text_add(details, "segment", view->segment->path);
}

static void detail_show(const struct view *view)
{
	CLI_TABLE table = cli_table_new(2);
	const struct details details = {.table = table};
	details_add(&details, view);
	cli_table_print(table);
}

static void json_add(struct json_object *array, const struct view *view)
{
	const struct details details = {.object = json_object_new_object()};
	details_add(&details, view);
	json_object_array_add(array, details.object);
}

static void pool_show(struct report *report, const struct cli_segment *segment, uint32_t i,
	const struct cli_leases *leases)
{
	struct view view = {
		.segment = segment, .pool = &segment->segment.pool[i], .blocks = &report->blocks};
	struct cli_port *ports = cli_ports_read(segment, i, leases);
	view.usage = cli_usage(ports, view.pool->ranges.ports);
	free(ports);
	for (size_t l = 0; l < leases->count; l++) {
		const struct cli_lease *lease = &leases->lease[l];
		view.sockets += lease->pool == i && lease->kind == CLI_LEASE;
		view.intruders += lease->pool == i && lease->kind == CLI_FOREIGN;
	}
	if (report->array)
		json_add(report->array, &view);
	else if (!report->pool)
		row_add(report, &view);
	else {
		if (report->found)
			putchar('\n');
		detail_show(&view);
	}
	report->found = true;
}

static void segment_show(struct cli_segment *segment, void *arg)
{
	struct report *report = arg;
	CLI_LEASES leases = {0};
	cli_leases_refresh(&leases, segment, report->processes);
	for (uint32_t i = 0; i < segment->segment.pools; i++)
		if (!report->pool || cli_pool_is(&segment->segment.pool[i], report->pool))
			pool_show(report, segment, i, &leases);
}

// Prints all blocks, as many on a line as fit on the terminal.
static void blocks_print(const struct report *report)
{
	size_t at = 0, width = report->width ? report->width : SIZE_MAX;
	for (size_t i = 0; i < report->blocks.count; i++) {
		char text[BLOCK_TEXT];
		size_t length = block_format(&report->blocks.block[i], text);
		bool begins = i == 0 || at + 1 + length > width;
		at = begins ? 8 + length : at + 1 + length;
		printf("%s%s", i == 0 ? "\nBLOCKS  " : begins ? "\n        " : " ", text);
	}
	if (report->blocks.count)
		putchar('\n');
}

int cli_status(int argc, char **argv)
{
	static const char *const heading[] = {"POOL", "PORTS", "SIZE", "CLAIM", "LEASED", "HOLDING",
		"FREE", "FOREIGN", "EXHAUSTED", "REFUSED", "FALLBACK", "QUOTA", "REAPED"};
	struct report report = {.width = isatty(STDOUT_FILENO) ? cli_terminal_width() : 0};
	bool json = false;
	int result = cli_options(argc, argv, usage, &report.pool, &json);
	if (result >= 0)
		return result;
	CLI_PROCESSES processes = cli_processes_new();
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	report.processes = processes;
	report.table = table;
	if (json)
		report.array = json_object_new_array();
	cli_blocks_read(&report.blocks);
	result = cli_segments(segment_show, &report);
	if (!result && report.pool && !report.found)
		result = cli_error("status: no pool '%s' here", report.pool);
	if (result)
		json_object_put(report.array);
	else if (json)
		cli_json_print(report.array);
	else if (!report.pool) {
		cli_table_print_within(table, report.width);
		blocks_print(&report);
	}
	free(report.blocks.block);
	return result;
}
