// SPDX-License-Identifier: MIT
// Signals, held while a call looks whether it must wait any longer.
#include "signals.h"

#include "util.h"

#include <linux/time_types.h>
#include <signal.h>
#include <stddef.h>

static void mask_set(const uint64_t *mask, uint64_t *ret_mask)
{
	pf_sys(SYS_rt_sigprocmask, SIG_SETMASK, mask, ret_mask, sizeof *mask);
}

void pf_signals_hold(struct pf_signals *signals)
{
	const uint64_t all = UINT64_MAX;
	if (signals->held)
		return;
	mask_set(&all, &signals->mask);
	signals->held = true;
}

void pf_signals_let(struct pf_signals *signals)
{
	if (!signals->held)
		return;
	pf_signals_wait(signals, 0); // tells whether one that came has a handler
	signals->held = false;
	mask_set(&signals->mask, NULL);
}

void pf_signals_wait(struct pf_signals *signals, long milliseconds)
{
	struct __kernel_old_timespec turn = {0, milliseconds * 1000000};
	if (pf_sys(SYS_ppoll, NULL, 0, &turn, &signals->mask, sizeof signals->mask) == -EINTR)
		signals->handled = true;
}
