// SPDX-License-Identifier: MIT
// What an ELF file says of itself: elf(5), both word sizes, both byte orders.
//
// Every number is read from the file where it is used, byte by byte, so that nothing needs to be
// aligned, in order, or true. What lies beyond the end of the file is not there.
#include "preflight.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

// More than that of anything (notes, sections, symbols) is nonsense.
#define COUNT_MAX 65536u

struct file {
	int fd;
	bool wide, big; // 64 bits, big endian
	unsigned char header[sizeof(Elf64_Ehdr)];
};

// A structure of the file in the smaller or larger of its forms.
typedef unsigned char record[sizeof(Elf64_Shdr)];

// Reads all of `size` bytes. Returns true if they are there.
static bool read_at(const struct file *file, uint64_t offset, void *bytes, size_t size)
{
	return pread(file->fd, bytes, size, (off_t)offset) == (ssize_t)size;
}

// Returns a number of `size` bytes in the file's byte order.
static uint64_t number(const struct file *file, const unsigned char *bytes, size_t size)
{
	uint64_t value = 0;
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)bytes[file->big ? size - 1 - i : i] << 8 * i;
	return value;
}

// The size of a structure, and a field of one, whatever the word size.
#define SIZE(file, type) ((file)->wide ? sizeof(Elf64_##type) : sizeof(Elf32_##type))
#define FIELD(file, bytes, type, field)                                                            \
	((file)->wide ? number(file, (bytes) + offsetof(Elf64_##type, field),                      \
				sizeof(((Elf64_##type *)NULL)->field))                             \
		      : number(file, (bytes) + offsetof(Elf32_##type, field),                      \
				sizeof(((Elf32_##type *)NULL)->field)))

// Reads the header. Returns true if it is one.
static bool file_open(int fd, struct file *file)
{
	file->fd = fd;
	file->wide = false;
	if (!read_at(file, 0, file->header, EI_NIDENT) ||
		memcmp(file->header, ELFMAG, SELFMAG) != 0)
		return false;
	file->wide = file->header[EI_CLASS] == ELFCLASS64;
	file->big = file->header[EI_DATA] == ELFDATA2MSB;
	return (file->wide || file->header[EI_CLASS] == ELFCLASS32) &&
		(file->big || file->header[EI_DATA] == ELFDATA2LSB) &&
		read_at(file, 0, file->header, SIZE(file, Ehdr));
}

// Returns true if the notes in these `size` bytes of the file have one of Go.
static bool notes_are_go(const struct file *file, uint64_t offset, uint64_t size, uint64_t align)
{
	const uint64_t pad = align == 8 ? 7 : 3;
	unsigned char note[sizeof(Elf64_Nhdr) + 4]; // with the first bytes of the name
	uint64_t at = 0;
	for (unsigned i = 0; i < COUNT_MAX && at + sizeof note <= size; i++) {
		if (!read_at(file, offset + at, note, sizeof note))
			return false;
		uint64_t name = FIELD(file, note, Nhdr, n_namesz);
		uint64_t text = FIELD(file, note, Nhdr, n_descsz);
		if (name == 4 && !memcmp(note + sizeof(Elf64_Nhdr), "Go\0", 4))
			return true;
		at += (sizeof(Elf64_Nhdr) + name + pad) & ~pad;
		at += (text + pad) & ~pad;
	}
	return false;
}

// Returns true if the dynamic section in these bytes gives the file a name.
static bool dynamic_has_name(const struct file *file, uint64_t offset, uint64_t size)
{
	record entry;
	for (uint64_t at = 0; at < size && at < COUNT_MAX; at += SIZE(file, Dyn)) {
		if (!read_at(file, offset + at, entry, SIZE(file, Dyn)))
			return false;
		uint64_t tag = FIELD(file, entry, Dyn, d_tag);
		if (tag == DT_SONAME || tag == DT_NULL)
			return tag == DT_SONAME;
	}
	return false;
}

// Reads section `index`. Returns true if there is one.
static bool section_read(const struct file *file, uint64_t index, record section)
{
	uint64_t first = FIELD(file, file->header, Ehdr, e_shoff);
	return first && index < FIELD(file, file->header, Ehdr, e_shnum) &&
		FIELD(file, file->header, Ehdr, e_shentsize) == SIZE(file, Shdr) &&
		read_at(file, first + index * SIZE(file, Shdr), section, SIZE(file, Shdr));
}

// Returns true if the file has a section of this name; `length` is with its NUL.
static bool section_exists(const struct file *file, const char *name, size_t length)
{
	record names, section;
	char found[32];
	if (!section_read(file, FIELD(file, file->header, Ehdr, e_shstrndx), names))
		return false;
	uint64_t text = FIELD(file, names, Shdr, sh_offset);
	for (uint64_t i = 0; section_read(file, i, section); i++)
		if (read_at(file, text + FIELD(file, section, Shdr, sh_name), found, length) &&
			!memcmp(found, name, length))
			return true;
	return false;
}

// Takes what one program header has to say. Returns 0 or -ENOEXEC.
static int segment_take(const struct file *file, const unsigned char *segment, struct cli_elf *elf)
{
	uint64_t offset = FIELD(file, segment, Phdr, p_offset);
	uint64_t size = FIELD(file, segment, Phdr, p_filesz);
	switch (FIELD(file, segment, Phdr, p_type)) {
	case PT_INTERP: // kernel: load_elf_binary
		if (size < 2 || size > sizeof elf->loader ||
			!read_at(file, offset, elf->loader, size) || elf->loader[size - 1])
			return -ENOEXEC;
		break;
	case PT_NOTE:
		elf->go |= notes_are_go(file, offset, size, FIELD(file, segment, Phdr, p_align));
		break;
	case PT_DYNAMIC:
		elf->shared |= dynamic_has_name(file, offset, size);
		break;
	default:
		break;
	}
	return 0;
}

int cli_elf_read(int fd, struct cli_elf *ret_elf)
{
	static const char buildinfo[] = ".go.buildinfo"; // stays when -buildid= takes the note away
	struct file file;
	record segment;
	if (!file_open(fd, &file))
		return -ENOEXEC;
	uint64_t type = FIELD(&file, file.header, Ehdr, e_type);
	uint64_t count = FIELD(&file, file.header, Ehdr, e_phnum);
	uint64_t first = FIELD(&file, file.header, Ehdr, e_phoff);
	if ((type != ET_EXEC && type != ET_DYN) || count == 0 ||
		FIELD(&file, file.header, Ehdr, e_phentsize) != SIZE(&file, Phdr))
		return -ENOEXEC;

	struct cli_elf elf = {.width = file.header[EI_CLASS],
		.order = file.header[EI_DATA],
		.machine = (uint16_t)FIELD(&file, file.header, Ehdr, e_machine)};
	for (uint64_t i = 0; i < count; i++)
		if (!read_at(&file, first + i * SIZE(&file, Phdr), segment, SIZE(&file, Phdr)) ||
			segment_take(&file, segment, &elf) < 0)
			return -ENOEXEC;
	elf.go |= section_exists(&file, buildinfo, sizeof buildinfo);
	*ret_elf = elf;
	return 0;
}

// Returns the bit of the name at `offset` of the file, or 0.
static uint32_t name_bit(
	const struct file *file, uint64_t offset, const char *const *name, size_t count)
{
	char found[32];
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(name[i]) + 1;
		if (length <= sizeof found && read_at(file, offset, found, length) &&
			!memcmp(found, name[i], length))
			return 1u << i;
	}
	return 0;
}

uint32_t cli_elf_defines(int fd, const char *const *name, size_t count)
{
	struct file file;
	record section = {0}, names, symbol;
	uint32_t bits = 0;
	uint64_t i = 0;
	if (!file_open(fd, &file))
		return 0;
	while (section_read(&file, i, section) &&
		FIELD(&file, section, Shdr, sh_type) != SHT_DYNSYM)
		i++;
	if (!section_read(&file, i, section) ||
		!section_read(&file, FIELD(&file, section, Shdr, sh_link), names))
		return 0;
	uint64_t text = FIELD(&file, names, Shdr, sh_offset);
	uint64_t first = FIELD(&file, section, Shdr, sh_offset);
	uint64_t symbols = FIELD(&file, section, Shdr, sh_size) / SIZE(&file, Sym);
	for (i = 0; i < symbols && i < COUNT_MAX &&
		read_at(&file, first + i * SIZE(&file, Sym), symbol, SIZE(&file, Sym));
		i++)
		if (FIELD(&file, symbol, Sym, st_shndx) != SHN_UNDEF)
			bits |= name_bit(
				&file, text + FIELD(&file, symbol, Sym, st_name), name, count);
	return bits;
}

const char *cli_elf_machine(const struct cli_elf *elf)
{
	static const struct {
		uint16_t machine;
		uint8_t width;
		const char *name;
	} machines[] = {
		{EM_X86_64, ELFCLASS64, "x86-64"},
		{EM_X86_64, ELFCLASS32, "x32"},
		{EM_386, ELFCLASS32, "i386"},
		{EM_AARCH64, ELFCLASS64, "arm64"},
		{EM_ARM, ELFCLASS32, "arm"},
		{EM_RISCV, ELFCLASS64, "riscv64"},
		{EM_PPC64, ELFCLASS64, "ppc64"},
		{EM_S390, ELFCLASS64, "s390x"},
	};
	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
		if (machines[i].machine == elf->machine && machines[i].width == elf->width)
			return machines[i].name;
	return NULL;
}
