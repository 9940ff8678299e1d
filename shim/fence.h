// SPDX-License-Identifier: MIT
// The fence of this process: its policy from the environment, its segment when it is first needed.
#ifndef PF_FENCE_H
#define PF_FENCE_H

#include "fdmap.h"

#include <portfence/endpoint.h>
#include <portfence/segment.h>

enum pf_fence {
	PF_FENCE_UNREAD, // never returned
	PF_FENCE_OFF,    // no policy, or PORTFENCE_DISABLE: every call is the kernel's own
	PF_FENCE_ON,     //
	PF_FENCE_CLOSED, // there is a policy, and it cannot be read: calls that need a port fail
};

// Returns which it is. The environment is read once, at the first call.
enum pf_fence pf_fence(void);

// Says, once, why the fence is closed. Returns -EACCES, which is what such a call fails with:
// connect(2) has it for a local firewall rule.
int pf_fence_refuse(void);

// Returns the segment of the network namespace that socket `fd` is in; the first call attaches.
struct pf_segment *pf_fence_segment(int fd);

// Returns the pool in the segment from which a socket of this kind takes its port to this
// destination (NULL: none, for bind and listen), or NULL if the policy leaves that to the kernel.
struct pf_pool *pf_fence_pool(
	struct pf_segment *segment, enum pf_fd_kind kind, const struct pf_endpoint *destination);

// Attaches now, if that was not done yet: the process is about to lose sight of files, or the right
// to some system calls.
void pf_fence_prepare(void);

// Returns the segment that pf_fence_segment attached last, or NULL.
struct pf_segment *pf_fence_attached(void);

// To be called when this process has moved to another network namespace: the next socket attaches
// to that one's segment, and leases of the old one are left to its reap.
void pf_fence_move(void);

// Writes "portfence: " and the line to stderr, unless PORTFENCE_LOG=none.
void pf_fence_say(const char *line);

#endif
