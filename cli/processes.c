// SPDX-License-Identifier: MIT
// Which process has a socket: /proc/PID/fd, read once into a hash table.
#include "cli.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// uthash ends the program where it finds no memory; so do we.
#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#define NOT_ASKED INT_MIN

struct owner {
	uint64_t inode;
	pid_t pid;
	char command[PF_COMMAND];
	UT_hash_handle hh;
};

// How a process is fenced, once that was asked; or that it is a strict run's supervisor.
struct member {
	pid_t pid;
	int fenced;
	bool supervises;
	UT_hash_handle hh;
};

struct cli_processes {
	struct owner *owners;
	struct member *members;
};

void cli_clean(char *text)
{
	for (; *text; text++)
		if (!isgraph((unsigned char)*text))
			*text = '?';
}

void cli_process_command(pid_t pid, char command[PF_COMMAND])
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	FILE *file = fopen(path, "re");
	memset(command, 0, PF_COMMAND);
	if (file && fgets(command, PF_COMMAND, file))
		command[strcspn(command, "\n")] = 0;
	if (file)
		fclose(file);
}

// Reads the name of a process, "?" if it has just ended; odd characters become '?'.
static void command_read(pid_t pid, char command[PF_COMMAND])
{
	cli_process_command(pid, command);
	if (!*command)
		strcpy(command, "?");
	cli_clean(command);
}

static void owner_add(struct cli_processes *processes, uint64_t inode, pid_t pid)
{
	struct owner *owner;
	HASH_FIND(hh, processes->owners, &inode, sizeof inode, owner);
	if (owner)
		return;
	owner = calloc(1, sizeof *owner);
	if (!owner)
		exit(cli_error("out of memory"));
	owner->inode = inode;
	owner->pid = pid;
	command_read(pid, owner->command);
	HASH_ADD(hh, processes->owners, inode, sizeof owner->inode, owner);
}

// Returns what is known of a process, to which may be added.
static struct member *member_of(struct cli_processes *processes, pid_t pid)
{
	struct member *member;
	HASH_FIND(hh, processes->members, &pid, sizeof pid, member);
	if (member)
		return member;
	member = calloc(1, sizeof *member);
	if (!member)
		exit(cli_error("out of memory"));
	member->pid = pid;
	member->fenced = NOT_ASKED;
	HASH_ADD(hh, processes->members, pid, sizeof member->pid, member);
	return member;
}

// Reads the sockets of one process; nothing if it has ended or is another user's.
static void process_read(struct cli_processes *processes, pid_t pid)
{
	char path[64], target[64];
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		unsigned long long inode;
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
		target[length > 0 ? length : 0] = 0;
		if (sscanf(target, "socket:[%llu]", &inode) == 1)
			owner_add(processes, inode, pid);
		else if (!strcmp(target, "anon_inode:seccomp notify")) {
			char command[PF_COMMAND];
			command_read(pid, command);
			member_of(processes, pid)->supervises = !strcmp(command, "portfence");
		}
	}
	closedir(dir);
}

struct cli_processes *cli_processes_new(void)
{
	struct cli_processes *processes = calloc(1, sizeof *processes);
	DIR *dir = opendir("/proc");
	if (!processes)
		exit(cli_error("out of memory"));
	if (!dir)
		return processes;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (isdigit((unsigned char)entry->d_name[0]))
			process_read(processes, (pid_t)atol(entry->d_name));
	closedir(dir);
	return processes;
}

void cli_processes_free(struct cli_processes *processes)
{
	struct owner *owner = processes->owners;
	HASH_CLEAR(hh, processes->owners);
	while (owner) {
		struct owner *next = owner->hh.next;
		free(owner);
		owner = next;
	}
	struct member *member = processes->members;
	HASH_CLEAR(hh, processes->members);
	while (member) {
		struct member *next = member->hh.next;
		free(member);
		member = next;
	}
	free(processes);
}

