// SPDX-License-Identifier: MIT
// How a lease ends. All return what the program's own call returns, or -errno.
#ifndef PF_LIFETIME_H
#define PF_LIFETIME_H

#include "fdmap.h"

#include <stdio.h>
#include <sys/types.h>

// Gives a lease back that was taken out of the fd map, unless others may hold its socket too. What
// is no lease is ignored.
void pf_lifetime_give(struct pf_fd lease);

int pf_lifetime_close(int fd);
int pf_lifetime_close_range(unsigned first, unsigned last, int flags);
int pf_lifetime_fclose(FILE *stream);
int pf_lifetime_dup(int fd);

// fcntl with F_DUPFD or F_DUPFD_CLOEXEC.
int pf_lifetime_dup_from(int fd, int command, long least);

// dup3, or dup2 if `flags` is negative.
int pf_lifetime_dup_to(int fd, int copy, int flags);
pid_t pf_lifetime_fork(void);

// Returns the address of the vfork to jump to.
void *pf_lifetime_vfork(void);

int pf_lifetime_setns(int fd, int type);
int pf_lifetime_unshare(int flags);

#endif
