// SPDX-License-Identifier: MIT
// The text of a policy file. libinih says what a line is, one line at a time: so line and column
// are known, and what it would cut off silently (a line of 200 bytes) is seen here.
#include "policy_text.h"

#include "cli.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)
// libinih's own default of 200, less "\r\n" and NUL.
#define LINE_MAX_BYTES 197u

// ---- Memory ----------------------------------------------------------------------------------

static void *or_die(void *memory)
{
	if (!memory)
		exit(cli_error("out of memory"));
	return memory;
}

void *policy_grown(void *array, size_t count, size_t size)
{
	if (count & (count - 1))
		return array;
	return or_die(realloc(array, (count ? 2 * count : 1) * size));
}

// Adds bytes to the end of a word. They stand one behind the other from `place` on, or, if `fixed`,
// all there.
static void word_add(struct policy_word *word, const char *bytes, size_t length,
	struct policy_place place, bool fixed)
{
	size_t whole = word->length + length;
	word->text = or_die(realloc(word->text, whole + 1));
	word->place = or_die(realloc(word->place, (whole + 1) * sizeof *word->place));
	for (size_t i = 0; i <= length; i++) {
		word->place[word->length + i] = place;
		place.column += !fixed;
	}
	memcpy(word->text + word->length, bytes, length);
	word->length = whole;
}

static void word_free(struct policy_word word)
{
	free(word.text);
	free(word.place);
}

void policy_text_free(struct policy_text *text)
{
	for (size_t i = 0; i < text->sections; i++)
		word_free(text->section[i].header);
	for (size_t i = 0; i < text->entries; i++) {
		word_free(text->entry[i].key);
		word_free(text->entry[i].value);
	}
	for (size_t i = 0; i < text->problems; i++)
		free(text->problem[i].line);
	free(text->section);
	free(text->entry);
	free(text->problem);
}

const struct policy_entry *policy_text_find(
	const struct policy_text *text, size_t section, const char *key)
{
	for (size_t i = 0; i < text->entries; i++)
		if (text->entry[i].section == section && policy_word_is(text->entry[i].key, key))
			return &text->entry[i];
	return NULL;
}

// ---- Lines -----------------------------------------------------------------------------------

// A line of the file, and what libinih makes of it.
struct line {
	struct policy_word word; // without its end
	bool has_key;            // that libinih saw
	char section[LINE_MAX_BYTES + 8], key[LINE_MAX_BYTES + 8], value[LINE_MAX_BYTES + 8];
};

static int line_seen(void *arg, const char *section, const char *key, const char *value)
{
	struct line *line = arg;
	line->has_key = true;
	snprintf(line->section, sizeof line->section, "%s", section);
	snprintf(line->key, sizeof line->key, "%s", key);
	snprintf(line->value, sizeof line->value, "%s", value);
	return 1;
}

// Has libinih read the line, with text of ours around it. Returns false if it sees no key.
static bool line_parse(struct line *line, const char *before, const char *behind)
{
	char whole[LINE_MAX_BYTES + 8];
	snprintf(whole, sizeof whole, "%s%.*s%s\n", before, (int)line->word.length, line->word.text,
		behind);
	line->has_key = false;
	return ini_parse_string(whole, line_seen, line) == 0 && line->has_key;
}

