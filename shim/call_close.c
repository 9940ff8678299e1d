// SPDX-License-Identifier: MIT
// close(2): the socket's lease goes back.
#include "calls.h"
#include "lifetime.h"

int call_close(int fd)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_close(fd), before);
}

int call_close_alias(int fd)
{
	return call_close(fd);
}
