// SPDX-License-Identifier: MIT
// Makes the calls that choose ports past every library: by syscall(2), or, with `socketcall` in
// front, by socketcall(2). It is built for other word sizes and C libraries, too.
//
//	raw connect|datagram|message|messages|named|again|fastopen|deferred PORT
//	raw any|listen|udpany
//	raw explicit PORT | raw flags | raw full | raw domain | raw uring | raw x32
//	raw int80|behind PORT
//	raw times COUNT PORT | raw threads COUNT PORT | raw unix PATH | raw owner
//
// Prints the port that the socket has, or what the call made of it.
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif

static bool multiplexed;

#ifndef SYS_socketcall
#define SYS_socketcall 0
#endif

// Makes a call by its own number, or by socketcall's.
static long call(long number, int multiplex, long a, long b, long c, long d, long e, long f)
{
	long arguments[] = {a, b, c, d, e, f};
	if (multiplexed)
		return syscall(SYS_socketcall, multiplex, arguments, 0L, 0L, 0L, 0L);
	return syscall(number, a, b, c, d, e, f);
}

#define SOCKET(domain, type, protocol)                                                             \
	(int)call(SYS_socket, 1, domain, (long)(type), protocol, 0, 0, 0)
#define BIND(fd, address) (int)call(SYS_bind, 2, fd, (long)(address), sizeof *(address), 0, 0, 0)
#define CONNECT(fd, address)                                                                       \
	(int)call(SYS_connect, 3, fd, (long)(address), sizeof *(address), 0, 0, 0)
#define LISTEN(fd) (int)call(SYS_listen, 4, fd, 1, 0, 0, 0, 0)
#define SENDTO(fd, flags, address, size)                                                           \
	call(SYS_sendto, 11, fd, (long)"x", 1, flags, (long)(address), size)

static struct sockaddr_in at(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int open_socket(int type)
{
	int fd = SOCKET(AF_INET, type, 0);
	if (fd < 0)
		err(1, "socket");
	return fd;
}

static void port_print(int fd)
{
	struct sockaddr_in local;
	socklen_t size = sizeof local;
	if (getsockname(fd, (struct sockaddr *)&local, &size) < 0)
		err(1, "getsockname");
	printf("%u\n", ntohs(local.sin_port));
}

// Prints what a call made of it, if not a socket.
static int result_print(long result)
{
	static const struct {
		int error;
		const char *name;
	} known[] = {{0, "ok"}, {EACCES, "EACCES"}, {EADDRINUSE, "EADDRINUSE"},
		{EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {EAGAIN, "EAGAIN"}, {EFAULT, "EFAULT"},
		{EMFILE, "EMFILE"}, {ENOSYS, "ENOSYS"}, {EPERM, "EPERM"}};
	int error = result < 0 ? errno : 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].error == error)
			return puts(known[i].name) < 0;
	printf("%d\n", error);
	return 0;
}

// ---- Calls that make the kernel choose a port ------------------------------------------------

static long by_sendmsg(int fd, struct sockaddr_in *to, bool several)
{
	struct iovec part = {(char[]){"x"}, 1};
	struct mmsghdr message = {.msg_hdr = {.msg_name = to,
					  .msg_namelen = sizeof *to,
					  .msg_iov = &part,
					  .msg_iovlen = 1}};
	if (several)
		return call(SYS_sendmmsg, 20, fd, (long)&message, 1, 0, 0, 0);
	return call(SYS_sendmsg, 16, fd, (long)&message, 0, 0, 0, 0);
}

