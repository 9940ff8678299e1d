// SPDX-License-Identifier: MIT
// A pool: which of its ports are in use, per stripe, and which to try next.
//
// Theory of operation. A port of a stripe is in one of four states, told by the first of three bits
// that is set:
//
//	used                 somebody claimed it, or is about to
//	current              released since the bitmaps last turned over: it holds
//	previous             released before that: it still holds
//	none of them         free
//
// take sets `used` by one fetch-or; whoever sees the bit clear in the answer owns the port. give
// sets `current`, then clears `used`, so that nobody sees the port free in between. Every hold/2
// `previous` is replaced by `current` and `current` by nothing, word by word, by whoever notices
// first: a port rests for at least hold/2 and at most hold, with no timestamp of its own.
//
// Holding ports are taken last, `previous` before `current`: hold delays reuse and costs no
// capacity. A stripe that is churned through soon has nothing but `current`; the bitmaps are then
// turned over early, so that a port is not met again before the others of its generation were: its
// last connection may have ended milliseconds ago, and the peer not have heard of it. Since looking
// for what is free would mean reading all of such a stripe each time, the rank of the last port
// taken is remembered: only a turn makes better ones. It is a hint; a search that finds nothing
// begins again without it.
//
// A port of the whole stripe must be free in every destination's. To read 256 stripes for one
// bind(0) would be slow, so the whole stripe keeps a summary: `busy` has a bit for every port that
// some destination took since the bits were last counted together. When it leaves nothing, it is
// counted anew: first with the holding ports, then without them.
//
// A process that dies between any two of these steps leaves a bit set that should be clear (the
// reap finds it) or a port free early (the kernel refuses it if need be). Nothing else can go
// wrong: all 2^3 states are legal, and all indexes come from private memory.
#include <portfence/pool.h>

#include "atomics.h"
#include "util.h"

#include <errno.h>

struct pf_layout_word *pf_pool_word(const struct pf_pool *pool, uint32_t stripe, uint32_t word)
{
	unsigned char *at = pool->stripe + stripe * pool->stripe_size;
	return (struct pf_layout_word *)(void *)(at + sizeof(struct pf_layout_stripe)) + word;
}

static struct pf_layout_stripe *stripe_header(const struct pf_pool *pool, uint32_t stripe)
{
	return (struct pf_layout_stripe *)(void *)(pool->stripe + stripe * pool->stripe_size);
}

uint64_t pf_pool_mask(const struct pf_pool *pool, uint32_t word)
{
	uint32_t rest = pool->ranges.ports - word * 64;
	return rest >= 64 ? UINT64_MAX : (1ull << rest) - 1;
}

// The three bits of 64 ports, as one reader saw them.
struct view {
	uint64_t used, current, previous;
};

static void view_add(struct view *view, const struct pf_layout_word *word)
{
	view->used |= pf_word_get(&word->used);
	view->current |= pf_word_get(&word->current);
	view->previous |= pf_word_get(&word->previous);
}

// The order in which ports are taken.
enum rank { RANK_FREE, RANK_PREVIOUS, RANK_UNUSED };

// A search in one stripe.
struct search {
	struct pf_pool *pool;
	uint32_t stripe;
	uint32_t first;               // index to look from
	int32_t avoided;              // index never to take, or -1
	struct pf_layout_word *words; // of the stripe,
	struct pf_layout_word *whole; // and of the whole stripe
};

// Returns the ports of this rank in a word, for a newcomer in `stripe`: TCP to a destination minds
// whole ports too, a whole port minds every destination. Inline: it is all that a search does.
static inline uint64_t candidates(uint32_t stripe, const struct pf_layout_word *word,
	const struct pf_layout_word *whole, uint64_t rank)
{
	uint64_t used = pf_word_get(&word->used);
	if (stripe >= PF_STRIPE_TCP)
		used |= pf_word_get(&whole->used);
	else if (stripe == PF_STRIPE_WHOLE)
		used |= pf_word_get(&whole->busy);
	if (rank == RANK_UNUSED)
		return ~used;
	used |= pf_word_get(&word->current);
	uint64_t previous = pf_word_get(&word->previous);
	return (rank == RANK_PREVIOUS ? previous : ~previous) & ~used;
}

// Returns true if the bit in `mask` of the word was clear and is now set by us.
static inline bool claim_bit(
	uint32_t stripe, struct pf_layout_word *word, struct pf_layout_word *whole, uint64_t mask)
{
	if (pf_word_set(&word->used, mask) & mask)
		return false;
	if (stripe >= PF_STRIPE_TCP && !(pf_word_get(&whole->busy) & mask))
		pf_word_set(&whole->busy, mask);
	return true;
}

