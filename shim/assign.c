// SPDX-License-Identifier: MIT
// How a call gets its port: the whole story.
//
// Every call that would make the kernel choose a port goes through five stages:
//
//	classify   what is this fd, and does it need a port at all?       (classify.c, fdmap.c)
//	choose     the policy's pool for this program and destination     (fence.c, core/rule.c)
//	take       a port of the pool, in the destination's stripe (core/window.c, core/pool.c)
//	claim      make the kernel fix that port on the socket             (here)
//	record     fd -> lease, for the close to come, and for who asks   (fdmap.c, history.c)
//
// and then returns exactly what the program's own call returned. There are two claims:
//
//	late   IP_LOCAL_PORT_RANGE = {port, port}, then the program's own connect. If the kernel
//	       refuses (EADDRNOTAVAIL), the next port is tried on the same socket; after a few
//	       refusals the kernel searches the whole range. The option is ignored for ports that
//	       it does not honour, so the port that came out is looked at, once a clock tick.
//	bind   bind() to the port, with SO_REUSEADDR if it is an outgoing TCP connection, so that
//	       other connections can share the port towards other destinations. A bound socket
//	       cannot be bound again: if connect fails then, that is final.
//
// UDP, bind(0) and listen always use the bind claim; outgoing TCP uses its pool's.
//
// What is invariant, whatever the segment or the fd map say: a port that we claim is in the pool,
// since it comes from the private copy of the ranges; the kernel alone decides whether it is free;
// and a claim is tried a bounded number of times. A crash between take and record leaves a used
// port without a socket, which the next reap gives back. A wrong fd map costs an early or a late
// give-back, both of which the kernel's refusal or the next reap put right.
//
// How a lease ends is told in lifetime.c. The story leaves out calls that never come here
// (raw system calls, libc's own, io_uring); for them a late pool's sockets carry its range from the
// start.
#include "assign.h"

#include "classify.h"
#include "fdmap.h"
#include "fence.h"
#include "history.h"
#include "lifetime.h"
#include "real.h"
#include "signals.h"

#include "atomics.h"
#include "random.h"
#include "util.h"
#include "window.h"

#include <portfence/claim.h>
#include <portfence/endpoint.h>
#include <portfence/reap.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>

// Ports that a late claim tries one by one before the kernel searches the range.
#define LATE_TRIES 4

// Used ports in a row, from a random one, that make a window crowded: so it is left when about
// two thirds of it are used, and the rest is as hard to guess as before.
#define CROWDED_STEPS 4

// The program's own call, to be made when the socket has its port, and perhaps again with another.
struct operation {
	ssize_t (*run)(const struct operation *operation);
	int fd;
	int flags;
	const struct sockaddr *address; // connect, sendto
	socklen_t length;
	const void *data; // sendto, sendmsg, sendmmsg
	size_t size;
};

// A socket in search of a port.
struct seeker {
	int fd;
	struct pf_fd state;
	uint64_t ticket; // of the fd map's entry
	struct pf_segment *segment;
	struct pf_pool *pool; // NULL: the policy leaves it to the kernel
	uint32_t stripe;
	uint16_t avoid; // not this port,
	bool never;     // not even if there is no other
	bool nothing;   // there was none
	bool hurried;   // the call must not block, whatever the socket may (MSG_DONTWAIT)
	bool waited;    // it does, for a port
	struct pf_signals signals;
	uint32_t start; // index to look from
	uint64_t now;
	uint64_t time_ns;        // now, by the clock on the wall
	struct pf_endpoint peer; // port 0: none
	enum pf_how how;         // that a bind claim is for
};

// ---- Take ------------------------------------------------------------------------------------

// Returns a random number below `count`: 32 bits times it, over 2^32, are uniform enough.
static uint32_t random_below(uint32_t count)
{
	return (uint32_t)((pf_random() >> 32) * count >> 32);
}

// Takes a port near those that this process took last for the destination with this hash. Returns
// 0, or -EAGAIN, which says nothing.
static inline int take_near(struct pf_pool *pool, uint32_t stripe, uint64_t destination,
	uint16_t avoid, uint64_t now, uint16_t *ret_port)
{
	for (int tries = 0; tries < 2; tries++) {
		pf_word *window;
		uint32_t start = pf_window_look(destination, pool->ranges.ports, &window);
		int steps = pf_pool_take_at_once(pool, stripe, avoid, now, start, ret_port);
		if (pf_rarely(steps < 0 || steps > CROWDED_STEPS))
			pf_window_leave(window);
		if (steps >= 0)
			return 0;
	}
	return -EAGAIN;
}

// Begins the search of a seeker that has a pool, for a port to `destination` (NULL: to none).
static void seeker_aim(struct seeker *seeker, const struct pf_endpoint *destination)
{
	seeker->now = pf_now_ms();
	seeker->time_ns = pf_time_ns(seeker->now);
	seeker->start = random_below(seeker->pool->ranges.ports);
	seeker->peer = destination ? *destination : (struct pf_endpoint){.port = 0};
	// A socket that connects to its own port on its own host gets itself as peer (RFC 9293,
	// section 3.5: simultaneous open).
	seeker->avoid = seeker->peer.port;
	seeker->never = destination && pf_endpoint_is_loopback(destination);
}

// Makes a seeker for a port in `stripe`, or, if `destination` is given and it is TCP, in that
// destination's stripe. Its pool is NULL if the policy leaves the port to the kernel.
static void seeker_start(struct seeker *seeker, int fd, struct pf_fd state, uint64_t ticket,
	uint32_t stripe, const struct pf_endpoint *destination)
{
	seeker->fd = fd;
	seeker->state = state;
	seeker->ticket = ticket;
	seeker->segment = pf_fence_segment(fd);
	seeker->pool = pf_fence_pool(seeker->segment, state.kind, destination);
	seeker->stripe = stripe;
	seeker->avoid = 0;
	seeker->never = seeker->nothing = seeker->hurried = seeker->waited = false;
	seeker->signals = (struct pf_signals){.held = false};
	seeker->how = PF_HOW_BIND;
	seeker->now = seeker->time_ns = 0;
	if (!seeker->pool)
		return;
	seeker_aim(seeker, destination);
	if (destination && state.kind == PF_FD_TCP)
		seeker->stripe = pf_pool_stripe(seeker->pool, pf_endpoint_hash(destination));
}

