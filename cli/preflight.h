// SPDX-License-Identifier: MIT
// What will happen to a program that is run: whether it can be found, started, and fenced.
#ifndef PF_PREFLIGHT_H
#define PF_PREFLIGHT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What an ELF file says of itself, as far as preloading a library goes.
struct cli_elf {
	uint8_t width;         // ELFCLASS32 or ELFCLASS64
	uint8_t order;         // ELFDATA2LSB or ELFDATA2MSB
	uint16_t machine;      // EM_X86_64...
	bool shared;           // it has a name for those who link with it: a library, or a loader
	bool go;               // made by Go's own compiler
	char loader[PATH_MAX]; // that starts it; empty: none
};

// Reads the program or library in file `fd`, believing nothing. Returns 0, or -ENOEXEC for what the
// kernel would not load either.
int cli_elf_read(int fd, struct cli_elf *ret_elf);

// Returns a bit for each of the `count` (at most 32) functions that the library in file `fd`
// defines: bit 0 for name[0]. What cannot be read defines nothing.
uint32_t cli_elf_defines(int fd, const char *const *name, size_t count);

// Returns the name of a machine, as uname(1) and Debian know it, or NULL.
const char *cli_elf_machine(const struct cli_elf *elf);

struct cli_preflight {
	int error;               // 0, or the errno that the program cannot be executed with
	bool hopeless;           // better not tried: it never ends, or is no food for the shell
	bool unfenced;           // it can be executed, but the library will not be in it
	bool privileged;         // for that it would gain a privilege
	bool unread;             // nobody may read it, so only its mode and owner are known
	unsigned files;          // looked into so far
	char path[PATH_MAX];     // of what the kernel starts in the end: a script's interpreter
	char script[PATH_MAX];   // that this is about, too; empty: none
	char why[PATH_MAX + 64]; // empty: strerror(error) says it all
	char cure[192];          // what to do, a phrase that begins with "run"
};

// Finds `program` as execvp(3) does, follows scripts to what interprets them (through env(1), too),
// and looks into that.
void cli_preflight(const char *program, struct cli_preflight *ret_preflight);

// Writes "PATH (interpreter of SCRIPT)" into text[size].
void cli_preflight_name(const struct cli_preflight *preflight, char *text, size_t size);

// Finds what LD_PRELOAD needs: the library beside the command, else where it is installed. Returns
// 0 with the path, in which the loader may have to put the name of its library folder for $LIB, or
// -errno with a line in reason[PATH_MAX + 64].
int cli_library_find(char path[PATH_MAX], char *reason);

// Returns true if there is a library for programs of this word size and machine, with its path.
bool cli_library_for(const struct cli_elf *program, char path[PATH_MAX]);

// Returns the capabilities, or another number, that /proc/self/status has under `name`, in `base`;
// `otherwise` where it does not tell.
uint64_t cli_status_number(const char *name, int base, uint64_t otherwise);

// Finds a file that belongs to the command: beside it, else where the library is installed. Returns
// 0, or -errno with the last place in path.
int cli_beside_find(const char *file, char path[PATH_MAX]);

#endif
