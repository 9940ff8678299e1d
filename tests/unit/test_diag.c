// SPDX-License-Identifier: MIT
// What the kernel says: netlink dumps, /proc/net/udp, sysctls; and what is not believed.
#include "unit.h"

#include <portfence/claim.h>
#include <portfence/diag.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static struct pf_socket last;
static int seen;

static int remember(const struct pf_socket *socket, void *arg)
{
	const uint16_t *port = arg;
	if (port && socket->local.port != *port)
		return 0;
	last = *socket;
	seen++;
	return 0;
}

// Returns a bound socket of this type on loopback, and its port.
static int bound(int type, uint16_t *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, type, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void a_dump_shows_the_sockets_of_its_ranges_only(void **state)
{
	uint16_t port;
	(void)state;
	int fd = bound(SOCK_STREAM, &port);
	assert_int_equal(listen(fd, 1), 0);
	struct pf_range around[] = {{1, 2}, {port, port}, {65534, 65535}};
	seen = 0;
	assert_int_equal(pf_diag_each(IPPROTO_TCP, around, 3, remember, &port), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(last.state, 10); // TCP_LISTEN
	assert_int_equal(last.uid, geteuid());
	assert_true(last.inode > 0);
	assert_true(pf_endpoint_is_ipv4(&last.local));
	assert_true(pf_endpoint_is_loopback(&last.local));
	assert_int_equal(last.peer.port, 0);

	struct pf_range beside[] = {{1, (uint16_t)(port - 1)}, {(uint16_t)(port + 1), 65535}};
	seen = 0;
	assert_int_equal(pf_diag_each(IPPROTO_TCP, beside, 2, remember, &port), 0);
	assert_int_equal(seen, 0);
	close(fd);
}

static void sixty_four_ranges_are_one_filter(void **state)
{
	struct pf_range ranges[PF_RANGES_MAX];
	uint16_t port;
	(void)state;
	int fd = bound(SOCK_STREAM, &port);
	assert_int_equal(listen(fd, 1), 0);
	for (uint16_t i = 0; i < PF_RANGES_MAX; i++)
		ranges[i] = (struct pf_range){(uint16_t)(2 * i + 1), (uint16_t)(2 * i + 1)};
	ranges[PF_RANGES_MAX - 1] = (struct pf_range){port, port};
	seen = 0;
	assert_int_equal(pf_diag_each(IPPROTO_TCP, ranges, PF_RANGES_MAX, remember, &port), 0);
	assert_int_equal(seen, 1);
	close(fd);
}

static void udp_sockets_show_without_udp_diag(void **state)
{
	uint16_t port;
	(void)state;
	int fd = bound(SOCK_DGRAM, &port);
	struct pf_range range = {port, port};
	seen = 0;
	assert_int_equal(pf_diag_each(IPPROTO_UDP, &range, 1, remember, &port), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(last.protocol, IPPROTO_UDP);
	assert_true(last.inode > 0);
	close(fd);
}

static void bound_only_sockets_show(void **state)
{
	uint16_t port;
	(void)state;
	int fd = bound(SOCK_STREAM, &port);
	struct pf_range range = {port, port};
	seen = 0;
	assert_int_equal(pf_diag_each(IPPROTO_TCP, &range, 1, remember, &port), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(last.state, 7); // TCP_CLOSE
	close(fd);
}

// A netlink message with `size` bytes of body, of which `body` are given.
static size_t message(unsigned char *at, uint16_t type, const void *body, uint32_t size)
{
	struct nlmsghdr header = {.nlmsg_len = NLMSG_HDRLEN + size, .nlmsg_type = type};
	memcpy(at, &header, sizeof header);
	memcpy(at + NLMSG_HDRLEN, body, size);
	return NLMSG_ALIGN(header.nlmsg_len);
}

static void damaged_dumps_are_refused(void **state)
{
	unsigned char bytes[1024];
	struct inet_diag_msg diag = {.idiag_family = AF_INET6, .id.idiag_sport = htons(77)};
	int error = -EPERM;
	(void)state;
	size_t whole = message(bytes, SOCK_DIAG_BY_FAMILY, &diag, sizeof diag);
	seen = 0;
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(last.local.port, 77);
	for (size_t size = sizeof(struct nlmsghdr); size < whole; size++)
		assert_int_equal(pf_diag_parse(bytes, size, IPPROTO_TCP, remember, NULL), -EBADMSG);
	assert_int_equal(pf_diag_parse(bytes, 0, IPPROTO_TCP, remember, NULL), 0);
	whole = message(bytes, SOCK_DIAG_BY_FAMILY, &diag, sizeof diag - 4);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), -EBADMSG);
	whole = message(bytes, NLMSG_ERROR, &error, sizeof error);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), -EPERM);
	whole = message(bytes, NLMSG_ERROR, &error, 0);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), -EBADMSG);
	error = 12345678;
	whole = message(bytes, NLMSG_ERROR, &error, sizeof error);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), -EBADMSG);
	whole = message(bytes, NLMSG_DONE, &error, sizeof error);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), 1);
	// A dump of a protocol without a handler ends so: it did not show that there are none.
	error = -ENOENT;
	whole = message(bytes, NLMSG_DONE, &error, sizeof error);
	assert_int_equal(pf_diag_parse(bytes, whole, IPPROTO_TCP, remember, NULL), -ENOENT);
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(pf_diag_parse(bytes, 64, IPPROTO_TCP, remember, NULL), -EBADMSG);
}

