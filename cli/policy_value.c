// SPDX-License-Identifier: MIT
// What the words of a policy file mean: numbers, durations, names, users, ports, destinations.
#include "policy_value.h"

#include "cli.h"

#include "util.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

// Returns true if the whole word is a decimal number, UINT64_MAX for a huge one.
static bool is_number(struct policy_word word, uint64_t *ret_number)
{
	size_t digits;
	*ret_number = pf_number(word.text, word.length, 10, &digits);
	return digits && digits == word.length;
}

bool policy_number(struct policy_text *text, struct policy_word word, uint32_t least, uint32_t most,
	uint32_t *ret_number)
{
	uint64_t number;
	if (!is_number(word, &number) || number < least || number > most) {
		policy_refuse(text, word, "expected a number from %u to %u", least, most);
		return false;
	}
	*ret_number = (uint32_t)number;
	return true;
}

bool policy_duration(struct policy_text *text, struct policy_word word, uint32_t *ret_ms)
{
	int result = cli_duration(word.text, word.length, ret_ms);
	if (result == -ERANGE)
		policy_refuse(text, word, "more than a day, expected 24h at the most");
	else if (result < 0)
		policy_refuse(
			text, word, "no duration, expected a number and ms, s, m or h, as in 60s");
	return result == 0;
}

bool policy_choice(struct policy_text *text, struct policy_word word, const char *what,
	const char *const *names, uint32_t *ret_place)
{
	for (uint32_t i = 0; names[i]; i++)
		if (policy_word_is(word, names[i])) {
			*ret_place = i;
			return true;
		}
	policy_refuse_unknown(text, word, what, names);
	return false;
}

bool policy_name(struct policy_text *text, struct policy_word word, char ret_name[PF_POOL_NAME])
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	if (word.length >= PF_POOL_NAME) {
		policy_refuse(text, word, "too long, expected a name of %d bytes at the most",
			PF_POOL_NAME - 1);
		return false;
	}
	for (size_t i = 0; i < word.length; i++)
		if (!memchr(letters, word.text[i], sizeof letters - 1)) {
			policy_refuse(text, word,
				"no name, expected letters, digits, '-', '_' and '.' only");
			return false;
		}
	memset(ret_name, 0, PF_POOL_NAME);
	memcpy(ret_name, word.text, word.length);
	return true;
}

// Finds the user or group, by number or name.
static bool id_read(
	struct policy_text *text, struct policy_word word, bool is_group, uint32_t *ret_id)
{
	char name[256];
	uint64_t number;
	snprintf(name, sizeof name, "%.*s", (int)word.length, word.text);
	if (is_number(word, &number) && number < UINT32_MAX) {
		*ret_id = (uint32_t)number;
		return true;
	}
	const struct passwd *user = is_group ? NULL : getpwnam(name);
	const struct group *group = is_group ? getgrnam(name) : NULL;
	if (!user && !group) {
		policy_refuse(text, word, "no such %s, expected a name or a number",
			is_group ? "group" : "user");
		return false;
	}
	*ret_id = user ? user->pw_uid : group->gr_gid;
	return true;
}

bool policy_user(struct policy_text *text, struct policy_word word, uint32_t *ret_id)
{
	return id_read(text, word, false, ret_id);
}

bool policy_group(struct policy_text *text, struct policy_word word, uint32_t *ret_id)
{
	return id_read(text, word, true, ret_id);
}

bool policy_protocols(struct policy_text *text, struct policy_word value, uint32_t *ret_flags)
{
	static const char *const names[] = {"tcp", "udp", NULL};
	struct policy_word word;
	uint32_t flags = 0, place;
	while (policy_word_next(&value, &word)) {
		if (!policy_choice(text, word, "protocol", names, &place))
			return false;
		flags |= place == 0 ? PF_POLICY_TCP : PF_POLICY_UDP;
	}
	*ret_flags = flags;
	return true;
}

// ---- Ports -----------------------------------------------------------------------------------

// Reads one PORT or FIRST-LAST.
static bool range_read(
	struct policy_text *text, struct policy_word word, struct pf_range *ret_range)
{
	char element[64], error[PF_ERROR_TEXT];
	struct pf_ranges ranges;
	if (!word.length || word.length >= sizeof element || memchr(word.text, ',', word.length)) {
		policy_refuse(text, word, "expected PORT or FIRST-LAST");
		return false;
	}
	snprintf(element, sizeof element, "%.*s", (int)word.length, word.text);
	if (pf_ranges_parse(element, &ranges, error) < 0) {
		// What is wrong stands behind the quoted element.
		policy_refuse(text, word, "%s", strrchr(error, '"') + strlen("\": "));
		return false;
	}
	*ret_range = ranges.range[0];
	return true;
}

