// SPDX-License-Identifier: MIT
// Which sockets the kernel has: a sock_diag dump, read without malloc.
//
// sock_diag(7) takes a small program that the kernel runs for every socket; ours keeps those whose
// source port lies in one of the ranges, so that ten thousand foreign sockets cost little. Kernels
// without udp_diag answer ENOENT; then /proc/net/udp, which every kernel has, tells the same.
#include <portfence/diag.h>

#include <portfence/segment.h>

#include "util.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>

// Bytes received at once: the kernel fills pages of up to 32 KiB.
#define DATAGRAM_MAX ((size_t)32768)
// A port comparison: the operation, and its port in the `no` of the word behind it.
struct compare {
	struct inet_diag_bc_op op, port;
};

// One range: "port >= first, else next range; port <= last, else next range; accept".
struct filter_range {
	struct compare not_below, not_above;
	struct inet_diag_bc_op accept;
};

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 socket;
	struct nlattr attribute;
	struct filter_range filter[PF_RANGES_MAX];
};

// Fills in the filter. Returns its size in bytes.
static size_t filter_write(struct filter_range *filter, const struct pf_range *ranges, size_t count)
{
	size_t size = count * sizeof *filter;
	for (size_t i = 0; i < count; i++) {
		// Jumps are relative to their own operation; past the end by 4 means "reject".
		size_t after = (count - 1 - i) * sizeof *filter; // bytes behind this range
		size_t reject = after ? 0 : 4;
		struct inet_diag_bc_op below = {.code = INET_DIAG_BC_S_GE,
			.yes = sizeof(struct compare),
			.no = (unsigned short)(sizeof *filter + reject)};
		struct inet_diag_bc_op above = {.code = INET_DIAG_BC_S_LE,
			.yes = sizeof(struct compare),
			.no = (unsigned short)(sizeof *filter - sizeof(struct compare) + reject)};
		struct inet_diag_bc_op accept = {.code = INET_DIAG_BC_JMP,
			.yes = sizeof(struct inet_diag_bc_op),
			.no = (unsigned short)(sizeof(struct inet_diag_bc_op) + after)};
		filter[i] = (struct filter_range){
			.not_below = {below, {.no = ranges[i].first}},
			.not_above = {above, {.no = ranges[i].last}},
			.accept = accept,
		};
	}
	return size;
}

static void endpoint_from_diag(
	uint8_t family, const __be32 *address, __be16 port, struct pf_endpoint *endpoint)
{
	if (family == AF_INET)
		pf_endpoint_set_ipv4(endpoint, address[0]);
	else
		memcpy(endpoint->address, address, sizeof endpoint->address);
	endpoint->port = ntohs(port);
}

static struct pf_socket socket_from_diag(uint8_t protocol, const struct inet_diag_msg *message)
{
	struct pf_socket socket = {.protocol = protocol,
		.state = message->idiag_state,
		.ipv6 = message->idiag_family == AF_INET6,
		.uid = message->idiag_uid,
		.inode = message->idiag_inode};
	endpoint_from_diag(message->idiag_family, message->id.idiag_src, message->id.idiag_sport,
		&socket.local);
	endpoint_from_diag(message->idiag_family, message->id.idiag_dst, message->id.idiag_dport,
		&socket.peer);
	return socket;
}

// Reads the last message of a dump, which has an errno in both kinds: a dump that fails after it
// began, for a protocol without a handler for one, fails in NLMSG_DONE. Returns 1, or -errno.
static int end_of_dump(uint16_t type, const unsigned char *body, size_t length)
{
	int error = 0;
	if (length >= sizeof error)
		memcpy(&error, body, sizeof error);
	if (error < 0 && error >= -4095)
		return error;
	return type == NLMSG_DONE ? 1 : -EBADMSG;
}

int pf_diag_parse(const void *datagram, size_t size, uint8_t protocol, pf_diag_fn *each, void *arg)
{
	const unsigned char *at = datagram;
	while (size >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr header;
		memcpy(&header, at, sizeof header);
		if (header.nlmsg_len < sizeof header || header.nlmsg_len > size)
			return -EBADMSG;
		const unsigned char *body = at + NLMSG_HDRLEN;
		size_t length = header.nlmsg_len - sizeof header;
		if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR)
			return end_of_dump(header.nlmsg_type, body, length);
		if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
			struct inet_diag_msg message;
			if (length < sizeof message)
				return -EBADMSG;
			memcpy(&message, body, sizeof message);
			struct pf_socket socket = socket_from_diag(protocol, &message);
			int result = each(&socket, arg);
			if (result)
				return result;
		}
		size_t step = NLMSG_ALIGN(header.nlmsg_len);
		if (step > size)
			break;
		at += step;
		size -= step;
	}
	return 0;
}

// Asks for one family's sockets and reads the answer. Returns as pf_diag_each does.
static int dump_family(int fd, uint8_t family, uint8_t protocol, const struct pf_range *ranges,
	size_t count, unsigned char *buffer, pf_diag_fn *each, void *arg)
{
	struct request request;
	memset(&request, 0, offsetof(struct request, filter));
	size_t filter = filter_write(request.filter, ranges, count);
	size_t size = offsetof(struct request, filter) + filter;
	request.header.nlmsg_len = (uint32_t)size;
	request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request.socket.sdiag_family = family;
	request.socket.sdiag_protocol = protocol;
	request.socket.idiag_states = UINT32_MAX;
	request.attribute.nla_len = (uint16_t)(sizeof request.attribute + filter);
	request.attribute.nla_type = INET_DIAG_REQ_BYTECODE;

	long sent = pf_sys(SYS_sendto, fd, &request, size, 0, NULL, 0);
	if (sent < 0)
		return (int)sent;
	for (;;) {
		long got = pf_sys(SYS_recvfrom, fd, buffer, DATAGRAM_MAX, 0, NULL, NULL);
		if (got == -EINTR)
			continue;
		if (got <= 0)
			return got ? (int)got : -EBADMSG;
		int result = pf_diag_parse(buffer, (size_t)got, protocol, each, arg);
		if (result)
			return result == 1 ? 0 : result;
	}
}

