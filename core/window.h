// SPDX-License-Identifier: MIT
// Where this process looks in a pool for its next port to a destination.
//
// Ports that lie together share lines of the caches, in our bitmaps and in the kernel's tables of
// bound ports: one at random in 10,000 makes a connect 2 % slower than one near the last. So a
// process stays in a window of 64 ports, in random order, until that is crowded, and goes on in
// another one, anywhere in the pool. Each destination has a window of its own, as far as there are
// windows: who sees the ports of one learns nothing of another's (RFC 6056, sections 3.3.4 and
// 3.3.5). Which have one in common, too, cannot be told from outside.
#ifndef PF_WINDOW_H
#define PF_WINDOW_H

#include "atomics.h"
#include "util.h"

#include <stdint.h>

#define PF_WINDOWS 64
#define PF_WINDOW_PORTS 64

// In a page that a fork empties, so that parent and child look in different places.
struct pf_windows {
	pf_word key; // that destinations are hashed with; 0: not drawn yet
	// Each: number + 1 in 16 bits, 0 for none; above them random bits, six for each look, and a
	// one that ends them.
	pf_word window[PF_WINDOWS];
};
extern _Atomic(void *) pf_windows;

#define PF_WINDOW_NUMBER 0xffffu
#define PF_WINDOW_STOCK 16

// Keeps the windows in `page` from now on (see pf_segment_wiped_page). Without it there are none:
// every look is anywhere.
void pf_window_use(void *page);
#define PF_WINDOW_BYTES sizeof(struct pf_windows)

// The same as pf_window_look, where there is no window or no random bits for it. It may be NULL.
uint32_t pf_window_draw(pf_word *window, uint32_t ports);

// Returns an index below `ports` to look from, for a destination with this hash, and in ret_window
// what to leave if that place is crowded.
static inline uint32_t pf_window_look(uint64_t destination, uint32_t ports, pf_word **ret_window)
{
	struct pf_windows *windows = pf_subscribe(&pf_windows);
	*ret_window = NULL;
	if (pf_rarely(!windows))
		return pf_window_draw(NULL, ports);
	uint64_t at = destination * pf_word_get(&windows->key) >> 58;
	pf_word *window = *ret_window = &windows->window[at];
	uint64_t state = pf_word_get(window), number = state & PF_WINDOW_NUMBER;
	uint64_t stock = state >> PF_WINDOW_STOCK;
	uint32_t index =
		(uint32_t)(number * PF_WINDOW_PORTS + stock % PF_WINDOW_PORTS) - PF_WINDOW_PORTS;
	if (pf_rarely(index >= ports || stock < PF_WINDOW_PORTS))
		return pf_window_draw(window, ports);
	pf_word_put(window, number | stock / PF_WINDOW_PORTS << PF_WINDOW_STOCK);
	return index;
}

// Looks elsewhere the next time.
static inline void pf_window_leave(pf_word *window)
{
	if (window)
		pf_word_put(window, 0);
}

#endif
