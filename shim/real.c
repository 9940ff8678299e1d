// SPDX-License-Identifier: MIT
// The calls that ours stand in front of.
//
// Each is looked up when it is first used, and never again. dlsym may call malloc, and malloc may
// be anybody's, who may call one of ours, as may a signal's handler: a call in the midst of a
// look-up by the same thread (if it was the only one), or of its own symbol by any, is the bare
// system call, as is one that cannot be found. What no system call can stand in for is looked up
// whatever goes on.
//
// Under `portfence run --strict` a filter sends the calls that choose ports to a supervisor, unless
// they have the run's mark, 64 random bits, in two argument registers that the call does not use.
// Ours have it: so these few are bare system calls there, from the first on. What is lost is what
// other libraries behind this one would do, and a thread cannot be cancelled in them.
#include "real.h"

#include "environment.h"
#include "fence.h"

#include "atomics.h"
#include "util.h"

#include <dlfcn.h>
#include <stdatomic.h>

#ifndef SYS_close_range
#define SYS_close_range 436 // Linux 5.9
#endif

#ifdef __GLIBC__
// The oldest version of dlsym, which every glibc has: the linker would take the newest.
#if defined __x86_64__ && defined __LP64__
#define OLDEST "GLIBC_2.2.5"
#elif defined __i386__
#define OLDEST "GLIBC_2.0"
#elif defined __s390x__
#define OLDEST "GLIBC_2.2"
#elif defined __arm__
#define OLDEST "GLIBC_2.4"
#elif defined __aarch64__ || (defined __powerpc64__ && defined __LITTLE_ENDIAN__)
#define OLDEST "GLIBC_2.17"
#elif defined __riscv && __riscv_xlen == 64
#define OLDEST "GLIBC_2.27"
#endif
#endif

#ifdef OLDEST
__asm__(".symver oldest_dlsym, dlsym@" OLDEST);

// Before glibc 2.34 it is in libdl, which not every program has, and which costs a start 7 % more
// if it is loaded for nothing. Those versions have, and can no longer change, this way to load it.
extern void *oldest_dlsym(void *handle, const char *name) __attribute__((weak));
extern void *__libc_dlopen_mode(const char *file, int mode) __attribute__((weak));
extern void *__libc_dlsym(void *handle, const char *name) __attribute__((weak));
#define MODE_DLOPEN (int)0x80000000 // of __libc_dlopen_mode: as if dlopen had been called

// Returns dlsym, or NULL.
static void *(*dlsym_find(void))(void *, const char *)
{
	static _Atomic(void *) found;
	if (oldest_dlsym)
		return oldest_dlsym;
	void *address = atomic_load_explicit(&found, memory_order_relaxed);
	if (!address && __libc_dlopen_mode && __libc_dlsym) {
		void *libdl = __libc_dlopen_mode("libdl.so.2", RTLD_NOW | MODE_DLOPEN);
		address = libdl ? __libc_dlsym(libdl, "dlsym") : NULL;
		atomic_store_explicit(&found, address, memory_order_relaxed);
	}
	return __extension__(void *(*)(void *, const char *)) address;
}

// Loading allocates and locks: before the program begins, that disturbs nobody.
__attribute__((constructor)) static void dlsym_prepare(void)
{
	dlsym_find();
}

// Returns the next definition of a function, or NULL.
static void *definition_find(const char *name)
{
	void *(*find)(void *, const char *) = dlsym_find();
	return find ? find(RTLD_NEXT, name) : NULL;
}
#else
// Returns the next definition of a function, or NULL.
static void *definition_find(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}
#endif

// Stands for "use the system call".
static char bare;

// Looks a function up, unless this thread is in the midst of doing that for any. Returns its
// address, or NULL.
static void *look_up(_Atomic(void *) *known, const char *name)
{
	static _Atomic(void *) thread; // that looks something up; of several, the first
	void *self = &errno, *nobody = NULL, *address = NULL;
	if (atomic_load_explicit(&thread, memory_order_relaxed) == self ||
		!atomic_compare_exchange_strong(known, &address, &bare))
		return NULL;
	bool first = atomic_compare_exchange_strong(&thread, &nobody, self);
	address = definition_find(name);
	if (address)
		atomic_store_explicit(known, address, memory_order_release);
	if (first)
		atomic_store_explicit(&thread, NULL, memory_order_relaxed);
	return address;
}

