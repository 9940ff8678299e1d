// SPDX-License-Identifier: MIT
// Rules: which pool a call takes its port from; and the file that carries policy and rules from the
// command to the programs.
#include <portfence/rule.h>

#include "util.h"

#include <string.h>

#define FILE_MAGIC 0x796369666f707470u // "ptpofciy", read as little-endian
#define FILE_VERSION 1u

// The file: this, then the pools, then the rules, as they are in memory: every field has a fixed
// width, and there is no padding between them.
struct file {
	uint64_t magic;
	uint32_t version;
	uint32_t pools, rules;
	uint32_t fallback;
	uint64_t check; // the hash of all that follows
	struct pf_policy_place place;
};

_Static_assert(sizeof(struct file) == 32 + 264, "the file's header");
_Static_assert(sizeof(struct pf_policy_pool) == 32 + 12 + 4 * PF_RANGES_MAX + 24, "a pool of it");
_Static_assert(sizeof(struct pf_rule) ==
		PF_POOL_NAME + 24 + PF_RULE_PROGRAMS + 8 * PF_RULE_IDS +
			sizeof(struct pf_rule_destination) * PF_RULE_DESTINATIONS,
	"a rule of it");
_Static_assert(sizeof(struct pf_rule_destination) == 24, "a destination of it");

// ---- Matching --------------------------------------------------------------------------------

