// SPDX-License-Identifier: MIT
// connect(2): an unbound socket leaves from a port of the pool.
#include "assign.h"
#include "calls.h"

int call_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_connect(fd, address, length), before);
}

int call_connect_alias(int fd, const struct sockaddr *address, socklen_t length)
{
	return call_connect(fd, address, length);
}
