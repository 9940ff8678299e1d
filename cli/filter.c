// SPDX-License-Identifier: MIT
// Which sockets `portfence ls` shows.
#include "leases.h"
#include "policy_value.h"

#include <stdlib.h>
#include <string.h>

int cli_filter_to(struct cli_filter *filter, const char *destination)
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
		cli_error("ls: --to %s", text.problem[0].line);
	policy_text_free(&text);
	free(word.text);
	free(word.place);
	return filter->to ? 0 : EXIT_PORTFENCE;
}

bool cli_filter_passes(
	const struct cli_filter *filter, const struct pf_pool *pool, const struct cli_lease *lease)
{
	if (filter->pool && !cli_pool_is(pool, filter->pool))
		return false;
	if (filter->ports.count && pf_ranges_index(&filter->ports, lease->socket.local.port) < 0)
		return false;
	if (filter->pid && filter->pid != lease->pid)
		return false;
	// A peer without a port is none, and no destination has port 0.
	return !filter->to || pf_rule_reaches(&filter->destination, &lease->socket.peer);
}