// Takes a port that can be seen now. Returns 0, or -EAGAIN.
static int seeker_look(struct seeker *seeker, uint16_t *ret_port)
{
	int result = pf_pool_take(
		seeker->pool, seeker->stripe, seeker->avoid, seeker->now, &seeker->start, ret_port);
	if (result != -EAGAIN || seeker->never ||
		pf_ranges_index(&seeker->pool->ranges, seeker->avoid) < 0)
		return result;
	// It may be the only one left, and is as good as any other if that host is not this one.
	seeker->never = pf_classify_reach(&seeker->peer, seeker->avoid) > 0;
	if (seeker->never)
		return result;
	seeker->avoid = 0;
	return pf_pool_take(seeker->pool, seeker->stripe, 0, seeker->now, &seeker->start, ret_port);
}

// Takes a port, after a reap if there is none. Returns 0, or -EAGAIN if the stripe is exhausted.
static int seeker_take(struct seeker *seeker, uint16_t *ret_port)
{
	int result = seeker_look(seeker, ret_port);
	if (result != -EAGAIN)
		return result;
	// Whatever comes of that: another's reap may have ended since we looked. If this thread is
	// in another namespace, the next call uses that one's segment.
	if (pf_reap_sometimes(seeker->segment, pf_now_ms()) == -EXDEV)
		pf_fence_move();
	return seeker_look(seeker, ret_port);
}

// Returns true if the stripe was found exhausted just now, or the process has all the leases that
// it may have, which is counted here.
static bool seeker_is_hopeless(struct seeker *seeker)
{
	uint32_t quota = seeker->pool->quota;
	if (quota && pf_fdmap_leases((uint8_t)seeker->pool->place, quota) >= quota) {
		pf_pool_count(seeker->pool, PF_COUNT_QUOTA, 1);
		return true;
	}
	seeker->nothing = pf_pool_exhausted(seeker->pool, seeker->stripe, seeker->now);
	return seeker->nothing;
}

// Remembers that there is no port, unless there may be one for others. `why` is -EAGAIN if none was
// to be seen, -EBUSY if the kernel refused them all. Returns `error`, negated.
static int seeker_give_up(struct seeker *seeker, int why, int error)
{
	uint16_t port;
	seeker->nothing = true;
	if (pf_ranges_index(&seeker->pool->ranges, seeker->avoid) >= 0)
		return -error;
	pf_pool_exhaust(seeker->pool, seeker->stripe, pf_now_ms());
	// What came back between our last look and this mark must not lie idle: a give wipes it.
	if (why == -EAGAIN && seeker_look(seeker, &port) == 0)
		pf_pool_give(seeker->pool, seeker->stripe, port);
	return -error;
}

// ---- Record ----------------------------------------------------------------------------------

// Writes who took the port, for those who ask.
static void lease_tell(struct seeker *seeker, uint16_t port, enum pf_how how)
{
	struct pf_fd lease = {.kind = seeker->state.kind,
		.pool = seeker->pool->place & (PF_POOLS_MAX - 1u),
		.port = port};
	pf_history_add(seeker->segment, lease, how, &seeker->peer, seeker->time_ns);
}

// Writes fd -> lease. If the fd changed hands meanwhile, the port stays used until the next reap.
static void lease_record(struct seeker *seeker, uint16_t port, unsigned late)
{
	struct pf_fd lease = seeker->state;
	lease.flags = (lease.flags | PF_FD_BOUND | PF_FD_LEASE | late) & PF_FD_FLAGS;
	lease.pool = seeker->pool->place & (PF_POOLS_MAX - 1u);
	lease.stripe = (uint16_t)seeker->stripe;
	lease.port = port;
	pf_fdmap_replace(seeker->fd, seeker->ticket, lease);
	pf_history_add(seeker->segment, lease, late ? PF_HOW_LATE : seeker->how, &seeker->peer,
		seeker->time_ns);
}

// Writes that the fd has a port that is no lease (PF_FD_BOUND), or none (0). A lease that it had is
// the caller's to give.
static void state_record(int fd, uint64_t ticket, struct pf_fd state, unsigned set)
{
	state.flags = ((state.flags & PF_FD_LASTING) | set) & PF_FD_FLAGS;
	pf_fdmap_replace(fd, ticket, state);
}

// The same, and gives the lease.
static void lease_end(int fd, uint64_t ticket, struct pf_fd lease, unsigned set)
{
	state_record(fd, ticket, lease, set);
	pf_lifetime_give(lease);
}

// Returns the state of a TCP socket (netinet/tcp.h), or 0 if it is none.
static uint8_t tcp_state(int fd)
{
	uint8_t state = 0; // tcp_info begins with it
	socklen_t size = sizeof state;
	pf_sys(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &state, &size);
	return state;
}

// Looks whether the port that the map knows of is there still: by a connection that failed, the
// kernel let go of one that it had chosen; and the number may be another socket's by now, closed
// and made past our hooks. Returns the state to go by.
static struct pf_fd settled(int fd, struct pf_fd state, uint64_t *ticket)
{
	if (!(state.flags & PF_FD_BOUND))
		return state;
	uint8_t now = state.flags & PF_FD_LATE ? tcp_state(fd) : 0;
	if (now == TCP_CLOSE)
		lease_end(fd, *ticket, state, 0);
	else if (now || pf_classify_port(fd))
		return state;
	else if (!pf_fdmap_is_borrowed())
		pf_lifetime_give(pf_fdmap_forget(fd));
	state = pf_classify(fd, false, ticket);
	if (pf_fdmap_is_borrowed())
		state.flags &= PF_FD_LASTING;
	return state;
}

// ---- The bind claim --------------------------------------------------------------------------

// Writes the address to bind to, without a port: the one that the socket has, or none.
static socklen_t address_local(struct seeker *seeker, struct sockaddr_storage *address)
{
	socklen_t length = sizeof *address;
	if ((seeker->state.flags & PF_FD_ADDRESS) &&
		pf_sys(SYS_getsockname, seeker->fd, address, &length) == 0)
		return length;
	memset(address, 0, sizeof *address);
	bool ipv6 = seeker->state.flags & PF_FD_IPV6;
	address->ss_family = ipv6 ? AF_INET6 : AF_INET;
	return ipv6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

// The port is at the same place in both families.
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
	"sin_port and sin6_port");

static void address_set_port(struct sockaddr_storage *address, uint16_t port)
{
	port = htons(port);
	memcpy((char *)address + offsetof(struct sockaddr_in, sin_port), &port, sizeof port);
}

