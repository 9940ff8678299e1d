// SPDX-License-Identifier: MIT
// Unpredictable numbers from the kernel, a buffer at a time.
//
// Every number is taken out of the buffer by an exchange with zero, so none is used twice, not even
// by two threads that refill at once. A zero means "empty": not filled yet, drawn already, or wiped
// because this is a new process.
#include "random.h"

#include "atomics.h"
#include "util.h"

#define NUMBERS 128

struct pf_random {
	pf_word next;
	pf_word number[NUMBERS];
};

_Static_assert(sizeof(struct pf_random) <= PF_RANDOM_BYTES, "the buffer fits its page");

static _Atomic(void *) buffer PF_TOGETHER;

void pf_random_use(void *page)
{
	pf_publish(&buffer, page);
}

// Returns a number where the kernel gives none (a sandbox without getrandom, Linux before 3.17):
// distinct, but guessable.
static uint64_t number_without_kernel(void)
{
	static pf_word count;
	uint64_t seed = pf_word_add(&count, 1) << 32 ^ (uint64_t)(uintptr_t)&seed;
	return pf_mix(pf_mix(seed, pf_now_ms()), (uint64_t)getpid());
}

// Returns how many of `count` numbers the kernel filled in.
static unsigned numbers_from_kernel(uint64_t *numbers, unsigned count)
{
	const unsigned nonblock = 1; // GRND_NONBLOCK
	long got = pf_sys(SYS_getrandom, numbers, count * sizeof *numbers, nonblock);
	return got < 0 ? 0 : (unsigned)got / (unsigned)sizeof *numbers;
}

static uint64_t refill(struct pf_random *random)
{
	uint64_t fresh[NUMBERS];
	unsigned count = numbers_from_kernel(fresh, random ? NUMBERS : 1);
	if (count == 0)
		return number_without_kernel();
	for (unsigned i = 1; i < count; i++)
		pf_word_put(&random->number[i], fresh[i]);
	if (random)
		pf_word_put(&random->next, 1);
	return fresh[0];
}

uint64_t pf_random(void)
{
	struct pf_random *random = pf_subscribe(&buffer);
	if (!random)
		return refill(NULL);
	// Two threads may draw from one place: the second finds it empty.
	uint64_t next = pf_word_get(&random->next);
	pf_word_put(&random->next, next + 1);
	uint64_t number = next < NUMBERS ? pf_word_exchange(&random->number[next], 0) : 0;
	return number ? number : refill(random);
}
