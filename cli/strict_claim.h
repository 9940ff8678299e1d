// SPDX-License-Identifier: MIT
// What a strict run gives its ports from, and the claims that its supervisor makes.
#ifndef PF_STRICT_CLAIM_H
#define PF_STRICT_CLAIM_H

#include "strict.h"

// The policy, and the segments of its network namespaces.
struct strict_scene {
	const struct pf_policy *policy;
	const struct pf_rules *rules;
	int fixed;                  // the place of the pool for every call; -1: by rules
	bool asks_who;              // some rule is about users or groups,
	bool asks_program;          // or programs,
	bool asks_where;            // or destinations
	struct pf_segment *segment; // of our own network namespace
};

// Reads the policy and attaches to its segment. Returns 0, or -errno with a line in
// reason[PF_SEGMENT_TEXT].
int strict_scene_set(
	struct strict_scene *scene, const struct cli_strict_policy *policy, char *reason);

// Returns true if the ranges of the pools cannot be left to the kernel.
bool strict_scene_claims(const struct strict_scene *scene);

// Returns the pool of a call, for PF_POLICY_TCP or _UDP and a destination (NULL: none), or NULL if
// the policy leaves it to the kernel.
struct pf_pool *strict_pool(const struct strict_scene *scene, struct pf_segment *segment,
	const struct strict_request *request, uint32_t protocol,
	const struct pf_endpoint *destination);

// Returns true if the kernel honours the pool's range; in our own namespace, the sysctls are looked
// at once a second.
bool strict_pool_is_late(const struct strict_scene *scene, struct pf_pool *pool);

// Gives the caller's socket a port, if its call needs one, and answers it.
void strict_claim(const struct strict_scene *scene, const struct strict_request *request);

#endif
