// SPDX-License-Identifier: MIT
// The reap: ports that no socket uses any more go back to their pools.
#ifndef PORTFENCE_REAP_H
#define PORTFENCE_REAP_H

#include <portfence/segment.h>

// The shim reaps at most this often, per segment, and rests nine times as long as the last reap
// took, but not longer than the third: so it takes a tenth of the time; more if one takes more than
// 111 ms, and half at most.
#define PF_REAP_INTERVAL_MS 100
#define PF_REAP_REST 9
#define PF_REAP_REST_MS 1000

// If the last reap has not ended, it was killed, or is given up for that, after this time, or twice
// what the one before took.
#define PF_REAP_OVERDUE_MS 400

// And waits at most this long for another's: a dump of 50,000 sockets takes half of it.
#define PF_REAP_PATIENCE_MS 40

// Gives back every used port that the kernel shows in no socket, or in TIME_WAIT only.
// Unprivileged. Returns 0 with the count in ret_reaped (summed over stripes), or -errno (no
// netlink, no memory); a protocol that the kernel does not show keeps its ports.
int pf_reap(struct pf_segment *segment, uint32_t *ret_reaped);

// The same, unless the last one began a short time before `now`, which is pf_now_ms() (see above);
// if somebody is at it, waits for that. Returns 0 if there was a reap, -EAGAIN if not, or -errno.
int pf_reap_sometimes(struct pf_segment *segment, uint64_t now);

// Marks every port that the kernel shows as used: for a new segment. Returns 0 or -errno.
int pf_reap_learn(struct pf_segment *segment);

#endif
