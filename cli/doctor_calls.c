// SPDX-License-Identifier: MIT
// portfence doctor: the system calls that the library makes and a seccomp filter may refuse, and
// those that a strict run takes.
//
// What a filter says is known only by asking: each call is made in a child, which the filter may
// kill, with arguments that change nothing.
#include "doctor.h"

#include "preflight.h"
#include "strict.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct call {
	const char *name;
	long number;
	long argument[5];
	int error; // that the kernel gives; 0: none
	bool vital;
} calls[] = {
	{"bind", SYS_bind, {-1}, EBADF, true},
	{"getsockname", SYS_getsockname, {-1}, EBADF, true},
	{"getsockopt", SYS_getsockopt, {-1, SOL_SOCKET, SO_DOMAIN}, EBADF, true},
	{"setsockopt", SYS_setsockopt, {-1, SOL_IP, IP_LOCAL_PORT_RANGE}, EBADF, true},
	{"fallocate", SYS_fallocate, {-1, 0, 0, 1}, EBADF, false},
	{"fchmod", SYS_fchmod, {-1}, EBADF, false},
	{"getrandom", SYS_getrandom, {0}, 0, false},
	{"linkat", SYS_linkat, {-1, (long)"a", -1, (long)"a"}, EBADF, false},
	{"statx", SYS_statx, {-1, (long)"a", 0, 0, (long)"a"}, EBADF, false},
	{"unlinkat", SYS_unlinkat, {-1, (long)"a"}, EBADF, false},
	{"sock_diag", SYS_socket, {AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG}, 0, false},
	{"sendto", SYS_sendto, {-1}, EBADF, false},
	{"recvfrom", SYS_recvfrom, {-1}, EBADF, false},
};

// Returns true if the call gets through to the kernel.
static bool call_passes(const struct call *call)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return true;
	if (pid == 0) {
		const long *a = call->argument;
		long result = syscall(call->number, a[0], a[1], a[2], a[3], a[4]);
		_exit(call->error ? result != -1 || errno != call->error : result < 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void doctor_calls(struct doctor *doctor)
{
	const char *privileges = cli_status_number("NoNewPrivs", 10, 0)
		? "; no_new_privs is set, so set-ID bits do nothing"
		: "";
	char refused[256] = "";
	bool vital = false;
	if (cli_status_number("Seccomp", 10, 0) == 0) {
		doctor_ok("seccomp", "no filter%s", privileges);
		return;
	}
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!call_passes(&calls[i])) {
			vital |= calls[i].vital;
			snprintf(refused + strlen(refused), sizeof refused - strlen(refused),
				"%s%s", *refused ? " " : "", calls[i].name);
		}
	if (!*refused) {
		doctor_ok("seccomp", "a filter, which allows what the library needs%s", privileges);
		return;
	}
	if (vital)
		doctor_fail(doctor, "seccomp", "the filter refuses %s", refused);
	else
		doctor_warn("seccomp",
			"the filter refuses %s: programs do not know of each other's ports",
			refused);
	doctor_mend("SystemCallFilter=%s   # in the unit; or: docker run --security-opt "
		    "seccomp=unconfined",
		strstr(refused, "sock_diag") ? "@network-io @file-system" : refused);
}

void doctor_strict(const struct doctor *doctor)
{
	char reason[PF_SEGMENT_TEXT] = "";
	bool claims = doctor->claim != PF_CLAIM_LATE || doctor->policy.pool[0].ranges.count > 1;
	int result = cli_strict_try(claims, false, reason);
	if (result == 0) {
		doctor_ok("strict", "run --strict is possible, by %s",
			claims ? "explicit binds" : "the range that sockets begin with");
		return;
	}
	doctor_warn(
		"strict", "run --strict is not possible: %s", *reason ? reason : strerror(-result));
	doctor_mend("portfence run --strict=auto --ports %s -- PROGRAM", doctor->ports);
}
