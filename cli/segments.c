// SPDX-License-Identifier: MIT
// The segments of this network namespace.
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *cli_segment_dir(void)
{
	const char *dir = getenv("PORTFENCE_DIR");
	return dir && *dir ? dir : PF_SEGMENT_DIR;
}

int cli_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 ? fd : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static uint64_t netns_of_self(void)
{
	int fd = cli_socket();
	uint64_t netns = pf_segment_netns(fd);
	if (fd >= 0)
		close(fd);
	return netns;
}

// Returns true for the name of a segment of this namespace and of a user that we may look into,
// with that user in ret_uid.
static bool is_ours(const char *name, uint64_t netns, uint32_t *ret_uid)
{
	unsigned long long digest, of;
	char end;
	if (sscanf(name, PF_SEGMENT_PREFIX "%16llx.%llu.%u%c", &digest, &of, ret_uid, &end) != 3)
		return false;
	return of == netns && (*ret_uid == geteuid() || geteuid() == 0);
}

bool cli_segment_is_ours(const char *dir, const char *name)
{
	struct cli_segment segment;
	char reason[PF_SEGMENT_TEXT];
	uint32_t uid;
	if (!is_ours(name, netns_of_self(), &uid))
		return false;
	snprintf(segment.path, sizeof segment.path, "%s/%s", dir, name);
	if (pf_segment_open(segment.path, uid, &segment.policy, &segment.segment, reason) < 0)
		return false;
	pf_segment_close(&segment.segment);
	return true;
}

int cli_segments(cli_segment_fn *each, void *arg)
{
	const char *dir = cli_segment_dir();
	uint64_t netns = netns_of_self();
	struct dirent **names;
	int found = 0;
	int count = scandir(dir, &names, NULL, alphasort);
	if (count < 0) {
		cli_error("%s: %s", dir, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		static struct cli_segment segment;
		char reason[PF_SEGMENT_TEXT];
		uint32_t uid;
		if (is_ours(names[i]->d_name, netns, &uid)) {
			found++;
			snprintf(segment.path, sizeof segment.path, "%s/%s", dir, names[i]->d_name);
			if (pf_segment_open(segment.path, uid, &segment.policy, &segment.segment,
				    reason) < 0) {
				cli_error("%s", reason);
			} else {
				each(&segment, arg);
				pf_segment_close(&segment.segment);
			}
		}
		free(names[i]);
	}
	free(names);
	return found;
}
