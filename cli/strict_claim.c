// SPDX-License-Identifier: MIT
// The claims of a strict run's supervisor, for calls that the library does not see.
//
// It is the story of shim/assign.c, told from outside: of a call that waits, the socket is copied
// and the address read; a port is taken in the same stripe of the same segment; and the copy is
// bound to it, which binds the program's socket. Then the kernel goes on with the call. bind(2) to
// port 0 is all done here. Outgoing TCP in a late pool gets no port but a range, that of a port
// which the ledger calls free: what the kernel answers to the call, nobody tells us, so there is
// no second try. The end of a lease is left to the reap: nobody tells us of a close either.
//
// What is not done for such calls: waiting (`exhausted = wait` fails at once), quotas, and leases
// for explicit binds.
#include "strict_claim.h"

#include "random.h"
#include "util.h"

#include <portfence/claim.h>
#include <portfence/reap.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// ---- The policy ------------------------------------------------------------------------------

// Attaches to the segment of a socket's network namespace.
static void segment_attach(const struct strict_scene *scene, int fd, pf_segment_prepare *prepare,
	struct pf_segment *segment)
{
	char reason[PF_SEGMENT_TEXT];
	const struct pf_segment_place place = {.dir = cli_policy_dir(&scene->policy->place),
		.netns = pf_segment_netns(fd),
		.uid = geteuid()};
	// A private one serves, too; each of the programs says that it has one.
	pf_segment_attach(scene->policy, &place, prepare, &fd, segment, reason);
}

static void prepare_nothing(struct pf_segment *fresh, void *arg)
{
	(void)fresh, (void)arg;
}

int strict_scene_set(
	struct strict_scene *scene, const struct cli_strict_policy *policy, char *reason)
{
	static struct pf_segment segment;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		snprintf(reason, PF_SEGMENT_TEXT, "no socket: %s", strerror(errno));
		return -errno;
	}
	*scene = (struct strict_scene){
		.policy = policy->policy, .rules = policy->rules, .fixed = -1, .segment = &segment};
	if (policy->pool)
		scene->fixed = pf_policy_find(policy->policy, policy->pool);
	for (uint32_t i = 0; scene->fixed < 0 && i < policy->rules->count; i++) {
		const struct pf_rule *rule = &policy->rules->rule[i];
		scene->asks_program |= rule->programs > 0;
		scene->asks_who |= rule->users || rule->groups;
		scene->asks_where |= rule->destinations > 0;
	}
	pf_random_use(pf_segment_wiped_page());
	segment_attach(scene, fd, pf_claim_prepare, scene->segment);
	close(fd);
	return 0;
}

// Returns true if some call's pool may be this.
static bool is_in_use(const struct strict_scene *scene, uint32_t pool)
{
	if (scene->fixed >= 0)
		return pool == (uint32_t)scene->fixed;
	for (uint32_t i = 0; i < scene->rules->count; i++)
		if (scene->rules->rule[i].pool == pool)
			return true;
	return pool == scene->rules->fallback;
}

bool strict_scene_claims(const struct strict_scene *scene)
{
	for (uint32_t i = 0; i < scene->segment->pools; i++) {
		const struct pf_pool *pool = &scene->segment->pool[i];
		if (is_in_use(scene, i) &&
			(pf_pool_claim(pool) != PF_CLAIM_LATE || pool->ranges.count > 1 ||
				(pool->flags & PF_POLICY_DENY)))
			return true;
	}
	return scene->asks_where;
}

struct pf_pool *strict_pool(const struct strict_scene *scene, struct pf_segment *segment,
	const struct strict_request *request, uint32_t protocol,
	const struct pf_endpoint *destination)
{
	char program[PF_SEGMENT_TEXT] = "";
	struct strict_identity identity = {0, 0};
	uint32_t pool = (uint32_t)scene->fixed;
	if (scene->fixed < 0) {
		if (scene->asks_program)
			strict_target_program(request->pid, program);
		if (scene->asks_who)
			strict_target_identity(request->pid, &identity);
		const struct pf_rule_call call = {
			.candidates = pf_rules_candidates(scene->rules, program),
			.user = identity.uid,
			.group = identity.gid,
			.protocol = protocol,
			.destination = destination};
		pool = pf_rules_pool(scene->rules, scene->policy, &call);
	}
	if (pool >= segment->pools || !(segment->pool[pool].flags & protocol))
		return NULL;
	return &segment->pool[pool];
}

