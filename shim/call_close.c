// SPDX-License-Identifier: MIT
// close(2): the socket's lease goes back.
#include "calls.h"
#include "fdmap.h"
#include "lifetime.h"
#include "real.h"

int call_close(int fd)
{
	// Nearly every close is a file's, which is nothing to us, not even its errno.
	int (*next)(int) = pf_fdmap_knows(fd) ? NULL : pf_real_close_itself();
	if (next)
		return next(fd);
	int before = errno;
	return (int)pf_call_return(pf_lifetime_close(fd), before);
}

int call_close_alias(int fd)
{
	return call_close(fd);
}
