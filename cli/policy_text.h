// SPDX-License-Identifier: MIT
// The text of a policy file: its sections, keys and values, where they stand, and what is wrong.
#ifndef PF_POLICY_TEXT_H
#define PF_POLICY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

// A line and a byte in it, both from 1.
struct policy_place {
	unsigned line, column;
};

// Some bytes, and where each of them stands; place[length] is where they end.
struct policy_word {
	char *text; // not NUL-terminated
	struct policy_place *place;
	size_t length;
};

// What "[KIND NAME]" begins.
struct policy_section {
	struct policy_word header; // "KIND NAME"
	struct policy_word kind;   // a part of it; empty if the line was refused
	struct policy_word name;   // a part of it
	bool is_refused;           // something is wrong with the line already
	bool is_damaged;           // a line of it was refused: something may be missing
};

struct policy_entry {
	size_t section; // its place among the sections
	struct policy_word key;
	struct policy_word value; // all its lines, variables replaced
	bool is_refused;          // something is wrong with the value already
};

struct policy_problem {
	struct policy_place place;
	char *line;
};

struct policy_text {
	const char *path;
	struct policy_section *section;
	struct policy_entry *entry;
	struct policy_problem *problem;
	size_t sections, entries, problems;
	bool is_binary; // it is no text, and was not read to its end
};

// Reads a file. What is wrong in it goes to the problems. Returns 0, or EXIT_PORTFENCE with a
// message if the file cannot be read.
int policy_text_read(const char *path, struct policy_text *ret_text);
void policy_text_free(struct policy_text *text);

// Returns the section's entry with this key, or NULL.
const struct policy_entry *policy_text_find(
	const struct policy_text *text, size_t section, const char *key);

// Notes a problem: the word in quotes, and what is wrong with it.
__attribute__((format(printf, 3, 4))) void policy_refuse(
	struct policy_text *text, struct policy_word word, const char *format, ...);

// Notes that a word is none of those known (up to a NULL), naming the one that was probably meant,
// or all. `what` is "key" or the like.
void policy_refuse_unknown(struct policy_text *text, struct policy_word word, const char *what,
	const char *const *known);

// Prints the problems, ordered by place. Returns 0 if there is none, else EXIT_PORTFENCE.
int policy_text_report(struct policy_text *text);

// Takes the next word off `rest`, up to a blank. Returns false at the end.
bool policy_word_next(struct policy_word *rest, struct policy_word *ret_word);

// Returns `length` bytes of the word.
struct policy_word policy_word_part(struct policy_word word, size_t from, size_t length);

// Returns the word without the blanks around it.
struct policy_word policy_word_trim(struct policy_word word);
bool policy_word_is(struct policy_word word, const char *text);

static inline bool policy_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

// Returns the array of `count` elements with room for one more; it doubles whenever it is full.
void *policy_grown(void *array, size_t count, size_t size);

#define POLICY_TEXT __attribute__((cleanup(policy_text_free))) struct policy_text

#endif
