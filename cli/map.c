// SPDX-License-Identifier: MIT
// portfence map: the pools, drawn.
//
// A cell is one port, or as many as it takes to fit some twenty rows of a terminal's width: 1, 2,
// 5, 10... Ten cells stand together, and a range begins on a row of its own, so that a port is
// found by its row's number and the ruler's.
#include "json.h"
#include "leases.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: portfence map [--json] [POOL]\n"
	"\n"
	"Draw the pools of this network namespace, after giving back what no socket uses; POOL is "
	"a\n"
	"name, or ports as status shows them. Each row begins with its first port.\n"
	"\n"
	"  --json  print the ports that are not free, for programs\n";

#define ROWS 20 // at most, unless there are more ranges
#define GROUP 10

// What a cell shows: a character, where there is only ASCII, and a colour.
enum cell { FREE, HOLDING, SPARSE, LEASED, SHARED, CROWDED, FOREIGN };

static const struct {
	const char *utf8, *ascii;
	enum cli_colour colour;
} cells[] = {
	[FREE] = {"·", ".", CLI_FAINT},
	[HOLDING] = {"~", "~", CLI_WARN},
	[SPARSE] = {"░", ":", CLI_GOOD},
	[LEASED] = {"▒", "+", CLI_GOOD},
	[SHARED] = {"▓", "*", CLI_GOOD},
	[CROWDED] = {"█", "#", CLI_GOOD},
	[FOREIGN] = {"x", "x", CLI_BAD},
};

struct map {
	const char *pool; // NULL: all
	bool found;
	size_t width;
	bool utf8;
	struct cli_processes *processes;
	struct json_object *array; // NULL: drawn
	enum cli_colour colour;    // that the terminal has now
};

// What is drawn of one pool.
struct drawing {
	struct map *map;
	const struct pf_pool *pool;
	const struct cli_port *ports;
	uint32_t scale; // ports of a cell
	uint32_t row;   // cells of a row
};

static void colour_set(struct map *map, enum cli_colour colour)
{
	if (map->colour == colour)
		return;
	// Faint and a colour are two things, and both would stay.
	fputs(cli_colour(CLI_PLAIN), stdout);
	if (colour != CLI_PLAIN)
		fputs(cli_colour(colour), stdout);
	map->colour = colour;
}

static void cell_print(struct map *map, enum cell cell)
{
	colour_set(map, cells[cell].colour);
	fputs(map->utf8 ? cells[cell].utf8 : cells[cell].ascii, stdout);
}

// Returns what most of these ports are; that they are free counts only if all are.
static enum cell cell_of(const struct cli_port *ports, uint32_t count)
{
	struct cli_usage sum = cli_usage(ports, count);
	if (sum.foreign && sum.foreign >= sum.busy && sum.foreign >= sum.holding)
		return FOREIGN;
	if (sum.holding > sum.busy)
		return HOLDING;
	if (!sum.busy)
		return FREE;
	if (2 * sum.leased <= count)
		return SPARSE;
	if (sum.leased <= count)
		return LEASED;
	return sum.leased <= 4 * count ? SHARED : CROWDED;
}

// --- sizes ---------------------------------------------------------------------------------------

// Returns the ports in a range.
static uint32_t range_ports(const struct pf_ranges *ranges, uint32_t i)
{
	return (uint32_t)(ranges->range[i].last - ranges->range[i].first) / ranges->step + 1;
}

// Returns the rows that the pool takes at this scale.
static uint32_t rows(const struct pf_ranges *ranges, uint32_t ports_of_row)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < ranges->count; i++)
		sum += (range_ports(ranges, i) + ports_of_row - 1) / ports_of_row;
	return sum;
}

// Returns how many cells a row has: as many tens as fit behind its number, fives of them if
// possible, for round numbers.
static uint32_t row_cells(size_t width)
{
	uint32_t groups = width > 17 ? (uint32_t)(width - 6) / (GROUP + 1) : 1;
	if (groups > 5)
		groups -= groups % 5;
	return groups * GROUP;
}

// Returns how many ports a cell has.
static uint32_t scale_of(const struct pf_ranges *ranges, uint32_t row)
{
	static const uint32_t steps[] = {1, 2, 5};
	uint32_t most = ranges->count > ROWS ? ranges->count : ROWS;
	for (uint32_t i = 0, tens = 1;; i++) {
		uint32_t scale = steps[i % 3] * tens;
		if (rows(ranges, row * scale) <= most)
			return scale;
		if (i % 3 == 2)
			tens *= 10;
	}
}

// --- pictures ------------------------------------------------------------------------------------

static void title_print(const struct drawing *drawing)
{
	const struct pf_pool *pool = drawing->pool;
	struct cli_usage sum = cli_usage(drawing->ports, pool->ranges.ports);
	char ranges[PF_RANGES_TEXT];
	pf_ranges_format(&pool->ranges, ranges);
	int room = (int)drawing->map->width - (int)strlen(pool->name) - 2;
	if (room < 8)
		room = 8;
	if ((int)strlen(ranges) > room)
		strcpy(ranges + room - 3, "...");
	printf("%s  %s\n%u ports: %u leases on %u, %u holding, %u free, %u foreign\n\n", pool->name,
		ranges, pool->ranges.ports, sum.leased, sum.busy, sum.holding, sum.free,
		sum.foreign);
}

