// SPDX-License-Identifier: MIT
// system(3), popen(3): the shell gets this process's environment, without passing an exec of ours.
#include "calls.h"
#include "environment.h"
#include "real.h"

int call_system(const char *command)
{
	int before = errno;
	pf_environment_restore();
	errno = before;
	return pf_real_system(command);
}

FILE *call_popen(const char *command, const char *mode)
{
	int before = errno;
	pf_environment_restore();
	errno = before;
	return pf_real_popen(command, mode);
}