// Turns the hold bitmaps over, if they last turned at `turned`. A reader in the middle of it sees a
// port free early or late.
static void turn(struct pf_pool *pool, uint32_t stripe, uint64_t turned, uint64_t now)
{
	struct pf_layout_stripe *header = stripe_header(pool, stripe);
	if (!pf_word_replace(&header->turned_ms, turned, now))
		return;
	bool twice = pf_elapsed_ms(turned, now) >= pool->hold_ms;
	for (uint32_t i = 0; i < pool->words; i++) {
		struct pf_layout_word *word = pf_pool_word(pool, stripe, i);
		uint64_t released = pf_word_exchange(&word->current, 0);
		pf_word_put(&word->previous, twice ? 0 : released);
	}
	pf_word_put(&header->rank, RANK_FREE);
}

// Takes one of these ports of a word. Returns its index, or -1.
static int32_t take_in_word(const struct search *search, uint32_t at, uint64_t bits)
{
	if (search->avoided >= 0 && (uint32_t)search->avoided / 64 == at)
		bits &= ~(1ull << (unsigned)search->avoided % 64);
	for (; bits; bits &= bits - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(bits);
		if (claim_bit(search->stripe, &search->words[at], &search->whole[at], 1ull << bit))
			return (int32_t)(at * 64 + bit);
	}
	return -1;
}

// Takes the first port of this rank, circular from search->first. Returns its index, or -1.
static int32_t take_of_rank(const struct search *search, enum rank rank)
{
	const struct pf_layout_word *words = search->words, *whole = search->whole;
	const uint32_t stripe = search->stripe, count = search->pool->words;
	const uint64_t exist = pf_pool_mask(search->pool, count - 1);
	uint32_t at = search->first / 64;
	// The first word is visited twice: from the start on, and at the end as a whole.
	uint64_t allowed = UINT64_MAX << search->first % 64;
	for (uint32_t i = 0; i <= count; i++) {
		bool last = at == count - 1;
		uint64_t bits = candidates(stripe, &words[at], &whole[at], rank) & allowed;
		if (last)
			bits &= exist;
		int32_t index = bits ? take_in_word(search, at, bits) : -1;
		if (index >= 0)
			return index;
		allowed = UINT64_MAX;
		at = last ? 0 : at + 1;
	}
	return -1;
}

// Counts together which ports the destinations use, and `with_holding`, which they used lately.
static void busy_count(struct pf_pool *pool, bool with_holding)
{
	for (uint32_t i = 0; i < pool->words; i++) {
		struct pf_layout_word *whole = pf_pool_word(pool, PF_STRIPE_WHOLE, i);
		struct view view = {0, 0, 0};
		// Emptied first: what is taken during the count stays.
		pf_word_put(&whole->busy, 0);
		for (uint32_t stripe = PF_STRIPE_TCP; stripe < pool->stripes; stripe++)
			view_add(&view, pf_pool_word(pool, stripe, i));
		if (with_holding)
			view.used |= view.current | view.previous;
		pf_word_set(&whole->busy, view.used);
	}
}

// Takes a port for every destination. Returns its index, or -1. Counts again only if a destination
// gave a port back since, or time has passed: who is refused port after port looks with one `now`.
static int32_t take_whole(const struct search *search, uint64_t now)
{
	struct pf_layout_stripe *header = stripe_header(search->pool, PF_STRIPE_WHOLE);
	int32_t index = take_of_rank(search, RANK_FREE);
	if (index >= 0)
		return index;
	bool counts = pf_word_get(&header->counted_ms) != now;
	if (counts) {
		pf_word_put(&header->counted_ms, now);
		busy_count(search->pool, true);
		index = take_of_rank(search, RANK_FREE);
		if (index >= 0)
			return index;
		busy_count(search->pool, false);
	}
	index = take_of_rank(search, RANK_UNUSED);
	if (index >= 0 || counts)
		return index;
	// Somebody else is between those two counts, whom this signal handler interrupts, say.
	busy_count(search->pool, false);
	return take_of_rank(search, RANK_UNUSED);
}

// Takes the best port that `known` leaves: nothing better than that rank is there. Returns its
// index with its rank in ret_rank, or -1.
static int32_t take_best(const struct search *search, uint64_t known, uint64_t turned, uint64_t now,
	uint64_t *ret_rank)
{
	int32_t index = -1;
	*ret_rank = RANK_FREE;
	if (known == RANK_FREE)
		index = take_of_rank(search, RANK_FREE);
	if (index >= 0)
		return index;
	*ret_rank = RANK_PREVIOUS;
	index = take_of_rank(search, RANK_PREVIOUS);
	if (index >= 0)
		return index;
	turn(search->pool, search->stripe, turned, now);
	index = take_of_rank(search, RANK_PREVIOUS);
	return index >= 0 ? index : take_of_rank(search, RANK_UNUSED);
}

