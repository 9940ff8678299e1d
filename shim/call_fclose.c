// SPDX-License-Identifier: MIT
// fclose(3): closes inside libc, past close.
#include "assign.h"
#include "calls.h"

int call_fclose(FILE *stream)
{
	int before = errno;
	return (int)pf_call_return(pf_assign_fclose(stream), before);
}
