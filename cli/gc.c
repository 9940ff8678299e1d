// SPDX-License-Identifier: MIT
// portfence gc: ports that no socket uses go back, files that nobody needs go away.
#include "cli.h"

#include <portfence/reap.h>

#include "random.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// The inode of the PID namespace that all others are in: PROC_PID_INIT_INO.
#define FIRST_PIDNS 0xEFFFFFFCu

// How long a segment that nobody has stays, for the sake of its history.
#define IDLE_S 3600

// From asking for a policy to the start of the program that says it.
#define YOUNG_S 60

static const char usage[] =
	"Usage: portfence gc\n"
	"\n"
	"Give back the ports of this network namespace that no socket uses any more, and remove\n"
	"what nobody needs: segments that no process has, if they are another namespace's,\n"
	"damaged, half made, or without a lease for an hour; policies that no process was started\n"
	"with. A container sees only its own processes: there, damaged and half made ones alone.\n";

// Returns true in the first PID namespace. From another one, what runs outside is not to be seen.
static bool sees_all(void)
{
	struct stat status;
	return stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == FIRST_PIDNS;
}

// What is asked of a process. Returns 1 for yes, 0 for no, or -1 if that cannot be known.
typedef int ask_fn(pid_t pid, const void *arg);

static int ask_maps(pid_t pid, const void *status)
{
	return cli_process_maps(pid, status);
}

static int ask_says(pid_t pid, const void *policy)
{
	return cli_process_says(pid, policy);
}

// Returns true if a process of which nothing can be known may use the file: it has the owner's user
// ID, or the file is a group's. Root sees all, unless it is confined; init, which is kept from it
// first, is in no fence.
static bool may_use(pid_t pid, const struct stat *file)
{
	return pid != 1 &&
		(geteuid() == 0 || file->st_mode & S_IWGRP || cli_process_is_of(pid, file->st_uid));
}

// Returns true if some other process says yes, or may mean it.
static bool is_any(ask_fn *ask, const void *arg, const struct stat *file)
{
	bool found = false;
	DIR *dir = opendir("/proc");
	if (!dir)
		return true;
	for (struct dirent *entry; !found && (entry = readdir(dir));) {
		pid_t pid = (pid_t)atol(entry->d_name);
		if (pid <= 0 || pid == getpid())
			continue;
		int answer = ask(pid, arg);
		found = answer > 0 || (answer < 0 && may_use(pid, file));
	}
	closedir(dir);
	return found;
}

// Returns true if some process has the file mapped.
static bool is_attached(const char *path)
{
	struct stat status;
	return lstat(path, &status) == 0 && is_any(ask_maps, &status, &status);
}

// Returns when the last lease that the segment knows of was taken, in seconds since 1970, or 0.
static uint64_t last_lease(const struct pf_ring *ring)
{
	uint64_t last = 0;
	struct pf_lease lease;
	for (uint32_t place = 0; place < ring->entries; place++)
		if (pf_ring_read(ring, place, &lease) && lease.time_ns / 1000000000 > last)
			last = lease.time_ns / 1000000000;
	return last;
}

// Returns true if no lease was taken for an hour, or for the hold if that is longer; also if there
// never was one.
static bool is_idle(const struct pf_segment *segment)
{
	uint64_t rest = IDLE_S;
	for (uint32_t i = 0; i < segment->pools; i++)
		if (segment->pool[i].hold_ms / 1000 > rest)
			rest = segment->pool[i].hold_ms / 1000;
	return last_lease(&segment->ring) + rest < (uint64_t)time(NULL);
}

// Returns true if nobody needs the segment, which is mapped here, at this moment. Our own mapping
// shows that this file system's files can be told from one another in /proc/PID/maps.
static bool is_left(const struct cli_segment *segment)
{
	struct stat status;
	return sees_all() && lstat(segment->path, &status) == 0 &&
		access(segment->path, W_OK) == 0 && is_idle(&segment->segment) &&
		cli_process_maps(getpid(), &status) == 1 && !is_any(ask_maps, &status, &status);
}

// Removes the segment if nobody needs it. It is put aside for a second look: from then on nobody
// finds it, and who had found it before has it by now, but for a process that stood still between
// open and mmap. That one would share its ports with its children alone, and the kernel arbitrates.
// Returns true if it is gone.
static bool segment_remove(const struct cli_segment *segment)
{
	char aside[PF_SEGMENT_PATH + 32];
	if (!is_left(segment))
		return false;
	snprintf(aside, sizeof aside, "%.*s/." PF_SEGMENT_PREFIX "%016llx",
		(int)(strrchr(segment->path, '/') - segment->path), segment->path,
		(unsigned long long)pf_random());
	if (rename(segment->path, aside) < 0)
		return false;
	bool back = is_attached(aside) && link(aside, segment->path) == 0;
	unlink(aside);
	if (!back)
		printf("%s: removed\n", segment->path);
	return !back;
}

