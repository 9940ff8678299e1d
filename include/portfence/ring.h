// SPDX-License-Identifier: MIT
// The ring: which leases were taken last, by whom, and when.
//
// It is for people who ask. Nothing is decided on its word, and whoever may write to the segment
// may write lies into it.
#ifndef PORTFENCE_RING_H
#define PORTFENCE_RING_H

#include <portfence/endpoint.h>
#include <portfence/layout.h>

#include <stdbool.h>
#include <stdint.h>

// How a lease was taken.
enum pf_how {
	PF_HOW_LATE = 1, // connect, by the late claim
	PF_HOW_BIND,     // connect or a send, by the bind claim
	PF_HOW_ANY,      // bind to port 0
	PF_HOW_PORT,     // bind to this port
	PF_HOW_LISTEN,   // listen without a bind
	PF_HOW_END,      // none of these, and what is beyond it
};

#define PF_COMMAND 16 // a command's name with its NUL: TASK_COMM_LEN (prctl(2), PR_SET_NAME)

struct pf_lease {
	uint64_t time_ns; // since 1970: when the call that took it began
	uint32_t number;  // of the entry, modulo 2^32
	uint32_t pid;     // as its own PID namespace has it
	uint32_t uid;     // effective, when the process took its first lease
	uint16_t port;    // host byte order, not 0
	uint8_t protocol; // IPPROTO_TCP or IPPROTO_UDP
	uint8_t how;      // enum pf_how
	uint8_t pool;
	uint8_t reserved;         // 0
	struct pf_endpoint peer;  // port 0: none was named
	char command[PF_COMMAND]; // any bytes and a NUL
};

// A ring as one process sees it.
struct pf_ring {
	struct pf_layout_ring *shared;
	uint32_t entries; // a power of two; 0: there is no ring
};

// The same as an entry has it: all but its seal.
struct pf_ring_words {
	uint64_t time_ns;
	uint64_t who;  // pid | uid << 32
	uint64_t what; // see pf_ring_what
	uint64_t peer[2];
	uint64_t command[2];
};

static inline uint64_t pf_ring_what(
	uint16_t port, uint16_t peer_port, uint8_t protocol, enum pf_how how, uint8_t pool)
{
	return port | (uint64_t)peer_port << 16 | (uint64_t)protocol << 32 | (uint64_t)how << 40 |
		(uint64_t)pool << 48;
}

// Adds a lease in place of the oldest. Takes no lock and makes no system call.
void pf_ring_write(struct pf_ring *ring, const struct pf_ring_words *words);

// Adds a lease, whose number does not matter, likewise.
void pf_ring_add(struct pf_ring *ring, const struct pf_lease *lease);

// Reads the entry at `place` < ring->entries. Returns false if there is none, or no whole one.
bool pf_ring_read(const struct pf_ring *ring, uint32_t place, struct pf_lease *ret_lease);

#endif
