// SPDX-License-Identifier: MIT
// portfence run: puts the shim between a program and libc, and becomes it.
#include "cli.h"
#include "preflight.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence run --ports RANGES [--force] [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Run PROGRAM; it and all it starts take their ephemeral ports from RANGES.\n"
	"\n"
	"  -p, --ports RANGES  PORT or FIRST-LAST, several separated by commas: 20000-20999,22000\n"
	"                      (default: $PORTFENCE_PORTS)\n"
	"  -f, --force         run PROGRAM even if it cannot be fenced: if it is static, of Go,\n"
	"                      of another word size, or has a set-ID bit or file capabilities\n"
	"  -h, --help          show this\n"
	"\n"
	"Exit status: PROGRAM's own; 125 if portfence fails, 126 if PROGRAM cannot be run or "
	"fenced,\n"
	"127 if it is not found.\n";

// Puts the library behind what LD_PRELOAD has, unless it is there: next to libc, where the calls of
// the others pass by it, too. Returns 0 or an exit status.
static int preload_set(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *preload;
	if (!before || !*before)
		return setenv("LD_PRELOAD", library, 1) ? cli_error("%s", strerror(errno)) : 0;
	if (strstr(before, library))
		return 0;
	if (asprintf(&preload, "%s:%s", before, library) < 0)
		return cli_error("out of memory");
	int result = setenv("LD_PRELOAD", preload, 1);
	free(preload);
	return result ? cli_error("%s", strerror(errno)) : 0;
}

// Checks the ports and puts them into the environment. Returns 0 or an exit status.
static int ports_set(const char *ports)
{
	struct pf_ranges ranges;
	char text[PF_RANGES_TEXT], error[PF_ERROR_TEXT];
	if (!ports)
		return cli_error("run: no ports; expected --ports RANGES, as in 20000-20999");
	if (pf_ranges_parse(ports, &ranges, error) < 0)
		return cli_error("ports %s", error);
	pf_ranges_format(&ranges, text);
	return setenv("PORTFENCE_PORTS", text, 1) ? cli_error("%s", strerror(errno)) : 0;
}

// Returns true if the program is to be executed. If not, or if it will be unfenced, a line says
// why.
static bool preflight_passes(const struct cli_preflight *preflight, bool force)
{
	char name[2 * PATH_MAX + 32];
	cli_preflight_name(preflight, name, sizeof name);
	if (preflight->unfenced && force)
		cli_error("%s: %s; it runs unfenced", name, preflight->why);
	else if (preflight->unfenced)
		cli_error("%s: %s, so it cannot be fenced; %s, or with --force to run it unfenced",
			name, preflight->why, preflight->cure);
	else if (preflight->hopeless && !force)
		cli_error("%s: %s", name, preflight->why);
	return force || (!preflight->unfenced && !preflight->hopeless);
}

// Becomes the program. Returns the exit status if it cannot.
static int program_run(char **argv, bool force)
{
	struct cli_preflight preflight;
	cli_preflight(argv[0], &preflight);
	if (!preflight_passes(&preflight, force))
		return EXIT_CANNOT_RUN;
	execvp(argv[0], argv);
	int error = errno;
	bool known = preflight.error == error && preflight.why[0];
	cli_error("%s: %s", argv[0], known ? preflight.why : strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

int cli_run(int argc, char **argv)
{
	static const struct option options[] = {
		{"ports", required_argument, NULL, 'p'},
		{"force", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *ports = getenv("PORTFENCE_PORTS");
	char library[PATH_MAX], reason[PATH_MAX + 64];
	bool force = false;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:p:fh", options, NULL)) != -1) {
		if (option == 'p')
			ports = optarg;
		else if (option == 'f')
			force = true;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		else if (option == ':')
			return cli_error("run: '%s' wants a value", argv[optind - 1]);
		else
			return cli_error(
				"run: no option '%s'; see portfence run --help", argv[optind - 1]);
	}
	if (optind == argc)
		return cli_error("run: no program; see portfence run --help");

	int result = ports_set(ports);
	if (result == 0 && cli_library_find(library, reason) < 0)
		result = cli_error("%s", reason);
	if (result == 0)
		result = preload_set(library);
	return result ? result : program_run(argv + optind, force);
}
