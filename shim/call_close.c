// SPDX-License-Identifier: MIT
// close(2): the socket's lease goes back.
#include "assign.h"
#include "calls.h"

int call_close(int fd)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_close(fd), before);
}

int call_close_alias(int fd)
{
	return call_close(fd);
}
