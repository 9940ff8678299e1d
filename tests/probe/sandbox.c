// SPDX-License-Identifier: MIT
// Shuts itself into a seccomp filter that allows the calls of this program and no others, before or
// after its first connection, or in a child after it; what else is called gets EPERM, or ends the
// program. Then works ("ports"), or makes calls that need no port ("none"). Prints each call's
// answer, and the ports.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SHOW(name, call) show(name, (errno = 0, (long)(call)))

static struct sockaddr_in to = {.sin_family = AF_INET};

// Writes by write(2) alone: stdio would ask what standard output is.
static void show(const char *name, long result)
{
	char line[80];
	int size = snprintf(line, sizeof(line), "%s: %d %s\n", name, result < 0 ? -1 : 0,
		errno ? strerrorname_np(errno) : "-");

	if (write(STDOUT_FILENO, line, (size_t)size) < 0)
		_exit(3);
}

static void show_port(int fd)
{
	struct sockaddr_in local = {.sin_port = 0};
	socklen_t len = sizeof(local);
	char line[32];
	int size;

	getsockname(fd, (struct sockaddr *)&local, &len);
	size = snprintf(line, sizeof(line), "port %u\n", ntohs(local.sin_port));
	if (write(STDOUT_FILENO, line, (size_t)size) < 0)
		_exit(3);
}

// Shuts the process in.
static void sandbox_enter(bool kills, bool more)
{
	static const unsigned own[] = {SYS_read, SYS_write, SYS_close, SYS_exit_group, SYS_socket,
		SYS_connect, SYS_bind, SYS_listen, SYS_getsockname, SYS_sendto, SYS_sendmsg,
		SYS_sendmmsg, SYS_dup, SYS_dup3, SYS_fcntl, SYS_close_range,
#ifdef SYS_dup2
		SYS_dup2,
#endif
		// What a port takes besides.
		SYS_setsockopt, SYS_getsockopt, SYS_rt_sigprocmask, SYS_getrandom};
	size_t allowed = more ? COUNT(own) : COUNT(own) - 4;
	struct sock_filter filter[COUNT(own) + 3];
	struct sock_fprog program = {(unsigned short)(allowed + 3), filter};

	filter[0] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < allowed; i++)
		filter[1 + i] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, own[i], (unsigned char)(allowed - i), 0);
	filter[1 + allowed] = (struct sock_filter)BPF_STMT(
		BPF_RET | BPF_K, kills ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM);
	filter[2 + allowed] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		err(2, "seccomp");
}

// Calls that take a port, each three hundred times.
static void ports_work(int inherited)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	SHOW("connect inherited", connect(inherited, (struct sockaddr *)&to, sizeof(to)));
	show_port(inherited);
	for (int i = 0; i < 300; i++) {
		int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
		int server = socket(AF_INET, SOCK_STREAM, 0);

		SHOW("connect", connect(tcp, (struct sockaddr *)&to, sizeof(to)));
		show_port(tcp);
		SHOW("sendto", sendto(udp, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
		show_port(udp);
		SHOW("bind", bind(server, (struct sockaddr *)&any, sizeof(any)));
		show_port(server);
		SHOW("listen", listen(server, 1));
		close(tcp);
		close(udp);
		close(server);
	}
}

// Calls that take none.
static void others_work(int connected, int pair, int file, bool asks)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	struct mmsghdr messages = {.msg_hdr = message};
	int local, copy;

	SHOW("dup file", copy = dup(file));
	SHOW("close file", close(copy));
	SHOW("dup2 file", dup2(file, 90));
	SHOW("dup3 file", dup3(file, 91, O_CLOEXEC));
	SHOW("F_DUPFD file", copy = fcntl(file, F_DUPFD, 92));
	SHOW("close_range files", close_range(90, 99, 0));
	// What it does not know, the fence asks for, unless the message is near on the stack.
	if (asks) {
		SHOW("sendmsg pair", sendmsg(pair, &message, 0));
		SHOW("sendmmsg pair", sendmmsg(pair, &messages, 1, 0));
		SHOW("connect unix", connect(pair, (struct sockaddr *)&path, sizeof(path)));
	}
	SHOW("sendto pair", sendto(pair, "x", 1, 0, NULL, 0));
	SHOW("close pair", close(pair));
	SHOW("socket unix", local = socket(AF_UNIX, SOCK_STREAM, 0));
	SHOW("listen unix", listen(local, 1));
	SHOW("close unix", close(local));
	if (connected < 0)
		return;
	SHOW("sendto connected", sendto(connected, "x", 1, 0, NULL, 0));
	SHOW("sendmsg connected", sendmsg(connected, &message, 0));
	SHOW("dup connected", copy = dup(connected));
	SHOW("close copy", close(copy));
	SHOW("close connected", close(connected));
}

int main(int argc, char **argv)
{
	int pair[2], connected = -1, inherited, file = open("/dev/null", O_RDONLY);
	int status;
	pid_t child;
	bool kills;

	if (argc < 6)
		errx(2, "usage: sandbox PORT errno|kill before|after|forked own|more ports|none");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)strerrorname_np(EPERM);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	inherited = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	if (strcmp(argv[3], "before") != 0) {
		connected = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(connected, (struct sockaddr *)&to, sizeof(to)) < 0)
			err(1, "connect");
	}
	if (strcmp(argv[3], "forked") == 0 && (child = fork()) != 0) {
		waitpid(child, &status, 0);
		return status != 0;
	}
	kills = strcmp(argv[2], "kill") == 0;
	sandbox_enter(kills, strcmp(argv[4], "more") == 0);
	if (strcmp(argv[5], "ports") == 0)
		ports_work(inherited);
	else
		others_work(connected, pair[0], file, !kills);
	_exit(0);
}
