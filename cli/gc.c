// SPDX-License-Identifier: MIT
// portfence gc: ports that no socket uses go back, files that nobody needs go away.
#include "cli.h"

#include <portfence/reap.h>

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

// From asking for a policy to the start of the program that says it.
#define YOUNG_S 60

static const char usage[] =
	"Usage: portfence gc\n"
	"\n"
	"Give back the ports of this network namespace that no socket uses any more. Of other\n"
	"namespaces' segments, damaged ones and half made ones, remove what no process has "
	"attached;\n"
	"of compiled policies, what no process was started with. In a container (a PID "
        "namespace),\n"
	"of all these only damaged and half made ones.\n";

static void segment_reap(struct cli_segment *segment, void *arg)
{
	int *failed = arg;
	uint32_t reaped;
	int result = pf_reap(&segment->segment, &reaped);
	if (result < 0) {
		*failed = cli_error("%s: cannot reap: %s", segment->path, strerror(-result));
		return;
	}
	printf("%s: %u given back\n", segment->path, reaped);
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

// Returns true in the first PID namespace. From another one, what runs outside is not to be seen.
static bool sees_all(void)
{
	struct stat status;
	return stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == FIRST_PIDNS;
}

// Returns true if a process of which nothing can be known may use the file: it has a user ID of the
// file's owner, or the file is a group's. Root may look into all, unless it is confined; init, which
// is kept from it first, is in no fence.
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
	if (cli_segments(segment_reap, &failed))
		return EXIT_PORTFENCE;
	result = files_remove(cli_segment_dir());
	return result ? result : failed;
}
