// SPDX-License-Identifier: MIT
// The segment's bytes. Programs of both word sizes map the same file, so every field has a fixed
// width and a fixed place; there are no pointers, only offsets. One byte order: a segment never
// leaves the machine.
//
//	header | pool table | pool 0: stripe 0, stripe 1, ... | pool 1: ... | ring
//
// Header and pool table are written once, before the file gets its name, and copied to private
// memory by whoever attaches; what changes later is named "shared" here, and any value of it is
// legal.
#ifndef PORTFENCE_LAYOUT_H
#define PORTFENCE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <portfence/policy.h>

#define PF_SEGMENT_MAGIC 0x65636e6566747270u // "prtfence", read as little-endian
#define PF_SEGMENT_VERSION 4u // of this page; a change of any byte's meaning raises it

struct pf_layout_header {
	uint64_t magic;
	uint32_t version;
	uint32_t pools;
	uint64_t size; // of the whole segment, in bytes
	uint64_t digest;
	uint64_t netns;      // SO_NETNS_COOKIE, or the inode of the namespace before Linux 5.14
	uint8_t boot_id[16]; // a segment on a disk must not outlive the boot it describes
	uint64_t reserved[1];
	_Atomic(uint64_t) reaped_ms; // shared: when the last reap began; whoever reaps writes it
	_Atomic(uint64_t) reap_done; // shared: reaped_ms of the last reap that ended
	_Atomic(uint64_t) reap_took; // shared: the milliseconds that it took
	uint64_t padding[5];
};

// What happened to a pool since the segment was made; every process adds to them.
enum pf_counter {
	PF_COUNT_REFUSED,   // claims that the kernel refused: the port had another owner
	PF_COUNT_EXHAUSTED, // calls that failed for want of a port
	PF_COUNT_REAPED,    // ports given back by a reap
	PF_COUNT_SEARCHED,  // calls for which the kernel searched the range
	PF_COUNT_STRAYED,   // claims that ended outside the pool, and were done again by bind
	PF_COUNT_FALLBACK, // calls that got a port of the kernel's choice, since there was no other
	PF_COUNT_QUOTA,    // calls that failed because their process has all it may have
	PF_COUNTERS = 8,
};

struct pf_layout_pool {
	char name[PF_POOL_NAME];
	uint64_t offset;  // of stripe 0, from the beginning of the segment
	uint32_t ports;   // in all ranges
	uint32_t stripes; // the two special ones and those of destinations
	uint32_t ranges;
	uint32_t hold_ms;
	struct pf_range range[PF_RANGES_MAX];
	uint32_t step;           // of the ranges
	uint32_t exclusive;      // not 0: a port has one socket, whatever the destination
	_Atomic(uint64_t) claim; // shared: enum pf_claim; from late to bind, never back
	_Atomic(uint64_t) counter[PF_COUNTERS]; // shared
	uint64_t padding[7];
};

// 64 ports of one stripe; bit b of word w is the port with index 64 * w + b. `busy` is the whole
// stripe's only: what some destination uses, or has used since the last count.
struct pf_layout_word {
	_Atomic(uint64_t) used;     // shared: set by take, cleared by give and reap
	_Atomic(uint64_t) current;  // shared: released since the last turn, set by give and reap
	_Atomic(uint64_t) previous; // shared: released before it, written by a turn
	_Atomic(uint64_t) busy;     // shared: set by take, written by a count
};

// A stripe: this header, then (ports + 63) / 64 words, then padding to 64 bytes.
struct pf_layout_stripe {
	_Atomic(uint64_t) turned_ms; // shared: when the hold bitmaps last turned over
	_Atomic(uint64_t)
		exhausted_ms;         // shared: when no port was found, 0 after one was given back
	_Atomic(uint64_t) rank;       // shared: since then, no port better than this was seen
	_Atomic(uint64_t) counted_ms; // shared: when busy was last counted, in the whole stripe
	_Atomic(uint64_t) lacking; // shared: 1 if a destination's stripe may be, in the whole one
	uint64_t padding[3];
};

// The last leases, each in the entry that follows its predecessor's. Behind this header come
// pf_layout_ring_entries() entries.
struct pf_layout_ring {
	_Atomic(uint64_t)
		head;        // shared: the number of the next entry; whoever writes one adds to it
	uint64_t padding[7]; // the entries begin with a cache line of their own
};

// A lease that was taken: entry `number` is at place `number` modulo the entries.
struct pf_layout_entry {
	_Atomic(uint64_t) seal;    // shared: number | check << 32, of all that follows
	_Atomic(uint64_t) time_ns; // shared: since 1970
	_Atomic(uint64_t) who;     // shared: pid | effective uid << 32
	_Atomic(uint64_t)
		what; // shared: port | peer's port << 16 | protocol << 32 | how << 40 | pool << 48
	_Atomic(uint64_t) peer[2];    // shared: the address, as in struct pf_endpoint
	_Atomic(uint64_t) command[2]; // shared: 16 bytes
};

enum pf_claim {
	PF_CLAIM_BIND, // and every value that is not PF_CLAIM_LATE
	PF_CLAIM_LATE,
};