bool policy_ports(struct policy_text *text, struct policy_word value, struct pf_ranges *ret_ranges)
{
	struct pf_ranges ranges = {.count = 0};
	struct policy_word element[PF_RANGES_MAX + 1];
	for (size_t from = 0; from <= value.length;) {
		struct policy_word rest = policy_word_part(value, from, value.length - from);
		const char *comma = memchr(rest.text, ',', rest.length);
		size_t length = comma ? (size_t)(comma - rest.text) : rest.length;
		if (ranges.count == PF_RANGES_MAX) {
			policy_refuse(text, value, "more than %d ranges", PF_RANGES_MAX);
			return false;
		}
		element[ranges.count] = policy_word_trim(policy_word_part(rest, 0, length));
		if (!range_read(text, element[ranges.count], &ranges.range[ranges.count]))
			return false;
		ranges.count++;
		from += length + 1;
	}
	uint32_t at;
	element[ranges.count] = value;
	if (pf_ranges_normalise(&ranges, &at) < 0) {
		policy_refuse(text, element[at], "overlaps another range of the pool");
		return false;
	}
	*ret_ranges = ranges;
	return true;
}

bool policy_slice(
	struct policy_text *text, struct policy_word word, uint32_t *ret_index, uint32_t *ret_parts)
{
	const char *slash = memchr(word.text, '/', word.length);
	size_t length = slash ? (size_t)(slash - word.text) : 0;
	uint64_t index, parts;
	if (!slash || !is_number(policy_word_part(word, 0, length), &index) ||
		!is_number(policy_word_part(word, length + 1, word.length - length - 1), &parts)) {
		policy_refuse(text, word, "expected PART/PARTS, as in 0/4");
		return false;
	}
	if (parts == 0 || parts > 65535) {
		policy_refuse(text, word, "expected 1 to 65535 parts");
		return false;
	}
	if (index >= parts) {
		policy_refuse(text, word, "no such part, expected 0/%u to %u/%u", (unsigned)parts,
			(unsigned)parts - 1, (unsigned)parts);
		return false;
	}
	*ret_index = (uint32_t)index;
	*ret_parts = (uint32_t)parts;
	return true;
}

// ---- Destinations ----------------------------------------------------------------------------

// Cuts the word at the first such character. Returns false if there is none, else what is behind.
static bool word_cut(struct policy_word *word, char at, struct policy_word *ret_behind)
{
	const char *found = memchr(word->text, at, word->length);
	if (!found)
		return false;
	size_t length = (size_t)(found - word->text);
	*ret_behind = policy_word_part(*word, length + 1, word->length - length - 1);
	word->length = length;
	return true;
}

// Reads an address; *ret_before is how many bits stand before those of its own family.
static bool address_read(struct policy_word word, uint8_t *bytes, uint32_t *ret_before)
{
	char address[INET6_ADDRSTRLEN + 1];
	struct in_addr ipv4;
	snprintf(address, sizeof address, "%.*s", (int)word.length, word.text);
	if (inet_pton(AF_INET, address, &ipv4) == 1) {
		struct pf_endpoint endpoint;
		pf_endpoint_set_ipv4(&endpoint, ipv4.s_addr);
		memcpy(bytes, endpoint.address, sizeof endpoint.address);
		*ret_before = 96;
		return true;
	}
	*ret_before = 0;
	return inet_pton(AF_INET6, address, bytes) == 1;
}

bool policy_destination(struct policy_text *text, struct policy_word word,
	struct pf_rule_destination *ret_destination)
{
	struct pf_rule_destination to = {.first = 1, .last = 65535};
	struct pf_range range;
	struct policy_word address = word, bits, ports;
	bool has_bits = false, has_ports, is_closed = true;
	uint32_t before = 0, prefix = 0;
	if (word.text[0] == '[') {
		struct policy_word behind = policy_word_part(word, word.length, 0);
		address = policy_word_part(word, 1, word.length - 1);
		is_closed = word_cut(&address, ']', &behind);
		has_ports = word_cut(&behind, ':', &ports);
		has_bits = word_cut(&behind, '/', &bits);
		is_closed &= behind.length == 0;
	} else
		has_ports = memchr(word.text, ':', word.length) ==
				memrchr(word.text, ':', word.length) &&
			word_cut(&address, ':', &ports);
	if (!has_bits)
		has_bits = word_cut(&address, '/', &bits);

	bool is_any = policy_word_is(address, "*") && !has_bits && is_closed;
	if (!is_any && (!is_closed || !address_read(address, to.address, &before))) {
		policy_refuse(text, word,
			"no address, expected one as in 10.0.0.1, 10.0.0.0/8:443, [::1]:80-99 or "
			"*:53");
		return false;
	}
	if (has_bits && !policy_number(text, bits, 0, 128 - before, &prefix))
		return false;
	to.prefix = (uint8_t)(is_any ? 0 : before + (has_bits ? prefix : 128 - before));
	for (unsigned bit = to.prefix; bit < 128; bit++)
		if (to.address[bit / 8] & 0x80 >> bit % 8) {
			policy_refuse(text, word, "bits beyond the first %u are set, expected 0s",
				prefix);
			return false;
		}
	if (has_ports) {
		if (!range_read(text, ports, &range))
			return false;
		to.first = range.first;
		to.last = range.last;
	}
	*ret_destination = to;
	return true;
}