// Returns the address of the next definition, which is kept in *known, or NULL: use the system
// call.
static inline void *find(_Atomic(void *) *known, const char *name)
{
	void *address = atomic_load_explicit(known, memory_order_acquire);
	if (!address)
		return look_up(known, name);
	return address == &bare ? NULL : address;
}

// The same for what no system call can stand in for. Two threads may both look it up, and find the
// same. Returns NULL only where libc has no such function.
static void *find_always(_Atomic(void *) *known, const char *name)
{
	void *address = atomic_load_explicit(known, memory_order_acquire);
	if (!address) {
		address = definition_find(name);
		atomic_store_explicit(known, address, memory_order_release);
	}
	return address;
}

// ---- The mark --------------------------------------------------------------------------------

// Its halves; both 0: there is none. Every thread that reads it finds the same.
static _Atomic(uint32_t) mark_first, mark_second;

// Returns true if the calls of this process are to be marked: not where the fence is disabled,
// since then nobody but the supervisor gives them their ports.
static bool mark_read(void)
{
	size_t digits;
	const char *text = pf_environment_get(PF_SETTING_MARK);
	uint64_t mark = text ? pf_number(text, 16, 16, &digits) : 0;
	if (!mark || pf_fence() == PF_FENCE_OFF)
		return false;
	atomic_store_explicit(&mark_first, (uint32_t)mark, memory_order_relaxed);
	atomic_store_explicit(&mark_second, (uint32_t)(mark >> 32), memory_order_relaxed);
	return true;
}

// As look_up, for a call that is to have the mark.
static void *look_up_marked(_Atomic(void *) *known, const char *name)
{
	if (!mark_read())
		return look_up(known, name);
	atomic_store_explicit(known, &bare, memory_order_release);
	return NULL;
}

// As find, for a call that is to have the mark.
static inline void *find_marked(_Atomic(void *) *known, const char *name)
{
	void *address = atomic_load_explicit(known, memory_order_acquire);
	if (!address)
		return look_up_marked(known, name);
	return address == &bare ? NULL : address;
}

// Makes a system call of at most four arguments, the last of which, and what is behind it, may be
// the mark, and leaves none of it in the registers: libc's own call, which does not fill those that
// it does not use, may be next.
static long marked(long number, long a, long b, long c, long d, long e, long f)
{
#if defined __x86_64__ && defined __LP64__ && !defined __clang_analyzer__
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	register long sixth __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall\n\txorl %%r10d, %%r10d\n\txorl %%r8d, %%r8d\n\txorl %%r9d, %%r9d"
			 : "=a"(result), "+r"(fourth), "+r"(fifth), "+r"(sixth)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
#else
	long result = pf_sys_result(syscall(number, a, b, c, d, e, f));
	if (d | e | f)
		syscall(SYS_getpid, 0L, 0L, 0L, 0L, 0L, 0L);
	return result;
#endif
}

#define MARK                                                                                       \
	(long)atomic_load_explicit(&mark_first, memory_order_relaxed),                             \
		(long)atomic_load_explicit(&mark_second, memory_order_relaxed)

// ---- The calls -------------------------------------------------------------------------------

