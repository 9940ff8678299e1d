// SPDX-License-Identifier: MIT
// How a call gets its port. All return what the program's own call returns, or -errno.
#ifndef PF_ASSIGN_H
#define PF_ASSIGN_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

int pf_assign_socket(int domain, int type, int protocol);
int pf_assign_connect(int fd, const struct sockaddr *address, socklen_t length);
int pf_assign_bind(int fd, const struct sockaddr *address, socklen_t length);
int pf_assign_listen(int fd, int backlog);
ssize_t pf_assign_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length);
ssize_t pf_assign_sendmsg(int fd, const struct msghdr *message, int flags);
int pf_assign_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int pf_assign_close(int fd);
int pf_assign_close_range(unsigned first, unsigned last, int flags);
int pf_assign_fclose(FILE *stream);
int pf_assign_dup(int fd);

// fcntl with F_DUPFD or F_DUPFD_CLOEXEC.
int pf_assign_dup_from(int fd, int command, long least);

// dup3, or dup2 if `flags` is negative.
int pf_assign_dup_to(int fd, int copy, int flags);
pid_t pf_assign_fork(void);

// Returns the address of the vfork to jump to.
void *pf_assign_vfork(void);

int pf_assign_setns(int fd, int type);
int pf_assign_unshare(int flags);

#endif
