// SPDX-License-Identifier: MIT
// The parent of a run: as an init is, until the last of its descendants has ended.
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// Signals that come from the terminal reach the program by themselves: it is in the same process
// group. Others are passed on.
static void signal_pass(const siginfo_t *info, pid_t program)
{
	if (info->si_code != SI_KERNEL)
		kill(program, info->si_signo);
}

// Looks at the descendants that ended or stopped. Returns false if there is none left.
static bool descendants_reap(pid_t program, int *status)
{
	int each;
	pid_t pid;
	while ((pid = waitpid(-1, &each, WNOHANG | WUNTRACED)) > 0) {
		if (pid == program && WIFSTOPPED(each))
			kill(getpid(), SIGSTOP); // for the shell that waits for us
		else if (pid == program)
			*status = each;
	}
	return pid == 0;
}

int cli_supervise(cli_program_fn *run, void *arg)
{
	sigset_t all, before;
	struct sigaction child = {.sa_handler = SIG_DFL}, was;
	int status = -1;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	sigaction(SIGCHLD, &child, &was);
	prctl(PR_SET_CHILD_SUBREAPER, 1L);
	pid_t program = fork();
	if (program < 0)
		return cli_error("fork: %s", strerror(errno));
	if (program == 0) {
		sigaction(SIGCHLD, &was, NULL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		_exit(run(arg));
	}
	while (descendants_reap(program, &status)) {
		siginfo_t info;
		int number = sigwaitinfo(&all, &info);
		if (number > 0 && number != SIGCHLD && status == -1)
			signal_pass(&info, program);
		else if (number == SIGTERM || number == SIGINT || number == SIGHUP)
			break; // what the program left behind is not ours to end
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