// Defines a variable `next`, a pointer to the next definition of the function, or NULL. What is
// kept is zero at first, and the name no pointer in it: neither costs a start anything.
#define NEXT(function, result, ...)                                                                \
	static _Atomic(void *) known PF_TOGETHER;                                                  \
	result (*next)(__VA_ARGS__) =                                                              \
		(__extension__(result(*)(__VA_ARGS__)) find(&known, #function))

// The same with find_marked.
#define NEXT_MARKED(function, result, ...)                                                         \
	static _Atomic(void *) known PF_TOGETHER;                                                  \
	result (*next)(__VA_ARGS__) =                                                              \
		(__extension__(result(*)(__VA_ARGS__)) find_marked(&known, #function))

// The same with find_always.
#define NEXT_ALWAYS(function, result, ...)                                                         \
	static _Atomic(void *) known;                                                              \
	result (*next)(__VA_ARGS__) =                                                              \
		(__extension__(result(*)(__VA_ARGS__)) find_always(&known, #function))

int pf_real_socket(int domain, int type, int protocol)
{
	NEXT_MARKED(socket, int, int, int, int);
	return (int)(next ? pf_sys_result(next(domain, type, protocol))
			  : marked(SYS_socket, domain, type, protocol, MARK, 0));
}

int pf_real_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	NEXT_MARKED(connect, int, int, const struct sockaddr *, socklen_t);
	return (int)(next ? pf_sys_result(next(fd, address, length))
			  : marked(SYS_connect, fd, (long)address, (long)length, MARK, 0));
}

int pf_real_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	NEXT_MARKED(bind, int, int, const struct sockaddr *, socklen_t);
	return (int)(next ? pf_sys_result(next(fd, address, length))
			  : marked(SYS_bind, fd, (long)address, (long)length, MARK, 0));
}

int pf_real_listen(int fd, int backlog)
{
	NEXT_MARKED(listen, int, int, int);
	return (int)(next ? pf_sys_result(next(fd, backlog))
			  : marked(SYS_listen, fd, backlog, 0, MARK, 0));
}

// sendto uses all registers: with an address it is a sendmsg, which can be marked. sendto minds
// an address that is too long.
static ssize_t sendto_marked(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length)
{
	struct iovec part = {(void *)(uintptr_t)data, size};
	const struct msghdr message = {.msg_name = (void *)(uintptr_t)address,
		.msg_namelen = length,
		.msg_iov = &part,
		.msg_iovlen = 1};
	if (!address || length > sizeof(struct sockaddr_storage) ||
		!atomic_load_explicit(&mark_first, memory_order_relaxed))
		return pf_sys(SYS_sendto, fd, data, size, flags, address, length);
	return pf_real_sendmsg(fd, &message, flags);
}

ssize_t pf_real_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length)
{
	NEXT_MARKED(sendto, ssize_t, int, const void *, size_t, int, const struct sockaddr *,
		socklen_t);
	return next ? pf_sys_result(next(fd, data, size, flags, address, length))
		    : sendto_marked(fd, data, size, flags, address, length);
}

ssize_t pf_real_sendmsg(int fd, const struct msghdr *message, int flags)
{
	NEXT_MARKED(sendmsg, ssize_t, int, const struct msghdr *, int);
	return next ? pf_sys_result(next(fd, message, flags))
		    : marked(SYS_sendmsg, fd, (long)message, flags, MARK, 0);
}

int pf_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	NEXT_MARKED(sendmmsg, int, int, struct mmsghdr *, unsigned, int);
	return (int)(next ? pf_sys_result(next(fd, messages, count, flags))
			  : marked(SYS_sendmmsg, fd, (long)messages, (long)count, flags, MARK));
}

int pf_real_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	NEXT(setsockopt, int, int, int, int, const void *, socklen_t);
	return (int)(next ? pf_sys_result(next(fd, level, name, value, length))
			  : pf_sys(SYS_setsockopt, fd, level, name, value, length));
}

int pf_real_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	NEXT(getsockopt, int, int, int, int, void *, socklen_t *);
	return (int)(next ? pf_sys_result(next(fd, level, name, value, length))
			  : pf_sys(SYS_getsockopt, fd, level, name, value, length));
}

static _Atomic(void *) close_known PF_TOGETHER;

int pf_real_close(int fd)
{
	int (*next)(int) = (__extension__(int (*)(int)) find(&close_known, "close"));
	return (int)(next ? pf_sys_result(next(fd)) : pf_sys(SYS_close, fd));
}

int (*pf_real_close_itself(void))(int)
{
	void *address = atomic_load_explicit(&close_known, memory_order_acquire);
	return __extension__(int (*)(int))(pf_rarely(address == &bare) ? NULL : address);
}

int pf_real_close_range(unsigned first, unsigned last, int flags)
{
	NEXT(close_range, int, unsigned, unsigned, int);
	return (int)(next ? pf_sys_result(next(first, last, flags))
			  : pf_sys(SYS_close_range, first, last, flags));
}

int pf_real_fclose(FILE *stream)
{
	NEXT_ALWAYS(fclose, int, FILE *);
	return next ? (int)pf_sys_result(next(stream)) : -ENOSYS;
}

int pf_real_dup(int fd)
{
	NEXT(dup, int, int);
	return (int)(next ? pf_sys_result(next(fd)) : pf_sys(SYS_dup, fd));
}

static int real_dup2(int fd, int copy)
{
	NEXT(dup2, int, int, int);
	// Some architectures have no such system call; where it matters, the fds differ.
	return (int)(next ? pf_sys_result(next(fd, copy)) : pf_sys(SYS_dup3, fd, copy, 0));
}

