// SPDX-License-Identifier: MIT
// The observer: what the kernel and the wire show, whatever the fence believes.
//
// Two sockets share what they should not only if two dumps in a row show both: a dump is no
// snapshot, and a port may have changed hands while it was made.
#define _GNU_SOURCE 1
#include "watch.h"

#include "stress.h"

#include <err.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS 65536
#define PAIRS 64

struct entry {
	uint16_t port, peer_port;
	uint8_t protocol, state;
	uint8_t local[16], peer[16];
	uint32_t inode, uid;
};

struct seen seen;

static unsigned first, last;
static struct entry entries[SOCKETS];
static size_t count;
static uint64_t pair[PAIRS], suspect[PAIRS]; // two inodes each
static size_t pairs, suspects;
static FILE *wire;
static pthread_t wire_thread;
static pid_t wire_pid;

void watch_pool(unsigned pool_first, unsigned pool_last)
{
	first = pool_first;
	last = pool_last;
	pairs = 0;
}

static bool is_server(unsigned port)
{
	return port >= PORT_SINK && port <= PORT_STUCK;
}

// ---- Sockets ---------------------------------------------------------------------------------

static void address_set(uint8_t address[16], int family, const __be32 *from)
{
	static const uint8_t mapped[12] = {[10] = 255, [11] = 255};
	if (family == AF_INET6) {
		memcpy(address, from, 16);
		return;
	}
	memcpy(address, mapped, 12);
	memcpy(address + 12, from, 4);
}

static int socket_add(const struct nlmsghdr *header, void *protocol)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(header);
	struct entry *entry = &entries[count];
	if (count == SOCKETS)
		errx(2, "more than %d sockets", SOCKETS);
	*entry = (struct entry){.port = ntohs(message->id.idiag_sport),
		.peer_port = ntohs(message->id.idiag_dport),
		.protocol = *(uint8_t *)protocol,
		.state = message->idiag_state,
		.inode = message->idiag_inode,
		.uid = message->idiag_uid};
	address_set(entry->local, message->idiag_family, message->id.idiag_src);
	address_set(entry->peer, message->idiag_family, message->id.idiag_dst);
	count++;
	return MNL_CB_OK;
}

// Adds the sockets of one family and protocol.
static void dump(struct mnl_socket *netlink, uint8_t family, uint8_t protocol)
{
	static char buffer[32768];
	static unsigned sequence;
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = ++sequence;
	struct inet_diag_req_v2 *request =
		mnl_nlmsg_put_extra_header(header, sizeof(struct inet_diag_req_v2));
	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	request->idiag_states = UINT32_MAX;
	if (mnl_socket_sendto(netlink, header, header->nlmsg_len) < 0)
		err(2, "sock_diag");
	for (int more = MNL_CB_OK; more == MNL_CB_OK;) {
		ssize_t got = mnl_socket_recvfrom(netlink, buffer, sizeof buffer);
		more = got < 0
			? -1
			: mnl_cb_run(buffer, (size_t)got, sequence, 0, socket_add, &protocol);
		if (more < 0)
			err(2, "sock_diag");
	}
}

static int entry_compare(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	if (a->protocol != b->protocol)
		return a->protocol - b->protocol;
	return a->port - b->port;
}

// Returns true for a connection: neither TIME_WAIT nor one that failed, which shows its peer still.
static bool is_live(const struct entry *entry)
{
	return entry->peer_port && entry->state != TCP_TIME_WAIT && entry->state != TCP_CLOSE;
}

// Returns true if a socket at one address keeps others from the same port at the other.
static bool is_in_the_way(const uint8_t a[16], const uint8_t b[16])
{
	static const uint8_t any[16], ipv4[16] = {[10] = 255, [11] = 255};
	if (!memcmp(a, ipv4, sizeof ipv4))
		return !memcmp(b, ipv4, 12);
	return !memcmp(a, any, sizeof any) || !memcmp(a, b, sizeof any);
}

// Returns true if the fence should have given these two of one port different ones. It does not
// know of copies that are made past it, and the kernel lets a port be used at two addresses.
static bool is_shared(const struct entry *a, const struct entry *b)
{
	if (!a->inode || !b->inode || a->inode == b->inode)
		return false;
	if (a->protocol == IPPROTO_UDP || (a->state == TCP_LISTEN && b->state == TCP_LISTEN))
		return is_in_the_way(a->local, b->local) || is_in_the_way(b->local, a->local);
	return is_live(a) && is_live(b) && a->peer_port == b->peer_port &&
		!memcmp(a->local, b->local, sizeof a->local) &&
		!memcmp(a->peer, b->peer, sizeof a->peer);
}

