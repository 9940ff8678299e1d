// SPDX-License-Identifier: MIT
// fcntl(2): F_DUPFD and F_DUPFD_CLOEXEC copy an fd, and its lease with it; the rest passes.
#include "calls.h"
#include "lifetime.h"
#include "real.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>

static bool is_copy(int command)
{
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

static int copy(int fd, int command, long least)
{
	int before = errno;
	return (int)pf_call_return(pf_lifetime_dup_from(fd, command, least), before);
}

int call_fcntl(int fd, int command, ...)
{
	va_list arguments;
	va_start(arguments, command);
	long argument = va_arg(arguments, long);
	va_end(arguments);
	return is_copy(command) ? copy(fd, command, argument)
				: pf_real_fcntl(fd, command, argument);
}

int call_fcntl64(int fd, int command, ...)
{
	va_list arguments;
	va_start(arguments, command);
	long argument = va_arg(arguments, long);
	va_end(arguments);
	return is_copy(command) ? copy(fd, command, argument)
				: pf_real_fcntl64(fd, command, argument);
}

__typeof__(call_fcntl) call_fcntl_time64 __attribute__((alias("fcntl64")));
