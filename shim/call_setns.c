// SPDX-License-Identifier: MIT
// setns(2), unshare(2): another network namespace has another segment.
#include "calls.h"
#include "lifetime.h"

int call_setns(int fd, int type)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_setns(fd, type), before);
}

int call_unshare(int flags)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_unshare(flags), before);
}
