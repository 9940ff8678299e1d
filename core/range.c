// SPDX-License-Identifier: MIT
// Port ranges: their text, their order, and port <-> index.
#include <portfence/range.h>

#include "util.h"

#include <string.h>

// One element of the text, blanks around it removed.
struct element {
	const char *start;
	size_t length;
};

// Returns -EINVAL, with "element: why" in error.
static int refuse(struct element element, const char *why, char *error)
{
	struct pf_text text = pf_text_in(error, PF_ERROR_TEXT);
	pf_text_add_quoted(&text, element.start, element.length);
	pf_text_add(&text, ": ");
	pf_text_add(&text, why);
	return -EINVAL;
}

// Returns the element at the beginning of `text`, which ends at a comma or at the end.
static struct element element_at(const char *text)
{
	size_t end = strcspn(text, ",");
	size_t blank = strspn(text, " \t");
	if (blank > end)
		blank = end;
	while (end > blank && (text[end - 1] == ' ' || text[end - 1] == '\t'))
		end--;
	return (struct element){text + blank, end - blank};
}

// Reads one element, "PORT" or "FIRST-LAST". Returns 0, or -EINVAL with a line in error.
static int parse_element(struct element element, struct pf_range *ret_range, char *error)
{
	if (element.length == 0)
		return refuse(element, "empty, expected PORT or FIRST-LAST", error);

	size_t digits;
	uint64_t first = pf_number(element.start, element.length, 10, &digits);
	uint64_t last = first;
	size_t read = digits;
	if (digits && read < element.length && element.start[read] == '-') {
		read++;
		last = pf_number(element.start + read, element.length - read, 10, &digits);
		read += digits;
	}
	if (!digits || read != element.length)
		return refuse(element, "expected PORT or FIRST-LAST", error);
	if (first == 0)
		return refuse(element, "port 0 is not a port, expected 1 to 65535", error);
	if (first > 65535 || last > 65535)
		return refuse(element, "no such port, expected 1 to 65535", error);
	if (first > last)
		return refuse(element, "reversed, expected the lower port first", error);

	*ret_range = (struct pf_range){(uint16_t)first, (uint16_t)last};
	return 0;
}

int pf_ranges_parse(const char *text, struct pf_ranges *ret_ranges, char *error)
{
	struct element whole = {text, strlen(text)};
	struct element given[PF_RANGES_MAX];
	struct pf_ranges ranges = {.count = 0};

	if (text[strspn(text, " \t")] == 0)
		return refuse(whole, "no ports, expected PORT or FIRST-LAST", error);
	for (const char *at = text;; at++) {
		if (ranges.count == PF_RANGES_MAX)
			return refuse(whole, "more than 64 ranges", error);
		struct element element = element_at(at);
		int result = parse_element(element, &ranges.range[ranges.count], error);
		if (result < 0)
			return result;
		given[ranges.count++] = element;
		at += strcspn(at, ",");
		if (!*at)
			break;
	}

	uint32_t at;
	if (pf_ranges_normalise(&ranges, &at) < 0)
		return refuse(given[at], "overlaps another range", error);
	*ret_ranges = ranges;
	return 0;
}

// Returns how many ports are in a range.
static uint32_t ports_of(struct pf_range range, uint32_t step)
{
	return (uint32_t)(range.last - range.first) / step + 1;
}

static void ports_count(struct pf_ranges *ranges)
{
	ranges->step = ranges->step == 2 ? 2 : 1;
	ranges->ports = 0;
	for (uint32_t i = 0; i < ranges->count; i++)
		ranges->ports += ports_of(ranges->range[i], ranges->step);
}

