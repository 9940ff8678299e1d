// SPDX-License-Identifier: MIT
// Keeps workers alive in the fence, kills them at any moment, and looks at what they leave behind:
// driver SECONDS SEED PORTFENCE PROGRAMS DIR ROUND
//
// It wants to be process 1 of a pid namespace, in a network namespace of its own (run.sh sees to
// that): then nothing outlives it, and every orphan is its to reap. Workers are killed by another
// thread, so at moments that have nothing to do with what this one does.
//
// A round ends like this: all workers are dead, and the kernel has no socket of theirs. Then one
// `portfence gc` must have given back every port: a second one finds nothing, status shows no
// lease, and every port can be taken in every way there is.
#define _GNU_SOURCE 1
#include "stress.h"
#include "watch.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_MS 5000
#define HANG_LOOKS 200 // at 10 ms or more from one to the next
#define NOBODY 65534

struct round {
	const char *claim;
	unsigned first, ports;
	int workers;
	unsigned most;  // fds that each may hold
	unsigned users; // whose turn it is by turns
	bool reuse;     // workers let the kernel share their ports: only the fence keeps them apart
	bool scribbles; // somebody flips bits in the segment
};

// A port that the fence cannot know of (another user's, or one whose bit was flipped) is no one's
// to keep apart but the kernel's, so `reuse` is for those rounds only that have neither.
static const struct round rounds[] = {
	{"late", 40000, 24, 24, 6, 1, true, false},
	{"bind", 20000, 24, 24, 6, 1, true, false},
	{"late", 41000, 1000, 40, 60, 1, true, false},
	{"bind", 21000, 1000, 40, 60, 1, true, false},
	{"late", 42000, 200, 30, 16, 2, false, false},
	{"bind", 22000, 200, 30, 16, 2, false, false},
	{"late", 43000, 100, 24, 12, 1, false, true},
	{"bind", 23000, 100, 24, 12, 1, false, true},
};

static struct page *page;
static const char *portfence, *programs, *home;
static char dir[512], log_path[512];
static int page_fd, log_fd, mail[2], stuck;
static pid_t sink[2], wire;
static uint64_t luck_now;
static atomic_bool killing;
static _Atomic(pid_t) killed[SLOTS]; // who was last, in each slot
static _Atomic(int) youngest;
static _Atomic(uint64_t) kills;
static uint64_t storms, reaped, refused, exhausted, lost, hangs, wrong, left_behind;

// ---- Small things ----------------------------------------------------------------------------

static void wrong_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void wrong_say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("wrong: ", stdout);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
	wrong++;
}

// Returns how much is wrong so far.
static uint64_t findings(void)
{
	return lost + wrong + hangs + seen.outside + seen.shared + seen.strays;
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap_ns(long ns)
{
	struct timespec pause = {ns / 1000000000, ns % 1000000000};
	nanosleep(&pause, NULL);
}

// Returns a copy of `fd` that is out of the way of the numbers that workers are born with.
static int moved(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 20);
	if (fd < 0 || copy < 0)
		err(2, "a file");
	close(fd);
	return copy;
}

static void file_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		err(2, "%s", path);
}

// ---- Processes -------------------------------------------------------------------------------