// Takes a port of the best rank that is left in the word of index `first`, at or behind it, or with
// `around` before it, too: all the search there is while a stripe has room. Returns how many it
// passed over, or -EAGAIN, which says nothing.
__attribute__((always_inline)) static inline int take_at_once(struct pf_pool *pool, uint32_t stripe,
	uint16_t avoid, uint64_t now, uint32_t first, bool around, uint16_t *ret_port)
{
	const struct pf_layout_stripe *header = stripe_header(pool, stripe);
	struct pf_layout_word *word = pf_pool_word(pool, stripe, first / 64);
	struct pf_layout_word *whole = pf_pool_word(pool, PF_STRIPE_WHOLE, first / 64);
	uint64_t rank = pf_word_get(&header->rank);
	if (pf_rarely(rank > RANK_PREVIOUS ||
		    pf_elapsed_ms(pf_word_get(&header->turned_ms), now) > pool->hold_ms / 2))
		return -EAGAIN;
	uint64_t all = candidates(stripe, word, whole, rank), bits = all >> first % 64;
	if (around)
		bits |= all << (64 - first) % 64;
	uint32_t steps = bits ? (uint32_t)__builtin_ctzll(bits) : 0;
	uint32_t index = first - first % 64 + (first + steps) % 64;
	if (pf_rarely(!bits || index >= pool->ranges.ports))
		return -EAGAIN;
	*ret_port = pf_ranges_port(&pool->ranges, index);
	if (pf_rarely(*ret_port == avoid || !claim_bit(stripe, word, whole, 1ull << index % 64)))
		return -EAGAIN;
	return (int)steps;
}

int pf_pool_take_at_once(struct pf_pool *pool, uint32_t stripe, uint16_t avoid, uint64_t now,
	uint32_t start, uint16_t *ret_port)
{
	return take_at_once(pool, stripe, avoid, now, start, true, ret_port);
}

// pf_pool_take, if nothing was to be had at once.
static int take_by_search(struct pf_pool *pool, uint32_t stripe, uint16_t avoid, uint64_t now,
	uint32_t *start, uint16_t *ret_port)
{
	struct pf_layout_stripe *header = stripe_header(pool, stripe);
	struct search search = {.pool = pool,
		.stripe = stripe,
		.first = *start,
		.avoided = -1,
		.words = pf_pool_word(pool, stripe, 0),
		.whole = pf_pool_word(pool, PF_STRIPE_WHOLE, 0)};
	if (avoid)
		search.avoided = pf_ranges_index(&pool->ranges, avoid);

	uint64_t turned = pf_word_get(&header->turned_ms), rank;
	if (pf_elapsed_ms(turned, now) > pool->hold_ms / 2)
		turn(pool, stripe, turned, now);
	turned = pf_word_get(&header->turned_ms);
	uint64_t known = rank = pf_word_get(&header->rank);
	int32_t index = stripe == PF_STRIPE_WHOLE ? take_whole(&search, now)
						  : take_best(&search, known, turned, now, &rank);
	if (index < 0)
		return -EAGAIN;
	if (rank != known)
		pf_word_put(&header->rank, rank);
	*start = (uint32_t)index + 1;
	*ret_port = pf_ranges_port(&pool->ranges, (uint32_t)index);
	return 0;
}

int pf_pool_take(struct pf_pool *pool, uint32_t stripe, uint16_t avoid, uint64_t now,
	uint32_t *start, uint16_t *ret_port)
{
	if (*start >= pool->ranges.ports)
		*start = 0;
	int steps = take_at_once(pool, stripe, avoid, now, *start, false, ret_port);
	if (pf_rarely(steps < 0))
		return take_by_search(pool, stripe, avoid, now, start, ret_port);
	*start += (uint32_t)steps + 1;
	return 0;
}

bool pf_pool_mark(struct pf_pool *pool, uint32_t stripe, uint16_t port)
{
	int32_t index = pf_ranges_index(&pool->ranges, port);
	if (index < 0 || stripe >= pool->stripes)
		return false;
	uint32_t at = (uint32_t)index / 64;
	return claim_bit(stripe, pf_pool_word(pool, stripe, at),
		pf_pool_word(pool, PF_STRIPE_WHOLE, at), 1ull << (unsigned)index % 64);
}

// Forgets that the stripe was exhausted.
static void unexhaust(struct pf_pool *pool, uint32_t stripe)
{
	struct pf_layout_stripe *header = stripe_header(pool, stripe);
	if (pf_rarely(pf_word_get_flag(&header->exhausted_ms)))
		pf_word_put(&header->exhausted_ms, 0);
}