bool pf_rule_glob(const char *glob, const char *text)
{
	const char *star = NULL, *resume = NULL;
	while (*text) {
		if (*glob == '*') {
			star = ++glob;
			resume = text;
		} else if (*glob == '?' || *glob == *text) {
			glob++;
			text++;
		} else if (star) {
			glob = star;
			text = ++resume;
		} else
			return false;
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

// Returns true if a program is among the rule's, or it asks for none.
static bool is_about(const struct pf_rule *rule, const char *path)
{
	const char *name = path, *glob = rule->program;
	for (const char *at = path; *at; at++)
		if (*at == '/')
			name = at + 1;
	for (uint32_t i = 0; i < rule->programs; i++, glob += strlen(glob) + 1)
		if (pf_rule_glob(glob, memchr(glob, '/', strlen(glob)) ? path : name))
			return true;
	return rule->programs == 0;
}

uint64_t pf_rules_candidates(const struct pf_rules *rules, const char *path)
{
	uint64_t candidates = 0;
	for (uint32_t i = 0; i < rules->count; i++)
		if (is_about(&rules->rule[i], path))
			candidates |= 1ull << i;
	return candidates;
}

static bool is_among(const uint32_t *ids, uint32_t count, uint32_t id)
{
	for (uint32_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return count == 0;
}

// Returns true if the first `bits` bits of both addresses are the same.
static bool is_same_net(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	return !rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

bool pf_rule_reaches(const struct pf_rule_destination *to, const struct pf_endpoint *endpoint)
{
	return endpoint->port >= to->first && endpoint->port <= to->last &&
		is_same_net(endpoint->address, to->address, to->prefix);
}

static bool is_to(const struct pf_rule *rule, const struct pf_endpoint *destination)
{
	for (uint32_t i = 0; destination && i < rule->destinations; i++)
		if (pf_rule_reaches(&rule->destination[i], destination))
			return true;
	return rule->destinations == 0;
}

int pf_rules_first(const struct pf_rules *rules, const struct pf_policy *policy,
	const struct pf_rule_call *call)
{
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct pf_rule *rule = &rules->rule[i];
		if (!(call->candidates >> i & 1) || !(rule->flags & call->protocol) ||
			!is_among(rule->user, rule->users, call->user) ||
			!is_among(rule->group, rule->groups, call->group) ||
			!is_to(rule, call->destination))
			continue;
		if (rule->pool == PF_RULE_UNFENCED ||
			(policy->pool[rule->pool].flags & call->protocol))
			return (int)i;
	}
	return -ENOENT;
}

uint32_t pf_rules_pool(const struct pf_rules *rules, const struct pf_policy *policy,
	const struct pf_rule_call *call)
{
	int first = pf_rules_first(rules, policy, call);
	if (first >= 0)
		return rules->rule[first].pool;
	if (rules->fallback != PF_RULE_UNFENCED &&
		!(policy->pool[rules->fallback].flags & call->protocol))
		return PF_RULE_UNFENCED;
	return rules->fallback;
}

bool pf_rules_ask_who(const struct pf_rules *rules, uint64_t candidates)
{
	for (uint32_t i = 0; i < rules->count; i++)
		if ((candidates >> i & 1) && (rules->rule[i].users || rules->rule[i].groups))
			return true;
	return false;
}

// ---- The file --------------------------------------------------------------------------------

size_t pf_rules_write(
	const struct pf_policy *policy, const struct pf_rules *rules, void *bytes, size_t size)
{
	size_t pools = policy->count * sizeof *policy->pool;
	size_t lines = rules->count * sizeof *rules->rule;
	unsigned char *at = bytes;
	struct file file = {.magic = FILE_MAGIC,
		.version = FILE_VERSION,
		.pools = policy->count,
		.rules = rules->count,
		.fallback = rules->fallback,
		.place = policy->place};
	if (sizeof file + pools + lines > size)
		return sizeof file + pools + lines;
	memcpy(at + sizeof file, policy->pool, pools);
	memcpy(at + sizeof file + pools, rules->rule, lines);
	memcpy(at, &file, sizeof file);
	file.check = pf_hash(at + offsetof(struct file, place),
		sizeof file - offsetof(struct file, place) + pools + lines);
	memcpy(at, &file, sizeof file);
	return sizeof file + pools + lines;
}

// Returns true if there is a NUL in the text, not at its beginning.
static bool is_name(const char *text, size_t size)
{
	return *text && memchr(text, 0, size);
}

static bool is_good_pool(const struct pf_policy_pool *given)
{
	struct pf_ranges ranges = given->ranges;
	return is_name(given->name, sizeof given->name) &&
		pf_ranges_normalise(&ranges, NULL) == 0 &&
		!memcmp(&ranges, &given->ranges, sizeof ranges) &&
		given->exhausted <= PF_EXHAUSTED_FALLBACK;
}

// Returns true if every list of the rule ends within it.
static bool is_good_rule(const struct pf_rule *rule, uint32_t pools)
{
	size_t globs = 0;
	for (size_t i = 0; i < sizeof rule->program; i++)
		globs += rule->program[i] == 0;
	if (!is_name(rule->name, sizeof rule->name) ||
		(rule->pool >= pools && rule->pool != PF_RULE_UNFENCED) || rule->programs > globs ||
		rule->users > PF_RULE_IDS || rule->groups > PF_RULE_IDS ||
		rule->destinations > PF_RULE_DESTINATIONS)
		return false;
	for (uint32_t i = 0; i < rule->destinations; i++)
		if (rule->destination[i].prefix > 128)
			return false;
	return true;
}

int pf_rules_read(
	const void *bytes, size_t size, struct pf_policy *ret_policy, struct pf_rules *ret_rules)
{
	struct file file;
	const unsigned char *at = bytes;
	if (size < sizeof file)
		return -EBADMSG;
	memcpy(&file, at, sizeof file);
	if (file.magic != FILE_MAGIC || file.version != FILE_VERSION || file.pools == 0 ||
		file.pools > PF_POOLS_MAX || file.rules > PF_RULES_MAX ||
		(file.fallback >= file.pools && file.fallback != PF_RULE_UNFENCED) ||
		!memchr(file.place.directory, 0, sizeof file.place.directory))
		return -EBADMSG;
	size_t pools = file.pools * sizeof *ret_policy->pool;
	size_t lines = file.rules * sizeof *ret_rules->rule;
	if (size != sizeof file + pools + lines ||
		file.check !=
			pf_hash(at + offsetof(struct file, place),
				size - offsetof(struct file, place)))
		return -EBADMSG;
	memcpy(ret_policy->pool, at + sizeof file, pools);
	memcpy(ret_rules->rule, at + sizeof file + pools, lines);
	for (uint32_t i = 0; i < file.pools; i++)
		if (!is_good_pool(&ret_policy->pool[i]))
			return -EBADMSG;
	for (uint32_t i = 0; i < file.rules; i++)
		if (!is_good_rule(&ret_rules->rule[i], file.pools))
			return -EBADMSG;
	ret_policy->count = file.pools;
	ret_policy->place = file.place;
	ret_rules->count = file.rules;
	ret_rules->fallback = file.fallback;
	pf_policy_digest(ret_policy);
	return 0;
}
