// SPDX-License-Identifier: MIT
// What the words of a policy file mean. Each function returns false if it refused the word.
#ifndef PF_POLICY_VALUE_H
#define PF_POLICY_VALUE_H

#include "policy_text.h"

#include <portfence/rule.h>

// A decimal number between `least` and `most`.
bool policy_number(struct policy_text *text, struct policy_word word, uint32_t least, uint32_t most,
	uint32_t *ret_number);

// "500ms", "60s", "2m", "1h" or, in seconds, "60"; a day at the most.
bool policy_duration(struct policy_text *text, struct policy_word word, uint32_t *ret_ms);

// One of the names, which a NULL ends; its place.
bool policy_choice(struct policy_text *text, struct policy_word word, const char *what,
	const char *const *names, uint32_t *ret_place);

// The name of a pool or a rule: letters, digits, '-', '_' and '.'.
bool policy_name(struct policy_text *text, struct policy_word word, char ret_name[PF_POOL_NAME]);

// A user (or a group), by name or number.
bool policy_user(struct policy_text *text, struct policy_word word, uint32_t *ret_id);
bool policy_group(struct policy_text *text, struct policy_word word, uint32_t *ret_id);

// "tcp", "udp" or both; PF_POLICY_TCP and PF_POLICY_UDP.
bool policy_protocols(struct policy_text *text, struct policy_word value, uint32_t *ret_flags);

// ADDRESS, ADDRESS/BITS or '*', and behind a colon PORT or FIRST-LAST.
bool policy_destination(struct policy_text *text, struct policy_word word,
	struct pf_rule_destination *ret_destination);

// PORT and FIRST-LAST, separated by commas.
bool policy_ports(struct policy_text *text, struct policy_word value, struct pf_ranges *ret_ranges);

// "I/N", the I-th (from 0) of N parts.
bool policy_slice(struct policy_text *text, struct policy_word word, uint32_t *ret_index,
	uint32_t *ret_parts);

#endif
