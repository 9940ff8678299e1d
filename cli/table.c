// SPDX-License-Identifier: MIT
// A table of text with aligned columns.
#include "cli.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cell {
	char *text;
	enum cli_colour colour;
};

struct cli_table {
	size_t columns;
	size_t cells, room;
	struct cell *cell;
};

// Returns `memory`, or ends the program: there is nothing to show without it.
static void *or_die(void *memory)
{
	if (!memory)
		exit(cli_error("out of memory"));
	return memory;
}

struct cli_table *cli_table_new(size_t columns)
{
	struct cli_table *table = or_die(calloc(1, sizeof *table));
	table->columns = columns;
	return table;
}

void cli_table_free(struct cli_table *table)
{
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i].text);
	free(table->cell);
	free(table);
}

void cli_table_add(struct cli_table *table, const char *format, ...)
{
	struct cell cell = {.colour = CLI_PLAIN};
	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&cell.text, format, arguments) < 0)
		or_die(NULL);
	va_end(arguments);
	if (table->cells == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->cell = or_die(realloc(table->cell, table->room * sizeof *table->cell));
	}
	table->cell[table->cells++] = cell;
}

void cli_table_paint(struct cli_table *table, enum cli_colour colour)
{
	table->cell[table->cells - 1].colour = colour;
}

// Returns the width of the widest cell of a column.
static size_t width_of(const struct cli_table *table, size_t column)
{
	size_t widest = 0;
	for (size_t i = column; i < table->cells; i += table->columns)
		if (strlen(table->cell[i].text) > widest)
			widest = strlen(table->cell[i].text);
	return widest;
}

static void cell_print(const struct cell *cell, int width)
{
	int length = (int)strlen(cell->text);
	bool colours = cell->colour != CLI_PLAIN;
	printf("%s%s%s%*s", colours ? cli_colour(cell->colour) : "", cell->text,
		colours ? cli_colour(CLI_PLAIN) : "", width > length ? width - length : 0, "");
}

void cli_table_print_within(const struct cli_table *table, size_t width)
{
	size_t widths[16], columns = 0, total = 0;
	assert(table->columns > 0 && table->columns <= sizeof widths / sizeof *widths);
	for (; columns < table->columns; columns++) {
		widths[columns] = width_of(table, columns);
		total += widths[columns] + (columns ? 2 : 0);
		if (columns && width && total > width)
			break;
	}
	for (size_t i = 0; i < table->cells; i++) {
		size_t column = i % table->columns;
		if (column >= columns)
			continue;
		bool last = column == columns - 1;
		cell_print(&table->cell[i], last ? 0 : (int)widths[column] + 2);
		if (last)
			putchar('\n');
	}
}

void cli_table_print(const struct cli_table *table)
{
	cli_table_print_within(table, 0);
}
