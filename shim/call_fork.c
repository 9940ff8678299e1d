// SPDX-License-Identifier: MIT
// fork(2): from here on two processes hold every lease.
#include "calls.h"
#include "lifetime.h"

pid_t call_fork(void)
{
	int before = errno;
	return (pid_t)pf_call_return(pf_lifetime_fork(), before);
}
