// SPDX-License-Identifier: MIT
// What the driver's parts share.
#ifndef DRIVER_H
#define DRIVER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What a command did, and how long that took.
struct tally {
	long done, refused;
	double ns;
};

// Returns nanoseconds since some moment.
double nanoseconds(void);

// Prints the text and the errno, and ends the program.
_Noreturn void die(const char *what);

// Returns a random number below `count`, fast.
uint32_t below(uint32_t count);

// Runs `program` `count` times with LD_PRELOAD as it is in `preload` and as often without, in
// turns. Writes the median nanoseconds from start to end.
void spawn_both(int count, const char *preload, char *program, double *ret_bare, double *ret_with);

// Takes a port of a pool of `ports`, `percent` of which are used, and gives it back, `count` times
// in each of `threads` threads. Returns what all of them did, and the processors' time for it.
struct tally pool_churn(unsigned ports, double percent, int threads, long count);

#endif