static int netlink_open(void)
{
	return (int)pf_sys(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
}

uint64_t pf_diag_netns(void)
{
	int fd = netlink_open();
	if (fd < 0)
		return 0;
	uint64_t netns = pf_segment_netns(fd);
	pf_sys(SYS_close, fd);
	return netns;
}

// Returns as pf_diag_each does; -ENOENT if the kernel has no diag module for the protocol.
static int dump_netlink(
	uint8_t protocol, const struct pf_range *ranges, size_t count, pf_diag_fn *each, void *arg)
{
	int result = -ENOMEM;
	unsigned char *buffer = pf_segment_scratch(DATAGRAM_MAX);
	if (!buffer)
		return result;
	int fd = netlink_open();
	result = fd;
	if (fd < 0)
		goto out;
	result = dump_family(fd, AF_INET, protocol, ranges, count, buffer, each, arg);
	if (!result)
		result = dump_family(fd, AF_INET6, protocol, ranges, count, buffer, each, arg);
	pf_sys(SYS_close, fd);
out:
	pf_segment_scratch_free(buffer, DATAGRAM_MAX);
	return result;
}

// A place in a line of text.
struct cursor {
	const char *at;
	size_t left;
};

// Returns the number at the cursor, which moves behind it and one separator; sets *ret_digits to 0
// if there is none.
static uint64_t number_next(struct cursor *cursor, unsigned base, size_t *ret_digits)
{
	uint64_t number = pf_number(cursor->at, cursor->left, base, ret_digits);
	size_t step = *ret_digits < cursor->left ? *ret_digits + 1 : *ret_digits;
	cursor->at += step;
	cursor->left -= step;
	while (cursor->left && *cursor->at == ' ') {
		cursor->at++;
		cursor->left--;
	}
	return number;
}

// Reads "0100007F:0035", the address in 32-bit words of this machine's byte order. Returns the
// digits of the address: 8, 32, or what is no address.
static size_t endpoint_next(struct cursor *cursor, struct pf_endpoint *endpoint)
{
	size_t digits = strspn(cursor->at, "0123456789ABCDEFabcdef");
	uint32_t word[4] = {0, 0, 0, 0};
	size_t read;
	if ((digits != 8 && digits != 32) || digits >= cursor->left)
		return 0;
	for (size_t i = 0; i < digits / 8; i++)
		word[i] = (uint32_t)pf_number(cursor->at + 8 * i, 8, 16, &read);
	cursor->at += digits + 1;
	cursor->left -= digits + 1;
	endpoint->port = (uint16_t)number_next(cursor, 16, &read);
	if (digits == 8)
		pf_endpoint_set_ipv4(endpoint, word[0]);
	else
		memcpy(endpoint->address, word, sizeof endpoint->address);
	return read ? digits : 0;
}

int pf_diag_parse_udp(const char *line, size_t length, struct pf_socket *ret_socket)
{
	// "slot: local:port peer:port state tx:rx tr:when retransmits uid timeout inode ..."
	struct pf_socket socket = {.protocol = IPPROTO_UDP};
	struct cursor cursor = {line, length};
	size_t blank = strspn(line, " "), digits;
	cursor.at += blank;
	cursor.left -= blank;
	number_next(&cursor, 10, &digits);
	size_t address = digits ? endpoint_next(&cursor, &socket.local) : 0;
	if (!address || endpoint_next(&cursor, &socket.peer) != address)
		return -EINVAL;
	socket.ipv6 = address == 32;
	socket.state = (uint8_t)number_next(&cursor, 16, &digits);
	for (int skipped = 0; skipped < 5 && digits; skipped++)
		number_next(&cursor, 16, &digits);
	if (digits)
		socket.uid = (uint32_t)number_next(&cursor, 10, &digits);
	if (digits)
		number_next(&cursor, 10, &digits);
	if (digits)
		socket.inode = number_next(&cursor, 10, &digits);
	if (!digits)
		return -EINVAL;
	*ret_socket = socket;
	return 0;
}

struct udp_dump {
	const struct pf_range *ranges;
	size_t count;
	pf_diag_fn *each;
	void *arg;
};

static int udp_line(char *line, size_t length, void *arg)
{
	const struct udp_dump *dump = arg;
	struct pf_socket socket;
	if (pf_diag_parse_udp(line, length, &socket) < 0)
		return 0;
	for (size_t i = 0; i < dump->count; i++)
		if (socket.local.port >= dump->ranges[i].first &&
			socket.local.port <= dump->ranges[i].last)
			return dump->each(&socket, dump->arg);
	return 0;
}

int pf_diag_each(
	uint8_t protocol, const struct pf_range *ranges, size_t count, pf_diag_fn *each, void *arg)
{
	int result = dump_netlink(protocol, ranges, count, each, arg);
	if (protocol != IPPROTO_UDP || result != -ENOENT)
		return result;

	struct udp_dump dump = {ranges, count, each, arg};
	result = pf_segment_each_line("/proc/thread-self/net/udp", '\n', udp_line, &dump);
	if (result)
		return result;
	result = pf_segment_each_line("/proc/thread-self/net/udp6", '\n', udp_line, &dump);
	return result == -ENOENT ? 0 : result; // no IPv6 in this kernel
}
