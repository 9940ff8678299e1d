// SPDX-License-Identifier: MIT
// Policy files: what their sections make, and what must hold between them.
#include "policy_file.h"

#include "cli.h"
#include "policy_key.h"
#include "policy_value.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Notes an unknown key.
static void key_refuse(
	struct policy_maker *maker, struct policy_word key, const struct policy_key *keys)
{
	const char *names[POLICY_KEYS_MAX] = {NULL};
	for (size_t i = 0; keys[i].name; i++)
		names[i] = keys[i].name;
	policy_refuse_unknown(maker->text, key, "key", names);
}

// Has the values of the section's keys read.
static void section_read(struct policy_maker *maker, const struct policy_key *keys)
{
	struct policy_text *text = maker->text;
	unsigned line[POLICY_KEYS_MAX] = {0};
	for (size_t i = 0; i < text->entries; i++) {
		struct policy_entry *entry = &text->entry[i];
		if (entry->section != maker->section)
			continue;
		size_t k = 0;
		while (keys[k].name && !policy_word_is(entry->key, keys[k].name))
			k++;
		bool good = false;
		if (!keys[k].name)
			key_refuse(maker, entry->key, keys);
		else if (line[k])
			policy_refuse(text, entry->key, "twice, the first is in line %u", line[k]);
		else if (!entry->is_refused && !entry->value.length)
			policy_refuse(
				text, entry->key, "no value, expected %s = VALUE", keys[k].name);
		else
			good = !entry->is_refused && keys[k].read(maker, entry->value);
		if (keys[k].name && !line[k])
			line[k] = entry->key.place->line;
		maker->refused |= !good;
	}
}

// Returns true if another section of this kind stands before with the same name, and notes it.
static bool is_twice(struct policy_maker *maker)
{
	const struct policy_section *section = maker->text->section;
	const struct policy_section *own = &section[maker->section];
	for (size_t i = 0; i < maker->section; i++)
		if (section[i].kind.length == own->kind.length &&
			!memcmp(section[i].kind.text, own->kind.text, own->kind.length) &&
			section[i].name.length == own->name.length &&
			!memcmp(section[i].name.text, own->name.text, own->name.length)) {
			policy_refuse(maker->text, own->header, "twice, the first is in line %u",
				section[i].header.place->line);
			return true;
		}
	return false;
}

// Checks the name of a pool's or rule's section. Returns false if there is something wrong with it.
static bool section_name(
	struct policy_maker *maker, char name[PF_POOL_NAME], bool is_full, int most)
{
	const struct policy_section *section = &maker->text->section[maker->section];
	const char *kind = policy_word_is(section->kind, "pool") ? "pool" : "rule";
	if (!section->name.length)
		policy_refuse(maker->text, section->header, "no name, expected [%s NAME]", kind);
	else if (is_full)
		policy_refuse(maker->text, section->header, "one too many, expected %d at the most",
			most);
	else
		return policy_name(maker->text, section->name, name) && !is_twice(maker);
	return false;
}

// Returns the value of a key that the section has.
static struct policy_word value_of(const struct policy_maker *maker, const char *key)
{
	return policy_text_find(maker->text, maker->section, key)->value;
}

// Returns how many port numbers the biggest range of the pool has, whatever their parity: a block
// has the odd port above an even one, too.
static uint32_t biggest_range(const struct pf_ranges *ranges)
{
	uint32_t biggest = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		if (range.last - range.first + 1u > biggest)
			biggest = range.last - range.first + 1u;
	}
	return biggest;
}

// Does to the ports what the pool's other keys ask for, whatever the order they were written in.
// Returns false if that cannot be done.
static bool pool_cut(struct policy_maker *maker)
{
	struct pf_ranges *ranges = &maker->pool.ranges;
	if (maker->set.parity < 2 && pf_ranges_thin(ranges, maker->set.parity) < 0) {
		policy_refuse(maker->text, value_of(maker, "parity"),
			"the pool has no such port, expected the other parity, or any");
		return false;
	}
	if (maker->set.slices && pf_ranges_slice(ranges, maker->set.slice, maker->set.slices) < 0) {
		policy_refuse(maker->text, value_of(maker, "slice"),
			"%u ports have no %u equal parts, expected a divisor", ranges->ports,
			maker->set.slices);
		return false;
	}
	if (maker->set.block > biggest_range(ranges)) {
		policy_refuse(maker->text, value_of(maker, "block"),
			"more than the biggest range has, expected %u ports at the most",
			biggest_range(ranges));
		return false;
	}
	if (maker->set.block % 2 && ranges->step == 2) {
		policy_refuse(maker->text, value_of(maker, "block"),
			"an odd number of ports, of which every other is taken, expected an even "
			"one");
		return false;
	}
	maker->pool.block = maker->set.block;
	return true;
}

