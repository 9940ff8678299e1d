// SPDX-License-Identifier: MIT
// The reap: ports that no socket uses any more go back to their pools.
//
// Theory of operation. Nothing tells a segment that a process was killed, that the last copy of a
// forked socket was closed, or that a library closed one past the hooks. The kernel knows, so it is
// asked: one dump of the pools' ports gives, for every stripe, the bits that are alive. What was
// used before the dump and is not alive goes back; what is connected, listening, or UDP, and not
// used, is marked: another user's programs, or unwrapped ones, have it.
//
// A port between take and claim is used and has no socket yet; between a bind claim and its connect
// it has a socket that names no destination. Neither may be given back: with the bind claim, the
// next owner would notice only at connect, and a bound socket cannot try again. So a port is given
// back only if two dumps, one after the other, do not show it (the second is made only if the first
// leaves something to give back), and a socket that is bound only keeps its port for every
// destination.
//
// What a dump does not show is dead until somebody gives it back: then it may have a new owner. So
// one reap does that at a time. `reaped_ms` names it; another begins when it has ended or taken too
// long (its process was killed, or does not get the CPU), and who was overtaken gives nothing back.
//
// Who finds a stripe exhausted while somebody else reaps waits for that: some milliseconds, as long
// as the kernel's own search of a full range takes. Nobody waits long for the dead.
//
// TIME_WAIT counts as dead: the kernel may allow reuse of such a port, and since it goes into hold,
// it is tried last. A port of the whole stripe is alive while any TCP socket has its number: what a
// listener accepted outlives it.
#include <portfence/reap.h>

#include <portfence/diag.h>

#include "atomics.h"
#include "util.h"

#include <linux/time_types.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

// Bits of all stripes of all pools, three of each, in one scratch.
struct bits {
	struct pf_segment *segment;
	size_t first[PF_POOLS_MAX]; // of each pool's words
	size_t words;               // in all
	uint64_t *alive;            // some socket keeps it
	uint64_t *found;            // some socket uses it, in this very stripe
	uint64_t *dead;             // used before the dump, and in none so far
};

static size_t word_at(const struct bits *bits, uint32_t pool, uint32_t stripe, uint32_t word)
{
	return bits->first[pool] + (size_t)stripe * bits->segment->pool[pool].words + word;
}

// Marks the stripe as using the port, and the port as kept there.
static void use_mark(const struct bits *bits, uint32_t pool, uint32_t stripe, uint32_t index)
{
	size_t at = word_at(bits, pool, stripe, index / 64);
	bits->found[at] |= 1ull << index % 64;
	bits->alive[at] |= 1ull << index % 64;
}

// Marks the port as kept in the stripes from `stripe` to before `end`.
static void keep_mark(
	const struct bits *bits, uint32_t pool, uint32_t stripe, uint32_t end, uint32_t index)
{
	for (; stripe < end; stripe++)
		bits->alive[word_at(bits, pool, stripe, index / 64)] |= 1ull << index % 64;
}

// Marks the stripes of a pool in which this socket has the pool's port `index`.
static void port_mark(
	const struct bits *bits, uint32_t i, const struct pf_socket *socket, uint32_t index)
{
	const struct pf_pool *pool = &bits->segment->pool[i];
	if (socket->protocol == IPPROTO_UDP) {
		use_mark(bits, i, PF_STRIPE_UDP, index);
		return;
	}
	keep_mark(bits, i, PF_STRIPE_WHOLE, PF_STRIPE_WHOLE + 1, index);
	if (socket->peer.port)
		use_mark(bits, i, pf_pool_stripe(pool, pf_endpoint_hash(&socket->peer)), index);
	else if (socket->state == TCP_LISTEN)
		use_mark(bits, i, PF_STRIPE_WHOLE, index);
	else
		keep_mark(bits, i, PF_STRIPE_TCP, pool->stripes, index);
}

static int socket_mark(const struct pf_socket *socket, void *arg)
{
	const struct bits *bits = arg;
	if (socket->protocol == IPPROTO_TCP && socket->state == TCP_TIME_WAIT)
		return 0;
	for (uint32_t i = 0; i < bits->segment->pools; i++) {
		const struct pf_pool *pool = &bits->segment->pool[i];
		int32_t index = pf_ranges_index(&pool->ranges, socket->local.port);
		if (index >= 0)
			port_mark(bits, i, socket, (uint32_t)index);
	}
	return 0;
}

