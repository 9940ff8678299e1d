// SPDX-License-Identifier: MIT
// The segment: the shared memory of one policy, in one network namespace, of one user.
//
// Theory of operation. A segment is made under a temporary name, sized by fallocate (a tmpfs that
// fills up later must not raise SIGBUS), filled, and linked to its real name; link fails if
// somebody was faster, and then theirs is used. So whoever finds the name finds a whole segment.
//
// What the file says is compared with what the policy says, field by field, and then never read
// again: every index and address comes from the policy. The bitmaps alone are shared. A file whose
// owner is neither this user nor root, that others may write, or that is no regular file, is not
// touched. No fd is kept: programs that close them all do no harm.
//
// Without a segment the same bytes live in anonymous memory, which forked children still share; and
// without even that in a static array, with one stripe for all destinations and no ring.
#include <portfence/segment.h>

#include "atomics.h"
#include "random.h"
#include "util.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 // asm-generic/socket.h, Linux 5.14
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18 // Linux 4.14
#endif

// A line of /proc, at the most.
#define LINE_MAX_BYTES ((size_t)65536)

const char *pf_segment_errno(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{EACCES, "EACCES (permission denied)"},
		{EBADMSG, "EBADMSG (damaged)"},
		{EISDIR, "EISDIR (a directory)"},
		{EFBIG, "EFBIG (over the file size limit)"},
		{ELOOP, "ELOOP (a symbolic link)"},
		{EMFILE, "EMFILE (no file descriptor left)"},
		{ENFILE, "ENFILE (no file left in the system)"},
		{ENOENT, "ENOENT (no such directory)"},
		{ENOMEM, "ENOMEM (out of memory)"},
		{ENOSPC, "ENOSPC (no space left)"},
		{ENOSYS, "ENOSYS (not allowed here)"},
		{ENOTDIR, "ENOTDIR (not a directory)"},
		{EOPNOTSUPP, "EOPNOTSUPP (this file system cannot reserve space)"},
		{EPERM, "EPERM (not permitted)"},
		{EROFS, "EROFS (read-only)"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].error == error)
			return names[i].name;
	return "an error";
}

void *pf_segment_scratch(size_t size)
{
	void *scratch =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return scratch == MAP_FAILED ? NULL : scratch;
}

void pf_segment_scratch_free(void *scratch, size_t size)
{
	munmap(scratch, size);
}

void *pf_segment_wiped_page(void)
{
	void *page = pf_segment_scratch(PF_SEGMENT_WIPED);
	if (!page)
		return NULL;
	if (!madvise(page, PF_SEGMENT_WIPED, MADV_WIPEONFORK))
		return page;
	munmap(page, PF_SEGMENT_WIPED);
	return NULL;
}

