// SPDX-License-Identifier: MIT
// The sysctl texts that decide about the claim: ip_local_port_range and ip_local_reserved_ports.
// What is accepted is what the text says, and what cannot be read counts as reserved.
#include "fuzz.h"

#include <portfence/claim.h>

#include <ctype.h>
#include <errno.h>

static const struct pf_ranges pool = {
	.count = 3, .ports = 1013, .range = {{1000, 1999}, {32768, 32779}, {65535, 65535}}};

// Returns true if `text` is "N", or "N-N", of at most 9 digits each, with the numbers.
static bool is_plain(const char *text, unsigned long *ret_first, unsigned long *ret_last)
{
	char *end;
	if (!isdigit((unsigned char)*text) || strspn(text, "0123456789") > 9)
		return false;
	*ret_first = *ret_last = strtoul(text, &end, 10);
	if (*end == '-') {
		if (!isdigit((unsigned char)end[1]) || strspn(end + 1, "0123456789") > 9)
			return false;
		*ret_last = strtoul(end + 1, &end, 10);
	}
	return *end == 0;
}

// Returns whether the pool has one of the ports, or -1 if the text is not plain.
static int is_reserved(char *text)
{
	int reserved = 0;
	for (char *rest = text, *item; rest && (item = strsep(&rest, ","));) {
		unsigned long first, last;
		if (!is_plain(item, &first, &last))
			return -1;
		for (uint32_t i = 0; i < pool.count; i++)
			reserved |= first <= pool.range[i].last && last >= pool.range[i].first;
	}
	return reserved;
}

static void fuzz_reserved(struct input *input)
{
	char *line = copy_exactly(input->at, input->left, 0);
	bool reserved = pf_claim_reserved(line, input->left, &pool);
	free(line);
	line = copy_exactly(input->at, input->left, 1);
	int plain = input->left && strlen(line) == input->left ? is_reserved(line) : -1;
	require(plain < 0 || plain == reserved);
	require(input->left || !reserved);
	free(line);
}

static void fuzz_range(struct input *input)
{
	struct pf_range range = {0, 0};
	unsigned long first, last;
	char blank[2], *line = copy_exactly(input->at, input->left, 0);
	int result = pf_claim_parse_range(line, input->left, &range);
	free(line);
	line = copy_exactly(input->at, input->left, 1);
	require(result == 0 || result == -EINVAL);
	if (result == 0) {
		require(range.first >= 1 && range.first <= range.last);
		require(sscanf(line, "%lu%1[\t ]%lu", &first, blank, &last) == 3);
		require(first == range.first && last == range.last);
	} else
		require(range.first == 0 && range.last == 0);
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	if (input_byte(&input) == 'R')
		fuzz_reserved(&input);
	else
		fuzz_range(&input);
	return 0;
}
