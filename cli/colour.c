// SPDX-License-Identifier: MIT
// Colours on a terminal, its width, and whether anybody reads.
#include "cli.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool off;

void cli_colour_off(void)
{
	off = true;
}

bool cli_colour_on(void)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM"); // https://no-color.org
	return !off && !(none && *none) && term && *term && strcmp(term, "dumb") != 0 &&
		isatty(STDOUT_FILENO);
}

const char *cli_colour(enum cli_colour colour)
{
	static const char *const begin[] = {[CLI_PLAIN] = "\033[0m",
		[CLI_GOOD] = "\033[32m",
		[CLI_WARN] = "\033[33m",
		[CLI_BAD] = "\033[31m",
		[CLI_FAINT] = "\033[2m"};
	return cli_colour_on() ? begin[colour] : "";
}

size_t cli_terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	if (columns && atoi(columns) > 0)
		return (size_t)atoi(columns);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return 80;
}

bool cli_is_read(uint64_t wait_ms)
{
	struct pollfd out = {.fd = STDOUT_FILENO};
	return poll(&out, 1, (int)wait_ms) == 0;
}
