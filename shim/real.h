// SPDX-License-Identifier: MIT
// The calls that ours stand in front of: the next definition in the order of loading, which is
// another preload's or libc's. All return what that call returns, or -errno.
#ifndef PF_REAL_H
#define PF_REAL_H

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
int pf_real_close(int fd);
int pf_real_setns(int fd, int type);
int pf_real_unshare(int flags);
pid_t pf_real_fork(void);

// Returns the address of the next vfork, or of fork.
void *pf_real_vfork(void);

#endif