bool strict_pool_is_late(const struct strict_scene *scene, struct pf_pool *pool)
{
	static uint64_t looked[PF_POOLS_MAX];
	const uint64_t second = pf_now_ms() / 1000;
	const ptrdiff_t place = pool - scene->segment->pool;
	if (pf_pool_claim(pool) != PF_CLAIM_LATE)
		return false;
	if (place < 0 || place >= PF_POOLS_MAX || looked[place] == second)
		return true;
	looked[place] = second;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && pf_claim_choose(&pool->ranges, fd) == PF_CLAIM_BIND)
		pf_pool_distrust(pool);
	if (fd >= 0)
		close(fd);
	return pf_pool_claim(pool) == PF_CLAIM_LATE;
}

// ---- The socket ------------------------------------------------------------------------------

// A call that may need a port.
struct claim {
	const struct strict_scene *scene;
	const struct strict_request *request;
	int fd; // a copy of the caller's
	uint32_t protocol;
	struct sockaddr_storage local;
	socklen_t length; // of local
	struct pf_segment *segment;
	struct pf_pool *pool;
	uint32_t stripe;
	struct pf_endpoint peer; // port 0: none
	uint16_t avoid;          // as in assign.c
	bool never;
	enum pf_how how;
};

// Returns an integer option of a socket, or -errno.
static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof value;
	return getsockopt(fd, level, name, &value, &size) < 0 ? -errno : value;
}

// Sets an option to `value` if it is not `value`. Returns true if it was not.
static bool option_turn(int fd, int name, int value)
{
	return option(fd, SOL_SOCKET, name) == !value &&
		setsockopt(fd, SOL_SOCKET, name, &value, sizeof value) == 0;
}

// Returns PF_POLICY_TCP or _UDP, or 0 for what is neither.
static uint32_t protocol_of(int fd)
{
	int domain = option(fd, SOL_SOCKET, SO_DOMAIN), type = option(fd, SOL_SOCKET, SO_TYPE);
	int protocol = option(fd, SOL_SOCKET, SO_PROTOCOL);
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	if (type == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == 262)) // MPTCP
		return PF_POLICY_TCP;
	return type == SOCK_DGRAM && protocol == IPPROTO_UDP ? PF_POLICY_UDP : 0;
}

// Returns the segment of the socket's network namespace. That of another is not reaped, since only
// sockets of our own can be seen.
static struct pf_segment *segment_of(const struct strict_scene *scene, int fd)
{
	enum { ROOM = 8 };
	static struct pf_segment *elsewhere[ROOM];
	static size_t count;
	uint64_t netns = pf_segment_netns(fd);
	if (netns == scene->segment->netns)
		return scene->segment;
	for (size_t i = 0; i < ROOM && elsewhere[i]; i++)
		if (elsewhere[i]->netns == netns)
			return elsewhere[i];
	struct pf_segment **place = &elsewhere[count++ % ROOM];
	if (*place)
		pf_segment_close(*place);
	else
		*place = pf_segment_scratch(sizeof **place);
	if (!*place)
		return scene->segment;
	segment_attach(scene, fd, prepare_nothing, *place);
	return *place;
}

// The kernel gives a UDP socket a port for a send without an address, which fails: then it can lose
// it again, as one that it was bound to cannot. Returns true if it has none now.
static bool dissolve(struct claim *claim)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_storage peer;
	struct pf_endpoint local = {.port = 0};
	socklen_t length = sizeof peer;
	// With its peer, the socket would lose the device that it is bound to.
	if (option(claim->fd, SOL_SOCKET, SO_BINDTOIFINDEX) > 0 ||
		getpeername(claim->fd, (struct sockaddr *)&peer, &length) == 0 ||
		connect(claim->fd, &none, sizeof none) < 0)
		return false;
	claim->length = sizeof claim->local;
	getsockname(claim->fd, (struct sockaddr *)&claim->local, &claim->length);
	pf_endpoint_read((struct sockaddr *)&claim->local, claim->length, &local);
	return !local.port;
}