// Gives back what no socket of the segment uses, or removes all of it.
static void segment_collect(struct cli_segment *segment, void *arg)
{
	int *failed = arg;
	uint32_t reaped;
	if (segment_remove(segment))
		return;
	int result = pf_reap(&segment->segment, &reaped);
	if (result < 0) {
		*failed = cli_error("%s: cannot reap: %s", segment->path, strerror(-result));
		return;
	}
	printf("%s: %u given back\n", segment->path, reaped);
}

// Returns true if the file was written, or asked for, within the last minute.
static bool is_young(const char *path)
{
	struct stat status;
	return lstat(path, &status) == 0 && status.st_mtime > time(NULL) - YOUNG_S;
}

// Returns true if some program was started with the policy of this name, or is about to be. The
// second look at its age is for a run that asked for it meanwhile.
static bool is_policy_used(const char *path, const char *name)
{
	struct stat status;
	return is_young(path) || (lstat(path, &status) == 0 && is_any(ask_says, name, &status)) ||
		is_young(path);
}

// What a file is, by its name.
enum kind {
	KIND_FOREIGN,   // none of ours; and locks of blocks, see below
	KIND_SEGMENT,   // of this network namespace
	KIND_ELSEWHERE, // of another
	KIND_HALF,      // a segment, while it is made
	KIND_POLICY,
};

// Returns true if the name is this one, or one that mkostemp makes of it.
static bool is_temporary(const char *name, const char *made)
{
	size_t length = strlen(made);
	if (strncmp(name, made, length) != 0)
		return false;
	name += length;
	return !*name || (*name == '.' && strlen(name) == 7 && isalnum((unsigned char)name[6]));
}

// Returns what a file of this name is. The locks of blocks (portfence.blocks.*) stay for good: one
// that is removed just when somebody has opened it would lock nothing, and they are empty.
static enum kind kind_of(const char *name)
{
	unsigned long long number;
	uint64_t netns;
	unsigned uid;
	char made[PF_SEGMENT_PATH];
	struct pf_segment_owner owner;
	if (cli_segment_name(name, &netns, &owner))
		return netns == pf_diag_netns() ? KIND_SEGMENT : KIND_ELSEWHERE;
	if (sscanf(name, "." PF_SEGMENT_PREFIX "%16llx", &number) == 1) {
		snprintf(made, sizeof made, "." PF_SEGMENT_PREFIX "%016llx", number);
		return strcmp(name, made) ? KIND_FOREIGN : KIND_HALF;
	}
	if (sscanf(name, PF_SEGMENT_PREFIX "%16llx.%u", &number, &uid) == 2) {
		snprintf(made, sizeof made, PF_SEGMENT_PREFIX "%016llx.%u.policy", number, uid);
		return is_temporary(name, made) ? KIND_POLICY : KIND_FOREIGN;
	}
	return KIND_FOREIGN;
}

// Returns true if somebody needs the file, or may, or it is none of ours.
static bool is_needed(const char *dir, const char *name, const char *path)
{
	switch (kind_of(name)) {
	case KIND_SEGMENT:
		return cli_segment_is_ours(dir, name) || is_attached(path);
	case KIND_ELSEWHERE:
		return !sees_all() || is_attached(path);
	case KIND_HALF:
		return is_attached(path);
	case KIND_POLICY:
		return !sees_all() || is_policy_used(path, name);
	default:
		return true;
	}
}

// Removes what is left over of our files in the directory. Returns 0 or EXIT_PORTFENCE.
static int files_remove(const char *dir)
{
	struct dirent **names;
	int result = 0;
	int count = scandir(dir, &names, NULL, alphasort);
	if (count < 0)
		return cli_error("%s: %s", dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		char path[PF_SEGMENT_PATH];
		const char *name = names[i]->d_name;
		int length = snprintf(path, sizeof path, "%s/%s", dir, name);
		if ((size_t)length >= sizeof path || is_needed(dir, name, path) ||
			access(path, W_OK) < 0) {
			// it stays
		} else if (unlink(path) == 0)
			printf("%s: removed\n", path);
		else
			result = cli_error("%s: %s", path, strerror(errno));
		free(names[i]);
	}
	free(names);
	return result;
}

int cli_gc(int argc, char **argv)
{
	int failed = 0;
	int result = cli_options(argc, argv, usage, NULL, NULL);
	if (result >= 0)
		return result;
	if (cli_segments(segment_collect, &failed))
		return EXIT_PORTFENCE;
	result = files_remove(cli_segment_dir());
	return result ? result : failed;
}