// Becomes a program, whose command line `format` is.
static void become(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void become(const char *format, ...)
{
	char line[2048], *argv[32], *rest = line;
	size_t words = 0;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	while (words < 31 && (argv[words] = strsep(&rest, " ")))
		words++;
	argv[31] = NULL;
	execv(argv[0], argv);
	err(127, "%s", argv[0]);
}

// Becomes a user, in a child, with no precedence over others.
static void user_become(unsigned user)
{
	setpriority(PRIO_PROCESS, 0, 0);
	if (user && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		err(2, "user %d", NOBODY);
}

// Starts a worker in a slot of its own.
static void worker_start(const struct round *round)
{
	uint64_t seed = luck(&luck_now);
	unsigned user = below(&luck_now, round->users);
	int slot = slot_take(page);
	if (slot < 0)
		return;
	pid_t pid = fork();
	if (pid < 0)
		err(2, "fork");
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(log_fd, STDOUT_FILENO);
		dup2(log_fd, STDERR_FILENO);
		dup2(page_fd, FD_PAGE);
		dup2(mail[0], FD_MAIL_IN);
		dup2(mail[1], FD_MAIL_OUT);
		close_range(FD_FIRST, ~0u, 0);
		user_become(user);
		become("%s run --ports %u-%u -- %s/worker run %d %llu %u %u %u %d", portfence,
			round->first, round->first + round->ports - 1, programs, slot,
			(unsigned long long)seed, round->first, round->first + round->ports - 1,
			round->most, round->reuse);
	}
	atomic_store(&page->slot[slot].pid, pid);
	atomic_store(&youngest, slot);
}

// Kills what is in a slot, once. Returns true if it did.
static bool slot_kill(int slot)
{
	pid_t pid = atomic_load(&page->slot[slot].pid);
	if (pid <= 1 || atomic_load(&killed[slot]) == pid || kill(pid, SIGKILL) < 0)
		return false;
	atomic_store(&killed[slot], pid);
	atomic_fetch_add(&kills, 1);
	return true;
}

// A thread: kills one after the other at random moments, the youngest more often.
static void *killer_run(void *seed)
{
	uint64_t *own = seed;
	while (atomic_load(&killing)) {
		nap_ns((long)below(own, chance(own, 10) ? 100000000 : 16000000));
		int slot = (int)below(own, SLOTS);
		if (chance(own, 30))
			slot = atomic_load(&youngest);
		for (int tries = 0; tries < SLOTS && !slot_kill(slot); tries++)
			slot = (slot + 1) % SLOTS;
	}
	return NULL;
}

// Takes note of what ended, and frees the slots of those who are no more: not before, since a
// thread of theirs may still be writing there. Returns how many live.
static int children_reap(void)
{
	int status, live = 0;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == sink[0] || pid == sink[1])
			errx(2, "a server ended");
		if ((WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) ||
			(WIFEXITED(status) && WEXITSTATUS(status)))
			wrong_say("process %d ended with status %#x", pid, (unsigned)status);
	}
	for (int i = 0; i < SLOTS; i++) {
		pid = atomic_load(&page->slot[i].pid);
		if (pid && kill(abs(pid), 0) < 0 && errno == ESRCH)
			atomic_compare_exchange_strong(&page->slot[i].pid, &pid, 0);
		else
			live += pid > 0 && pid != atomic_load(&killed[i]);
	}
	return live;
}

// Shows where the threads of a process are.
static void where_show(pid_t pid)
{
	char command[200];
	fflush(stdout);
	snprintf(command, sizeof command,
		"cd /proc/%d/task && tr '\\0' ' ' <../cmdline && head -v -n 9 */status */syscall "
		"*/stack",
		pid);
	if (system(command) < 0)
		err(2, "head");
}

// Returns true if a thread of a process is on its way through the kernel or waits for the CPU, and
// not for somebody: a fork waits for locks whose holders wait for the CPU.
static bool is_busy(pid_t pid)
{
	char path[300], line[400];
	bool busy = false;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
		snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", pid, entry->d_name);
		FILE *file = fopen(path, "re");
		const char *state =
			file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
		busy |= state && strchr("RD", state[2]);
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return busy;
}

// Complains about calls that take too long, and ends them. A machine under load lets processes wait
// for the CPU for seconds, and this one, too.
static void hangs_find(void)
{
	static struct {
		uint64_t call;
		unsigned looks;
	} known[SLOTS][THREADS + 1];
	for (int i = 0; i < SLOTS; i++)
		for (int t = 0; t <= THREADS; t++) {
			uint64_t call = atomic_load(&page->slot[i].call[t]);
			pid_t pid = atomic_load(&page->slot[i].pid);
			if (call != known[i][t].call)
				known[i][t].looks = 0;
			known[i][t].call = call;
			known[i][t].looks++;
			if (!call || pid <= 1 || now_ms() - (call >> 16) < HANG_MS ||
				known[i][t].looks < HANG_LOOKS || pid == atomic_load(&killed[i]) ||
				(is_busy(pid) && now_ms() - (call >> 16) < 6 * HANG_MS))
				continue;
			printf("hang: process %d, thread %d, line %u of the worker, %llu ms\n", pid,
				t, (unsigned)(call & UINT16_MAX),
				(unsigned long long)(now_ms() - (call >> 16)));
			where_show(pid);
			hangs++;
			slot_kill(i);
		}
}

// Returns how many processes there are beside this one, the servers and the wire's watch; calls
// `each`, if given, with the pids.
static int processes_each(void (*each)(pid_t pid))
{
	int count = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		err(2, "/proc");
	for (struct dirent *entry; (entry = readdir(proc));) {
		pid_t pid = atoi(entry->d_name);
		if (pid <= 1 || pid == sink[0] || pid == sink[1] || pid == wire)
			continue;
		count++;
		if (each)
			each(pid);
	}
	closedir(proc);
	return count;
}

