// SPDX-License-Identifier: MIT
// One measurement: how long a program takes from its start to its end, in nanoseconds.
//
//	spawn COUNT PROGRAM [ARGUMENT]...
//
// Runs the program COUNT times without the shim and COUNT times with it (LD_PRELOAD is what
// $BENCH_PRELOAD says), in turns, so that the machine's moods hit both. Prints both medians.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static double nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double spawn_once(char **argv, char **envp)
{
	pid_t pid;
	int status;
	double start = nanoseconds();
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, envp) != 0 ||
		waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "spawn: %s failed\n", argv[0]);
		exit(1);
	}
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

int main(int argc, char **argv)
{
	const char *preload = getenv("BENCH_PRELOAD");
	if (argc < 3 || !preload)
		return fprintf(stderr, "usage: BENCH_PRELOAD=LIB spawn COUNT PROGRAM...\n"), 2;
	size_t count = (size_t)atol(argv[1]);
	double *bare = calloc(count, sizeof *bare), *fenced = calloc(count, sizeof *fenced);
	char wrapped[4096], ports[] = "PORTFENCE_PORTS=20000-20999", path[] = "PATH=/usr/bin:/bin";
	snprintf(wrapped, sizeof wrapped, "LD_PRELOAD=%s", preload);
	char *without[] = {path, ports, NULL}, *with[] = {path, ports, wrapped, NULL};

	for (size_t i = 0; i < count; i++) {
		bare[i] = spawn_once(argv + 2, without);
		fenced[i] = spawn_once(argv + 2, with);
	}
	printf("%.0f %.0f\n", median(bare, count), median(fenced, count));
	return 0;
}