// Prints how far each tenth cell is from the first.
static void ruler_print(const struct drawing *drawing)
{
	const struct pf_ranges *ranges = &drawing->pool->ranges;
	uint32_t longest = 0;
	for (uint32_t i = 0; i < ranges->count; i++)
		if (range_ports(ranges, i) > longest)
			longest = range_ports(ranges, i);
	printf("       ");
	for (uint32_t cell = 0; cell < drawing->row && cell * drawing->scale < longest;
		cell += GROUP)
		printf(cell + GROUP < drawing->row && (cell + GROUP) * drawing->scale < longest
				? "+%-10u"
				: "+%u",
			cell * drawing->scale * ranges->step);
	putchar('\n');
}

// Prints a row of ports with the indexes from `at` to before `end`. Returns the index after it.
static uint32_t row_print(const struct drawing *drawing, uint32_t at, uint32_t end)
{
	printf("%5u  ", pf_ranges_port(&drawing->pool->ranges, at));
	for (uint32_t cell = 0; cell < drawing->row && at < end; cell++) {
		uint32_t count = end - at < drawing->scale ? end - at : drawing->scale;
		if (cell && cell % GROUP == 0)
			putchar(' ');
		cell_print(drawing->map, cell_of(drawing->ports + at, count));
		at += count;
	}
	colour_set(drawing->map, CLI_PLAIN);
	putchar('\n');
	return at;
}

static void legend_add(struct map *map, enum cell cell, const char *meaning)
{
	cell_print(map, cell);
	colour_set(map, CLI_PLAIN);
	printf(" %s", meaning);
}

static void legend_print(const struct drawing *drawing)
{
	struct map *map = drawing->map;
	printf("\n       ");
	legend_add(map, FREE, "free  ");
	legend_add(map, HOLDING, "holding  ");
	legend_add(map, FOREIGN, "foreign");
	printf("\n       ");
	if (drawing->scale == 1) {
		legend_add(map, LEASED, "leased  ");
		legend_add(map, SHARED, "to 2-4 destinations  ");
		legend_add(map, CROWDED, "to more\n");
		return;
	}
	printf("leases a port: ");
	legend_add(map, SPARSE, "up to 1/2  ");
	legend_add(map, LEASED, "up to 1  ");
	legend_add(map, SHARED, "up to 4  ");
	legend_add(map, CROWDED, "more\n");
	printf("       a cell is %u ports, and shows what most are that are not free\n",
		drawing->scale);
}

static void pool_draw(struct map *map, const struct pf_pool *pool, const struct cli_port *ports)
{
	struct drawing drawing = {.map = map, .pool = pool, .ports = ports};
	drawing.row = row_cells(map->width);
	drawing.scale = scale_of(&pool->ranges, drawing.row);
	if (map->found)
		putchar('\n');
	map->found = true;
	title_print(&drawing);
	ruler_print(&drawing);
	for (uint32_t i = 0, at = 0; i < pool->ranges.count; i++) {
		uint32_t end = at + range_ports(&pool->ranges, i);
		while (at < end)
			at = row_print(&drawing, at, end);
	}
	legend_print(&drawing);
}

// Adds the ports that are not free.
static void json_add(struct map *map, const struct pf_pool *pool, const struct cli_port *ports)
{
	map->found = true;
	for (uint32_t i = 0; i < pool->ranges.ports; i++) {
		if (!ports[i].leases && !ports[i].holding && !ports[i].foreign)
			continue;
		struct json_object *port = json_object_new_object();
		cli_json_text(port, "pool", pool->name);
		cli_json_number(port, "port", pf_ranges_port(&pool->ranges, i));
		cli_json_number(port, "leases", ports[i].leases);
		cli_json_bool(port, "holding", ports[i].holding);
		cli_json_bool(port, "foreign", ports[i].foreign);
		json_object_array_add(map->array, port);
	}
}

static void segment_draw(struct cli_segment *segment, void *arg)
{
	struct map *map = arg;
	CLI_LEASES leases = {0};
	cli_leases_refresh(&leases, segment, map->processes);
	for (uint32_t i = 0; i < segment->segment.pools; i++) {
		const struct pf_pool *pool = &segment->segment.pool[i];
		if (map->pool && !cli_pool_is(pool, map->pool))
			continue;
		struct cli_port *ports = cli_ports_read(segment, i, &leases);
		if (map->array)
			json_add(map, pool, ports);
		else
			pool_draw(map, pool, ports);
		free(ports);
	}
}

int cli_map(int argc, char **argv)
{
	struct map map = {.width = cli_terminal_width()};
	bool json = false;
	int result = cli_options(argc, argv, usage, &map.pool, &json);
	if (result >= 0)
		return result;
	map.array = json ? json_object_new_array() : NULL;
	setlocale(LC_CTYPE, "");
	map.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	CLI_PROCESSES processes = cli_processes_new();
	map.processes = processes;
	if (cli_segments(segment_draw, &map))
		return EXIT_PORTFENCE;
	if (map.pool && !map.found)
		return cli_error("map: no pool '%s' here", map.pool);
	if (json)
		cli_json_print(map.array);
	return 0;
}
