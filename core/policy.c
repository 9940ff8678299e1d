// SPDX-License-Identifier: MIT
// A policy: named pools of ports with their settings.
#include <portfence/policy.h>

#include "util.h"

#include <string.h>

int pf_policy_from_ports(const char *text, struct pf_policy *ret_policy, char *error)
{
	struct pf_ranges ranges;
	int result = pf_ranges_parse(text, &ranges, error);
	if (result < 0)
		return result;

	memset(&ret_policy->pool[0], 0, sizeof ret_policy->pool[0]);
	ret_policy->count = 1;
	ret_policy->pool[0].ranges = ranges;
	ret_policy->pool[0].hold_ms = PF_HOLD_MS;
	memcpy(ret_policy->pool[0].name, "default", sizeof "default");
	pf_policy_digest(ret_policy);
	return 0;
}

void pf_policy_digest(struct pf_policy *policy)
{
	uint64_t digest = pf_mix(0, policy->count);
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_policy_pool *pool = &policy->pool[i];
		digest = pf_mix(digest, pf_hash(pool->name, strlen(pool->name)));
		digest = pf_mix(digest, pool->hold_ms);
		for (uint32_t r = 0; r < pool->ranges.count; r++)
			digest = pf_mix(digest,
				(uint64_t)pool->ranges.range[r].first << 16 |
					pool->ranges.range[r].last);
	}
	policy->digest = digest;
}