// Forgets that any destination's stripe was. There are too many to look at each if none was.
static void unexhaust_destinations(struct pf_pool *pool)
{
	struct pf_layout_stripe *whole = stripe_header(pool, PF_STRIPE_WHOLE);
	if (!pf_word_get_flag(&whole->lacking))
		return;
	// Before the look: who marks a stripe that we have passed sets it again.
	pf_word_put_flag(&whole->lacking, 0);
	for (uint32_t stripe = PF_STRIPE_TCP; stripe < pool->stripes; stripe++)
		unexhaust(pool, stripe);
}

void pf_pool_give(struct pf_pool *pool, uint32_t stripe, uint16_t port)
{
	int32_t index = pf_ranges_index(&pool->ranges, port);
	if (index < 0 || stripe >= pool->stripes)
		return;
	struct pf_layout_word *word = pf_pool_word(pool, stripe, (uint32_t)index / 64);
	if (pool->hold_ms)
		pf_word_set(&word->current, 1ull << index % 64);
	else
		pf_word_put(&stripe_header(pool, stripe)->rank, RANK_FREE);
	pf_word_clear_flagged(&word->used, 1ull << index % 64);
	unexhaust(pool, stripe);
	// A port that one destination gives back may be free for all, and the other way round.
	if (stripe >= PF_STRIPE_TCP) {
		struct pf_layout_stripe *whole = stripe_header(pool, PF_STRIPE_WHOLE);
		unexhaust(pool, PF_STRIPE_WHOLE);
		if (pf_word_get(&whole->counted_ms))
			pf_word_put(&whole->counted_ms, 0);
	} else if (stripe == PF_STRIPE_WHOLE)
		unexhaust_destinations(pool);
}

void pf_pool_refuse(struct pf_pool *pool, uint32_t stripe, uint16_t port)
{
	pf_pool_give(pool, stripe, port);
	pf_pool_count(pool, PF_COUNT_REFUSED, 1);
}

void pf_pool_exhaust(struct pf_pool *pool, uint32_t stripe, uint64_t now)
{
	pf_word_put_flag(&stripe_header(pool, stripe)->exhausted_ms, now);
	if (stripe >= PF_STRIPE_TCP)
		pf_word_put_flag(&stripe_header(pool, PF_STRIPE_WHOLE)->lacking, 1);
}

bool pf_pool_exhausted(struct pf_pool *pool, uint32_t stripe, uint64_t now)
{
	uint64_t since = pf_word_get(&stripe_header(pool, stripe)->exhausted_ms);
	return since && now - since <= PF_EXHAUSTED_MS;
}

void pf_pool_distrust(struct pf_pool *pool)
{
	pf_word_put(&pool->shared->claim, PF_CLAIM_BIND);
	pf_pool_count(pool, PF_COUNT_STRAYED, 1);
}

void pf_pool_count(struct pf_pool *pool, enum pf_counter counter, uint64_t more)
{
	pf_word_add(&pool->shared->counter[counter], more);
}

uint64_t pf_pool_counted(const struct pf_pool *pool, enum pf_counter counter)
{
	return pf_word_get(&pool->shared->counter[counter]);
}

bool pf_pool_is_used(const struct pf_pool *pool, uint32_t stripe, uint16_t port)
{
	int32_t index = pf_ranges_index(&pool->ranges, port);
	if (index < 0)
		return false;
	uint64_t used = pf_word_get(&pf_pool_word(pool, stripe, (uint32_t)index / 64)->used);
	return used >> (unsigned)index % 64 & 1;
}

struct pf_pool_ports pf_pool_ports(const struct pf_pool *pool, uint32_t word)
{
	struct pf_pool_ports ports = {.holding = 0};
	uint64_t mask = pf_pool_mask(pool, word), used = 0;
	for (uint32_t stripe = 0; stripe < pool->stripes; stripe++) {
		struct view one = {0, 0, 0};
		view_add(&one, pf_pool_word(pool, stripe, word));
		used |= one.used;
		ports.holding |= one.current | one.previous;
		for (uint64_t bits = one.used & mask; bits; bits &= bits - 1)
			ports.used[__builtin_ctzll(bits)]++;
	}
	ports.holding &= mask & ~used;
	return ports;
}

struct pf_pool_usage pf_pool_usage(const struct pf_pool *pool)
{
	struct pf_pool_usage usage = {0, 0, 0};
	for (uint32_t word = 0; word < pool->words; word++) {
		struct pf_pool_ports ports = pf_pool_ports(pool, word);
		uint64_t idle = pf_pool_mask(pool, word) & ~ports.holding;
		usage.holding += (uint32_t)__builtin_popcountll(ports.holding);
		for (unsigned bit = 0; bit < 64; bit++) {
			usage.used += ports.used[bit];
			usage.free += idle >> bit & 1 && !ports.used[bit];
		}
	}
	return usage;
}
