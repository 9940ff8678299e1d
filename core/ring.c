// SPDX-License-Identifier: MIT
// The ring: which leases were taken last, by whom, and when.
//
// Theory of operation. A writer takes a number from the head, by one fetch-add, and with it a
// place, which is the oldest entry's. It then writes the entry's eight words in any order. The
// first of them seals the others: it has the number and a check over everything. So an entry that
// is half written, or that two writers wrote at once (one was held up while the ring went round),
// or whose writer died in the midst of it, does not fit its seal, and readers pass over it. There
// is nothing to wait for and nothing to recover.
//
// Readers look at all places and believe every entry that fits its seal; they do not need the head,
// which may be scribbled on like everything else.
#include <portfence/ring.h>

#include "atomics.h"

#include <netinet/in.h>
#include <string.h>

static inline uint64_t stir(uint64_t sum, uint64_t word)
{
	return (sum ^ word) * 0x9e3779b97f4a7c15u;
}

// Returns the seal of entry `number`. Each step is reversible, so that a difference in any one word
// stays; a zero-filled entry has another.
static inline uint64_t seal_of(uint32_t number, const struct pf_ring_words *words)
{
	uint64_t sum = stir(PF_SEGMENT_MAGIC ^ number, words->time_ns);
	sum = stir(stir(sum, words->who), words->what);
	sum = stir(stir(sum, words->peer[0]), words->peer[1]);
	sum = stir(stir(sum, words->command[0]), words->command[1]);
	return number | sum >> 32 << 32;
}

static struct pf_layout_entry *entry_at(const struct pf_ring *ring, uint32_t place)
{
	return (struct pf_layout_entry *)(void *)(ring->shared + 1) + place;
}

void pf_ring_write(struct pf_ring *ring, const struct pf_ring_words *words)
{
	if (!ring->entries)
		return;
	uint32_t number = (uint32_t)pf_word_add(&ring->shared->head, 1);
	struct pf_layout_entry *entry = entry_at(ring, number & (ring->entries - 1));
	pf_word_put(&entry->seal, seal_of(number, words));
	pf_word_put(&entry->time_ns, words->time_ns);
	pf_word_put(&entry->who, words->who);
	pf_word_put(&entry->what, words->what);
	pf_word_put(&entry->peer[0], words->peer[0]);
	pf_word_put(&entry->peer[1], words->peer[1]);
	pf_word_put(&entry->command[0], words->command[0]);
	pf_word_put(&entry->command[1], words->command[1]);
}

void pf_ring_add(struct pf_ring *ring, const struct pf_lease *lease)
{
	struct pf_ring_words words = {.time_ns = lease->time_ns,
		.who = lease->pid | (uint64_t)lease->uid << 32,
		.what = pf_ring_what(
			lease->port, lease->peer.port, lease->protocol, lease->how, lease->pool)};
	memcpy(words.peer, lease->peer.address, sizeof words.peer);
	memcpy(words.command, lease->command, sizeof words.command);
	pf_ring_write(ring, &words);
}

// Reads what the words say. Returns false if it makes no sense.
static bool words_read(const struct pf_ring_words *words, struct pf_lease *lease)
{
	lease->time_ns = words->time_ns;
	lease->pid = (uint32_t)words->who;
	lease->uid = (uint32_t)(words->who >> 32);
	lease->port = (uint16_t)words->what;
	lease->peer.port = (uint16_t)(words->what >> 16);
	lease->protocol = (uint8_t)(words->what >> 32);
	lease->how = (uint8_t)(words->what >> 40);
	lease->pool = (uint8_t)(words->what >> 48);
	memcpy(lease->peer.address, words->peer, sizeof lease->peer.address);
	memcpy(lease->command, words->command, sizeof lease->command);
	lease->command[sizeof lease->command - 1] = 0;
	return lease->port && lease->how && lease->how < PF_HOW_END &&
		(lease->protocol == IPPROTO_TCP || lease->protocol == IPPROTO_UDP);
}

bool pf_ring_read(const struct pf_ring *ring, uint32_t place, struct pf_lease *ret_lease)
{
	const struct pf_layout_entry *entry = entry_at(ring, place);
	uint64_t seal = pf_word_get(&entry->seal);
	struct pf_ring_words words = {.time_ns = pf_word_get(&entry->time_ns),
		.who = pf_word_get(&entry->who),
		.what = pf_word_get(&entry->what)};
	for (int i = 0; i < 2; i++) {
		words.peer[i] = pf_word_get(&entry->peer[i]);
		words.command[i] = pf_word_get(&entry->command[i]);
	}
	struct pf_lease lease = {.number = (uint32_t)seal};
	if (seal != seal_of(lease.number, &words) || !words_read(&words, &lease))
		return false;
	*ret_lease = lease;
	return true;
}
