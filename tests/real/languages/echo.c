// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in C, without a thread or a library but libc.
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Prints the port of a socket. Returns its address.
static struct sockaddr_in port_print(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		err(1, "getsockname");
	printf("%d\n", ntohs(addr.sin_port));
	return addr;
}

// Opens a server on a port of the kernel's choice. Returns its descriptor.
static int server_open(int type)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "bind");
	if (type == SOCK_STREAM && listen(fd, 100))
		err(1, "listen");
	return fd;
}

// Connects to a server and sends LEN bytes. Returns the descriptor.
static int client_open(const struct sockaddr_in *server, int type, const char *sent, size_t len)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)server, sizeof(*server)))
		err(1, "connect");
	port_print(fd);
	if (send(fd, sent, len, 0) != (ssize_t)len ||
		(type == SOCK_STREAM && shutdown(fd, SHUT_WR)))
		err(1, "send");
	return fd;
}

// Reads until LEN bytes or the end. Returns how many there were.
static size_t all_read(int fd, char *buf, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len && (n = read(fd, buf + got, len - got)) > 0)
		got += (size_t)n;
	return got;
}

int main(void)
{
	static char sent[20000], got[20000];
	int tcp = server_open(SOCK_STREAM), udp = server_open(SOCK_DGRAM), clients[70], right = 0;
	struct sockaddr_in tcp_addr = port_print(tcp), udp_addr = port_print(udp), from;
	socklen_t len = sizeof(from);

	for (int n = 0; n < 50; n++) {
		memset(sent, n, sizeof(sent));
		clients[n] = client_open(&tcp_addr, SOCK_STREAM, sent, sizeof(sent));
	}
	for (int n = 0; n < 50; n++) {
		int fd = accept(tcp, NULL, NULL);

		if (all_read(fd, got, sizeof(got)) == sizeof(got))
			write(fd, got, sizeof(got));
		close(fd);
	}
	for (int n = 50; n < 70; n++) {
		sent[0] = (char)n;
		clients[n] = client_open(&udp_addr, SOCK_DGRAM, sent, 1);
		recvfrom(udp, got, 1, 0, (struct sockaddr *)&from, &len);
		sendto(udp, got, 1, 0, (struct sockaddr *)&from, len);
	}
	for (int n = 0; n < 70; n++) {
		size_t size = n < 50 ? sizeof(got) : 1;

		memset(sent, n, size);
		right += all_read(clients[n], got, size) == size && !memcmp(got, sent, size);
	}
	printf("%d right\n", right);
	return 0;
}
