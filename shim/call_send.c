// SPDX-License-Identifier: MIT
// sendto(2), sendmsg(2), sendmmsg(2): an unbound socket sends from a port of the pool.
#include "assign.h"
#include "calls.h"

ssize_t call_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length)
{
	int before = errno;
	return pf_call_return(pf_assign_sendto(fd, data, size, flags, address, length), before);
}

ssize_t call_sendmsg(int fd, const struct msghdr *message, int flags)
{
	int before = errno;
	return pf_call_return(pf_assign_sendmsg(fd, message, flags), before);
}

int call_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_sendmmsg(fd, messages, count, flags), before);
}

__typeof__(call_sendmsg) call_sendmsg64 __attribute__((alias("sendmsg")));
__typeof__(call_sendmmsg) call_sendmmsg64 __attribute__((alias("sendmmsg")));
