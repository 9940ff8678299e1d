// SPDX-License-Identifier: MIT
// A segment that somebody else wrote: good with damage, or all of the attacker's making. Either it
// is refused, or everything that can be done with it stays inside the mapping and inside the
// ranges, with the shared words scribbled on between any two steps, and during a reap.
//
// Input: flags, damage, then steps; a reap takes the kernel's sockets out of it, too.
#include "fuzz.h"

#include "util.h"

#include <portfence/diag.h>
#include <portfence/reap.h>
#include <portfence/segment.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define NETNS 4711
#define STEPS_MAX 32
#define REAPS_MAX 1 // they cost the most
#define FORGED_MAX ((size_t)1 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
uint64_t __wrap_pf_now_ms(void);
void *__wrap_pf_segment_scratch(size_t size);
void __wrap_pf_segment_scratch_free(void *scratch, size_t size);

enum flags {
	FLAG_POLICY = 3,   // which of the good segments
	FLAG_FORGED = 4,   // none of them: a table of the attacker's own
	FLAG_ATTACH = 8,   // as a program does, which knows the policy; else as the command does
	FLAG_SIZE = 16,    // the file's size is damaged, too
	FLAG_COMPARE = 32, // what is read out of memory of that size must be the same
	FLAG_LATER = 192,  // either: the damage comes after the attach (no file is opened: quick)
};

// A segment as pf_segment_attach makes it, and the file that it is in.
struct original {
	const char *ports;
	uint32_t hold_ms;
	struct pf_policy policy;
	void *image; // as it was made
	void *live;  // the file
	size_t size;
	struct pf_segment attached;
	int fd;
	char path[PF_SEGMENT_PATH];
};

static struct original originals[] = {
	{.ports = "20000-20003,20010", .hold_ms = 1000},
	{.ports = "65468-65535", .hold_ms = 60000},
	{.ports = "1"},
	{.ports = "7-70", .hold_ms = 2},
};

static char dir[] = "/dev/shm/portfence-fuzz-XXXXXX";
static char forged_path[PF_SEGMENT_PATH];
static int forged_fd;
static char reason[PF_SEGMENT_TEXT];

// The run in hand: its input, its clock, and the bytes that may be scribbled on.
static struct input *script;
static uint64_t now;
static int reaps;
static unsigned char *shared;
static size_t shared_size;

uint64_t __wrap_pf_now_ms(void)
{
	// So that waiting for somebody else's reap comes to an end.
	return now += PF_REAP_PATIENCE_MS / 4;
}

// From the heap, for the sanitizer to see every step beyond it.
void *__wrap_pf_segment_scratch(size_t size)
{
	return calloc(1, size);
}

void __wrap_pf_segment_scratch_free(void *scratch, size_t size)
{
	(void)size;
	free(scratch);
}

// ---- The kernel ------------------------------------------------------------------------------

// Writes over some of the shared bytes.
static void scribble(void)
{
	uint8_t how = input_byte(script), byte = input_byte(script);
	size_t at = (size_t)input_pair(script) * 8 % (shared_size / 8 * 8);
	uint64_t word;
	if (how < 4)
		memset(shared, byte, shared_size);
	else if (how < 64) {
		size_t length = (size_t)how * 64;
		memset(shared + at, byte, length < shared_size - at ? length : shared_size - at);
	} else if (how < 128) {
		word = byte < 8 ? now - byte : (uint64_t)byte << 56;
		memcpy(shared + at, &word, sizeof word);
	} else {
		input_take(script, &word, sizeof word);
		memcpy(shared + at, &word, sizeof word);
	}
}

uint64_t pf_diag_netns(void)
{
	return input_byte(script) == 255 ? 1 : NETNS;
}

// Shows sockets out of the input, also such as were not asked for, and damages meanwhile.
int pf_diag_each(
	uint8_t protocol, const struct pf_range *ranges, size_t count, pf_diag_fn *each, void *arg)
{
	require(count >= 1 && count <= PF_RANGES_MAX && ranges[0].first >= 1);
	for (uint8_t sockets = input_byte(script) % 8; sockets; sockets--) {
		uint8_t state = input_byte(script), place = input_byte(script);
		struct pf_socket socket = {
			.protocol = protocol, .state = state & 15, .inode = input_byte(script)};
		socket.local.port = state & 128 ? input_pair(script)
						: (uint16_t)(ranges[place % count].first + place);
		socket.peer.port = state & 64 ? 0 : input_byte(script);
		socket.peer.address[15] = place;
		if (each(&socket, arg))
			return -EBADMSG;
		if (state & 32)
			scribble();
	}
	uint8_t end = input_byte(script);
	return end < 200 ? 0 : -end;
}

