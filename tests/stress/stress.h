// SPDX-License-Identifier: MIT
// What the stress programs share: a page in which every worker says what it is at, and luck.
#ifndef STRESS_H
#define STRESS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

// The fds that every worker is born with; what it opens comes behind them.
enum { FD_PAGE = 3, FD_MAIL_IN, FD_MAIL_OUT, FD_FIRST };

// Servers: two that take everything, none, one that never accepts, and none, for connects on fds
// that another thread may have closed: whatever is at that number then is not known to be unbound.
enum { PORT_SINK = 8080, PORT_SINK_TOO, PORT_CLOSED, PORT_STUCK, PORT_RACED };

#define SLOTS 256
#define THREADS 4
#define LISTENERS 16

// A worker, or a child of one.
struct slot {
	_Atomic(pid_t) pid; // negative: of the parent, who is about to make it; 0: free
	// What each thread is at: 0 for nothing of the fence's, or since when, in ms, << 16 | line.
	_Atomic(uint64_t) call[THREADS + 1];
};

enum count { CONNECTS, BINDS, SENDS, COPIES, FORKS, PASSED, REFUSED, COUNTS };

struct page {
	_Atomic(int) stop; // all end as soon as they see it
	_Atomic(uint64_t) count[COUNTS];
	_Atomic(uint16_t) listener[LISTENERS]; // where workers listen, or did
	struct slot slot[SLOTS];
};

// Returns the next number of a sequence that its seed determines (splitmix64, public domain).
static inline uint64_t luck(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

// Returns a number below `end`.
static inline unsigned below(uint64_t *seed, unsigned end)
{
	return (unsigned)((luck(seed) >> 32) * end >> 32);
}

// Returns true in `percent` of cases.
static inline _Bool chance(uint64_t *seed, unsigned percent)
{
	return below(seed, 100) < percent;
}

// Reserves a slot for a child of this process. Returns its number, or -1 if all are taken.
static inline int slot_take(struct page *page)
{
	for (int i = 0; i < SLOTS; i++) {
		pid_t none = 0;
		if (!atomic_compare_exchange_strong(&page->slot[i].pid, &none, -getpid()))
			continue;
		for (int t = 0; t <= THREADS; t++)
			atomic_store(&page->slot[i].call[t], 0);
		return i;
	}
	return -1;
}

#endif
