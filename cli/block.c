// SPDX-License-Identifier: MIT
// Blocks: a contiguous part of a pool that one run has for itself.
//
// Theory of operation. Which blocks are taken is known to the kernel alone: a run holds a lock on
// the bytes FIRST..LAST of one file (fcntl(2), "Open file description locks"), whose byte P stands
// for port P and which has no content. So two runs never have a port in common, whatever their
// policies and the sizes of their blocks; and a run that is killed has lost its block that instant.
// Its programs may live on: a block in which the kernel still shows a socket is passed over, by any
// run; one with connections in TIME_WAIT only if there is no other.
//
// The programs know nothing of all this. Their policy has one pool, which is the block.
#include "cli.h"

#include "random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_TURN_MS 50

// Opens the file of locks, and makes it if there is none. Returns an fd, or -1 with a message.
static int locks_open(const struct pf_policy_place *place)
{
	char path[PF_SEGMENT_PATH];
	struct stat status;
	bool shared = place->group != PF_POLICY_NOBODY;
	snprintf(path, sizeof path, "%s/" PF_SEGMENT_PREFIX "blocks.%llu.%s%u",
		cli_policy_dir(place), (unsigned long long)pf_diag_netns(), shared ? "g" : "",
		shared ? place->group : geteuid());
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_CREAT, 0600);
	if (fd < 0 || fstat(fd, &status) < 0) {
		cli_error("%s: %s", path, strerror(errno));
		return -1;
	}
	// Ours to share, if we made it; else its maker has done so.
	if (shared && status.st_uid == geteuid() &&
		(fchown(fd, (uid_t)-1, place->group) < 0 || fchmod(fd, 0660) < 0))
		cli_error("%s: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode) || (status.st_mode & S_IWOTH)) {
		cli_error("%s: not a file of ours", path);
		close(fd);
		return -1;
	}
	return fd;
}

// Returns the lock on ports first..last.
static struct flock lock_of(long first, long last)
{
	return (struct flock){.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = first,
		.l_len = last - first + 1};
}

static int socket_mind(const struct pf_socket *socket, void *arg)
{
	const bool *resting = arg;
	bool rests = socket->protocol == IPPROTO_TCP && socket->state == TCP_TIME_WAIT;
	return rests && *resting ? 0 : -EBUSY;
}

// Returns true if the kernel shows no socket in the block; TIME_WAIT is none if `resting`.
static bool is_unused(struct pf_range block, bool resting)
{
	const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	for (size_t i = 0; i < sizeof protocols; i++)
		if (pf_diag_each(protocols[i], &block, 1, socket_mind, &resting) == -EBUSY)
			return false;
	return true;
}

// Locks the block if nobody has it or a socket in it. Returns true if it is ours.
static bool block_try(int locks, struct pf_range block, bool resting)
{
	struct flock lock = lock_of(block.first, block.last);
	if (fcntl(locks, F_OFD_SETLK, &lock) < 0)
		return false;
	if (is_unused(block, resting))
		return true;
	lock.l_type = F_UNLCK;
	fcntl(locks, F_OFD_SETLK, &lock);
	return false;
}

// Returns how many blocks of `size` ports fit into the ranges, or, for `at` less than that, puts
// the block with that place into ret_block.
static uint32_t block_at(
	const struct pf_ranges *ranges, uint32_t size, uint32_t at, struct pf_range *ret_block)
{
	uint32_t blocks = 0;
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		uint32_t fit = (range.last - range.first + 1u) / size;
		if (at >= blocks && at - blocks < fit) {
			uint32_t first = range.first + (at - blocks) * size;
			*ret_block =
				(struct pf_range){(uint16_t)first, (uint16_t)(first + size - 1)};
		}
		blocks += fit;
	}
	return blocks;
}

// Tries every block once, from a random one on. Returns true if one of them is ours.
static bool block_search(
	int locks, const struct pf_policy_pool *pool, bool resting, struct pf_range *ret_block)
{
	uint32_t blocks = block_at(&pool->ranges, pool->block, UINT32_MAX, ret_block);
	uint32_t start = blocks ? (uint32_t)(pf_random() % blocks) : 0;
	for (uint32_t i = 0; i < blocks; i++) {
		block_at(&pool->ranges, pool->block, (start + i) % blocks, ret_block);
		if (block_try(locks, *ret_block, resting))
			return true;
	}
	return false;
}

int cli_block_take(const struct pf_policy *policy, const struct pf_policy_pool *pool,
	uint64_t wait_ms, struct pf_range *ret_block)
{
	const struct timespec turn = {0, WAIT_TURN_MS * 1000000};
	struct pf_range block;
	uint32_t blocks = block_at(&pool->ranges, pool->block, UINT32_MAX, &block);
	if (blocks == 0)
		return -cli_error("pool %s: no block of %u ports fits into its ranges", pool->name,
			pool->block);
	int locks = locks_open(&policy->place);
	if (locks < 0)
		return -EXIT_PORTFENCE;
	for (uint64_t waited = 0;; waited += WAIT_TURN_MS) {
		if (block_search(locks, pool, false, ret_block) ||
			block_search(locks, pool, true, ret_block))
			return locks;
		if (waited >= wait_ms)
			break;
		nanosleep(&turn, NULL);
	}
	close(locks);
	return -cli_error("pool %s: all blocks of %u ports are taken (%u)%s", pool->name,
		pool->block, blocks, wait_ms ? "" : "; --wait waits for one");
}

// Adds the blocks that are leased among ports first..last, in their order: the kernel tells of one
// that it meets first, not of the lowest.
static void blocks_add(int locks, long first, long last, struct cli_blocks *blocks)
{
	struct flock lock = lock_of(first, last);
	if (first > last || fcntl(locks, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return;
	long end = lock.l_len ? lock.l_start + lock.l_len - 1 : last;
	blocks_add(locks, first, lock.l_start - 1, blocks);
	struct pf_range *more = realloc(blocks->block, (blocks->count + 1) * sizeof *blocks->block);
	if (!more)
		exit(cli_error("out of memory"));
	blocks->block = more;
	more[blocks->count++] = (struct pf_range){(uint16_t)lock.l_start, (uint16_t)end};
	blocks_add(locks, end + 1, last, blocks);
}

// Returns true for a file of locks of this network namespace that we may look at: ours, one of our
// groups', anybody's for root.
static int is_locks(const struct dirent *entry)
{
	unsigned long long netns;
	unsigned owner;
	char end;
	if (sscanf(entry->d_name, PF_SEGMENT_PREFIX "blocks.%llu.g%u%c", &netns, &owner, &end) == 2)
		return netns == pf_diag_netns() && cli_group_is_ours(owner);
	return sscanf(entry->d_name, PF_SEGMENT_PREFIX "blocks.%llu.%u%c", &netns, &owner, &end) ==
		2 &&
		netns == pf_diag_netns() && (geteuid() == 0 || owner == geteuid());
}

void cli_blocks_read(struct cli_blocks *ret_blocks)
{
	struct dirent **names = NULL;
	int dir = open(cli_segment_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int count = dir < 0 ? 0 : scandirat(dir, ".", &names, is_locks, alphasort);
	for (int i = 0; i < count; i++) {
		int locks = openat(
			dir, names[i]->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (locks >= 0) {
			blocks_add(locks, 1, UINT16_MAX, ret_blocks);
			close(locks);
		}
		free(names[i]);
	}
	free(names);
	if (dir >= 0)
		close(dir);
}
