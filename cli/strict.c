// SPDX-License-Identifier: MIT
// Strict runs: nothing of the program's escapes the fence.
//
// Theory of operation. A seccomp filter lies under the program and all it starts. What the library
// does has a mark and passes; every other call that leads to a port is stopped, and the supervisor,
// which is this process, is asked. There are two filters:
//
//	ranges  if every pool is one range that the kernel honours, and no rule is about
//	        destinations: socket(2) alone is stopped. The supervisor makes the socket, gives
//	        it the pool's range, and puts it into the program. There is no pointer among the
//	        arguments, so nothing can be changed under our eyes.
//	claims  else: connect, bind, listen and the sends are stopped. The supervisor takes a copy
//	        of the socket, binds it to a port of the pool, and lets the kernel go on
//	        (strict_claim.c).
//
// One loop, in supervise.c, serves everybody, and no answer waits for a program. If the supervisor
// dies, the kernel answers ENOSYS to all that it would have been asked: the fence is closed. It is
// a fence and not a jail: what is read from a program's memory can change before the kernel reads
// it again, the mark can be found in the environment, and files can be passed in.
#include "strict.h"

#include "random.h"
#include "strict_claim.h"
#include "util.h"

#include <portfence/claim.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

// The one run of this process.
static struct {
	struct strict_scene scene;
	bool claims;
	uint64_t mark;
	struct strict_filter filter;
	int link[2]; // by which the child sends the listener
	int listener;
} self = {.listener = -1};

// ---- socket(2) -------------------------------------------------------------------------------

// Returns the protocol of the policy that socket(domain, type, protocol) is about, or 0.
static uint32_t protocol_of(const struct strict_request *request)
{
	int domain = (int)request->argument[0], protocol = (int)request->argument[2];
	int type = (int)request->argument[1] & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	if (type == SOCK_STREAM &&
		(protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		return PF_POLICY_TCP;
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
		return PF_POLICY_UDP;
	return 0;
}

static void serve_socket(const struct strict_request *request)
{
	uint32_t protocol = protocol_of(request);
	struct pf_pool *pool = NULL;
	if (protocol)
		pool = strict_pool(&self.scene, self.scene.segment, request, protocol, NULL);
	if (!pool) {
		strict_answer_go_on(request);
		return;
	}
	bool late = strict_pool_is_late(&self.scene, pool);
	int fd = late ? strict_target_socket(request, &pool->ranges) : -ENOTSUP;
	if (fd >= 0) {
		strict_answer_file(request, fd, request->argument[1] & SOCK_CLOEXEC);
		return;
	}
	if (fd == -ENOTSUP)
		strict_target_complain(request,
			"the kernel does not honour the pool's range; a run that begins now would "
			"bind");
	else if (fd == -EPERM)
		strict_target_complain(request,
			"it is in a network namespace of its own, where portfence may not go");
	strict_answer(request, fd == -ENOTSUP ? -EACCES : fd);
}

static void serve(void *arg)
{
	struct strict_request request;
	(void)arg;
	if (strict_request_read(self.listener, &request) < 0)
		return;
	if (request.call == STRICT_CALLS) // the filter stops no other
		strict_answer(&request, -ENOSYS);
	else if (request.call == STRICT_SOCKET)
		serve_socket(&request);
	else
		strict_claim(&self.scene, &request);
}

// ---- Beginning -------------------------------------------------------------------------------

// In the child: loads the filter and sends the listener. Returns 0 or an exit status.
static int child_enter(void *arg)
{
	(void)arg;
	close(self.link[0]);
	int listener = strict_filter_load(&self.filter);
	strict_fd_send(self.link[1], listener, self.mark);
	if (listener < 0)
		return cli_error("run: --strict: the filter: %s", strerror(-listener));
	close(listener);
	close(self.link[1]);
	return 0;
}

// In the parent: takes it. Returns it, or -1.
static int parent_watch(void *arg)
{
	(void)arg;
	close(self.link[1]);
	self.listener = strict_fd_receive(self.link[0]);
	close(self.link[0]);
	return self.listener < 0 ? -1 : self.listener;
}

int cli_strict_run(cli_program_fn *run, void *arg)
{
	const struct cli_guard guard = {child_enter, parent_watch, serve, NULL};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self.link) < 0)
		return cli_error("run: --strict: %s", strerror(errno));
	return cli_supervise(run, arg, &guard);
}

// ---- What it takes ---------------------------------------------------------------------------

