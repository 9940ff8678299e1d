// SPDX-License-Identifier: MIT
// Socket options that the fence uses too: the program sees its own. Both return as the program's
// call does, or -errno.
#ifndef PF_OPTION_H
#define PF_OPTION_H

#include <sys/socket.h>

int pf_option_set(int fd, int level, int name, const void *value, socklen_t length);
int pf_option_get(int fd, int level, int name, void *value, socklen_t *length);

#endif