// Sets an option to `value` if it is not `value`. Returns true if it was not.
static bool option_turn(int fd, int name, int value)
{
	int now = value;
	socklen_t size = sizeof now;
	if (pf_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &now, &size) < 0 || !now == !value)
		return false;
	return pf_sys(SYS_setsockopt, fd, SOL_SOCKET, name, &value, sizeof value) == 0;
}

// The options with which the kernel lets sockets share a port, as far as a port of our choice is
// not to be shared.
struct sharing {
	bool address, port;
};

// Takes them from a socket that wants a port for itself: so the kernel, too, refuses it one that
// another has, of which the segment may not know. TCP keeps SO_REUSEADDR, which is about TIME_WAIT.
static struct sharing sharing_stop(const struct seeker *seeker)
{
	struct sharing sharing = {false, false};
	if (seeker->stripe < PF_STRIPE_TCP)
		sharing.port = option_turn(seeker->fd, SO_REUSEPORT, 0);
	if (seeker->stripe == PF_STRIPE_UDP)
		sharing.address = option_turn(seeker->fd, SO_REUSEADDR, 0);
	return sharing;
}

// Gives them back: who joins on purpose, by an explicit port, may.
static void sharing_resume(const struct seeker *seeker, struct sharing sharing)
{
	if (sharing.port)
		option_turn(seeker->fd, SO_REUSEPORT, 1);
	if (sharing.address)
		option_turn(seeker->fd, SO_REUSEADDR, 1);
}

// Binds the socket to a port of its stripe, and records the lease. Returns 0; -EAGAIN if there is
// no port; or what bind(2) says of the socket or the address, -errno: then nothing is taken.
static int claim_by_bind(struct seeker *seeker, struct sockaddr_storage *address, socklen_t length)
{
	// Each refusal is about another port, the search goes on behind it; but those that were
	// refused while others held may come once more before these.
	uint32_t tries = 2 * seeker->pool->ranges.ports;
	while (tries--) {
		uint16_t port;
		int result = seeker_take(seeker, &port);
		if (result < 0)
			return result;
		address_set_port(address, port);
		result = pf_real_bind(seeker->fd, (struct sockaddr *)address, length);
		if (result == 0) {
			lease_record(seeker, port, 0);
			return 0;
		}
		if (result != -EADDRINUSE) {
			pf_pool_give(seeker->pool, seeker->stripe, port);
			return result;
		}
		pf_pool_refuse(seeker->pool, seeker->stripe, port);
	}
	// Every port has an owner that we do not know. Now we do.
	pf_reap_sometimes(seeker->segment, pf_now_ms());
	return -EBUSY;
}

// The same, with the stripe's exhaustion remembered: -exhausted if there is no port.
static int claim_or_give_up(
	struct seeker *seeker, struct sockaddr_storage *address, socklen_t length, int exhausted)
{
	if (seeker_is_hopeless(seeker))
		return -exhausted;
	struct sharing sharing = sharing_stop(seeker);
	int result = claim_by_bind(seeker, address, length);
	sharing_resume(seeker, sharing);
	bool nothing = result == -EAGAIN || result == -EBUSY;
	return nothing ? seeker_give_up(seeker, result, exhausted) : result;
}

// Makes the kernel forget the peer of a socket, and the port if it chose that. Returns 0 or -errno.
static int dissolve(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	return pf_real_connect(fd, &none, sizeof none);
}

// The socket turned out to be bound, past our hooks. A UDP socket that got its port from the kernel
// (by a send without an address) can lose it again; whatever else has a port keeps it. Returns true
// if the socket is unbound now.
static bool unbind(const struct seeker *seeker)
{
	if (seeker->state.kind != PF_FD_UDP ||
		pf_ranges_index(&seeker->pool->ranges, pf_classify_port(seeker->fd)) >= 0)
		return false;
	return dissolve(seeker->fd) == 0 && pf_classify_port(seeker->fd) == 0;
}

// The bind claim for a socket that the program did not bind. Returns 0, also if the socket turns
// out to be bound; -exhausted if there is no port; else -errno.
static int claim_unbound(struct seeker *seeker, int exhausted)
{
	struct sockaddr_storage address;
	socklen_t length = address_local(seeker, &address);
	int result = claim_or_give_up(seeker, &address, length, exhausted);
	if (result == -EINVAL && unbind(seeker))
		result = claim_or_give_up(seeker, &address, length, exhausted);
	if (result != -EINVAL)
		return result;
	// Perhaps by a connect of another process, whose failure would take the port again.
	unsigned late = seeker->state.kind == PF_FD_TCP ? PF_FD_LATE : 0;
	state_record(seeker->fd, seeker->ticket, seeker->state, PF_FD_BOUND | late);
	return 0;
}

// The kernel refused a connect from the port that we bound: somebody else is connected from it,
// whom we did not know. The port stays used, and the socket, which cannot be bound again, has it
// without a lease; a reap finds out about the others.
static void connect_refused(struct seeker *seeker)
{
	uint64_t ticket;
	struct pf_fd bound = pf_fdmap_get(seeker->fd, &ticket);
	if (bound.flags & PF_FD_LEASE)
		state_record(seeker->fd, ticket, bound, PF_FD_BOUND);
	pf_pool_count(seeker->pool, PF_COUNT_REFUSED, 1);
	pf_reap_sometimes(seeker->segment, pf_now_ms());
}

// The program's own call, which may block: not with signals held.
static ssize_t attempt(struct seeker *seeker, const struct operation *operation)
{
	bool held = seeker->signals.held;
	pf_signals_let(&seeker->signals);
	ssize_t result = operation->run(operation);
	if (held && result == -EADDRNOTAVAIL)
		pf_signals_hold(&seeker->signals);
	return result;
}

