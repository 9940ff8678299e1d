// SPDX-License-Identifier: MIT
// The calls that ours stand in front of: the next definition in the order of loading, which is
// another preload's or libc's. All return what that call returns, or -errno.
#ifndef PF_REAL_H
#define PF_REAL_H

#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

int pf_real_socket(int domain, int type, int protocol);
int pf_real_connect(int fd, const struct sockaddr *address, socklen_t length);
int pf_real_bind(int fd, const struct sockaddr *address, socklen_t length);
int pf_real_listen(int fd, int backlog);
ssize_t pf_real_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length);
ssize_t pf_real_sendmsg(int fd, const struct msghdr *message, int flags);
int pf_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int pf_real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int pf_real_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int pf_real_close(int fd);

// Returns the next close itself, which sets errno, or NULL if it is not known yet.
int (*pf_real_close_itself(void))(int);

int pf_real_close_range(unsigned first, unsigned last, int flags);
int pf_real_fclose(FILE *stream);
int pf_real_dup(int fd);

// dup3, or dup2 if `flags` is negative.
int pf_real_dup_to(int fd, int copy, int flags);

// These two return as fcntl(2) does, with errno: F_GETOWN has negative results.
int pf_real_fcntl(int fd, int command, long argument);
int pf_real_fcntl64(int fd, int command, long argument);

int pf_real_setns(int fd, int type);
int pf_real_unshare(int flags);
int pf_real_chroot(const char *path);
int pf_real_prctl(int option, const unsigned long argument[4]);
pid_t pf_real_fork(void);

// Returns the address of the next vfork, or of fork.
void *pf_real_vfork(void);

// Returns the address of the next dlopen.
void *pf_real_dlopen(void);

int pf_real_execve(const char *path, char *const *argv, char *const *envp);
int pf_real_execvpe(const char *file, char *const *argv, char *const *envp);
int pf_real_fexecve(int fd, char *const *argv, char *const *envp);
int pf_real_execveat(int dir, const char *path, char *const *argv, char *const *envp, int flags);

// These four return exactly as the libc functions do: 0 or an error number; -1 or NULL with errno.
int pf_real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp);
int pf_real_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const *argv, char *const *envp);
int pf_real_system(const char *command);
FILE *pf_real_popen(const char *command, const char *mode);

#endif
