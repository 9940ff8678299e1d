// SPDX-License-Identifier: MIT
// What will happen to a program that is run, known before it is run: the loader says nothing when
// it leaves a preloaded library out.
//
// The kernel's rules are followed (fs/exec.c, fs/binfmt_script.c, security/commoncap.c), and
// execvp(3)'s: a file without a format is the shell's, and a PATH entry that fails for want of a
// file or of permission is not the last. What env(1) will start is followed as far as its simple
// uses go; where that ends, env itself is the verdict.
#include "preflight.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS_MAX 5 // #! lines that lead to one another (kernel: exec_binprm)
#define FILES_MAX 20u // of all kinds; past that, a script runs itself
#define HEAD 256      // the bytes of a #! line that count (kernel: BINPRM_BUF_SIZE)

#define SHELL "/bin/sh" // that execvp(3) gives to files without a format

static int name_inspect(struct cli_preflight *preflight, const char *name, const char *search);

// Sets the reason, and returns -error.
__attribute__((format(printf, 3, 4))) static int refuse(
	struct cli_preflight *preflight, int error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(preflight->why, sizeof preflight->why, format, arguments);
	va_end(arguments);
	return -error;
}

// Says that the program will run without the library, and what to do about it. Returns 0.
__attribute__((format(printf, 3, 4))) static int let_out(
	struct cli_preflight *preflight, const char *why, const char *cure, ...)
{
	va_list arguments;
	va_start(arguments, cure);
	vsnprintf(preflight->cure, sizeof preflight->cure, cure, arguments);
	va_end(arguments);
	snprintf(preflight->why, sizeof preflight->why, "%s", why);
	preflight->unfenced = true;
	return 0;
}

// --- privileges: what makes the kernel set AT_SECURE (cap_bprm_creds_from_file) ------------------

uint64_t cli_status_number(const char *name, int base, uint64_t otherwise)
{
	char line[256];
	size_t length = strlen(name);
	FILE *file = fopen("/proc/self/status", "re");
	if (!file)
		return otherwise;
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, length) && line[length] == ':') {
			otherwise = strtoull(line + length + 1, NULL, base);
			break;
		}
	fclose(file);
	return otherwise;
}

// Returns true if the user namespace has this ID; what it has not, sets no ID.
static bool id_is_mapped(const char *map, unsigned id)
{
	unsigned first, count;
	bool mapped = false;
	FILE *file = fopen(map, "re");
	if (!file)
		return true;
	while (!mapped && fscanf(file, "%u %*u %u", &first, &count) == 2)
		mapped = id >= first && id - first < count;
	fclose(file);
	return mapped;
}

