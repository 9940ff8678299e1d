// SPDX-License-Identifier: MIT
// The text of a policy file. libinih says what a line is, one line at a time: so line and column
// are known, and what it would cut off silently (a line of 200 bytes) is seen here.
#include "policy_text.h"

#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)
// libinih's own default of 200, less "\r\n" and NUL.
#define LINE_MAX_BYTES 197u
#define WORD_SHOWN 60

// ---- Memory ----------------------------------------------------------------------------------

static void *or_die(void *memory)
{
	if (!memory)
		exit(cli_error("out of memory"));
	return memory;
}

// Returns the array with room for one more element. It doubles whenever it is full.
static void *grown(void *array, size_t count, size_t size)
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

// ---- Words -----------------------------------------------------------------------------------

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct policy_word policy_word_part(struct policy_word word, size_t from, size_t length)
{
	return (struct policy_word){word.text + from, word.place + from, length};
}

struct policy_word policy_word_trim(struct policy_word word)
{
	size_t from = 0, end = word.length;
	while (from < end && is_blank(word.text[from]))
		from++;
	while (end > from && is_blank(word.text[end - 1]))
		end--;
	return policy_word_part(word, from, end - from);
}

bool policy_word_next(struct policy_word *rest, struct policy_word *ret_word)
{
	struct policy_word word = policy_word_trim(*rest);
	size_t end = 0;
	while (end < word.length && !is_blank(word.text[end]))
		end++;
	*rest = policy_word_part(word, end, word.length - end);
	*ret_word = policy_word_part(word, 0, end);
	return end > 0;
}

bool policy_word_is(struct policy_word word, const char *text)
{
	return word.length == strlen(text) && !memcmp(word.text, text, word.length);
}

const struct policy_entry *policy_text_find(
	const struct policy_text *text, size_t section, const char *key)
{
	for (size_t i = 0; i < text->entries; i++)
		if (text->entry[i].section == section && policy_word_is(text->entry[i].key, key))
			return &text->entry[i];
	return NULL;
}

// ---- Problems --------------------------------------------------------------------------------

void policy_refuse(struct policy_text *text, struct policy_word word, const char *format, ...)
{
	char shown[WORD_SHOWN + 4], *why, *line;
	size_t length = word.length < WORD_SHOWN ? word.length : WORD_SHOWN;
	for (size_t i = 0; i < length; i++)
		shown[i] = (char)(isprint((unsigned char)word.text[i]) ? word.text[i] : '?');
	strcpy(shown + length, length < word.length ? "..." : "");

	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&why, format, arguments) < 0)
		why = NULL;
	va_end(arguments);
	or_die(why);
	if (asprintf(&line, "'%s': %s", shown, why) < 0)
		line = NULL;
	free(why);

	text->problem = grown(text->problem, text->problems, sizeof *text->problem);
	text->problem[text->problems++] = (struct policy_problem){*word.place, or_die(line)};
}

// Returns how many characters are to be changed, added, left out or swapped with their neighbour
// to get from one word to the other; more than 2 for far ones. Case does not count.
static size_t distance(struct policy_word word, const char *other)
{
	enum { LONGEST = 40 };
	size_t rows[3][LONGEST + 1], length = strlen(other);
	if (length > LONGEST || word.length > LONGEST)
		return LONGEST;
	for (size_t j = 0; j <= length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= word.length; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3];
		int c = tolower((unsigned char)word.text[i - 1]);
		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t best = above[j - 1] + (c != other[j - 1]);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && c == other[j - 2] &&
				tolower((unsigned char)word.text[i - 2]) == other[j - 1] &&
				rows[(i + 1) % 3][j - 2] + 1 < best)
				best = rows[(i + 1) % 3][j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[word.length % 3][length];
}

