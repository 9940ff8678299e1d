// SPDX-License-Identifier: MIT
// The segment: the shared memory of one policy, in one network namespace, of one user.
//
// Also the only place that maps memory and opens files, for the whole shim: what needs either asks
// here.
#ifndef PORTFENCE_SEGMENT_H
#define PORTFENCE_SEGMENT_H

#include <portfence/policy.h>
#include <portfence/pool.h>
#include <portfence/ring.h>

#include <stdbool.h>

#define PF_SEGMENT_DIR "/dev/shm"
#define PF_SEGMENT_PREFIX "portfence."
#define PF_SEGMENT_PATH 512
#define PF_SEGMENT_TEXT 768

// A segment as one process sees it.
struct pf_segment {
	struct pf_layout_header *shared; // its reaped_ms only
	size_t size;                     // of what pf_segment_close unmaps; 0: nothing
	bool alone;                      // nobody but this process and its children sees it
	uint64_t netns;                  // of the sockets it is about, see pf_segment_netns
	uint32_t pools;
	struct pf_ring ring;
	struct pf_pool pool[PF_POOLS_MAX];
};

// Where a segment lives: <dir>/portfence.<digest>.<netns>.<uid>, or .g<gid> if the policy has a
// group.
struct pf_segment_place {
	const char *dir; // NULL: PF_SEGMENT_DIR
	uint64_t netns;  // see pf_segment_netns
	uint32_t uid;    // effective, of its creator
};

// Writes the segment's path into path[PF_SEGMENT_PATH]. Returns 0, or -ENAMETOOLONG.
int pf_segment_path(
	const struct pf_policy *policy, const struct pf_segment_place *place, char *path);

// Returns the bytes of a segment of this policy.
size_t pf_segment_size(const struct pf_policy *policy);

// Called on a new segment before anybody else sees it, to choose claims and learn what is in use.
typedef void pf_segment_prepare(struct pf_segment *segment, void *arg);

// Attaches to the policy's segment, or makes it. If that cannot be had (see docs/DESIGN.md, "No
// segment, still a fence"), makes a private one. Returns 0 for a shared segment; for a private one
// -errno of what stood in the way, with a line in reason[PF_SEGMENT_TEXT]. ret_segment is usable in
// both cases.
int pf_segment_attach(const struct pf_policy *policy, const struct pf_segment_place *place,
	pf_segment_prepare *prepare, void *arg, struct pf_segment *ret_segment, char *reason);

// Whose file is trusted, besides root's: nobody else may write to it.
struct pf_segment_owner {
	uint32_t uid;
	uint32_t group; // its members too, unless PF_POLICY_NOBODY
};

// Opens the owner's segment at `path` as the command does, which learns the policy from it. Returns
// 0, or -errno with a line in reason[PF_SEGMENT_TEXT]: -ESTALE if it is of an earlier boot,
// -EBADMSG if it is damaged, -EPERM if its owner or mode cannot be trusted.
int pf_segment_open(const char *path, const struct pf_segment_owner *owner,
	struct pf_policy *ret_policy, struct pf_segment *ret_segment, char *reason);

void pf_segment_close(struct pf_segment *segment);

// Reads the file of user `uid` at `path`, up to `size` bytes of it. Returns 0 with their number in
// ret_size, or -errno with a line in reason[PF_SEGMENT_TEXT].
int pf_segment_read(
	const char *path, uint32_t uid, void *bytes, size_t size, size_t *ret_size, char *reason);

// Writes the ranges of all pools into ranges[PF_RANGES_MAX], or, where there are more of them, one
// that covers them all. Returns their count.
size_t pf_segment_ranges(const struct pf_segment *segment, struct pf_range *ranges);

// Reads a policy out of the `size` bytes of a segment, believing nothing. Returns 0 or -EBADMSG.
int pf_segment_policy(void *bytes, size_t size, struct pf_policy *ret_policy);

// Returns what tells the network namespace of socket `fd` from every other: SO_NETNS_COOKIE
// (socket(7), Linux 5.14), before that the inode of /proc/thread-self/ns/net, or 0 without both.
uint64_t pf_segment_netns(int fd);

// Returns `size` bytes of zero-filled private memory, or NULL.
void *pf_segment_scratch(size_t size);
void pf_segment_scratch_free(void *scratch, size_t size);

#define PF_SEGMENT_WIPED 4096

// Returns PF_SEGMENT_WIPED bytes that are zero-filled again in a child after fork, or NULL where
// the kernel (before 4.14) cannot do that.
void *pf_segment_wiped_page(void);

// Called with one line, without what ends it, NUL-terminated. Returns 0 to go on.
typedef int pf_line_fn(char *line, size_t length, void *arg);

// Calls `each` for the lines of a text file (of /proc), each of which ends with `end`. Returns 0,
// what `each` returned if that was not 0, or -errno; -EMSGSIZE for a line of more than 64 KiB.
int pf_segment_each_line(const char *path, char end, pf_line_fn *each, void *arg);

// Returns a short name for an errno: "ENOSPC (no space left)".
const char *pf_segment_errno(int error);

#endif