// Returns true if the file's capabilities are more than none for whoever is not root.
static bool capabilities_grow(const char *path)
{
	struct vfs_ns_cap_data data;
	uint64_t permitted = 0, inheritable = 0;
	ssize_t size = getxattr(path, "security.capability", &data, sizeof data);
	// A later revision is shown for another user namespace's root, and counts only there.
	if (size != XATTR_CAPS_SZ_1 && size != XATTR_CAPS_SZ_2)
		return false;
	for (int i = 0; i < (size == XATTR_CAPS_SZ_2 ? 2 : 1); i++) {
		permitted |= (uint64_t)le32toh(data.data[i].permitted) << 32 * i;
		inheritable |= (uint64_t)le32toh(data.data[i].inheritable) << 32 * i;
	}
	permitted &= cli_status_number("CapBnd", 16, UINT64_MAX);
	permitted |= inheritable & cli_status_number("CapInh", 16, 0);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		permitted &= cli_status_number("CapPrm", 16, 0);
	return permitted || le32toh(data.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE;
}

// Looks at what the program gains by being run. Returns 0.
static int privileges_inspect(
	struct cli_preflight *preflight, const char *path, const struct stat *status)
{
	struct statvfs system;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	bool counts = statvfs(path, &system) < 0 || !(system.f_flag & ST_NOSUID);
	if (counts && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 &&
		id_is_mapped("/proc/self/uid_map", status->st_uid) &&
		id_is_mapped("/proc/self/gid_map", status->st_gid)) {
		if (status->st_mode & S_ISUID)
			uid = status->st_uid;
		if ((status->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
			gid = status->st_gid;
	}
	if ((uid != getuid() && uid == geteuid()) || (gid != getgid() && gid == getegid()))
		return let_out(preflight,
			"that the real and the effective ID differ switches "
			"LD_PRELOAD off",
			"run it as one user, in one group");
	if (uid != getuid()) {
		preflight->privileged = true;
		const struct passwd *user = getpwuid(uid);
		if (user)
			return let_out(preflight, "its set-user-ID bit switches LD_PRELOAD off",
				"run it as %s", user->pw_name);
		return let_out(preflight, "its set-user-ID bit switches LD_PRELOAD off",
			"run it as user %u", uid);
	}
	if (gid != getgid()) {
		preflight->privileged = true;
		const struct group *group = getgrgid(gid);
		if (group)
			return let_out(preflight, "its set-group-ID bit switches LD_PRELOAD off",
				"run it in group %s (sg %s)", group->gr_name, group->gr_name);
		return let_out(preflight, "its set-group-ID bit switches LD_PRELOAD off",
			"run it in group %u", gid);
	}
	if (counts && getuid() != 0 && capabilities_grow(path)) {
		preflight->privileged = true;
		return let_out(
			preflight, "its file capabilities switch LD_PRELOAD off", "run it as root");
	}
	return 0;
}

// --- formats -----------------------------------------------------------------------------------

// Returns 0, also if the program is one that cannot be fenced; or -errno.
static int elf_inspect(
	struct cli_preflight *preflight, const char *path, int fd, const struct stat *status)
{
	static const char strict[] = "run it with --strict";
	struct cli_elf elf;
	char library[PATH_MAX];
	if (cli_elf_read(fd, &elf) < 0)
		return refuse(preflight, EINVAL, "no ELF program, or a damaged one");
	if (elf.loader[0] && access(elf.loader, F_OK) < 0)
		return refuse(preflight, errno, "its loader %s: %s", elf.loader, strerror(errno));
	int result = privileges_inspect(preflight, path, status);
	if (elf.go)
		return let_out(preflight, "Go programs make their own system calls", strict);
	if (!elf.loader[0] && !elf.shared)
		return let_out(preflight, "it is linked statically and loads no library", strict);
	if (!cli_library_for(&elf, library)) {
		const char *machine = cli_elf_machine(&elf);
		char why[128];
		snprintf(why, sizeof why, "it is built for %s, and libportfence.so is not",
			machine ? machine : "another machine");
		return let_out(preflight, why, strict);
	}
	return result;
}

static char *skip_blanks(char *text)
{
	return text + strspn(text, " \t");
}

// Reads a #! line in place (kernel: load_script). Returns the interpreter and its argument, which
// is empty if there is none; NULL if the kernel takes it for no such line.
static char *script_parse(char head[HEAD + 1], char **ret_argument)
{
	char *newline = memchr(head, '\n', HEAD);
	char *name = skip_blanks(head + 2);
	char *end = name + strcspn(name, " \t\n");
	if (!newline && *end == 0 && end - head >= HEAD)
		return NULL; // cut off
	if (end == name)
		return NULL;
	char *last = newline ? newline : head + strlen(head);
	*last = 0;
	while (last > end && (last[-1] == ' ' || last[-1] == '\t'))
		*--last = 0;
	*ret_argument = *end ? skip_blanks(end + 1) : end;
	*end = 0;
	return name;
}

// Follows `env [-S] [NAME=VALUE]... PROGRAM`. Returns 0, or -ELOOP: what env cannot find or run is
// its own to say.
static int env_inspect(struct cli_preflight *preflight, char *argument)
{
	static const char *const splits[] = {"-S", "-vS", "--split-string="};
	const char *search = getenv("PATH");
	struct cli_preflight before = *preflight;
	char *word = argument, *rest = NULL;
	for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
		if (!strncmp(argument, splits[i], strlen(splits[i])))
			rest = argument + strlen(splits[i]);
	if (rest && strpbrk(rest, "\\'\"$#"))
		return 0;
	if (rest)
		word = strtok_r(rest, " \t\r\v\f", &rest);
	while (word && rest && strchr(word, '=')) {
		if (!strncmp(word, "PATH=", 5))
			search = word + 5;
		word = strtok_r(NULL, " \t\r\v\f", &rest);
	}
	if (!word || !*word || *word == '-' || strchr(word, '='))
		return 0;
	int result = name_inspect(preflight, word, search);
	if (result == 0 || result == -ELOOP)
		return result;
	before.files = preflight->files;
	*preflight = before;
	return 0;
}

static int file_inspect(struct cli_preflight *preflight, const char *path, unsigned scripts);

// Goes on with the interpreter of a script. Returns 0 or -errno.
static int script_inspect(
	struct cli_preflight *preflight, const char *path, char head[HEAD + 1], unsigned scripts)
{
	char *argument;
	const char *interpreter = script_parse(head, &argument);
	if (!interpreter)
		return -ENOEXEC;
	if (!preflight->script[0])
		snprintf(preflight->script, sizeof preflight->script, "%s", path);
	if (scripts == SCRIPTS_MAX)
		return refuse(preflight, ELOOP, "more than %u scripts that interpret each other",
			SCRIPTS_MAX);
	int result = file_inspect(preflight, interpreter, scripts + 1);
	if (result < 0 && result != -ENOEXEC && !preflight->why[0]) {
		size_t length = strcspn(interpreter, "\r");
		return refuse(preflight, -result, "its interpreter %.*s%s: %s", (int)length,
			interpreter, interpreter[length] ? "\\r (lines end in CR LF)" : "",
			strerror(-result));
	}
	const char *name = strrchr(interpreter, '/');
	if (result == 0 && !preflight->unfenced && !strcmp(name ? name + 1 : interpreter, "env"))
		return env_inspect(preflight, argument);
	return result;
}

// Looks into a file as execve(2) would, after `scripts` #! lines that led to it. Returns 0 if it
// can be executed, or -errno.
static int file_inspect(struct cli_preflight *preflight, const char *path, unsigned scripts)
{
	char head[HEAD + 1] = {0};
	struct stat status;
	if (stat(path, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return refuse(preflight, EACCES,
			S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -errno;
	snprintf(preflight->path, sizeof preflight->path, "%s", path);
	if (++preflight->files > FILES_MAX)
		return refuse(preflight, ELOOP, "it ends up in running itself");

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		preflight->unread = true;
		return privileges_inspect(preflight, path, &status);
	}
	int result = -ENOEXEC;
	if (pread(fd, head, HEAD, 0) >= 0 && !memcmp(head, "#!", 2))
		result = script_inspect(preflight, path, head, scripts);
	else if (!memcmp(head, ELFMAG, SELFMAG))
		result = elf_inspect(preflight, path, fd, &status);
	close(fd);
	return result;
}

// Looks into a file as execvp(3) would.
static int path_inspect(struct cli_preflight *preflight, const char *path)
{
	int result = file_inspect(preflight, path, 0);
	if (result != -ENOEXEC)
		return result;
	snprintf(preflight->script, sizeof preflight->script, "%s", path);
	return file_inspect(preflight, SHELL, 0);
}

// Finds a program as execvp(3) would, in the PATH `search`. Returns 0 or -errno.
static int name_inspect(struct cli_preflight *preflight, const char *name, const char *search)
{
	const struct cli_preflight start = *preflight;
	int result = -ENOENT;
	bool denied = false;
	if (!*name)
		return result;
	if (strchr(name, '/'))
		return path_inspect(preflight, name);
	if (!search)
		search = "/bin:/usr/bin"; // confstr(_CS_PATH)
	for (const char *end;; search = end + 1) {
		char path[PATH_MAX];
		end = search + strcspn(search, ":");
		int length = snprintf(path, sizeof path, "%.*s%s%s", (int)(end - search), search,
			end > search ? "/" : "", name);
		if (length < (int)sizeof path) {
			struct cli_preflight fresh = start;
			fresh.files = preflight->files;
			result = path_inspect(&fresh, path);
			if (result == 0 || (!denied && (result == -EACCES || !preflight->why[0])))
				*preflight = fresh;
			preflight->files = fresh.files;
			if (result != -EACCES && result != -ENOENT && result != -ENOTDIR)
				return result;
			denied |= result == -EACCES;
		}
		if (!*end)
			return denied ? -EACCES : result;
	}
}

void cli_preflight(const char *program, struct cli_preflight *ret_preflight)
{
	memset(ret_preflight, 0, sizeof *ret_preflight);
	int error = -name_inspect(ret_preflight, program, getenv("PATH"));
	ret_preflight->error = error;
	ret_preflight->hopeless = ret_preflight->why[0] && (error == EINVAL || error == ELOOP);
}

void cli_preflight_name(const struct cli_preflight *preflight, char *text, size_t size)
{
	const char *script = preflight->script;
	snprintf(text, size, "%s%s%s%s", preflight->path, *script ? " (interpreter of " : "",
		script, *script ? ")" : "");
}
