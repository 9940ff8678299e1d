// SPDX-License-Identifier: MIT
// The parent of a run: as an init is, until the last of its descendants has ended.
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

// Signals that come from the terminal reach the program by themselves: it is in the same process
// group. Others are passed on.
static void signal_pass(const struct signalfd_siginfo *info, pid_t program)
{
	if (info->ssi_code != SI_KERNEL)
		kill(program, (int)info->ssi_signo);
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

// Acts on a signal. Returns false if it ends the wait for what the program has left behind, which
// is not ours to end.
static bool signal_take(const struct signalfd_siginfo *info, pid_t program, int status)
{
	const int number = (int)info->ssi_signo;
	if (number != SIGCHLD && status == -1)
		signal_pass(info, program);
	else if (number == SIGTERM || number == SIGINT || number == SIGHUP)
		return false;
	return true;
}

// Waits for the end of all descendants. Returns the program's status.
static int descendants_wait(pid_t program, int signals, int watched, const struct cli_guard *guard)
{
	struct pollfd polls[] = {
		{.fd = signals, .events = POLLIN}, {.fd = watched, .events = POLLIN}};
	struct signalfd_siginfo info = {.ssi_signo = SIGCHLD};
	int status = -1;
	while (descendants_reap(program, &status)) {
		do {
			if (poll(polls, 2, -1) < 0)
				continue;
			if (guard && (polls[1].revents & POLLIN))
				guard->serve(guard->arg);
			else if (polls[1].revents)
				polls[1].fd = -1; // nobody is left who could ask
		} while (!(polls[0].revents & POLLIN));
		if (read(signals, &info, sizeof info) == (ssize_t)sizeof info &&
			!signal_take(&info, program, status))
			break;
	}
	return status;
}

int cli_supervise(cli_program_fn *run, void *arg, const struct cli_guard *guard)
{
	sigset_t all, before;
	struct sigaction child = {.sa_handler = SIG_DFL}, was;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	sigaction(SIGCHLD, &child, &was);
	prctl(PR_SET_CHILD_SUBREAPER, 1L);
	int signals = signalfd(-1, &all, SFD_CLOEXEC);
	pid_t program = signals < 0 ? -1 : fork();
	if (program < 0)
		return cli_error("fork: %s", strerror(errno));
	if (program == 0) {
		sigaction(SIGCHLD, &was, NULL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		int refused = guard ? guard->enter(guard->arg) : 0;
		_exit(refused ? refused : run(arg));
	}
	int watched = guard ? guard->watch(guard->arg) : -1;
	int status = descendants_wait(program, signals, watched, guard);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
