// SPDX-License-Identifier: MIT
// What the environment says of the fence, and how a program gets it that is started without.
//
// The variables are copied when the environment is read: programs write over the place where the
// kernel put them (setproctitle). A program that is started gets those it lacks, and this library
// in its LD_PRELOAD, behind what is there; a variable that it has is left as it is, so that its
// starter can choose another pool. All that works between vfork and exec, where the memory is
// the parent's: the new environment is an array on the stack that points to the old strings.
#include "environment.h"

#include "classify.h"
#include "fence.h"

#include <portfence/segment.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "PORTFENCE_"
#define PRELOAD "LD_PRELOAD="
#define LIBRARY "libportfence"
#define SEPARATORS ": \t\n" // of LD_PRELOAD's entries (ld.so(8); musl's has more)

// What fits on the smallest stack beside all else. More is a mapping, which a vfork child leaves
// behind in its parent: that takes some 500 variables and a fence that is missing among them.
#define STACK_BYTES 4096

static char *const nothing[] = {NULL};

static const char names[PF_SETTINGS][12] = {
	"PORTS", "POLICY", "POOL", "DIR", "LOG", "DISABLE", "DEEPBIND", "MARK"};

// The strings end with NUL and are behind one another in `text`; 0 is none. Few starts write more
// than its first page.
static struct {
	_Alignas(4096) uint16_t setting[PF_SETTINGS]; // where "PORTFENCE_X=..." begins
	uint16_t preload;                             // where "LD_PRELOAD=<this library>" does
	uint16_t used;
	char text[8192];
} kept;

// ---- Strings ---------------------------------------------------------------------------------

// Returns what follows `prefix` in a string, or NULL if it begins otherwise.
static const char *after(const char *string, const char *prefix, size_t length)
{
	return strncmp(string, prefix, length) ? NULL : string + length;
}

// Returns which setting "PORTFENCE_X=..." is of, or -1, and its value.
static int setting_of(const char *string, const char **ret_value)
{
	const char *name = after(string, PREFIX, strlen(PREFIX));
	for (int i = 0; name && i < PF_SETTINGS; i++) {
		const char *value = after(name, names[i], strlen(names[i]));
		if (value && *value == '=') {
			*ret_value = value + 1;
			return i;
		}
	}
	return -1;
}

// Returns the next entry of an LD_PRELOAD list and its length; 0 at the end.
static const char *entry_next(const char *list, size_t *ret_length)
{
	list += strspn(list, SEPARATORS);
	*ret_length = strcspn(list, SEPARATORS);
	return list;
}

// Returns true for a path, or a bare name, of this library.
static bool is_library(const char *entry, size_t length)
{
	size_t at = length;
	while (at > 0 && entry[at - 1] != '/')
		at--;
	return length - at > strlen(LIBRARY) && after(entry + at, LIBRARY, strlen(LIBRARY));
}

// Returns the list of a string "LD_PRELOAD=..." that lacks our entry, or NULL for any other.
static const char *list_lacking(const char *string)
{
	const char *library = kept.text + kept.preload + strlen(PRELOAD);
	const char *list = kept.preload ? after(string, PRELOAD, strlen(PRELOAD)) : NULL;
	size_t length;
	for (const char *entry = list; entry; entry += length) {
		entry = entry_next(entry, &length);
		if (length == 0)
			break;
		if (length == strlen(library) && !memcmp(entry, library, length))
			return NULL;
	}
	return list;
}

// ---- Reading ---------------------------------------------------------------------------------

// Copies two strings, as one, if there is none yet. Returns false if there is no room.
static bool keep(uint16_t *where, const char *string, const char *more, size_t length)
{
	size_t first = strlen(string), at = kept.used + 1u;
	if (*where)
		return true;
	if (first + length >= sizeof kept.text - at)
		return false;
	memcpy(kept.text + at, string, first);
	memcpy(kept.text + at + first, more, length);
	*where = (uint16_t)at;
	kept.used = (uint16_t)(at + first + length);
	return true;
}

// Finds this library in an LD_PRELOAD list and copies its entry. Returns false if it is too long.
static bool keep_library(const char *list)
{
	size_t length;
	while (list = entry_next(list, &length), length > 0) {
		if (is_library(list, length))
			return keep(&kept.preload, PRELOAD, list, length);
		list += length;
	}
	return true;
}

// Returns 0, or 1 if the string is ours and too long.
static int string_read(char *string, size_t length, void *arg)
{
	const char *value, *list = after(string, PRELOAD, strlen(PRELOAD));
	int setting = setting_of(string, &value);
	(void)length, (void)arg;
	if (list)
		return !keep_library(list);
	return setting >= 0 && !keep(&kept.setting[setting], string, "", 0);
}

bool pf_environment_read(void)
{
	// Only before libc itself has started is there none: in the program's .preinit_array.
	if (!environ)
		return pf_segment_each_line("/proc/self/environ", 0, string_read, NULL) <= 0;
	int result = 0;
	for (char **string = environ; *string && result == 0; string++)
		result = string_read(*string, 0, NULL);
	return result == 0;
}

const char *pf_environment_get(enum pf_setting setting)
{
	const char *value = NULL;
	if (kept.setting[setting])
		setting_of(kept.text + kept.setting[setting], &value);
	return value;
}

bool pf_environment_is_on(enum pf_setting setting)
{
	const char *value = pf_environment_get(setting);
	return value && !strcmp(value, "1");
}

char *const *pf_environment_own(void)
{
	return environ;
}

