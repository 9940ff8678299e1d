// SPDX-License-Identifier: MIT
// A policy: named pools of ports with their settings.
#include <portfence/policy.h>

#include <portfence/layout.h>

#include "util.h"

#include <string.h>

struct pf_policy_pool pf_policy_pool_new(const char *name)
{
	struct pf_policy_pool pool = {
		.hold_ms = PF_HOLD_MS, .flags = PF_POLICY_TCP | PF_POLICY_UDP};
	struct pf_text text = pf_text_in(pool.name, sizeof pool.name);
	pf_text_add(&text, name);
	return pool;
}

int pf_policy_from_ports(const char *text, struct pf_policy *ret_policy, char *error)
{
	struct pf_ranges ranges;
	int result = pf_ranges_parse(text, &ranges, error);
	if (result < 0)
		return result;

	ret_policy->count = 1;
	ret_policy->place = (struct pf_policy_place){"", PF_POLICY_NOBODY, 0600};
	ret_policy->pool[0] = pf_policy_pool_new("default");
	ret_policy->pool[0].ranges = ranges;
	pf_policy_digest(ret_policy);
	return 0;
}

void pf_policy_digest(struct pf_policy *policy)
{
	uint64_t digest = pf_mix(PF_SEGMENT_VERSION, policy->count);
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_policy_pool *pool = &policy->pool[i];
		digest = pf_mix(digest, pf_hash(pool->name, strlen(pool->name)));
		digest = pf_mix(digest, pool->hold_ms);
		digest = pf_mix(digest, (pool->flags & PF_POLICY_EXCLUSIVE) | pool->ranges.step);
		for (uint32_t r = 0; r < pool->ranges.count; r++)
			digest = pf_mix(digest,
				(uint64_t)pool->ranges.range[r].first << 16 |
					pool->ranges.range[r].last);
	}
	policy->digest = digest;
}

int pf_policy_find(const struct pf_policy *policy, const char *name)
{
	for (uint32_t i = 0; i < policy->count; i++)
		if (!strcmp(policy->pool[i].name, name))
			return (int)i;
	return -ENOENT;
}
