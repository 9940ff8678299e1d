// SPDX-License-Identifier: MIT
// dup(2), dup2(2), dup3(2): a copy shares the lease, which goes with the last of them.
#include "calls.h"
#include "lifetime.h"

#include <limits.h>

int call_dup(int fd)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_dup(fd), before);
}

int call_dup2(int fd, int copy)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_dup_to(fd, copy, -1), before);
}

int call_dup3(int fd, int copy, int flags)
{
	int before = errno;
	// Flags that the kernel refuses must not look like dup2.
	return (int)pf_call_return(
		pf_lifetime_dup_to(fd, copy, flags < 0 ? INT_MAX : flags), before);
}