// ---- Starting programs -----------------------------------------------------------------------

// What an environment lacks.
struct missing {
	size_t strings;    // that it has
	size_t bytes;      // of LD_PRELOAD strings to be written anew
	bool preload;      // it has no LD_PRELOAD at all
	unsigned settings; // a bit for each that it has not
};

// Those that say which ports: who sets one chooses anew, and gets none of the old ones.
#define CHOICES (1u << PF_SETTING_PORTS | 1u << PF_SETTING_POLICY | 1u << PF_SETTING_POOL)

// Returns true if something is missing, and what.
static bool look(char *const *envp, struct missing *ret_missing)
{
	struct missing missing = {.preload = kept.preload};
	unsigned given = 0;
	for (int i = 0; i < PF_SETTINGS; i++)
		missing.settings |= kept.setting[i] ? 1u << i : 0;
	for (; envp[missing.strings]; missing.strings++) {
		const char *string = envp[missing.strings], *value;
		const char *list = list_lacking(string);
		int setting = setting_of(string, &value);
		if (setting == PF_SETTING_DISABLE && !strcmp(value, "1"))
			return false;
		if (setting >= 0)
			given |= 1u << setting;
		if (list)
			missing.bytes += strlen(kept.text + kept.preload) + 1 + strlen(list) + 1;
		if (after(string, PRELOAD, strlen(PRELOAD)))
			missing.preload = false;
	}
	missing.settings &= ~(given & CHOICES ? given | CHOICES : given);
	*ret_missing = missing;
	return missing.bytes || missing.preload || missing.settings;
}

// Copies a string to `place`. Returns where it ends.
static char *append(char *place, const char *string)
{
	size_t length = strlen(string);
	memcpy(place, string, length + 1);
	return place + length;
}

// Writes "LD_PRELOAD=<list>:<this library>" to `place`. Returns the place behind it.
static char *preload_write(char *place, const char *list)
{
	const char *library = kept.text + kept.preload + strlen(PRELOAD);
	place = append(append(place, PRELOAD), list);
	if (*list)
		*place++ = ':';
	return append(place, library) + 1;
}

// Returns how many pointers the new environment has at most, LD_PRELOAD and the NULL included.
static size_t pointers(const struct missing *missing)
{
	return missing->strings + PF_SETTINGS + 2;
}

// Returns the bytes that environment_write needs.
static size_t environment_size(const struct missing *missing)
{
	return pointers(missing) * sizeof(char *) + missing->bytes;
}

// Writes an environment with all that was missing to `memory`, and returns it.
static char *const *environment_write(
	char **memory, char *const *envp, const struct missing *missing)
{
	char **next = memory, *place = (char *)(memory + pointers(missing));
	for (size_t i = 0; i < missing->strings && envp[i]; i++) {
		const char *list = list_lacking(envp[i]);
		*next++ = list ? place : envp[i];
		if (list)
			place = preload_write(place, list);
	}
	if (missing->preload)
		*next++ = kept.text + kept.preload;
	for (int i = 0; i < PF_SETTINGS; i++) {
		if (missing->settings & 1u << i)
			*next++ = kept.text + kept.setting[i];
	}
	*next = NULL;
	return memory;
}

static int execute_in(struct pf_execution *execution, char **memory, const struct missing *missing)
{
	execution->envp = environment_write(memory, execution->envp, missing);
	return execution->run(execution);
}

static int execute_on_stack(struct pf_execution *execution, const struct missing *missing)
{
	char *memory[STACK_BYTES / sizeof(char *)];
	return execute_in(execution, memory, missing);
}

int pf_environment_execute(struct pf_execution *execution)
{
	struct missing missing;
	if (!execution->envp) // as good as empty (execve(2), "NOTES")
		execution->envp = nothing;
	if (pf_fence() == PF_FENCE_OFF || !pf_classify_readable(execution->envp, sizeof(char *)) ||
		!look(execution->envp, &missing))
		return execution->run(execution);
	size_t size = environment_size(&missing);
	if (size <= STACK_BYTES)
		return execute_on_stack(execution, &missing);
	char **memory = pf_segment_scratch(size);
	if (!memory)
		return -ENOMEM;
	int result = execute_in(execution, memory, &missing);
	pf_segment_scratch_free(memory, size);
	return result;
}

// Puts this library into this process's own LD_PRELOAD, behind what there is.
static void preload_restore(const struct missing *missing)
{
	const char *library = kept.text + kept.preload;
	char *merged = missing->preload ? NULL : pf_segment_scratch(missing->bytes);
	for (char **string = environ; merged && string && *string; string++) {
		const char *list = list_lacking(*string);
		if (list) {
			preload_write(merged, list);
			library = merged;
			break;
		}
	}
	setenv("LD_PRELOAD", library + strlen(PRELOAD), 1);
	if (merged)
		pf_segment_scratch_free(merged, missing->bytes);
}

void pf_environment_restore(void)
{
	struct missing missing;
	char *const *own = environ ? environ : nothing;
	if (pf_fence() == PF_FENCE_OFF || !look(own, &missing))
		return;
	for (int i = 0; i < PF_SETTINGS; i++) {
		char name[sizeof PREFIX + sizeof names[0]] = PREFIX;
		memcpy(name + strlen(PREFIX), names[i], sizeof names[i]);
		if (missing.settings & 1u << i)
			setenv(name, pf_environment_get((enum pf_setting)i), 1);
	}
	if (missing.preload || missing.bytes)
		preload_restore(&missing);
}
