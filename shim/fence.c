// SPDX-License-Identifier: MIT
// The fence of this process: its policy from the environment, its segment when it is first needed.
//
// Hooks may run before our constructor, so whoever comes first reads the environment; the
// constructor only makes sure that it is read while the program is still single-threaded. Two
// threads that attach at once both do the work, and one's result is thrown away: no lock.
#include "fence.h"

#include "environment.h"
#include "fdmap.h"
#include "history.h"

#include "atomics.h"
#include "random.h"
#include "util.h"
#include "window.h"

#include <portfence/claim.h>
#include <portfence/rule.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

_Alignas(4096) struct pf_fence_self pf_fence_self __attribute__((section(".bss.portfence_0")));

// What a process knows besides. What every start writes is in front, in the page of what every
// connect reads, which is in front of it.
static struct {
	atomic_flag begun; // to read the environment
	bool quiet;
	bool asks_who;       // a rule is about users or groups
	uint64_t candidates; // of the rules, those that may be about this program
	struct pf_policy policy;
	char error[PF_SEGMENT_TEXT];
} self __attribute__((section(".bss.portfence_2")));

// Writes "VARIABLE: why" into self.error. Returns PF_FENCE_CLOSED.
static enum pf_fence close_for(const char *variable, const char *why)
{
	struct pf_text error = pf_text_in(self.error, sizeof self.error);
	pf_text_add(&error, variable);
	pf_text_add(&error, ": ");
	pf_text_add(&error, why);
	return PF_FENCE_CLOSED;
}

// Chooses the rules that may be about this program, or the pool, if that is all they leave.
static void rules_choose(const struct pf_rules *rules)
{
	char path[PF_SEGMENT_TEXT];
	long length = pf_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
	path[length > 0 ? length : 0] = 0;
	self.candidates = pf_rules_candidates(rules, path);
	self.asks_who = pf_rules_ask_who(rules, self.candidates);
	pf_fence_self.pool = rules->fallback;
	if (self.candidates)
		pf_fence_self.rules = rules;
}

// Chooses the pool of this name for every call. Returns what that makes of the fence.
static enum pf_fence pool_choose(const char *name)
{
	int pool = pf_policy_find(&self.policy, name);
	if (pool < 0)
		return close_for("PORTFENCE_POOL", "the policy has no pool of that name");
	pf_fence_self.pool = (uint32_t)pool;
	return PF_FENCE_ON;
}

// Reads self.policy and the rules out of a file. Returns what that makes of the fence.
static enum pf_fence policy_load(const char *path, struct pf_rules *rules)
{
	char reason[PF_SEGMENT_TEXT];
	size_t size;
	enum pf_fence fence = PF_FENCE_ON;
	void *bytes = pf_segment_scratch(PF_RULES_FILE_MAX);
	if (!bytes)
		return close_for("PORTFENCE_POLICY", "no memory to read it");
	if (pf_segment_read(path, geteuid(), bytes, PF_RULES_FILE_MAX, &size, reason) < 0)
		fence = close_for("PORTFENCE_POLICY", reason);
	else if (pf_rules_read(bytes, size, &self.policy, rules) < 0) {
		struct pf_text text = pf_text_in(reason, sizeof reason);
		pf_text_add(&text, path);
		pf_text_add(&text, ": damaged, or of another version: portfence run makes it");
		fence = close_for("PORTFENCE_POLICY", reason);
	}
	pf_segment_scratch_free(bytes, PF_RULES_FILE_MAX);
	return fence;
}

// Reads the policy's file. Returns what it makes of it.
static enum pf_fence file_read(const char *path)
{
	const char *name = pf_environment_get(PF_SETTING_POOL);
	struct pf_rules *rules = pf_segment_scratch(sizeof *rules);
	if (!rules)
		return close_for("PORTFENCE_POLICY", "no memory to read it");
	enum pf_fence fence = policy_load(path, rules);
	if (fence == PF_FENCE_ON && name && *name)
		fence = pool_choose(name);
	else if (fence == PF_FENCE_ON)
		rules_choose(rules);
	if (!pf_fence_self.rules)
		pf_segment_scratch_free(rules, sizeof *rules);
	return fence;
}

