// SPDX-License-Identifier: MIT
// The fd map: what this process knows of its sockets, by fd.
//
// It is private and a memory aid: a socket that was closed, copied or received past the hooks
// leaves it wrong, and whatever is done on its word must be harmless then.
#ifndef PF_FDMAP_H
#define PF_FDMAP_H

#include <stdbool.h>
#include <stdint.h>

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
	PF_FD_LASTING =
		PF_FD_IPV6 | PF_FD_ADDRESS | PF_FD_COPIED | PF_FD_REUSE | PF_FD_RANGE | PF_FD_DEFER,
};

struct pf_fd {
	uint8_t kind;   // enum pf_fd_kind
	uint16_t flags; // enum pf_fd_flags
	uint8_t pool;
	uint16_t stripe;
	uint16_t port;  // host byte order
	uint16_t epoch; // pf_fdmap_epoch() when the socket was made; 0: somebody else made it
};

// Uses `page` (see pf_segment_wiped_page; NULL: none) to notice that this is a new process.
void pf_fdmap_use(void *page);
#define PF_FDMAP_PAGE_BYTES 64

// Returns what is known of `fd`, and in ret_ticket what pf_fdmap_replace needs to see that it is
// still so.
struct pf_fd pf_fdmap_get(int fd, uint64_t *ret_ticket);

// Returns true if something is known of `fd`: of a file, nothing is.
bool pf_fdmap_knows(int fd);

// Writes `next` if the entry is what `ticket` says. Returns false, and changes nothing, if the fd
// changed hands meanwhile, or is past the end of the map.
bool pf_fdmap_replace(int fd, uint64_t ticket, struct pf_fd next);

// Forgets `fd` and returns what was known of it.
struct pf_fd pf_fdmap_forget(int fd);

// Writes `next` whatever was there, which is returned: for a socket that was just created.
struct pf_fd pf_fdmap_start(int fd, struct pf_fd next);

// Returns the epoch of this process, which is not 0 but once in 65,536 forks: a fork begins a new
// one, on both sides.
uint16_t pf_fdmap_epoch(void);

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
bool pf_fdmap_is_own(struct pf_fd lease);

// Returns true in a vfork child: this memory, this map, is another process's.
bool pf_fdmap_is_borrowed(void);

// To be called before a vfork: from now on, a close may be a child's.
void pf_fdmap_vfork(void);

// Starts a new epoch: from now on, this process cannot know of the sockets it has. To be called
// before a fork, and after it for what other threads opened meanwhile.
void pf_fdmap_age(void);

#endif
