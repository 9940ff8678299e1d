// SPDX-License-Identifier: MIT
// Which claim a pool can use here.
//
// IP_LOCAL_PORT_RANGE outside ip_local_port_range is ignored without a word, and reserved ports are
// skipped (kernel: inet_sk_get_local_port_range, inet_is_local_reserved_port), so both are read
// first. They may change later; the shim looks at the ports that late claims end on.
#include <portfence/claim.h>

#include <portfence/reap.h>

#include "atomics.h"
#include "util.h"

#include <netinet/in.h>

#define SYSCTL_RANGE "/proc/sys/net/ipv4/ip_local_port_range"
#define SYSCTL_RESERVED "/proc/sys/net/ipv4/ip_local_reserved_ports"

int pf_claim_parse_range(const char *line, size_t length, struct pf_range *ret_range)
{
	size_t digits, at = 0;
	uint64_t first = pf_number(line, length, 10, &digits);
	if (!digits)
		return -EINVAL;
	for (at = digits; at < length && (line[at] == '\t' || line[at] == ' '); at++)
		;
	uint64_t last = pf_number(line + at, length - at, 10, &digits);
	if (!digits || first == 0 || first > last || last > 65535)
		return -EINVAL;
	*ret_range = (struct pf_range){(uint16_t)first, (uint16_t)last};
	return 0;
}

bool pf_claim_reserved(const char *line, size_t length, const struct pf_ranges *ranges)
{
	for (size_t at = 0; at < length; at++) {
		size_t digits;
		uint64_t first = pf_number(line + at, length - at, 10, &digits);
		uint64_t last = first;
		if (!digits)
			return true;
		at += digits;
		if (at < length && line[at] == '-') {
			at++;
			last = pf_number(line + at, length - at, 10, &digits);
			if (!digits)
				return true;
			at += digits;
		}
		for (uint32_t i = 0; i < ranges->count; i++)
			if (first <= ranges->range[i].last && last >= ranges->range[i].first)
				return true;
	}
	return false;
}

struct question {
	const struct pf_ranges *ranges;
	bool late;
};

static int range_line(char *line, size_t length, void *arg)
{
	struct question *question = arg;
	struct pf_range range;
	question->late = !pf_claim_parse_range(line, length, &range) &&
		pf_ranges_within(question->ranges, &range);
	return 0;
}

static int reserved_line(char *line, size_t length, void *arg)
{
	struct question *question = arg;
	question->late = !pf_claim_reserved(line, length, question->ranges);
	return 0;
}

int pf_claim_choose(const struct pf_ranges *ranges, int fd)
{
	struct question question = {ranges, false};
	uint32_t range;
	socklen_t size = sizeof range;
	int result = (int)pf_sys(SYS_getsockopt, fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, &size);
	if (result == 0)
		result = pf_segment_each_line(SYSCTL_RANGE, '\n', range_line, &question);
	if (result == 0 && question.late)
		result = pf_segment_each_line(SYSCTL_RESERVED, '\n', reserved_line, &question);
	if (result < 0)
		return result;
	return question.late ? PF_CLAIM_LATE : PF_CLAIM_BIND;
}

// Returns true if the kernel's own choice, of every port and for one destination, may serve a pool.
static bool is_late(const struct pf_pool *pool)
{
	return !(pool->flags & PF_POLICY_EXCLUSIVE) && pool->ranges.step == 1;
}

void pf_claim_prepare(struct pf_segment *fresh, void *fd)
{
	const int *known = fd;
	for (uint32_t i = 0; i < fresh->pools; i++)
		if (is_late(&fresh->pool[i]) &&
			pf_claim_choose(&fresh->pool[i].ranges, *known) == PF_CLAIM_LATE)
			pf_word_put(&fresh->pool[i].shared->claim, PF_CLAIM_LATE);
	pf_reap_learn(fresh);
}