// Adds the bytes to the entry's value, ${VARIABLE} replaced and $$ as $.
static void value_add(struct policy_text *text, struct policy_entry *entry, struct policy_word raw)
{
	for (size_t i = 0; i < raw.length; i++) {
		struct policy_word rest = policy_word_part(raw, i, raw.length - i);
		if (rest.text[0] == '#' && i > 0 && policy_is_blank(raw.text[i - 1])) {
			policy_refuse(text, rest, "a comment behind a value begins with ';'");
			entry->is_refused = true;
			return;
		}
		if (rest.text[0] != '$') {
			word_add(&entry->value, rest.text, 1, *rest.place, false);
			continue;
		}
		if (rest.length > 1 && rest.text[1] == '$') {
			word_add(&entry->value, "$", 1, *rest.place, true);
			i++;
			continue;
		}
		char *end = rest.length > 1 && rest.text[1] == '{'
			? memchr(rest.text, '}', rest.length)
			: NULL;
		char name[LINE_MAX_BYTES + 1];
		size_t length = end ? (size_t)(end - rest.text) + 1 : 0;
		if (length <= 3) {
			policy_refuse(text, rest, "expected ${VARIABLE}, or $$ for a dollar");
			entry->is_refused = true;
			return;
		}
		snprintf(name, sizeof name, "%.*s", (int)length - 3, rest.text + 2);
		const char *value = getenv(name);
		if (value && *value)
			word_add(&entry->value, value, strlen(value), *rest.place, true);
		else {
			policy_refuse(text, policy_word_part(rest, 0, length),
				"%s, expected a value", value ? "empty" : "not in the environment");
			entry->is_refused = true;
		}
		i += length - 1;
	}
	// The end has a place, too.
	word_add(&entry->value, "", 0, raw.place[raw.length], false);
}

static void section_add(struct policy_text *text, struct policy_word header, bool refused)
{
	struct policy_section section = {.is_refused = refused};
	word_add(&section.header, header.text, header.length, *header.place, false);
	struct policy_word rest = section.header;
	policy_word_next(&rest, &section.kind);
	section.name = policy_word_trim(rest);
	if (refused)
		section.kind.length = 0;
	text->section = policy_grown(text->section, text->sections, sizeof *text->section);
	text->section[text->sections++] = section;
}

static struct policy_entry *entry_add(struct policy_text *text, struct policy_word key)
{
	struct policy_entry entry = {.section = text->sections - 1};
	word_add(&entry.key, key.text, key.length, *key.place, false);
	word_add(&entry.value, "", 0, key.place[key.length], false);
	text->entry = policy_grown(text->entry, text->entries, sizeof *text->entry);
	text->entry[text->entries] = entry;
	return &text->entry[text->entries++];
}

// Returns the last entry, if it is of this section.
static struct policy_entry *entry_last(struct policy_text *text)
{
	struct policy_entry *last = text->entries ? &text->entry[text->entries - 1] : NULL;
	return last && last->section == text->sections - 1 ? last : NULL;
}

static void read_section(struct policy_text *text, struct line *line, struct policy_word trimmed)
{
	// A section without keys is not told of: so it gets one.
	if (!line_parse(line, "", "\n=")) {
		policy_refuse(
			text, trimmed, "no ']', expected [pool NAME], [rule NAME] or [segment]");
		section_add(text, trimmed, true);
		return;
	}
	const char *end = memchr(trimmed.text, ']', trimmed.length);
	size_t length = (size_t)(end - trimmed.text) + 1;
	section_add(text, policy_word_part(trimmed, 1, length - 2), false);
	struct policy_word behind =
		policy_word_trim(policy_word_part(trimmed, length, trimmed.length - length));
	if (behind.length && behind.text[0] != ';' && behind.text[0] != '#')
		policy_refuse(text, behind, "expected nothing behind ']'");
}

static void read_key(struct policy_text *text, struct line *line, struct policy_word trimmed)
{
	bool is_key = line_parse(line, "", "");
	if (!is_key || !*line->key) {
		policy_refuse(text, trimmed, "no %s, expected KEY = VALUE", is_key ? "key" : "'='");
		if (text->sections)
			text->section[text->sections - 1].is_damaged = true;
		return;
	}
	if (!text->sections) {
		policy_refuse(text, policy_word_part(trimmed, 0, strlen(line->key)),
			"before the first section, expected [pool NAME] or the like above it");
		section_add(text, trimmed, true);
	}
	size_t from = strcspn(trimmed.text, "=:") + 1;
	while (from < trimmed.length && policy_is_blank(trimmed.text[from]))
		from++;
	struct policy_entry *entry =
		entry_add(text, policy_word_part(trimmed, 0, strlen(line->key)));
	value_add(text, entry, policy_word_part(trimmed, from, strlen(line->value)));
}