static ssize_t connect_by_bind(struct seeker *seeker, const struct operation *operation)
{
	const int on = 1;
	bool shares = !(seeker->pool->flags & PF_POLICY_EXCLUSIVE);
	if (shares)
		pf_sys(SYS_setsockopt, seeker->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	int claimed = claim_unbound(seeker, EADDRNOTAVAIL);
	if (claimed < 0) {
		if (shares && !(seeker->state.flags & PF_FD_REUSE))
			option_turn(seeker->fd, SO_REUSEADDR, 0);
		return claimed;
	}
	ssize_t result = attempt(seeker, operation);
	if (result == -EADDRNOTAVAIL)
		connect_refused(seeker);
	return result;
}

// ---- The late claim --------------------------------------------------------------------------

// Narrows the kernel's choice to first..last. Returns 0 or -errno.
static int range_set(int fd, uint16_t first, uint16_t last)
{
	uint32_t range = pf_claim_option((struct pf_range){first, last});
	return (int)pf_sys(SYS_setsockopt, fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range);
}

// Sets the range that holds a random port of the pool: the option takes only one.
static void range_set_pool(int fd, const struct pf_pool *pool)
{
	uint32_t at = 0;
	if (pool->ranges.count > 1)
		at = random_below(pool->ranges.count);
	range_set(fd, pool->ranges.range[at].first, pool->ranges.range[at].last);
}

// Returns true if the connection is made or under way, so that the socket keeps its port.
static bool is_under_way(ssize_t result)
{
	return result >= 0 || result == -EINPROGRESS || result == -EINTR;
}

// Returns true if the kernel does not honour the pool's range any more, in the namespace that the
// segment is about: then the pool is a bind pool from now on.
static bool is_void(struct seeker *seeker)
{
	if (pf_claim_choose(&seeker->pool->ranges, seeker->fd) != PF_CLAIM_BIND)
		return false;
	if (seeker->segment->netns == pf_segment_netns(seeker->fd))
		pf_pool_distrust(seeker->pool);
	return true;
}

// Returns true if the port was on the wire, and the connection came to nothing: a firewall's log
// may ask for it.
static bool is_answered(ssize_t result)
{
	return result == -ECONNREFUSED || result == -ETIMEDOUT || result == -EHOSTUNREACH;
}

// The kernel chose a port outside the pool: somebody changed the sysctl, or the socket had a port
// all along. Returns what the program gets.
static ssize_t connect_strayed(
	struct seeker *seeker, const struct operation *operation, ssize_t result)
{
	if (result == -EISCONN || result == -EALREADY || !is_void(seeker)) {
		state_record(seeker->fd, seeker->ticket, seeker->state, PF_FD_BOUND | PF_FD_LATE);
		return result;
	}
	if (dissolve(seeker->fd) < 0)
		return result;
	return connect_by_bind(seeker, operation);
}

// Returns true once in a tick of the coarse clock, some milliseconds: what sysctls say changes
// seldom, and one look in a storm of connects is as good as thousands.
static bool is_time_to_look(pf_word *last, uint64_t now)
{
	if (pf_word_get(last) == now)
		return false;
	pf_word_put(last, now);
	return true;
}

static pf_word port_looked PF_TOGETHER; // when a port was looked at last

// Returns the port that came out of a call that was not refused. `port` is the one that was taken,
// and almost always that.
static uint16_t port_chosen(int fd, uint16_t port, uint64_t now)
{
	return is_time_to_look(&port_looked, now) ? pf_classify_port(fd) : port;
}

// After that, records or returns the lease. `port` is 0 if the kernel searched. Returns what the
// program gets.
static ssize_t connect_settle(struct seeker *seeker, const struct operation *operation,
	uint16_t port, uint16_t chosen, ssize_t result)
{
	bool kept = is_under_way(result); // else the kernel let go of the port, but shows it still
	if (kept && chosen == port) {
		lease_record(seeker, port, PF_FD_LATE);
		return result;
	}
	pf_pool_give(seeker->pool, seeker->stripe, port);
	if (chosen && pf_ranges_index(&seeker->pool->ranges, chosen) < 0)
		return connect_strayed(seeker, operation, result);
	if (kept) {
		pf_pool_mark(seeker->pool, seeker->stripe, chosen);
		lease_record(seeker, chosen, PF_FD_LATE);
	} else if (chosen && is_answered(result))
		lease_tell(seeker, chosen, PF_HOW_LATE);
	return result;
}

// Lets the kernel search first..last, if that is a range. Returns as the operation does.
static ssize_t search_range(
	struct seeker *seeker, const struct operation *operation, uint32_t first, uint32_t last)
{
	if (first > last || range_set(seeker->fd, (uint16_t)first, (uint16_t)last) < 0)
		return -EADDRNOTAVAIL;
	ssize_t result = attempt(seeker, operation);
	if (result == -EADDRNOTAVAIL)
		return result;
	uint16_t chosen = is_under_way(result) ? pf_classify_port(seeker->fd) : 0;
	return connect_settle(seeker, operation, 0, chosen, result);
}

// Lets the kernel search the pool, range by range, around the port to avoid. Returns as the
// operation does; -EADDRNOTAVAIL if there is no port.
static ssize_t connect_by_search(struct seeker *seeker, const struct operation *operation)
{
	const struct pf_ranges *ranges = &seeker->pool->ranges;
	ssize_t result = -EADDRNOTAVAIL;
	pf_pool_count(seeker->pool, PF_COUNT_SEARCHED, 1);
	for (uint32_t i = 0; i < ranges->count && result == -EADDRNOTAVAIL; i++) {
		struct pf_range range = ranges->range[(seeker->start + i) % ranges->count];
		if (seeker->avoid < range.first || seeker->avoid > range.last) {
			result = search_range(seeker, operation, range.first, range.last);
			continue;
		}
		result = search_range(seeker, operation, range.first, seeker->avoid - 1u);
		if (result == -EADDRNOTAVAIL)
			result = search_range(seeker, operation, seeker->avoid + 1u, range.last);
	}
	return result;
}

static ssize_t connect_late_in(struct seeker *seeker, const struct operation *operation)
{
	static pf_word looked;
	int taken = 0;
	uint16_t refused = 0;
	if (seeker_is_hopeless(seeker))
		return -EADDRNOTAVAIL;
	for (int tries = 0; tries < LATE_TRIES; tries++) {
		uint16_t port;
		taken = seeker_take(seeker, &port);
		if (taken < 0)
			break;
		if (port == refused) { // there is no other
			pf_pool_give(seeker->pool, seeker->stripe, port);
			break;
		}
		if (range_set(seeker->fd, port, port) < 0) {
			// A sandbox without setsockopt, or an older kernel under an old segment.
			pf_pool_give(seeker->pool, seeker->stripe, port);
			return connect_by_bind(seeker, operation);
		}
		ssize_t result = attempt(seeker, operation);
		if (result != -EADDRNOTAVAIL) {
			uint16_t chosen = port_chosen(seeker->fd, port, seeker->now);
			return connect_settle(seeker, operation, port, chosen, result);
		}
		pf_pool_refuse(seeker->pool, seeker->stripe, port);
		refused = port;
	}
	// While it waits, what the kernel could find by itself comes back in the bitmaps, too.
	ssize_t result =
		taken < 0 && seeker->waited ? -EADDRNOTAVAIL : connect_by_search(seeker, operation);
	if (result != -EADDRNOTAVAIL)
		return result;
	// Or it is not about ports: the kernel has no address of its own to go with that one.
	if (taken == 0 && pf_classify_reach(&seeker->peer, refused) == -EADDRNOTAVAIL)
		return result;
	// Strangers have the ports that we think are free: next time we know of them.
	if (taken == 0)
		pf_reap_sometimes(seeker->segment, pf_now_ms());
	// Somebody may have reserved the pool's ports, which is wise, and ends the late claim.
	if (is_time_to_look(&looked, seeker->now) && is_void(seeker))
		return connect_by_bind(seeker, operation);
	// Where only the kernel knows why a port cannot be had (TIME_WAIT), the next moment may be
	// another matter.
	seeker->nothing = true;
	return taken < 0 ? seeker_give_up(seeker, taken, EADDRNOTAVAIL) : result;
}

// The same; a range that the program set itself is there again afterwards.
static ssize_t connect_late(struct seeker *seeker, const struct operation *operation)
{
	uint32_t theirs = 0;
	socklen_t size = sizeof theirs;
	if (!(seeker->state.flags & PF_FD_RANGE))
		return connect_late_in(seeker, operation);
	pf_sys(SYS_getsockopt, seeker->fd, SOL_IP, IP_LOCAL_PORT_RANGE, &theirs, &size);
	ssize_t result = connect_late_in(seeker, operation);
	range_set(seeker->fd, (uint16_t)theirs, (uint16_t)(theirs >> 16));
	return result;
}

// ---- Where there is no port ------------------------------------------------------------------

// Begins a search that may have to wait, if the policy says so. Returns when (pf_now_ms()).
static uint64_t seeker_begins(struct seeker *seeker)
{
	if (seeker->pool && seeker->pool->exhausted == PF_EXHAUSTED_WAIT)
		pf_signals_hold(&seeker->signals);
	return seeker->now;
}

// Returns true after a while if the call is to try again: the policy says so, and it may block.
static bool seeker_waits(struct seeker *seeker, uint64_t began)
{
	if (!seeker->nothing || seeker->pool->exhausted != PF_EXHAUSTED_WAIT || seeker->hurried ||
		seeker->signals.handled || pf_now_ms() - began >= seeker->pool->wait_ms ||
		(pf_sys(SYS_fcntl, seeker->fd, F_GETFL) & O_NONBLOCK)) {
		pf_signals_let(&seeker->signals);
		return false;
	}
	pf_signals_hold(&seeker->signals);
	pf_signals_wait(&seeker->signals, PF_EXHAUSTED_MS / 2);
	seeker->waited = true;
	seeker->nothing = false;
	seeker->now = pf_now_ms();
	seeker->time_ns = pf_time_ns(seeker->now);
	return true;
}

// Takes back what narrows the kernel's choice: the port will be of that.
static void leave_to_kernel(struct seeker *seeker)
{
	if (!(seeker->state.flags & PF_FD_RANGE))
		range_set(seeker->fd, 0, 0);
	if (seeker->state.kind == PF_FD_UDP)
		state_record(seeker->fd, seeker->ticket, seeker->state, PF_FD_BOUND);
}

// Counts a call for which there was no port. Returns true if the policy leaves it to the kernel
// then.
static bool seeker_falls_back(struct seeker *seeker)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	if (!seeker->nothing)
		return false;
	bool leaves = seeker->pool->exhausted == PF_EXHAUSTED_FALLBACK;
	pf_pool_count(seeker->pool, leaves ? PF_COUNT_FALLBACK : PF_COUNT_EXHAUSTED, 1);
	if (!leaves)
		return false;
	if (!atomic_flag_test_and_set(&said))
		pf_fence_say("no port is left in the pool; the kernel chooses, as the policy says");
	leave_to_kernel(seeker);
	return true;
}

