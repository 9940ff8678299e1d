// SPDX-License-Identifier: MIT
// A server: accepts TCP, takes UDP on [::]:PORT, keeps each connection until its peer closes it.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// Opens one dual-stack server socket. Returns its descriptor; ends the program on
// failure.
static int server_open(int type, int protocol, const struct sockaddr_in6 *addr)
{
	int off = 0, on = 1, fd = socket(AF_INET6, type | SOCK_NONBLOCK, protocol);

	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		err(1, "bind");
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
	struct epoll_event ev = {.events = EPOLLIN}, got[64];
	int protocol = argc == 3 && strcmp(argv[2], "mptcp") == 0 ? IPPROTO_MPTCP : 0;
	int tcp, udp, ep = epoll_create1(EPOLL_CLOEXEC);
	char buf[65536];

	if (argc < 2)
		errx(2, "usage: sink PORT [mptcp]");
	addr.sin6_port = htons((uint16_t)atoi(argv[1]));
	tcp = server_open(SOCK_STREAM, protocol, &addr);
	udp = server_open(SOCK_DGRAM, 0, &addr);
	if (listen(tcp, 65535) < 0)
		err(1, "listen");
	ev.data.fd = tcp;
	epoll_ctl(ep, EPOLL_CTL_ADD, tcp, &ev);
	ev.data.fd = udp;
	epoll_ctl(ep, EPOLL_CTL_ADD, udp, &ev);
	for (;;) {
		int n = epoll_wait(ep, got, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = got[i].data.fd;

			if (fd == tcp) {
				while ((ev.data.fd = accept4(tcp, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
			} else if (recv(fd, buf, sizeof(buf), 0) <= 0 && fd != udp) {
				close(fd);
			}
		}
	}
}
