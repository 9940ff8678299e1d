// SPDX-License-Identifier: MIT
// A table of text with aligned columns.
#include "cli.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cli_table {
	size_t columns;
	size_t cells, room;
	char **cell;
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
		free(table->cell[i]);
	free(table->cell);
	free(table);
}

void cli_table_add(struct cli_table *table, const char *format, ...)
{
	char *text;
	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	if (table->cells == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->cell = or_die(realloc(table->cell, table->room * sizeof *table->cell));
	}
	table->cell[table->cells++] = or_die(text);
}

// Returns the width of the widest cell of a column.
static size_t width(const struct cli_table *table, size_t column)
{
	size_t widest = 0;
	for (size_t i = column; i < table->cells; i += table->columns)
		if (strlen(table->cell[i]) > widest)
			widest = strlen(table->cell[i]);
	return widest;
}

void cli_table_print(const struct cli_table *table)
{
	int widths[16];
	assert(table->columns > 0 && table->columns <= sizeof widths / sizeof *widths);
	for (size_t column = 0; column < table->columns; column++)
		widths[column] = (int)width(table, column);
	for (size_t i = 0; i < table->cells; i++) {
		size_t column = i % table->columns;
		if (column == table->columns - 1)
			printf("%s\n", table->cell[i]);
		else
			printf("%-*s  ", widths[column], table->cell[i]);
	}
}
