// SPDX-License-Identifier: MIT
// The segments of this network namespace.
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *cli_segment_dir(void)
{
	const char *dir = getenv("PORTFENCE_DIR");
	return dir && *dir ? dir : PF_SEGMENT_DIR;
}

const char *cli_policy_dir(const struct pf_policy_place *place)
{
	return *place->directory ? place->directory : cli_segment_dir();
}

bool cli_group_is_ours(gid_t group)
{
	return geteuid() == 0 || group == getegid() || group_member(group);
}

bool cli_segment_name(const char *name, uint64_t *ret_netns, struct pf_segment_owner *ret_owner)
{
	unsigned long long digest, netns;
	uint32_t id;
	char made[PF_SEGMENT_PATH];
	const char *group = "g";
	if (sscanf(name, PF_SEGMENT_PREFIX "%16llx.%llu.g%u", &digest, &netns, &id) != 3) {
		group = "";
		if (sscanf(name, PF_SEGMENT_PREFIX "%16llx.%llu.%u", &digest, &netns, &id) != 3)
			return false;
	}
	*ret_netns = netns;
	*ret_owner = *group ? (struct pf_segment_owner){geteuid(), id}
			    : (struct pf_segment_owner){id, PF_POLICY_NOBODY};
	snprintf(
		made, sizeof made, PF_SEGMENT_PREFIX "%016llx.%llu.%s%u", digest, netns, group, id);
	return !strcmp(name, made);
}

// Returns true for the name of a segment of this namespace and of a user or group that we may look
// into, with that in ret_owner.
static bool is_ours(const char *name, uint64_t netns, struct pf_segment_owner *ret_owner)
{
	uint64_t of;
	if (!cli_segment_name(name, &of, ret_owner) || of != netns)
		return false;
	if (ret_owner->group != PF_POLICY_NOBODY)
		return cli_group_is_ours(ret_owner->group);
	return ret_owner->uid == geteuid() || geteuid() == 0;
}

// Opens the owner's segment that has this name. Returns 0, or -errno with a line in reason.
static int segment_open(const char *dir, const char *name, const struct pf_segment_owner *owner,
	struct cli_segment *segment, char *reason)
{
	snprintf(segment->path, sizeof segment->path, "%s/%s", dir, name);
	int result =
		pf_segment_open(segment->path, owner, &segment->policy, &segment->segment, reason);
	for (uint32_t i = 0; result == 0 && i < segment->segment.pools; i++)
		cli_clean(segment->segment.pool[i].name);
	return result;
}

bool cli_segment_is_ours(const char *dir, const char *name)
{
	struct cli_segment segment;
	char reason[PF_SEGMENT_TEXT];
	struct pf_segment_owner owner;
	if (!is_ours(name, pf_diag_netns(), &owner) ||
		segment_open(dir, name, &owner, &segment, reason) < 0)
		return false;
	pf_segment_close(&segment.segment);
	return true;
}

int cli_segments(cli_segment_fn *each, void *arg)
{
	static bool again;
	const char *dir = cli_segment_dir();
	uint64_t netns = pf_diag_netns();
	struct dirent **names;
	int count = scandir(dir, &names, NULL, alphasort);
	if (count < 0)
		return cli_error("%s: %s", dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		static struct cli_segment segment;
		char reason[PF_SEGMENT_TEXT];
		struct pf_segment_owner owner;
		if (!is_ours(names[i]->d_name, netns, &owner)) {
			// another namespace's, another user's, or no segment at all
		} else if (segment_open(dir, names[i]->d_name, &owner, &segment, reason) < 0) {
			if (!again)
				cli_error("%s", reason);
		} else {
			each(&segment, arg);
			pf_segment_close(&segment.segment);
		}
		free(names[i]);
	}
	free(names);
	again = true;
	return 0;
}
