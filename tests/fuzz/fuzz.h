// SPDX-License-Identifier: MIT
// What the harnesses share: one file is one libFuzzer program
// (https://llvm.org/docs/LibFuzzer.html).
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

// Ends the run as a finding unless `condition` holds. It has no side effects.
#define require(condition)                                                                         \
	((condition) ? (void)0                                                                     \
		     : (fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__,   \
				#condition),                                                       \
			       abort()))

// Tells what a harness does, if FUZZ_TRACE is in the environment: to read a finding.
#define trace(...) (is_traced() ? fprintf(stderr, __VA_ARGS__) : 0)

static inline int is_traced(void)
{
	static int known = -1;
	if (known < 0)
		known = getenv("FUZZ_TRACE") != NULL;
	return known;
}

// What is left of an input. Behind its end there are zeroes.
struct input {
	const uint8_t *at;
	size_t left;
};

// Takes the next `size` bytes out of the input.
static inline void input_take(struct input *input, void *bytes, size_t size)
{
	size_t taken = size < input->left ? size : input->left;
	memset(bytes, 0, size);
	if (taken)
		memcpy(bytes, input->at, taken);
	input->at += taken;
	input->left -= taken;
}

// Returns the next byte.
static inline uint8_t input_byte(struct input *input)
{
	uint8_t byte;
	input_take(input, &byte, sizeof byte);
	return byte;
}

// Returns the next two bytes as a number.
static inline uint16_t input_pair(struct input *input)
{
	uint16_t pair;
	input_take(input, &pair, sizeof pair);
	return pair;
}

// Returns a copy of `size` bytes, with a NUL behind them if `terminated`, in memory of exactly that
// size, so that the sanitizer sees every step beyond it. To be freed.
static inline void *copy_exactly(const void *bytes, size_t size, size_t terminated)
{
	char *copy = malloc(size + terminated);
	require(copy);
	if (size)
		memcpy(copy, bytes, size);
	if (terminated)
		copy[size] = 0;
	return copy;
}

#endif