// TCP shows the port of a connect that failed, too, which it has lost. Returns true if it has one:
// then it cannot be bound; and to bind it to its own address without a port changes nothing.
static bool is_bound(struct claim *claim)
{
	struct sockaddr_storage own = claim->local;
	const int on = 1, was = option(claim->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT);
	memset((char *)&own + offsetof(struct sockaddr_in, sin_port), 0, sizeof(in_port_t));
	if (was < 0 || setsockopt(claim->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
		return false; // an MPTCP of an older kernel: the claim tells
	int result = bind(claim->fd, (struct sockaddr *)&own, claim->length) < 0 ? errno : 0;
	setsockopt(claim->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &was, sizeof was);
	return result == EINVAL;
}

// Returns true if the socket is one that may get a port, of which the claim then has all but pool
// and stripe.
static bool claim_open(struct claim *claim)
{
	uint8_t state = 0;
	socklen_t size = sizeof state;
	claim->protocol = protocol_of(claim->fd);
	claim->length = sizeof claim->local;
	if (!claim->protocol ||
		getsockname(claim->fd, (struct sockaddr *)&claim->local, &claim->length) < 0)
		return false;
	struct pf_endpoint local = {.port = 0};
	pf_endpoint_read((struct sockaddr *)&claim->local, claim->length, &local);
	if (!local.port)
		return true;
	if (claim->protocol == PF_POLICY_UDP)
		return dissolve(claim);
	return getsockopt(claim->fd, IPPROTO_TCP, TCP_INFO, &state, &size) == 0 &&
		state == TCP_CLOSE && !is_bound(claim);
}

// Chooses the pool, and the stripe: of the destination, or, without one, of those who share with
// nobody. Returns false if the policy leaves the call to the kernel.
static bool claim_choose(struct claim *claim, const struct pf_endpoint *destination)
{
	claim->segment = segment_of(claim->scene, claim->fd);
	claim->pool = strict_pool(
		claim->scene, claim->segment, claim->request, claim->protocol, destination);
	if (!claim->pool)
		return false;
	claim->stripe = claim->protocol == PF_POLICY_UDP ? PF_STRIPE_UDP : PF_STRIPE_WHOLE;
	if (!destination)
		return true;
	if (claim->protocol == PF_POLICY_TCP)
		claim->stripe = pf_pool_stripe(claim->pool, pf_endpoint_hash(destination));
	claim->peer = *destination;
	claim->avoid = destination->port;
	claim->never = pf_endpoint_is_loopback(destination);
	return true;
}

// ---- Taking ----------------------------------------------------------------------------------

// Takes a port that can be seen now. Returns 0 or -EAGAIN.
static int port_look(struct claim *claim, uint16_t *ret_port)
{
	uint32_t start = (uint32_t)(pf_random() % claim->pool->ranges.ports);
	uint64_t now = pf_now_ms();
	int result = pf_pool_take(claim->pool, claim->stripe, claim->avoid, now, &start, ret_port);
	if (result == -EAGAIN && claim->avoid && !claim->never)
		result = pf_pool_take(claim->pool, claim->stripe, 0, now, &start, ret_port);
	return result;
}

// Reaps oftener than the library needs to, since here nothing else gives a port back: as long as
// there is something to reap, and else for half of the time.
static void reap(struct pf_segment *segment)
{
	static uint64_t rested;
	const uint64_t now = pf_now_ms();
	uint32_t reaped = 0;
	if (pf_reap_sometimes(segment, now) != -EAGAIN || now < rested)
		return;
	if (pf_reap(segment, &reaped) < 0 || reaped == 0)
		rested = 2 * pf_now_ms() - now;
}

// Takes a port, after a reap if there is none. Returns 0 or -EAGAIN.
static int port_take(struct claim *claim, uint16_t *ret_port)
{
	int result = port_look(claim, ret_port);
	if (result == 0)
		return 0;
	reap(claim->segment);
	return port_look(claim, ret_port);
}

// Writes who took the port.
static void lease_tell(const struct claim *claim, uint16_t port)
{
	struct strict_identity identity = {0, 0};
	struct pf_lease lease = {.time_ns = pf_time_ns(pf_now_ms()),
		.pid = (uint32_t)claim->request->pid,
		.port = port,
		.protocol = claim->protocol == PF_POLICY_UDP ? IPPROTO_UDP : IPPROTO_TCP,
		.how = (uint8_t)claim->how,
		.pool = (uint8_t)(claim->pool - claim->segment->pool),
		.peer = claim->peer};
	strict_target_identity(claim->request->pid, &identity);
	lease.uid = identity.uid;
	cli_process_command(claim->request->pid, lease.command);
	pf_ring_add(&claim->segment->ring, &lease);
}

// Binds the socket to a port of the stripe. Returns 0; -EAGAIN if there is none; or what bind(2)
// says of the socket or the address.
static int claim_by_bind(struct claim *claim)
{
	uint32_t tries = 2 * claim->pool->ranges.ports;
	while (tries--) {
		uint16_t port, wire;
		int result = port_take(claim, &port);
		if (result < 0)
			return result;
		wire = htons(port);
		memcpy((char *)&claim->local + offsetof(struct sockaddr_in, sin_port), &wire,
			sizeof wire);
		if (bind(claim->fd, (struct sockaddr *)&claim->local, claim->length) == 0) {
			lease_tell(claim, port);
			// No reap of ours will.
			if (claim->segment != claim->scene->segment)
				pf_pool_give(claim->pool, claim->stripe, port);
			return 0;
		}
		result = errno == EPERM ? -EACCES : -errno;
		if (result != -EADDRINUSE) {
			pf_pool_give(claim->pool, claim->stripe, port);
			return result;
		}
		pf_pool_refuse(claim->pool, claim->stripe, port);
	}
	pf_reap_sometimes(claim->segment, pf_now_ms());
	return -EAGAIN;
}

// The same, with sharing as in assign.c, and the stripe's exhaustion remembered. Returns 0; 1 if
// the kernel is to choose, as the policy says where there is no port; -exhausted; or -errno.
static int claim_make(struct claim *claim, int exhausted)
{
	struct pf_pool *pool = claim->pool;
	const bool connects = claim->stripe >= PF_STRIPE_TCP;
	const bool udp = claim->stripe == PF_STRIPE_UDP;
	int result = -EAGAIN;
	if (!pf_pool_exhausted(pool, claim->stripe, pf_now_ms())) {
		bool shared = connects && option_turn(claim->fd, SO_REUSEADDR, 1);
		bool ports = !connects && option_turn(claim->fd, SO_REUSEPORT, 0);
		bool addresses = udp && option_turn(claim->fd, SO_REUSEADDR, 0);
		result = claim_by_bind(claim);
		if (ports)
			option_turn(claim->fd, SO_REUSEPORT, 1);
		if (addresses)
			option_turn(claim->fd, SO_REUSEADDR, 1);
		if (shared && result < 0)
			option_turn(claim->fd, SO_REUSEADDR, 0);
		if (result != -EAGAIN)
			return result;
		if (pf_ranges_index(&pool->ranges, claim->avoid) < 0)
			pf_pool_exhaust(pool, claim->stripe, pf_now_ms());
	}
	bool leaves = pool->exhausted == PF_EXHAUSTED_FALLBACK;
	pf_pool_count(pool, leaves ? PF_COUNT_FALLBACK : PF_COUNT_EXHAUSTED, 1);
	return leaves ? 1 : -exhausted;
}

// Leaves the kernel the range that has a port which is free for the destination. Returns 0, or
// -EADDRNOTAVAIL.
static int claim_by_range(struct claim *claim)
{
	uint16_t port;
	if (port_take(claim, &port) < 0) {
		pf_pool_count(claim->pool, PF_COUNT_EXHAUSTED, 1);
		return -EADDRNOTAVAIL;
	}
	pf_pool_give(claim->pool, claim->stripe, port);
	struct pf_range range = *pf_ranges_span(&claim->pool->ranges, port);
	// A connection to itself is on the other side of the destination's port.
	if (claim->avoid > port && claim->avoid <= range.last)
		range.last = (uint16_t)(claim->avoid - 1);
	else if (claim->avoid < port && claim->avoid >= range.first)
		range.first = (uint16_t)(claim->avoid + 1);
	const uint32_t both = pf_claim_option(range);
	return setsockopt(claim->fd, SOL_IP, IP_LOCAL_PORT_RANGE, &both, sizeof both) < 0
		? -EADDRNOTAVAIL
		: 0;
}

// ---- The calls -------------------------------------------------------------------------------

// Each returns 0 if the kernel is to go on with the call, 1 if it is done, or -errno.

// The same of a claim, after which the kernel goes on: also where the socket turned out to be bound
// by whomever, and where the kernel is to choose.
static int go_on_after(int claimed)
{
	return claimed == -EINVAL || claimed == 1 ? 0 : claimed;
}

// An address in the caller's memory.
struct address {
	struct sockaddr_storage address;
	socklen_t length;
	bool inet;
	struct pf_endpoint endpoint;
};

// Reads one. Returns 0; -EFAULT for what the kernel is to refuse; -EPERM if we may not.
static int address_read(const struct strict_request *request, uint64_t place, uint64_t length,
	struct address *ret_address)
{
	memset(ret_address, 0, sizeof *ret_address);
	if ((int)length < 0 || (int)length > (int)sizeof ret_address->address)
		return -EFAULT;
	ret_address->length = (socklen_t)length;
	int result = strict_target_read(request, place, &ret_address->address, (size_t)(int)length);
	if (result < 0)
		return result;
	ret_address->inet = pf_endpoint_read((struct sockaddr *)&ret_address->address,
				    ret_address->length, &ret_address->endpoint) == 0;
	return 0;
}

// Opens the copy of the socket. Returns 0, or 1 if the kernel is to go on without a port of ours,
// or -errno.
static int socket_open(struct claim *claim, uint64_t fd)
{
	claim->fd = strict_target_fd(claim->request, (int)fd);
	if (claim->fd < 0)
		return claim->fd == -EBADF ? 1 : claim->fd;
	return strict_request_waits(claim->request) && claim_open(claim) ? 0 : 1;
}

// A connect, or a send that connects, on a TCP socket.
static int claim_connect(struct claim *claim, const struct address *to)
{
	if (!to->inet || !claim_choose(claim, &to->endpoint))
		return 0;
	return go_on_after(strict_pool_is_late(claim->scene, claim->pool)
			? claim_by_range(claim)
			: claim_make(claim, EADDRNOTAVAIL));
}

// A UDP socket's first datagram, or its connect.
static int claim_datagram(struct claim *claim, const struct address *to)
{
	if (!claim_choose(claim, to->inet ? &to->endpoint : NULL))
		return 0;
	return go_on_after(claim_make(claim, EAGAIN));
}

static int serve_connect(struct claim *claim)
{
	const uint64_t *argument = claim->request->argument;
	struct address to;
	int result = address_read(claim->request, argument[1], argument[2], &to);
	if (result < 0)
		return result == -EFAULT ? 0 : result;
	if (to.address.ss_family == AF_UNIX || to.address.ss_family == AF_UNSPEC)
		return 0;
	result = socket_open(claim, argument[0]);
	if (result)
		return result > 0 ? 0 : result;
	return claim->protocol == PF_POLICY_TCP ? claim_connect(claim, &to)
						: claim_datagram(claim, &to);
}

// A send to an address.
static int serve_send(struct claim *claim, int flags, uint64_t place, uint64_t length)
{
	struct address to;
	if (!place)
		return 0;
	int result = address_read(claim->request, place, length, &to);
	if (result < 0 || to.address.ss_family == AF_UNIX)
		return result == -EFAULT ? 0 : result;
	result = socket_open(claim, claim->request->argument[0]);
	if (result)
		return result > 0 ? 0 : result;
	if (claim->protocol == PF_POLICY_UDP)
		return claim_datagram(claim, &to);
	return flags & MSG_FASTOPEN ? claim_connect(claim, &to) : 0;
}

// sendmsg, or sendmmsg, whose first message comes first.
static int serve_message(struct claim *claim, int flags)
{
	struct {
		uint32_t name, length;
	} narrow;
	struct {
		uint64_t name;
		uint32_t length;
	} wide;
	const uint64_t place = claim->request->argument[1];
	int result;
	if (claim->request->narrow) {
		result = strict_target_read(claim->request, place, &narrow, sizeof narrow);
		wide.name = narrow.name;
		wide.length = narrow.length;
	} else
		result = strict_target_read(claim->request, place, &wide, sizeof wide);
	if (result < 0)
		return result == -EFAULT ? 0 : result;
	// sendmsg(2) does not mind a length beyond that.
	if (wide.length > sizeof(struct sockaddr_storage))
		wide.length = sizeof(struct sockaddr_storage);
	return serve_send(claim, flags, wide.name, wide.length);
}

// bind(2): to port 0, it is done here; to another, it is the kernel's, unless the policy forbids.
static int serve_bind(struct claim *claim)
{
	const uint64_t *argument = claim->request->argument;
	struct address to;
	int result = address_read(claim->request, argument[1], argument[2], &to);
	if (result < 0)
		return result == -EFAULT ? 0 : result;
	if (to.address.ss_family == AF_UNSPEC && to.length >= sizeof(struct sockaddr_in) &&
		((struct sockaddr_in *)&to.address)->sin_addr.s_addr == htonl(INADDR_ANY)) {
		to.address.ss_family = AF_INET; // bind(2) takes it for that
		to.inet = pf_endpoint_read(
				  (struct sockaddr *)&to.address, to.length, &to.endpoint) == 0;
	}
	if (!to.inet)
		return 0;
	result = socket_open(claim, argument[0]);
	if (result)
		return result > 0 ? 0 : result;
	if (!claim_choose(claim, NULL))
		return 0;
	if (to.endpoint.port)
		return (claim->pool->flags & PF_POLICY_DENY) &&
				!pf_ranges_span(&claim->pool->ranges, to.endpoint.port)
			? -EACCES
			: 0;
	if (option(claim->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT) > 0)
		return 0;
	claim->local = to.address;
	claim->length = to.length;
	claim->how = PF_HOW_ANY;
	result = claim_make(claim, EADDRINUSE);
	return result == 0 ? 1 : result == 1 ? 0 : result;
}

static int serve_listen(struct claim *claim)
{
	int result = socket_open(claim, claim->request->argument[0]);
	if (result)
		return result > 0 ? 0 : result;
	if (claim->protocol != PF_POLICY_TCP || !claim_choose(claim, NULL))
		return 0;
	claim->how = PF_HOW_LISTEN;
	return go_on_after(claim_make(claim, EADDRINUSE));
}

static int serve(struct claim *claim)
{
	const uint64_t *argument = claim->request->argument;
	switch (claim->request->call) {
	case STRICT_CONNECT:
		return serve_connect(claim);
	case STRICT_BIND:
		return serve_bind(claim);
	case STRICT_LISTEN:
		return serve_listen(claim);
	case STRICT_SENDTO:
		return serve_send(claim, (int)argument[3], argument[4], argument[5]);
	case STRICT_SENDMSG:
		return serve_message(claim, (int)argument[2]);
	case STRICT_SENDMMSG:
		return argument[2] ? serve_message(claim, (int)argument[3]) : 0;
	default:
		return 0;
	}
}

void strict_claim(const struct strict_scene *scene, const struct strict_request *request)
{
	struct claim claim = {.scene = scene, .request = request, .fd = -1, .how = PF_HOW_BIND};
	int result = serve(&claim);
	if (result == -EPERM) {
		strict_target_complain(request, "it is closed to portfence (ptrace(2))");
		result = -EACCES;
	} else if (result == -EMFILE)
		strict_target_complain(request, "portfence has no file descriptor left");
	if (result == 0)
		strict_answer_go_on(request);
	else
		strict_answer(request, result == 1 ? 0 : result);
	if (claim.fd >= 0)
		close(claim.fd);
}