int pf_real_dup_to(int fd, int copy, int flags)
{
	if (flags < 0)
		return real_dup2(fd, copy);
	NEXT(dup3, int, int, int, int);
	return (int)(next ? pf_sys_result(next(fd, copy, flags))
			  : pf_sys(SYS_dup3, fd, copy, flags));
}

int pf_real_fcntl(int fd, int command, long argument)
{
	NEXT(fcntl, int, int, int, ...);
	return next ? next(fd, command, argument) : (int)syscall(SYS_fcntl, fd, command, argument);
}

int pf_real_fcntl64(int fd, int command, long argument)
{
	NEXT(fcntl64, int, int, int, ...);
#ifdef SYS_fcntl64 // 32 bits: SYS_fcntl does not know its locks
	return next ? next(fd, command, argument)
		    : (int)syscall(SYS_fcntl64, fd, command, argument);
#else
	return next ? next(fd, command, argument) : pf_real_fcntl(fd, command, argument);
#endif
}

int pf_real_setns(int fd, int type)
{
	NEXT(setns, int, int, int);
	return (int)(next ? pf_sys_result(next(fd, type)) : pf_sys(SYS_setns, fd, type));
}

int pf_real_unshare(int flags)
{
	NEXT(unshare, int, int);
	return (int)(next ? pf_sys_result(next(flags)) : pf_sys(SYS_unshare, flags));
}

int pf_real_chroot(const char *path)
{
	NEXT(chroot, int, const char *);
	return (int)(next ? pf_sys_result(next(path)) : pf_sys(SYS_chroot, path));
}

int pf_real_prctl(int option, const unsigned long argument[4])
{
	NEXT(prctl, int, int, ...);
	return (int)(next ? pf_sys_result(next(
				    option, argument[0], argument[1], argument[2], argument[3]))
			  : pf_sys(SYS_prctl, option, argument[0], argument[1], argument[2],
				    argument[3]));
}

pid_t pf_real_fork(void)
{
	// A bare system call would leave out libc's part of a fork.
	NEXT_ALWAYS(fork, pid_t, void);
	return next ? (pid_t)pf_sys_result(next()) : -ENOSYS;
}

void *pf_real_vfork(void)
{
	static _Atomic(void *) known;
	void *next = find_always(&known, "vfork");
	return next ? next : __extension__(void *) pf_real_fork;
}

void *pf_real_dlopen(void)
{
	static _Atomic(void *) known;
	return find_always(&known, "dlopen");
}

int pf_real_execve(const char *path, char *const *argv, char *const *envp)
{
	NEXT(execve, int, const char *, char *const *, char *const *);
	return (int)(next ? pf_sys_result(next(path, argv, envp))
			  : pf_sys(SYS_execve, path, argv, envp));
}

int pf_real_execvpe(const char *file, char *const *argv, char *const *envp)
{
	NEXT_ALWAYS(execvpe, int, const char *, char *const *, char *const *);
	return next ? (int)pf_sys_result(next(file, argv, envp)) : -ENOSYS;
}

int pf_real_fexecve(int fd, char *const *argv, char *const *envp)
{
	NEXT_ALWAYS(fexecve, int, int, char *const *, char *const *);
	return next ? (int)pf_sys_result(next(fd, argv, envp)) : -ENOSYS;
}

int pf_real_execveat(int dir, const char *path, char *const *argv, char *const *envp, int flags)
{
	NEXT(execveat, int, int, const char *, char *const *, char *const *, int);
	return (int)(next ? pf_sys_result(next(dir, path, argv, envp, flags))
			  : pf_sys(SYS_execveat, dir, path, argv, envp, flags));
}

int pf_real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	NEXT_ALWAYS(posix_spawn, int, pid_t *, const char *, const posix_spawn_file_actions_t *,
		const posix_spawnattr_t *, char *const *, char *const *);
	return next ? next(pid, path, actions, attributes, argv, envp) : ENOSYS;
}

int pf_real_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
{
	NEXT_ALWAYS(posix_spawnp, int, pid_t *, const char *, const posix_spawn_file_actions_t *,
		const posix_spawnattr_t *, char *const *, char *const *);
	return next ? next(pid, file, actions, attributes, argv, envp) : ENOSYS;
}

int pf_real_system(const char *command)
{
	NEXT_ALWAYS(system, int, const char *);
	return next ? next(command) : -1;
}

FILE *pf_real_popen(const char *command, const char *mode)
{
	NEXT_ALWAYS(popen, FILE *, const char *, const char *);
	return next ? next(command, mode) : NULL;
}
