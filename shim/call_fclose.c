// SPDX-License-Identifier: MIT
// fclose(3): closes inside libc, past close.
#include "calls.h"
#include "lifetime.h"

int call_fclose(FILE *stream)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_fclose(stream), before);
}
