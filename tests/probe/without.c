// SPDX-License-Identifier: MIT
// Runs a program under a seccomp filter: without errno|kill NUMBER[,NUMBER...] PROGRAM...
// The system calls with these numbers fail with EPERM, or end the process.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sock_filter filter[64] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog program = {.len = 1, .filter = filter};
	unsigned verdict = SECCOMP_RET_ERRNO | EPERM;

	if (argc < 4)
		errx(2, "usage: without errno|kill NUMBER[,NUMBER...] PROGRAM...");
	if (!strcmp(argv[1], "kill"))
		verdict = SECCOMP_RET_KILL_PROCESS;
	for (char *at = strtok(argv[2], ","); at && program.len < 60; at = strtok(NULL, ",")) {
		filter[program.len++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(at), 0, 1);
		filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
	}
	filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		err(2, "seccomp");
	execvp(argv[3], argv + 3);
	err(127, "%s", argv[3]);
}
