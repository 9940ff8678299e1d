// SPDX-License-Identifier: MIT
// Points in time, as people write and read them.
#include "moment.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000ull

static const char *blanks_skip(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

// Returns the seconds of a unit, and what is behind it in *text; 0 for none.
static uint64_t unit_read(const char **text)
{
	static const struct {
		const char *name;
		uint64_t seconds;
	} units[] = {
		{"s", 1},
		{"sec", 1},
		{"secs", 1},
		{"second", 1},
		{"seconds", 1},
		{"m", 60},
		{"min", 60},
		{"mins", 60},
		{"minute", 60},
		{"minutes", 60},
		{"h", 3600},
		{"hour", 3600},
		{"hours", 3600},
		{"d", 86400},
		{"day", 86400},
		{"days", 86400},
	};
	size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz");
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(units[i].name) == length && !strncmp(*text, units[i].name, length)) {
			*text += length;
			return units[i].seconds;
		}
	return 0;
}

// Reads "-5min", "-90", "5 min ago". Returns 0 or -EINVAL.
static int ago_read(const char *text, uint64_t now_ns, struct cli_moment *ret_moment)
{
	bool minus = *text == '-';
	char *end;
	text = blanks_skip(text + minus);
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	uint64_t count = strtoull(text, &end, 10), unit = 1;
	text = blanks_skip(end);
	if (!minus || *text)
		unit = unit_read(&text);
	text = blanks_skip(text);
	if (!unit || strcmp(text, minus ? "" : "ago") != 0 || count > now_ns / SECOND / unit)
		return -EINVAL;
	ret_moment->from_ns = ret_moment->to_ns = now_ns - count * unit * SECOND;
	return 0;
}

// Reads ".123" behind the seconds. Returns what it is in nanoseconds, and in ret_step how long the
// last digit is.
static uint64_t fraction_read(const char **text, uint64_t *ret_step)
{
	uint64_t fraction = 0;
	if (**text != '.' || !isdigit((unsigned char)(*text)[1]))
		return 0;
	for ((*text)++; isdigit((unsigned char)**text); (*text)++) {
		*ret_step /= 10;
		fraction += *ret_step * (uint64_t)(**text - '0');
	}
	if (!*ret_step)
		*ret_step = 1;
	return fraction;
}

// Returns the seconds since 1970 of a broken-down time, or -1 for one that never is. What stands
// behind it is its zone, if anything.
static time_t seconds_of(const struct tm *broken, const char *zone)
{
	struct tm filled = *broken, offset = {0};
	time_t seconds;
	filled.tm_isdst = -1;
	if (*zone) {
		const char *end = strptime(zone, " %z", &offset);
		seconds = end && !*end ? timegm(&filled) - offset.tm_gmtoff : -1;
	} else
		seconds = mktime(&filled);
	// 30 February is another day, and the hour that summer time skips another hour.
	bool same = filled.tm_mday == broken->tm_mday && filled.tm_hour == broken->tm_hour &&
		filled.tm_min == broken->tm_min;
	return same ? seconds : -1;
}

// Reads `text` by a format of strptime(3). What it does not say is in `broken`; what it says is
// `step` long. Returns 0 or -EINVAL.
static int format_read(const char *text, const char *format, struct tm broken, uint64_t step,
	struct cli_moment *ret_moment)
{
	const char *end = strptime(text, format, &broken);
	if (!end)
		return -EINVAL;
	uint64_t fraction = step == SECOND ? fraction_read(&end, &step) : 0;
	time_t seconds = seconds_of(&broken, end);
	if (seconds < 0)
		return -EINVAL;
	ret_moment->from_ns = (uint64_t)seconds * SECOND + fraction;
	ret_moment->to_ns = ret_moment->from_ns + step - 1;
	return 0;
}

// Reads a time without a date: today's, or yesterday's if that is still to come.
static int time_read(const char *text, time_t now, struct cli_moment *ret_moment)
{
	static const struct {
		const char *format;
		uint64_t step;
	} formats[] = {{"%H:%M:%S", SECOND}, {"%H:%M", 60 * SECOND}};
	for (int days = 0; days < 2; days++) {
		struct tm day;
		localtime_r(&now, &day);
		day.tm_sec = 0;
		day.tm_mday -= days;
		day.tm_isdst = -1;
		mktime(&day); // a 0th becomes a 31st
		for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
			if (format_read(text, formats[i].format, day, formats[i].step,
				    ret_moment) == 0 &&
				ret_moment->from_ns <= (uint64_t)now * SECOND + SECOND - 1)
				return 0;
	}
	return -EINVAL;
}

int cli_moment_read(const char *text, uint64_t now_ns, struct cli_moment *ret_moment)
{
	static const struct {
		const char *format;
		uint64_t step;
	} formats[] = {
		{"%Y-%m-%dT%H:%M:%S", SECOND},
		{"%Y-%m-%d %H:%M:%S", SECOND},
		{"%Y-%m-%dT%H:%M", 60 * SECOND},
		{"%Y-%m-%d %H:%M", 60 * SECOND},
		{"%Y-%m-%d", 86400 * SECOND},
	};
	text = blanks_skip(text);
	if (!strcmp(text, "now")) {
		ret_moment->from_ns = ret_moment->to_ns = now_ns;
		return 0;
	}
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (format_read(text, formats[i].format, (struct tm){0}, formats[i].step,
			    ret_moment) == 0)
			return 0;
	if (time_read(text, (time_t)(now_ns / SECOND), ret_moment) == 0)
		return 0;
	return ago_read(text, now_ns, ret_moment);
}

void cli_moment_text(uint64_t ns, char *text)
{
	time_t seconds = (time_t)(ns / SECOND);
	struct tm broken;
	localtime_r(&seconds, &broken);
	size_t length = strftime(text, CLI_MOMENT, "%Y-%m-%dT%H:%M:%S", &broken);
	snprintf(text + length, CLI_MOMENT - length, ".%03u", (unsigned)(ns % SECOND / 1000000));
}

void cli_moment_text_zone(uint64_t ns, char *text)
{
	time_t seconds = (time_t)(ns / SECOND);
	struct tm broken;
	localtime_r(&seconds, &broken);
	long minutes = broken.tm_gmtoff / 60;
	cli_moment_text(ns, text);
	size_t length = strlen(text);
	snprintf(text + length, CLI_MOMENT - length, "%c%02ld:%02ld", minutes < 0 ? '-' : '+',
		labs(minutes) / 60, labs(minutes) % 60);
}