// claim_unbound, as the policy has it. Returns 0 also if the kernel is to choose.
static int claim_or_leave(struct seeker *seeker, int exhausted)
{
	uint64_t began = seeker_begins(seeker);
	int result = 0;
	if (!seeker->pool)
		leave_to_kernel(seeker);
	else
		do
			result = claim_unbound(seeker, exhausted);
		while (seeker_waits(seeker, began));
	return result < 0 && seeker_falls_back(seeker) ? 0 : result;
}

// ---- Connect ---------------------------------------------------------------------------------

// A connect on a socket that we bound, perhaps for another destination: the port is used there,
// too. Returns as the operation does.
static ssize_t connect_bound(int fd, struct pf_fd lease, uint64_t ticket,
	const struct pf_endpoint *destination, const struct operation *operation)
{
	struct pf_segment *segment = pf_fence_segment(fd);
	struct pf_pool *pool = &segment->pool[lease.pool < segment->pools ? lease.pool : 0];
	uint32_t stripe = pf_pool_stripe(pool, pf_endpoint_hash(destination));
	bool moves = lease.stripe >= PF_STRIPE_TCP && lease.stripe != stripe;
	bool marked = moves && pf_pool_mark(pool, stripe, lease.port);
	uint64_t time_ns = pf_time_ns(pf_now_ms());
	ssize_t result = operation->run(operation);
	if (lease.stripe != stripe && is_under_way(result))
		pf_history_add(segment, lease, PF_HOW_BIND, destination, time_ns);
	if (!marked)
		return result;
	if (!is_under_way(result)) {
		pf_pool_give(pool, stripe, lease.port);
		return result;
	}
	struct pf_fd moved = lease;
	moved.stripe = (uint16_t)stripe;
	if (pf_fdmap_replace(fd, ticket, moved))
		pf_lifetime_give(lease);
	return result;
}

// A connect on a socket whose connection, by a late claim, was under way a moment ago. Returns as
// the operation does.
static ssize_t connect_again(
	int fd, struct pf_fd lease, uint64_t ticket, const struct operation *operation)
{
	ssize_t result = operation->run(operation);
	// It may have told of the failure of the one before: the kernel has let go of the port.
	if (!is_under_way(result) && tcp_state(fd) == TCP_CLOSE)
		lease_end(fd, ticket, lease, 0);
	return result;
}

// Returns true if a socket that is free to connect would, from the port that we bound it to for an
// earlier connect, reach itself.
static bool is_own_port(int fd, struct pf_fd lease, const struct pf_endpoint *destination)
{
	return (lease.flags & PF_FD_LEASE) && lease.stripe >= PF_STRIPE_TCP &&
		lease.port == destination->port && pf_endpoint_is_loopback(destination) &&
		tcp_state(fd) == TCP_CLOSE;
}

