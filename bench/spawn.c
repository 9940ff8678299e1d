// SPDX-License-Identifier: MIT
// How long a program takes from its start to its end.
#include "driver.h"

#include <spawn.h>
#include <sys/wait.h>

static double spawn_once(char *program, char **envp)
{
	char *argv[] = {program, NULL};
	pid_t pid;
	int status;
	double start = nanoseconds();
	if (posix_spawn(&pid, program, NULL, NULL, argv, envp) != 0 ||
		waitpid(pid, &status, 0) != pid || status != 0)
		die(program);
	return nanoseconds() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// Returns the median of `count` times, which are sorted.
static double median(double *times, size_t count)
{
	qsort(times, count, sizeof *times, compare);
	return times[count / 2];
}

void spawn_both(int count, const char *preload, char *program, double *ret_bare, double *ret_with)
{
	char wrapped[300], ports[] = "PORTFENCE_PORTS=20000-20999", path[] = "PATH=/usr/bin:/bin";
	char directory[300] = "PORTFENCE_DIR=";
	strncat(directory, getenv("PORTFENCE_DIR") ? getenv("PORTFENCE_DIR") : "", 280);
	snprintf(wrapped, sizeof wrapped, "LD_PRELOAD=%s", preload);
	char *without[] = {path, ports, directory, NULL};
	char *with[] = {path, ports, directory, wrapped, NULL};
	double *bare = calloc((size_t)count, sizeof *bare);
	double *fenced = calloc((size_t)count, sizeof *fenced);
	if (count < 1 || !bare || !fenced)
		die("spawn");
	for (int i = 0; i < count; i++) {
		bare[i] = spawn_once(program, without);
		fenced[i] = spawn_once(program, with);
	}
	*ret_bare = median(bare, (size_t)count);
	*ret_with = median(fenced, (size_t)count);
	free(bare);
	free(fenced);
}
