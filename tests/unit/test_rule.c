// SPDX-License-Identifier: MIT
// Rules: globs, prefixes, the first match, and the file that carries them.
#include "unit.h"

#include <portfence/rule.h>

#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BOTH (PF_POLICY_TCP | PF_POLICY_UDP)

// Returns a policy of three pools: "web" for TCP and UDP, "old" for TCP, "rtp" for UDP.
static struct pf_policy policy_new(void)
{
	static const struct {
		const char *name, *ports;
		uint32_t flags;
	} pools[] = {{"web", "20000-20999", BOTH}, {"old", "30000-30999", PF_POLICY_TCP},
		{"rtp", "40000-40999,50000", PF_POLICY_UDP}};
	struct pf_policy policy;
	char error[PF_ERROR_TEXT];
	memset(&policy, 0, sizeof policy);
	policy.count = 3;
	policy.place = (struct pf_policy_place){"/run/ports", 33, 0660};
	for (uint32_t i = 0; i < policy.count; i++) {
		policy.pool[i] = pf_policy_pool_new(pools[i].name);
		policy.pool[i].flags = pools[i].flags;
		assert_int_equal(pf_ranges_parse(pools[i].ports, &policy.pool[i].ranges, error), 0);
	}
	assert_int_equal(pf_ranges_thin(&policy.pool[2].ranges, 0), 0);
	pf_policy_digest(&policy);
	return policy;
}

// Adds a rule without a condition.
static struct pf_rule *rule_add(struct pf_rules *rules, const char *name, uint32_t pool)
{
	struct pf_rule *rule = &rules->rule[rules->count++];
	memset(rule, 0, sizeof *rule);
	strcpy(rule->name, name);
	rule->pool = pool;
	rule->flags = BOTH;
	return rule;
}

static void program_add(struct pf_rule *rule, const char *glob)
{
	size_t used = 0;
	for (uint32_t i = 0; i < rule->programs; i++)
		used += strlen(rule->program + used) + 1;
	strcpy(rule->program + used, glob);
	rule->programs++;
}

// Returns the endpoint of an address, IPv4 or IPv6.
static struct pf_endpoint endpoint_of(const char *address, uint16_t port)
{
	struct pf_endpoint endpoint = {.port = port};
	struct in_addr ipv4;
	if (inet_pton(AF_INET, address, &ipv4) == 1)
		pf_endpoint_set_ipv4(&endpoint, ipv4.s_addr);
	else
		assert_int_equal(inet_pton(AF_INET6, address, endpoint.address), 1);
	return endpoint;
}

static void destination_add(
	struct pf_rule *rule, const char *address, unsigned prefix, uint16_t first, uint16_t last)
{
	struct pf_rule_destination *to = &rule->destination[rule->destinations++];
	struct pf_endpoint endpoint = endpoint_of(address, 0);
	memcpy(to->address, endpoint.address, sizeof to->address);
	to->prefix = (uint8_t)prefix;
	to->first = first;
	to->last = last;
}

// Returns the pool of a TCP connect by user 1000, group 100.
static uint32_t pool_to(
	const struct pf_rules *rules, const char *path, const char *address, uint16_t port)
{
	struct pf_policy policy = policy_new();
	struct pf_endpoint endpoint = endpoint_of(address, port);
	struct pf_rule_call call = {.candidates = pf_rules_candidates(rules, path),
		.user = 1000,
		.group = 100,
		.protocol = PF_POLICY_TCP,
		.destination = &endpoint};
	return pf_rules_pool(rules, &policy, &call);
}

