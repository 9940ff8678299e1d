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

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_TURN_MS 50

// Opens the file of locks, with O_CREAT in `flags` makes it. Returns an fd or -1; if it is to be
// made, with a message.
static int locks_open(const struct pf_policy_place *place, int flags)
{
	char path[PF_SEGMENT_PATH];
	struct stat status;
	bool shared = place->group != PF_POLICY_NOBODY;
	snprintf(path, sizeof path, "%s/" PF_SEGMENT_PREFIX "blocks.%llu.%s%u",
		cli_policy_dir(place), (unsigned long long)pf_diag_netns(), shared ? "g" : "",
		shared ? place->group : geteuid());
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	if (fd < 0 && !flags)
		return -1;
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
	int locks = locks_open(&policy->place, O_CREAT);
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

// Prints the blocks that are leased among ports first..last, each behind `*before`: the kernel
// tells of one that it meets first, not of the lowest.
static void blocks_print(int locks, long first, long last, const char **before)
{
	struct flock lock = lock_of(first, last);
	if (first > last || fcntl(locks, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return;
	long end = lock.l_len ? lock.l_start + lock.l_len - 1 : last;
	blocks_print(locks, first, lock.l_start - 1, before);
	printf("%s%ld-%ld", *before, (long)lock.l_start, end);
	*before = " ";
	blocks_print(locks, end + 1, last, before);
}

void cli_blocks_print(void)
{
	const struct pf_policy_place ours = {.group = PF_POLICY_NOBODY};
	const char *before = "\nBLOCKS  ";
	int locks = locks_open(&ours, 0);
	if (locks < 0)
		return;
	blocks_print(locks, 1, UINT16_MAX, &before);
	if (*before == ' ')
		putchar('\n');
	close(locks);
}
