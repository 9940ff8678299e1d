// SPDX-License-Identifier: MIT
// What is wrong, in one line.
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>

int cli_error(const char *format, ...)
{
	va_list arguments;
	fflush(stdout);
	fputs("portfence: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return EXIT_PORTFENCE;
}