static void globs_match_as_in_a_shell_without_brackets(void **state)
{
	static const struct {
		const char *glob, *text;
		bool fits;
	} cases[] = {
		{"curl", "curl", true},
		{"curl", "curly", false},
		{"curl", "cur", false},
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "/usr/bin/curl", true},
		{"python3*", "python3", true},
		{"python3*", "python3.11", true},
		{"python3*", "python", false},
		{"*/curl", "/usr/bin/curl", true},
		{"/usr/*/curl", "/usr/local/bin/curl", true},
		{"?url", "curl", true},
		{"?url", "url", false},
		{"a*b*c", "aXbXbYc", true},
		{"a*b*c", "aXbXbY", false},
		{"**a", "bba", true},
		{"*a*", "b", false},
		{"[c]url", "curl", false},
		{"a?*", "a", false},
		{"*aab", "aaaab", true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (pf_rule_glob(cases[i].glob, cases[i].text) != cases[i].fits)
			fail_msg("%s %s", cases[i].glob, cases[i].text);
}

static void a_glob_with_a_slash_is_about_the_path_and_any_other_about_the_name(void **state)
{
	struct pf_rules rules = {.count = 0};
	(void)state;
	program_add(rule_add(&rules, "path", 0), "/usr/bin/*");
	struct pf_rule *names = rule_add(&rules, "names", 0);
	program_add(names, "wget");
	program_add(names, "cur?");
	rule_add(&rules, "all", 0);
	program_add(rule_add(&rules, "bin", 0), "bin");
	assert_int_equal(pf_rules_candidates(&rules, "/usr/bin/curl"), 7);
	assert_int_equal(pf_rules_candidates(&rules, "/usr/bin/ls"), 5);
	assert_int_equal(pf_rules_candidates(&rules, "/opt/wget"), 6);
	assert_int_equal(pf_rules_candidates(&rules, "/opt/usr/bin/ls"), 4);
	assert_int_equal(pf_rules_candidates(&rules, ""), 4);
}

static void sixty_four_rules_have_a_bit_each(void **state)
{
	struct pf_rules rules = {.count = 0};
	(void)state;
	while (rules.count < PF_RULES_MAX)
		rule_add(&rules, "all", 0);
	assert_true(pf_rules_candidates(&rules, "/bin/true") == UINT64_MAX);
}

static void prefixes_end_at_any_bit(void **state)
{
	(void)state;
	for (unsigned prefix = 0; prefix <= 128; prefix++) {
		struct pf_rules rules = {.count = 0, .fallback = 1};
		struct pf_endpoint near = endpoint_of("2001:db8:aaaa:5555:aaaa:5555:aaaa:5555", 80);
		char inside[INET6_ADDRSTRLEN], outside[INET6_ADDRSTRLEN];
		destination_add(rule_add(&rules, "net", 0),
			"2001:db8:aaaa:5555:aaaa:5555:aaaa:5555", prefix, 1, 65535);
		if (prefix < 128)
			near.address[prefix / 8] ^= (uint8_t)(0x80 >> prefix % 8);
		inet_ntop(AF_INET6, near.address, inside, sizeof inside);
		assert_int_equal(pool_to(&rules, "/a", inside, 80), 0);
		if (prefix == 0)
			continue;
		near.address[(prefix - 1) / 8] ^= (uint8_t)(0x80 >> (prefix - 1) % 8);
		inet_ntop(AF_INET6, near.address, outside, sizeof outside);
		assert_int_equal(pool_to(&rules, "/a", outside, 80), 1);
	}
}

static void ipv4_is_a_net_of_its_own_and_a_star_is_both(void **state)
{
	struct pf_rules ipv4 = {.count = 0, .fallback = 1}, any = {.count = 0, .fallback = 1};
	(void)state;
	destination_add(rule_add(&ipv4, "ipv4", 0), "0.0.0.0", 96, 1, 65535);
	assert_int_equal(pool_to(&ipv4, "/a", "192.0.2.1", 80), 0);
	assert_int_equal(pool_to(&ipv4, "/a", "::ffff:192.0.2.1", 80), 0);
	assert_int_equal(pool_to(&ipv4, "/a", "2001:db8::1", 80), 1);
	destination_add(rule_add(&any, "any", 0), "::", 0, 443, 443);
	assert_int_equal(pool_to(&any, "/a", "192.0.2.1", 443), 0);
	assert_int_equal(pool_to(&any, "/a", "2001:db8::1", 443), 0);
	assert_int_equal(pool_to(&any, "/a", "2001:db8::1", 442), 1);
}

static void ports_of_a_destination_have_both_ends(void **state)
{
	struct pf_rules rules = {.count = 0, .fallback = 1};
	(void)state;
	struct pf_rule *rule = rule_add(&rules, "ports", 0);
	destination_add(rule, "10.0.0.0", 96 + 8, 80, 90);
	destination_add(rule, "10.0.0.0", 96 + 8, 443, 443);
	const uint16_t inside[] = {80, 85, 90, 443}, outside[] = {79, 91, 442, 444};
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pool_to(&rules, "/a", "10.1.2.3", inside[i]), 0);
		assert_int_equal(pool_to(&rules, "/a", "10.1.2.3", outside[i]), 1);
		assert_int_equal(pool_to(&rules, "/a", "11.1.2.3", inside[i]), 1);
	}
}

