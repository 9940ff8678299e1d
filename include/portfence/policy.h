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

// What a call gets when there is no port.
enum pf_exhausted {
	PF_EXHAUSTED_FAIL, // what the kernel says of a full range
	PF_EXHAUSTED_WAIT, // the same, if there is none for a while; at once if it must not block
	PF_EXHAUSTED_FALLBACK, // a port of the kernel's choice
};

enum pf_policy_flags {
	PF_POLICY_TCP = 1,       // the pool is for TCP,
	PF_POLICY_UDP = 2,       // and for UDP
	PF_POLICY_EXCLUSIVE = 4, // sharing = none: one socket has a port, whatever the destination
	PF_POLICY_DENY = 8,      // explicit-bind = deny: no other ports, not even if asked for
};

struct pf_policy_pool {
	char name[PF_POOL_NAME];
	struct pf_ranges ranges; // parity and slice are in them already
	uint32_t hold_ms;
	uint32_t flags;     // enum pf_policy_flags
	uint32_t quota;     // leases that one process may have; 0: any number
	uint32_t exhausted; // enum pf_exhausted
	uint32_t wait_ms;   // for PF_EXHAUSTED_WAIT
	uint32_t block;     // ports that a run leases for itself; 0: the pool has no blocks
};

// Who may share the segment, and where it is.
struct pf_policy_place {
	char directory[256]; // "": PORTFENCE_DIR or /dev/shm
	uint32_t group;      // whose programs share it, PF_POLICY_NOBODY: its user's own
	uint32_t mode;       // of the file: 0600, or 0660 with a group
};
#define PF_POLICY_NOBODY UINT32_MAX

struct pf_policy {
	uint32_t count;  // of pools: 1..PF_POOLS_MAX
	uint64_t digest; // of what is in the segment; it is a part of its name
	struct pf_policy_place place;
	struct pf_policy_pool pool[PF_POOLS_MAX]; // what is beyond `count` is not written
};

// Makes a pool with the settings of one that says nothing, and no ports.
struct pf_policy_pool pf_policy_pool_new(const char *name);

// Makes the policy of one pool named "default" with the ports that `text` names (see
// pf_ranges_parse). Returns 0, or -EINVAL with one line in error[PF_ERROR_TEXT].
int pf_policy_from_ports(const char *text, struct pf_policy *ret_policy, char *error);

// Works out policy->digest from names, ranges, hold and sharing, and the segment's version:
// policies that agree in these share a segment, whatever else they say; another version has its
// own.
void pf_policy_digest(struct pf_policy *policy);

// Returns the place of the pool with this name, or -ENOENT.
int pf_policy_find(const struct pf_policy *policy, const char *name);

#endif
