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

#define CHUNKS 256 // for 1,048,576 fds: fs.nr_open's default

pf_word pf_fdmap_first[PF_FDMAP_CHUNK];
static _Atomic(void *) chunks[CHUNKS]; // but the first

// In a page that a fork empties.
struct process {
	pf_word pid;
};

static struct process unwiped;
struct pf_fdmap_self pf_fdmap_self PF_TOGETHER;

_Static_assert(sizeof(struct process) <= PF_FDMAP_PAGE_BYTES, "it fits its page");

void pf_fdmap_use(void *page)
{
	struct process *process = page;
	if (process && pf_word_get(&unwiped.pid) == (uint64_t)getpid())
		pf_word_put(&process->pid, (uint64_t)getpid());
	pf_publish(&pf_fdmap_self.wiped, page);
}

static struct process *process_self(void)
{
	struct process *process = pf_subscribe(&pf_fdmap_self.wiped);
	if (!process)
		process = &unwiped;
	if (!pf_word_get(&process->pid)) {
		// The first time, or in a child: what was inherited is shared.
		pf_word_put(&process->pid, (uint64_t)getpid());
		pf_word_add(&pf_fdmap_self.epoch, 1);
	}
	return process;
}

void pf_fdmap_age(void)
{
	pf_word_add(&pf_fdmap_self.epoch, 1);
}

void pf_fdmap_vfork(void)
{
	process_self();
	pf_word_put(&pf_fdmap_self.vforked, 1);
}

bool pf_fdmap_is_child(void)
{
	return pf_word_get(&process_self()->pid) != (uint64_t)getpid();
}

uint16_t pf_fdmap_epoch_begin(void)
{
	process_self();
	return (uint16_t)pf_word_get(&pf_fdmap_self.epoch);
}

_Static_assert(PF_POOLS_MAX <= 16, "the number of a pool has 4 bits");

// Returns a chunk, or NULL if it is not mapped yet.
static pf_word *chunk_find(int number)
{
	return number ? pf_subscribe(&chunks[number]) : pf_fdmap_first;
}

pf_word *pf_fdmap_find_beyond(int fd)
{
	if (fd < 0 || fd >= CHUNKS * PF_FDMAP_CHUNK)
		return NULL;
	pf_word *chunk = chunk_find(fd / PF_FDMAP_CHUNK);
	return chunk ? &chunk[fd % PF_FDMAP_CHUNK] : NULL;
}

pf_word *pf_fdmap_make_beyond(int fd)
{
	pf_word *entry = pf_fdmap_find_beyond(fd);
	if (entry || fd < 0 || fd >= CHUNKS * PF_FDMAP_CHUNK)
		return entry;
	size_t size = PF_FDMAP_CHUNK * sizeof *entry;
	void *chunk = pf_segment_scratch(size);
	if (chunk && !pf_publish(&chunks[fd / PF_FDMAP_CHUNK], chunk))
		pf_segment_scratch_free(chunk, size);
	return pf_fdmap_find_beyond(fd);
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
		for (int i = 0; chunk && i < PF_FDMAP_CHUNK; i++)
			if (is_same_lease(pf_fdmap_entry(pf_word_get(&chunk[i])), lease))
				return true;
	}
	return false;
}

// Returns true if an fd below `end` has the same lease.
static bool is_counted(struct pf_fd lease, int end)
{
	for (int fd = 0; fd < end; fd++) {
		const pf_word *entry = pf_fdmap_find(fd);
		if (entry && is_same_lease(pf_fdmap_entry(pf_word_get(entry)), lease))
			return true;
	}
	return false;
}

uint32_t pf_fdmap_leases(uint8_t pool, uint32_t limit)
{
	uint32_t leases = 0;
	for (int at = 0; at < CHUNKS; at++) {
		pf_word *chunk = chunk_find(at);
		for (int i = 0; chunk && i < PF_FDMAP_CHUNK && leases < limit; i++) {
			struct pf_fd known = pf_fdmap_entry(pf_word_get(&chunk[i]));
			leases += (known.flags & PF_FD_LEASE) && known.pool == pool &&
				!((known.flags & PF_FD_COPIED) &&
					is_counted(known, at * PF_FDMAP_CHUNK + i));
		}
	}
	return leases;
}

// Returns the first fd at or after `fd`, up to `last`, whose entry is mapped, and that in
// ret_entry: NULL if there is none.
static uint64_t entry_next(uint64_t fd, unsigned last, pf_word **ret_entry)
{
	for (; fd <= last && fd < CHUNKS * PF_FDMAP_CHUNK;
		fd = (fd / PF_FDMAP_CHUNK + 1) * PF_FDMAP_CHUNK) {
		*ret_entry = pf_fdmap_find((int)fd);
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
		struct pf_fd known = pf_fdmap_entry(seen);
		known.flags = known.flags & (PF_FD_FLAGS & ~(unsigned)PF_FD_CLOSING);
		if (closing)
			known.flags |= PF_FD_CLOSING;
		if (seen)
			pf_word_replace(entry, seen, pf_fdmap_word(known));
	}
}

void pf_fdmap_forget_closing(unsigned first, unsigned last, void (*each)(struct pf_fd lease))
{
	pf_word *entry;
	for (uint64_t fd = entry_next(first, last, &entry); entry;
		fd = entry_next(fd + 1, last, &entry)) {
		uint64_t seen = pf_word_get(entry);
		if ((pf_fdmap_entry(seen).flags & PF_FD_CLOSING) && pf_word_replace(entry, seen, 0))
			each(pf_fdmap_entry(seen));
	}
}