static void pool_make(struct policy_maker *maker)
{
	struct pf_policy *policy = maker->policy;
	const struct policy_section *section = &maker->text->section[maker->section];
	char name[PF_POOL_NAME];
	if (!section_name(maker, name, policy->count == PF_POOLS_MAX, PF_POOLS_MAX))
		return;
	maker->pool = pf_policy_pool_new(name);
	maker->set.parity = 2;
	maker->set.slices = maker->set.block = 0;
	maker->refused = section->is_damaged;
	section_read(maker, policy_pool_keys);
	const struct policy_entry *ports = policy_text_find(maker->text, maker->section, "ports");
	if (policy_word_is(section->name, "none")) {
		policy_refuse(maker->text, section->name,
			"no name for a pool, since rules mean no pool by it, expected another");
		maker->refused = true;
	}
	if (!ports && !maker->refused) {
		policy_refuse(
			maker->text, section->header, "no ports, expected ports = FIRST-LAST");
		maker->refused = true;
	}
	if (!maker->refused && pool_cut(maker))
		maker->ports[policy->count] = ports->value;
	policy->pool[policy->count++] = maker->pool;
}

// Returns true if the rule takes every call, so that none is left for what stands behind it.
static bool is_catch_all(const struct policy_maker *maker)
{
	const struct pf_rule *rule = &maker->rule;
	const uint32_t both = PF_POLICY_TCP | PF_POLICY_UDP;
	return !rule->programs && !rule->users && !rule->groups && !rule->destinations &&
		(rule->flags & both) == both &&
		(rule->pool == PF_RULE_UNFENCED ||
			(maker->policy->pool[rule->pool].flags & both) == both);
}

static void rule_make(struct policy_maker *maker)
{
	struct pf_rules *rules = maker->rules;
	const struct policy_section *section = &maker->text->section[maker->section];
	maker->rule = (struct pf_rule){.flags = PF_POLICY_TCP | PF_POLICY_UDP};
	if (!section_name(maker, maker->rule.name, rules->count == PF_RULES_MAX, PF_RULES_MAX))
		return;
	maker->refused = section->is_damaged;
	section_read(maker, policy_rule_keys);
	if (!maker->refused && !policy_text_find(maker->text, maker->section, "pool")) {
		policy_refuse(
			maker->text, section->header, "no pool, expected pool = NAME or none");
		maker->refused = true;
	}
	if (maker->catch_all.text) {
		policy_refuse(maker->text, maker->catch_all,
			"a rule for every call, so '%s' behind it is never asked, expected it last",
			maker->rule.name);
		maker->catch_all.text = NULL;
	}
	if (maker->refused)
		return;
	const struct pf_rule *rule = &maker->rule;
	if (rule->pool != PF_RULE_UNFENCED &&
		!(maker->policy->pool[rule->pool].flags & rule->flags))
		policy_refuse(maker->text, value_of(maker, "protocol"),
			"not for pool '%s', expected a protocol of its own",
			maker->policy->pool[rule->pool].name);
	if (is_catch_all(maker))
		maker->catch_all = section->name;
	rules->rule[rules->count++] = *rule;
}

static void segment_make(struct policy_maker *maker)
{
	struct pf_policy_place *place = &maker->policy->place;
	const struct policy_section *section = &maker->text->section[maker->section];
	if (section->name.length) {
		policy_refuse(
			maker->text, section->name, "a segment has no name, expected [segment]");
		return;
	}
	if (is_twice(maker))
		return;
	maker->refused = section->is_damaged;
	section_read(maker, policy_segment_keys);
	if (maker->refused)
		return;
	bool shared = place->group != PF_POLICY_NOBODY;
	bool has_mode = policy_text_find(maker->text, maker->section, "mode");
	if (has_mode && shared != (place->mode == 0660))
		policy_refuse(maker->text, value_of(maker, "mode"),
			shared ? "a group shares the segment, expected 0660"
			       : "no group shares the segment, expected 0600, or group = NAME");
	if (shared)
		place->mode = 0660;
}