static void the_first_rule_that_matches_decides(void **state)
{
	struct pf_rules rules = {.count = 0, .fallback = PF_RULE_UNFENCED};
	(void)state;
	program_add(rule_add(&rules, "curl", 1), "curl");
	destination_add(rule_add(&rules, "lan", PF_RULE_UNFENCED), "10.0.0.0", 96 + 8, 1, 65535);
	rule_add(&rules, "rest", 0);
	assert_int_equal(pool_to(&rules, "/bin/curl", "10.0.0.1", 80), 1);
	assert_int_equal(pool_to(&rules, "/bin/wget", "10.0.0.1", 80), PF_RULE_UNFENCED);
	assert_int_equal(pool_to(&rules, "/bin/wget", "192.0.2.1", 80), 0);
	rules.count = 2;
	assert_int_equal(pool_to(&rules, "/bin/wget", "192.0.2.1", 80), PF_RULE_UNFENCED);
}

static void every_condition_must_hold_and_one_of_a_list(void **state)
{
	struct pf_rules rules = {.count = 0, .fallback = 1};
	(void)state;
	struct pf_rule *rule = rule_add(&rules, "all", 0);
	rule->user[rule->users++] = 7;
	rule->user[rule->users++] = 1000;
	rule->group[rule->groups++] = 100;
	assert_int_equal(pool_to(&rules, "/a", "10.0.0.1", 80), 0);
	rule->group[0] = 101;
	assert_int_equal(pool_to(&rules, "/a", "10.0.0.1", 80), 1);
	rule->group[0] = 100;
	rule->users = 1;
	assert_int_equal(pool_to(&rules, "/a", "10.0.0.1", 80), 1);
	rule->users = 2;
	program_add(rule, "b");
	assert_int_equal(pool_to(&rules, "/a", "10.0.0.1", 80), 1);
	assert_int_equal(pool_to(&rules, "/b", "10.0.0.1", 80), 0);
	destination_add(rule, "10.0.0.2", 128, 80, 80);
	assert_int_equal(pool_to(&rules, "/b", "10.0.0.1", 80), 1);
	assert_int_equal(pool_to(&rules, "/b", "10.0.0.2", 80), 0);
	assert_true(pf_rules_ask_who(&rules, 1));
	assert_false(pf_rules_ask_who(&rules, 0));
	rule->users = 0;
	assert_true(pf_rules_ask_who(&rules, 1));
	rule->groups = 0;
	assert_false(pf_rules_ask_who(&rules, 1));
}

static void a_bind_fits_no_rule_with_destinations(void **state)
{
	struct pf_policy policy = policy_new();
	struct pf_rules rules = {.count = 0, .fallback = PF_RULE_UNFENCED};
	struct pf_rule_call bind = {.candidates = 3, .protocol = PF_POLICY_TCP};
	(void)state;
	destination_add(rule_add(&rules, "any", 0), "::", 0, 1, 65535);
	assert_int_equal(pf_rules_pool(&rules, &policy, &bind), PF_RULE_UNFENCED);
	assert_int_equal(pf_rules_first(&rules, &policy, &bind), -ENOENT);
	rule_add(&rules, "rest", 1);
	assert_int_equal(pf_rules_pool(&rules, &policy, &bind), 1);
	assert_int_equal(pf_rules_first(&rules, &policy, &bind), 1);
}