// Reads the environment. Returns what it makes of it.
static enum pf_fence policy_read(void)
{
	char error[PF_ERROR_TEXT];
	bool fits = pf_environment_read();
	const char *ports = pf_environment_get(PF_SETTING_PORTS);
	const char *policy = pf_environment_get(PF_SETTING_POLICY);
	const char *log = pf_environment_get(PF_SETTING_LOG);

	self.quiet = log && !strcmp(log, "none");
	if (pf_environment_is_on(PF_SETTING_DISABLE))
		return PF_FENCE_OFF;
	if (!fits)
		return close_for(
			"PORTFENCE_PORTS", "it and its kin are too long, over 8 KiB together");
	if (policy)
		return file_read(policy);
	if (!ports)
		return PF_FENCE_OFF;
	if (pf_policy_from_ports(ports, &self.policy, error) < 0)
		return close_for("PORTFENCE_PORTS", error);
	return PF_FENCE_ON;
}

__attribute__((constructor)) static void start(void)
{
	if (!atomic_flag_test_and_set(&self.begun)) {
		atomic_store_explicit(&pf_fence_self.fence, policy_read(), memory_order_release);
		return;
	}
	// Another thread is at it: some microseconds. A signal handler in the midst of it gives up.
	for (int turns = 0; turns < 10000; turns++) {
		if (atomic_load_explicit(&pf_fence_self.fence, memory_order_acquire) !=
			PF_FENCE_UNREAD)
			return;
		sched_yield();
	}
}

enum pf_fence pf_fence_read(void)
{
	start();
	enum pf_fence known = atomic_load_explicit(&pf_fence_self.fence, memory_order_acquire);
	return known == PF_FENCE_UNREAD ? PF_FENCE_OFF : known;
}

void pf_fence_move(void)
{
	// The old one stays mapped: other threads may be using it.
	pf_fdmap_age();
	pf_retract(&pf_fence_self.segment);
}

// Writes to standard error what fits there, and takes back the signal that the kernel sends where
// nothing does: a program that would not have written must not die of it.
static void write_without_signal(const char *text, size_t length)
{
	const uint64_t mask = 1ull << (SIGPIPE - 1) | 1ull << (SIGXFSZ - 1);
	const struct timespec now = {0, 0};
	uint64_t before, pending = mask;
	bool blocked = !pf_sys(SYS_rt_sigprocmask, SIG_BLOCK, &mask, &before, sizeof mask);
	pf_sys(SYS_rt_sigpending, &pending, sizeof pending);
	long result = pf_sys(SYS_write, STDERR_FILENO, text, length);
	if ((result == -EPIPE || result == -EFBIG) && !(pending & mask))
		pf_sys(SYS_rt_sigtimedwait, &mask, NULL, &now, sizeof mask);
	if (blocked)
		pf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

void pf_fence_say(const char *line)
{
	char buffer[PF_SEGMENT_TEXT + 128];
	struct pf_text text = pf_text_in(buffer, sizeof buffer);
	if (self.quiet)
		return;
	pf_text_add(&text, "portfence: ");
	pf_text_add(&text, line);
	pf_text_add(&text, "\n");
	write_without_signal(text.buffer, text.length);
}

int pf_fence_refuse(void)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	char line[PF_SEGMENT_TEXT + 64];
	struct pf_text text = pf_text_in(line, sizeof line);
	if (atomic_flag_test_and_set(&said))
		return -EACCES;
	pf_text_add(&text, self.error);
	pf_text_add(&text, "; no port is given out");
	pf_fence_say(line);
	return -EACCES;
}

