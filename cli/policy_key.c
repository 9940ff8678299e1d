// SPDX-License-Identifier: MIT
// The keys of a policy file's sections: what each value is, and where it goes.
#include "policy_key.h"

#include "policy_value.h"

#include <string.h>

// ---- Pools -----------------------------------------------------------------------------------

// Sets or clears a flag of the pool.
static void pool_flag(struct policy_maker *maker, uint32_t flag, bool set)
{
	maker->pool.flags = set ? maker->pool.flags | flag : maker->pool.flags & ~flag;
}

static bool pool_ports(struct policy_maker *maker, struct policy_word value)
{
	return policy_ports(maker->text, value, &maker->pool.ranges);
}

static bool pool_protocols(struct policy_maker *maker, struct policy_word value)
{
	uint32_t flags;
	if (!policy_protocols(maker->text, value, &flags))
		return false;
	pool_flag(maker, PF_POLICY_TCP, flags & PF_POLICY_TCP);
	pool_flag(maker, PF_POLICY_UDP, flags & PF_POLICY_UDP);
	return true;
}

static bool pool_sharing(struct policy_maker *maker, struct policy_word value)
{
	static const char *const names[] = {"destination", "none", NULL};
	uint32_t place;
	if (!policy_choice(maker->text, value, "value", names, &place))
		return false;
	pool_flag(maker, PF_POLICY_EXCLUSIVE, place == 1);
	return true;
}

static bool pool_hold(struct policy_maker *maker, struct policy_word value)
{
	return policy_duration(maker->text, value, &maker->pool.hold_ms);
}

static bool pool_quota(struct policy_maker *maker, struct policy_word value)
{
	return policy_number(maker->text, value, 0, 65535, &maker->pool.quota);
}

static bool pool_exhausted(struct policy_maker *maker, struct policy_word value)
{
	static const char *const names[] = {"fail", "wait", "fallback", NULL};
	struct policy_word rest = value, word;
	policy_word_next(&rest, &word);
	rest = policy_word_trim(rest);
	if (!policy_choice(maker->text, word, "value", names, &maker->pool.exhausted))
		return false;
	bool waits = maker->pool.exhausted == PF_EXHAUSTED_WAIT;
	if (waits && !rest.length)
		policy_refuse(maker->text, word, "how long? expected a duration, as in wait 2s");
	else if (!waits && rest.length)
		policy_refuse(maker->text, rest, "expected nothing behind '%s'",
			names[maker->pool.exhausted]);
	else
		return !waits || policy_duration(maker->text, rest, &maker->pool.wait_ms);
	return false;
}

static bool pool_explicit_bind(struct policy_maker *maker, struct policy_word value)
{
	static const char *const names[] = {"allow", "deny", NULL};
	uint32_t place;
	if (!policy_choice(maker->text, value, "value", names, &place))
		return false;
	pool_flag(maker, PF_POLICY_DENY, place == 1);
	return true;
}

static bool pool_parity(struct policy_maker *maker, struct policy_word value)
{
	static const char *const names[] = {"even", "odd", "any", NULL};
	return policy_choice(maker->text, value, "value", names, &maker->set.parity);
}

static bool pool_slice(struct policy_maker *maker, struct policy_word value)
{
	return policy_slice(maker->text, value, &maker->set.slice, &maker->set.slices);
}

static bool pool_block(struct policy_maker *maker, struct policy_word value)
{
	return policy_number(maker->text, value, 1, 65535, &maker->set.block);
}

const struct policy_key policy_pool_keys[] = {
	{"ports", pool_ports},
	{"protocols", pool_protocols},
	{"sharing", pool_sharing},
	{"hold", pool_hold},
	{"quota", pool_quota},
	{"exhausted", pool_exhausted},
	{"explicit-bind", pool_explicit_bind},
	{"parity", pool_parity},
	{"slice", pool_slice},
	{"block", pool_block},
	{NULL, NULL},
};

// ---- Rules -----------------------------------------------------------------------------------

