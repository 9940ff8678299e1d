// SPDX-License-Identifier: MIT
// The options that the listing subcommands share.
#include "cli.h"

#include "util.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

int cli_options(int argc, char **argv, const char *usage, const char **argument, bool *json)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (option == 'j' && json)
			*json = true;
		else
			return cli_option_refuse(argv[0], argv, option);
	}
	if (argument && optind < argc)
		*argument = argv[optind++];
	if (optind < argc)
		return cli_error("%s: '%s' is one argument too many", argv[0], argv[optind]);
	return -1;
}

// Returns true if the argument is short options, with this one.
static bool is_cluster(const char *argument, int option)
{
	return argument && argument[0] == '-' && argument[1] != '-' && strchr(argument, option);
}

int cli_option_refuse(const char *command, char **argv, int option)
{
	// getopt_long stands behind what it read; or in it, if letters are left.
	const char *name = argv[optind - 1];
	const char letter[] = {'-', (char)optopt, 0};
	if (optopt && (is_cluster(argv[optind], optopt) || is_cluster(name, optopt)))
		name = letter;
	if (option == ':')
		return cli_error("%s: '%s' wants a value", command, name);
	return cli_error("%s: no option '%s'; see portfence %s --help", command, name, command);
}

int cli_duration(const char *text, size_t length, uint32_t *ret_ms)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}};
	const uint32_t day = 24 * 60 * 60 * 1000;
	size_t digits;
	uint64_t number = pf_number(text, length, 10, &digits);
	for (size_t i = 0; digits && i < sizeof units / sizeof *units; i++) {
		if (length - digits != strlen(units[i].name) ||
			memcmp(text + digits, units[i].name, length - digits) != 0)
			continue;
		if (number > day / units[i].ms)
			return -ERANGE;
		*ret_ms = (uint32_t)number * units[i].ms;
		return 0;
	}
	return -EINVAL;
}
