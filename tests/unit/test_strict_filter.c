// SPDX-License-Identifier: MIT
// The filter of a strict run: its verdict on every call, of every ABI, with and without the mark.
#include "../../cli/strict_filter.c"

#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MARK UINT64_C(0x1234567889abcdef)
#define FIRST 0x89abcdefu
#define SECOND 0x12345678u

#define STOPPED SECCOMP_RET_USER_NOTIF
#define PASSED SECCOMP_RET_ALLOW
#define REFUSED (SECCOMP_RET_ERRNO | ENOSYS)

static struct strict_filter filter;

// Runs the filter as the kernel does (seccomp(2), of net/core/filter.c what libseccomp uses).
static uint32_t run(const struct seccomp_data *data)
{
	uint32_t accumulator = 0, memory[BPF_MEMWORDS] = {0};
	for (unsigned at = 0; at < filter.length; at++) {
		const struct sock_filter *code = &filter.code[at];
		bool jumps = false;
		switch (code->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(code->k + sizeof accumulator <= sizeof *data);
			memcpy(&accumulator, (const char *)data + code->k, sizeof accumulator);
			continue;
		case BPF_LD | BPF_MEM:
			accumulator = memory[code->k];
			continue;
		case BPF_ST:
			memory[code->k] = accumulator;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			accumulator &= code->k;
			continue;
		case BPF_RET | BPF_K:
			return code->k;
		case BPF_JMP | BPF_JA:
			at += code->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jumps = accumulator == code->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jumps = accumulator >= code->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jumps = accumulator > code->k;
			break;
		default:
			fail_msg("instruction %x", code->code);
		}
		at += jumps ? code->jt : code->jf;
	}
	fail_msg("the filter has no end");
	return 0;
}

// The verdict on a call with these arguments.
static uint32_t verdict(uint32_t arch, int number, const uint64_t arguments[6])
{
	struct seccomp_data data = {.nr = number, .arch = arch};
	memcpy(data.args, arguments, sizeof data.args);
	return run(&data);
}

#define VERDICT(arch, number, ...) verdict(arch, number, (const uint64_t[6]){__VA_ARGS__})

// A call of each ABI: enum strict_call, its numbers, and its first argument for socketcall.
static const struct {
	int call, wide, narrow, multiplex;
} numbers[] = {
	{STRICT_SOCKET, 41, 359, 1},
	{STRICT_CONNECT, 42, 362, 3},
	{STRICT_BIND, 49, 361, 2},
	{STRICT_LISTEN, 50, 363, 4},
	{STRICT_SENDTO, 44, 369, 11},
	{STRICT_SENDMSG, 46, 370, 16},
	{STRICT_SENDMMSG, 307, 345, 20},
};

// Checks a call of an ABI in the filter that stops it (`stops`), or in the other.
static void call_check(uint32_t arch, int number, int call, bool stops)
{
	const uint32_t wanted = stops ? STOPPED : PASSED;
	const unsigned first = calls[call].mark;
	uint64_t arguments[6] = {AF_INET, 2, 3, 0, 7, 0};
	assert_int_equal(verdict(arch, number, arguments), wanted);
	if (!first) { // sendto: the address decides
		arguments[4] = 0;
		assert_int_equal(verdict(arch, number, arguments), PASSED);
		return;
	}
	arguments[first] = FIRST;
	arguments[first + 1] = SECOND;
	assert_int_equal(verdict(arch, number, arguments), PASSED);
	for (unsigned half = 0; half < 2; half++) {
		arguments[first + half] ^= 1;
		assert_int_equal(verdict(arch, number, arguments), wanted);
		arguments[first + half] ^= 1;
	}
	if (arch != AUDIT_ARCH_X86_64)
		return;
	arguments[first] |= UINT64_C(1) << 32; // a mark has nothing above it
	assert_int_equal(verdict(arch, number, arguments), wanted);
}

static void calls_are_stopped_without_the_mark(void **state)
{
	(void)state;
	for (int claims = 0; claims < 2; claims++) {
		assert_int_equal(strict_filter_make(&filter, claims, false, MARK), 0);
		for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
			bool stops = claims == (numbers[i].call != STRICT_SOCKET);
			call_check(AUDIT_ARCH_X86_64, numbers[i].wide, numbers[i].call, stops);
			call_check(AUDIT_ARCH_I386, numbers[i].narrow, numbers[i].call, stops);
			// Marks are of no use there.
			assert_int_equal(
				VERDICT(AUDIT_ARCH_I386, 102, (uint64_t)numbers[i].multiplex, 0, 0,
					FIRST, SECOND, 0),
				stops ? STOPPED : PASSED);
			assert_int_equal(
				VERDICT(AUDIT_ARCH_I386, 102, (uint64_t)numbers[i].multiplex, 0, 0,
					0, FIRST, SECOND),
				stops ? STOPPED : PASSED);
			assert_int_equal(
				VERDICT(AUDIT_ARCH_I386, 102, (uint64_t)numbers[i].multiplex),
				stops ? STOPPED : PASSED);
		}
	}
}

