// SPDX-License-Identifier: MIT
// The atomic operations on memory that several processes or threads write.
//
// The bitmaps carry no other data: a bit says "hands off this port" and nothing is read on the
// strength of it, so relaxed order is enough and most of these helpers order nothing around it. Two
// pairs differ: pf_publish and pf_subscribe (whatever was written before the first is seen after
// the second), pf_word_put_flag and pf_word_get_flag.
#ifndef PF_ATOMICS_H
#define PF_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic(uint64_t) pf_word;

// For what every connect reads: side by side, it takes few lines of the caches. The linker sorts
// these sections by name; fence.c has what comes before and after.
#define PF_TOGETHER __attribute__((section(".bss.portfence_1")))

// Returns the word as it was at some moment; it may be old news at once.
static inline uint64_t pf_word_get(const pf_word *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void pf_word_put(pf_word *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

// Returns the word as it was before `bits` were set in it.
static inline uint64_t pf_word_set(pf_word *word, uint64_t bits)
{
	return atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}

static inline uint64_t pf_word_add(pf_word *word, uint64_t value)
{
	return atomic_fetch_add_explicit(word, value, memory_order_relaxed);
}

static inline uint64_t pf_word_exchange(pf_word *word, uint64_t value)
{
	return atomic_exchange_explicit(word, value, memory_order_relaxed);
}

// Writes `value`, and orders it before every later read of this thread: for a flag that says "I am
// about to look", whose partner does pf_word_clear_flagged on what is looked at, then
// pf_word_get_flag. Of the two, at least one sees what the other did.
static inline void pf_word_put_flag(pf_word *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void pf_word_clear_flagged(pf_word *word, uint64_t bits)
{
	atomic_fetch_and_explicit(word, ~bits, memory_order_seq_cst);
}

static inline uint64_t pf_word_get_flag(const pf_word *word)
{
	return atomic_load_explicit(word, memory_order_seq_cst);
}

// Returns true if the word was `old` and is now `value`.
static inline bool pf_word_replace(pf_word *word, uint64_t old, uint64_t value)
{
	return atomic_compare_exchange_strong_explicit(
		word, &old, value, memory_order_relaxed, memory_order_relaxed);
}

// Makes what `*slot` will point to visible to pf_subscribe. Returns false if another thread was
// first; the slot then holds that thread's pointer.
static inline bool pf_publish(_Atomic(void *) *slot, void *value)
{
	void *none = 0;
	return atomic_compare_exchange_strong_explicit(
		slot, &none, value, memory_order_acq_rel, memory_order_acquire);
}

// Makes room for another pointer. Who has the old one goes on with it.
static inline void pf_retract(_Atomic(void *) *slot)
{
	atomic_store_explicit(slot, 0, memory_order_release);
}

// Returns what pf_publish put there, or NULL.
static inline void *pf_subscribe(_Atomic(void *) *slot)
{
	return atomic_load_explicit(slot, memory_order_acquire);
}

#endif
