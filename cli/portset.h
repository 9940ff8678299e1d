// SPDX-License-Identifier: MIT
// A set of ports, one by one: there are never more, and nothing is simpler.
#ifndef PF_PORTSET_H
#define PF_PORTSET_H

#include <stdbool.h>

#define CLI_PORTS 65536

typedef bool cli_portset[CLI_PORTS];

// Returns the first line of a sysctl of net.ipv4, for free(), or NULL.
char *cli_sysctl(const char *name);

void cli_portset_add(cli_portset set, long first, long last);

// Adds what "80,8000-8080" and "32768\t60999" name. Returns how many numbers were read.
int cli_portset_read(cli_portset set, const char *line);

// Returns the text of a set, "80,8000-8080", for free(); at most `max` ranges of it, then "...".
char *cli_portset_format(const cli_portset set, unsigned max);

#endif