static void a_pool_that_is_not_for_the_protocol_is_passed_over(void **state)
{
	struct pf_policy policy = policy_new();
	struct pf_rules rules = {.count = 0, .fallback = 1};
	struct pf_rule_call call = {.candidates = 7, .protocol = PF_POLICY_UDP};
	(void)state;
	rule_add(&rules, "tcp", 0)->flags = PF_POLICY_TCP;
	rule_add(&rules, "old", 1);
	assert_int_equal(pf_rules_pool(&rules, &policy, &call), PF_RULE_UNFENCED);
	rule_add(&rules, "rtp", 2);
	assert_int_equal(pf_rules_pool(&rules, &policy, &call), 2);
	call.protocol = PF_POLICY_TCP;
	assert_int_equal(pf_rules_pool(&rules, &policy, &call), 0);
	call.candidates = 0;
	assert_int_equal(pf_rules_pool(&rules, &policy, &call), 1);
}

// ---- The file ----------------------------------------------------------------------------------

// Returns rules that use every field.
static struct pf_rules rules_new(void)
{
	struct pf_rules rules;
	memset(&rules, 0, sizeof rules);
	rules.fallback = 1;
	struct pf_rule *rule = rule_add(&rules, "full", 0);
	program_add(rule, "/usr/bin/*");
	program_add(rule, "wget");
	rule->user[rule->users++] = 33;
	rule->group[rule->groups++] = 34;
	destination_add(rule, "10.0.0.0", 96 + 8, 80, 90);
	rule_add(&rules, "none", PF_RULE_UNFENCED)->flags = PF_POLICY_UDP;
	return rules;
}

static void what_is_written_is_read_back(void **state)
{
	struct pf_policy policy = policy_new(), read_policy;
	struct pf_rules rules = rules_new(), read_rules;
	unsigned char *bytes = malloc(PF_RULES_FILE_MAX);
	(void)state;
	memset(&read_policy, 0, sizeof read_policy);
	memset(&read_rules, 0, sizeof read_rules);
	size_t size = pf_rules_write(&policy, &rules, bytes, PF_RULES_FILE_MAX);
	assert_int_equal(pf_rules_read(bytes, size, &read_policy, &read_rules), 0);
	assert_memory_equal(&policy, &read_policy, sizeof policy);
	assert_memory_equal(&rules, &read_rules, sizeof rules);
	free(bytes);
}

static void the_biggest_file_has_room_and_a_small_buffer_is_not_written(void **state)
{
	struct pf_policy policy = policy_new();
	struct pf_rules rules = rules_new();
	unsigned char small[64] = {0}, untouched[64] = {0};
	(void)state;
	assert_true(pf_rules_write(&policy, &rules, small, sizeof small) > sizeof small);
	assert_memory_equal(small, untouched, sizeof small);
	policy.count = PF_POOLS_MAX;
	rules.count = PF_RULES_MAX;
	assert_true(pf_rules_write(&policy, &rules, small, 0) <= PF_RULES_FILE_MAX);
}

static void a_file_that_is_cut_or_has_a_tail_is_refused(void **state)
{
	struct pf_policy policy = policy_new();
	struct pf_rules rules = rules_new();
	unsigned char *bytes = calloc(1, PF_RULES_FILE_MAX);
	(void)state;
	size_t size = pf_rules_write(&policy, &rules, bytes, PF_RULES_FILE_MAX);
	for (size_t length = 0; length <= size + 8; length++)
		if (length != size)
			assert_int_equal(pf_rules_read(bytes, length, &policy, &rules), -EBADMSG);
	free(bytes);
}

// Asks a damaged file everything that the shim asks: no pool but those it has may come out.
static void assert_harmless(const struct pf_policy *policy, const struct pf_rules *rules)
{
	static const char *const paths[] = {"/usr/bin/curl", "/bin/wget", ""};
	struct pf_endpoint to = endpoint_of("10.1.2.3", 85);
	assert_in_range(policy->count, 1, PF_POOLS_MAX);
	assert_in_range(rules->count, 0, PF_RULES_MAX);
	assert_non_null(memchr(policy->place.directory, 0, sizeof policy->place.directory));
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_ranges *ranges = &policy->pool[i].ranges;
		assert_in_range(ranges->ports, 1, 65535);
		assert_int_equal(pf_ranges_index(ranges, pf_ranges_port(ranges, 0)), 0);
		assert_true(pf_policy_find(policy, policy->pool[i].name) >= 0);
	}
	for (size_t i = 0; i < 12; i++) {
		struct pf_rule_call call = {.candidates = pf_rules_candidates(rules, paths[i / 4]),
			.user = 33,
			.group = 34,
			.protocol = i & 1 ? PF_POLICY_TCP : PF_POLICY_UDP,
			.destination = i & 2 ? &to : NULL};
		uint32_t pool = pf_rules_pool(rules, policy, &call);
		assert_true(pool < policy->count || pool == PF_RULE_UNFENCED);
	}
}

