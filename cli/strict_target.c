// SPDX-License-Identifier: MIT
// Who calls: a thread that waits in the kernel for an answer of the supervisor's.
//
// What is asked of it goes by its pid, which may be another's once the caller is dead: after each
// look, strict_request_waits says whether it was the caller's.
#include "strict.h"

#include <portfence/claim.h>

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1) // Linux 5.14
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 // Linux 5.3
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 // Linux 5.6
#endif
#define PIDFD_THREAD O_EXCL // Linux 6.9

// ---- Questions and answers -------------------------------------------------------------------

// Puts the arguments of socketcall(2), which are in memory, in place of its own.
static int socketcall_read(struct strict_request *request)
{
	uint32_t narrow[6] = {0};
	uint64_t wide[6] = {0};
	unsigned number = (unsigned)request->argument[0];
	request->call = strict_call_by_socketcall(number);
	// As many as the call has (kernel: nargs[]): there may be no memory behind them.
	static const unsigned char counts[STRICT_CALLS + 1] = {3, 3, 3, 2, 6, 3, 4, 0};
	size_t count = counts[request->call];
	void *bytes = request->narrow ? (void *)narrow : (void *)wide;
	int result = strict_target_read(request, request->argument[1], bytes,
		count * (request->narrow ? sizeof *narrow : sizeof *wide));
	for (size_t i = 0; i < 6; i++)
		request->argument[i] = request->narrow ? narrow[i] : wide[i];
	return result;
}

int strict_request_read(int listener, struct strict_request *ret_request)
{
	struct seccomp_notif notif = {.id = 0};
	bool socketcall;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) < 0)
		return -errno;
	*ret_request = (struct strict_request){.listener = listener,
		.id = notif.id,
		.pid = (pid_t)notif.pid,
		.narrow = !(notif.data.arch & UINT32_C(0x80000000))}; // __AUDIT_ARCH_64BIT
	memcpy(ret_request->argument, notif.data.args, sizeof ret_request->argument);
	ret_request->call = strict_call_of(notif.data.arch, notif.data.nr, &socketcall);
	int result = socketcall ? socketcall_read(ret_request) : 0;
	if (result == -EPERM)
		strict_target_complain(ret_request, "its memory is closed to portfence");
	if (result < 0)
		strict_answer(ret_request, result == -EPERM ? -EACCES : result);
	return result;
}

bool strict_request_waits(const struct strict_request *request)
{
	return ioctl(request->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &request->id) == 0;
}

