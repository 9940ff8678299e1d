// SPDX-License-Identifier: MIT
// The calls we interpose, under names of our own: libc's headers declare the real names with
// attributes and unions that differ from one libc to the next.
#ifndef PF_CALLS_H
#define PF_CALLS_H

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

// Declares a function that programs find under `symbol`.
#define PF_CALL(symbol) __asm__(symbol) __attribute__((visibility("default")))

int call_socket(int domain, int type, int protocol) PF_CALL("socket");
int call_connect(int fd, const struct sockaddr *address, socklen_t length) PF_CALL("connect");
int call_connect_alias(int, const struct sockaddr *, socklen_t) PF_CALL("__connect");
int call_bind(int fd, const struct sockaddr *address, socklen_t length) PF_CALL("bind");
int call_listen(int fd, int backlog) PF_CALL("listen");
ssize_t call_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length) PF_CALL("sendto");
ssize_t call_sendmsg(int fd, const struct msghdr *message, int flags) PF_CALL("sendmsg");
int call_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) PF_CALL("sendmmsg");
int call_close(int fd) PF_CALL("close");
int call_close_alias(int) PF_CALL("__close");
int call_close_range(unsigned first, unsigned last, int flags) PF_CALL("close_range");
void call_closefrom(int least) PF_CALL("closefrom");
int call_dup(int fd) PF_CALL("dup");
int call_dup2(int fd, int copy) PF_CALL("dup2");
int call_dup3(int fd, int copy, int flags) PF_CALL("dup3");
int call_fclose(FILE *stream) PF_CALL("fclose");
int call_fcntl(int fd, int command, ...) PF_CALL("fcntl");
int call_fcntl64(int fd, int command, ...) PF_CALL("fcntl64");
int call_setns(int fd, int type) PF_CALL("setns");
int call_unshare(int flags) PF_CALL("unshare");
int call_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
	PF_CALL("setsockopt");
int call_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
	PF_CALL("getsockopt");
void *call_dlopen(const char *file, int flags) PF_CALL("dlopen");
int call_chroot(const char *path) PF_CALL("chroot");
int call_prctl(int option, ...) PF_CALL("prctl");
pid_t call_fork(void) PF_CALL("fork");
pid_t call_vfork(void) PF_CALL("vfork");
int call_execve(const char *path, char *const *argv, char *const *envp) PF_CALL("execve");
int call_execv(const char *path, char *const *argv) PF_CALL("execv");
int call_execvp(const char *file, char *const *argv) PF_CALL("execvp");
int call_execvpe(const char *file, char *const *argv, char *const *envp) PF_CALL("execvpe");
int call_execl(const char *path, const char *first, ...) PF_CALL("execl");
int call_execle(const char *path, const char *first, ...) PF_CALL("execle");
int call_execlp(const char *file, const char *first, ...) PF_CALL("execlp");
int call_fexecve(int fd, char *const *argv, char *const *envp) PF_CALL("fexecve");
int call_execveat(int dir, const char *path, char *const *argv, char *const *envp, int flags)
	PF_CALL("execveat");
int call_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
	PF_CALL("posix_spawn");
int call_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp)
	PF_CALL("posix_spawnp");
int call_system(const char *command) PF_CALL("system");
FILE *call_popen(const char *command, const char *mode) PF_CALL("popen");

// The names that glibc's headers give some of them where a program's time has more bits than the
// machine's words.
__typeof__(call_sendmsg) call_sendmsg64 PF_CALL("__sendmsg64");
__typeof__(call_sendmmsg) call_sendmmsg64 PF_CALL("__sendmmsg64");
__typeof__(call_fcntl) call_fcntl_time64 PF_CALL("__fcntl_time64");
__typeof__(call_setsockopt) call_setsockopt64 PF_CALL("__setsockopt64");
__typeof__(call_getsockopt) call_getsockopt64 PF_CALL("__getsockopt64");
__typeof__(call_prctl) call_prctl_time64 PF_CALL("__prctl_time64");

// Returns `result`, or -1 with errno set if it is -errno. errno was `before` when the program
// called, and is so again after success.
static inline ssize_t pf_call_return(ssize_t result, int before)
{
	errno = result < 0 ? (int)-result : before;
	return result < 0 ? -1 : result;
}

#endif
