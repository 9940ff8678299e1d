// SPDX-License-Identifier: MIT
// What an fd is: by the fd map, and where that does not know, by asking the kernel.
#ifndef PF_CLASSIFY_H
#define PF_CLASSIFY_H

#include "fdmap.h"

#include <stddef.h>

// Returns the kind and family that socket(domain, type, protocol) makes, as the flags and kind of a
// socket without a port.
struct pf_fd pf_classify_new(int domain, int type, int protocol);

// Returns what `fd` is, and in ret_ticket what pf_fdmap_replace needs. With `doubt`, an fd that the
// map knows as PF_FD_OTHER is looked at again: its number may have a new socket behind it. A TCP
// socket that the map does not know is said to have no port.
struct pf_fd pf_classify(int fd, bool doubt, uint64_t *ret_ticket);

// Returns the local port of `fd`, or 0 if it has none.
uint16_t pf_classify_port(int fd);

// Returns true if a bind to port 0 leaves the port to the connect (IP_BIND_ADDRESS_NO_PORT).
bool pf_classify_defers(int fd);

// Returns true if the kernel can read `size` bytes at `address` in this process, so that we can,
// too.
bool pf_classify_readable(const void *address, size_t size);

// Returns true for what lies in the page of this frame, above it: on the stack of our callers,
// where most addresses are.
bool pf_classify_is_near(const void *address, size_t size);

#endif
