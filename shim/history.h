// SPDX-License-Identifier: MIT
// What this process writes into the segment's ring: the leases that it takes.
#ifndef PF_HISTORY_H
#define PF_HISTORY_H

#include "fdmap.h"

#include <portfence/segment.h>

// Learns the name of this program, as /proc has it. To be called before the first lease; a process
// that was forked keeps its parent's.
void pf_history_start(void);

// Learns the rest before the first lease does, which then makes no system call.
void pf_history_prepare(void);

// Uses `page` (see pf_segment_wiped_page) to notice that this is a new process.
void pf_history_use(void *page);
#define PF_HISTORY_PAGE_BYTES 8

// Writes that this process took `lease`, for `peer` (port 0: for none), by a call that began at
// `time_ns` (see pf_time_ns). Makes no system call but in a process's first.
void pf_history_add(struct pf_segment *segment, struct pf_fd lease, enum pf_how how,
	const struct pf_endpoint *peer, uint64_t time_ns);

#endif
