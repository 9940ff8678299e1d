// SPDX-License-Identifier: MIT
// A set of ports, and the sysctls that name some.
#include "portset.h"

#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

char *cli_sysctl(const char *name)
{
	char path[128], *line = NULL;
	size_t size = 0;
	snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
	FILE *file = fopen(path, "re");
	if (!file)
		return NULL;
	if (getline(&line, &size, file) < 0) {
		free(line);
		line = NULL;
	}
	fclose(file);
	return line;
}

void cli_portset_add(cli_portset set, long first, long last)
{
	for (long port = first; port >= 0 && port <= last && port < CLI_PORTS; port++)
		set[port] = true;
}

int cli_portset_read(cli_portset set, const char *line)
{
	int numbers = 0;
	char *end;
	for (; *line && *line != '\n'; line = *end ? end + 1 : end) {
		long first = strtol(line, &end, 10), last = first;
		if (end == line)
			break;
		numbers++;
		if (*end == '-' || *end == '\t')
			last = strtol(end + 1, &end, 10);
		cli_portset_add(set, first, last);
	}
	return numbers;
}

char *cli_portset_format(const cli_portset set, unsigned max)
{
	char *text = NULL;
	size_t size;
	unsigned ranges = 0;
	FILE *stream = open_memstream(&text, &size);
	if (!stream)
		exit(cli_error("out of memory"));
	for (unsigned port = 0; port < CLI_PORTS; port++) {
		unsigned first = port;
		if (!set[port])
			continue;
		if (ranges++ == max) {
			fputs(",...", stream);
			break;
		}
		while (port + 1 < CLI_PORTS && set[port + 1])
			port++;
		fprintf(stream, ranges > 1 ? ",%u" : "%u", first);
		if (port > first)
			fprintf(stream, "-%u", port);
	}
	if (fclose(stream) != 0)
		exit(cli_error("out of memory"));
	return text;
}