// Returns 0, or -1 if the verb is none of these.
static int choose_to(const char *verb, int port)
{
	struct sockaddr_in to = at(port);
	bool stream =
		!strcmp(verb, "connect") || !strcmp(verb, "fastopen") || !strcmp(verb, "deferred");
	int on = 1, fd = open_socket(stream ? SOCK_STREAM : SOCK_DGRAM);
	long result = -1;
	if (!strcmp(verb, "connect") || !strcmp(verb, "named"))
		result = CONNECT(fd, &to);
	else if (!strcmp(verb, "datagram"))
		result = SENDTO(fd, 0, &to, sizeof to);
	else if (!strcmp(verb, "message"))
		result = by_sendmsg(fd, &to, false);
	else if (!strcmp(verb, "messages"))
		result = by_sendmsg(fd, &to, true);
	else if (!strcmp(verb, "again")) { // the kernel gives it a port, and refuses
		SENDTO(fd, 0, NULL, 0);
		result = SENDTO(fd, 0, &to, sizeof to);
	} else if (!strcmp(verb, "fastopen"))
		result = SENDTO(fd, MSG_FASTOPEN, &to, sizeof to);
	else if (!strcmp(verb, "deferred")) {
		struct sockaddr_in any = at(0);
		setsockopt(fd, IPPROTO_IP, 24, &on, sizeof on); // IP_BIND_ADDRESS_NO_PORT
		result = BIND(fd, &any);
		if (result == 0)
			result = CONNECT(fd, &to);
	} else
		return -1;
	if (result < 0)
		return result_print(result);
	port_print(fd);
	return 0;
}

static int choose(const char *verb)
{
	struct sockaddr_in any = at(0);
	int fd = open_socket(strcmp(verb, "udpany") != 0 ? SOCK_STREAM : SOCK_DGRAM);
	if ((strcmp(verb, "listen") != 0 && BIND(fd, &any) < 0) ||
		(strcmp(verb, "udpany") != 0 && LISTEN(fd) < 0))
		return result_print(-1);
	port_print(fd);
	return 0;
}

// ---- Others ----------------------------------------------------------------------------------

static int flags(void)
{
	static const int types[] = {0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK};
	for (int i = 0; i < 4; i++) {
		int fd = open_socket(SOCK_STREAM | types[i]);
		printf("%d %d %d\n", fd, fcntl(fd, F_GETFD) & FD_CLOEXEC,
			fcntl(fd, F_GETFL) & O_NONBLOCK ? 1 : 0);
	}
	return 0;
}

static int full(void)
{
	struct rlimit limit = {8, 8};
	int fd;
	setrlimit(RLIMIT_NOFILE, &limit);
	while ((fd = SOCKET(AF_INET, SOCK_STREAM, 0)) >= 0)
		;
	return result_print(fd);
}

static long int80(long number, long a, long b, long c)
{
	long result = -ENOSYS;
#if defined __x86_64__
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c), "S"(0), "D"(0)
			 : "r8", "r9", "r10", "r11", "memory");
#else
	(void)number, (void)a, (void)b, (void)c;
#endif
	return result;
}

// A 64-bit program's calls by the other way: the numbers are those of i386.
static int by_int80(int port)
{
	void *low = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct sockaddr_in *to = low;
	uint32_t *arguments = (uint32_t *)low + 16;
	*to = at(port);
	long direct = int80(359, AF_INET, SOCK_STREAM, 0);
	memcpy(arguments, (uint32_t[]){AF_INET, SOCK_STREAM, 0}, 12);
	long multiplex = int80(102, 1, (long)arguments, 0);
	if (direct < 0 || multiplex < 0 || int80(362, direct, (long)to, sizeof *to) < 0 ||
		int80(362, multiplex, (long)to, sizeof *to) < 0)
		errx(1, "int80: %ld %ld", direct, multiplex);
	port_print((int)direct);
	port_print((int)multiplex);
	return 0;
}

