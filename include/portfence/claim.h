// SPDX-License-Identifier: MIT
// Which claim a pool can use here.
#ifndef PORTFENCE_CLAIM_H
#define PORTFENCE_CLAIM_H

#include <portfence/layout.h>
#include <portfence/range.h>
#include <portfence/segment.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 // ip(7), Linux 6.3
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 // ip(7), Linux 4.2
#endif

// Returns a range as IP_LOCAL_PORT_RANGE takes it (ip(7)).
static inline uint32_t pf_claim_option(struct pf_range range)
{
	return (uint32_t)range.last << 16 | range.first;
}

// Returns PF_CLAIM_LATE if the kernel honours IP_LOCAL_PORT_RANGE for every one of these ports: it
// knows the option (tried on socket `fd`), and all lie inside net.ipv4.ip_local_port_range and none
// in net.ipv4.ip_local_reserved_ports. Else PF_CLAIM_BIND; -errno if this process cannot tell (no
// option, no /proc, no fd left), which is nothing to decide for others.
int pf_claim_choose(const struct pf_ranges *ranges, int fd);

// Chooses the claims of a new segment's pools, and learns what is in use: see pf_segment_attach.
// `fd` points to a socket's.
void pf_claim_prepare(struct pf_segment *fresh, void *fd);

// Reads a line of ip_local_port_range ("32768\t60999"). Returns 0 or -EINVAL.
int pf_claim_parse_range(const char *line, size_t length, struct pf_range *ret_range);

// Returns true if a line of ip_local_reserved_ports ("80,8000-8080") has a port in common with
// `ranges`, or cannot be read.
bool pf_claim_reserved(const char *line, size_t length, const struct pf_ranges *ranges);

#endif