static bool rule_program(struct policy_maker *maker, struct policy_word value)
{
	struct pf_rule *rule = &maker->rule;
	struct policy_word word;
	size_t used = 0;
	while (policy_word_next(&value, &word)) {
		// A path is compared with the whole of the program's.
		if (memchr(word.text, '/', word.length) && !strchr("/*?", *word.text)) {
			policy_refuse(maker->text, word,
				"no absolute path, expected a name, or one that begins with / or "
				"*");
			return false;
		}
		if (used + word.length + 1 > sizeof rule->program) {
			policy_refuse(maker->text, word,
				"too long, expected %zu bytes of programs at the most",
				sizeof rule->program - 1);
			return false;
		}
		memcpy(rule->program + used, word.text, word.length);
		used += word.length + 1;
		rule->programs++;
	}
	return true;
}

// Reads a list of users or groups.
static bool ids_read(struct policy_maker *maker, struct policy_word value,
	bool (*read)(struct policy_text *, struct policy_word, uint32_t *), uint32_t *ids,
	uint32_t *ret_count)
{
	struct policy_word word;
	while (policy_word_next(&value, &word)) {
		if (*ret_count == PF_RULE_IDS) {
			policy_refuse(maker->text, word, "one too many, expected %d at the most",
				PF_RULE_IDS);
			return false;
		}
		if (!read(maker->text, word, &ids[(*ret_count)++]))
			return false;
	}
	return true;
}

static bool rule_user(struct policy_maker *maker, struct policy_word value)
{
	return ids_read(maker, value, policy_user, maker->rule.user, &maker->rule.users);
}

static bool rule_group(struct policy_maker *maker, struct policy_word value)
{
	return ids_read(maker, value, policy_group, maker->rule.group, &maker->rule.groups);
}

static bool rule_destination(struct policy_maker *maker, struct policy_word value)
{
	struct pf_rule *rule = &maker->rule;
	struct policy_word word;
	while (policy_word_next(&value, &word)) {
		if (rule->destinations == PF_RULE_DESTINATIONS) {
			policy_refuse(maker->text, word, "one too many, expected %d at the most",
				PF_RULE_DESTINATIONS);
			return false;
		}
		if (!policy_destination(
			    maker->text, word, &rule->destination[rule->destinations++]))
			return false;
	}
	return true;
}

static bool rule_protocol(struct policy_maker *maker, struct policy_word value)
{
	return policy_protocols(maker->text, value, &maker->rule.flags);
}

static bool rule_pool(struct policy_maker *maker, struct policy_word value)
{
	const struct pf_policy *policy = maker->policy;
	const char *names[PF_POOLS_MAX + 2] = {NULL};
	for (uint32_t i = 0; i < policy->count; i++) {
		names[i] = policy->pool[i].name;
		if (!policy_word_is(value, names[i]))
			continue;
		maker->rule.pool = i;
		if (!policy->pool[i].block)
			return true;
		policy_refuse(maker->text, value,
			"a pool with blocks, which are for run --pool, expected another pool or "
			"none");
		return false;
	}
	maker->rule.pool = PF_RULE_UNFENCED;
	names[policy->count] = "none";
	if (policy_word_is(value, "none"))
		return true;
	policy_refuse_unknown(maker->text, value, "pool", names);
	return false;
}

const struct policy_key policy_rule_keys[] = {
	{"program", rule_program},
	{"user", rule_user},
	{"group", rule_group},
	{"destination", rule_destination},
	{"protocol", rule_protocol},
	{"pool", rule_pool},
	{NULL, NULL},
};

// ---- The segment -----------------------------------------------------------------------------

static bool segment_directory(struct policy_maker *maker, struct policy_word value)
{
	char *directory = maker->policy->place.directory;
	if (value.length >= sizeof maker->policy->place.directory)
		policy_refuse(maker->text, value, "too long, expected %zu bytes at the most",
			sizeof maker->policy->place.directory - 1);
	else if (value.text[0] != '/')
		policy_refuse(maker->text, value, "no absolute path, expected one, as in /dev/shm");
	else {
		memcpy(directory, value.text, value.length);
		return true;
	}
	return false;
}

static bool segment_group(struct policy_maker *maker, struct policy_word value)
{
	return policy_group(maker->text, value, &maker->policy->place.group);
}

static bool segment_mode(struct policy_maker *maker, struct policy_word value)
{
	static const char *const names[] = {"0600", "0660", NULL};
	uint32_t place;
	if (!policy_choice(maker->text, value, "value", names, &place))
		return false;
	maker->policy->place.mode = place ? 0660 : 0600;
	return true;
}

const struct policy_key policy_segment_keys[] = {
	{"directory", segment_directory},
	{"group", segment_group},
	{"mode", segment_mode},
	{NULL, NULL},
};
