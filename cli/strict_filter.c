// SPDX-License-Identifier: MIT
// The filter of a strict run: which system calls go to the supervisor.
//
// libseccomp writes it, for the machine and for what else its kernel runs: i386 beside x86-64, ARM
// beside arm64. The calls of any other (x32) are answered ENOSYS, all of them. It is loaded here,
// since libseccomp does not know every flag.
//
// A call is let through if it has the mark, in two registers that it does not use (shim/real.c).
// sendto uses them all: with an address it is always the supervisor's. socketcall(2) has its
// arguments in memory, where a filter cannot look.
#include "strict.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) // Linux 5.19
#endif

// Each call, in the order of enum strict_call: the first of the two registers of the mark, and its
// number in socketcall.
static const struct {
	const char *name;
	unsigned mark; // 0: it has none
	unsigned socketcall;
} calls[STRICT_CALLS] = {
	{"socket", 3, SYS_SOCKET},
	{"connect", 3, SYS_CONNECT},
	{"bind", 3, SYS_BIND},
	{"listen", 3, SYS_LISTEN},
	{"sendto", 0, SYS_SENDTO},
	{"sendmsg", 3, SYS_SENDMSG},
	{"sendmmsg", 4, SYS_SENDMMSG},
};

// What the kernel runs beside programs of the machine.
#if defined __x86_64__
#define OTHER SCMP_ARCH_X86
#elif defined __aarch64__
#define OTHER SCMP_ARCH_ARM
#else
#define OTHER 0
#endif

// ---- Numbers ---------------------------------------------------------------------------------

enum strict_call strict_call_by_socketcall(unsigned number)
{
	for (int i = 0; i < STRICT_CALLS; i++)
		if (calls[i].socketcall == number)
			return (enum strict_call)i;
	return STRICT_CALLS;
}

// Returns the call of this name; one behind STRICT_CALLS for socketcall.
static int call_named(const char *name)
{
	if (name && !strcmp(name, "socketcall"))
		return STRICT_CALLS + 1;
	for (int i = 0; name && i < STRICT_CALLS; i++)
		if (!strcmp(name, calls[i].name))
			return i;
	return STRICT_CALLS;
}

// A name has two numbers where it is a part of socketcall, too, so the number is asked for. Few
// ever come, and libseccomp is slow to answer.
enum strict_call strict_call_of(uint32_t arch, int number, bool *ret_socketcall)
{
	static struct {
		uint32_t arch;
		int number, call;
	} known[4 * STRICT_CALLS];
	static size_t count;
	size_t i = 0;
	while (i < count && (known[i].arch != arch || known[i].number != number))
		i++;
	if (i == count) {
		char *name = seccomp_syscall_resolve_num_arch(arch, number);
		if (count < sizeof known / sizeof *known - 1)
			count++;
		known[i].arch = arch;
		known[i].number = number;
		known[i].call = call_named(name);
		free(name);
	}
	*ret_socketcall = known[i].call > STRICT_CALLS;
	return *ret_socketcall ? STRICT_CALLS : (enum strict_call)known[i].call;
}

// ---- Writing ---------------------------------------------------------------------------------

// Sends a call to the supervisor if it fulfils the condition, if there is one, and has no mark.
// Returns 0 or -errno.
static int call_add(scmp_filter_ctx filter, enum strict_call call,
	const struct scmp_arg_cmp *condition, uint64_t mark)
{
	const unsigned first = calls[call].mark;
	const unsigned conditions = condition ? 1 : 0;
	const int number = seccomp_syscall_resolve_name(calls[call].name);
	struct scmp_arg_cmp all[2];
	int result = 0;
	if (condition)
		all[0] = *condition;
	if (!first)
		return seccomp_rule_add_array(filter, SCMP_ACT_NOTIFY, number, conditions, all);
	for (unsigned half = 0; half < 2 && result == 0; half++) {
		all[conditions] = SCMP_CMP(
			first + half, SCMP_CMP_NE, (uint32_t)(half ? mark >> 32 : mark), 0);
		result = seccomp_rule_add_array(
			filter, SCMP_ACT_NOTIFY, number, conditions + 1, all);
	}
	return result;
}

// The same for it in socketcall, whatever the registers have.
static int socketcall_add(scmp_filter_ctx filter, enum strict_call call)
{
	return seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(socketcall), 1,
		SCMP_A0(SCMP_CMP_EQ, calls[call].socketcall, 0));
}

// Sends every call that can make the kernel choose a port to the supervisor. Returns 0 or -errno.
static int calls_add(scmp_filter_ctx filter, bool claims, uint64_t mark)
{
	// The kernel looks at half of the register.
	const struct scmp_arg_cmp inet[] = {
		SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_INET),
		SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_INET6),
	};
	const struct scmp_arg_cmp addressed = SCMP_A4(SCMP_CMP_NE, 0, 0);
	int result = 0;
	if (!claims) {
		for (int i = 0; i < 2 && result == 0; i++)
			result = call_add(filter, STRICT_SOCKET, &inet[i], mark);
		return result ? result : socketcall_add(filter, STRICT_SOCKET);
	}
	for (int i = STRICT_CONNECT; i < STRICT_CALLS && result == 0; i++) {
		enum strict_call call = (enum strict_call)i;
		result = call_add(filter, call, call == STRICT_SENDTO ? &addressed : NULL, mark);
		if (result == 0)
			result = socketcall_add(filter, call);
	}
	return result;
}

static int filter_write(scmp_filter_ctx filter, bool claims, bool uring, uint64_t mark)
{
	int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (result == 0 && OTHER != 0)
		result = seccomp_arch_add(filter, OTHER);
	if (result == 0 && !uring)
		result = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
	return result ? result : calls_add(filter, claims, mark);
}

// Reads what libseccomp has exported. Returns the count of instructions, or -errno.
static int filter_read(int fd, struct sock_filter *code, size_t room)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return -errno;
	if ((size_t)status.st_size > room)
		return -E2BIG;
	ssize_t size = pread(fd, code, room, 0);
	return size < 0 ? -errno : (int)((size_t)size / sizeof *code);
}

int strict_filter_make(struct strict_filter *ret_filter, bool claims, bool uring, uint64_t mark)
{
	seccomp_api_set(5); // has notifications; what the kernel has, the trial tells
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int result = !filter ? -ENOMEM
		: fd < 0     ? -errno
			     : filter_write(filter, claims, uring, mark);
	if (result == 0)
		result = seccomp_export_bpf(filter, fd);
	if (result == 0)
		result = filter_read(fd, ret_filter->code, sizeof ret_filter->code);
	ret_filter->length = (unsigned short)(result > 0 ? result : 0);
	if (fd >= 0)
		close(fd);
	if (filter)
		seccomp_release(filter);
	return result > 0 ? 0 : result;
}

// ---- Loading ---------------------------------------------------------------------------------

int strict_filter_load(const struct strict_filter *filter)
{
	const struct sock_fprog program = {
		filter->length, (struct sock_filter *)(uintptr_t)filter->code};
	// The programs are not in a sandbox: nothing is to be slower for them (Linux before 5.16).
	const unsigned long flags =
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0)
		return -errno;
	long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
	if (listener < 0 && errno == EINVAL)
		listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return listener < 0 ? -errno : (int)listener;
}