// A connect, or a first send that connects, on a TCP socket. Returns as the operation does.
static ssize_t tcp_connect(int fd, struct pf_fd state, uint64_t ticket,
	const struct pf_endpoint *destination, const struct operation *operation)
{
	if (state.flags & PF_FD_LATE)
		return connect_again(fd, state, ticket, operation);
	if (is_own_port(fd, state, destination))
		return -EADDRNOTAVAIL; // bound for good
	if (state.flags & PF_FD_LEASE)
		return connect_bound(fd, state, ticket, destination, operation);
	if (state.flags & PF_FD_BOUND)
		return operation->run(operation);
	struct seeker seeker;
	seeker_start(&seeker, fd, state, ticket, PF_STRIPE_TCP, destination);
	seeker.hurried = operation->flags & MSG_DONTWAIT;
	if (!seeker.pool) {
		leave_to_kernel(&seeker);
		return operation->run(operation);
	}
	uint64_t began = seeker_begins(&seeker);
	ssize_t result;
	do
		result = pf_pool_claim(seeker.pool) == PF_CLAIM_LATE
			? connect_late(&seeker, operation)
			: connect_by_bind(&seeker, operation);
	while (seeker_waits(&seeker, began));
	return seeker_falls_back(&seeker) ? operation->run(operation) : result;
}

// Gives an unbound UDP socket its port, for a call with these MSG_ flags. Returns 0 or -errno.
static int udp_bind(int fd, struct pf_fd state, uint64_t ticket,
	const struct pf_endpoint *destination, int flags)
{
	if (state.flags & PF_FD_BOUND)
		return 0;
	struct seeker seeker;
	seeker_start(&seeker, fd, state, ticket, PF_STRIPE_UDP, destination);
	seeker.hurried = flags & MSG_DONTWAIT;
	return claim_or_leave(&seeker, EAGAIN);
}

// connect to AF_UNSPEC: the socket is as new, unless it was bound (connect(2)).
static ssize_t disconnect(
	int fd, struct pf_fd state, uint64_t ticket, const struct operation *operation)
{
	ssize_t result = operation->run(operation);
	if (result == 0 && (state.flags & PF_FD_BOUND) && !pf_classify_port(fd))
		lease_end(fd, ticket, state, 0);
	return result;
}

static ssize_t run_connect(const struct operation *operation)
{
	return pf_real_connect(operation->fd, operation->address, operation->length);
}

// Returns the family of an address that can be read, or -1: whatever it is, the kernel will say it.
static int family_of(const struct sockaddr *address, socklen_t length)
{
	if (length < sizeof address->sa_family || length > sizeof(struct sockaddr_storage) ||
		!pf_classify_readable(address, length))
		return -1;
	return address->sa_family;
}

// Any connect. Returns as the call does.
__attribute__((noinline)) static ssize_t connect_wholly(
	int fd, const struct sockaddr *address, socklen_t length)
{
	struct operation operation = {run_connect, fd, 0, address, length, NULL, 0};
	struct pf_endpoint destination;
	uint64_t ticket;
	enum pf_fence fence = pf_fence();
	int family = fence == PF_FENCE_OFF ? -1 : family_of(address, length);

	if (family < 0 || family == AF_UNIX)
		return run_connect(&operation);
	struct pf_fd state = pf_classify(fd, true, &ticket);
	state = settled(fd, state, &ticket);
	if (state.kind != PF_FD_TCP && state.kind != PF_FD_UDP)
		return run_connect(&operation);
	if (family == AF_UNSPEC)
		return disconnect(fd, state, ticket, &operation);
	bool inet = pf_endpoint_read(address, length, &destination) == 0;
	if (fence == PF_FENCE_CLOSED && !(state.flags & PF_FD_BOUND))
		return pf_fence_refuse();

	if (state.kind == PF_FD_UDP) {
		// The kernel binds first, and then looks at the address.
		int result = udp_bind(fd, state, ticket, inet ? &destination : NULL, 0);
		return result < 0 ? result : run_connect(&operation);
	}
	if (!inet || fence == PF_FENCE_CLOSED)
		return run_connect(&operation);
	return tcp_connect(fd, state, ticket, &destination, &operation);
}

// The end of a plain connect whose port was looked at, or that failed. Returns as the call does.
__attribute__((noinline)) static ssize_t connect_plainly_settle(struct pf_fd state, uint64_t ticket,
	const struct pf_endpoint *destination, const struct operation *operation,
	struct pf_segment *segment, struct pf_pool *pool, uint32_t stripe, uint16_t port,
	ssize_t result)
{
	// Chosen again, the pool could be another one: a thread may have changed what it goes by.
	struct seeker seeker = {.fd = operation->fd,
		.state = state,
		.ticket = ticket,
		.segment = segment,
		.pool = pool,
		.stripe = stripe,
		.how = PF_HOW_BIND};
	seeker_aim(&seeker, destination);
	if (state.flags & PF_FD_BOUND) {
		lease_tell(&seeker, port, PF_HOW_BIND);
		connect_refused(&seeker);
		return result;
	}
	uint16_t chosen = port_chosen(operation->fd, port, seeker.now);
	return connect_settle(&seeker, operation, port, chosen, result);
}

// The bind claim of a plain connect. Returns 0 or -errno.
__attribute__((noinline)) static int bind_plainly(int fd, struct pf_fd state, uint16_t port)
{
	const int on = 1;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	pf_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return state.flags & PF_FD_IPV6 ? pf_real_bind(fd, (struct sockaddr *)&in6, sizeof in6)
					: pf_real_bind(fd, (struct sockaddr *)&in, sizeof in);
}