// ---- Files -----------------------------------------------------------------------------------

static void prepare(struct pf_segment *segment, void *arg)
{
	(void)segment;
	(void)arg;
}

static int attach(const struct original *original, struct pf_segment *ret_segment)
{
	const struct pf_segment_place place = {.dir = dir, .netns = NETNS, .uid = geteuid()};
	return pf_segment_attach(&original->policy, &place, prepare, NULL, ret_segment, reason);
}

// Maps the file of a good segment, in which inputs do their damage.
static void original_map(struct original *original)
{
	original->fd = open(original->path, O_RDWR | O_CLOEXEC);
	require(original->fd >= 0);
	original->live =
		mmap(NULL, original->size, PROT_READ | PROT_WRITE, MAP_SHARED, original->fd, 0);
	require(original->live != MAP_FAILED);
}

static void original_make(struct original *original)
{
	struct pf_segment *segment = &original->attached;
	char error[PF_ERROR_TEXT];
	require(pf_policy_from_ports(original->ports, &original->policy, error) == 0);
	original->policy.pool[0].hold_ms = original->hold_ms;
	pf_policy_digest(&original->policy);
	require(attach(original, segment) == 0);
	snprintf(original->path, sizeof original->path, "%s/" PF_SEGMENT_PREFIX "%016llx.%d.%u",
		dir, (unsigned long long)original->policy.digest, NETNS, (unsigned)geteuid());
	original->size = segment->size;
	original->image = copy_exactly(segment->shared, segment->size, 0);
	original_map(original);
}

