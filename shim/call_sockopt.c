// SPDX-License-Identifier: MIT
// setsockopt(2), getsockopt(2): the program sees the options that it set, not the fence's.
#include "calls.h"
#include "option.h"

int call_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	int before = errno;
	return (int)pf_call_return(pf_option_set(fd, level, name, value, length), before);
}

int call_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	int before = errno;
	return (int)pf_call_return(pf_option_get(fd, level, name, value, length), before);
}

__typeof__(call_setsockopt) call_setsockopt64 __attribute__((alias("setsockopt")));
__typeof__(call_getsockopt) call_getsockopt64 __attribute__((alias("getsockopt")));
