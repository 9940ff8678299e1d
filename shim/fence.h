// SPDX-License-Identifier: MIT
// The fence of this process: its policy from the environment, its segment when it is first needed.
#ifndef PF_FENCE_H
#define PF_FENCE_H

#include "fdmap.h"
#include "util.h"

#include <portfence/endpoint.h>
#include <portfence/segment.h>

enum pf_fence {
	PF_FENCE_UNREAD, // never returned
	PF_FENCE_OFF,    // no policy, or PORTFENCE_DISABLE: every call is the kernel's own
	PF_FENCE_ON,     //
	PF_FENCE_CLOSED, // there is a policy, and it cannot be read: calls that need a port fail
};

// What every call asks of it. The rest is in fence.c.
struct pf_fence_self {
	_Atomic(enum pf_fence) fence; // PF_FENCE_UNREAD until the environment was read
	uint32_t pool;                // of every call, if there are no rules
	const struct pf_rules *rules;
	_Atomic(void *) segment;
};
extern struct pf_fence_self pf_fence_self;

// Reads the environment, unless another thread does. Returns as pf_fence does.
enum pf_fence pf_fence_read(void);

// Returns which it is. The environment is read once, at the first call.
static inline enum pf_fence pf_fence(void)
{
	enum pf_fence known = atomic_load_explicit(&pf_fence_self.fence, memory_order_acquire);
	return pf_rarely(known == PF_FENCE_UNREAD) ? pf_fence_read() : known;
}

// Says, once, why the fence is closed. Returns -EACCES, which is what such a call fails with:
// connect(2) has it for a local firewall rule.
int pf_fence_refuse(void);

// The same, for the first.
struct pf_segment *pf_fence_attach(int fd);

// Returns the segment of the network namespace that socket `fd` is in; the first call attaches.
static inline struct pf_segment *pf_fence_segment(int fd)
{
	struct pf_segment *attached = pf_subscribe(&pf_fence_self.segment);
	return pf_rarely(!attached) ? pf_fence_attach(fd) : attached;
}

// Returns the place of the pool that the rules choose for a call, or PF_RULE_UNFENCED.
uint32_t pf_fence_pool_by_rules(uint32_t protocol, const struct pf_endpoint *destination);

// Returns the pool in the segment from which a socket of this kind takes its port to this
// destination (NULL: none, for bind and listen), or NULL if the policy leaves that to the kernel.
static inline struct pf_pool *pf_fence_pool(
	struct pf_segment *segment, enum pf_fd_kind kind, const struct pf_endpoint *destination)
{
	uint32_t protocol = kind == PF_FD_UDP ? PF_POLICY_UDP : PF_POLICY_TCP;
	uint32_t pool = pf_fence_self.pool;
	if (pf_rarely(pf_fence_self.rules))
		pool = pf_fence_pool_by_rules(protocol, destination);
	if (pf_rarely(pool >= segment->pools || !(segment->pool[pool].flags & protocol)))
		return NULL;
	return &segment->pool[pool];
}

// Attaches now, if that was not done yet: the process is about to lose sight of files, or the right
// to some system calls.
void pf_fence_prepare(void);

// Returns the segment that pf_fence_segment attached last, or NULL.
static inline struct pf_segment *pf_fence_attached(void)
{
	return pf_subscribe(&pf_fence_self.segment);
}

// To be called when this process has moved to another network namespace: the next socket attaches
// to that one's segment, and leases of the old one are left to its reap.
void pf_fence_move(void);

// Writes "portfence: " and the line to stderr, unless PORTFENCE_LOG=none.
void pf_fence_say(const char *line);

#endif
