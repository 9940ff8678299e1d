// SPDX-License-Identifier: MIT
// portfence export --filter: what the rules of a policy are to a firewall, which sees packets only.
#include "export.h"

#include "cli.h"

#define PROTOCOLS (PF_POLICY_TCP | PF_POLICY_UDP)

// Returns true if packets show whether a rule is about them. Their user they do not show: what the
// kernel sends for a socket that was closed, a last ACK say, has none.
static bool is_visible(const struct pf_rule *rule)
{
	return !rule->programs && !rule->users && !rule->groups;
}

// Returns true if the filter lets out what the rule is about. Not if the rule has no condition:
// what is nobody's, by that rule or because there is none, is what a filter is to drop.
static bool is_let_out(const struct pf_rule *rule)
{
	return rule->pool == PF_RULE_UNFENCED && is_visible(rule) &&
		(rule->destinations || rule->flags != PROTOCOLS);
}

// Returns how many rules there are up to the last one that lets something out. What comes then
// would only drop.
static uint32_t rules_count(const struct pf_rules *rules)
{
	uint32_t count = rules->count;
	while (count && !is_let_out(&rules->rule[count - 1]))
		count--;
	return count;
}

// Returns the protocols that a rule decides on.
static uint32_t protocols_of(const struct pf_rule *rule, const struct pf_policy *policy)
{
	return rule->pool == PF_RULE_UNFENCED ? rule->flags
					      : rule->flags & policy->pool[rule->pool].flags;
}

// Makes the line about a destination.
static void line_aim(struct export_line *line, const struct pf_rule_destination *to)
{
	char address[CLI_ENDPOINT];
	unsigned bits;
	line->first = to->first;
	line->last = to->last;
	*line->network = 0;
	if (to->prefix) {
		line->is_ipv4 = cli_network(to, address, &bits);
		snprintf(line->network, sizeof line->network, "%s/%u", address, bits);
	}
}

void export_filter_lines(const struct export *export, export_line_fn *write)
{
	uint32_t count = rules_count(&export->rules);
	for (uint32_t i = 0; i < count; i++) {
		const struct pf_rule *rule = &export->rules.rule[i];
		struct export_line line = {.rule = rule->name,
			.protocols = protocols_of(rule, &export->policy) & PROTOCOLS,
			.first = 1,
			.last = 65535,
			.accepts = is_let_out(rule)};
		if (!is_visible(rule) || !line.protocols)
			continue;
		if (!rule->destinations)
			write(&line);
		for (uint32_t d = 0; d < rule->destinations; d++) {
			line_aim(&line, &rule->destination[d]);
			write(&line);
		}
	}
}

void export_filter_explain(const struct export *export)
{
	uint32_t count = rules_count(&export->rules);
	puts("# The filter is about all programs of this host; loopback, and the destinations and "
	     "protocols of rules\n"
	     "# with pool = none, are let out. The C library's name queries come from the kernel's "
	     "ports: they need a\n"
	     "# strict run, or a rule with destination = *:53 and pool = none.");
	for (uint32_t i = 0; i < export->rules.count; i++) {
		const struct pf_rule *rule = &export->rules.rule[i];
		if (!is_visible(rule) && (i < count || rule->pool == PF_RULE_UNFENCED))
			printf("# Rule %s is left out: a filter sees no programs, and users only "
			       "until a socket is closed.\n",
				rule->name);
	}
}
