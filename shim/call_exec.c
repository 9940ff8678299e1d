// SPDX-License-Identifier: MIT
// execve(2), exec(3), fexecve(3), execveat(2): the next program keeps the fence.
#include "calls.h"
#include "environment.h"
#include "real.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

static int run_execve(const struct pf_execution *execution)
{
	return pf_real_execve(execution->file, execution->argv, execution->envp);
}

static int run_execvpe(const struct pf_execution *execution)
{
	return pf_real_execvpe(execution->file, execution->argv, execution->envp);
}

static int run_fexecve(const struct pf_execution *execution)
{
	return pf_real_fexecve(execution->fd, execution->argv, execution->envp);
}

static int run_execveat(const struct pf_execution *execution)
{
	return pf_real_execveat(
		execution->fd, execution->file, execution->argv, execution->envp, execution->flags);
}

// Returns -1 with errno set, or not at all.
static int execute(struct pf_execution execution)
{
	int before = errno;
	return (int)pf_call_return(pf_environment_execute(&execution), before);
}

int call_execve(const char *path, char *const *argv, char *const *envp)
{
	return execute((struct pf_execution){run_execve, .file = path, .argv = argv, .envp = envp});
}

int call_execv(const char *path, char *const *argv)
{
	return call_execve(path, argv, pf_environment_own());
}

int call_execvpe(const char *file, char *const *argv, char *const *envp)
{
	return execute(
		(struct pf_execution){run_execvpe, .file = file, .argv = argv, .envp = envp});
}

int call_execvp(const char *file, char *const *argv)
{
	return call_execvpe(file, argv, pf_environment_own());
}

int call_fexecve(int fd, char *const *argv, char *const *envp)
{
	return execute((struct pf_execution){run_fexecve, .fd = fd, .argv = argv, .envp = envp});
}

int call_execveat(int dir, const char *path, char *const *argv, char *const *envp, int flags)
{
	return execute((struct pf_execution){
		run_execveat, .fd = dir, .flags = flags, .file = path, .argv = argv, .envp = envp});
}

// Puts the arguments of execl and its kin into an array on the stack, as libc's own have it.
#define ARGUMENTS(first)                                                                           \
	va_list arguments;                                                                         \
	size_t count = 1;                                                                          \
	va_start(arguments, first);                                                                \
	for (const char *next = (first); next; count++)                                            \
		next = va_arg(arguments, const char *);                                            \
	va_end(arguments);                                                                         \
	char *argv[count];                                                                         \
	argv[0] = (char *)(uintptr_t)(first);                                                      \
	va_start(arguments, first);                                                                \
	for (size_t i = 1; i < count; i++)                                                         \
	argv[i] = va_arg(arguments, char *)

int call_execl(const char *path, const char *first, ...)
{
	ARGUMENTS(first);
	va_end(arguments);
	return call_execv(path, argv);
}

int call_execlp(const char *file, const char *first, ...)
{
	ARGUMENTS(first);
	va_end(arguments);
	return call_execvp(file, argv);
}

int call_execle(const char *path, const char *first, ...)
{
	ARGUMENTS(first);
	char *const *envp = va_arg(arguments, char *const *);
	va_end(arguments);
	return call_execve(path, argv, envp);
}
