// SPDX-License-Identifier: MIT
// bind(2): port 0 becomes a port of the pool.
#include "assign.h"
#include "calls.h"

int call_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_bind(fd, address, length), before);
}
