// SPDX-License-Identifier: MIT
// Where this process looks in a pool for its next port to a destination.
#include "window.h"

#include "random.h"

_Static_assert(PF_WINDOWS == 1 << 6, "six bits of the hash choose a window");

_Atomic(void *) pf_windows PF_TOGETHER;

void pf_window_use(void *page)
{
	pf_publish(&pf_windows, page);
}

uint32_t pf_window_draw(pf_word *window, uint32_t ports)
{
	const uint64_t end = 1ull << 42; // behind seven looks
	uint64_t random = pf_random();
	uint32_t index = (uint32_t)((random >> 42) * ports >> 22);
	if (!window)
		return index;
	struct pf_windows *windows = pf_subscribe(&pf_windows);
	if (!pf_word_get(&windows->key))
		pf_word_put(&windows->key, pf_random() | 1);
	// The window goes on, unless there is none, or it is another pool's, or reaches past the
	// pool's end.
	uint64_t number = pf_word_get(window) & PF_WINDOW_NUMBER;
	uint64_t first = (number - 1) * PF_WINDOW_PORTS;
	if (number && first + PF_WINDOW_PORTS <= ports)
		index = (uint32_t)first + index % PF_WINDOW_PORTS;
	pf_word_put(window,
		(index / PF_WINDOW_PORTS + 1) | (end | (random & (end - 1))) << PF_WINDOW_STOCK);
	return index;
}