// Nearly every connect, in one piece: a new TCP socket, a port that is free at the first look. It
// is the same story where none of its questions arises, in half of the instructions, which are
// what a connect costs (docs/PERFORMANCE.md). Returns false if the whole story is needed: then the
// socket has no port, and we have none either.
static bool connect_plainly(
	int fd, const struct sockaddr *address, socklen_t length, ssize_t *ret_result)
{
	struct pf_segment *segment = pf_fence_attached();
	struct pf_endpoint destination;
	uint64_t ticket;
	uint16_t port;
	struct pf_fd state = pf_fdmap_get(fd, &ticket);
	if (pf_rarely(!segment || !pf_fdmap_is_new_tcp(ticket) || family_of(address, length) < 0 ||
		    pf_endpoint_read(address, length, &destination) < 0))
		return false;
	struct pf_pool *pool = pf_fence_pool(segment, PF_FD_TCP, &destination);
	if (pf_rarely(!pool || pool->quota || (pool->flags & PF_POLICY_EXCLUSIVE)))
		return false;

	bool late = pf_pool_claim(pool) == PF_CLAIM_LATE;
	uint64_t now = pf_now_ms();
	uint64_t hash = pf_endpoint_hash(&destination);
	uint32_t stripe = pf_pool_stripe(pool, hash);
	if (pf_rarely(take_near(pool, stripe, hash, destination.port, now, &port) < 0))
		return false;
	int claimed = late ? range_set(fd, port, port) : bind_plainly(fd, state, port);
	if (pf_rarely(claimed < 0)) {
		// As the whole story has it: only that is about the port.
		(claimed == -EADDRINUSE ? pf_pool_refuse : pf_pool_give)(pool, stripe, port);
		return false;
	}
	// These bits are clear in what is known of a new socket.
	const struct pf_fd port_of_it = {.port = port,
		.stripe = (uint16_t)stripe,
		.flags = PF_FD_BOUND | PF_FD_LEASE | (late ? PF_FD_LATE : 0u),
		.pool = pool->place & (PF_POOLS_MAX - 1u)};
	struct pf_fd lease = pf_fdmap_entry(ticket | pf_fdmap_word(port_of_it));
	// A port that is bound stays, whatever becomes of the call.
	if (!late)
		pf_fdmap_replace(fd, ticket, lease);
	ssize_t result = *ret_result = pf_real_connect(fd, address, length);
	if (pf_rarely(late && result == -EADDRNOTAVAIL)) {
		pf_pool_refuse(pool, stripe, port);
		return false;
	}
	if (late ? pf_rarely(!is_under_way(result) || pf_word_get(&port_looked) != now)
		 : pf_rarely(result == -EADDRNOTAVAIL)) {
		struct operation operation = {run_connect, fd, 0, address, length, NULL, 0};
		*ret_result = connect_plainly_settle(late ? state : lease, ticket, &destination,
			&operation, segment, pool, stripe, port, result);
		return true;
	}
	if (late)
		pf_fdmap_replace(fd, ticket, lease);
	pf_history_add(
		segment, lease, late ? PF_HOW_LATE : PF_HOW_BIND, &destination, pf_time_ns(now));
	return true;
}

int pf_assign_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	ssize_t result;
	if (pf_rarely(!connect_plainly(fd, address, length, &result)))
		result = connect_wholly(fd, address, length);
	return (int)result;
}

// ---- Send ------------------------------------------------------------------------------------

// A send to `address`, which may be NULL. Only an unbound socket has a port to get: by its first
// datagram, or by TCP fast open.
static ssize_t send_to(const struct operation *operation)
{
	struct pf_endpoint destination;
	uint64_t ticket;
	enum pf_fence fence = pf_fence();
	if (fence == PF_FENCE_OFF || !operation->address)
		return operation->run(operation);
	struct pf_fd state = pf_classify(operation->fd, false, &ticket);
	if (operation->flags & MSG_FASTOPEN)
		state = settled(operation->fd, state, &ticket);
	bool connects = state.kind == PF_FD_TCP && (operation->flags & MSG_FASTOPEN);
	if (!connects && (state.kind != PF_FD_UDP || (state.flags & PF_FD_BOUND)))
		return operation->run(operation);
	int family = family_of(operation->address, operation->length);
	if (family < 0)
		return operation->run(operation);
	bool inet = pf_endpoint_read(operation->address, operation->length, &destination) == 0;
	if (connects && !inet)
		return operation->run(operation);
	if (fence == PF_FENCE_CLOSED && !(state.flags & PF_FD_BOUND))
		return pf_fence_refuse();

	if (connects && fence == PF_FENCE_ON)
		return tcp_connect(operation->fd, state, ticket, &destination, operation);
	if (state.flags & PF_FD_BOUND)
		return operation->run(operation);
	// The kernel binds first, and then looks at the address.
	int result = udp_bind(
		operation->fd, state, ticket, inet ? &destination : NULL, operation->flags);
	return result < 0 ? result : operation->run(operation);
}

static ssize_t run_sendto(const struct operation *operation)
{
	return pf_real_sendto(operation->fd, operation->data, operation->size, operation->flags,
		operation->address, operation->length);
}

ssize_t pf_assign_sendto(int fd, const void *data, size_t size, int flags,
	const struct sockaddr *address, socklen_t length)
{
	struct operation operation = {run_sendto, fd, flags, address, length, data, size};
	return send_to(&operation);
}

// Returns true if the fd has, or never needs, a port: its messages are not even looked at.
static bool is_settled(int fd, int flags)
{
	uint64_t ticket;
	if (pf_fence() == PF_FENCE_OFF)
		return true;
	struct pf_fd state = pf_classify(fd, false, &ticket);
	if (state.kind == PF_FD_UDP)
		return state.flags & PF_FD_BOUND;
	return state.kind != PF_FD_TCP || !(flags & MSG_FASTOPEN);
}

// Returns true for a message that says so without a system call, as those of connected sockets do.
static bool is_without_name(const struct msghdr *message)
{
	return pf_classify_is_near(message, sizeof *message) && !message->msg_name;
}

// Puts the address of a message into the operation, if both can be read.
static void address_of_message(struct operation *operation, const struct msghdr *message)
{
	if (!pf_classify_readable(message, sizeof *message))
		return;
	operation->address = message->msg_name;
	operation->length = message->msg_namelen;
	// sendmsg(2) does not mind a length beyond that.
	if (operation->length > sizeof(struct sockaddr_storage))
		operation->length = sizeof(struct sockaddr_storage);
}

static ssize_t run_sendmsg(const struct operation *operation)
{
	return pf_real_sendmsg(operation->fd, operation->data, operation->flags);
}

ssize_t pf_assign_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct operation operation = {run_sendmsg, fd, flags, NULL, 0, message, 0};
	if (is_without_name(message) || is_settled(fd, flags))
		return run_sendmsg(&operation);
	address_of_message(&operation, message);
	return send_to(&operation);
}

static ssize_t run_sendmmsg(const struct operation *operation)
{
	struct mmsghdr *messages = (struct mmsghdr *)(uintptr_t)operation->data;
	return pf_real_sendmmsg(
		operation->fd, messages, (unsigned)operation->size, operation->flags);
}

int pf_assign_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	struct operation operation = {run_sendmmsg, fd, flags, NULL, 0, messages, count};
	if (count == 0 || is_without_name((const struct msghdr *)messages) || is_settled(fd, flags))
		return (int)run_sendmmsg(&operation);
	address_of_message(&operation, (const struct msghdr *)messages); // its first member
	return (int)send_to(&operation);
}

