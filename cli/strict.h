// SPDX-License-Identifier: MIT
// Strict runs: a supervisor gives ports to the calls that the library does not see.
#ifndef PF_STRICT_H
#define PF_STRICT_H

#include "cli.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

// ---- For run.c and doctor --------------------------------------------------------------------

// What the supervisor goes by.
struct cli_strict_policy {
	const struct pf_policy *policy;
	const struct pf_rules *rules;
	const char *pool; // of every call, whatever the rules say; or NULL
	bool uring;       // io_uring is let through
};

// Finds out whether such a run is possible here, and what it takes. Returns 0, or -errno with a
// line in reason[PF_SEGMENT_TEXT].
int cli_strict_prepare(const struct cli_strict_policy *policy, char *reason);

// The same for pools that need `claims` (strict_filter_make), or do not, whichever they are: what a
// strict run asks of the system is tried with a child.
int cli_strict_try(bool claims, bool uring, char *reason);

// As cli_supervise, and gives ports to the calls of all these processes, after cli_strict_prepare.
int cli_strict_run(cli_program_fn *run, void *arg);

// ---- The filter (strict_filter.c) ------------------------------------------------------------

enum strict_call {
	STRICT_SOCKET,
	STRICT_CONNECT,
	STRICT_BIND,
	STRICT_LISTEN,
	STRICT_SENDTO,
	STRICT_SENDMSG,
	STRICT_SENDMMSG,
	STRICT_CALLS, // none of them
};

struct strict_filter {
	unsigned short length;
	struct sock_filter code[512];
};

// Writes a filter that sends calls without the mark to the supervisor: with `claims`, those that
// make the kernel choose a port, else socket(2). Returns 0 or -errno.
int strict_filter_make(struct strict_filter *ret_filter, bool claims, bool uring, uint64_t mark);

// Loads it into this process, which gains no privilege from then on. Returns the fd on which the
// supervisor listens, or -errno.
int strict_filter_load(const struct strict_filter *filter);

// Returns the call that a system call is, or STRICT_CALLS; or that it is socketcall(2).
enum strict_call strict_call_of(uint32_t arch, int number, bool *ret_socketcall);

// Returns the call that socketcall's first argument names, or STRICT_CALLS.
enum strict_call strict_call_by_socketcall(unsigned number);

// ---- Who calls (strict_target.c) -------------------------------------------------------------

// A call that waits for its answer.
struct strict_request {
	int listener;
	uint64_t id;
	pid_t pid; // of the thread
	enum strict_call call;
	bool narrow; // a 32-bit program's
	uint64_t argument[6];
};

// Reads what waits on the listener. Returns 0, or -errno: nothing does any more.
int strict_request_read(int listener, struct strict_request *ret_request);

// Returns true while the caller waits, so that what its pid says is about it.
bool strict_request_waits(const struct strict_request *request);

// Answer it: with a result (or -errno), by letting the kernel go on with it, or with a file, which
// is closed here.
void strict_answer(const struct strict_request *request, int64_t result);
void strict_answer_go_on(const struct strict_request *request);
void strict_answer_file(const struct strict_request *request, int fd, bool close_on_exec);

// Reads `size` bytes of the caller's memory. Returns 0, -EFAULT, or -EPERM.
int strict_target_read(
	const struct strict_request *request, uint64_t address, void *bytes, size_t size);

// Returns a copy of the caller's fd, or -errno: -EBADF if it has none; -EPERM.
int strict_target_fd(const struct strict_request *request, int fd);

// Returns a number that tells the network namespace of a thread (0: our own) from any other's, or 0
// if nobody may know.
uint64_t strict_target_netns(pid_t pid);

// Makes a socket in the caller's network namespace, with first..last as range for the kernel's
// choice. Returns it, or -errno: -EPERM if we may not go there, -ENOTSUP if the kernel does not
// honour the range there.
int strict_target_socket(const struct strict_request *request, const struct pf_ranges *ranges);

// Who a caller is: its effective IDs, the path of its program ("": nobody may know).
struct strict_identity {
	uid_t uid;
	gid_t gid;
};
bool strict_target_identity(pid_t pid, struct strict_identity *ret_identity);
void strict_target_program(pid_t pid, char path[PF_SEGMENT_TEXT]);

// Says of a caller, once for each in turn, that its call fails, and why.
void strict_target_complain(const struct strict_request *request, const char *why);

// Sends an fd, or, if `fd` is negative, that; the call has the mark.
void strict_fd_send(int to, int fd, uint64_t mark);

// Returns what the other side sent, or -EPIPE if it is gone.
int strict_fd_receive(int from);

#endif
