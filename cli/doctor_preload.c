// SPDX-License-Identifier: MIT
// portfence doctor: who else is preloaded. Doctor's own process has it all loaded already, by the
// loader's own rules: nothing needs to be searched.
#include "doctor.h"

#include "cli.h"
#include "preflight.h"

#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM "/etc/ld.so.preload"
#define BETWEEN " :\t\n" // entries of either list

// What the library stands in front of, and others like to.
static const char *const interposed[] = {"socket", "connect", "bind", "listen", "sendto", "sendmsg",
	"sendmmsg", "close", "dup2", "fcntl", "fork"};
#define INTERPOSED (sizeof interposed / sizeof *interposed)

struct search {
	const char *entry; // of LD_PRELOAD
	char path[PATH_MAX];
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

// Returns true if both are one file, or, where the entry is no path or has a variable that only the
// loader knows, of one name.
static bool is_same(const char *entry, const char *path)
{
	struct stat one, other;
	if (strchr(entry, '/') && stat(entry, &one) == 0)
		return stat(path, &other) == 0 && one.st_dev == other.st_dev &&
			one.st_ino == other.st_ino;
	return (!strchr(entry, '/') || strchr(entry, '$')) &&
		!strcmp(base_name(entry), base_name(path));
}

static int object_match(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;
	if (size < sizeof info->dlpi_addr + sizeof info->dlpi_name || !info->dlpi_name ||
		!is_same(search->entry, info->dlpi_name))
		return 0;
	snprintf(search->path, sizeof search->path, "%s", info->dlpi_name);
	return 1;
}

// Writes "connect close" into text[size]: what the object defines of what we interpose.
static void rivalry_write(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint32_t bits = fd < 0 ? 0 : cli_elf_defines(fd, interposed, INTERPOSED);
	if (fd >= 0)
		close(fd);
	*text = 0;
	for (size_t i = 0; i < INTERPOSED; i++)
		if (bits & 1u << i)
			snprintf(text + strlen(text), size - strlen(text), "%s%s", *text ? " " : "",
				interposed[i]);
}

// Adds the command that takes an entry out of the list it is in, or puts it `first` there.
static void entry_mend(const char *entry, const char *variable, bool first)
{
	size_t length = strlen(entry);
	const char *before = ":";
	if (!variable) {
		doctor_mend("sed -i 's|%s||' " SYSTEM, entry);
		return;
	}
	char *command = NULL;
	size_t size;
	FILE *stream = open_memstream(&command, &size);
	if (!stream)
		exit(cli_error("out of memory"));
	if (first)
		fprintf(stream, ":%s", entry);
	for (const char *at = variable; *(at += strspn(at, BETWEEN)); at += strcspn(at, BETWEEN)) {
		size_t this = strcspn(at, BETWEEN);
		if (this != length || strncmp(at, entry, length) != 0)
			fprintf(stream, "%s%.*s", before, (int)this, at);
	}
	fclose(stream);
	doctor_mend(*command ? "export LD_PRELOAD='%s'" : "unset LD_PRELOAD%s",
		*command ? command + 1 : "");
	free(command);
}

// Says what one entry does: of LD_PRELOAD, or, with `variable` NULL, of the system's file. Returns
// true if it is the library itself.
static bool entry_examine(const char *entry, const char *library, bool behind, const char *variable)
{
	struct search search = {.entry = entry};
	char rivalry[128];
	if (!dl_iterate_phdr(object_match, &search)) {
		doctor_warn("preload", "%s: cannot be loaded, and every program says so", entry);
		entry_mend(entry, variable, false);
		return false;
	}
	if (is_same(library, search.path)) {
		doctor_ok("preload", "%s is there already", search.path);
		return true;
	}
	if (!strcmp(base_name(search.path), base_name(library))) {
		doctor_warn("preload", "%s is another one than this command's", search.path);
		entry_mend(entry, variable, false);
		return false;
	}
	rivalry_write(search.path, rivalry, sizeof rivalry);
	if (!*rivalry) {
		doctor_ok("preload", "%s has nothing that libportfence.so has", search.path);
	} else if (behind) {
		doctor_warn("preload", "%s has %s, too, and comes behind libportfence.so",
			search.path, rivalry);
		entry_mend(entry, variable, true);
	} else {
		doctor_ok("preload", "%s has %s, too; it comes before libportfence.so", search.path,
			rivalry);
	}
	return false;
}

// Examines every entry of a list. Returns true if there are any.
static bool list_examine(char *list, const char *library, bool behind, const char *variable)
{
	bool some = false;
	char *rest;
	for (char *entry = strtok_r(list, BETWEEN, &rest); entry;
		entry = strtok_r(NULL, BETWEEN, &rest)) {
		some = true;
		behind |= entry_examine(entry, library, behind, variable);
	}
	return some;
}

void doctor_preload(const char *library)
{
	const char *variable = getenv("LD_PRELOAD");
	char *list = variable ? strdup(variable) : NULL, *line = NULL;
	size_t size = 0;
	// `run` puts the library behind the others, unless it is there.
	bool some = list && list_examine(list, library, false, variable);
	FILE *file = fopen(SYSTEM, "re");
	while (file && getline(&line, &size, file) >= 0) {
		line[strcspn(line, "#")] = 0;
		some |= list_examine(line, library, true, NULL);
	}
	if (file)
		fclose(file);
	if (!some)
		doctor_ok("preload", "nothing else is preloaded");
	free(line);
	free(list);
}
