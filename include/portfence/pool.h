// SPDX-License-Identifier: MIT
// A pool: which of its ports are in use, per stripe, and which to try next.
//
// Nothing here decides that a port is free: the kernel does, at the claim. Every function works on
// any bit pattern, takes no lock and makes no system call.
#ifndef PORTFENCE_POOL_H
#define PORTFENCE_POOL_H

#include <portfence/layout.h>
#include <portfence/range.h>

#include <stdbool.h>

// A pool as one process sees it: private copies of all that is not a bitmap.
struct pf_pool {
	unsigned char *stripe; // stripe 0, in the segment or in private memory
	size_t stripe_size;
	struct pf_layout_pool *shared; // its claim and counters only
	uint32_t words;                // per stripe
	uint32_t stripes;              // in all
	uint32_t hold_ms;
	uint32_t flags;     // enum pf_policy_flags
	uint32_t quota;     // as in struct pf_policy_pool, as are the next two
	uint32_t exhausted; // enum pf_exhausted
	uint32_t wait_ms;
	uint32_t place; // in its segment
	struct pf_ranges ranges;
	char name[PF_POOL_NAME];
};

// Returns the stripe of the TCP destination with this hash; in an exclusive pool PF_STRIPE_WHOLE.
static inline uint32_t pf_pool_stripe(const struct pf_pool *pool, uint64_t destination)
{
	if (pool->flags & PF_POLICY_EXCLUSIVE)
		return PF_STRIPE_WHOLE;
	// The upper half times the count, over 2^32: a division takes longer than all the rest.
	return PF_STRIPE_TCP +
		(uint32_t)((destination >> 32) * (pool->stripes - PF_STRIPE_TCP) >> 32);
}

// Takes a port in `stripe`: the first at or after index `*start` (circular) that is free, else one
// that holds, the longest released first. A PF_STRIPE_WHOLE port is free in every TCP stripe. The
// port `avoid` is never taken (0: none). `now` is pf_now_ms(). Returns 0 with the port in ret_port
// and the index after it in *start, or -EAGAIN when the stripe has none.
int pf_pool_take(struct pf_pool *pool, uint32_t stripe, uint16_t avoid, uint64_t now,
	uint32_t *start, uint16_t *ret_port);

// Takes a port of the best rank that is left, at index `start` < pool->ranges.ports or near it, if
// one is to be seen at once, as it is while a stripe has room. Returns how many ports it passed
// over, with the port in ret_port, or -EAGAIN: nothing is said by that.
int pf_pool_take_at_once(struct pf_pool *pool, uint32_t stripe, uint16_t avoid, uint64_t now,
	uint32_t start, uint16_t *ret_port);

// Marks `port` as used in `stripe`. Returns true if it was not, false if it was or is not ours.
bool pf_pool_mark(struct pf_pool *pool, uint32_t stripe, uint16_t port);

// Gives `port` back: it holds, then it is free. A port that is not the pool's is ignored.
void pf_pool_give(struct pf_pool *pool, uint32_t stripe, uint16_t port);

// Gives back a port whose claim the kernel refused, and counts that.
void pf_pool_refuse(struct pf_pool *pool, uint32_t stripe, uint16_t port);

// Remembers that `stripe` has no port, for PF_EXHAUSTED_MS or until one is given back. Look once
// more after it: a port that was given back just before is free, and nobody would know.
void pf_pool_exhaust(struct pf_pool *pool, uint32_t stripe, uint64_t now);

// Returns true while the stripe is remembered as exhausted.
bool pf_pool_exhausted(struct pf_pool *pool, uint32_t stripe, uint64_t now);

#define PF_EXHAUSTED_MS 10

// Returns the claim that the pool uses now.
static inline enum pf_claim pf_pool_claim(const struct pf_pool *pool)
{
	uint64_t claim = atomic_load_explicit(&pool->shared->claim, memory_order_relaxed);
	return claim == PF_CLAIM_LATE ? PF_CLAIM_LATE : PF_CLAIM_BIND;
}

// Turns a late pool into a bind pool, for every process: the late claim proved not to hold.
void pf_pool_distrust(struct pf_pool *pool);

void pf_pool_count(struct pf_pool *pool, enum pf_counter counter, uint64_t more);
uint64_t pf_pool_counted(const struct pf_pool *pool, enum pf_counter counter);

// Returns true if `port` is the pool's and used in `stripe`.
bool pf_pool_is_used(const struct pf_pool *pool, uint32_t stripe, uint16_t port);

// What a stripe holds, for those who show it.
struct pf_pool_usage {
	uint32_t used;    // ports taken, summed over the stripes
	uint32_t holding; // ports that hold in some stripe and are used in none
	uint32_t free;    // ports that are neither
};

// Returns the usage of the whole pool at this moment.
struct pf_pool_usage pf_pool_usage(const struct pf_pool *pool);

// What all stripes together hold of the 64 ports of a word.
struct pf_pool_ports {
	uint16_t used[64]; // stripes that use the port
	uint64_t holding;  // ports that hold in some stripe and are used in none
};

// Returns the ports of word `word` < pool->words at this moment; those beyond its mask are 0.
struct pf_pool_ports pf_pool_ports(const struct pf_pool *pool, uint32_t word);

// Returns one word of one stripe; `word` < pool->words, `stripe` < pool->stripes.
struct pf_layout_word *pf_pool_word(const struct pf_pool *pool, uint32_t stripe, uint32_t word);

// Returns the bits of `word` that are ports: all 64, fewer in the last one.
uint64_t pf_pool_mask(const struct pf_pool *pool, uint32_t word);

#endif