// A child makes one call that is stopped. Returns its exit status: 0 if the answer was right.
static int trial_call(void)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int listener = strict_filter_load(&self.filter);
	strict_fd_send(self.link[1], listener, self.mark);
	if (listener < 0)
		return 1;
	close(listener);
	if (self.claims)
		return connect(self.link[1], &none, sizeof none) != 0;
	return socket(AF_INET, SOCK_DGRAM, 0) < 0;
}

// Answers it. Returns 0 or -errno with a line in reason[PF_SEGMENT_TEXT].
static int trial_answer(int listener, char *reason)
{
	struct pollfd poller = {.fd = listener, .events = POLLIN};
	struct strict_request request;
	struct sockaddr address;
	if (poll(&poller, 1, -1) < 0 || !(poller.revents & POLLIN) ||
		strict_request_read(listener, &request) < 0) {
		snprintf(reason, PF_SEGMENT_TEXT, "the filter stops no call here");
		return -ENOTSUP;
	}
	if (!self.claims) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0)
			strict_answer_file(&request, fd, true);
		return fd < 0 ? -errno : 0;
	}
	int copy = strict_target_fd(&request, (int)request.argument[0]);
	if (copy < 0 ||
		strict_target_read(&request, request.argument[1], &address, sizeof address) < 0) {
		snprintf(reason, PF_SEGMENT_TEXT,
			"the pool needs explicit binds, and looking into programs for that "
			"(pidfd_getfd, process_vm_readv) is forbidden here");
		strict_answer(&request, -EPERM);
	} else
		strict_answer(&request, 0);
	if (copy >= 0)
		close(copy);
	return *reason ? -EPERM : 0;
}

// Says why there is no filter.
static void filter_explain(int error, char *reason)
{
	if (error == EBUSY)
		snprintf(reason, PF_SEGMENT_TEXT,
			"a supervisor is there already: this is inside another strict run, or a "
			"sandbox that has one");
	else if (error == ENOSYS || error == EINVAL)
		snprintf(reason, PF_SEGMENT_TEXT,
			"the kernel has no user notification for seccomp filters: %s",
			strerror(error));
	else
		snprintf(reason, PF_SEGMENT_TEXT, "the seccomp filter is refused here: %s",
			strerror(error));
}

// Tries everything once with a child. Returns 0 or -errno with a line in reason.
static int trial(char *reason)
{
	const struct sigaction waited = {.sa_handler = SIG_DFL};
	struct sigaction was;
	int status = -1;
	*reason = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self.link) < 0)
		return -errno;
	sigaction(SIGCHLD, &waited, &was); // or, if it was ignored, the child leaves no status
	pid_t child = fork();
	if (child == 0)
		_exit(trial_call());
	close(self.link[1]);
	int listener = child < 0 ? -errno : strict_fd_receive(self.link[0]);
	int result = listener;
	if (listener >= 0) {
		result = trial_answer(listener, reason);
		close(listener);
	} else
		filter_explain(-listener, reason);
	close(self.link[0]);
	if (child > 0)
		waitpid(child, &status, 0);
	sigaction(SIGCHLD, &was, NULL);
	if (result == 0 && status != 0) {
		snprintf(reason, PF_SEGMENT_TEXT,
			"the kernel takes no answer with a file (SECCOMP_ADDFD_FLAG_SEND, Linux "
			"5.14)");
		return -ENOTSUP;
	}
	return result;
}

int cli_strict_try(bool claims, bool uring, char *reason)
{
	self.claims = claims;
	while (!(uint32_t)self.mark || !(self.mark >> 32))
		self.mark = pf_random();
	int result = strict_filter_make(&self.filter, claims, uring, self.mark);
	if (result == 0)
		return trial(reason);
	snprintf(reason, PF_SEGMENT_TEXT, "libseccomp: %s", strerror(-result));
	return result;
}

int cli_strict_prepare(const struct cli_strict_policy *policy, char *reason)
{
	char text[32];
	ssize_t length = readlink("/proc/self", text, sizeof text - 1);
	text[length > 0 ? length : 0] = 0;
	// Of who calls, the kernel tells us the pid that it has here.
	if (atoi(text) != getpid()) {
		snprintf(reason, PF_SEGMENT_TEXT,
			"/proc shows no or another PID namespace: it must be mounted in this one");
		return -EPERM;
	}
	int result = strict_scene_set(&self.scene, policy, reason);
	if (result == 0)
		result = cli_strict_try(strict_scene_claims(&self.scene), policy->uring, reason);
	if (result < 0)
		return result;
	snprintf(text, sizeof text, "%016llx", (unsigned long long)self.mark);
	return setenv("PORTFENCE_MARK", text, 1) ? -errno : 0;
}
