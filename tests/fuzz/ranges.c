// SPDX-License-Identifier: MIT
// Port ranges: whatever the text or the table says, either it is refused in one line that quotes
// it, or the ports are 1..65535, in order, once each, and text and index lead back to them.
#include "fuzz.h"

#include <portfence/range.h>

#include <errno.h>

static uint8_t is_inside[65536];

// Checks the order and the bounds, and counts the ports in is_inside.
static void ranges_check(const struct pf_ranges *ranges)
{
	uint32_t ports = 0;
	require(ranges->count >= 1 && ranges->count <= PF_RANGES_MAX);
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		require(range.first >= 1 && range.first <= range.last);
		require(i == 0 || ranges->range[i - 1].last + 1 < range.first);
		ports += range.last - range.first + 1u;
	}
	require(ports == ranges->ports && ports >= 1 && ports <= 65535);
}

// Checks that `index` <-> port, both ways.
static void index_check(const struct pf_ranges *ranges, uint32_t index, uint16_t port)
{
	require(pf_ranges_port(ranges, index) == port);
	require(pf_ranges_index(ranges, port) == (int32_t)index);
}

// Checks the ends of every range, what is beside them, and some ports between.
static void indexes_check(const struct pf_ranges *ranges)
{
	uint32_t index = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		uint32_t last = (uint32_t)(range.last - range.first), step = last / 7 + 1;
		require(pf_ranges_index(ranges, (uint16_t)(range.first - 1)) == -1);
		require(pf_ranges_index(ranges, (uint16_t)(range.last + 1)) == -1);
		for (uint32_t at = 0; at <= last; at += step)
			index_check(ranges, index + at, (uint16_t)(range.first + at));
		index_check(ranges, index + last, range.last);
		index += last + 1;
	}
	require(index == ranges->ports);
	require(pf_ranges_index(ranges, 0) == -1);
}

static void text_check(const struct pf_ranges *ranges)
{
	char text[PF_RANGES_TEXT], error[PF_ERROR_TEXT];
	struct pf_ranges again;
	pf_ranges_format(ranges, text);
	require(strlen(text) < sizeof text);
	require(pf_ranges_parse(text, &again, error) == 0);
	require(memcmp(ranges, &again, sizeof again) == 0);
}

static void within_check(const struct pf_ranges *ranges, struct pf_range outer)
{
	bool within = true;
	for (uint32_t i = 0; i < ranges->count; i++)
		within &= ranges->range[i].first >= outer.first &&
			ranges->range[i].last <= outer.last;
	require(pf_ranges_within(ranges, &outer) == within);
}

// Sets or clears is_inside for the ports of every valid range. Returns false if one is invalid, or
// meets another.
static bool table_mark(const struct pf_ranges *given, uint8_t inside)
{
	bool valid = given->count >= 1 && given->count <= PF_RANGES_MAX;
	for (uint32_t i = 0; i < given->count && i < PF_RANGES_MAX; i++) {
		valid &=
			given->range[i].first != 0 && given->range[i].first <= given->range[i].last;
		for (uint32_t port = given->range[i].first; port <= given->range[i].last; port++) {
			valid &= is_inside[port] != inside;
			is_inside[port] = inside;
		}
	}
	return valid;
}

// A table of ranges, as a segment may have it: accepted if and only if it is valid.
static void fuzz_table(struct input *input)
{
	struct pf_ranges given = {.count = input_byte(input) % (PF_RANGES_MAX + 2)}, ranges;
	size_t budget = 4096; // so that counting port by port stays quick
	for (uint32_t i = 0; i < given.count && i < PF_RANGES_MAX; i++) {
		struct pf_range *range = &given.range[i];
		range->first = input_pair(input);
		range->last = input_pair(input);
		if (range->last > range->first && range->last - range->first > budget)
			range->last = (uint16_t)(range->first + budget);
		if (range->last > range->first)
			budget -= (size_t)(range->last - range->first);
	}
	ranges = given;
	uint32_t at = UINT32_MAX;
	bool valid = table_mark(&given, 1);
	int result = pf_ranges_normalise(&ranges, &at);
	require(result == (valid ? 0 : -EINVAL));
	if (result == 0) {
		ranges_check(&ranges);
		for (uint32_t i = 0; i < ranges.ports; i++)
			require(is_inside[pf_ranges_port(&ranges, i)]);
		indexes_check(&ranges);
		text_check(&ranges);
	} else
		require(at <= given.count);
	table_mark(&given, 0);
}

// Fails unless every number of the text is a port of the ranges.
static void numbers_check(const struct pf_ranges *ranges, const char *text)
{
	for (const char *at = text; *(at += strcspn(at, "0123456789"));
		at += strspn(at, "0123456789"))
		require(strtoull(at, NULL, 10) <= 65535 &&
			pf_ranges_index(ranges, (uint16_t)strtoull(at, NULL, 10)) >= 0);
}

static void fuzz_text(struct input *input)
{
	struct pf_ranges ranges, untouched;
	struct pf_range outer = {input_pair(input), input_pair(input)};
	char *text = copy_exactly(input->at, input->left, 1), error[PF_ERROR_TEXT];
	memset(&ranges, 0x55, sizeof ranges);
	memset(error, 0x55, sizeof error);
	untouched = ranges;
	int result = pf_ranges_parse(text, &ranges, error);
	if (result == 0)
		numbers_check(&ranges, text);
	free(text);
	if (result < 0) {
		size_t length = strnlen(error, sizeof error);
		require(result == -EINVAL && length < sizeof error);
		require(error[0] == '"' && strstr(error, "\": "));
		for (size_t i = 0; i < length; i++)
			require(error[i] >= ' ' && error[i] <= '~');
		require(memcmp(&ranges, &untouched, sizeof ranges) == 0);
		return;
	}
	require(result == 0);
	ranges_check(&ranges);
	indexes_check(&ranges);
	text_check(&ranges);
	within_check(&ranges, outer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	if (input_byte(&input) == 'T')
		fuzz_table(&input);
	else
		fuzz_text(&input);
	return 0;
}
