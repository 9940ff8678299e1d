// SPDX-License-Identifier: MIT
// An observer: prints each TCP SYN and each UDP datagram that leaves this network namespace's
// hosts.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

// Prints "PROTOCOL SOURCE-PORT DESTINATION-PORT" for a packet that is of interest.
static void packet_print(const unsigned char *p, size_t len)
{
	size_t at = 0;
	int protocol = -1;

	if (len >= sizeof(struct iphdr) && p[0] >> 4 == 4) {
		protocol = p[9];
		at = (size_t)(p[0] & 15) * 4;
	} else if (len >= sizeof(struct ip6_hdr) && p[0] >> 4 == 6) {
		protocol = p[6];
		at = sizeof(struct ip6_hdr);
	}
	if (protocol == IPPROTO_TCP && len >= at + sizeof(struct tcphdr)) {
		struct tcphdr tcp;

		memcpy(&tcp, p + at, sizeof(tcp));
		if (tcp.syn && !tcp.ack)
			printf("tcp %u %u\n", ntohs(tcp.source), ntohs(tcp.dest));
	} else if (protocol == IPPROTO_UDP && len >= at + sizeof(struct udphdr)) {
		struct udphdr udp;

		memcpy(&udp, p + at, sizeof(udp));
		printf("udp %u %u\n", ntohs(udp.source), ntohs(udp.dest));
	}
}

// Prints what has arrived. Returns once the socket is empty.
static void packets_drain(int fd)
{
	static unsigned char buf[65536];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len)) >=
		0) {
		if (from.sll_pkttype == PACKET_OUTGOING)
			packet_print(buf, (size_t)n);
		len = sizeof(from);
	}
}

// Lets through what is printed, so that a flood of other packets fills no buffer: what leaves, and
// of that UDP and the first SYNs of TCP.
static void filter_set(int fd)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 14),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 3),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), // IPv4: the length of its header
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
		BPF_STMT(BPF_JMP | BPF_JA, 2),
		BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, sizeof(struct ip6_hdr)), // IPv6
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = {sizeof(program) / sizeof(*program), program};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		err(1, "SO_ATTACH_FILTER");
}

int main(void)
{
	int room = 64 << 20, fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof(stats);
	struct pollfd polls[2];
	sigset_t set;

	if (fd < 0)
		err(1, "socket");
	filter_set(fd);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	polls[0] = (struct pollfd){.fd = fd, .events = POLLIN};
	polls[1] = (struct pollfd){.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
	puts("ready");
	fflush(stdout);
	do {
		if (poll(polls, 2, -1) < 0)
			err(1, "poll");
		packets_drain(fd);
	} while (!(polls[1].revents & POLLIN));
	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
	printf("end, %u lost\n", stats.tp_drops);
	return 0;
}
