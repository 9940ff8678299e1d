// SPDX-License-Identifier: MIT
// socket(2): the new socket learns its pool's range.
#include "assign.h"
#include "calls.h"

int call_socket(int domain, int type, int protocol)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_socket(domain, type, protocol), before);
}
