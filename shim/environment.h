// SPDX-License-Identifier: MIT
// What the environment says of the fence, and how a program gets it that is started without.
#ifndef PF_ENVIRONMENT_H
#define PF_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

// The variables, each PORTFENCE_ and its name; see portfence(1).
enum pf_setting {
	PF_SETTING_PORTS,
	PF_SETTING_POLICY,
	PF_SETTING_POOL,
	PF_SETTING_DIR,
	PF_SETTING_LOG,
	PF_SETTING_DISABLE,
	PF_SETTING_DEEPBIND,
	PF_SETTING_MARK, // of `portfence run --strict`, see real.c
	PF_SETTINGS,
};

// Copies the variables, and where this library is. Returns false if they are too long for us.
bool pf_environment_read(void);

// Returns the value of a variable as it was then, or NULL.
const char *pf_environment_get(enum pf_setting setting);

// Returns true if a variable was "1" then.
bool pf_environment_is_on(enum pf_setting setting);

// Returns this process's own environment.
char *const *pf_environment_own(void);

// A program to be started: the call that does it, and its arguments.
struct pf_execution {
	int (*run)(const struct pf_execution *execution);
	int fd;           // fexecve, execveat
	int flags;        // execveat
	const char *file; // of which kind, `run` knows
	char *const *argv;
	char *const *envp;
	const void *spawn; // call_spawn.c's own
};

// Runs the execution with an environment that has the fence, unless that says PORTFENCE_DISABLE=1:
// what is missing is added, what is there stays. Returns what `run` returns, or -ENOMEM.
int pf_environment_execute(struct pf_execution *execution);

// Puts what is missing back into this process's own environment, by setenv(3): for calls that pass
// it on without asking.
void pf_environment_restore(void);

#endif
