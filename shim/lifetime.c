// SPDX-License-Identifier: MIT
// How a lease ends: closes, copies, forks, namespaces.
//
// Theory of operation. A lease is given back at once where this process alone can know that its
// socket ended: the last fd that the map has the lease for was closed here, and no fork came
// between socket and close. Everything else is left to the reap, which asks the kernel. So every
// rule below may be incomplete, and a process may be killed in the midst of any: the port is then
// used a little longer, or free a little early, and the kernel refuses whom it must.
//
//	close, fclose,    the lease is taken out of the map before the real close: right after it,
//	close_range       the number may be another thread's new socket
//	dup2 over it      the same
//	dup and kin       both fds have the lease from then on; it goes with the last of them
//	fork              starts a new epoch: older sockets are held by two processes, neither of
//	                  which can tell when the other closes them
//	vfork             the child runs in our memory, with our map, and has fds of its own: it is
//	                  known by its pid, and touches nothing
//	setns, unshare    the leases stay behind with their segment
#include "lifetime.h"

#include "fdmap.h"
#include "fence.h"
#include "real.h"

#include "util.h"

#include <portfence/pool.h>

#include <linux/close_range.h>
#include <linux/nsfs.h>
#include <sched.h>

void pf_lifetime_give(struct pf_fd lease)
{
	if (pf_rarely(!(lease.flags & PF_FD_LEASE) || !pf_fdmap_is_own(lease)))
		return;
	if (pf_rarely(lease.flags & PF_FD_COPIED) && pf_fdmap_is_held(lease))
		return;
	struct pf_segment *segment = pf_fence_attached();
	if (segment && lease.pool < segment->pools)
		pf_pool_give(&segment->pool[lease.pool], lease.stripe, lease.port);
}

// Returns true if the map may be changed at `fd`, or has nothing there to change.
static bool is_ours(int fd)
{
	return !pf_fdmap_knows(fd) || !pf_fdmap_is_borrowed();
}

int pf_lifetime_close(int fd)
{
	if (!pf_fdmap_knows(fd) || pf_fdmap_is_borrowed())
		return pf_real_close(fd);
	// Out of the map before the close: the number may have a new owner right after it.
	struct pf_fd known = pf_fdmap_forget(fd);
	int result = pf_real_close(fd);
	// Whatever close says, the fd is gone (close(2), "Dealing with error returns").
	pf_lifetime_give(known);
	return result;
}

int pf_lifetime_fclose(FILE *stream)
{
	int fd = fileno(stream);
	if (fd < 0 || !is_ours(fd))
		return pf_real_fclose(stream);
	struct pf_fd known = pf_fdmap_forget(fd);
	int result = pf_real_fclose(stream);
	pf_lifetime_give(known);
	return result;
}

// ---- Copies ----------------------------------------------------------------------------------

// After a successful dup: the copy is known as the original is, with its lease, which goes with the
// last of them. Returns the copy's fd.
static int copy_record(int original, int copy)
{
	uint64_t ticket;
	struct pf_fd known = pf_fdmap_get(original, &ticket);
	if (!ticket) {
		pf_lifetime_give(pf_fdmap_forget(copy));
		return copy;
	}
	known.flags |= PF_FD_COPIED;
	// If that fails, the original changed hands: the lease is left to the reap.
	pf_fdmap_replace(original, ticket, known);
	pf_lifetime_give(pf_fdmap_start(copy, known));
	return copy;
}

// After a dup to a number that the kernel chose. Returns that number, or -errno.
static int copy_record_new(int original, int copy)
{
	return copy < 0 || !is_ours(original) || !is_ours(copy) ? copy
								: copy_record(original, copy);
}

int pf_lifetime_dup(int fd)
{
	return copy_record_new(fd, pf_real_dup(fd));
}

int pf_lifetime_dup_from(int fd, int command, long least)
{
	return copy_record_new(fd, (int)pf_sys_result(pf_real_fcntl(fd, command, least)));
}

// dup2 and dup3: what `copy` was is closed. `flags` < 0 is dup2.
int pf_lifetime_dup_to(int fd, int copy, int flags)
{
	if (fd == copy || !is_ours(fd) || !is_ours(copy))
		return pf_real_dup_to(fd, copy, flags);
	struct pf_fd closed = pf_fdmap_forget(copy);
	int result = pf_real_dup_to(fd, copy, flags);
	if (result < 0) {
		// Nothing was closed. If somebody else is at this number by now, the reap will see.
		if (closed.kind != PF_FD_UNKNOWN)
			pf_fdmap_replace(copy, 0, closed);
		return result;
	}
	pf_lifetime_give(closed);
	return copy_record(fd, copy);
}

int pf_lifetime_close_range(unsigned first, unsigned last, int flags)
{
	// With CLOSE_RANGE_UNSHARE, the process's other threads have them still.
	const unsigned keeps = CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE;
	if (((unsigned)flags & keeps) || !pf_fdmap_has(first, last) || pf_fdmap_is_borrowed())
		return pf_real_close_range(first, last, flags);
	pf_fdmap_mark_closing(first, last, true);
	int result = pf_real_close_range(first, last, flags);
	if (result < 0)
		pf_fdmap_mark_closing(first, last, false);
	else
		pf_fdmap_forget_closing(first, last, pf_lifetime_give);
	return result;
}

pid_t pf_lifetime_fork(void)
{
	pf_fdmap_age();
	pid_t pid = pf_real_fork();
	if (pid != 0) // a child notices by itself
		pf_fdmap_age();
	return pid;
}

void *pf_lifetime_vfork(void)
{
	pf_fdmap_vfork();
	return pf_real_vfork();
}

// ---- Network namespaces ----------------------------------------------------------------------

// Returns true if setns(fd, type) may be about the network namespace. Any type that the kernel does
// not tell may be.
static bool is_about_net(int fd, int type)
{
	long types = type ? type : pf_sys(SYS_ioctl, fd, NS_GET_NSTYPE);
	return types < 0 || (types & CLONE_NEWNET);
}

int pf_lifetime_setns(int fd, int type)
{
	int result = pf_real_setns(fd, type);
	if (result == 0 && is_about_net(fd, type))
		pf_fence_move();
	return result;
}

int pf_lifetime_unshare(int flags)
{
	int result = pf_real_unshare(flags);
	if (result == 0 && (flags & CLONE_NEWNET))
		pf_fence_move();
	return result;
}
