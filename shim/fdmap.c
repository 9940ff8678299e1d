// SPDX-License-Identifier: MIT
// The fd map: what this process knows of its sockets, by fd.
//
// One 64-bit word per fd, written by exchange or compare-and-swap only, in chunks that are mapped
// when their first fd shows up; the first chunk is static, so that a sandbox without mmap has it.
//
// A fork starts a new epoch: older sockets are then held by two processes, neither of which can
// tell when the other closes them, so both leave their leases to the reap. Other threads go on
// while one forks, and whether the child gets what they open then is not known: another epoch
// starts when the fork is over. A child that shares our memory (vfork) is known by its pid.
#include "fdmap.h"

#include <portfence/segment.h>

#include "atomics.h"
#include "util.h"

#include <string.h>

#define CHUNK_FDS 4096
#define CHUNKS 256 // for 1,048,576 fds: fs.nr_open's default

static pf_word first_chunk[CHUNK_FDS];
static _Atomic(void *) chunks[CHUNKS]; // but the first

// In a page that a fork empties.
struct process {
	pf_word pid;
};

static struct process unwiped;
static _Atomic(void *) wiped;
static pf_word epoch;
static pf_word vforked; // this process has called vfork: only then is a pid worth a system call

_Static_assert(sizeof(struct process) <= PF_FDMAP_PAGE_BYTES, "it fits its page");

void pf_fdmap_use(void *page)
{
	struct process *process = page;
	if (process && pf_word_get(&unwiped.pid) == (uint64_t)getpid())
		pf_word_put(&process->pid, (uint64_t)getpid());
	pf_publish(&wiped, page);
}

static struct process *process_self(void)
{
	struct process *process = pf_subscribe(&wiped);
	if (!process)
		process = &unwiped;
	if (!pf_word_get(&process->pid)) {
		// The first time, or in a child: what was inherited is shared.
		pf_word_put(&process->pid, (uint64_t)getpid());
		pf_word_add(&epoch, 1);
	}
	return process;
}

void pf_fdmap_age(void)
{
	pf_word_add(&epoch, 1);
}

void pf_fdmap_vfork(void)
{
	process_self();
	pf_word_put(&vforked, 1);
}

bool pf_fdmap_is_borrowed(void)
{
	return pf_word_get(&vforked) && pf_word_get(&process_self()->pid) != (uint64_t)getpid();
}

uint16_t pf_fdmap_epoch(void)
{
	process_self();
	return (uint16_t)pf_word_get(&epoch);
}

bool pf_fdmap_is_own(struct pf_fd lease)
{
	return lease.epoch == pf_fdmap_epoch();
}

// port 16, stripe 16, epoch 16, pool 4, flags 10, kind 2 bits.
static uint64_t encode(struct pf_fd fd)
{
	return (uint64_t)fd.port | (uint64_t)fd.stripe << 16 | (uint64_t)fd.epoch << 32 |
		(uint64_t)fd.pool << 48 | (uint64_t)fd.flags << 52 | (uint64_t)fd.kind << 62;
}

static struct pf_fd decode(uint64_t word)
{
	return (struct pf_fd){.kind = (uint8_t)(word >> 62),
		.flags = (uint16_t)(word >> 52 & 1023),
		.pool = word >> 48 & 15,
		.epoch = (uint16_t)(word >> 32),
		.stripe = (uint16_t)(word >> 16),
		.port = (uint16_t)word};
}

_Static_assert(PF_POOLS_MAX <= 16, "the number of a pool has 4 bits");

// Returns a chunk, or NULL if it is not mapped yet.
static pf_word *chunk_find(int number)
{
	return number ? pf_subscribe(&chunks[number]) : first_chunk;
}

// Returns the entry of `fd`, or NULL: not mapped yet, or past the end.
static pf_word *entry_find(int fd)
{
	if (fd < 0 || fd >= CHUNKS * CHUNK_FDS)
		return NULL;
	pf_word *chunk = chunk_find(fd / CHUNK_FDS);
	return chunk ? &chunk[fd % CHUNK_FDS] : NULL;
}

// The same, and maps the chunk if need be.
static pf_word *entry_make(int fd)
{
	pf_word *entry = entry_find(fd);
	if (entry || fd < 0 || fd >= CHUNKS * CHUNK_FDS)
		return entry;
	size_t size = CHUNK_FDS * sizeof *entry;
	void *chunk = pf_segment_scratch(size);
	if (chunk && !pf_publish(&chunks[fd / CHUNK_FDS], chunk))
		pf_segment_scratch_free(chunk, size);
	return entry_find(fd);
}

