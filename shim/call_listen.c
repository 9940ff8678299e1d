// SPDX-License-Identifier: MIT
// listen(2): a socket that was never bound listens on a port of the pool.
#include "assign.h"
#include "calls.h"

int call_listen(int fd, int backlog)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_listen(fd, backlog), before);
}
