// SPDX-License-Identifier: MIT
// portfence: the command. A table of subcommands, and what is said without one.
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	cli_main *run;
	const char *help;
} commands[] = {
	{"run", cli_run, "run a program whose ephemeral ports come from the given ranges"},
	{"status", cli_status, "show the pools: size, claim, ports leased, holding and free"},
	{"ls", cli_ls, "list the leases: local port, peer, state, process"},
	{"who", cli_who, "say which program has a port, or had it at some time"},
	{"log", cli_log, "show the leases that were taken last, or follow them"},
	{"map", cli_map, "draw the pools: a cell for each port, or for some"},
	{"top", cli_top, "show pools and processes, again and again"},
	{"check", cli_check, "check a policy file and show what it says"},
	{"export", cli_export, "print the pools for nft, iptables, sysctl, suricata, prometheus"},
	{"gc", cli_gc, "give back what no socket uses, remove what nobody needs"},
	{"doctor", cli_doctor, "say what stands in the way, and the command that mends it"},
	{"version", cli_version, "show the version"},
};

int cli_version(int argc, char **argv)
{
	int result = cli_options(
		argc, argv, "Usage: portfence version\n\nShow the version.\n", NULL, NULL);
	if (result >= 0)
		return result;
	puts("portfence " PF_VERSION);
	return 0;
}

static void usage(FILE *stream)
{
	fputs("Usage: portfence COMMAND [OPTION]... [ARGUMENT]...\n"
	      "       portfence --ports RANGES [--] PROGRAM [ARGUMENT]...\n"
	      "\n"
	      "Unmodified programs take their ephemeral (source) ports from a subrange.\n"
	      "\n",
		stream);
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\nWith --no-color, before or behind COMMAND, a terminal gets no colours.\n", stream);
	fputs("\n'portfence COMMAND --help' tells more; so does portfence(1).\n", stream);
}

// Returns the result of a command, or EXIT_PORTFENCE if what it printed did not get out.
static int flush(int result)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return result;
	int failed = cli_error("standard output: %s", strerror(errno));
	return result ? result : failed;
}

// Takes --no-color out of argv[from] and what follows, up to "--"; of `run`, which has a program's
// options behind its own, only out of what directly follows. Returns how many arguments are left.
static int no_color_take(int argc, char **argv, int from, bool directly)
{
	int kept = from, at = from;
	for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
		if (!strcmp(argv[at], "--no-color"))
			cli_colour_off();
		else if (directly)
			break;
		else
			argv[kept++] = argv[at];
	}
	while (at < argc)
		argv[kept++] = argv[at++];
	argv[kept] = NULL;
	return kept;
}

int main(int argc, char **argv)
{
	argc = no_color_take(argc, argv, 1, true);
	if (argc > 1 && argv[1][0] != '-')
		argc = no_color_take(argc, argv, 2, !strcmp(argv[1], "run"));
	if (argc < 2) {
		usage(stderr);
		return EXIT_PORTFENCE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(stdout);
		return flush(0);
	}
	if (!strcmp(argv[1], "--version"))
		return puts("portfence " PF_VERSION) < 0 ? EXIT_PORTFENCE : flush(0);
	// Whoever changes its directory would look elsewhere.
	const char *dir = getenv("PORTFENCE_DIR");
	if (dir && *dir && *dir != '/')
		return cli_error("PORTFENCE_DIR '%s': expected an absolute path", dir);
	if (argv[1][0] == '-')
		return cli_run(argc, argv); // the alias: portfence [options] -- program
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (!strcmp(argv[1], commands[i].name))
			return flush(commands[i].run(argc - 1, argv + 1));
	return cli_error("'%s' is no command; see portfence --help", argv[1]);
}
