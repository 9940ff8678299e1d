// SPDX-License-Identifier: MIT
// Unpredictable numbers from the kernel, a buffer at a time.
#ifndef PF_RANDOM_H
#define PF_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

// Bytes that pf_random_use needs.
#define PF_RANDOM_BYTES 2048

// Keeps numbers in `page` from now on: zero-filled memory that the kernel empties again in a child
// after fork, so that parent and child never draw the same ones (see pf_segment_wiped_page).
// Without it every number is a getrandom of its own.
void pf_random_use(void *page);

// Returns 64 unpredictable bits (RFC 6056, section 3.3: an attacker off the path must not guess
// the port). Safe in threads, after fork, and in signal handlers; never fails.
uint64_t pf_random(void);

#endif
