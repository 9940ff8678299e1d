// SPDX-License-Identifier: MIT
// Rules: which pool a call takes its port from. The first rule that matches decides.
#ifndef PORTFENCE_RULE_H
#define PORTFENCE_RULE_H

#include <portfence/endpoint.h>
#include <portfence/policy.h>

#define PF_RULES_MAX 64
#define PF_RULE_PROGRAMS 256 // bytes of all globs of a rule, each with its NUL
#define PF_RULE_IDS 16
#define PF_RULE_DESTINATIONS 16

// The pool of a rule that leaves its calls to the kernel.
#define PF_RULE_UNFENCED UINT32_MAX

struct pf_rule_destination {
	uint8_t address[16]; // as in struct pf_endpoint
	uint8_t prefix;      // bits of it that count: 0..128
	uint8_t padding;
	uint16_t first, last; // ports: 1..65535
	uint16_t reserved;
};

// Each condition that is given must hold; a list holds if one of it does; an empty one always does.
struct pf_rule {
	char name[PF_POOL_NAME];
	uint32_t pool;  // its place in the policy, or PF_RULE_UNFENCED
	uint32_t flags; // PF_POLICY_TCP, PF_POLICY_UDP: protocols
	uint32_t programs, users, groups, destinations; // how many there are
	char program[PF_RULE_PROGRAMS];                 // globs, one behind the other
	uint32_t user[PF_RULE_IDS];                     // effective
	uint32_t group[PF_RULE_IDS];                    // effective
	struct pf_rule_destination destination[PF_RULE_DESTINATIONS];
};

struct pf_rules {
	uint32_t count;    // 0..PF_RULES_MAX
	uint32_t fallback; // where no rule matches: a pool's place, or PF_RULE_UNFENCED
	struct pf_rule rule[PF_RULES_MAX]; // what is beyond `count` is not written
};

// Who calls, and for what.
struct pf_rule_call {
	uint64_t candidates; // pf_rules_candidates
	uint32_t user, group;
	uint32_t protocol;                     // PF_POLICY_TCP or PF_POLICY_UDP
	const struct pf_endpoint *destination; // NULL: bind, listen; no rule with destinations fits
};

// Returns true if `text` fits the glob: '*' is any bytes, '?' any one.
bool pf_rule_glob(const char *glob, const char *text);

// Returns true if the endpoint is one of the destination's.
bool pf_rule_reaches(const struct pf_rule_destination *to, const struct pf_endpoint *endpoint);

// Returns a bit for every rule that may be about the program with this absolute path: a glob with a
// slash is about the path, any other about its last part.
uint64_t pf_rules_candidates(const struct pf_rules *rules, const char *path);

// Returns the place of the first rule that matches a call and whose pool, if it has one, is for the
// call's protocol, or -ENOENT.
int pf_rules_first(const struct pf_rules *rules, const struct pf_policy *policy,
	const struct pf_rule_call *call);

// Returns the place in the policy of the pool for a call, or PF_RULE_UNFENCED: what the first rule
// says, else the fallback, if it is for the call's protocol.
uint32_t pf_rules_pool(const struct pf_rules *rules, const struct pf_policy *policy,
	const struct pf_rule_call *call);

// Returns true if some candidate asks for the user or the group.
bool pf_rules_ask_who(const struct pf_rules *rules, uint64_t candidates);

// Writes policy and rules as a file has them into bytes[size]. Returns how many bytes there are,
// also if they do not fit.
size_t pf_rules_write(
	const struct pf_policy *policy, const struct pf_rules *rules, void *bytes, size_t size);

// Reads them out of such a file, believing nothing. Returns 0 or -EBADMSG.
int pf_rules_read(
	const void *bytes, size_t size, struct pf_policy *ret_policy, struct pf_rules *ret_rules);

#define PF_RULES_FILE_MAX ((size_t)1 << 16)

#endif
