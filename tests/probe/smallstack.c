// SPDX-License-Identifier: MIT
// Makes one libc call, the first of the process, on a thread with the smallest stack that threads
// may have; prints what it returned and how many bytes of stack it took.
#define _GNU_SOURCE 1
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL 16384
#define PAINT 0xa5

static struct sockaddr_in to = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};
static struct iovec data = {.iov_base = "x", .iov_len = 1};
static struct msghdr message = {
	.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data, .msg_iovlen = 1};
static struct mmsghdr messages[2];
static FILE *stream;
static const char *call;
static long answer;
static int tcp, udp;

static const struct sockaddr *at(struct sockaddr_in *address)
{
	return (const struct sockaddr *)address;
}

static bool is(const char *name)
{
	return strcmp(call, name) == 0;
}

// Forks, and waits for the child, which closes a socket. Returns its exit status.
static int fork_once(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(close(tcp));
	waitpid(pid, &status, 0);
	return status;
}

// Makes the call. Returns what it returned.
static long call_make(void)
{
	if (is("socket"))
		return socket(AF_INET, SOCK_STREAM, 0) < 0 ? -1 : 0;
	if (is("connect"))
		return connect(tcp, at(&to), sizeof(to));
	if (is("connect-udp"))
		return connect(udp, at(&to), sizeof(to));
	if (is("bind"))
		return bind(tcp, at(&any), sizeof(any));
	if (is("listen"))
		return listen(tcp, 1);
	if (is("sendto"))
		return sendto(udp, "x", 1, 0, at(&to), sizeof(to));
	if (is("sendmsg"))
		return sendmsg(udp, &message, 0);
	if (is("sendmmsg"))
		return sendmmsg(udp, messages, 2, 0);
	if (is("fastopen"))
		return sendto(tcp, "x", 1, MSG_FASTOPEN, at(&to), sizeof(to));
	if (is("close"))
		return close(tcp);
	if (is("close_range"))
		return close_range((unsigned)tcp, (unsigned)udp, 0);
	if (is("closefrom"))
		return closefrom(tcp), 0;
	if (is("dup"))
		return dup(tcp) < 0 ? -1 : 0;
	if (is("dup2"))
		return dup2(tcp, 100) - 100;
	if (is("dup3"))
		return dup3(tcp, 100, 0) - 100;
	if (is("fcntl"))
		return fcntl(tcp, F_DUPFD_CLOEXEC, 100) - 100;
	if (is("fclose"))
		return fclose(stream);
	if (is("setns"))
		return setns(open("/proc/self/ns/net", O_RDONLY), CLONE_NEWNET);
	if (is("unshare"))
		return unshare(CLONE_FILES);
	if (is("fork"))
		return fork_once();
	errx(2, "no such call: %s", call);
}

static void *thread_run(void *unused)
{
	errno = 0;
	answer = call_make();
	if (answer < 0)
		answer = -errno;
	return unused;
}

int main(int argc, char **argv)
{
	unsigned char *stack = mmap(NULL, SMALL + 4096, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	size_t untouched = 0;
	pthread_attr_t attr;
	pthread_t thread;

	if (argc < 3)
		errx(2, "usage: smallstack PORT CALL");
	if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) < 0)
		err(1, "mmap");
	call = argv[2];
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	messages[0].msg_hdr = messages[1].msg_hdr = message;
	// Past the hooks, so that the call is the first they see.
	tcp = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	udp = (int)syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
	stream = fopen("/dev/null", "r");

	stack += 4096;
	memset(stack, PAINT, SMALL);
	pthread_attr_init(&attr);
	errno = pthread_attr_setstack(&attr, stack, SMALL);
	if (errno == 0)
		errno = pthread_create(&thread, &attr, thread_run, NULL);
	if (errno != 0)
		err(1, "a thread with a stack of 16 KiB");
	pthread_join(thread, NULL);
	while (untouched < SMALL && stack[untouched] == PAINT)
		untouched++;
	printf("%s: %ld, %zu bytes\n", call, answer, SMALL - untouched);
	return 0;
}