void policy_refuse_unknown(struct policy_text *text, struct policy_word word, const char *what,
	const char *const *known)
{
	const char *meant = NULL;
	char all[1024] = "";
	size_t nearest = 3, used = 0;
	for (size_t i = 0; known[i]; i++) {
		size_t away = distance(word, known[i]);
		if (away < nearest && away < word.length) {
			nearest = away;
			meant = known[i];
		}
		int added = snprintf(all + used, sizeof all - used, "%s%s",
			i == 0                 ? ""
				: known[i + 1] ? ", "
					       : " or ",
			known[i]);
		used = used + (size_t)added < sizeof all ? used + (size_t)added : sizeof all - 1;
	}
	if (meant)
		policy_refuse(text, word, "no such %s, did you mean '%s'?", what, meant);
	else
		policy_refuse(text, word, "no such %s, expected %s", what, all);
}

static int problem_compare(const void *a, const void *b)
{
	const struct policy_problem *one = a, *other = b;
	if (one->place.line != other->place.line)
		return one->place.line < other->place.line ? -1 : 1;
	return one->place.column < other->place.column ? -1
						       : one->place.column > other->place.column;
}

int policy_text_report(struct policy_text *text)
{
	if (text->problems)
		qsort(text->problem, text->problems, sizeof *text->problem, problem_compare);
	for (size_t i = 0; i < text->problems; i++)
		cli_error("%s:%u:%u: %s", text->path, text->problem[i].place.line,
			text->problem[i].place.column, text->problem[i].line);
	return text->problems ? EXIT_PORTFENCE : 0;
}

// ---- Lines -----------------------------------------------------------------------------------

// A line of the file, and what libinih makes of it.
struct line {
	struct policy_word word; // without its end
	char section[LINE_MAX_BYTES + 8], key[LINE_MAX_BYTES + 8], value[LINE_MAX_BYTES + 8];
};

static int line_seen(void *arg, const char *section, const char *key, const char *value)
{
	struct line *line = arg;
	snprintf(line->section, sizeof line->section, "%s", section);
	snprintf(line->key, sizeof line->key, "%s", key);
	snprintf(line->value, sizeof line->value, "%s", value);
	return 1;
}

// Has libinih read the line, with text of ours around it. Returns false if it does not like it.
static bool line_parse(struct line *line, const char *before, const char *behind)
{
	char whole[LINE_MAX_BYTES + 8];
	snprintf(whole, sizeof whole, "%s%.*s%s\n", before, (int)line->word.length, line->word.text,
		behind);
	return ini_parse_string(whole, line_seen, line) == 0;
}

// Adds the bytes to the entry's value, ${VARIABLE} replaced and $$ as $.
static void value_add(struct policy_text *text, struct policy_entry *entry, struct policy_word raw)
{
	for (size_t i = 0; i < raw.length; i++) {
		struct policy_word rest = policy_word_part(raw, i, raw.length - i);
		if (rest.text[0] == '#' && i > 0 && is_blank(raw.text[i - 1])) {
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
	text->section = grown(text->section, text->sections, sizeof *text->section);
	text->section[text->sections++] = section;
}

static struct policy_entry *entry_add(struct policy_text *text, struct policy_word key)
{
	struct policy_entry entry = {.section = text->sections - 1};
	word_add(&entry.key, key.text, key.length, *key.place, false);
	word_add(&entry.value, "", 0, key.place[key.length], false);
	text->entry = grown(text->entry, text->entries, sizeof *text->entry);
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
	if (!line_parse(line, "", "")) {
		policy_refuse(text, trimmed, "no '=', expected KEY = VALUE");
		return;
	}
	if (!text->sections) {
		policy_refuse(text, policy_word_part(trimmed, 0, strlen(line->key)),
			"before the first section, expected [pool NAME] or the like above it");
		section_add(text, trimmed, true);
	}
	size_t from = strcspn(trimmed.text, "=:") + 1;
	while (from < trimmed.length && is_blank(trimmed.text[from]))
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
	return is_blank(line.text[0]) && !memchr(trimmed.text, '=', trimmed.length) &&
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
