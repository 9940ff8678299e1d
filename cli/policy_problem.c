// SPDX-License-Identifier: MIT
// The words of a policy file, and what is said of those that are wrong.
#include "cli.h"
#include "policy_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SHOWN 60

// ---- Words -----------------------------------------------------------------------------------

struct policy_word policy_word_part(struct policy_word word, size_t from, size_t length)
{
	return (struct policy_word){word.text + from, word.place + from, length};
}

struct policy_word policy_word_trim(struct policy_word word)
{
	size_t from = 0, end = word.length;
	while (from < end && policy_is_blank(word.text[from]))
		from++;
	while (end > from && policy_is_blank(word.text[end - 1]))
		end--;
	return policy_word_part(word, from, end - from);
}

bool policy_word_next(struct policy_word *rest, struct policy_word *ret_word)
{
	struct policy_word word = policy_word_trim(*rest);
	size_t end = 0;
	while (end < word.length && !policy_is_blank(word.text[end]))
		end++;
	*rest = policy_word_part(word, end, word.length - end);
	*ret_word = policy_word_part(word, 0, end);
	return end > 0;
}

bool policy_word_is(struct policy_word word, const char *text)
{
	return word.length == strlen(text) && !memcmp(word.text, text, word.length);
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
	if (vasprintf(&why, format, arguments) < 0 || asprintf(&line, "'%s': %s", shown, why) < 0)
		exit(cli_error("out of memory"));
	va_end(arguments);
	free(why);

	text->problem = policy_grown(text->problem, text->problems, sizeof *text->problem);
	text->problem[text->problems++] = (struct policy_problem){*word.place, line};
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
	size_t nearest = word.length < 5 ? 2 : 3, used = 0;
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
