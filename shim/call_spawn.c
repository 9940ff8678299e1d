// SPDX-License-Identifier: MIT
// posix_spawn(3), posix_spawnp(3): the child keeps the fence. Both return an error number and leave
// errno alone.
#include "calls.h"
#include "environment.h"
#include "real.h"

// What posix_spawn has beyond an exec. The pid is written by the real call.
struct spawn {
	pid_t *pid;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attributes;
};

static int run_spawn(const struct pf_execution *execution)
{
	const struct spawn *spawn = execution->spawn;
	return -pf_real_posix_spawn(spawn->pid, execution->file, spawn->actions, spawn->attributes,
		execution->argv, execution->envp);
}

static int run_spawnp(const struct pf_execution *execution)
{
	const struct spawn *spawn = execution->spawn;
	return -pf_real_posix_spawnp(spawn->pid, execution->file, spawn->actions, spawn->attributes,
		execution->argv, execution->envp);
}

int call_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	struct spawn spawn = {pid, actions, attributes};
	struct pf_execution execution = {
		run_spawn, .file = path, .argv = argv, .envp = envp, .spawn = &spawn};
	return -pf_environment_execute(&execution);
}

int call_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	struct spawn spawn = {pid, actions, attributes};
	struct pf_execution execution = {
		run_spawnp, .file = file, .argv = argv, .envp = envp, .spawn = &spawn};
	return -pf_environment_execute(&execution);
}
