// SPDX-License-Identifier: MIT
// Makes the calls that fail, or succeed oddly, and prints what each answers.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Public names of libc without a declaration.
int __close(int fd);
int __connect(int fd, const struct sockaddr *address, socklen_t length);

// An errno that nothing sets: what succeeds must leave it.
#define UNTOUCHED 4321

#define SHOW(what, call)                                                                           \
	do {                                                                                       \
		errno = UNTOUCHED;                                                                 \
		long show_result = (long)(call);                                                   \
		const char *show_name = errno == UNTOUCHED ? "-" : strerrorname_np(errno);         \
		printf("%s: %ld %s\n", what, show_result, show_name ? show_name : "0");            \
	} while (0)

static struct sockaddr_in at = {.sin_family = AF_INET};
static struct sockaddr_in6 at6 = {.sin6_family = AF_INET6};
static const socklen_t four = sizeof(at), six = sizeof(at6);
static uint16_t open_port;

// Points the shared address at HOST:PORT. Returns it, as the calls want it.
static const struct sockaddr *to(const char *host, uint16_t port)
{
	inet_pton(AF_INET, host, &at.sin_addr);
	at.sin_port = htons(port);
	return (const struct sockaddr *)&at;
}

// Points the shared IPv6 address at HOST:PORT. Returns it, as the calls want it.
static const struct sockaddr *to6(const char *host, uint16_t port)
{
	inet_pton(AF_INET6, host, &at6.sin6_addr);
	at6.sin6_port = htons(port);
	return (const struct sockaddr *)&at6;
}

// Opens a socket. Returns its descriptor.
static int tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

// Opens a socket. Returns its descriptor.
static int udp(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}

// Descriptors that are no INET socket.
static void answer_foreign(void)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
	int pipes[2], local = socket(AF_UNIX, SOCK_STREAM, 0);
	int net = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (pipe(pipes) < 0)
		err(1, "pipe");
	SHOW("connect -1", connect(-1, to("127.0.0.1", open_port), four));
	SHOW("connect closed fd", connect(9999, to("127.0.0.1", open_port), four));
	SHOW("connect huge fd", connect(0x7fffffff, to("127.0.0.1", open_port), four));
	SHOW("bind -1", bind(-1, to("127.0.0.1", 0), four));
	SHOW("listen closed fd", listen(9999, 1));
	SHOW("sendto closed fd", sendto(9999, "x", 1, 0, to("127.0.0.1", open_port), four));
	SHOW("connect pipe", connect(pipes[0], to("127.0.0.1", open_port), four));
	SHOW("bind pipe", bind(pipes[0], to("127.0.0.1", 0), four));
	SHOW("listen pipe", listen(pipes[0], 1));
	SHOW("sendto pipe", sendto(pipes[1], "x", 1, 0, to("127.0.0.1", open_port), four));
	SHOW("connect unix", connect(local, (struct sockaddr *)&path, sizeof(path)));
	SHOW("connect unix to inet", connect(local, to("127.0.0.1", open_port), four));
	SHOW("bind unix to inet", bind(local, to("127.0.0.1", 0), four));
	SHOW("bind unix autobind", bind(local, (struct sockaddr *)&path, sizeof(sa_family_t)));
	SHOW("listen unix", listen(local, 1));
	SHOW("bind netlink", bind(net, (struct sockaddr *)&nl, sizeof(nl)));
	SHOW("connect netlink", connect(net, (struct sockaddr *)&nl, sizeof(nl)));
	SHOW("socket type 99", socket(AF_INET, 99, 0));
	SHOW("socket protocol 200", socket(AF_INET, SOCK_STREAM, 200));
	SHOW("socket family 999", socket(999, SOCK_STREAM, 0));
}

