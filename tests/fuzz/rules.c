// SPDX-License-Identifier: MIT
// The file of policy and rules: whatever it says, either it is refused, or everything asked of it
// stays within what it has, and it is written back the same.
#include "fuzz.h"

#include <portfence/rule.h>

#include "util.h"

#include <errno.h>

// Where the file has the hash, and what the hash is of.
#define CHECK_AT 24
#define CHECKED_AT 32

static struct pf_policy policy, policy_again;
static struct pf_rules rules, rules_again;

// Reads the endpoint and the caller out of the input, and asks for the pool.
static void call_check(struct input *input)
{
	char path[16];
	struct pf_endpoint to;
	uint8_t kind = input_byte(input);
	input_take(input, path, sizeof path - 1);
	path[sizeof path - 1] = 0;
	input_take(input, &to, sizeof to);
	struct pf_rule_call call = {.candidates = pf_rules_candidates(&rules, path),
		.user = input_byte(input),
		.group = input_byte(input),
		.protocol = kind & 1 ? PF_POLICY_TCP : PF_POLICY_UDP,
		.destination = kind & 2 ? &to : NULL};
	int first = pf_rules_first(&rules, &policy, &call);
	uint32_t pool = pf_rules_pool(&rules, &policy, &call);
	require(first == -ENOENT || (first >= 0 && (uint32_t)first < rules.count));
	require(first < 0 || call.candidates >> first & 1);
	require(first < 0 || pool == rules.rule[first].pool);
	require(pool == PF_RULE_UNFENCED || pool < policy.count);
	require(pool == PF_RULE_UNFENCED || policy.pool[pool].flags & call.protocol);
	if (call.candidates == 0)
		require(first < 0 && !pf_rules_ask_who(&rules, 0));
}

static void pools_check(void)
{
	require(policy.count >= 1 && policy.count <= PF_POOLS_MAX);
	require(rules.count <= PF_RULES_MAX);
	for (uint32_t i = 0; i < policy.count; i++) {
		const struct pf_ranges *ranges = &policy.pool[i].ranges;
		uint32_t last = ranges->ports - 1;
		require(pf_ranges_index(ranges, pf_ranges_port(ranges, 0)) == 0);
		require(pf_ranges_index(ranges, pf_ranges_port(ranges, last)) == (int32_t)last);
		require(pf_policy_find(&policy, policy.pool[i].name) >= 0);
	}
}

// Checks that what was read is written and read again as the same.
static void again_check(const uint8_t *bytes, size_t size)
{
	uint8_t *written = malloc(size);
	require(written && pf_rules_write(&policy, &rules, written, size) == size);
	require(memcmp(written, bytes, size) == 0);
	require(pf_rules_read(written, size, &policy_again, &rules_again) == 0);
	require(policy_again.digest == policy.digest);
	free(written);
}

// A small valid file, so that the fuzzer need not find the sizes: its pools and rules are few.
static size_t file_make(uint8_t *bytes, uint8_t counts)
{
	char error[PF_ERROR_TEXT];
	require(pf_policy_from_ports("20000-20999,30000", &policy, error) == 0);
	policy.count = counts % 3 + 1u;
	for (uint32_t i = 1; i < policy.count; i++)
		policy.pool[i] = policy.pool[0];
	memset(&rules, 0, sizeof rules);
	rules.count = counts / 3 % 4;
	for (uint32_t i = 0; i < rules.count; i++)
		rules.rule[i] = (struct pf_rule){.name = "r",
			.pool = i % policy.count,
			.flags = PF_POLICY_TCP | PF_POLICY_UDP,
			.programs = 1,
			.program = "*c"};
	return pf_rules_write(&policy, &rules, bytes, PF_RULES_FILE_MAX);
}

// Puts bytes of the input somewhere into the file, some times.
static void file_damage(struct input *input, uint8_t *bytes, size_t size)
{
	for (uint8_t times = input_byte(input) % 16; times; times--) {
		size_t at = input_pair(input) % size, length = input_byte(input) % 9u;
		input_take(input, bytes + at, length < size - at ? length : size - at);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static uint8_t made[PF_RULES_FILE_MAX];
	struct input input = {bytes, size};
	uint8_t kind = input_byte(&input);
	size_t length = input.left;
	if (kind & 1) {
		length = file_make(made, input_byte(&input));
		file_damage(&input, made, length);
	} else
		input_take(&input, made, length < sizeof made ? length : (length = sizeof made));
	if (kind & 2 && length >= CHECKED_AT) {
		uint64_t hash = pf_hash(made + CHECKED_AT, length - CHECKED_AT);
		memcpy(made + CHECK_AT, &hash, sizeof hash);
	}
	uint8_t *copy = copy_exactly(made, length, 0);
	int result = pf_rules_read(copy, length, &policy, &rules);
	require(result == 0 || result == -EBADMSG);
	if (result == 0) {
		pools_check();
		for (int i = 0; i < 4; i++)
			call_check(&input);
		again_check(copy, length);
	}
	free(copy);
	return 0;
}
