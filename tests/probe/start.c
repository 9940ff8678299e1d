// SPDX-License-Identifier: MIT
// Starts a program the given way, with the given environment, and returns what it returns.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIG 3000

static char *nothing[] = {NULL};
static char *rival[] = {"LD_PRELOAD=libm.so.6 libdl.so.2", "FOO=1", NULL};
static char *disabled[] = {"PORTFENCE_DISABLE=1", NULL};
static char *big[BIG + 1];
static char *const broken = (char *)8; // no address

static const char *way;
static char **arguments, **environment;

static void finish(pid_t pid)
{
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		err(2, "%s", way);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static void spawn(__typeof__(posix_spawn) *call)
{
	pid_t pid = -1;
	int error;

	errno = 0;
	error = call(&pid, arguments[0], NULL, NULL, arguments, environment);
	if (error == 0 && errno != 0)
		errx(2, "%s changed errno", way);
	if (error != 0)
		printf("%s\n", strerrorname_np(error)), exit(1);
	finish(pid);
}

static void shell(void)
{
	static char command[4096], line[4096]; // not on a small stack
	FILE *output;

	snprintf(command, sizeof(command), "%s %s %s", arguments[0], arguments[1], arguments[2]);
	if (strcmp(way, "system") == 0)
		exit(WEXITSTATUS(system(command)));
	output = popen(command, "r");
	if (!output)
		err(2, "popen");
	while (fgets(line, sizeof(line), output))
		fputs(line, stdout);
	exit(WEXITSTATUS(pclose(output)));
}

static void *start(void *arg)
{
	char **a = arguments;

	(void)arg;
	if (strcmp(way, "vfork") == 0) {
		pid_t pid = vfork();

		if (pid == 0) {
			execve(a[0], a, environment);
			_exit(127);
		}
		finish(pid);
	}
	if (strcmp(way, "posix_spawn") == 0)
		spawn(posix_spawn);
	if (strcmp(way, "posix_spawnp") == 0)
		spawn(posix_spawnp);
	if (strcmp(way, "system") == 0 || strcmp(way, "popen") == 0)
		shell();
	if (strcmp(way, "execve") == 0)
		execve(a[0], a, environment);
	if (strcmp(way, "execv") == 0)
		execv(a[0], a);
	if (strcmp(way, "execvp") == 0)
		execvp(a[0], a);
	if (strcmp(way, "execvpe") == 0)
		execvpe(a[0], a, environment);
	if (strcmp(way, "execl") == 0)
		execl(a[0], a[0], a[1], a[2], (char *)NULL);
	if (strcmp(way, "execlp") == 0)
		execlp(a[0], a[0], a[1], a[2], (char *)NULL);
	if (strcmp(way, "execle") == 0)
		execle(a[0], a[0], a[1], a[2], (char *)NULL, environment);
	if (strcmp(way, "fexecve") == 0)
		fexecve(open(a[0], O_RDONLY | O_CLOEXEC), a, environment);
	if (strcmp(way, "execveat") == 0)
		execveat(AT_FDCWD, a[0], a, environment, 0);
	puts(strerrorname_np(errno));
	exit(1);
}

static char **environment_named(const char *name)
{
	for (int i = 0; i < BIG; i++)
		if (asprintf(&big[i], "FOO%d=%d", i, i) < 0)
			err(2, "asprintf");
	if (strcmp(name, "empty") == 0)
		return nothing;
	if (strcmp(name, "rival") == 0)
		return rival;
	if (strcmp(name, "disabled") == 0)
		return disabled;
	if (strcmp(name, "big") == 0)
		return big;
	if (strcmp(name, "null") == 0)
		return NULL;
	if (strcmp(name, "broken") == 0)
		return (char **)(void *)broken;
	return environ;
}

int main(int argc, char **argv)
{
	pthread_attr_t small;
	pthread_t thread;

	if (argc < 4)
		errx(2, "usage: start WAY own|empty|rival|disabled|big|null|broken PROGRAM...");
	way = argv[1];
	arguments = argv + 3;
	environment = environment_named(argv[2]);
	// These have no parameter for it.
	if (strcmp(argv[2], "own") != 0)
		environ = environment;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, (size_t)PTHREAD_STACK_MIN);
	if (pthread_create(&thread, strncmp(way, "exec", 4) ? NULL : &small, start, NULL) != 0)
		errx(2, "pthread_create");
	pthread_join(thread, NULL);
}