// Marks everything as kept in the stripes of a protocol that the kernel does not show.
static void protocol_keep(const struct bits *bits, uint8_t protocol)
{
	for (uint32_t i = 0; i < bits->segment->pools; i++)
		for (uint32_t stripe = 0; stripe < bits->segment->pool[i].stripes; stripe++)
			for (uint32_t w = 0; w < bits->segment->pool[i].words; w++)
				if ((stripe == PF_STRIPE_UDP) == (protocol == IPPROTO_UDP))
					bits->alive[word_at(bits, i, stripe, w)] = UINT64_MAX;
}

// Dumps into bits->alive and bits->found. Returns 0; -EXDEV if this thread is in another network
// namespace than the segment; or -errno if neither protocol could be seen.
static int alive_read(const struct bits *bits)
{
	struct pf_range ranges[PF_RANGES_MAX];
	size_t count = pf_segment_ranges(bits->segment, ranges);
	if (bits->segment->netns && pf_diag_netns() != bits->segment->netns)
		return -EXDEV;
	int tcp = pf_diag_each(IPPROTO_TCP, ranges, count, socket_mark, (void *)(uintptr_t)bits);
	int udp = pf_diag_each(IPPROTO_UDP, ranges, count, socket_mark, (void *)(uintptr_t)bits);
	if (tcp)
		protocol_keep(bits, IPPROTO_TCP);
	if (udp)
		protocol_keep(bits, IPPROTO_UDP);
	return tcp && udp ? tcp : 0;
}

// Calls `visit` for every word of every stripe.
static void words_each(const struct bits *bits,
	void (*visit)(const struct bits *, struct pf_layout_word *, size_t at))
{
	for (uint32_t i = 0; i < bits->segment->pools; i++) {
		const struct pf_pool *pool = &bits->segment->pool[i];
		for (uint32_t stripe = 0; stripe < pool->stripes; stripe++)
			for (uint32_t w = 0; w < pool->words; w++)
				visit(bits, pf_pool_word(pool, stripe, w),
					word_at(bits, i, stripe, w));
	}
}

static void found_use(const struct bits *bits, struct pf_layout_word *word, size_t at)
{
	if (bits->found[at] & ~pf_word_get(&word->used))
		pf_word_set(&word->used, bits->found[at]);
}

static void used_copy(const struct bits *bits, struct pf_layout_word *word, size_t at)
{
	bits->dead[at] = pf_word_get(&word->used);
}

static void used_narrow(const struct bits *bits, struct pf_layout_word *word, size_t at)
{
	bits->dead[at] &= pf_word_get(&word->used);
}

// Gets scratch for the bits. Returns 0 or -ENOMEM.
static int bits_make(struct pf_segment *segment, struct bits *bits)
{
	memset(bits, 0, sizeof *bits);
	bits->segment = segment;
	for (uint32_t i = 0; i < segment->pools; i++) {
		bits->first[i] = bits->words;
		bits->words += (size_t)segment->pool[i].stripes * segment->pool[i].words;
	}
	bits->alive = pf_segment_scratch(3 * bits->words * sizeof *bits->alive);
	if (!bits->alive)
		return -ENOMEM;
	bits->found = bits->alive + bits->words;
	bits->dead = bits->found + bits->words;
	return 0;
}

static void bits_free(struct bits *bits)
{
	pf_segment_scratch_free(bits->alive, 3 * bits->words * sizeof *bits->alive);
}

// Takes what is alive out of what is dead. Returns true if something is left.
static bool dead_narrow(struct bits *bits)
{
	uint64_t left = 0;
	for (size_t at = 0; at < bits->words; at++) {
		bits->dead[at] &= ~bits->alive[at];
		left |= bits->dead[at];
	}
	return left;
}