// Addresses that are too short, too long, of another family, or nowhere.
static void answer_addresses(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char big[256] = {0};
	struct sockaddr *cut;

	if (page == MAP_FAILED || mprotect(page + 4096, 4096, PROT_NONE) < 0)
		err(1, "mmap");
	cut = (struct sockaddr *)(void *)(page + 4096 - 4);
	memcpy(page + 4092, to("127.0.0.1", open_port), 4);
	memcpy(big, to("127.0.0.1", open_port), four);
	SHOW("connect length 0", connect(tcp(), to("127.0.0.1", open_port), 0));
	SHOW("connect length 1", connect(tcp(), to("127.0.0.1", open_port), 1));
	SHOW("connect length 4", connect(tcp(), to("127.0.0.1", open_port), 4));
	SHOW("connect length -1", connect(tcp(), to("127.0.0.1", open_port), (socklen_t)-1));
	SHOW("connect length 128", connect(tcp(), (struct sockaddr *)(void *)big, 128));
	SHOW("connect length 256", connect(tcp(), (struct sockaddr *)(void *)big, 256));
	SHOW("udp connect length 4", connect(udp(), to("127.0.0.1", open_port), 4));
	SHOW("bind length 4", bind(tcp(), to("127.0.0.1", 0), 4));
	SHOW("bind length 0", bind(tcp(), to("127.0.0.1", 0), 0));
	SHOW("connect6 length 20",
		connect(socket(AF_INET6, SOCK_STREAM, 0), to6("::1", open_port), 20));
	SHOW("connect6 length 24",
		connect(socket(AF_INET6, SOCK_STREAM, 0), to6("::1", open_port), 24));
	SHOW("bind6 length 20", bind(socket(AF_INET6, SOCK_STREAM, 0), to6("::1", 0), 20));
	SHOW("connect NULL", connect(tcp(), NULL, four));
	SHOW("connect NULL length 0", connect(tcp(), NULL, 0));
	SHOW("connect unmapped", connect(tcp(), (struct sockaddr *)16, four));
	SHOW("connect half mapped", connect(tcp(), cut, four));
	SHOW("udp connect unmapped", connect(udp(), (struct sockaddr *)16, four));
	SHOW("bind NULL", bind(tcp(), NULL, four));
	SHOW("bind unmapped", bind(tcp(), (struct sockaddr *)16, four));
	SHOW("bind half mapped", bind(tcp(), cut, four));
	SHOW("connect v6 address", connect(tcp(), to6("::1", open_port), six));
	SHOW("bind v6 address", bind(tcp(), to6("::1", 0), six));
	SHOW("connect6 v4 address",
		connect(socket(AF_INET6, SOCK_STREAM, 0), to("127.0.0.1", open_port), four));
	SHOW("bind6 v4 address", bind(socket(AF_INET6, SOCK_STREAM, 0), to("127.0.0.1", 0), four));
	SHOW("connect6 link-local no scope",
		connect(socket(AF_INET6, SOCK_STREAM, 0), to6("fe80::1", open_port), six));
	at.sin_family = AF_UNSPEC;
	SHOW("connect AF_UNSPEC", connect(tcp(), to("0.0.0.0", 0), four));
	SHOW("bind AF_UNSPEC", bind(tcp(), to("0.0.0.0", 0), four));
	SHOW("bind AF_UNSPEC loopback", bind(tcp(), to("127.0.0.1", 0), four));
	at.sin_family = 77;
	SHOW("connect family 77", connect(tcp(), to("127.0.0.1", open_port), four));
	SHOW("bind family 77", bind(tcp(), to("127.0.0.1", 0), four));
	at.sin_family = AF_INET;
}

// Destinations and local addresses that the kernel refuses.
static void answer_refusals(void)
{
	int fd, on = 1;

	SHOW("connect refused", connect(tcp(), to("127.0.0.1", 9), four));
	SHOW("connect port 0", connect(tcp(), to("127.0.0.1", 0), four));
	SHOW("connect nowhere", connect(tcp(), to("192.0.2.1", 80), four));
	SHOW("connect broadcast", connect(tcp(), to("255.255.255.255", 80), four));
	SHOW("connect multicast", connect(tcp(), to("224.0.0.1", 80), four));
	SHOW("connect6 nowhere",
		connect(socket(AF_INET6, SOCK_STREAM, 0), to6("2001:db8::1", 80), six));
	SHOW("connect6 refused", connect(socket(AF_INET6, SOCK_STREAM, 0), to6("::1", 9), six));
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	SHOW("connect v6only to mapped", connect(fd, to6("::ffff:127.0.0.1", open_port), six));
	SHOW("udp connect nowhere", connect(udp(), to("192.0.2.1", 80), four));
	SHOW("udp connect loopback broadcast", connect(udp(), to("127.255.255.255", 80), four));
	SHOW("udp connect port 0", connect(udp(), to("127.0.0.1", 0), four));
	SHOW("bind foreign port 0", bind(tcp(), to("192.0.2.1", 0), four));
	SHOW("bind foreign explicit", bind(tcp(), to("192.0.2.1", 5555), four));
	SHOW("udp bind foreign port 0", bind(udp(), to("192.0.2.1", 0), four));
	SHOW("bind6 foreign port 0",
		bind(socket(AF_INET6, SOCK_STREAM, 0), to6("2001:db8::1", 0), six));
	SHOW("bind port in use", bind(tcp(), to("127.0.0.1", open_port), four));
	SHOW("udp bind port in use", bind(udp(), to("127.0.0.1", open_port), four));
}

