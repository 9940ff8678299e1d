// SPDX-License-Identifier: MIT
// Port ranges: their text ("20000-20999,22000"), their order, and port <-> index.
//
// A port list is kept sorted, without overlap, with neighbours joined, so that equal sets of ports
// have equal bytes. The index of a port is its place in that order, from 0.
#ifndef PORTFENCE_RANGE_H
#define PORTFENCE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PF_RANGES_MAX 64
// Bytes that hold the text of any PF_RANGES_MAX ranges, and any error message.
#define PF_RANGES_TEXT 768
#define PF_ERROR_TEXT 160

struct pf_range {
	uint16_t first; // 1..65535
	uint16_t last;  // first..65535
};

struct pf_ranges {
	uint32_t count; // of ranges: 1..PF_RANGES_MAX
	uint32_t ports; // in all of them: 1..65535
	uint32_t step;  // 1; 2: only every other port of a range, from its first on
	struct pf_range range[PF_RANGES_MAX];
};

// Reads "PORT" and "FIRST-LAST" separated by commas; blanks may stand around the commas.
// Returns 0, or -EINVAL with one line in error[PF_ERROR_TEXT] that quotes what is wrong; ret_ranges
// is then untouched.
int pf_ranges_parse(const char *text, struct pf_ranges *ret_ranges, char *error);

// Sorts, joins and counts `ranges` (count, range[] and step are given; step 0 is 1). Returns 0, or
// -EINVAL if it has none or too many, holds port 0, is reversed, or overlaps; ret_at (may be NULL)
// is then the place of the offender in the order it was given in, or count where no single range is
// to blame.
int pf_ranges_normalise(struct pf_ranges *ranges, uint32_t *ret_at);

// Writes the text of the ranges into text[PF_RANGES_TEXT].
void pf_ranges_format(const struct pf_ranges *ranges, char *text);

// These two do the same as the next two, for any ranges.
int32_t pf_ranges_find_index(const struct pf_ranges *ranges, uint16_t port);
uint16_t pf_ranges_find_port(const struct pf_ranges *ranges, uint32_t index);

// Returns the index of `port` (host byte order), or -1 if it is in none of the ranges.
static inline int32_t pf_ranges_index(const struct pf_ranges *ranges, uint16_t port)
{
	const struct pf_range *first = ranges->range;
	return ranges->step == 1 && port >= first->first && port <= first->last
		? port - first->first
		: pf_ranges_find_index(ranges, port);
}

// Returns the port (host byte order) with this index, which must be less than ranges->ports.
static inline uint16_t pf_ranges_port(const struct pf_ranges *ranges, uint32_t index)
{
	const struct pf_range *first = ranges->range;
	return ranges->step == 1 && index <= (uint32_t)(first->last - first->first)
		? (uint16_t)(first->first + index)
		: pf_ranges_find_port(ranges, index);
}

// Leaves only the even ports (parity 0), or the odd ones (1). Returns 0, or -EINVAL if there is
// none.
int pf_ranges_thin(struct pf_ranges *ranges, unsigned parity);

// Leaves only part `index` (from 0) of `parts` equal parts, each of ports that follow each other.
// Returns 0, or -EINVAL if there is no such part or `parts` does not divide the ports.
int pf_ranges_slice(struct pf_ranges *ranges, uint32_t index, uint32_t parts);

// Returns the range between whose ends `port` lies, whatever the step, or NULL.
const struct pf_range *pf_ranges_span(const struct pf_ranges *ranges, uint16_t port);

// Returns true if every port of `inner` is in `outer`.
bool pf_ranges_within(const struct pf_ranges *inner, const struct pf_range *outer);

#endif