static void files_remove(void)
{
	for (size_t i = 0; i < sizeof originals / sizeof *originals; i++)
		unlink(originals[i].path);
	unlink(forged_path);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	require(mkdtemp(dir));
	for (size_t i = 0; i < sizeof originals / sizeof *originals; i++)
		original_make(&originals[i]);
	snprintf(forged_path, sizeof forged_path, "%s/forged", dir);
	forged_fd = open(forged_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(forged_fd >= 0);
	return atexit(files_remove);
}

// ---- Steps -----------------------------------------------------------------------------------

// Returns the used bits that stand against a newcomer in the stripe; of the whole stripe, as it was
// counted last.
static uint64_t taken(const struct pf_pool *pool, uint32_t stripe, uint32_t word)
{
	const struct pf_layout_word *own = pf_pool_word(pool, stripe, word);
	const struct pf_layout_word *whole = pf_pool_word(pool, PF_STRIPE_WHOLE, word);
	if (stripe >= PF_STRIPE_TCP)
		return own->used | whole->used;
	return stripe == PF_STRIPE_WHOLE ? own->used | own->busy : own->used;
}

// Fails if `ports` of a word, `avoid` aside, are free.
static void full_check(const struct pf_pool *pool, uint32_t stripe, uint16_t avoid)
{
	int32_t avoided = avoid ? pf_ranges_index(&pool->ranges, avoid) : -1;
	for (uint32_t i = 0; i < pool->words; i++) {
		uint64_t ports = pf_pool_mask(pool, i);
		if (avoided >= 0 && (uint32_t)avoided / 64 == i)
			ports &= ~(1ull << avoided % 64);
		require((ports & ~taken(pool, stripe, i)) == 0);
	}
}

static void step_take(struct pf_pool *pool, uint32_t stripe)
{
	uint64_t before[8];
	uint8_t which = input_byte(script);
	uint32_t start = input_byte(script);
	uint16_t port = 0, avoid = which ? pf_ranges_port(&pool->ranges, which) : 0;
	bool known = pool->words <= sizeof before / sizeof *before;
	for (uint32_t i = 0; known && i < pool->words; i++)
		before[i] = pf_pool_word(pool, stripe, i)->used;

	int result = pf_pool_take(pool, stripe, avoid, now, &start, &port);
	if (result == -EAGAIN) {
		full_check(pool, stripe, avoid);
		return;
	}
	int32_t index = pf_ranges_index(&pool->ranges, port);
	require(result == 0 && index >= 0);
	require(!avoid || port != avoid);
	require(start == (uint32_t)index + 1);
	require(pf_pool_is_used(pool, stripe, port));
	for (uint32_t i = 0; known && i < pool->words; i++) {
		uint64_t own = i == (uint32_t)index / 64 ? 1ull << index % 64 : 0;
		require((before[i] & own) == 0);
		require(pf_pool_word(pool, stripe, i)->used == (before[i] | own));
	}
	if (stripe >= PF_STRIPE_TCP) {
		const struct pf_layout_word *whole =
			pf_pool_word(pool, PF_STRIPE_WHOLE, (uint32_t)index / 64);
		require(whole->busy >> index % 64 & 1);
	}
}

// Gives back or marks any port in any stripe, the pool's or not.
static void step_give(struct pf_pool *pool, uint8_t what)
{
	uint16_t place = input_pair(script);
	uint32_t stripe = input_byte(script);
	uint16_t port = place < 256 ? pf_ranges_port(&pool->ranges, place) : place;
	bool ours = pf_ranges_index(&pool->ranges, port) >= 0;
	if (stripe > 200)
		stripe = input_pair(script);
	bool exists = ours && stripe < pool->stripes;
	bool used = exists && pf_pool_is_used(pool, stripe, port);
	if (what == 1)
		pf_pool_give(pool, stripe, port);
	else if (what == 2)
		pf_pool_refuse(pool, stripe, port);
	else
		require(pf_pool_mark(pool, stripe, port) == (exists && !used));
	require(!exists || pf_pool_is_used(pool, stripe, port) == (what == 3));
}

static void step_reap(struct pf_segment *segment, uint8_t what)
{
	uint32_t reaped = 0;
	int result;
	uint64_t most = 0;
	if (reaps++ >= REAPS_MAX)
		return;
	for (uint32_t i = 0; i < segment->pools; i++)
		most += (uint64_t)segment->pool[i].ranges.ports * segment->pool[i].stripes;
	if (what == 4)
		result = pf_reap(segment, &reaped);
	else if (what == 5)
		result = pf_reap_sometimes(segment, now);
	else
		result = pf_reap_learn(segment);
	require(result <= 0 && result >= -4095 && reaped <= most);
}

// What only looks.
static void step_look(struct pf_segment *segment, struct pf_pool *pool, uint32_t stripe)
{
	struct pf_range ranges[PF_RANGES_MAX];
	size_t count = pf_segment_ranges(segment, ranges);
	require(count >= 1 && count <= PF_RANGES_MAX);
	for (size_t i = 0; i < count; i++)
		require(ranges[i].first >= 1 && ranges[i].first <= ranges[i].last);
	struct pf_pool_usage usage = pf_pool_usage(pool);
	require(usage.holding + usage.free <= pool->ranges.ports);
	require(usage.used <= (uint64_t)pool->ranges.ports * pool->stripes);
	pf_pool_exhausted(pool, stripe, now);
	enum pf_claim claim = pf_pool_claim(pool);
	require(claim == PF_CLAIM_BIND || claim == PF_CLAIM_LATE);
	pf_pool_counted(pool, PF_COUNT_REAPED);
}

// Adds a lease, which is found again, whatever was there; and reads all the others.
static void step_ring(struct pf_segment *segment)
{
	struct pf_lease lease = {.port = 1, .how = PF_HOW_ANY, .protocol = IPPROTO_UDP}, found;
	bool seen = false;
	input_take(script, lease.command, sizeof lease.command - 1);
	lease.time_ns = ++now << 32;
	pf_ring_add(&segment->ring, &lease);
	for (uint32_t i = 0; i < segment->ring.entries; i++) {
		if (!pf_ring_read(&segment->ring, i, &found))
			continue;
		require(found.port && found.how && found.how < PF_HOW_END);
		require(memchr(found.command, 0, sizeof found.command));
		seen |= found.time_ns == lease.time_ns &&
			!memcmp(found.command, lease.command, sizeof found.command);
	}
	require(seen == (segment->ring.entries > 0));
}

static void step(struct pf_segment *segment)
{
	uint8_t what = input_byte(script), which = input_byte(script);
	struct pf_pool *pool = &segment->pool[(which >> 5) % segment->pools];
	uint32_t stripe = which & 3;
	if (which & 4)
		stripe = pf_pool_stripe(pool, input_byte(script));
	require(stripe < pool->stripes);
	switch (what % 16) {
	case 0:
		scribble();
		break;
	case 1:
	case 2:
	case 3:
		step_give(pool, what % 16);
		break;
	case 4:
	case 5:
	case 6:
		step_reap(segment, what % 16);
		break;
	case 7:
		pf_pool_exhaust(pool, stripe, now);
		require(pf_pool_exhausted(pool, stripe, now));
		break;
	case 8:
		pf_pool_distrust(pool);
		require(pf_pool_claim(pool) == PF_CLAIM_BIND);
		break;
	case 9:
		now += (uint64_t)which * which * 16;
		break;
	case 11:
		step_ring(segment);
		break;
	case 10:
		step_look(segment, pool, stripe);
		break;
	default:
		step_take(pool, stripe);
	}
}

// Uses a segment that was accepted, or a private one.
static void segment_use(struct pf_segment *segment)
{
	struct pf_segment before = *segment;
	shared = (unsigned char *)segment->shared;
	shared_size = segment->size;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), rest = -segment->size % page;
	ASAN_POISON_MEMORY_REGION(shared + shared_size, rest);
	for (int steps = 0; steps < STEPS_MAX && script->left; steps++)
		step(segment);
	ASAN_UNPOISON_MEMORY_REGION(shared + shared_size, rest);
	require(memcmp(&before, segment, sizeof before) == 0);
}

