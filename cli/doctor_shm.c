// SPDX-License-Identifier: MIT
// portfence doctor: the directory of the shared memory, and the segment in it. Without them the
// fence stands, but programs do not know of each other's ports.
#include "doctor.h"

#include "cli.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ALONE "programs do not know of each other's ports"

// Examines the directory. Returns true if segments can be made there.
static bool directory_examine(const char *dir)
{
	struct stat status;
	struct statvfs system;
	struct statfs type;
	const char *error = stat(dir, &status) < 0 ? strerror(errno) : NULL;
	if (error) {
		doctor_warn("shm", "%s: %s: " ALONE, dir, error);
		doctor_mend("install -d -m 1777 %s", dir);
	} else if (!S_ISDIR(status.st_mode)) {
		doctor_warn("shm", "%s: not a directory: " ALONE, dir);
		doctor_mend("unset PORTFENCE_DIR");
	} else if (statvfs(dir, &system) == 0 && system.f_flag & ST_RDONLY) {
		doctor_warn("shm", "%s: read-only: " ALONE, dir);
		doctor_mend("mount -o remount,rw %s", dir);
	} else if (eaccess(dir, W_OK | X_OK) < 0) {
		doctor_warn("shm", "%s: not writable for this user: " ALONE, dir);
		doctor_mend("chmod 1777 %s", dir);
	} else {
		if ((status.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH) {
			doctor_warn("shm", "%s: anybody may remove another user's segment", dir);
			doctor_mend("chmod +t %s", dir);
		}
		if (statfs(dir, &type) == 0 && type.f_type != TMPFS_MAGIC) {
			doctor_warn(
				"shm", "%s: not a tmpfs, so the kernel writes it to a disk", dir);
			doctor_mend("mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs %s", dir);
		}
		return true;
	}
	return false;
}

// Examines whether a new segment of `size` bytes would fit.
static void space_examine(const char *dir, size_t size)
{
	const unsigned kib = 1024;
	const size_t needed = (size + kib - 1) / kib;
	struct statvfs system;
	struct rlimit limit;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size) {
		doctor_warn("shm", "a process may not make a file of %zu KiB: " ALONE, needed);
		doctor_mend("ulimit -f unlimited");
	}
	// A tmpfs without a limit says 0 of 0 blocks.
	if (statvfs(dir, &system) < 0 || system.f_blocks == 0)
		return;
	uint64_t room = (uint64_t)system.f_bavail * system.f_frsize;
	uint64_t all = (uint64_t)system.f_blocks * system.f_frsize;
	if (room >= size) {
		doctor_ok("shm", "%s: %llu KiB free, a segment takes %zu", dir,
			(unsigned long long)room / kib, needed);
		return;
	}
	doctor_warn("shm", "%s: %llu KiB free, the segment takes %zu: " ALONE, dir,
		(unsigned long long)room / kib, needed);
	doctor_mend("mount -o remount,size=%lluk %s", (unsigned long long)(all + size) / kib + kib,
		dir);
}

// Examines the segment of the policy, if there is one. Returns true if a new one will be made.
static bool segment_examine(struct doctor *doctor, const char *dir)
{
	struct pf_policy policy;
	char path[PF_SEGMENT_PATH], reason[PF_SEGMENT_TEXT];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct pf_segment_place place = {dir, pf_segment_netns(fd), geteuid()};
	close(fd);
	if (pf_segment_path(&doctor->policy, &place, path) < 0) {
		doctor_warn("shm", "PORTFENCE_DIR is too long: " ALONE);
		doctor_mend("unset PORTFENCE_DIR");
		return false;
	}
	int result = pf_segment_open(path, &(struct pf_segment_owner){geteuid(), PF_POLICY_NOBODY},
		&policy, &doctor->segment, reason);
	if (result == 0) {
		stat(path, &doctor->file);
		struct pf_pool_usage use = pf_pool_usage(&doctor->segment.pool[0]);
		doctor_ok("segment", "%s: version %u, %u in use, %u free", path, PF_SEGMENT_VERSION,
			use.used, use.free);
		return false;
	}
	doctor->segment.pools = 0;
	if (result == -ENOENT || result == -ESTALE) {
		doctor_ok("segment", "none yet: the first program makes it");
		return true;
	}
	doctor_warn("segment", "%s: " ALONE, reason);
	doctor_mend("rm %s", path);
	return false;
}

void doctor_shm(struct doctor *doctor)
{
	const char *dir = cli_segment_dir();
	if (!directory_examine(dir))
		return;
	if (!doctor->policy.count)
		doctor_ok("shm", "%s", dir);
	else if (segment_examine(doctor, dir))
		space_examine(dir, pf_segment_size(&doctor->policy));
}
