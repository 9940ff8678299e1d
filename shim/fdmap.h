// SPDX-License-Identifier: MIT
// The fd map: what this process knows of its sockets, by fd.
//
// It is private and a memory aid: a socket that was closed, copied or received past the hooks
// leaves it wrong, and whatever is done on its word must be harmless then.
#ifndef PF_FDMAP_H
#define PF_FDMAP_H

#include "atomics.h"
#include "util.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum pf_fd_kind {
	PF_FD_UNKNOWN, // inherited, accepted, received, copied, or no socket at all
	PF_FD_OTHER,   // a socket without ports of ours
	PF_FD_TCP,     // MPTCP too
	PF_FD_UDP,
};

enum pf_fd_flags {
	PF_FD_IPV6 = 1,     // an AF_INET6 socket
	PF_FD_BOUND = 2,    // it has a port: there is none to take
	PF_FD_LEASE = 4,    // that port is a lease: stripe, pool and port say which
	PF_FD_LATE = 8,     // the kernel drops the port when the connection ends or fails
	PF_FD_ADDRESS = 16, // it has a local address (IP_BIND_ADDRESS_NO_PORT), and no port yet
	PF_FD_COPIED = 32,  // other fds of this process may be copies of it
	PF_FD_CLOSING = 64, // it is in a range that is being closed
	PF_FD_REUSE = 128,  // the program set SO_REUSEADDR,
	PF_FD_RANGE = 256,  // IP_LOCAL_PORT_RANGE,
	PF_FD_DEFER = 512,  // IP_BIND_ADDRESS_NO_PORT
};

// What remains when the socket loses its port.
enum {
	PF_FD_FLAGS = 1023, // all of them
	PF_FD_LASTING =
		PF_FD_IPV6 | PF_FD_ADDRESS | PF_FD_COPIED | PF_FD_REUSE | PF_FD_RANGE | PF_FD_DEFER,
};

// An entry of the map is these 64 bits; all zero: nothing is known.
struct pf_fd {
	uint16_t port; // host byte order
	uint16_t stripe;
	uint16_t epoch;      // pf_fdmap_epoch() when the socket was made; 0: somebody else made it
	uint16_t flags : 10; // enum pf_fd_flags
	uint16_t pool : 4;
	uint16_t kind : 2; // enum pf_fd_kind
};

_Static_assert(sizeof(struct pf_fd) == sizeof(uint64_t), "an entry is one word");

// Uses `page` (see pf_segment_wiped_page; NULL: none) to notice that this is a new process.
void pf_fdmap_use(void *page);
#define PF_FDMAP_PAGE_BYTES 8

// The entries of the first fds. Others are found, and made, by these two; NULL: none is mapped.
#define PF_FDMAP_CHUNK 4096
extern pf_word pf_fdmap_first[PF_FDMAP_CHUNK];
pf_word *pf_fdmap_find_beyond(int fd);
pf_word *pf_fdmap_make_beyond(int fd);

static inline pf_word *pf_fdmap_find(int fd)
{
	return pf_rarely((unsigned)fd >= PF_FDMAP_CHUNK) ? pf_fdmap_find_beyond(fd)
							 : &pf_fdmap_first[fd];
}

static inline pf_word *pf_fdmap_make(int fd)
{
	return pf_rarely((unsigned)fd >= PF_FDMAP_CHUNK) ? pf_fdmap_make_beyond(fd)
							 : &pf_fdmap_first[fd];
}

static inline uint64_t pf_fdmap_word(struct pf_fd fd)
{
	uint64_t word;
	memcpy(&word, &fd, sizeof word);
	return word;
}

static inline struct pf_fd pf_fdmap_entry(uint64_t word)
{
	struct pf_fd fd;
	memcpy(&fd, &word, sizeof fd);
	return fd;
}

// Returns what is known of `fd`, and in ret_ticket what pf_fdmap_replace needs to see that it is
// still so.
static inline struct pf_fd pf_fdmap_get(int fd, uint64_t *ret_ticket)
{
	const pf_word *entry = pf_fdmap_find(fd);
	*ret_ticket = entry ? pf_word_get(entry) : 0;
	return pf_fdmap_entry(*ret_ticket);
}

