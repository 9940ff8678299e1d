// SPDX-License-Identifier: MIT
// fork(2): from here on two processes hold every lease.
#include "assign.h"
#include "calls.h"

pid_t call_fork(void)
{
	int before = errno;
	return (pid_t)pf_call_return(pf_assign_fork(), before);
}