// Complains about a process that should have ended, and ends it: whatever is in this pid namespace
// was started here.
static void process_complain(pid_t pid)
{
	printf("hang: process %d does not end\n", pid);
	where_show(pid);
	kill(pid, SIGKILL);
	hangs++;
}

// Ends all workers and what they started.
static void workers_end(void)
{
	uint64_t end = now_ms() + 2 * HANG_MS;
	atomic_store(&page->stop, 1);
	do {
		for (int i = 0; i < SLOTS; i++)
			slot_kill(i);
		children_reap();
		nap_ns(1000000);
	} while (processes_each(NULL) > 0 && now_ms() < end);
	processes_each(process_complain);
	for (end = now_ms() + 6 * HANG_MS; processes_each(NULL) > 0; nap_ns(1000000)) {
		children_reap();
		if (now_ms() > end)
			errx(1, "a process does not even end by SIGKILL");
	}
	atomic_store(&page->stop, 0);
}

// ---- Servers ---------------------------------------------------------------------------------

static pid_t sink_start(unsigned port)
{
	pid_t pid = fork();
	if (pid < 0)
		err(2, "fork");
	if (pid == 0)
		become("%s/../probe/sink %u", programs, port);
	return pid;
}

// Returns a listener that accepts nothing and has room for one.
static int stuck_start(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_STUCK)};
	const int on = 1;
	int fd = moved(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 0) < 0)
		err(2, "port %d", PORT_STUCK);
	return fd;
}

static bool is_listening(unsigned port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	const int on = 1;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	// With this only a socket that listens already is in the way, and this one in nobody's.
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bool taken = bind(fd, (struct sockaddr *)&any, sizeof any) < 0;
	close(fd);
	return taken;
}

static void servers_start(void)
{
	for (unsigned i = 0; i < 2; i++) {
		sink[i] = sink_start(PORT_SINK + i);
		while (!is_listening(PORT_SINK + i)) {
			if (waitpid(sink[i], NULL, WNOHANG) == sink[i])
				errx(2, "the server of port %u ended", PORT_SINK + i);
			nap_ns(1000000);
		}
	}
}

static void servers_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		kill(sink[i], SIGKILL);
		waitpid(sink[i], NULL, 0);
		sink[i] = 0;
	}
}

// ---- The segment -----------------------------------------------------------------------------

// Counts the files in the pool directory; removes those whose name begins with `remove`.
static unsigned files_count(const char *remove)
{
	unsigned count = 0;
	char path[1024];
	DIR *stream = opendir(dir);
	if (!stream)
		err(2, "%s", dir);
	for (struct dirent *entry; (entry = readdir(stream));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		count++;
		snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
		if (remove && !strncmp(entry->d_name, remove, strlen(remove)))
			unlink(path);
	}
	closedir(stream);
	return count;
}

// Writes the path of the first segment there is into path[1024]. Returns false if there is none.
static bool segment_find(char *path)
{
	bool found = false;
	DIR *stream = opendir(dir);
	if (!stream)
		err(2, "%s", dir);
	for (struct dirent *entry; !found && (entry = readdir(stream));) {
		found = entry->d_name[0] == 'p';
		snprintf(path, 1024, "%s/%s", dir, entry->d_name);
	}
	closedir(stream);
	return found;
}

// Flips some bits of it, behind header and table.
static void scribble(void)
{
	enum { TABLE = 128 + 448 };
	char path[1024];
	struct stat status;
	if (!segment_find(path))
		return;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &status) == 0 && status.st_size > TABLE) {
		uint64_t *words = mmap(
			NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (int i = 0; words != MAP_FAILED && i < 200; i++) {
			unsigned at = TABLE / 8 +
				below(&luck_now, (unsigned)(status.st_size - TABLE) / 8);
			// Sparse and dense ones, so that some words come to all clear or set.
			words[at] = chance(&luck_now, 50)
				? luck(&luck_now)
				: words[at] ^ 1ull << below(&luck_now, 64);
		}
		if (words != MAP_FAILED)
			munmap(words, (size_t)status.st_size);
	}
	close(fd);
}

// ---- A round ---------------------------------------------------------------------------------