// The hash stands in bytes 24 to 31, for all that follows; the bytes before it are checked one by
// one. A file with its hash mended is what somebody would make on purpose.
static void a_damaged_byte_is_refused_or_harmless(void **state)
{
	static const unsigned char damages[] = {0x01, 0x80, 0xff};
	struct pf_policy policy = policy_new(), read_policy;
	struct pf_rules rules = rules_new(), read_rules;
	unsigned char *bytes = malloc(PF_RULES_FILE_MAX);
	unsigned accepted = 0;
	(void)state;
	size_t size = pf_rules_write(&policy, &rules, bytes, PF_RULES_FILE_MAX);
	for (size_t at = 0; at < size; at++)
		for (size_t i = 0; i < 2 * sizeof damages; i++) {
			unsigned char *copy = malloc(size); // of this size, for the sanitizer
			uint64_t hash = pf_hash(bytes + 32, size - 32);
			memcpy(copy, bytes, size);
			copy[at] ^= damages[i / 2];
			bool is_mended = i % 2 && at >= 32;
			if (is_mended) {
				hash = pf_hash(copy + 32, size - 32);
				memcpy(copy + 24, &hash, sizeof hash);
			}
			int result = pf_rules_read(copy, size, &read_policy, &read_rules);
			free(copy);
			assert_true(result == 0 || result == -EBADMSG);
			if (!is_mended && (at < 20 || at >= 24)) // 20: fallback
				assert_int_equal(result, -EBADMSG);
			if (result == 0) {
				assert_harmless(&read_policy, &read_rules);
				accepted++;
			}
		}
	assert_true(accepted > 0);
	free(bytes);
}

static void a_text_without_an_end_is_refused(void **state)
{
	(void)state;
	for (int which = 0; which < 4; which++) {
		struct pf_policy policy = policy_new(), read_policy;
		struct pf_rules rules = rules_new(), read_rules;
		unsigned char *bytes = malloc(PF_RULES_FILE_MAX);
		if (which == 0)
			memset(policy.place.directory, 'x', sizeof policy.place.directory);
		else if (which == 1)
			memset(policy.pool[2].name, 'x', sizeof policy.pool[2].name);
		else if (which == 2)
			memset(rules.rule[1].name, 'x', sizeof rules.rule[1].name);
		size_t size = pf_rules_write(&policy, &rules, bytes, PF_RULES_FILE_MAX);
		assert_int_equal(pf_rules_read(bytes, size, &read_policy, &read_rules),
			which < 3 ? -EBADMSG : 0);
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(globs_match_as_in_a_shell_without_brackets),
		cmocka_unit_test(
			a_glob_with_a_slash_is_about_the_path_and_any_other_about_the_name),
		cmocka_unit_test(sixty_four_rules_have_a_bit_each),
		cmocka_unit_test(prefixes_end_at_any_bit),
		cmocka_unit_test(ipv4_is_a_net_of_its_own_and_a_star_is_both),
		cmocka_unit_test(ports_of_a_destination_have_both_ends),
		cmocka_unit_test(the_first_rule_that_matches_decides),
		cmocka_unit_test(every_condition_must_hold_and_one_of_a_list),
		cmocka_unit_test(a_bind_fits_no_rule_with_destinations),
		cmocka_unit_test(a_pool_that_is_not_for_the_protocol_is_passed_over),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(the_biggest_file_has_room_and_a_small_buffer_is_not_written),
		cmocka_unit_test(a_file_that_is_cut_or_has_a_tail_is_refused),
		cmocka_unit_test(a_damaged_byte_is_refused_or_harmless),
		cmocka_unit_test(a_text_without_an_end_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
