// SPDX-License-Identifier: MIT
// The observer: what the kernel and the wire show, whatever the fence believes.
#ifndef WATCH_H
#define WATCH_H

#include <stdint.h>
#include <sys/types.h>

// What was seen, summed over the rounds.
struct seen {
	uint64_t sockets; // looked at in dumps
	uint64_t outside; // on a port that is neither the pool's nor a server's
	uint64_t shared;  // pairs of live ones that the fence should have kept apart
	uint32_t live;    // in the last dump: on the pool's ports, without TIME_WAIT
	uint32_t waiting; // in the last dump: those in TIME_WAIT
	// To be read when the wire's watch has ended.
	uint64_t packets; // SYNs and datagrams looked at on the wire
	uint64_t missed;  // packets that could not be looked at
	uint64_t strays;  // packets from a port that is not the pool's
};

extern struct seen seen;

// Sets the pool's bounds for what follows.
void watch_pool(unsigned first, unsigned last);

// Looks at every socket of this network namespace once.
void watch_sockets(void);

// Starts the program that prints what is on the wire, and a thread that looks at that. Returns its
// pid.
pid_t watch_wire_start(const char *program);

// Ends them, after what is on the wire by now.
void watch_wire_end(void);

#endif