// Takes what it can out of a line that libinih might cut, so that one problem is one line.
static void read_long(struct policy_text *text, struct policy_word trimmed)
{
	policy_refuse(text, trimmed,
		"a line of more than %u bytes; a value may go on in the next line, indented",
		LINE_MAX_BYTES);
	size_t key = strcspn(trimmed.text, "=");
	if (trimmed.text[0] == '[' || !text->sections)
		section_add(text, trimmed, true);
	else if (key < trimmed.length)
		entry_add(text, policy_word_trim(policy_word_part(trimmed, 0, key)))->is_refused =
			true;
	else if (entry_last(text))
		entry_last(text)->is_refused = true;
}

// Returns true if a line goes on with the value above it: indented, and neither a key nor a
// section, which, unlike an address in brackets, has no colon.
static bool goes_on(struct policy_word line, struct policy_word trimmed)
{
	return policy_is_blank(line.text[0]) && !memchr(trimmed.text, '=', trimmed.length) &&
		(trimmed.text[0] != '[' || memchr(trimmed.text, ':', trimmed.length));
}

static void read_line(struct policy_text *text, struct line *line)
{
	struct policy_word trimmed = policy_word_trim(line->word);
	struct policy_entry *last = entry_last(text);
	if (!trimmed.length || trimmed.text[0] == ';' || trimmed.text[0] == '#')
		return;
	if (line->word.length > LINE_MAX_BYTES)
		read_long(text, trimmed);
	else if (last && goes_on(line->word, trimmed)) {
		line_parse(line, "-=", "");
		word_add(&last->value, " ", 1, *trimmed.place, true);
		value_add(text, last, policy_word_part(trimmed, 0, strlen(line->value)));
	} else if (trimmed.text[0] == '[')
		read_section(text, line, trimmed);
	else
		read_key(text, line, trimmed);
}

// ---- The file --------------------------------------------------------------------------------

// Returns the file's bytes, for free(), with a NUL behind them; NULL with a message if it cannot be
// read.
static char *bytes_read(const char *path, size_t *ret_size)
{
	char *bytes = or_die(malloc(FILE_MAX + 2));
	FILE *file = fopen(path, "re");
	if (!file) {
		cli_error("%s: %s", path, strerror(errno));
		free(bytes);
		return NULL;
	}
	*ret_size = fread(bytes, 1, FILE_MAX + 1, file);
	bool failed = ferror(file);
	if (failed)
		cli_error("%s: %s", path, strerror(errno));
	else if (*ret_size > FILE_MAX)
		cli_error("%s: more than 1 MiB, expected a policy", path);
	fclose(file);
	bytes[*ret_size] = 0;
	if (!failed && *ret_size <= FILE_MAX)
		return bytes;
	free(bytes);
	return NULL;
}

// Returns false, and notes it, if there is something else than text in the line.
static bool is_text(struct policy_text *text, struct policy_word word)
{
	for (size_t i = 0; i < word.length; i++) {
		unsigned char c = (unsigned char)word.text[i];
		if ((c >= ' ' || c == '\t') && c != 0x7f)
			continue;
		policy_refuse(text, policy_word_part(word, i, 1), "byte 0x%02x, expected text", c);
		return false;
	}
	return true;
}

int policy_text_read(const char *path, struct policy_text *ret_text)
{
	struct policy_text text = {.path = path};
	struct line line;
	size_t size;
	char *bytes = bytes_read(path, &size);
	if (!bytes)
		return EXIT_PORTFENCE;
	size_t at = size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3) ? 3 : 0;
	for (unsigned number = 1; at < size && !text.is_binary; number++) {
		const char *end = memchr(bytes + at, '\n', size - at);
		size_t length = end ? (size_t)(end - bytes) - at : size - at;
		size_t shown = length && end && end[-1] == '\r' ? length - 1 : length;
		line.word = (struct policy_word){0};
		word_add(&line.word, bytes + at, shown, (struct policy_place){number, 1}, false);
		line.word.text[shown] = 0;
		text.is_binary = !is_text(&text, line.word);
		if (!text.is_binary)
			read_line(&text, &line);
		word_free(line.word);
		at += length + 1;
	}
	free(bytes);
	*ret_text = text;
	return 0;
}
