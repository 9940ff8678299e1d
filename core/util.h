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

// A condition that the usual call does not meet: what it leads to is laid out elsewhere, so that
// the usual path takes few lines of the caches.
#define pf_rarely(condition) __builtin_expect(!!(condition), 0)

// A system call past every interposer, ours and others'. Returns its result, or -errno. On x86-64
// it does not even go through libc, which a hook would have to fetch into the caches each time (1 %
// of a connect); elsewhere errno is changed, and the hooks put it back. The analyzer does not know
// what an instruction writes.
#if defined __x86_64__ && defined __LP64__ && !defined __clang_analyzer__
#define pf_sys(...) PF_SYS_PAD(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define PF_SYS_PAD(number, a, b, c, d, e, f, ...)                                                  \
	pf_sys_six((long)(number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline long pf_sys_six(long number, long a, long b, long c, long d, long e, long f)
{
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	register long sixth __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
	return result;
}
#else
#define pf_sys(...) pf_sys_result(syscall(__VA_ARGS__))
#endif

// Returns what a libc function returned, with -1 as -errno.
static inline long pf_sys_result(long result)
{
	return result == -1 ? -errno : result;
}

// Returns milliseconds since boot (CLOCK_MONOTONIC_COARSE: no system call, some ms of grain).
uint64_t pf_now_ms(void);

// Returns the milliseconds from `since` to `now`. Another thread may have looked at the clock after
// us, so a moment in the future is now; more than a second is no time at all (the segment was
// damaged, or the clock is another's), and as long ago as can be.
static inline uint64_t pf_elapsed_ms(uint64_t since, uint64_t now)
{
	return since > now && since - now < 1000 ? 0 : now - since;
}

// Returns nanoseconds since 1970 (CLOCK_REALTIME_COARSE) at `now`: pf_now_ms() a moment ago.
uint64_t pf_time_ns(uint64_t now);

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
