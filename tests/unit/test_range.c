// SPDX-License-Identifier: MIT
// Port ranges: text, order, port <-> index.
#include "unit.h"

#include <portfence/range.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void refused(const char *text, const char *message)
{
	struct pf_ranges ranges, before;
	char error[PF_ERROR_TEXT];
	memset(&ranges, 0xee, sizeof ranges);
	memcpy(&before, &ranges, sizeof before);
	assert_int_equal(pf_ranges_parse(text, &ranges, error), -EINVAL);
	assert_string_equal(error, message);
	assert_memory_equal(&ranges, &before, sizeof before);
}

static void accepted(const char *text, const char *canonical, uint32_t ports)
{
	struct pf_ranges ranges;
	char error[PF_ERROR_TEXT], shown[PF_RANGES_TEXT];
	assert_int_equal(pf_ranges_parse(text, &ranges, error), 0);
	pf_ranges_format(&ranges, shown);
	assert_string_equal(shown, canonical);
	assert_int_equal(ranges.ports, ports);
}

static void ranges_are_sorted_joined_and_counted(void **state)
{
	(void)state;
	accepted("20000", "20000", 1);
	accepted("20000-20000", "20000", 1);
	accepted("1-65535", "1-65535", 65535);
	accepted("22000-22499,20000-20999", "20000-20999,22000-22499", 1500);
	accepted("20000-20499, 20500-20999", "20000-20999", 1000);
	accepted(" 5 ,\t3 , 4", "3-5", 3);
	accepted("0020000", "20000", 1);
}

static void what_is_wrong_is_quoted(void **state)
{
	(void)state;
	refused("20000-", "\"20000-\": expected PORT or FIRST-LAST");
	refused("-5", "\"-5\": expected PORT or FIRST-LAST");
	refused("abc", "\"abc\": expected PORT or FIRST-LAST");
	refused("20000 20999", "\"20000 20999\": expected PORT or FIRST-LAST");
	refused("20000--20001", "\"20000--20001\": expected PORT or FIRST-LAST");
	refused("20000-20999x", "\"20000-20999x\": expected PORT or FIRST-LAST");
	refused("30000-20000", "\"30000-20000\": reversed, expected the lower port first");
	refused("0-10", "\"0-10\": port 0 is not a port, expected 1 to 65535");
	refused("0", "\"0\": port 0 is not a port, expected 1 to 65535");
	refused("70000-80000", "\"70000-80000\": no such port, expected 1 to 65535");
	refused("65536", "\"65536\": no such port, expected 1 to 65535");
	refused("99999999999999999999",
		"\"99999999999999999999\": no such port, expected 1 to 65535");
	refused("", "\"\": no ports, expected PORT or FIRST-LAST");
	refused(" \t", "\" ?\": no ports, expected PORT or FIRST-LAST");
	refused("1,,2", "\"\": empty, expected PORT or FIRST-LAST");
	refused("1,", "\"\": empty, expected PORT or FIRST-LAST");
	refused("20-30,25-35", "\"25-35\": overlaps another range");
	refused("25-35,20-30", "\"20-30\": overlaps another range");
	refused("20-30,10-40", "\"10-40\": overlaps another range");
	refused("7,8,7", "\"7\": overlaps another range");
	refused("\x01\xff", "\"??\": expected PORT or FIRST-LAST");
}

static void two_hundred_ranges_are_too_many(void **state)
{
	char text[4096] = "", error[PF_ERROR_TEXT];
	struct pf_ranges ranges;
	(void)state;
	for (int i = 0; i < 200; i++)
		snprintf(text + strlen(text), 16, "%s%d", i ? "," : "", 1000 + 2 * i);
	assert_int_equal(pf_ranges_parse(text, &ranges, error), -EINVAL);
	assert_string_equal(
		error, "\"1000,1002,1004,1006,1008,1010,1012,1014,...\": more than 64 ranges");
}

static void sixty_four_ranges_fit_and_their_text_too(void **state)
{
	char text[4096] = "", shown[PF_RANGES_TEXT];
	char error[PF_ERROR_TEXT];
	struct pf_ranges ranges;
	(void)state;
	for (int i = 0; i < PF_RANGES_MAX; i++)
		snprintf(text + strlen(text), 16, "%s%d-%d", i ? "," : "", 10000 + 3 * i,
			10001 + 3 * i);
	assert_int_equal(pf_ranges_parse(text, &ranges, error), 0);
	pf_ranges_format(&ranges, shown);
	assert_string_equal(shown, text);
}

static void port_and_index_are_inverse(void **state)
{
	struct pf_ranges ranges;
	char error[PF_ERROR_TEXT];
	(void)state;
	assert_int_equal(pf_ranges_parse("10,20-29,65535", &ranges, error), 0);
	assert_int_equal(ranges.ports, 12);
	for (uint32_t i = 0; i < ranges.ports; i++)
		assert_int_equal(pf_ranges_index(&ranges, pf_ranges_port(&ranges, i)), i);
	assert_int_equal(pf_ranges_port(&ranges, 0), 10);
	assert_int_equal(pf_ranges_port(&ranges, 11), 65535);
	const uint16_t outside[] = {0, 9, 11, 19, 30, 65534};
	for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
		assert_int_equal(pf_ranges_index(&ranges, outside[i]), -1);
}

