// SPDX-License-Identifier: MIT
// The parent of a run: as an init is, until the last of its descendants has ended.
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

// Returns true for a signal that the terminal sent to the whole group: the program has it, too.
static bool is_shared(const struct signalfd_siginfo *info)
{
	if (info->ssi_code != SI_KERNEL)
		return false;
	switch (info->ssi_signo) {
	case SIGHUP: // of a line that is lost, the session's leader alone is told
		return getsid(0) != getpid();
	case SIGINT:
	case SIGQUIT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGWINCH:
		return true;
	default:
		return false; // alarm(2) was set before exec, say
	}
}

// Returns true if whoever started the run had the signal ignored.
static bool is_ignored(int number)
{
	struct sigaction action;
	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

// What is known of a run.
struct run {
	pid_t program;
	int status;         // -1: it has not ended
	bool asked_to_stop; // by the terminal, since it was last stopped
};

// Looks at the descendants that ended or stopped. Returns false if there is none left.
static bool descendants_reap(struct run *run)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != run->program)
			continue;
		if (!WIFSTOPPED(status)) {
			run->status = status;
			continue;
		}
		// For the shell that waits for us; but who stopped the program alone will have it
		// alone go on.
		if (WSTOPSIG(status) != SIGSTOP || run->asked_to_stop)
			kill(getpid(), SIGSTOP);
		run->asked_to_stop = false;
	}
	return pid == 0;
}

// Acts on a signal. Returns false if it ends the wait for what the program has left behind, which
// is not ours to end.
static bool signal_take(struct run *run, const struct signalfd_siginfo *info)
{
	const int number = (int)info->ssi_signo;
	run->asked_to_stop |= number == SIGTSTP;
	if (number == SIGCHLD)
		return true;
	if (run->status == -1) {
		if (!is_shared(info))
			kill(run->program, number);
		return true;
	}
	return (number != SIGTERM && number != SIGINT && number != SIGHUP) || is_ignored(number);
}

// Waits for the end of all descendants. Returns the program's status.
static int descendants_wait(pid_t program, int signals, int watched, const struct cli_guard *guard)
{
	struct pollfd polls[] = {
		{.fd = signals, .events = POLLIN}, {.fd = watched, .events = POLLIN}};
	struct run run = {.program = program, .status = -1};
	struct signalfd_siginfo infos[8]; // all that wait: of a stop, the terminal's signal, too
	bool goes_on = true;
	while (goes_on && descendants_reap(&run)) {
		do {
			if (poll(polls, 2, -1) < 0)
				continue;
			if (guard && (polls[1].revents & POLLIN))
				guard->serve(guard->arg);
			else if (polls[1].revents)
				polls[1].fd = -1; // nobody is left who could ask
		} while (!(polls[0].revents & POLLIN));
		ssize_t got = read(signals, infos, sizeof infos);
		for (ssize_t i = 0; i < got / (ssize_t)sizeof *infos; i++)
			goes_on &= signal_take(&run, &infos[i]);
	}
	return run.status;
}

// Lets go of the files that came with exec, which are the program's: where it closes one, a
// listener or the end of a pipe, nobody is to keep it open. What is ours is closed on exec. Of the
// standard ones, messages need the last.
static void files_leave(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	DIR *files = opendir("/proc/self/fd");
	struct dirent *file;
	for (int fd = 0; null >= 0 && fd < STDERR_FILENO; fd++)
		dup3(null, fd, O_CLOEXEC);
	while (files && (file = readdir(files))) {
		int fd = atoi(file->d_name);
		if (fd > STDERR_FILENO && fcntl(fd, F_GETFD) == 0)
			close(fd);
	}
	if (files)
		closedir(files);
	if (null > STDERR_FILENO)
		close(null);
}

// A service manager names by its pid the process that it means: in the child, that is the program.
static void pid_rename(const char *variable)
{
	char text[16];
	const char *pid = getenv(variable);
	if (!pid || atoi(pid) != getppid())
		return;
	snprintf(text, sizeof text, "%d", (int)getpid());
	setenv(variable, text, 1);
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
		pid_rename("LISTEN_PID");   // sd_listen_fds(3)
		pid_rename("WATCHDOG_PID"); // sd_watchdog_enabled(3)
		int refused = guard ? guard->enter(guard->arg) : 0;
		_exit(refused ? refused : run(arg));
	}
	files_leave();
	int watched = guard ? guard->watch(guard->arg) : -1;
	int status = descendants_wait(program, signals, watched, guard);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