int pf_ranges_normalise(struct pf_ranges *ranges, uint32_t *ret_at)
{
	uint32_t at = ranges->count;
	if (ranges->count == 0 || ranges->count > PF_RANGES_MAX)
		goto refused;

	for (at = 0; at < ranges->count; at++) {
		struct pf_range range = ranges->range[at];
		if (range.first == 0 || range.first > range.last)
			goto refused;
		uint32_t place = at;
		while (place > 0 && ranges->range[place - 1].first > range.first)
			place--;
		if (place > 0 && ranges->range[place - 1].last >= range.first)
			goto refused;
		if (place < at && ranges->range[place].first <= range.last)
			goto refused;
		memmove(&ranges->range[place + 1], &ranges->range[place],
			(at - place) * sizeof range);
		ranges->range[place] = range;
	}

	uint32_t joined = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		if (joined && ranges->range[joined - 1].last + 1 == range.first)
			ranges->range[joined - 1].last = range.last;
		else
			ranges->range[joined++] = range;
	}
	memset(&ranges->range[joined], 0, (PF_RANGES_MAX - joined) * sizeof ranges->range[0]);
	ranges->count = joined;
	ports_count(ranges);
	return 0;

refused:
	if (ret_at)
		*ret_at = at;
	return -EINVAL;
}

void pf_ranges_format(const struct pf_ranges *ranges, char *text)
{
	struct pf_text written = pf_text_in(text, PF_RANGES_TEXT);
	for (uint32_t i = 0; i < ranges->count; i++) {
		if (i)
			pf_text_add(&written, ",");
		pf_text_add_number(&written, ranges->range[i].first);
		if (ranges->range[i].first == ranges->range[i].last)
			continue;
		pf_text_add(&written, "-");
		pf_text_add_number(&written, ranges->range[i].last);
	}
}

int32_t pf_ranges_find_index(const struct pf_ranges *ranges, uint16_t port)
{
	int32_t before = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		int32_t offset = port - range.first;
		if (offset >= 0 && port <= range.last && offset % (int32_t)ranges->step == 0)
			return before + offset / (int32_t)ranges->step;
		before += (int32_t)ports_of(range, ranges->step);
	}
	return -1;
}

uint16_t pf_ranges_find_port(const struct pf_ranges *ranges, uint32_t index)
{
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		uint32_t ports = ports_of(range, ranges->step);
		if (index < ports)
			return (uint16_t)(range.first + index * ranges->step);
		index -= ports;
	}
	return 0;
}

int pf_ranges_thin(struct pf_ranges *ranges, unsigned parity)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		uint32_t first = (uint32_t)range.first + (range.first % 2u != parity);
		if (first <= range.last)
			ranges->range[kept++] = (struct pf_range){(uint16_t)first, range.last};
	}
	if (!kept)
		return -EINVAL;
	memset(&ranges->range[kept], 0, (PF_RANGES_MAX - kept) * sizeof ranges->range[0]);
	ranges->count = kept;
	ranges->step = 2;
	ports_count(ranges);
	return 0;
}

int pf_ranges_slice(struct pf_ranges *ranges, uint32_t index, uint32_t parts)
{
	uint32_t kept = 0, step = ranges->step;
	if (index >= parts || ranges->ports % parts != 0)
		return -EINVAL;
	uint32_t skip = ranges->ports / parts * index, left = ranges->ports / parts;
	for (uint32_t i = 0; i < ranges->count && left; i++) {
		struct pf_range range = ranges->range[i];
		uint32_t ports = ports_of(range, step);
		if (skip >= ports) {
			skip -= ports;
			continue;
		}
		uint32_t taken = ports - skip < left ? ports - skip : left;
		// Up to the next part, also where every other port is left out.
		uint32_t first = range.first + skip * step, last = first + taken * step - 1;
		ranges->range[kept++] = (struct pf_range){
			(uint16_t)first, last < range.last ? (uint16_t)last : range.last};
		left -= taken;
		skip = 0;
	}
	memset(&ranges->range[kept], 0, (PF_RANGES_MAX - kept) * sizeof ranges->range[0]);
	ranges->count = kept;
	ports_count(ranges);
	return 0;
}

const struct pf_range *pf_ranges_span(const struct pf_ranges *ranges, uint16_t port)
{
	for (uint32_t i = 0; i < ranges->count; i++)
		if (port >= ranges->range[i].first && port <= ranges->range[i].last)
			return &ranges->range[i];
	return NULL;
}

bool pf_ranges_within(const struct pf_ranges *inner, const struct pf_range *outer)
{
	return inner->range[0].first >= outer->first &&
		inner->range[inner->count - 1].last <= outer->last;
}
