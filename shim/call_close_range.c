// SPDX-License-Identifier: MIT
// close_range(2), closefrom(3): the leases of all that is closed go back.
#include "calls.h"
#include "lifetime.h"

#include <limits.h>

int call_close_range(unsigned first, unsigned last, int flags)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_close_range(first, last, flags), before);
}

void call_closefrom(int least)
{
	int before = errno;
	unsigned first = least < 0 ? 0 : (unsigned)least;
	if (pf_lifetime_close_range(first, UINT_MAX, 0) < 0)
		// Before Linux 5.9: one by one, as far as a process can have any.
		for (unsigned fd = first; fd < 1u << 20; fd++)
			pf_lifetime_close((int)fd);
	errno = before;
}