static void sockets_of_other_families_pass(void **state)
{
	(void)state;
	assert_int_equal(strict_filter_make(&filter, false, false, MARK), 0);
	for (uint64_t family = 0; family < 48; family++) {
		uint32_t wanted = family == AF_INET || family == AF_INET6 ? STOPPED : PASSED;
		assert_int_equal(VERDICT(AUDIT_ARCH_X86_64, 41, family, 1), wanted);
		assert_int_equal(VERDICT(AUDIT_ARCH_I386, 359, family, 1), wanted);
		// The kernel does not look at the upper half.
		assert_int_equal(
			VERDICT(AUDIT_ARCH_X86_64, 41, UINT64_C(0xdead00000000) | family, 1),
			wanted);
	}
}

static void other_calls_pass(void **state)
{
	(void)state;
	for (int claims = 0; claims < 2; claims++) {
		assert_int_equal(strict_filter_make(&filter, claims, false, MARK), 0);
		for (int number = 0; number < 480; number++) {
			bool ours = number == 425;
			bool theirs = number == 425;
			for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
				ours |= number == numbers[i].wide;
				theirs |= number == numbers[i].narrow || number == 102;
			}
			if (!ours)
				assert_int_equal(
					VERDICT(AUDIT_ARCH_X86_64, number, 2, 2, 2, 2, 2, 2),
					PASSED);
			if (!theirs)
				assert_int_equal(
					VERDICT(AUDIT_ARCH_I386, number, 2, 2, 2, 2, 2, 2), PASSED);
		}
		for (uint64_t multiplex = 0; multiplex < 24; multiplex++) {
			bool ours = false;
			for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
				ours |= multiplex == (uint64_t)numbers[i].multiplex;
			if (!ours)
				assert_int_equal(VERDICT(AUDIT_ARCH_I386, 102, multiplex), PASSED);
		}
	}
}

static void other_abis_are_refused(void **state)
{
	(void)state;
	for (int claims = 0; claims < 2; claims++) {
		assert_int_equal(strict_filter_make(&filter, claims, false, MARK), 0);
		for (int number = 0; number < 600; number++)
			assert_int_equal(VERDICT(AUDIT_ARCH_X86_64, 0x40000000 | number, AF_INET, 1,
						 0, FIRST, SECOND, 0),
				REFUSED);
		assert_int_equal(VERDICT(AUDIT_ARCH_AARCH64, 198, AF_INET), REFUSED);
	}
}

static void io_uring_is_refused_unless_it_is_allowed(void **state)
{
	(void)state;
	for (int claims = 0; claims < 2; claims++)
		for (int uring = 0; uring < 2; uring++) {
			assert_int_equal(strict_filter_make(&filter, claims, uring, MARK), 0);
			assert_int_equal(
				VERDICT(AUDIT_ARCH_X86_64, 425, 1), uring ? PASSED : REFUSED);
			assert_int_equal(
				VERDICT(AUDIT_ARCH_I386, 425, 1), uring ? PASSED : REFUSED);
		}
}

static void numbers_are_known_again(void **state)
{
	bool socketcall;
	(void)state;
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
			assert_int_equal(
				strict_call_of(AUDIT_ARCH_X86_64, numbers[i].wide, &socketcall),
				numbers[i].call);
			assert_false(socketcall);
			assert_int_equal(
				strict_call_of(AUDIT_ARCH_I386, numbers[i].narrow, &socketcall),
				numbers[i].call);
			assert_false(socketcall);
			assert_int_equal(strict_call_by_socketcall((unsigned)numbers[i].multiplex),
				numbers[i].call);
		}
		strict_call_of(AUDIT_ARCH_I386, 102, &socketcall);
		assert_true(socketcall);
		assert_int_equal(strict_call_of(AUDIT_ARCH_X86_64, 102, &socketcall), STRICT_CALLS);
		assert_false(socketcall); // getuid
	}
	assert_int_equal(strict_call_by_socketcall(5), STRICT_CALLS); // accept
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_stopped_without_the_mark),
		cmocka_unit_test(sockets_of_other_families_pass),
		cmocka_unit_test(other_calls_pass),
		cmocka_unit_test(other_abis_are_refused),
		cmocka_unit_test(io_uring_is_refused_unless_it_is_allowed),
		cmocka_unit_test(numbers_are_known_again),
	};
#if defined __x86_64__
	return cmocka_run_group_tests(tests, NULL, NULL);
#else
	(void)tests; // it knows the numbers of one machine
	return 0;
#endif
}