struct pf_fd pf_fdmap_get(int fd, uint64_t *ret_ticket)
{
	pf_word *entry = entry_find(fd);
	*ret_ticket = entry ? pf_word_get(entry) : 0;
	return decode(*ret_ticket);
}

bool pf_fdmap_knows(int fd)
{
	const pf_word *entry = entry_find(fd);
	return entry && pf_word_get(entry);
}

bool pf_fdmap_replace(int fd, uint64_t ticket, struct pf_fd next)
{
	pf_word *entry = entry_make(fd);
	return entry && pf_word_replace(entry, ticket, encode(next));
}

struct pf_fd pf_fdmap_forget(int fd)
{
	pf_word *entry = entry_find(fd);
	return decode(entry ? pf_word_exchange(entry, 0) : 0);
}

struct pf_fd pf_fdmap_start(int fd, struct pf_fd next)
{
	pf_word *entry = entry_make(fd);
	return decode(entry ? pf_word_exchange(entry, encode(next)) : 0);
}

// Returns true if both are the same lease.
static bool is_same_lease(struct pf_fd a, struct pf_fd b)
{
	return (a.flags & b.flags & PF_FD_LEASE) && a.port == b.port && a.stripe == b.stripe &&
		a.pool == b.pool && a.epoch == b.epoch;
}

bool pf_fdmap_is_held(struct pf_fd lease)
{
	for (int at = 0; at < CHUNKS; at++) {
		pf_word *chunk = chunk_find(at);
		for (int i = 0; chunk && i < CHUNK_FDS; i++)
			if (is_same_lease(decode(pf_word_get(&chunk[i])), lease))
				return true;
	}
	return false;
}

// Returns true if an fd below `end` has the same lease.
static bool is_counted(struct pf_fd lease, int end)
{
	for (int fd = 0; fd < end; fd++) {
		const pf_word *entry = entry_find(fd);
		if (entry && is_same_lease(decode(pf_word_get(entry)), lease))
			return true;
	}
	return false;
}

uint32_t pf_fdmap_leases(uint8_t pool, uint32_t limit)
{
	uint32_t leases = 0;
	for (int at = 0; at < CHUNKS; at++) {
		pf_word *chunk = chunk_find(at);
		for (int i = 0; chunk && i < CHUNK_FDS && leases < limit; i++) {
			struct pf_fd known = decode(pf_word_get(&chunk[i]));
			leases += (known.flags & PF_FD_LEASE) && known.pool == pool &&
				!((known.flags & PF_FD_COPIED) &&
					is_counted(known, at * CHUNK_FDS + i));
		}
	}
	return leases;
}

// Returns the first fd at or after `fd`, up to `last`, whose entry is mapped, and that in
// ret_entry: NULL if there is none.
static uint64_t entry_next(uint64_t fd, unsigned last, pf_word **ret_entry)
{
	for (; fd <= last && fd < CHUNKS * CHUNK_FDS; fd = (fd / CHUNK_FDS + 1) * CHUNK_FDS) {
		*ret_entry = entry_find((int)fd);
		if (*ret_entry)
			return fd;
	}
	*ret_entry = NULL;
	return (uint64_t)last + 1;
}

bool pf_fdmap_has(unsigned first, unsigned last)
{
	pf_word *entry;
	uint64_t fd = entry_next(first, last, &entry);
	while (entry && !pf_word_get(entry))
		fd = entry_next(fd + 1, last, &entry);
	return entry;
}

void pf_fdmap_mark_closing(unsigned first, unsigned last, bool closing)
{
	pf_word *entry;
	for (uint64_t fd = entry_next(first, last, &entry); entry;
		fd = entry_next(fd + 1, last, &entry)) {
		uint64_t seen = pf_word_get(entry);
		struct pf_fd known = decode(seen);
		uint16_t flags = (uint16_t)(known.flags & ~PF_FD_CLOSING);
		known.flags = closing ? flags | PF_FD_CLOSING : flags;
		if (seen)
			pf_word_replace(entry, seen, encode(known));
	}
}

void pf_fdmap_forget_closing(unsigned first, unsigned last, void (*each)(struct pf_fd lease))
{
	pf_word *entry;
	for (uint64_t fd = entry_next(first, last, &entry); entry;
		fd = entry_next(fd + 1, last, &entry)) {
		uint64_t seen = pf_word_get(entry);
		if ((decode(seen).flags & PF_FD_CLOSING) && pf_word_replace(entry, seen, 0))
			each(decode(seen));
	}
}
