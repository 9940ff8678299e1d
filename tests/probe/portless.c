// SPDX-License-Identifier: MIT
// Binds sockets whose "port" is no port: raw IP and ICMP echo.
#define _GNU_SOURCE 1
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	int raw6 = socket(AF_INET6, SOCK_RAW, IPPROTO_UDP);
	int echo = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	int echo6 = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);

	printf("raw %d\n", bind(raw, (struct sockaddr *)&at, sizeof(at)));
	printf("raw6 %d\n", bind(raw6, (struct sockaddr *)&at6, sizeof(at6)));
	printf("echo %d\n", bind(echo, (struct sockaddr *)&at, sizeof(at)));
	printf("echo6 %d\n", bind(echo6, (struct sockaddr *)&at6, sizeof(at6)));
	printf("raw connect %d\n", connect(raw, (struct sockaddr *)&at, sizeof(at)));
	return 0;
}