// ---- Bind, listen ----------------------------------------------------------------------------

// Returns the stripe of a socket that takes its port for itself, for every destination.
static uint32_t stripe_of_own(struct pf_fd state)
{
	return state.kind == PF_FD_TCP ? PF_STRIPE_WHOLE : PF_STRIPE_UDP;
}

// bind to port 0. Returns 0 or -errno.
static int bind_to_any(int fd, struct pf_fd state, uint64_t ticket, const struct sockaddr *address,
	socklen_t length)
{
	struct sockaddr_storage local;
	if ((state.flags & PF_FD_DEFER) && pf_classify_defers(fd)) { // until connect (ip(7))
		int result = pf_real_bind(fd, address, length);
		if (result == 0)
			state_record(fd, ticket, state, PF_FD_ADDRESS);
		return result;
	}
	struct seeker seeker;
	seeker_start(&seeker, fd, state, ticket, stripe_of_own(state), NULL);
	uint64_t began = seeker_begins(&seeker);
	seeker.how = PF_HOW_ANY;
	memcpy(&local, address, length);
	int result = 0;
	if (!seeker.pool)
		leave_to_kernel(&seeker);
	else
		do
			result = claim_or_give_up(&seeker, &local, length, EADDRINUSE);
		while (seeker_waits(&seeker, began));
	if (seeker.pool && !seeker_falls_back(&seeker))
		return result;
	result = pf_real_bind(fd, address, length);
	if (result == 0)
		state_record(fd, ticket, state, PF_FD_BOUND);
	return result;
}

// bind to a port of the program's choice. If it is the pool's and nobody has it, it is a lease, so
// that others do not get it, where the kernel would let them (SO_REUSEADDR, SO_REUSEPORT). Returns
// 0 or -errno.
static int bind_to_port(int fd, struct pf_fd state, uint64_t ticket, const struct sockaddr *address,
	socklen_t length, uint16_t port)
{
	struct seeker seeker = {.pool = NULL};
	if (pf_fence() == PF_FENCE_ON)
		seeker_start(&seeker, fd, state, ticket, stripe_of_own(state), NULL);
	if (seeker.pool && (seeker.pool->flags & PF_POLICY_DENY) &&
		!pf_ranges_span(&seeker.pool->ranges, port))
		return -EACCES;
	int result = pf_real_bind(fd, address, length);
	if (result < 0)
		return result;
	if (seeker.pool && pf_pool_mark(seeker.pool, seeker.stripe, port)) {
		seeker.how = PF_HOW_PORT;
		lease_record(&seeker, port, 0);
		return 0;
	}
	state_record(fd, ticket, state, PF_FD_BOUND);
	return 0;
}

// Reads an address that may be bound to: bind(2) takes AF_UNSPEC for AF_INET. Returns 0 or -errno.
static int endpoint_to_bind(
	const struct sockaddr *address, socklen_t length, struct pf_endpoint *ret_endpoint)
{
	struct sockaddr_in in;
	if (address->sa_family != AF_UNSPEC || length < sizeof in)
		return pf_endpoint_read(address, length, ret_endpoint);
	memcpy(&in, address, sizeof in);
	in.sin_family = AF_INET;
	return pf_endpoint_read((struct sockaddr *)&in, sizeof in, ret_endpoint);
}

int pf_assign_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	struct pf_endpoint local;
	uint64_t ticket;
	enum pf_fence fence = pf_fence();
	if (fence == PF_FENCE_OFF || family_of(address, length) < 0 ||
		endpoint_to_bind(address, length, &local) < 0)
		return pf_real_bind(fd, address, length);
	struct pf_fd state = pf_classify(fd, true, &ticket);
	state = settled(fd, state, &ticket);
	if (state.kind != PF_FD_TCP && state.kind != PF_FD_UDP)
		return pf_real_bind(fd, address, length);
	if (state.flags & PF_FD_BOUND) // EINVAL
		return pf_real_bind(fd, address, length);

	if (local.port == 0 && fence == PF_FENCE_CLOSED)
		return pf_fence_refuse();
	if (local.port == 0)
		return bind_to_any(fd, state, ticket, address, length);
	return bind_to_port(fd, state, ticket, address, length, local.port);
}

int pf_assign_listen(int fd, int backlog)
{
	uint64_t ticket;
	enum pf_fence fence = pf_fence();
	if (fence == PF_FENCE_OFF)
		return pf_real_listen(fd, backlog);
	struct pf_fd state = pf_classify(fd, false, &ticket);
	state = settled(fd, state, &ticket);
	if (state.kind != PF_FD_TCP || (state.flags & PF_FD_BOUND))
		return pf_real_listen(fd, backlog);
	if (fence == PF_FENCE_CLOSED)
		return pf_fence_refuse();

	struct seeker seeker;
	seeker_start(&seeker, fd, state, ticket, PF_STRIPE_WHOLE, NULL);
	seeker.how = PF_HOW_LISTEN;
	int result = claim_or_leave(&seeker, EADDRINUSE);
	return result < 0 ? result : pf_real_listen(fd, backlog);
}

// ---- Socket ----------------------------------------------------------------------------------

int pf_assign_socket(int domain, int type, int protocol)
{
	enum pf_fence fence = pf_fence();
	// Before the call: a fork may come after it.
	uint16_t epoch = fence == PF_FENCE_ON ? pf_fdmap_epoch() : 0;
	int fd = pf_real_socket(domain, type, protocol);
	if (pf_rarely(fence == PF_FENCE_OFF || fd < 0))
		return fd;
	struct pf_fd state = pf_classify_new(domain, type, protocol);
	if (fence == PF_FENCE_ON && state.kind != PF_FD_OTHER) {
		struct pf_pool *pool = pf_fence_pool(pf_fence_segment(fd), state.kind, NULL);
		state.epoch = epoch;
		if (pool && pf_pool_claim(pool) == PF_CLAIM_LATE)
			range_set_pool(fd, pool);
	}
	// A vfork child has its parent's map, where this number may be another socket's.
	if (pf_rarely(pf_fdmap_is_borrowed()))
		return fd;
	// A lease that is still there was the fd's before: closed past our hooks.
	struct pf_fd before = pf_fdmap_start(fd, state);
	if (pf_rarely(before.flags & PF_FD_LEASE))
		pf_lifetime_give(before);
	return fd;
}
