// SPDX-License-Identifier: MIT
// A call of ours that waits is ended by a signal that has a handler, as the kernel's own waits are.
// A signal that came between two waits would be missed: so, signals are held meanwhile.
#ifndef PF_SIGNALS_H
#define PF_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

// Of the calling thread.
struct pf_signals {
	bool held;
	bool handled;  // a handler ran, in a wait or when they were let through
	uint64_t mask; // the program's, while they are held: the kernel's bits, signal 1 is bit 0
};

// Holds them, if that is not done yet.
void pf_signals_hold(struct pf_signals *signals);

// Lets those that came through to their handlers, and those to come, if they are held.
void pf_signals_let(struct pf_signals *signals);

// Waits so many milliseconds for one that has a handler, while they are held.
void pf_signals_wait(struct pf_signals *signals, long milliseconds);

#endif
