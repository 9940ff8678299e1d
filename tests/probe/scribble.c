// SPDX-License-Identifier: MIT
// Writes over FILE, which others have mapped, until it is killed: scribble FILE KIND
//	random    a random word, or one of the awkward ones, anywhere
//	header    the same, in the header and the pool table only
//	ones      everything behind the table all ones
//	zeroes    all zeroes
//	flip      the one and the other in turn
//	times     what looks like a time: now, soon, and the beginning
// Prints "ready" after the first round.
#define _GNU_SOURCE 1
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_WORDS ((size_t)(128 + 448) / 8)

static uint64_t *word;
static size_t words;

// Returns milliseconds since boot, as the segment has them.
static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static uint64_t awkward(void)
{
	switch (random() % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return 1;
	case 3:
		return now();
	default:
		return (uint64_t)random() << 33 ^ (uint64_t)random();
	}
}

// Fills what is behind the table.
static void fill(int byte)
{
	memset(word + HEAD_WORDS, byte, (words - HEAD_WORDS) * sizeof(*word));
}

static void some(size_t limit, uint64_t (*value)(void))
{
	for (int i = 0; i < 1000; i++)
		word[(size_t)random() % limit] = value();
}

static uint64_t around_now(void)
{
	return now() + (uint64_t)(random() % 400) - 200;
}

// Scribbles once. Returns false if there is no such kind.
static int round_of(const char *kind)
{
	static int flips;

	if (strcmp(kind, "random") == 0)
		some(words, awkward);
	else if (strcmp(kind, "header") == 0)
		some(HEAD_WORDS, awkward);
	else if (strcmp(kind, "ones") == 0)
		fill(255);
	else if (strcmp(kind, "zeroes") == 0)
		fill(0);
	else if (strcmp(kind, "flip") == 0)
		fill(flips++ & 1 ? 255 : 0);
	else if (strcmp(kind, "times") == 0)
		some(words, around_now);
	else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct stat status;
	int fd = open(argv[argc > 1], O_RDWR | O_CLOEXEC);

	if (argc < 3 || fd < 0 || fstat(fd, &status) < 0)
		errx(2, "usage: scribble FILE random|header|ones|zeroes|flip|times");
	words = (size_t)status.st_size / sizeof(*word);
	word = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (word == MAP_FAILED)
		err(1, "mmap");
	srandom((unsigned)now());
	if (!round_of(argv[2]))
		errx(2, "no such kind: %s", argv[2]);
	puts("ready");
	fflush(stdout);
	for (;;)
		round_of(argv[2]);
}
