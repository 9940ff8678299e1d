// SPDX-License-Identifier: MIT
// What this process writes into the segment's ring: the leases that it takes.
//
// Who it is costs system calls, so it is asked once, and again in a child. A program that changes
// its user after its first lease is remembered as it was.
#include "history.h"

#include "atomics.h"
#include "util.h"

#include <netinet/in.h>
#include <string.h>

// In a page that a fork empties.
struct writer {
	pf_word who; // pid | uid << 32; 0: not known yet
};

static _Atomic(void *) wiped PF_TOGETHER;
static char command[PF_COMMAND] PF_TOGETHER;

_Static_assert(sizeof(struct writer) <= PF_HISTORY_PAGE_BYTES, "it fits its page");

void pf_history_use(void *page)
{
	pf_publish(&wiped, page);
}

static int command_line(char *line, size_t length, void *arg)
{
	(void)arg;
	memset(command, 0, sizeof command);
	memcpy(command, line, length < sizeof command ? length : sizeof command - 1);
	return 1;
}

// Returns pid | uid << 32 of this process.
static inline uint64_t who(void)
{
	struct writer *writer = pf_subscribe(&wiped);
	uint64_t known = writer ? pf_word_get(&writer->who) : 0;
	if (known)
		return known;
	known = (uint32_t)getpid() | (uint64_t)geteuid() << 32;
	if (writer)
		pf_word_put(&writer->who, known);
	return known;
}

void pf_history_start(void)
{
	if (!command[0])
		pf_segment_each_line("/proc/self/comm", '\n', command_line, NULL);
}

void pf_history_prepare(void)
{
	who();
}

void pf_history_add(struct pf_segment *segment, struct pf_fd lease, enum pf_how how,
	const struct pf_endpoint *peer, uint64_t time_ns)
{
	uint8_t protocol = lease.kind == PF_FD_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	struct pf_ring_words words;
	words.time_ns = time_ns;
	words.who = who();
	words.what = pf_ring_what(lease.port, peer->port, protocol, how, lease.pool);
	memcpy(words.peer, peer->address, sizeof words.peer);
	memcpy(words.command, command, sizeof words.command);
	pf_ring_write(&segment->ring, &words);
}
