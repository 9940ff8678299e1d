// SPDX-License-Identifier: MIT
// Where the library is: one for each word size that was built.
//
//	libportfence.so       for programs of the command's own word size
//	32/libportfence.so    for 32-bit programs
//	NAME/libportfence.so  a link to one of them, for every NAME of $LIB in ld.so(8)
//	$LIB/libportfence.so  a link to the first: musl has no such names
//
// Where only the first was built, nothing else is there, and LD_PRELOAD names it. Else a path with
// $LIB in it gives every program its own, and every child of the other word size its own, too.
#include "preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libportfence.so"

int cli_beside_find(const char *file, char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - strlen(file) - 1);
	if (length > 0) {
		path[length] = 0;
		strcpy(strrchr(path, '/') + 1, file);
		if (access(path, R_OK) == 0)
			return 0;
	}
	snprintf(path, PATH_MAX, "%s/%s", PF_LIBDIR, file);
	return access(path, R_OK) == 0 ? 0 : -errno;
}

// Finds the library of the command's own word size. Returns as cli_beside_find.
static int own_find(char path[PATH_MAX])
{
	return cli_beside_find(LIBRARY, path);
}

// Returns true, and its path, if the file is there in the folder of the library at `own`.
static bool is_beside(const char *own, const char *file, char path[PATH_MAX])
{
	int folder = (int)(strrchr(own, '/') + 1 - own);
	return snprintf(path, PATH_MAX, "%.*s%s", folder, own, file) < PATH_MAX &&
		access(path, R_OK) == 0;
}

int cli_library_find(char path[PATH_MAX], char *reason)
{
	char own[PATH_MAX];
	int result = own_find(own);
	if (result < 0) {
		snprintf(reason, PATH_MAX + 64, "%s: %s", own, strerror(-result));
		return result;
	}
	if (strpbrk(own, " :$")) {
		snprintf(reason, PATH_MAX + 64,
			"%s: LD_PRELOAD takes no path with a blank, ':' or '$'", own);
		return -EINVAL;
	}
	if (!is_beside(own, "$LIB/" LIBRARY, path))
		strcpy(path, own);
	return 0;
}

// Returns true if the library at `path` can be loaded into the program.
static bool is_for(const char *path, const struct cli_elf *program)
{
	struct cli_elf library = {.width = 0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = fd < 0 ? -errno : cli_elf_read(fd, &library);
	if (fd >= 0)
		close(fd);
	return result == 0 && library.width == program->width && library.order == program->order &&
		library.machine == program->machine;
}

bool cli_library_for(const struct cli_elf *program, char path[PATH_MAX])
{
	char own[PATH_MAX];
	if (own_find(own) < 0)
		return false;
	if (is_beside(own, "32/" LIBRARY, path) && is_for(path, program))
		return true;
	strcpy(path, own);
	return is_for(path, program);
}
