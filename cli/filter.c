// SPDX-License-Identifier: MIT
// Which sockets `portfence ls` shows, and which leases `portfence log`.
#include "leases.h"
#include "policy_value.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static int to_read(struct cli_filter *filter, const char *command, const char *destination)
{
	// What a policy file may say of a destination, --to may: a file of one word.
	size_t length = strlen(destination);
	struct policy_text text = {.path = "--to"};
	struct policy_word word = {
		strdup(destination), calloc(length + 1, sizeof *word.place), length};
	if (!word.text || !word.place)
		exit(cli_error("out of memory"));
	filter->to = policy_destination(&text, word, &filter->destination);
	if (!filter->to)
		cli_error("%s: --to %s", command, text.problem[0].line);
	policy_text_free(&text);
	free(word.text);
	free(word.place);
	return filter->to ? 0 : EXIT_PORTFENCE;
}

bool cli_filter_passes(const struct cli_filter *filter, const struct pf_pool *pool, uint16_t port,
	pid_t pid, const struct pf_endpoint *peer)
{
	if (filter->pool && !cli_pool_is(pool, filter->pool))
		return false;
	if (filter->ports.count && pf_ranges_index(&filter->ports, port) < 0)
		return false;
	if (filter->pid && filter->pid != pid)
		return false;
	// A peer without a port is none, and no destination has port 0.
	return !filter->to || pf_rule_reaches(&filter->destination, peer);
}

static int ports_read(struct cli_filter *filter, const char *command, const char *text)
{
	char error[PF_ERROR_TEXT];
	return pf_ranges_parse(text, &filter->ports, error) < 0
		? cli_error("%s: --port %s", command, error)
		: 0;
}

static int pid_read(struct cli_filter *filter, const char *command, const char *text)
{
	char *end;
	long pid = strtol(text, &end, 10);
	if (*end || end == text || pid <= 0 || pid > INT32_MAX)
		return cli_error("%s: '%s' is no process ID", command, text);
	filter->pid = (pid_t)pid;
	return 0;
}

int cli_filter_option(struct cli_filter *filter, char **argv, int option)
{
	switch (option) {
	case CLI_FILTER_POOL:
		filter->pool = optarg;
		return 0;
	case CLI_FILTER_PORT:
		return ports_read(filter, argv[0], optarg);
	case CLI_FILTER_PID:
		return pid_read(filter, argv[0], optarg);
	case CLI_FILTER_TO:
		return to_read(filter, argv[0], optarg);
	default:
		return cli_option_refuse(argv[0], argv, option);
	}
}
