// SPDX-License-Identifier: MIT
// What a policy is made of while its file is read, and the keys of its sections.
#ifndef PF_POLICY_KEY_H
#define PF_POLICY_KEY_H

#include "policy_text.h"

#include <portfence/rule.h>

// What is made of the text.
struct policy_maker {
	struct policy_text *text;
	size_t section; // that is being read
	struct pf_policy *policy;
	struct pf_rules *rules;
	struct policy_word ports[PF_POOLS_MAX]; // as written, of each pool that is all right
	struct policy_word catch_all;           // the name of a rule that takes every call
	struct pf_policy_pool pool;             // that is being read
	struct pf_rule rule;
	struct {
		uint32_t parity; // 2: any
		uint32_t slice, slices;
		uint32_t block;
	} set;
	bool refused; // something in this section
};

// A key of a section, and what reads its value. Returns false if it refused it.
struct policy_key {
	const char *name;
	bool (*read)(struct policy_maker *maker, struct policy_word value);
};

// Each ends with a key without a name.
extern const struct policy_key policy_pool_keys[], policy_rule_keys[], policy_segment_keys[];

#define POLICY_KEYS_MAX 16 // of a section

#endif