static void round_start(unsigned number, const struct round *round)
{
	char text[32], path[512];
	snprintf(dir, sizeof dir, "%s/%u", home, number);
	snprintf(log_path, sizeof log_path, "%s/%u.log", home, number);
	if (mkdir(dir, 0777) < 0 || chmod(dir, 01777) < 0)
		err(2, "%s", dir);
	setenv("PORTFENCE_DIR", dir, 1);
	log_fd = moved(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mail) < 0)
		err(2, "socketpair");
	mail[0] = moved(mail[0]);
	mail[1] = moved(mail[1]);
	for (int i = 0; i < LISTENERS; i++)
		atomic_store(&page->listener[i], 0);
	// Some TIME_WAIT, but not so many that a small pool has nothing else.
	snprintf(text, sizeof text, "%u", round->ports / 3);
	file_write("/proc/sys/net/ipv4/tcp_max_tw_buckets", text);
	watch_pool(round->first, round->first + round->ports - 1);
	snprintf(path, sizeof path, "%s/../probe/wire", programs);
	wire = watch_wire_start(path);
	servers_start();
	stuck = stuck_start();
}

// Starts some workers at once where there is no segment yet, and kills them while they make it.
static void storm(const struct round *round)
{
	for (int i = 0; i < 4; i++)
		worker_start(round);
	nap_ns((long)below(&luck_now, 10000000));
	workers_end();
	files_count("portfence.");
	storms++;
}

static void workers_run(const struct round *round, uint64_t end)
{
	pthread_t killer;
	uint64_t seed = luck(&luck_now), looked = 0;
	char path[1024];
	while (now_ms() < end) {
		for (int live = children_reap(); live < round->workers; live++)
			worker_start(round);
		// The storms were about making it; on a slow machine, nobody would get that far.
		if (!atomic_load(&killing) && segment_find(path)) {
			atomic_store(&killing, true);
			if (pthread_create(&killer, NULL, killer_run, &seed) != 0)
				errx(2, "pthread_create");
		}
		hangs_find();
		if (now_ms() - looked > 60) {
			watch_sockets();
			looked = now_ms();
		}
		if (round->scribbles)
			scribble();
		nap_ns(10000000);
	}
	if (atomic_exchange(&killing, false))
		pthread_join(killer, NULL);
}

// Waits until the kernel has no socket on the pool's ports.
static void sockets_await(void)
{
	uint64_t start = now_ms();
	for (;;) {
		if (system("ss -K state time-wait >/dev/null 2>&1") < 0)
			err(2, "ss");
		watch_sockets();
		if (seen.live + seen.waiting == 0)
			return;
		if (now_ms() - start > (seen.live ? 10000 : 70000)) {
			wrong_say("%u sockets of dead processes are left", seen.live);
			return;
		}
		nap_ns(20000000);
	}
}