// ---- The whole -------------------------------------------------------------------------------

// Notes the pools whose ports meet.
static void overlaps_refuse(struct policy_maker *maker)
{
	static uint8_t owner[65536]; // 0: nobody, else a pool's place + 1
	const struct pf_policy *policy = maker->policy;
	memset(owner, 0, sizeof owner);
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_ranges *ranges = &policy->pool[i].ranges;
		for (uint32_t at = 0; maker->ports[i].text && at < ranges->ports; at++) {
			uint16_t port = pf_ranges_port(ranges, at);
			if (owner[port]) {
				policy_refuse(maker->text, maker->ports[i],
					"port %u is in pool '%s', too, expected pools that do not "
					"meet",
					port, policy->pool[owner[port] - 1].name);
				break;
			}
			owner[port] = (uint8_t)(i + 1);
		}
	}
}

// Says where calls go that no rule is about.
static void fallback_set(struct policy_maker *maker)
{
	const struct pf_policy *policy = maker->policy;
	struct pf_rules *rules = maker->rules;
	int place = pf_policy_find(policy, "default");
	bool is_only = place < 0 && rules->count == 0 && policy->count == 1;
	rules->fallback = PF_RULE_UNFENCED;
	if (place >= 0)
		rules->fallback = (uint32_t)place;
	else if (is_only && !policy->pool[0].block)
		rules->fallback = 0;
	if (place < 0 || !policy->pool[place].block)
		return;
	for (size_t i = 0; i < maker->text->sections; i++)
		if (policy_word_is(maker->text->section[i].name, "default"))
			policy_refuse(maker->text, maker->text->section[i].name,
				"a pool with blocks is for run --pool only, expected another name");
}

// Makes everything out of the text, or notes what is wrong.
static void make(struct policy_maker *maker)
{
	static const char *const kinds[] = {"pool", "rule", "segment", NULL};
	static void (*const makes[])(struct policy_maker *) = {pool_make, rule_make, segment_make};
	static struct policy_place start = {1, 1};
	struct policy_text *text = maker->text;
	bool is_known[3] = {false};
	// Rules name pools that may stand behind them.
	for (uint32_t kind = 0; kinds[kind]; kind++)
		for (maker->section = 0; maker->section < text->sections; maker->section++)
			if (policy_word_is(text->section[maker->section].kind, kinds[kind])) {
				is_known[kind] = true;
				makes[kind](maker);
			}
	for (size_t i = 0; i < text->sections; i++) {
		const struct policy_section *section = &text->section[i];
		uint32_t place;
		if (!section->is_refused)
			policy_choice(text, section->kind, "section", kinds, &place);
	}
	if (!is_known[0] && !text->problems)
		policy_refuse(text, (struct policy_word){"", &start, 0},
			"no pool in the file, expected [pool NAME]");
	overlaps_refuse(maker);
	fallback_set(maker);
}

int cli_policy_load(const char *path, struct pf_policy *ret_policy, struct pf_rules *ret_rules)
{
	struct pf_policy policy = {.place = {"", PF_POLICY_NOBODY, 0600}};
	struct pf_rules rules = {.count = 0};
	POLICY_TEXT text = {.path = path};
	struct policy_maker maker = {.text = &text, .policy = &policy, .rules = &rules};
	int result = policy_text_read(path, &text);
	if (result == 0) {
		if (!text.is_binary)
			make(&maker);
		result = policy_text_report(&text);
	}
	if (result)
		return result;
	pf_policy_digest(&policy);
	*ret_policy = policy;
	*ret_rules = rules;
	return 0;
}

const char *cli_policy_default(void)
{
	static char own[PATH_MAX];
	const char *named = getenv("PORTFENCE_POLICY_FILE"), *home = getenv("HOME");
	if (named && *named)
		return named;
	if (home && *home) {
		snprintf(own, sizeof own, "%s/.config/portfence.conf", home);
		if (access(own, F_OK) == 0)
			return own;
	}
	return access("/etc/portfence.conf", F_OK) == 0 ? "/etc/portfence.conf" : NULL;
}