// The stripe of a bind(0) or listen: such a port blocks its number for every destination.
#define PF_STRIPE_WHOLE 0
// The stripe of UDP, which has no destinations to share a port among.
#define PF_STRIPE_UDP 1
// The first stripe of TCP destinations.
#define PF_STRIPE_TCP 2
// Destination stripes in a pool: 28,000 ports take 3.5 MiB, and two destinations out of ten meet in
// one stripe in 16 % of cases.
#define PF_STRIPES_TCP 256

#define PF_LAYOUT_AT(type, field, place)                                                           \
	_Static_assert(offsetof(struct type, field) == (place), #type "." #field " has moved")

PF_LAYOUT_AT(pf_layout_header, magic, 0);
PF_LAYOUT_AT(pf_layout_header, version, 8);
PF_LAYOUT_AT(pf_layout_header, pools, 12);
PF_LAYOUT_AT(pf_layout_header, size, 16);
PF_LAYOUT_AT(pf_layout_header, digest, 24);
PF_LAYOUT_AT(pf_layout_header, netns, 32);
PF_LAYOUT_AT(pf_layout_header, boot_id, 40);
PF_LAYOUT_AT(pf_layout_header, reaped_ms, 64);
PF_LAYOUT_AT(pf_layout_header, reap_done, 72);
PF_LAYOUT_AT(pf_layout_header, reap_took, 80);
PF_LAYOUT_AT(pf_layout_pool, name, 0);
PF_LAYOUT_AT(pf_layout_pool, offset, 32);
PF_LAYOUT_AT(pf_layout_pool, ports, 40);
PF_LAYOUT_AT(pf_layout_pool, stripes, 44);
PF_LAYOUT_AT(pf_layout_pool, ranges, 48);
PF_LAYOUT_AT(pf_layout_pool, hold_ms, 52);
PF_LAYOUT_AT(pf_layout_pool, range, 56);
PF_LAYOUT_AT(pf_layout_pool, step, 312);
PF_LAYOUT_AT(pf_layout_pool, exclusive, 316);
PF_LAYOUT_AT(pf_layout_pool, claim, 320);
PF_LAYOUT_AT(pf_layout_pool, counter, 328);
PF_LAYOUT_AT(pf_layout_word, used, 0);
PF_LAYOUT_AT(pf_layout_word, current, 8);
PF_LAYOUT_AT(pf_layout_word, previous, 16);
PF_LAYOUT_AT(pf_layout_word, busy, 24);
PF_LAYOUT_AT(pf_layout_stripe, turned_ms, 0);
PF_LAYOUT_AT(pf_layout_stripe, exhausted_ms, 8);
PF_LAYOUT_AT(pf_layout_stripe, rank, 16);
PF_LAYOUT_AT(pf_layout_stripe, counted_ms, 24);
PF_LAYOUT_AT(pf_layout_stripe, lacking, 32);
PF_LAYOUT_AT(pf_layout_ring, head, 0);
PF_LAYOUT_AT(pf_layout_entry, seal, 0);
PF_LAYOUT_AT(pf_layout_entry, time_ns, 8);
PF_LAYOUT_AT(pf_layout_entry, who, 16);
PF_LAYOUT_AT(pf_layout_entry, what, 24);
PF_LAYOUT_AT(pf_layout_entry, peer, 32);
PF_LAYOUT_AT(pf_layout_entry, command, 48);
_Static_assert(sizeof(struct pf_layout_header) == 128, "header size");
_Static_assert(sizeof(struct pf_layout_pool) == 448, "pool size, a multiple of 64");
_Static_assert(sizeof(struct pf_layout_word) == 32, "word size");
_Static_assert(sizeof(struct pf_layout_stripe) == 64, "stripe header size");
_Static_assert(sizeof(struct pf_layout_ring) == 64, "ring header size");
_Static_assert(sizeof(struct pf_layout_entry) == 64, "entry size, a cache line");
_Static_assert(PF_RANGES_MAX == 64 && PF_POOL_NAME == 32, "the table's arrays");

// Returns the words of a stripe of `ports` ports.
static inline uint32_t pf_layout_words(uint32_t ports)
{
	return (ports + 63) / 64;
}

// Returns the bytes from one stripe of `ports` ports to the next.
static inline size_t pf_layout_stripe_size(uint32_t ports)
{
	size_t size = sizeof(struct pf_layout_stripe) +
		pf_layout_words(ports) * sizeof(struct pf_layout_word);
	return (size + 63) / 64 * 64;
}

#define PF_RING_MIN 1024u
#define PF_RING_MAX 4096u

// Returns the entries of the ring of a segment whose pools have `ports` ports together: a power of
// two.
static inline uint32_t pf_layout_ring_entries(uint32_t ports)
{
	uint32_t entries = PF_RING_MIN;
	while (entries < ports && entries < PF_RING_MAX)
		entries *= 2;
	return entries;
}

// Returns the bytes of a ring of so many entries.
static inline size_t pf_layout_ring_size(uint32_t entries)
{
	return sizeof(struct pf_layout_ring) + entries * sizeof(struct pf_layout_entry);
}

#endif
