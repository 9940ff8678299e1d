// SPDX-License-Identifier: MIT
// Socket options that the fence uses too: the program sees its own.
//
//	SO_REUSEADDR             is on for outgoing TCP in a bind pool, and must stay on there: who
//	                         comes later shares the port by it
//	IP_LOCAL_PORT_RANGE      carries the pool's range, and the port of a late claim. A
//	                         program's own range is kept and shown to it; the port is still the
//	                         pool's choice
//	IP_BIND_ADDRESS_NO_PORT  is the program's alone; remembered, since bind asks for it
//
// What the program set is a flag of the fd map; of other sockets the kernel's word is shown.
#include "option.h"

#include "classify.h"
#include "fence.h"
#include "real.h"

#include "util.h"

#include <portfence/claim.h>

#include <netinet/in.h>
#include <string.h>

// Returns the flag that remembers the option, or 0 if it is none of those above or nobody fences.
static uint16_t flag_of(int level, int name)
{
	if ((level != SOL_SOCKET && level != SOL_IP) || pf_fence() == PF_FENCE_OFF)
		return 0;
	if (level == SOL_SOCKET && name == SO_REUSEADDR)
		return PF_FD_REUSE;
	if (level == SOL_IP && name == IP_LOCAL_PORT_RANGE)
		return PF_FD_RANGE;
	if (level == SOL_IP && name == IP_BIND_ADDRESS_NO_PORT)
		return PF_FD_DEFER;
	return 0;
}

// Returns true if the kernel took any value but 0. It reads a byte of a short option (ip(7)).
static bool is_set(const void *value, socklen_t length)
{
	uint32_t word = 0;
	memcpy(&word, value, length < sizeof word ? length : sizeof word);
	return word;
}

// Returns true if the socket has its port by a bind claim for one destination.
static bool is_shared(struct pf_fd state)
{
	return state.kind == PF_FD_TCP && (state.flags & PF_FD_LEASE) &&
		!(state.flags & PF_FD_LATE) && state.stripe >= PF_STRIPE_TCP;
}

int pf_option_set(int fd, int level, int name, const void *value, socklen_t length)
{
	const int on = 1;
	uint64_t ticket;
	unsigned flag = flag_of(level, name);
	int result = pf_real_setsockopt(fd, level, name, value, length);
	if (!flag || result < 0)
		return result;
	struct pf_fd state = pf_classify(fd, false, &ticket);
	if (state.kind != PF_FD_TCP && state.kind != PF_FD_UDP)
		return result;
	bool set = is_set(value, length);
	state.flags = ((state.flags & ~flag) | (set ? flag : 0u)) & PF_FD_FLAGS;
	pf_fdmap_replace(fd, ticket, state);
	if (flag == PF_FD_REUSE && !set && is_shared(state))
		pf_sys(SYS_setsockopt, fd, level, name, &on, sizeof on);
	return result;
}

int pf_option_get(int fd, int level, int name, void *value, socklen_t *length)
{
	uint64_t ticket;
	uint16_t flag = flag_of(level, name);
	int result = pf_real_getsockopt(fd, level, name, value, length);
	if (!flag || flag == PF_FD_DEFER || result < 0)
		return result;
	struct pf_fd state = pf_classify(fd, false, &ticket);
	bool ours = flag == PF_FD_RANGE ? state.kind != PF_FD_OTHER : is_shared(state);
	if (ours && !(state.flags & flag))
		memset(value, 0, *length);
	return result;
}