// Runs a command and calls `each` with every line it prints. Returns its exit status.
static int lines_of(void (*each)(const char *line), const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int lines_of(void (*each)(const char *line), const char *format, ...)
{
	char command[2048], line[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	FILE *output = popen(command, "re");
	if (!output)
		err(2, "%s", command);
	while (fgets(line, sizeof line, output)) {
		line[strcspn(line, "\n")] = 0;
		each(line);
	}
	return pclose(output);
}

static void gc_line(const char *line)
{
	const char *size = strrchr(line, ':');
	unsigned given;
	if (size && sscanf(size, ": %u given back", &given) == 1)
		return;
	if (size && !strcmp(size, ": removed"))
		left_behind++;
	else
		wrong_say("gc: %s", line);
}

static void gc_again_line(const char *line)
{
	const char *size = strrchr(line, ':');
	unsigned given = 0;
	if (!size || sscanf(size, ": %u given back", &given) != 1)
		wrong_say("a second gc: %s", line);
	lost += given;
	if (given)
		printf("lost: %u ports that only a second gc gives back\n", given);
}

static const char *claim_wanted;

static void status_line(const char *line)
{
	char ports[64], claim[16];
	unsigned size, leased, holding, free_now;
	unsigned long long refusals, exhaustions, reaps;
	if (!strncmp(line, "POOL", 4))
		return;
	if (sscanf(line, "%*s %63s %u %15s %u %u %u %llu %llu %llu", ports, &size, claim, &leased,
		    &holding, &free_now, &refusals, &exhaustions, &reaps) != 9) {
		wrong_say("status: %s", line);
		return;
	}
	if (strcmp(claim, claim_wanted) != 0)
		wrong_say("status: the claim is %s: %s", claim, line);
	if (leased) {
		printf("lost: %s\n", line);
		lost += leased;
	}
	refused += refusals;
	exhausted += exhaustions;
	reaped += reaps;
}

static void fill_line(const char *line)
{
	unsigned taken, ports;
	const char *size = strchr(line, ':');
	printf("lost: %s\n", line);
	if (size && sscanf(size, ": %u of %u ports", &taken, &ports) == 2)
		lost += ports - taken;
	else
		wrong++;
}

static void log_line(const char *line)
{
	static int shown;
	if (shown++ < 40)
		wrong_say("%s", line);
	else
		wrong++;
}

// Looks at what the dead left.
static void remains_check(const struct round *round)
{
	claim_wanted = round->claim;
	if (lines_of(gc_line, "%s gc 2>&1", portfence) != 0)
		wrong_say("gc failed");
	lines_of(gc_again_line, "%s gc 2>&1", portfence);
	lines_of(status_line, "%s status 2>&1", portfence);
	if (files_count(NULL) != round->users)
		wrong_say("%u files in %s, not %u", files_count(NULL), dir, round->users);
	for (unsigned user = 0; user < round->users; user++)
		lines_of(fill_line, "%s %s run --ports %u-%u -- %s/fill %u %u %u %u 2>&1",
			user ? "setpriv --reuid=65534 --regid=65534 --clear-groups" : "", portfence,
			round->first, round->first + round->ports - 1, programs, round->first,
			round->first + round->ports - 1, PORT_SINK, PORT_SINK_TOO);
	lines_of(log_line, "cat %s", log_path);
}

static void round_run(unsigned number, const struct round *round, uint64_t ms)
{
	uint64_t start = now_ms(), kills_before = atomic_load(&kills), found = findings();
	round_start(number, round);
	while (now_ms() - start < ms / 8)
		storm(round);
	workers_run(round, start + ms);
	workers_end();
	close(mail[0]);
	close(mail[1]);
	close(stuck);
	sockets_await();
	remains_check(round);
	servers_end();
	watch_wire_end();
	close(log_fd);
	printf("round %u, %u ports, %s claim, %u user%s%s%s: %llu kills, %llu findings\n", number,
		round->ports, round->claim, round->users, round->users > 1 ? "s" : "",
		round->reuse ? ", reuse" : "", round->scribbles ? ", scribbled" : "",
		(unsigned long long)(atomic_load(&kills) - kills_before),
		(unsigned long long)(findings() - found));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const struct rlimit many = {65536, 65536};
	if (argc != 7 || getpid() != 1)
		errx(2, "usage: run.sh");
	const int only = atoi(argv[6]);
	uint64_t ms = strtoull(argv[1], NULL, 10) * 1000, seed = strtoull(argv[2], NULL, 10);
	luck_now = seed;
	portfence = argv[3];
	programs = argv[4];
	home = argv[5];
	setrlimit(RLIMIT_NOFILE, &many);
	// Servers and observers come first: what they do not keep up with says nothing.
	setpriority(PRIO_PROCESS, 0, -10);
	umask(0);
	page_fd = moved(memfd_create("stress", MFD_CLOEXEC));
	if (ftruncate(page_fd, sizeof *page) < 0)
		err(2, "the page");
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	if (page == MAP_FAILED)
		err(2, "the page");
	const unsigned count = sizeof rounds / sizeof *rounds;
	for (unsigned i = 0; i < count; i++)
		if (only < 0 || only == (int)i)
			round_run(i, &rounds[i], only < 0 ? ms / count : ms);
	const _Atomic(uint64_t) *counted = page->count;
	printf("%llu kills, %llu storms, %llu connects, %llu binds, %llu sends, %llu copies, "
	       "%llu forks, %llu passed, %llu refused; %llu claims refused, %llu exhausted, "
	       "%llu reaped, %llu files removed; %llu packets (%llu missed) and %llu sockets seen; "
	       "%llu lost, %llu out of range, %llu shared, %llu hangs, %llu wrong\n",
		(unsigned long long)kills, (unsigned long long)storms,
		(unsigned long long)counted[CONNECTS], (unsigned long long)counted[BINDS],
		(unsigned long long)counted[SENDS], (unsigned long long)counted[COPIES],
		(unsigned long long)counted[FORKS], (unsigned long long)counted[PASSED],
		(unsigned long long)counted[REFUSED], (unsigned long long)refused,
		(unsigned long long)exhausted, (unsigned long long)reaped,
		(unsigned long long)left_behind, (unsigned long long)seen.packets,
		(unsigned long long)seen.missed, (unsigned long long)seen.sockets,
		(unsigned long long)lost, (unsigned long long)(seen.outside + seen.strays),
		(unsigned long long)seen.shared, (unsigned long long)hangs,
		(unsigned long long)wrong);
	return findings() ? 1 : 0;
}
