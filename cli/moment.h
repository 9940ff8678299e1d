// SPDX-License-Identifier: MIT
// Points in time, as people write and read them.
#ifndef PF_MOMENT_H
#define PF_MOMENT_H

#include <stdint.h>

// All that a text may mean: 04:10 is a whole minute. In nanoseconds since 1970, both ends included.
struct cli_moment {
	uint64_t from_ns, to_ns;
};

// Reads "04:10", "04:10:59", "2026-11-23", "2026-11-23 04:10:59.123", with T for the blank and with
// Z or +hh:mm behind it; or how long ago: "-5min", "5 min ago", "-90" (seconds); or "now". A time
// without a date is the last one that was. Returns 0 or -EINVAL.
int cli_moment_read(const char *text, uint64_t now_ns, struct cli_moment *ret_moment);

// Writes a time, down to milliseconds, into text[CLI_MOMENT]: as local time; or with its zone, as
// RFC 3339 has it. cli_moment_read reads both.
#define CLI_MOMENT 48
void cli_moment_text(uint64_t ns, char *text);
void cli_moment_text_zone(uint64_t ns, char *text);

#endif