static void ranges_read_from_memory_are_not_believed(void **state)
{
	struct pf_ranges ranges = {.count = 0};
	(void)state;
	assert_int_equal(pf_ranges_normalise(&ranges, NULL), -EINVAL);
	ranges.count = PF_RANGES_MAX + 1;
	assert_int_equal(pf_ranges_normalise(&ranges, NULL), -EINVAL);
	ranges = (struct pf_ranges){.count = 1, .range = {{0, 5}}};
	assert_int_equal(pf_ranges_normalise(&ranges, NULL), -EINVAL);
	ranges = (struct pf_ranges){.count = 1, .range = {{6, 5}}};
	assert_int_equal(pf_ranges_normalise(&ranges, NULL), -EINVAL);
}

// Returns the ranges of a text.
static struct pf_ranges ranges_of(const char *text)
{
	struct pf_ranges ranges;
	char error[PF_ERROR_TEXT];
	assert_int_equal(pf_ranges_parse(text, &ranges, error), 0);
	return ranges;
}

// Checks that index and port lead to each other, and that nothing else has an index.
static void assert_inverse(const struct pf_ranges *ranges)
{
	uint32_t index = 0;
	for (uint32_t port = 0; port <= 65535; port++)
		if (pf_ranges_index(ranges, (uint16_t)port) != -1) {
			assert_int_equal(pf_ranges_index(ranges, (uint16_t)port), index);
			assert_int_equal(pf_ranges_port(ranges, index), port);
			index++;
		}
	assert_int_equal(index, ranges->ports);
}

static void parity_leaves_every_other_port(void **state)
{
	(void)state;
	for (unsigned parity = 0; parity < 2; parity++) {
		struct pf_ranges ranges = ranges_of("20-29,41-43,50,53,65534-65535");
		assert_int_equal(pf_ranges_thin(&ranges, parity), 0);
		assert_inverse(&ranges);
		assert_int_equal(ranges.ports, 5 + (parity ? 2 : 1) + 1 + 1);
		for (uint32_t i = 0; i < ranges.ports; i++)
			assert_int_equal(pf_ranges_port(&ranges, i) % 2, parity);
		assert_true(pf_ranges_span(&ranges, 28));
		assert_true(pf_ranges_span(&ranges, 29));
		assert_false(pf_ranges_span(&ranges, 30));
	}
	struct pf_ranges lonely = ranges_of("7,9");
	assert_int_equal(pf_ranges_thin(&lonely, 0), -EINVAL);
	assert_int_equal(lonely.ports, 2);
	assert_int_equal(lonely.step, 1);
}

// Checks that the slices have the ports once each, in order.
static void assert_partition(const struct pf_ranges *whole, uint32_t parts)
{
	uint32_t index = 0;
	for (uint32_t part = 0; part < parts; part++) {
		struct pf_ranges slice = *whole, again;
		assert_int_equal(pf_ranges_slice(&slice, part, parts), 0);
		assert_int_equal(slice.ports, whole->ports / parts);
		assert_inverse(&slice);
		again = slice;
		assert_int_equal(pf_ranges_normalise(&again, NULL), 0);
		assert_memory_equal(&again, &slice, sizeof slice);
		for (uint32_t i = 0; i < slice.ports; i++)
			assert_int_equal(pf_ranges_port(&slice, i), pf_ranges_port(whole, index++));
	}
}

static void slices_have_every_port_once(void **state)
{
	(void)state;
	for (unsigned parity = 0; parity <= 2; parity++)
		for (uint32_t parts = 1; parts <= 20; parts++) {
			struct pf_ranges whole = ranges_of("20-29,40-44,50,60-63,65516-65535");
			if (parity < 2)
				assert_int_equal(pf_ranges_thin(&whole, parity), 0);
			if (whole.ports % parts == 0)
				assert_partition(&whole, parts);
			else
				assert_int_equal(pf_ranges_slice(&whole, 0, parts), -EINVAL);
		}
	struct pf_ranges whole = ranges_of("1-65535");
	assert_partition(&whole, 15);
	assert_int_equal(pf_ranges_slice(&whole, 15, 15), -EINVAL);
	assert_int_equal(pf_ranges_slice(&whole, 0, 0), -EINVAL);
	assert_int_equal(whole.ports, 65535);
}

// RTP takes the even port and RTCP the odd one behind it.
static void the_odd_port_behind_an_even_one_is_in_its_slice(void **state)
{
	(void)state;
	for (uint32_t part = 0; part < 4; part++) {
		struct pf_ranges slice = ranges_of("20000-20079");
		assert_int_equal(pf_ranges_thin(&slice, 0), 0);
		assert_int_equal(pf_ranges_slice(&slice, part, 4), 0);
		assert_int_equal(slice.range[0].first, 20000 + 20 * part);
		assert_int_equal(slice.range[0].last, 20019 + 20 * part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_sorted_joined_and_counted),
		cmocka_unit_test(what_is_wrong_is_quoted),
		cmocka_unit_test(two_hundred_ranges_are_too_many),
		cmocka_unit_test(sixty_four_ranges_fit_and_their_text_too),
		cmocka_unit_test(port_and_index_are_inverse),
		cmocka_unit_test(ranges_read_from_memory_are_not_believed),
		cmocka_unit_test(parity_leaves_every_other_port),
		cmocka_unit_test(slices_have_every_port_once),
		cmocka_unit_test(the_odd_port_behind_an_even_one_is_in_its_slice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