// Notes a pair, and counts it if the dump before had it, too.
static void pair_note(const struct entry *a, const struct entry *b)
{
	uint64_t inodes = a->inode < b->inode ? (uint64_t)a->inode << 32 | b->inode
					      : (uint64_t)b->inode << 32 | a->inode;
	for (size_t i = 0; i < suspects; i++) {
		if (suspect[i] != inodes)
			continue;
		seen.shared++;
		printf("shared: %s port %u, state %u and %u, users %u and %u\n",
			a->protocol == IPPROTO_UDP ? "UDP" : "TCP", a->port, a->state, b->state,
			a->uid, b->uid);
		return; // once told, it is forgotten, and told again two dumps later
	}
	if (pairs < PAIRS)
		pair[pairs++] = inodes;
}

static void entry_check(const struct entry *entry)
{
	bool inside = entry->port >= first && entry->port <= last;
	seen.sockets++;
	seen.live += inside && entry->state != TCP_TIME_WAIT;
	seen.waiting += inside && entry->state == TCP_TIME_WAIT;
	if (inside || !entry->port || is_server(entry->port) || entry->peer_port == PORT_RACED)
		return;
	seen.outside++;
	printf("outside: %s socket on port %u, state %u, peer's port %u\n",
		entry->protocol == IPPROTO_UDP ? "UDP" : "TCP", entry->port, entry->state,
		entry->peer_port);
}

void watch_sockets(void)
{
	static struct mnl_socket *netlink;
	if (!netlink) {
		netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
		if (!netlink)
			err(2, "sock_diag");
	}
	count = 0;
	dump(netlink, AF_INET, IPPROTO_TCP);
	dump(netlink, AF_INET6, IPPROTO_TCP);
	dump(netlink, AF_INET, IPPROTO_UDP);
	dump(netlink, AF_INET6, IPPROTO_UDP);
	seen.live = seen.waiting = 0;
	memcpy(suspect, pair, sizeof pair);
	suspects = pairs;
	pairs = 0;
	qsort(entries, count, sizeof *entries, entry_compare);
	for (size_t i = 0; i < count; i++) {
		entry_check(&entries[i]);
		if (is_server(entries[i].port))
			continue;
		for (size_t j = i; j-- && entry_compare(&entries[j], &entries[i]) == 0;)
			if (is_shared(&entries[j], &entries[i]))
				pair_note(&entries[j], &entries[i]);
	}
}

// ---- The wire --------------------------------------------------------------------------------

// Looks at one line that the wire's watch printed.
static void line_check(const char *line)
{
	unsigned source, destination, lost;
	char protocol[4];
	if (sscanf(line, "end, %u lost", &lost) == 1) {
		seen.missed += lost;
		return;
	}
	if (sscanf(line, "%3s %u %u", protocol, &source, &destination) != 3)
		errx(2, "what is this on the wire: %s", line);
	seen.packets++;
	if ((source >= first && source <= last) || destination == PORT_RACED)
		return;
	seen.strays++;
	printf("outside: on the wire %s", line);
}

static void *wire_run(void *unused)
{
	char line[64];
	while (fgets(line, sizeof line, wire))
		line_check(line);
	return unused;
}

pid_t watch_wire_start(const char *program)
{
	int end[2];
	char line[16];
	if (pipe2(end, O_CLOEXEC) < 0)
		err(2, "pipe");
	wire_pid = fork();
	if (wire_pid == 0) {
		dup2(end[1], STDOUT_FILENO);
		execl(program, program, (char *)NULL);
		err(127, "%s", program);
	}
	close(end[1]);
	wire = fdopen(end[0], "r");
	if (wire_pid < 0 || !wire || !fgets(line, sizeof line, wire) ||
		pthread_create(&wire_thread, NULL, wire_run, NULL) != 0)
		errx(2, "%s did not start", program);
	return wire_pid;
}

void watch_wire_end(void)
{
	kill(wire_pid, SIGTERM);
	pthread_join(wire_thread, NULL);
	fclose(wire);
	waitpid(wire_pid, NULL, 0);
}