// A call with three arguments right behind one of the library's, which leaves what it left in the
// other registers.
static int behind(int port)
{
	struct sockaddr_in to = at(port);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	long fd = -ENOSYS;
	if (listen(listener, 1) < 0)
		err(1, "listen");
#if defined __x86_64__ && defined __LP64__
	__asm__ volatile("syscall"
			 : "=a"(fd)
			 : "a"(SYS_socket), "D"(AF_INET), "S"(SOCK_STREAM), "d"(0)
			 : "rcx", "r11", "memory");
#endif
	if (fd < 0 || CONNECT((int)fd, &to) < 0)
		return result_print(-1);
	port_print((int)fd);
	return 0;
}

static void nothing(int number)
{
	(void)number;
}

// Connects again and again while signals come in, every half millisecond.
static int times(int count, int port)
{
	struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 500}, {0, 500}};
	struct sockaddr_in to = at(port);
	int first = open_socket(SOCK_STREAM);
	close(first);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < count; i++) {
		int fd = open_socket(SOCK_STREAM);
		if (fd != first)
			errx(1, "fd %d: one was lost", fd);
		if (CONNECT(fd, &to) < 0 && errno != EINTR)
			err(1, "connect");
		close(fd);
	}
	return 0;
}

struct work {
	int count, port;
};

static void *work(void *arg)
{
	const struct work *mine = arg;
	struct sockaddr_in to = at(mine->port);
	for (int i = 0; i < mine->count; i++) {
		int fd = open_socket(SOCK_STREAM | SOCK_CLOEXEC);
		if (CONNECT(fd, &to) < 0)
			err(1, "connect");
		close(fd);
	}
	return NULL;
}

// Threads, each beside a process that is forked meanwhile.
static int threads(int count, int port)
{
	pthread_t thread[8];
	struct work mine = {count, port};
	int status, bad = 0;
	for (int i = 0; i < 8; i++) {
		if (pthread_create(&thread[i], NULL, work, &mine) != 0)
			errx(1, "pthread_create");
		if (fork() == 0) {
			work(&mine);
			_exit(0);
		}
	}
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	while (wait(&status) > 0)
		bad |= status;
	return bad != 0;
}

static int local(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	int fd = SOCKET(AF_UNIX, SOCK_STREAM, 0);
	return result_print(fd < 0 ? fd : CONNECT(fd, &to));
}

static int owner(void)
{
	struct stat status;
	int fd = open_socket(SOCK_STREAM);
	fstat(fd, &status);
	printf("%u %u\n", (unsigned)status.st_uid, (unsigned)status.st_gid);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "socketcall") && SYS_socketcall) {
		multiplexed = true;
		argc--, argv++;
	}
	const char *verb = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	if (!strcmp(verb, "explicit")) {
		struct sockaddr_in to = at(number);
		return result_print(BIND(open_socket(SOCK_STREAM), &to));
	}
	if (!strcmp(verb, "flags"))
		return flags();
	if (!strcmp(verb, "full"))
		return full();
#ifdef __LP64__
	if (!strcmp(verb, "domain")) // the kernel looks at half of the register
		return result_print(syscall(SYS_socket, 1L << 32 | AF_INET, SOCK_STREAM, 0L));
	if (!strcmp(verb, "x32"))
		return result_print(syscall(0x40000000 | SYS_socket, AF_INET, SOCK_STREAM, 0L));
#endif
	if (!strcmp(verb, "uring"))
		return result_print(syscall(SYS_io_uring_setup, 0L, NULL));
	if (!strcmp(verb, "int80"))
		return by_int80(number);
	if (!strcmp(verb, "behind"))
		return behind(number);
	if (!strcmp(verb, "times"))
		return times(number, atoi(argv[3]));
	if (!strcmp(verb, "threads"))
		return threads(number, atoi(argv[3]));
	if (!strcmp(verb, "unix"))
		return local(argv[2]);
	if (!strcmp(verb, "owner"))
		return owner();
	if (!strcmp(verb, "any") || !strcmp(verb, "listen") || !strcmp(verb, "udpany"))
		return choose(verb);
	if (argc > 2 && choose_to(verb, number) == 0)
		return 0;
	errx(2, "what is '%s'?", verb);
}