static void lines_of_proc_net_udp_are_read(void **state)
{
	struct pf_socket socket;
	const char *line = " 4242: 0100007F:4E20 0200007F:0035 01 00000000:00000000 00:00000000 "
			   "00000000   1000        0 31337 2 0000000000000000 0";
	(void)state;
	assert_int_equal(pf_diag_parse_udp(line, strlen(line), &socket), 0);
	assert_int_equal(socket.local.port, 20000);
	assert_int_equal(socket.peer.port, 53);
	assert_int_equal(socket.uid, 1000);
	assert_int_equal(socket.inode, 31337);
	assert_false(socket.ipv6);

	line = "  1: 00000000000000000000000001000000:4E21 00000000000000000000000000000000:0000 "
	       "07 "
	       "00000000:00000000 00:00000000 00000000     0        0 5 2 0 0";
	assert_int_equal(pf_diag_parse_udp(line, strlen(line), &socket), 0);
	assert_int_equal(socket.local.port, 20001);
	assert_true(socket.ipv6);
	assert_true(pf_endpoint_is_loopback(&socket.local));

	const char *const bad[] = {"", "  sl  local_address rem_address   st tx_queue",
		"1:", "1: 0100007F", "1: 0100007F:", "1: 0100007:4E20 0200007F:0035 01",
		"1: 0100007F:4E20 0200007F:0035 01 0:0 0:0 0 1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(pf_diag_parse_udp(bad[i], strlen(bad[i]), &socket), -EINVAL);
}

static void sysctl_lines_are_read(void **state)
{
	struct pf_ranges ranges;
	struct pf_range range;
	char error[PF_ERROR_TEXT];
	(void)state;
	assert_int_equal(pf_claim_parse_range("32768\t60999", 11, &range), 0);
	assert_int_equal(range.first, 32768);
	assert_int_equal(range.last, 60999);
	assert_int_equal(pf_claim_parse_range("32768", 5, &range), -EINVAL);
	assert_int_equal(pf_claim_parse_range("", 0, &range), -EINVAL);
	assert_int_equal(pf_claim_parse_range("5\t4", 3, &range), -EINVAL);

	assert_int_equal(pf_ranges_parse("100-199,300", &ranges, error), 0);
	const struct {
		const char *line;
		bool reserved;
	} lines[] = {
		{"", false},
		{"99,200-299,301", false},
		{"199", true},
		{"1-65535", true},
		{"80,299-300", true},
		{"150-160", true},
		{"90-100", true},
		{"rubbish", true},
		{"1-", true},
	};
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		assert_int_equal(pf_claim_reserved(lines[i].line, strlen(lines[i].line), &ranges),
			lines[i].reserved);
}

static void addresses_are_told_apart(void **state)
{
	const struct {
		const char *text;
		bool ipv4, loopback;
	} addresses[] = {
		{"::ffff:127.0.0.1", true, true},
		{"::ffff:127.255.0.9", true, true},
		{"::ffff:0.0.0.0", true, true},
		{"::ffff:128.0.0.1", true, false},
		{"::1", false, true},
		{"::", false, true},
		{"::2", false, false},
		{"fe80::1", false, false},
		{"2001:db8::7f00:1", false, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
		struct pf_endpoint endpoint;
		assert_int_equal(inet_pton(AF_INET6, addresses[i].text, &in6.sin6_addr), 1);
		assert_int_equal(
			pf_endpoint_read((struct sockaddr *)&in6, sizeof in6, &endpoint), 0);
		assert_int_equal(pf_endpoint_is_ipv4(&endpoint), addresses[i].ipv4);
		assert_int_equal(pf_endpoint_is_loopback(&endpoint), addresses[i].loopback);
		assert_int_equal(
			pf_endpoint_read((struct sockaddr *)&in6, 23, &endpoint), -EAFNOSUPPORT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dump_shows_the_sockets_of_its_ranges_only),
		cmocka_unit_test(sixty_four_ranges_are_one_filter),
		cmocka_unit_test(udp_sockets_show_without_udp_diag),
		cmocka_unit_test(bound_only_sockets_show),
		cmocka_unit_test(damaged_dumps_are_refused),
		cmocka_unit_test(lines_of_proc_net_udp_are_read),
		cmocka_unit_test(sysctl_lines_are_read),
		cmocka_unit_test(addresses_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
