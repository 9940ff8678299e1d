// SPDX-License-Identifier: MIT
// What every layer needs: system calls that return -errno, the clock, hashing, text in a buffer.
#ifndef PF_UTIL_H
#define PF_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// A system call past every interposer, ours and others'. Returns its result, or -errno; the
// caller's errno is changed, and the hooks put it back.
#define pf_sys(...) pf_sys_result(syscall(__VA_ARGS__))

static inline long pf_sys_result(long result)
{
	return result == -1 ? -errno : result;
}

// Returns milliseconds since boot (CLOCK_MONOTONIC_COARSE: no system call, some ms of grain).
uint64_t pf_now_ms(void);

// Returns `seed` stirred with `value`: a mixer for hash tables and digests, not for secrets.
uint64_t pf_mix(uint64_t seed, uint64_t value);

// Returns the hash of `size` bytes.
uint64_t pf_hash(const void *bytes, size_t size);

// Text that is built without stdio. What does not fit is cut off; the text always ends with NUL.
struct pf_text {
	char *buffer;
	size_t size;
	size_t length;
};

// Returns an empty text that lives in `buffer`.
struct pf_text pf_text_in(char *buffer, size_t size);
void pf_text_add(struct pf_text *text, const char *string);
void pf_text_add_bytes(struct pf_text *text, const char *bytes, size_t length);
void pf_text_add_number(struct pf_text *text, uint64_t number);
void pf_text_add_hex(struct pf_text *text, uint64_t number);

// Adds `length` bytes in double quotes, with what is not printable shown as '?' and what is longer
// than 40 bytes cut to that and "...".
void pf_text_add_quoted(struct pf_text *text, const char *bytes, size_t length);

// Returns the number that `digits` (at most `length` of them) begin with in `base` (10 or 16), and
// the count of digits read in ret_length (0: there is none). Values past 64 bits become UINT64_MAX.
uint64_t pf_number(const char *digits, size_t length, unsigned base, size_t *ret_length);

#endif