// Gives back the dead of one pool, while nobody overtakes the reap that began at `began`. Returns
// how many there were.
static uint32_t dead_give(const struct bits *bits, uint32_t i, uint64_t began)
{
	const _Atomic(uint64_t) *last = &bits->segment->shared->reaped_ms;
	struct pf_pool *pool = &bits->segment->pool[i];
	uint32_t given = 0;
	for (uint32_t stripe = 0; stripe < pool->stripes; stripe++)
		for (uint32_t w = 0; w < pool->words; w++) {
			uint64_t dead = bits->dead[word_at(bits, i, stripe, w)];
			dead &= pf_pool_mask(pool, w);
			for (; dead && pf_word_get(last) == began; dead &= dead - 1, given++)
				pf_pool_give(pool, stripe,
					pf_ranges_port(&pool->ranges,
						w * 64 + (uint32_t)__builtin_ctzll(dead)));
		}
	pf_pool_count(pool, PF_COUNT_REAPED, given);
	return given;
}

// The reap that `reaped_ms` names now. Returns as pf_reap does.
static int reap(struct pf_segment *segment, uint64_t began, uint32_t *ret_reaped)
{
	struct bits bits;
	uint32_t reaped = 0;
	int result = bits_make(segment, &bits);
	if (result < 0)
		return result;

	words_each(&bits, used_copy);
	for (int dump = 0; dump < 2; dump++) {
		result = alive_read(&bits);
		if (result < 0)
			goto out;
		words_each(&bits, found_use);
		words_each(&bits, used_narrow);
		if (!dead_narrow(&bits))
			goto out;
	}
	for (uint32_t i = 0; i < segment->pools; i++)
		reaped += dead_give(&bits, i, began);
out:
	bits_free(&bits);
	if (result == 0)
		*ret_reaped = reaped;
	return result;
}

// The same, and says so when it has ended.
static int reap_to_end(struct pf_segment *segment, uint64_t began, uint32_t *ret_reaped)
{
	int result = reap(segment, began, ret_reaped);
	pf_word_put(&segment->shared->reap_took, pf_elapsed_ms(began, pf_now_ms()));
	pf_word_put(&segment->shared->reap_done, began);
	return result;
}

int pf_reap(struct pf_segment *segment, uint32_t *ret_reaped)
{
	pf_word *reaped = &segment->shared->reaped_ms;
	for (;;) {
		// Its number, too: one that began in the same tick is overtaken by this.
		uint64_t last = pf_word_get(reaped), began = pf_now_ms();
		if (pf_elapsed_ms(last, began) == 0)
			began = last + 1;
		if (pf_word_replace(reaped, last, began))
			return reap_to_end(segment, began, ret_reaped);
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

// Returns how long after the beginning of the last reap the next may begin.
static uint64_t interval_of(const struct pf_segment *segment, bool ended)
{
	uint64_t took = least(pf_word_get(&segment->shared->reap_took), PF_REAP_REST_MS);
	if (!ended)
		return most(2 * took, PF_REAP_OVERDUE_MS);
	return most(took + least(PF_REAP_REST * took, PF_REAP_REST_MS), PF_REAP_INTERVAL_MS);
}

// Waits for the reap that began at `began`, in another thread or process. Returns when it has
// ended, or after a while: whoever did it was killed, or is what a signal handler of this thread
// interrupted.
static void reap_await(const struct pf_segment *segment, uint64_t began)
{
	const struct __kernel_old_timespec turn = {0, 200000};
	uint64_t now = pf_now_ms();
	while (pf_word_get(&segment->shared->reap_done) != began &&
		pf_now_ms() - now < PF_REAP_PATIENCE_MS)
		pf_sys(SYS_nanosleep, &turn, NULL);
}

int pf_reap_sometimes(struct pf_segment *segment, uint64_t now)
{
	uint32_t reaped;
	uint64_t last = pf_word_get(&segment->shared->reaped_ms);
	bool ended = pf_word_get(&segment->shared->reap_done) == last;
	if (pf_elapsed_ms(last, now) >= interval_of(segment, ended) &&
		pf_word_replace(&segment->shared->reaped_ms, last, now))
		return reap_to_end(segment, now, &reaped);
	last = pf_word_get(&segment->shared->reaped_ms);
	if (pf_word_get(&segment->shared->reap_done) == last)
		return -EAGAIN;
	reap_await(segment, last);
	return 0;
}

int pf_reap_learn(struct pf_segment *segment)
{
	struct bits bits;
	int result = bits_make(segment, &bits);
	if (result < 0)
		return result;
	result = alive_read(&bits);
	if (result == 0)
		words_each(&bits, found_use);
	bits_free(&bits);
	return result;
}