// ---- Damage ----------------------------------------------------------------------------------

// Fails unless a policy that was read out of a segment is sound.
static void policy_check(const struct pf_policy *policy, size_t size)
{
	size_t whole =
		sizeof(struct pf_layout_header) + policy->count * sizeof(struct pf_layout_pool);
	require(policy->count >= 1 && policy->count <= PF_POOLS_MAX);
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_policy_pool *pool = &policy->pool[i];
		struct pf_ranges again = pool->ranges;
		require(pf_ranges_normalise(&again, NULL) == 0);
		require(memcmp(&again, &pool->ranges, sizeof again) == 0);
		require(memchr(pool->name, 0, sizeof pool->name));
		whole += (PF_STRIPE_TCP + PF_STRIPES_TCP) *
			pf_layout_stripe_size(pool->ranges.ports);
	}
	uint32_t ports = 0;
	for (uint32_t i = 0; i < policy->count; i++)
		ports += policy->pool[i].ranges.ports;
	require(whole + pf_layout_ring_size(pf_layout_ring_entries(ports)) == size);
}

// Damages header and table, where it counts.
static void damage(unsigned char *bytes, size_t size)
{
	shared = bytes;
	shared_size = size;
	for (uint8_t times = input_byte(script) % 8; times; times--) {
		uint8_t where = input_byte(script);
		if (where < 64)
			scribble();
		else if ((where - 64u) * 4 < size)
			input_take(script, bytes + (where - 64) * 4, where % 4 + 1u);
	}
}

// The bytes of `size` in the file, if they are a segment, are one in memory of that size, too.
static void compare(int fd, size_t size, int opened)
{
	struct pf_policy policy;
	if (size > FORGED_MAX)
		return;
	void *bytes = malloc(size ? size : 1);
	require(bytes && pread(fd, bytes, size, 0) == (ssize_t)size);
	int result = pf_segment_policy(bytes, size, &policy);
	require(result == 0 || result == -EBADMSG);
	require(opened == -ESTALE || result == opened);
	if (result == 0)
		policy_check(&policy, size);
	free(bytes);
}

// Opens the file as the command does, and uses it.
static void file_use(const char *path, int fd, size_t size, uint8_t flags)
{
	struct pf_policy policy;
	struct pf_segment segment;
	int result = pf_segment_open(path, &(struct pf_segment_owner){geteuid(), PF_POLICY_NOBODY},
		&policy, &segment, reason);
	require(result == 0 || result == -EBADMSG || result == -ESTALE);
	if (flags & FLAG_COMPARE)
		compare(fd, size, result);
	if (result < 0)
		return;
	require(segment.size == size && !segment.alone && segment.pools == policy.count);
	policy_check(&policy, size);
	segment_use(&segment);
	pf_segment_close(&segment);
}