// Attaches in namespace `netns`, which socket `fd` is in, and says so if the segment is private.
static bool segment_attach(int fd, uint64_t netns, struct pf_segment *fresh)
{
	char reason[PF_SEGMENT_TEXT + 64];
	const char *dir = pf_environment_get(PF_SETTING_DIR);
	if (*self.policy.place.directory)
		dir = self.policy.place.directory;
	struct pf_segment_place place = {
		.dir = dir && *dir ? dir : NULL, .netns = netns, .uid = geteuid()};
	int result = pf_segment_attach(&self.policy, &place, pf_claim_prepare, &fd, fresh, reason);
	if (!pf_publish(&pf_fence_self.segment, fresh))
		return false;
	if (result < 0) {
		struct pf_text text = {reason, sizeof reason, strlen(reason)};
		pf_text_add(&text, "; ports are not shared with other processes");
		pf_fence_say(reason);
	}
	return true;
}

// The segments of the network namespaces that this process was in: who goes to and fro, as routing
// daemons do for each socket, finds them again. Those beyond stay mapped, and are made anew.
#define NAMESPACES 256
static _Atomic(void *) known[NAMESPACES];

// Makes the segment of namespace `netns` the present one, if it is known. Returns false if not.
static bool segment_resume(uint64_t netns)
{
	for (int i = 0; i < NAMESPACES; i++) {
		struct pf_segment *segment = pf_subscribe(&known[i]);
		if (!segment)
			return false;
		if (netns && segment->netns == netns) {
			pf_publish(&pf_fence_self.segment, segment);
			return true;
		}
	}
	return false;
}

static void segment_remember(struct pf_segment *segment)
{
	for (int i = 0; i < NAMESPACES && !pf_publish(&known[i], segment); i++)
		;
}

// Makes the page that a fork empties, once.
static void page_use(void)
{
	static atomic_flag made = ATOMIC_FLAG_INIT;
	if (atomic_flag_test_and_set(&made))
		return;
	unsigned char *page = pf_segment_wiped_page();
	pf_fdmap_use(page);
	if (page) {
		pf_history_use(page += PF_FDMAP_PAGE_BYTES);
		pf_window_use(page += PF_HISTORY_PAGE_BYTES);
		pf_random_use(page + PF_WINDOW_BYTES);
	}
}

struct pf_segment *pf_fence_attach(int fd)
{
	_Static_assert(
		PF_FDMAP_PAGE_BYTES + PF_HISTORY_PAGE_BYTES + PF_WINDOW_BYTES + PF_RANDOM_BYTES <=
			PF_SEGMENT_WIPED,
		"they fit the page");
	static struct pf_segment spare; // where even a page cannot be had
	page_use();
	pf_history_start();
	uint64_t netns = pf_segment_netns(fd);
	if (segment_resume(netns))
		return pf_subscribe(&pf_fence_self.segment);

	struct pf_segment *fresh = pf_segment_scratch(sizeof *fresh);
	bool first = segment_attach(fd, netns, fresh ? fresh : &spare);
	if (first && fresh)
		segment_remember(fresh);
	else if (fresh) {
		pf_segment_close(fresh);
		pf_segment_scratch_free(fresh, sizeof *fresh);
	}
	return pf_subscribe(&pf_fence_self.segment);
}

uint32_t pf_fence_pool_by_rules(uint32_t protocol, const struct pf_endpoint *destination)
{
	struct pf_rule_call call = {
		.candidates = self.candidates, .protocol = protocol, .destination = destination};
	if (self.asks_who) {
		call.user = geteuid();
		call.group = getegid();
	}
	return pf_rules_pool(pf_fence_self.rules, &self.policy, &call);
}

// Asks the kernel now what a lease would ask in a new process.
static void process_prepare(void)
{
	pf_fdmap_epoch();
	pf_history_prepare();
	pf_random();
}

void pf_fence_prepare(void)
{
	if (pf_fence() != PF_FENCE_ON)
		return;
	if (pf_fence_attached()) {
		process_prepare();
		return;
	}
	// The namespace is known by its sockets.
	int fd = (int)pf_sys(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	pf_fence_segment(fd);
	process_prepare();
	pf_sys(SYS_close, fd);
}
