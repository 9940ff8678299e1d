// SPDX-License-Identifier: MIT
// Puts a policy where the programs find it: a file beside the segments, named by its content.
#include "cli.h"

#include <portfence/segment.h>

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Returns 0 if the file at `path` has these bytes; -ENOENT if there is none; or an exit status.
static int file_compare(const char *path, const void *bytes, size_t size)
{
	char reason[PF_SEGMENT_TEXT];
	char *found = malloc(PF_RULES_FILE_MAX);
	size_t length = 0;
	if (!found)
		return cli_error("out of memory");
	int result = pf_segment_read(path, geteuid(), found, PF_RULES_FILE_MAX, &length, reason);
	if (result < 0 && result != -ENOENT)
		result = cli_error("%s", reason);
	else if (result == 0 && (length != size || memcmp(found, bytes, size) != 0))
		result = cli_error("%s: not the policy that its name says; remove it", path);
	free(found);
	return result;
}

// Makes the file at `path`. Returns 0, also if somebody else just did, or an exit status.
static int file_make(const char *path, const void *bytes, size_t size)
{
	char temporary[PF_SEGMENT_PATH + 16];
	snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return cli_error("%s: %s", path, strerror(errno));
	ssize_t written = write(fd, bytes, size);
	if (written >= 0 && (size_t)written < size)
		errno = ENOSPC;
	bool made = written == (ssize_t)size && fchmod(fd, 0644) == 0 &&
		(link(temporary, path) == 0 || errno == EEXIST);
	int result = made ? 0 : cli_error("%s: %s", path, strerror(errno));
	close(fd);
	unlink(temporary);
	return result;
}

int cli_policy_publish(const struct pf_policy *policy, const struct pf_rules *rules, char *path)
{
	const char *dir = cli_policy_dir(&policy->place);
	unsigned char *bytes = calloc(1, PF_RULES_FILE_MAX);
	if (!bytes)
		return cli_error("out of memory");
	size_t size = pf_rules_write(policy, rules, bytes, PF_RULES_FILE_MAX);
	int result = 0;
	if (size > PF_RULES_FILE_MAX)
		result = cli_error("the policy is too large");
	else if (snprintf(path, PF_SEGMENT_PATH, "%s/" PF_SEGMENT_PREFIX "%016llx.%u.policy", dir,
			 (unsigned long long)pf_hash(bytes, size), geteuid()) >= PF_SEGMENT_PATH)
		result = cli_error("%s: %s", dir, strerror(ENAMETOOLONG));
	else {
		// It is in use, before a program says so: gc looks at its age.
		utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
		result = file_compare(path, bytes, size);
	}
	if (result == -ENOENT)
		result = file_make(path, bytes, size);
	if (result == 0)
		result = file_compare(path, bytes, size);
	free(bytes);
	return result == -ENOENT ? cli_error("%s: %s", path, strerror(ENOENT)) : result;
}
