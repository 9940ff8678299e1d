// SPDX-License-Identifier: MIT
// A client that knows nothing of the fence and does whatever comes to its mind, until it is killed:
// worker run|exec|hold SLOT SEED FIRST LAST MOST REUSE
#define _GNU_SOURCE 1
#include "traffic.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct slot *self;
static char **arguments;

// The command line of another image of this program.
struct image {
	char slot[12], seed[24];
	char *argv[9];
};

static void image_make(struct image *image, char *how, int slot, uint64_t seed)
{
	snprintf(image->slot, sizeof image->slot, "%d", slot);
	snprintf(image->seed, sizeof image->seed, "%llu", (unsigned long long)seed);
	memcpy(image->argv, arguments, sizeof image->argv);
	image->argv[1] = how;
	image->argv[2] = image->slot;
	image->argv[3] = image->seed;
}

static void nap(uint64_t *seed, unsigned us)
{
	struct timespec pause = {0, (long)below(seed, us) * 1000};
	nanosleep(&pause, NULL);
}

// Takes a slot for this process.
static void self_be(int slot)
{
	self = &page->slot[slot];
	atomic_store(&self->pid, getpid());
	watch = &self->call[0];
}

static void end(void)
{
	atomic_store(&self->pid, 0);
	_exit(0);
}

// Looks after children: none may end by a signal but SIGKILL.
static void children_reap(void)
{
	int status;
	while (waitpid(-1, &status, WNOHANG) > 0)
		if ((WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) ||
			(WIFEXITED(status) && WEXITSTATUS(status) != 0))
			finding("a child ended with status %#x", (unsigned)status);
}

// Forks; past the fence's hook if nobody minds. The side that stays goes on, with or without the
// other.
static void do_fork(uint64_t *seed)
{
	int slot = slot_take(page);
	unsigned how = below(seed, 4);
	bool unseen = !traffic_is_shy() && chance(seed, 20);
	uint64_t childs = luck(seed);
	if (slot < 0)
		return;
	traffic_share();
	call_begin(__LINE__);
	pid_t pid = unseen ? _Fork() : fork();
	atomic_store(watch, 0);
	if (pid < 0) {
		finding("fork: %s", strerrorname_np(errno));
		atomic_store(&page->slot[slot].pid, 0);
		return;
	}
	count(FORKS);
	if (pid == 0) {
		self_be(slot);
		*seed = childs;
		if (how > 1)
			return; // both go on
		if (how == 0)
			traffic_close_all(seed);
		else
			nap(seed, 20000);
		end();
	}
	if (how == 1)
		traffic_close_all(seed); // before the child does
}

// vforks a child that closes something of its own and becomes another image, which holds the rest.
__attribute__((noinline)) static void do_vfork(uint64_t *seed)
{
	struct image image;
	int closes = traffic_any(seed), slot = traffic_is_shy() ? -1 : slot_take(page);
	if (slot < 0)
		return;
	image_make(&image, "hold", slot, luck(seed));
	call_begin(__LINE__);
	pid_t pid = vfork();
	if (pid == 0) {
		close(closes);
		execv("/proc/self/exe", image.argv);
		_exit(127);
	}
	atomic_store(watch, 0);
	if (pid < 0)
		finding("vfork: %s", strerrorname_np(errno));
	count(FORKS);
}

static void do_exec(uint64_t *seed)
{
	struct image image;
	image_make(&image, "exec", (int)(self - page->slot), luck(seed));
	execv("/proc/self/exe", image.argv);
	finding("execv: %s", strerrorname_np(errno));
}

// Holds what another image left, and a connection of its own, for a while.
static void hold(uint64_t *seed)
{
	traffic_step(seed);
	for (unsigned turns = below(seed, 300); turns && !atomic_load(&page->stop); turns--)
		nap(seed, 2000);
	end();
}

int main(int argc, char **argv)
{
	if (argc != 8)
		errx(2, "usage: worker run|exec|hold SLOT SEED FIRST LAST MOST REUSE");
	uint64_t seed = strtoull(argv[3], NULL, 10);
	arguments = argv;
	orders.first = (unsigned)atoi(argv[4]);
	orders.last = (unsigned)atoi(argv[5]);
	orders.most = (unsigned)atoi(argv[6]);
	orders.reuse = atoi(argv[7]);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, FD_PAGE, 0);
	if (page == MAP_FAILED)
		err(2, "the page");
	self_be(atoi(argv[2]));
	if (strcmp(argv[1], "run") != 0)
		traffic_adopt();
	if (strcmp(argv[1], "hold") == 0)
		hold(&seed);
	while (!atomic_load(&page->stop)) {
		unsigned draw = below(&seed, 1000);
		if (draw < 20)
			do_fork(&seed);
		else if (draw < 35)
			do_vfork(&seed);
		else if (draw < 38)
			do_exec(&seed);
		else if (draw < 50)
			traffic_threads(&seed, self);
		else if (draw < 52)
			end();
		else
			traffic_step(&seed);
		children_reap();
		if (chance(&seed, 50))
			nap(&seed, 8000);
	}
	end();
}