// Calls that come in the wrong order.
static void answer_order(void)
{
	int fd = tcp();

	SHOW("connect", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("connect again", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("connect elsewhere", connect(fd, to("127.0.0.2", open_port), four));
	SHOW("bind connected", bind(fd, to("127.0.0.1", 0), four));
	SHOW("listen connected", listen(fd, 1));
	SHOW("shutdown", shutdown(fd, SHUT_RDWR));
	SHOW("close", close(fd));
	SHOW("close again", close(fd));
	fd = tcp();
	SHOW("listen unbound", listen(fd, 1));
	SHOW("listen again", listen(fd, 2));
	SHOW("connect listening", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("bind listening", bind(fd, to("127.0.0.1", 0), four));
	close(fd);
	fd = tcp();
	SHOW("bind", bind(fd, to("127.0.0.1", 0), four));
	SHOW("bind again", bind(fd, to("127.0.0.1", 0), four));
	SHOW("bind again explicit", bind(fd, to("127.0.0.1", 5555), four));
	SHOW("listen bound", listen(fd, 1));
	close(fd);
	fd = tcp();
	SHOW("bind before connect", bind(fd, to("127.0.0.1", 0), four));
	SHOW("connect bound", connect(fd, to("127.0.0.1", open_port), four));
	close(fd);
	fd = udp();
	SHOW("udp listen", listen(fd, 1));
	SHOW("udp bind", bind(fd, to("127.0.0.1", 0), four));
	SHOW("udp bind again", bind(fd, to("127.0.0.1", 0), four));
	SHOW("udp connect", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("udp connect again", connect(fd, to("127.0.0.2", open_port), four));
	SHOW("udp bind connected", bind(fd, to("127.0.0.1", 0), four));
	close(fd);
}

// The sending calls.
static void answer_sends(void)
{
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {
		.msg_name = &at, .msg_namelen = four, .msg_iov = &data, .msg_iovlen = 1};
	struct mmsghdr many[3] = {{.msg_hdr = msg}, {.msg_hdr = msg}, {.msg_hdr = msg}};

	SHOW("tcp sendto unconnected",
		sendto(tcp(), "x", 1, MSG_NOSIGNAL, to("127.0.0.1", open_port), four));
	SHOW("tcp sendto no address", sendto(tcp(), "x", 1, MSG_NOSIGNAL, NULL, 0));
	SHOW("tcp sendmsg", sendmsg(tcp(), &msg, MSG_NOSIGNAL));
	SHOW("fastopen no address", sendto(tcp(), "x", 1, MSG_FASTOPEN, NULL, 0));
	SHOW("fastopen refused", sendto(tcp(), "x", 1, MSG_FASTOPEN, to("127.0.0.1", 9), four));
	SHOW("fastopen nowhere", sendto(tcp(), "x", 1, MSG_FASTOPEN, to("192.0.2.1", 9), four));
	SHOW("fastopen short", sendto(tcp(), "x", 1, MSG_FASTOPEN, to("127.0.0.1", open_port), 4));
	SHOW("sendto no address", sendto(udp(), "x", 1, 0, NULL, 0));
	SHOW("sendto unmapped", sendto(udp(), "x", 1, 0, (struct sockaddr *)16, four));
	SHOW("sendto unmapped data",
		sendto(udp(), (void *)16, 1, 0, to("127.0.0.1", open_port), four));
	SHOW("sendto short", sendto(udp(), "x", 1, 0, to("127.0.0.1", open_port), 4));
	SHOW("sendto port 0", sendto(udp(), "x", 1, 0, to("127.0.0.1", 0), four));
	SHOW("sendto nowhere", sendto(udp(), "x", 1, 0, to("192.0.2.1", 9), four));
	SHOW("sendto empty", sendto(udp(), NULL, 0, 0, to("127.0.0.1", open_port), four));
	SHOW("sendto too big",
		sendto(udp(), calloc(1, 70000), 70000, 0, to("127.0.0.1", open_port), four));
	SHOW("sendto bad flags", sendto(udp(), "x", 1, MSG_OOB, to("127.0.0.1", open_port), four));
	to("127.0.0.1", open_port);
	SHOW("sendmsg", sendmsg(udp(), &msg, 0));
	SHOW("sendmsg NULL", sendmsg(udp(), NULL, 0));
	SHOW("sendmsg unmapped", sendmsg(udp(), (struct msghdr *)16, 0));
	SHOW("sendmmsg none", sendmmsg(udp(), many, 0, 0));
	SHOW("sendmmsg NULL", sendmmsg(udp(), NULL, 2, 0));
	SHOW("sendmmsg unmapped", sendmmsg(udp(), (struct mmsghdr *)16, 2, 0));
	SHOW("sendmmsg all", sendmmsg(udp(), many, 3, 0));
	many[1].msg_hdr.msg_name = (void *)16;
	SHOW("sendmmsg second unmapped", sendmmsg(udp(), many, 3, 0));
	printf("sendmmsg lengths %u %u\n", many[0].msg_len, many[2].msg_len);
	many[0].msg_hdr.msg_name = NULL;
	many[0].msg_hdr.msg_namelen = 0;
	SHOW("sendmmsg no address", sendmmsg(udp(), many, 3, 0));
	msg.msg_name = (void *)16;
	SHOW("sendmsg unmapped address", sendmsg(udp(), &msg, 0));
	msg.msg_name = &at;
	msg.msg_iov = (struct iovec *)16;
	SHOW("sendmsg unmapped iovec", sendmsg(udp(), &msg, 0));
}

// Copies and ends of descriptors.
static void answer_descriptors(void)
{
	int fd = tcp();

	SHOW("connect before dup", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("dup2 itself", dup2(fd, fd) - fd);
	SHOW("dup3 itself", dup3(fd, fd, 0));
	SHOW("dup2 bad old", dup2(-1, fd));
	SHOW("dup2 bad new", dup2(fd, -1));
	SHOW("dup bad", dup(9999));
	SHOW("F_DUPFD", fcntl(fd, F_DUPFD, 500));
	SHOW("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 600));
	SHOW("F_DUPFD bad", fcntl(9999, F_DUPFD, 0));
	SHOW("F_GETFD", fcntl(fd, F_GETFD));
	SHOW("F_GETFL", fcntl(fd, F_GETFL));
	SHOW("dup2 over a connection", dup2(tcp(), 500));
	SHOW("connect the new 500", connect(500, to("127.0.0.2", open_port), four));
	SHOW("close 600", close(600));
	SHOW("close_range", close_range(400, 700, 0));
	SHOW("close 500", close(500));
	SHOW("close_range reversed", close_range(7, 5, 0));
	SHOW("close_range bad flag", close_range(7, 9, 0x100));
	SHOW("close -1", close(-1));
	SHOW("still connected", connect(fd, to("127.0.0.1", open_port), four));
	SHOW("F_DUPFD by fcntl64", fcntl64(fd, F_DUPFD, 500));
	SHOW("F_GETFL by fcntl64", fcntl64(fd, F_GETFL));
	SHOW("dup3", dup3(fd, 501, O_CLOEXEC));
	SHOW("dup3 bad flags", dup3(fd, 501, -1));
	SHOW("close by its other name", __close(501));
	SHOW("connect by its other name", __connect(fd, to("127.0.0.1", open_port), four));
	SHOW("fclose", fclose(fdopen(500, "r")));
	SHOW("closefrom", (closefrom(400), 0));
}

// Waits for a child, if there is one. Returns `pid`, or 1 for any child.
static int reap(int pid)
{
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return pid > 0 ? 1 : pid;
}

// New processes and other namespaces.
static void answer_processes(void)
{
	struct rlimit none = {0, 0};
	int pid, own = open("/proc/self/ns/net", O_RDONLY);

	fflush(stdout);
	SHOW("fork", (pid = fork()) ? reap(pid) : (_exit(0), 0));
	SHOW("vfork", (pid = vfork()) ? reap(pid) : (_exit(0), 0));
	SHOW("unshare", unshare(CLONE_FILES));
	SHOW("unshare nothing known", unshare(1));
	SHOW("setns", setns(own, CLONE_NEWNET));
	SHOW("setns another kind", setns(own, CLONE_NEWUTS));
	SHOW("setns bad", setns(-1, 0));
	setrlimit(RLIMIT_NOFILE, &none);
	SHOW("socket over the limit", tcp());
	SHOW("dup over the limit", dup(own));
	SHOW("dup2 over the limit", dup2(own, 300));
	SHOW("F_DUPFD over the limit", fcntl(own, F_DUPFD, 0));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		errx(2, "usage: answers OPEN-PORT");
	open_port = (uint16_t)atoi(argv[1]);
	answer_foreign();
	answer_addresses();
	answer_refusals();
	answer_order();
	answer_sends();
	answer_descriptors();
	answer_processes();
	return 0;
}