const char *cli_processes_find(
	const struct cli_processes *processes, uint64_t inode, pid_t *ret_pid)
{
	struct owner *owner;
	HASH_FIND(hh, processes->owners, &inode, sizeof inode, owner);
	if (!owner || !inode)
		return NULL;
	*ret_pid = owner->pid;
	return owner->command;
}

// Returns 1 if the process has the library mapped, by whatever path, 0 if not, or -1 if it cannot
// be looked into.
static int library_find(pid_t pid)
{
	char path[64], *line = NULL;
	size_t size = 0;
	int lines = 0, found = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	for (; !found && getline(&line, &size, file) > 0; lines++)
		found = strstr(line, "/libportfence.so") != NULL;
	free(line);
	fclose(file);
	return lines ? found : -1; // a zombie maps nothing
}

// Returns the parent of a process, or 0.
static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	int parent = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(line, sizeof line, file) && strrchr(line, ')'))
		sscanf(strrchr(line, ')'), ") %*c %d", &parent);
	fclose(file);
	return parent;
}

// Returns true if a supervisor is among the ancestors: whoever loses its parent gets it for one.
static bool is_supervised(struct cli_processes *processes, pid_t pid)
{
	for (int generations = 0; pid > 1 && generations < 1000; generations++) {
		struct member *member;
		pid = parent_of(pid);
		HASH_FIND(hh, processes->members, &pid, sizeof pid, member);
		if (member && member->supervises)
			return true;
	}
	return false;
}

int cli_processes_fenced(struct cli_processes *processes, pid_t pid)
{
	struct member *member = member_of(processes, pid);
	if (member->fenced != NOT_ASKED)
		return member->fenced;
	member->fenced = library_find(pid);
	if (member->fenced <= 0 && is_supervised(processes, pid))
		member->fenced = CLI_SUPERVISED;
	return member->fenced;
}

// Opens a file of a process. Returns it, or NULL with -1 in ret_failed if it cannot be looked into,
// 0 if there is no such process.
static FILE *process_open(pid_t pid, const char *name, int *ret_failed)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	FILE *file = fopen(path, "re");
	*ret_failed = file || errno == ENOENT || errno == ESRCH ? 0 : -1;
	return file;
}

int cli_process_maps(pid_t pid, const struct stat *status)
{
	char line[PF_SEGMENT_PATH + 256];
	int found;
	FILE *file = process_open(pid, "maps", &found);
	if (!file)
		return found;
	while (!found && fgets(line, sizeof line, file)) {
		unsigned device_major, device_minor;
		unsigned long long inode;
		found = sscanf(line, "%*s %*s %*s %x:%x %llu", &device_major, &device_minor,
				&inode) == 3 &&
			inode == status->st_ino && device_major == major(status->st_dev) &&
			device_minor == minor(status->st_dev);
	}
	fclose(file);
	return found;
}

int cli_process_says(pid_t pid, const char *policy)
{
	char *string = NULL;
	size_t size = 0;
	int found;
	bool chooses = false;
	FILE *file = process_open(pid, "environ", &found);
	if (!file)
		return found;
	while (!found && getdelim(&string, &size, 0, file) > 0) {
		chooses |= !strncmp(string, "PORTFENCE_POLICY=", 17) ||
			!strncmp(string, "PORTFENCE_PORTS=", 16);
		found = strstr(string, policy) != NULL;
	}
	free(string);
	fclose(file);
	// Who writes over its environment still hands on what it said.
	return found || chooses || library_find(pid) <= 0 ? found : -1;
}

bool cli_process_is_of(pid_t pid, uid_t uid)
{
	char line[256];
	int failed;
	unsigned real = uid, effective, saved;
	FILE *file = process_open(pid, "status", &failed);
	if (!file)
		return false;
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "Uid: %u %u %u", &real, &effective, &saved) == 3)
			break;
	fclose(file);
	return real == uid || effective == uid || saved == uid;
}