static void fuzz_damaged(struct original *original, uint8_t flags)
{
	struct pf_segment segment;
	size_t size = original->size;
	memcpy(original->live, original->image, size);
	damage(original->live, size);
	if (flags & FLAG_SIZE) {
		size = (size_t)input_pair(script) * 2;
		require(ftruncate(original->fd, (off_t)size) == 0);
	}
	if (!(flags & FLAG_ATTACH))
		file_use(original->path, original->fd, size, flags);
	else {
		int result = attach(original, &segment);
		require(result == 0 || result == -EBADMSG);
		require(segment.alone == (result < 0) && segment.pools == 1);
		segment_use(&segment);
		pf_segment_close(&segment);
	}
	struct stat status;
	require(fstat(original->fd, &status) == 0);
	if (status.st_nlink == 0) { // it was of another boot, and is replaced
		close(original->fd);
		munmap(original->live, original->size);
		original_map(original);
	} else if (flags & FLAG_SIZE)
		require(ftruncate(original->fd, (off_t)original->size) == 0);
}

// The segment of a process that was there before the damage.
static void fuzz_attached(struct original *original)
{
	struct pf_segment *segment = &original->attached;
	memcpy(segment->shared, original->image, original->size);
	damage((unsigned char *)segment->shared, original->size);
	segment_use(segment);
}

// Makes the table out of the input, with sizes, offsets and digest that fit: an attacker can do
// that. Returns the size that the segment says it has.
static size_t table_forge(struct pf_layout_header *header, struct pf_layout_pool *table)
{
	static struct pf_policy policy;
	size_t offset = sizeof *header + header->pools * sizeof *table;
	uint32_t ports = 0;
	memset(&policy, 0, sizeof policy);
	policy.count = header->pools;
	for (uint32_t i = 0; i < policy.count; i++) {
		struct pf_policy_pool *pool = &policy.pool[i];
		struct pf_ranges *ranges = &pool->ranges;
		ranges->count = input_byte(script) % 4 + 1u;
		pool->hold_ms = input_pair(script);
		input_take(script, pool->name, input_byte(script) % (sizeof pool->name + 1));
		for (uint32_t r = 0; r < ranges->count; r++) {
			ranges->range[r].first = input_pair(script);
			ranges->range[r].last =
				(uint16_t)(ranges->range[r].first + input_byte(script));
		}
		pf_ranges_normalise(ranges, NULL);
		memcpy(table[i].name, pool->name, sizeof pool->name);
		memcpy(table[i].range, ranges->range, sizeof ranges->range);
		table[i].offset = offset;
		table[i].ports = ranges->ports;
		table[i].stripes = PF_STRIPE_TCP + PF_STRIPES_TCP;
		table[i].ranges = ranges->count;
		table[i].hold_ms = pool->hold_ms;
		offset += table[i].stripes * pf_layout_stripe_size(ranges->ports);
		ports += ranges->ports;
	}
	pf_policy_digest(&policy);
	header->digest = policy.digest;
	return header->size = offset + pf_layout_ring_size(pf_layout_ring_entries(ports));
}

static void fuzz_forged(uint8_t flags)
{
	static struct {
		struct pf_layout_header header;
		struct pf_layout_pool table[PF_POOLS_MAX];
	} head;
	memset(&head, 0, sizeof head);
	memcpy(&head.header, originals[0].image, sizeof head.header);
	head.header.pools = input_byte(script) % PF_POOLS_MAX + 1u;
	size_t size = table_forge(&head.header, head.table);
	damage((unsigned char *)&head, sizeof head.header + head.header.pools * sizeof *head.table);
	if (flags & FLAG_SIZE)
		size = input_pair(script);
	if (size > FORGED_MAX)
		return;
	size_t written = size < sizeof head ? size : sizeof head;
	require(ftruncate(forged_fd, 0) == 0 && ftruncate(forged_fd, (off_t)size) == 0);
	require(pwrite(forged_fd, &head, written, 0) == (ssize_t)written);
	file_use(forged_path, forged_fd, size, flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	uint8_t flags = input_byte(&input);
	script = &input;
	now = 1000000;
	reaps = 0;
	if (flags & FLAG_LATER)
		fuzz_attached(&originals[flags & FLAG_POLICY]);
	else if (flags & FLAG_FORGED)
		fuzz_forged(flags);
	else
		fuzz_damaged(&originals[flags & FLAG_POLICY], flags);
	return 0;
}