// Sends an answer. That nobody waits for it any more is no matter.
static void send_answer(const struct strict_request *request, int64_t result, uint32_t flags)
{
	struct seccomp_notif_resp answer = {.id = request->id,
		.val = result < 0 ? 0 : result,
		.error = result < 0 ? (int32_t)result : 0,
		.flags = flags};
	ioctl(request->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

void strict_answer(const struct strict_request *request, int64_t result)
{
	send_answer(request, result, 0);
}

void strict_answer_go_on(const struct strict_request *request)
{
	send_answer(request, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

void strict_answer_file(const struct strict_request *request, int fd, bool close_on_exec)
{
	struct seccomp_notif_addfd file = {.id = request->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = close_on_exec ? O_CLOEXEC : 0};
	if (ioctl(request->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &file) < 0)
		strict_answer(request, -errno); // EMFILE: the caller's own limit
	close(fd);
}

// ---- Memory and files ------------------------------------------------------------------------

int strict_target_read(
	const struct strict_request *request, uint64_t address, void *bytes, size_t size)
{
	struct iovec here = {bytes, size}, there = {(void *)(uintptr_t)address, size};
	ssize_t got = process_vm_readv(request->pid, &here, 1, &there, 1, 0);
	if (got < 0)
		return errno == EFAULT ? -EFAULT : -EPERM;
	return (size_t)got == size ? 0 : -EFAULT;
}

// Returns the process that a thread belongs to, or the thread.
static pid_t process_of(pid_t thread)
{
	char path[64], line[256];
	int process = thread;
	snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Tgid: %d", &process) == 1)
			break;
	if (file)
		fclose(file);
	return process;
}

int strict_target_fd(const struct strict_request *request, int fd)
{
	long pidfd = syscall(SYS_pidfd_open, request->pid, PIDFD_THREAD);
	if (pidfd < 0 && errno == EINVAL)
		pidfd = syscall(SYS_pidfd_open, process_of(request->pid), 0);
	if (pidfd < 0)
		return errno == EMFILE || errno == ENFILE ? -EMFILE : -EPERM;
	long copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	int result = (int)copy;
	if (copy < 0)
		result = errno == EBADF || errno == EMFILE ? -errno : -EPERM;
	close((int)pidfd);
	return result;
}

// ---- Namespaces ------------------------------------------------------------------------------

// A file of /proc/PID/net has another inode in every namespace, and, unlike /proc/PID/ns/net, may
// be looked at whoever the process is.
uint64_t strict_target_netns(pid_t pid)
{
	char path[64];
	struct stat status;
	if (pid)
		snprintf(path, sizeof path, "/proc/%d/net/dev", (int)pid);
	else
		strcpy(path, "/proc/thread-self/net/dev");
	return stat(path, &status) < 0 ? 0 : status.st_ino;
}

// Moves this process to the network namespace of another. Returns 0 or -EPERM.
static int netns_enter(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
	int net = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
	int user = open(path, O_RDONLY | O_CLOEXEC);
	// Who may not go there may if the user namespace that it belongs to is its own.
	return setns(net, CLONE_NEWNET) == 0 ||
			(setns(user, CLONE_NEWUSER) == 0 && setns(net, CLONE_NEWNET) == 0)
		? 0
		: -EPERM;
}

// Makes a socket as the caller wants it. Returns it, or -errno.
static int socket_make(const struct strict_request *request, const struct pf_ranges *ranges)
{
	const uint32_t both = pf_claim_option(ranges->range[0]);
	int fd = socket((int)request->argument[0], (int)request->argument[1] | SOCK_CLOEXEC,
		(int)request->argument[2]);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &both, sizeof both) == 0)
		return fd;
	close(fd);
	return -ENOTSUP;
}

// The same elsewhere, and sends it.
static void socket_make_there(
	const struct strict_request *request, const struct pf_ranges *ranges, int to)
{
	int fd = netns_enter(request->pid);
	if (fd == 0)
		fd = socket_make(request, ranges);
	if (fd >= 0 && pf_claim_choose(ranges, fd) != PF_CLAIM_LATE)
		fd = -ENOTSUP;
	strict_fd_send(to, fd, 0);
}

// Makes it in a process that moves there. Returns it, or -errno.
static int socket_by_envoy(const struct strict_request *request, const struct pf_ranges *ranges)
{
	int link[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
		return -errno;
	pid_t envoy = fork();
	if (envoy == 0) {
		socket_make_there(request, ranges, link[1]);
		_exit(0);
	}
	close(link[1]);
	int fd = envoy < 0 ? -errno : strict_fd_receive(link[0]);
	close(link[0]);
	if (envoy > 0)
		waitpid(envoy, NULL, 0);
	return fd;
}

int strict_target_socket(const struct strict_request *request, const struct pf_ranges *ranges)
{
	static uint64_t here;
	struct strict_identity identity;
	if (!here)
		here = strict_target_netns(0);
	uint64_t there = strict_target_netns(request->pid);
	if (!there || !here)
		return -EPERM;
	int fd = here == there ? socket_make(request, ranges) : socket_by_envoy(request, ranges);
	// It is the caller's, for whoever asks whose it is. Only root has callers that are others.
	if (fd >= 0 && geteuid() == 0 && strict_target_identity(request->pid, &identity) &&
		(identity.uid != geteuid() || identity.gid != getegid()) &&
		fchown(fd, identity.uid, identity.gid) < 0) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

// ---- Who it is -------------------------------------------------------------------------------

bool strict_target_identity(pid_t pid, struct strict_identity *ret_identity)
{
	char path[64];
	struct stat status;
	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	if (stat(path, &status) < 0)
		return false;
	*ret_identity = (struct strict_identity){status.st_uid, status.st_gid};
	return true;
}

void strict_target_program(pid_t pid, char path[PF_SEGMENT_TEXT])
{
	char link[64];
	snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
	ssize_t length = readlink(link, path, PF_SEGMENT_TEXT - 1);
	path[length > 0 ? length : 0] = 0;
}

void strict_target_complain(const struct strict_request *request, const char *why)
{
	static pid_t last;
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
	char command[PF_COMMAND];
	// The dead have nothing to complain of; and who does not read must not hold everybody up.
	if (request->pid == last || !strict_request_waits(request) || poll(&room, 1, 0) < 1 ||
		!(room.revents & POLLOUT))
		return;
	last = request->pid;
	cli_process_command(request->pid, command);
	cli_clean(command);
	cli_error("%s (pid %d) gets no port: %s", command, (int)request->pid, why);
}

// ---- Passing fds -----------------------------------------------------------------------------

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

void strict_fd_send(int to, int fd, uint64_t mark)
{
	union control control = {.bytes = {0}};
	struct iovec part = {&fd, sizeof fd};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	syscall(SYS_sendmsg, to, &message, MSG_NOSIGNAL, (long)(uint32_t)mark, (long)(mark >> 32));
	// Or the mark stays in the registers, and libc's next call may not fill them.
	syscall(SYS_getpid, 0L, 0L, 0L, 0L, 0L, 0L);
}

int strict_fd_receive(int from)
{
	union control control;
	int fd = -EPIPE;
	struct iovec part = {&fd, sizeof fd};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof fd)
		return -EPIPE;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
	else if (fd >= 0)
		fd = -EPIPE;
	return fd;
}
