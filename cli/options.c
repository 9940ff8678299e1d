// SPDX-License-Identifier: MIT
// The options that the listing subcommands share.
#include "cli.h"

#include <getopt.h>
#include <stdio.h>

int cli_options(int argc, char **argv, const char *usage, bool *all)
{
	static const struct option options[] = {
		{"all", no_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "ah", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (option != 'a' || !all)
			return cli_error("%s: no option '%s'; see portfence %s --help", argv[0],
				argv[optind - 1], argv[0]);
		*all = true;
	}
	if (optind < argc)
		return cli_error("%s: '%s' is one argument too many", argv[0], argv[optind]);
	return -1;
}