static int open_path(const char *path, int flags)
{
	return (int)pf_sys(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int pf_segment_each_line(const char *path, char end, pf_line_fn *each, void *arg)
{
	int result = -ENOMEM, fd = -1;
	size_t length = 0;
	char *buffer = pf_segment_scratch(LINE_MAX_BYTES);
	if (!buffer)
		return result;
	// Not O_NOFOLLOW: /proc/net is a link.
	fd = (int)pf_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0) {
		result = fd;
		goto out;
	}
	for (;;) {
		long got = pf_sys(SYS_read, fd, buffer + length, LINE_MAX_BYTES - length);
		if (got == -EINTR)
			continue;
		if (got <= 0) {
			result = (int)got;
			break;
		}
		length += (size_t)got;
		char *line = buffer, *last;
		while ((last = memchr(line, end, length - (size_t)(line - buffer)))) {
			*last = 0;
			result = each(line, (size_t)(last - line), arg);
			if (result)
				goto out;
			line = last + 1;
		}
		length -= (size_t)(line - buffer);
		memmove(buffer, line, length);
		result = -EMSGSIZE;
		if (length == LINE_MAX_BYTES)
			goto out;
	}
out:
	if (fd >= 0)
		pf_sys(SYS_close, fd);
	munmap(buffer, LINE_MAX_BYTES);
	return result;
}

uint64_t pf_segment_netns(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof cookie;
	if (!pf_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		return cookie;
	struct statx status;
	if (!pf_sys(SYS_statx, AT_FDCWD, "/proc/thread-self/ns/net", 0, STATX_INO, &status))
		return status.stx_ino;
	return 0;
}

static int boot_id_line(char *line, size_t length, void *arg)
{
	uint8_t *boot_id = arg;
	size_t nibbles = 0;
	for (size_t i = 0; i < length && nibbles < 32; i++) {
		size_t digits;
		uint64_t nibble = pf_number(line + i, 1, 16, &digits);
		if (!digits)
			continue;
		boot_id[nibbles / 2] = (uint8_t)(boot_id[nibbles / 2] << 4 | (uint8_t)nibble);
		nibbles++;
	}
	return 0;
}

// Fills boot_id[16]; with zeros where /proc does not tell (random(4)).
static void boot_id_read(uint8_t *boot_id)
{
	memset(boot_id, 0, 16);
	pf_segment_each_line("/proc/sys/kernel/random/boot_id", '\n', boot_id_line, boot_id);
}

// Writes the constant part of the table's entry for pool `i` of the policy, whose stripe 0 is at
// `offset`. Returns the offset behind the pool.
static size_t entry_write(const struct pf_policy *policy, uint32_t i, uint32_t destinations,
	size_t offset, struct pf_layout_pool *entry)
{
	const struct pf_policy_pool *pool = &policy->pool[i];
	memcpy(entry->name, pool->name, sizeof entry->name);
	entry->offset = offset;
	entry->ports = pool->ranges.ports;
	entry->stripes = PF_STRIPE_TCP + destinations;
	entry->ranges = pool->ranges.count;
	entry->hold_ms = pool->hold_ms;
	memcpy(entry->range, pool->ranges.range, sizeof entry->range);
	entry->step = pool->ranges.step;
	entry->exclusive = pool->flags & PF_POLICY_EXCLUSIVE;
	return offset + entry->stripes * pf_layout_stripe_size(entry->ports);
}

// Returns where stripe 0 of pool 0 is: behind the table.
static size_t stripes_offset(const struct pf_policy *policy)
{
	return sizeof(struct pf_layout_header) + policy->count * sizeof(struct pf_layout_pool);
}

static struct pf_layout_pool *table_of(void *base)
{
	return (void *)((unsigned char *)base + sizeof(struct pf_layout_header));
}

// Returns the entries of the ring: none in the static array.
static uint32_t ring_entries(const struct pf_policy *policy, uint32_t destinations)
{
	uint32_t ports = 0;
	for (uint32_t i = 0; i < policy->count; i++)
		ports += policy->pool[i].ranges.ports;
	return destinations == PF_STRIPES_TCP ? pf_layout_ring_entries(ports) : 0;
}

// Returns the size in bytes of a segment for this policy, with this many destination stripes.
static size_t layout_size(const struct pf_policy *policy, uint32_t destinations)
{
	size_t size = stripes_offset(policy);
	for (uint32_t i = 0; i < policy->count; i++)
		size += (PF_STRIPE_TCP + destinations) *
			pf_layout_stripe_size(policy->pool[i].ranges.ports);
	uint32_t entries = ring_entries(policy, destinations);
	return size + (entries ? pf_layout_ring_size(entries) : 0);
}

size_t pf_segment_size(const struct pf_policy *policy)
{
	return layout_size(policy, PF_STRIPES_TCP);
}

// Writes header and table into zero-filled memory.
static void layout_write(
	const struct pf_policy *policy, uint64_t netns, uint32_t destinations, void *base)
{
	struct pf_layout_header *header = base;
	size_t offset = stripes_offset(policy);
	for (uint32_t i = 0; i < policy->count; i++)
		offset = entry_write(policy, i, destinations, offset, table_of(base) + i);
	header->magic = PF_SEGMENT_MAGIC;
	header->version = PF_SEGMENT_VERSION;
	header->pools = policy->count;
	header->size = layout_size(policy, destinations);
	header->digest = policy->digest;
	header->netns = netns;
	boot_id_read(header->boot_id);
}

// Returns true if the `size` bytes are a segment of exactly this policy.
static bool layout_matches(
	const struct pf_policy *policy, uint32_t destinations, void *base, size_t size)
{
	const struct pf_layout_header *header = base;
	if (size != layout_size(policy, destinations) || header->magic != PF_SEGMENT_MAGIC ||
		header->version != PF_SEGMENT_VERSION || header->pools != policy->count ||
		header->size != size || header->digest != policy->digest)
		return false;
	size_t offset = stripes_offset(policy);
	for (uint32_t i = 0; i < policy->count; i++) {
		struct pf_layout_pool entry;
		offset = entry_write(policy, i, destinations, offset, &entry);
		if (memcmp(&entry, table_of(base) + i, offsetof(struct pf_layout_pool, claim)) != 0)
			return false;
	}
	return true;
}

// Sets up the process's view of a segment at `base`, from the policy alone.
static void view_set(const struct pf_policy *policy, uint32_t destinations, void *base,
	struct pf_segment *segment)
{
	size_t offset = stripes_offset(policy);
	memset(segment, 0, sizeof *segment);
	segment->shared = base;
	segment->netns = segment->shared->netns;
	segment->pools = policy->count;
	for (uint32_t i = 0; i < policy->count; i++) {
		struct pf_pool *pool = &segment->pool[i];
		memcpy(pool->name, policy->pool[i].name, sizeof pool->name);
		pool->ranges = policy->pool[i].ranges;
		pool->words = pf_layout_words(pool->ranges.ports);
		pool->stripes = PF_STRIPE_TCP + destinations;
		pool->hold_ms = policy->pool[i].hold_ms;
		pool->flags = policy->pool[i].flags;
		pool->quota = policy->pool[i].quota;
		pool->exhausted = policy->pool[i].exhausted;
		pool->wait_ms = policy->pool[i].wait_ms;
		pool->place = i;
		pool->stripe_size = pf_layout_stripe_size(pool->ranges.ports);
		pool->stripe = (unsigned char *)base + offset;
		pool->shared = table_of(base) + i;
		offset += pool->stripes * pool->stripe_size;
	}
	segment->ring.shared = (void *)((unsigned char *)base + offset);
	segment->ring.entries = ring_entries(policy, destinations);
	segment->size = layout_size(policy, destinations);
}

int pf_segment_policy(void *bytes, size_t size, struct pf_policy *ret_policy)
{
	const struct pf_layout_header *header = bytes;
	struct pf_policy policy = {.place = {.group = PF_POLICY_NOBODY, .mode = 0600}};

	if (size < sizeof *header)
		return -EBADMSG;
	policy.count = header->pools; // once: whoever wrote it may be writing still
	if (policy.count == 0 || policy.count > PF_POOLS_MAX || size < stripes_offset(&policy))
		return -EBADMSG;
	for (uint32_t i = 0; i < policy.count; i++) {
		const struct pf_layout_pool *entry = table_of(bytes) + i;
		struct pf_policy_pool *pool = &policy.pool[i];
		char name[PF_POOL_NAME] = {0};
		memcpy(name, entry->name, sizeof name - 1);
		*pool = pf_policy_pool_new(name);
		pool->hold_ms = entry->hold_ms;
		pool->flags |= entry->exclusive & PF_POLICY_EXCLUSIVE;
		pool->ranges.count = entry->ranges;
		pool->ranges.step = entry->step;
		memcpy(pool->ranges.range, entry->range, sizeof pool->ranges.range);
		if (pf_ranges_normalise(&pool->ranges, NULL) < 0)
			return -EBADMSG;
	}
	pf_policy_digest(&policy);
	if (!layout_matches(&policy, PF_STRIPES_TCP, bytes, size))
		return -EBADMSG;
	*ret_policy = policy;
	return 0;
}

// Returns -`error` with "path: why" in reason.
static int refuse(const char *path, const char *why, int error, char *reason)
{
	struct pf_text text = pf_text_in(reason, PF_SEGMENT_TEXT);
	pf_text_add(&text, path);
	pf_text_add(&text, ": ");
	pf_text_add(&text, why);
	return -error;
}

// Opens the file at `path` if it can be trusted: it is root's or the owner's, and nobody else may
// write to it. Returns the fd with its status, or -errno with a line in reason.
static int file_open(const char *path, int flags, const struct pf_segment_owner *owner,
	struct statx *status, char *reason)
{
	int fd = open_path(path, flags | O_NONBLOCK);
	if (fd < 0)
		return refuse(path, pf_segment_errno(-fd), -fd, reason);

	int result = (int)pf_sys(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, status);
	bool members = owner->group != PF_POLICY_NOBODY && status->stx_gid == owner->group;
	if (result < 0)
		refuse(path, pf_segment_errno(-result), -result, reason);
	else if ((status->stx_mode & S_IFMT) != S_IFREG)
		result = refuse(path, "not a regular file", EPERM, reason);
	else if (status->stx_uid != owner->uid && status->stx_uid != 0 && !members)
		result = refuse(path, "belongs to another user", EPERM, reason);
	else if (status->stx_mode & (members ? S_IWOTH : S_IWGRP | S_IWOTH))
		result = refuse(path, "others may write to it", EPERM, reason);
	if (result >= 0)
		return fd;
	pf_sys(SYS_close, fd);
	return result;
}

int pf_segment_read(
	const char *path, uint32_t uid, void *bytes, size_t size, size_t *ret_size, char *reason)
{
	const struct pf_segment_owner owner = {uid, PF_POLICY_NOBODY};
	struct statx status;
	size_t length = 0;
	long got;
	int fd = file_open(path, O_RDONLY, &owner, &status, reason);
	if (fd < 0)
		return fd;
	do {
		got = pf_sys(SYS_read, fd, (char *)bytes + length, size - length);
		length += got > 0 ? (size_t)got : 0;
	} while (got > 0 || got == -EINTR);
	pf_sys(SYS_close, fd);
	if (got < 0)
		return refuse(path, pf_segment_errno((int)-got), (int)-got, reason);
	*ret_size = length;
	return 0;
}

// Maps the owner's file at `path` if it can be trusted. Returns 0, or -errno with a line in reason;
// *ret_base is then untouched.
static int file_map(const char *path, const struct pf_segment_owner *owner, void **ret_base,
	size_t *ret_size, char *reason)
{
	struct statx status = {.stx_size = 0};
	void *base = MAP_FAILED;
	int result = 0, fd = file_open(path, O_RDWR, owner, &status, reason);
	if (fd < 0)
		return fd;
	size_t size = (size_t)status.stx_size;
	if (status.stx_size < sizeof(struct pf_layout_header) || status.stx_size > 1u << 30)
		result = refuse(path, "damaged (its size)", EBADMSG, reason);
	else
		base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (result == 0 && base == MAP_FAILED)
		result = refuse(path, pf_segment_errno(errno), errno, reason);
	if (result == 0) {
		*ret_base = base;
		*ret_size = size;
	}
	pf_sys(SYS_close, fd);
	return result;
}

// Returns true if the file is in memory, which no boot outlives.
static bool is_in_memory(const char *path)
{
	struct statfs fs;
	return pf_sys(SYS_statfs, path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

// Returns 0 if the segment is of this boot, as far as can be told, or -ESTALE with a line in
// reason.
static int boot_check(const char *path, const struct pf_layout_header *header, char *reason)
{
	static const uint8_t unknown[16];
	uint8_t boot_id[16];
	boot_id_read(boot_id);
	if (!memcmp(boot_id, unknown, sizeof boot_id) ||
		!memcmp(header->boot_id, unknown, sizeof boot_id))
		return 0;
	// systemd-nspawn shows each container a boot of its own.
	if (memcmp(boot_id, header->boot_id, sizeof boot_id) != 0 && !is_in_memory(path))
		return refuse(path, "of an earlier boot", ESTALE, reason);
	return 0;
}

int pf_segment_open(const char *path, const struct pf_segment_owner *owner,
	struct pf_policy *ret_policy, struct pf_segment *ret_segment, char *reason)
{
	struct pf_policy policy;
	void *base = NULL;
	size_t size = 0;
	int result = file_map(path, owner, &base, &size, reason);
	if (!base)
		return result;
	result = pf_segment_policy(base, size, &policy);
	if (result < 0)
		refuse(path, "damaged, or of another version", EBADMSG, reason);
	else
		result = boot_check(path, base, reason);
	if (result < 0) {
		munmap(base, size);
		return result;
	}
	view_set(&policy, PF_STRIPES_TCP, base, ret_segment);
	*ret_policy = policy;
	return 0;
}

void pf_segment_close(struct pf_segment *segment)
{
	if (segment->size)
		munmap(segment->shared, segment->size);
}

size_t pf_segment_ranges(const struct pf_segment *segment, struct pf_range *ranges)
{
	struct pf_range all = {UINT16_MAX, 0};
	size_t count = 0;
	for (uint32_t i = 0; i < segment->pools; i++)
		for (uint32_t r = 0; r < segment->pool[i].ranges.count; r++) {
			struct pf_range range = segment->pool[i].ranges.range[r];
			if (range.first < all.first)
				all.first = range.first;
			if (range.last > all.last)
				all.last = range.last;
			if (count++ < PF_RANGES_MAX)
				ranges[count - 1] = range;
		}
	if (count <= PF_RANGES_MAX)
		return count;
	ranges[0] = all;
	return 1;
}

// Attaches to an existing file. Returns 0, or -errno with a line in reason.
static int file_attach(const char *path, const struct pf_policy *policy,
	const struct pf_segment_place *place, struct pf_segment *ret_segment, char *reason)
{
	void *base = NULL;
	size_t size = 0;
	const struct pf_segment_owner owner = {place->uid, policy->place.group};
	int result = file_map(path, &owner, &base, &size, reason);
	if (!base)
		return result;
	const struct pf_layout_header *header = base;
	if (!layout_matches(policy, PF_STRIPES_TCP, base, size) || header->netns != place->netns)
		result = refuse(path, "damaged, or of another version", EBADMSG, reason);
	else
		result = boot_check(path, base, reason);
	if (result < 0) {
		munmap(base, size);
		return result;
	}
	view_set(policy, PF_STRIPES_TCP, base, ret_segment);
	return 0;
}

// Reserves `size` bytes for the file. Returns 0 or -errno.
static int file_reserve(int fd, size_t size)
{
	struct rlimit limit;
	// Past this limit the kernel would send SIGXFSZ, which ends the program.
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < size)
		return -EFBIG;
	if (sizeof(long) == 8)
		return (int)pf_sys(SYS_fallocate, fd, 0, 0l, (long)size);
	return fallocate(fd, 0, 0, (off_t)size) ? -errno : 0;
}

// Gives the file the group and the mode of the policy. Returns 0 or -errno.
static int file_share(int fd, const struct pf_policy *policy)
{
	long result = 0;
	if (policy->place.group != PF_POLICY_NOBODY)
		result = pf_sys(SYS_fchown, fd, -1, policy->place.group);
	return result < 0 ? (int)result : fchmod(fd, policy->place.mode & 0660) ? -errno : 0;
}

// Makes the file at `path`. Returns 0, -EEXIST if somebody else just did, or -errno with a line in
// reason.
static int file_create(const char *path, const char *dir, const struct pf_policy *policy,
	uint64_t netns, pf_segment_prepare *prepare, void *arg, struct pf_segment *ret_segment,
	char *reason)
{
	char temporary[PF_SEGMENT_PATH];
	struct pf_text text = pf_text_in(temporary, sizeof temporary);
	pf_text_add(&text, dir);
	pf_text_add(&text, "/." PF_SEGMENT_PREFIX);
	pf_text_add_hex(&text, pf_random());

	size_t size = pf_segment_size(policy);
	void *base = MAP_FAILED;
	int fd = open_path(temporary, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return refuse(path, pf_segment_errno(-fd), -fd, reason);
	int result = file_share(fd, policy);
	if (result == 0)
		result = file_reserve(fd, size);
	if (result < 0)
		goto out;
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		result = -errno;
		goto out;
	}
	layout_write(policy, netns, PF_STRIPES_TCP, base);
	view_set(policy, PF_STRIPES_TCP, base, ret_segment);
	// Where many start at once, one of them may be done with what takes longest.
	if (pf_sys(SYS_faccessat, AT_FDCWD, path, F_OK) == 0) {
		result = -EEXIST;
		goto out;
	}
	prepare(ret_segment, arg);
	result = (int)pf_sys(SYS_linkat, AT_FDCWD, temporary, AT_FDCWD, path, 0);
out:
	if (result < 0) {
		refuse(path, pf_segment_errno(-result), -result, reason);
		if (base != MAP_FAILED)
			munmap(base, size);
	}
	pf_sys(SYS_unlinkat, AT_FDCWD, temporary, 0);
	pf_sys(SYS_close, fd);
	return result;
}

int pf_segment_path(
	const struct pf_policy *policy, const struct pf_segment_place *place, char *path)
{
	const char *dir = place->dir ? place->dir : PF_SEGMENT_DIR;
	struct pf_text text = pf_text_in(path, PF_SEGMENT_PATH);
	pf_text_add(&text, dir);
	pf_text_add(&text, "/" PF_SEGMENT_PREFIX);
	pf_text_add_hex(&text, policy->digest);
	pf_text_add(&text, ".");
	pf_text_add_number(&text, place->netns);
	bool shared = policy->place.group != PF_POLICY_NOBODY;
	pf_text_add(&text, shared ? ".g" : ".");
	pf_text_add_number(&text, shared ? policy->place.group : place->uid);
	return text.length < PF_SEGMENT_PATH - 1 ? 0 : -ENAMETOOLONG;
}

// Makes a private segment, which cannot fail.
static void memory_attach(const struct pf_policy *policy, uint64_t netns,
	pf_segment_prepare *prepare, void *arg, struct pf_segment *ret_segment)
{
	// Room for header, table, and three stripes of every pool of any policy.
	static alignas(64) unsigned char last_resort[sizeof(struct pf_layout_header) +
		PF_POOLS_MAX * (sizeof(struct pf_layout_pool) + 3 * 192) + 3 * 1024 * 32];
	uint32_t destinations = PF_STRIPES_TCP;
	void *base = mmap(NULL, layout_size(policy, destinations), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED) {
		destinations = 1;
		base = last_resort;
	}
	layout_write(policy, netns, destinations, base);
	view_set(policy, destinations, base, ret_segment);
	ret_segment->alone = true;
	if (base == last_resort)
		ret_segment->size = 0; // not ours to unmap
	prepare(ret_segment, arg);
}

int pf_segment_attach(const struct pf_policy *policy, const struct pf_segment_place *place,
	pf_segment_prepare *prepare, void *arg, struct pf_segment *ret_segment, char *reason)
{
	char path[PF_SEGMENT_PATH];
	const char *dir = place->dir ? place->dir : PF_SEGMENT_DIR;
	int result = *dir == '/' ? pf_segment_path(policy, place, path) : -EINVAL;
	if (result < 0)
		refuse(dir, result == -EINVAL ? "not an absolute path" : "path too long", -result,
			reason);

	// Each turn ends in a segment, or in another process's doing between two of our steps.
	for (int turns = 0; result == 0 && turns < 8; turns++) {
		result = file_attach(path, policy, place, ret_segment, reason);
		if (result == 0)
			return 0;
		if (result == -ESTALE)
			pf_sys(SYS_unlinkat, AT_FDCWD, path, 0);
		else if (result != -ENOENT)
			break;
		result = file_create(
			path, dir, policy, place->netns, prepare, arg, ret_segment, reason);
		if (result == 0)
			return 0;
		if (result == -EEXIST)
			result = 0;
	}
	memory_attach(policy, place->netns, prepare, arg, ret_segment);
	return result ? result : -EBUSY;
}
