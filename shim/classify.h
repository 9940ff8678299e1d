// SPDX-License-Identifier: MIT
// What an fd is: by the fd map, and where that does not know, by asking the kernel.
#ifndef PF_CLASSIFY_H
#define PF_CLASSIFY_H

#include "fdmap.h"

#include <portfence/endpoint.h>

#include <stddef.h>

// Returns the kind and family that socket(domain, type, protocol) makes, as the flags and kind of a
// socket without a port.
struct pf_fd pf_classify_new(int domain, int type, int protocol);

// The same, by asking the kernel, and notes it in the map.
struct pf_fd pf_classify_look(int fd, uint64_t *ret_ticket);

// Returns what `fd` is, and in ret_ticket what pf_fdmap_replace needs. With `doubt`, an fd that the
// map knows as PF_FD_OTHER is looked at again: its number may have a new socket behind it. A TCP
// socket that the map does not know is said to have no port.
static inline struct pf_fd pf_classify(int fd, bool doubt, uint64_t *ret_ticket)
{
	struct pf_fd known = pf_fdmap_get(fd, ret_ticket);
	if (known.kind >= PF_FD_TCP || (known.kind == PF_FD_OTHER && !doubt))
		return known;
	return pf_classify_look(fd, ret_ticket);
}

// Returns the local port of `fd`, or 0 if it has none.
uint16_t pf_classify_port(int fd);

// Returns true if a bind to port 0 leaves the port to the connect (IP_BIND_ADDRESS_NO_PORT).
bool pf_classify_defers(int fd);

// Asks the kernel, by a UDP socket on `port` that sends nothing, how this host reaches
// `destination`. Returns 1 if that is an address of this host; -EADDRNOTAVAIL if there is none to
// go with it, so that a connect fails whatever its port; else 0, also if that cannot be said.
int pf_classify_reach(const struct pf_endpoint *destination, uint16_t port);

// Returns true for what lies in the page of this frame, above it: on the stack of our callers,
// where most addresses are.
static inline bool pf_classify_is_near(const void *address, size_t size)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0), first = (uintptr_t)address;
	return first > frame && first + size >= first && first + size <= (frame | 4095);
}

// Asks the kernel whether it can read there.
bool pf_classify_probe(const void *address, size_t size);

// Returns true if the kernel can read `size` bytes at `address` in this process, so that we can,
// too.
static inline bool pf_classify_readable(const void *address, size_t size)
{
	return pf_classify_is_near(address, size) || pf_classify_probe(address, size);
}

#endif
