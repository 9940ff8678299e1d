// SPDX-License-Identifier: MIT
// How a call gets its port. All return what the program's own call returns, or -errno.
#ifndef PF_ASSIGN_H
#define PF_ASSIGN_H

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

#endif
