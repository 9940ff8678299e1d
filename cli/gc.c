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
#include <unistd.h>

static const char usage[] =
	"Usage: portfence gc\n"
	"\n"
	"Give back the ports of this network namespace that no socket uses any more. Of other\n"
	"namespaces' segments, damaged ones and half made ones, remove what no process has "
	"attached.\n";

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

// Returns true if some process has the file mapped.
static bool is_attached(const char *path)
{
	struct stat status;
	bool found = false;
	DIR *dir = opendir("/proc");
	if (!dir)
		return true;
	if (lstat(path, &status) == 0)
		for (struct dirent *entry; !found && (entry = readdir(dir));)
			if (isdigit((unsigned char)entry->d_name[0]) &&
				atoi(entry->d_name) != getpid())
				found = cli_process_maps(atoi(entry->d_name), &status);
	closedir(dir);
	return found;
}

// Removes what is left over of our files in the directory. Returns 0 or EXIT_PORTFENCE.
static int files_remove(const char *name)
{
	struct dirent **names;
	int result = 0;
	int count = scandir(name, &names, NULL, alphasort);
	if (count < 0)
		return cli_error("%s: %s", name, strerror(errno));
	for (int i = 0; i < count; i++) {
		char path[PF_SEGMENT_PATH];
		const char *file = names[i]->d_name + (names[i]->d_name[0] == '.');
		snprintf(path, sizeof path, "%s/%s", name, names[i]->d_name);
		if (!strncmp(file, PF_SEGMENT_PREFIX, strlen(PF_SEGMENT_PREFIX)) &&
			!cli_segment_is_ours(name, names[i]->d_name) && access(path, W_OK) == 0 &&
			!is_attached(path)) {
			if (unlink(path) == 0)
				printf("%s: removed\n", path);
			else
				result = cli_error("%s: %s", path, strerror(errno));
		}
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
