// SPDX-License-Identifier: MIT
// chroot(2), and prctl(2) before a sandbox: what the fence needs is fetched while that is possible.
#include "calls.h"
#include "fence.h"
#include "real.h"

#include <stdarg.h>
#include <sys/prctl.h>

int call_chroot(const char *path)
{
	int before = errno;
	pf_fence_prepare();
	return (int)pf_call_return(pf_real_chroot(path), before);
}

// A seccomp filter needs the first of these from everybody but root, and libseccomp always asks.
static bool is_sandbox(int option)
{
	return option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP;
}

int call_prctl(int option, ...)
{
	int before = errno;
	va_list arguments;
	unsigned long argument[4];
	va_start(arguments, option);
	for (int i = 0; i < 4; i++)
		argument[i] = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (is_sandbox(option))
		pf_fence_prepare();
	return (int)pf_call_return(pf_real_prctl(option, argument), before);
}

__typeof__(call_prctl) call_prctl_time64 __attribute__((alias("prctl")));