// Returns true if an entry is a new TCP socket: nothing but its family and epoch is known of it.
static inline bool pf_fdmap_is_new_tcp(uint64_t word)
{
	const struct pf_fd known = {.port = UINT16_MAX,
		.stripe = UINT16_MAX,
		.flags = PF_FD_FLAGS & ~PF_FD_IPV6,
		.pool = 15,
		.kind = 3};
	const struct pf_fd tcp = {.kind = PF_FD_TCP};
	return (word & pf_fdmap_word(known)) == pf_fdmap_word(tcp);
}

// Returns true if something is known of `fd`: of a file, nothing is.
static inline bool pf_fdmap_knows(int fd)
{
	const pf_word *entry = pf_fdmap_find(fd);
	return entry && pf_word_get(entry);
}

// Writes `next` if the entry is what `ticket` says. Returns false, and changes nothing, if the fd
// changed hands meanwhile, or is past the end of the map.
static inline bool pf_fdmap_replace(int fd, uint64_t ticket, struct pf_fd next)
{
	pf_word *entry = pf_fdmap_make(fd);
	return entry && pf_word_replace(entry, ticket, pf_fdmap_word(next));
}

// Forgets `fd` and returns what was known of it.
static inline struct pf_fd pf_fdmap_forget(int fd)
{
	pf_word *entry = pf_fdmap_find(fd);
	return pf_fdmap_entry(entry ? pf_word_exchange(entry, 0) : 0);
}

// Writes `next` whatever was there, which is returned: for a socket that was just created.
static inline struct pf_fd pf_fdmap_start(int fd, struct pf_fd next)
{
	pf_word *entry = pf_fdmap_make(fd);
	return pf_fdmap_entry(entry ? pf_word_exchange(entry, pf_fdmap_word(next)) : 0);
}

// What tells this process from its parent, for the functions below.
extern struct pf_fdmap_self {
	_Atomic(void *) wiped; // a page that a fork empties, which begins with the process's pid
	pf_word epoch;
	pf_word vforked; // this process has called vfork: only then is a pid worth a system call
} pf_fdmap_self;

// The same where that page is not there, or was emptied.
uint16_t pf_fdmap_epoch_begin(void);

// Returns the epoch of this process, which is not 0 but once in 65,536 forks: a fork begins a new
// one, on both sides.
static inline uint16_t pf_fdmap_epoch(void)
{
	const pf_word *pid = pf_subscribe(&pf_fdmap_self.wiped);
	return pf_rarely(!pid || !pf_word_get(pid)) ? pf_fdmap_epoch_begin()
						    : (uint16_t)pf_word_get(&pf_fdmap_self.epoch);
}

// Returns true if another fd of this process has the same lease.
bool pf_fdmap_is_held(struct pf_fd lease);

// Returns how many sockets of this process have a lease of the pool, up to `limit`. Copies of one
// count as one.
uint32_t pf_fdmap_leases(uint8_t pool, uint32_t limit);

// Returns true if anything is known of the fds first..last.
bool pf_fdmap_has(unsigned first, unsigned last);

// Marks the leases of the fds first..last as PF_FD_CLOSING, or takes that mark away.
void pf_fdmap_mark_closing(unsigned first, unsigned last, bool closing);

// Forgets the fds first..last that have that mark, and calls `each` with what was known of each.
void pf_fdmap_forget_closing(unsigned first, unsigned last, void (*each)(struct pf_fd lease));

// Returns true if this process made the lease's socket after its last fork: then it alone can know
// that closing the fd ends the socket, unless the map is borrowed.
static inline bool pf_fdmap_is_own(struct pf_fd lease)
{
	return lease.epoch == pf_fdmap_epoch();
}

// Returns true if the pid is another than this memory's.
bool pf_fdmap_is_child(void);

// Returns true in a vfork child: this memory, this map, is another process's.
static inline bool pf_fdmap_is_borrowed(void)
{
	return pf_rarely(pf_word_get(&pf_fdmap_self.vforked)) && pf_fdmap_is_child();
}

// To be called before a vfork: from now on, a close may be a child's.
void pf_fdmap_vfork(void);

// Starts a new epoch: from now on, this process cannot know of the sockets it has. To be called
// before a fork, and after it for what other threads opened meanwhile.
void pf_fdmap_age(void);

#endif
