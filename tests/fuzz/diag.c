// SPDX-License-Identifier: MIT
// What the kernel answers about its sockets, or whoever stands in its place: a netlink datagram, or
// a line of /proc/net/udp. Nothing beyond the bytes is read, and what is shown is a whole socket.
#include "fuzz.h"

#include <portfence/diag.h>

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#define STOPPED 4711

struct seen {
	uint8_t protocol;
	size_t sockets;
	size_t stop_at;
};

static int count(const struct pf_socket *socket, void *arg)
{
	struct seen *seen = arg;
	require(socket->protocol == seen->protocol);
	// A hash reads the whole address.
	pf_endpoint_hash(&socket->local);
	pf_endpoint_hash(&socket->peer);
	seen->sockets++;
	return seen->sockets == seen->stop_at ? STOPPED : 0;
}

static void fuzz_datagram(struct input *input)
{
	struct seen seen = {.protocol = input_byte(input) & 1 ? IPPROTO_TCP : IPPROTO_UDP,
		.stop_at = input_byte(input)};
	size_t size = input->left;
	void *datagram = copy_exactly(input->at, size, 0);
	int result = pf_diag_parse(datagram, size, seen.protocol, count, &seen);
	free(datagram);
	require(seen.sockets <= size / (NLMSG_HDRLEN + sizeof(struct inet_diag_msg)));
	require((result == STOPPED) == (seen.stop_at && seen.sockets == seen.stop_at));
	require(result == STOPPED || result == 1 || (result <= 0 && result >= -4095));
}

static void fuzz_line(struct input *input)
{
	struct pf_socket socket = {.protocol = 0x55};
	struct seen seen = {.protocol = IPPROTO_UDP};
	char *line = copy_exactly(input->at, input->left, 1);
	int result = pf_diag_parse_udp(line, input->left, &socket);
	free(line);
	require(result == 0 || result == -EINVAL);
	if (result == 0)
		count(&socket, &seen);
	else
		require(socket.protocol == 0x55);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	if (input_byte(&input) == 'L')
		fuzz_line(&input);
	else
		fuzz_datagram(&input);
	return 0;
}
