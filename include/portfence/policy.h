// SPDX-License-Identifier: MIT
// A policy: named pools of ports with their settings. It is read once and never changes.
#ifndef PORTFENCE_POLICY_H
#define PORTFENCE_POLICY_H

#include <portfence/range.h>

#define PF_POOLS_MAX 16
#define PF_POOL_NAME 32 // with its NUL

// How long a released port rests at most before it is handed out again, unless the policy says
// otherwise: RFC 6888, REQ-8. Half of it, the least, is the length of TIME_WAIT in Linux
// (TCP_TIMEWAIT_LEN, include/net/tcp.h).
#define PF_HOLD_MS 120000

struct pf_policy_pool {
	char name[PF_POOL_NAME];
	struct pf_ranges ranges;
	uint32_t hold_ms;
};

struct pf_policy {
	uint32_t count;  // of pools: 1..PF_POOLS_MAX
	uint64_t digest; // equal policies have equal digests; it is a part of the segment's name
	struct pf_policy_pool pool[PF_POOLS_MAX]; // what is beyond `count` is not written
};

// Makes the policy of one pool named "default" with the ports that `text` names (see
// pf_ranges_parse). Returns 0, or -EINVAL with one line in error[PF_ERROR_TEXT].
int pf_policy_from_ports(const char *text, struct pf_policy *ret_policy, char *error);

// Works out policy->digest, from everything else in it.
void pf_policy_digest(struct pf_policy *policy);

#endif
