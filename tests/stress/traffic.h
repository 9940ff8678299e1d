// SPDX-License-Identifier: MIT
// What a worker does with sockets: one random step after the other, each looked at from all sides.
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "stress.h"

#include <stdbool.h>

// What a worker was told.
struct orders {
	unsigned first, last; // ports it may come from
	unsigned most;        // fds it holds at a time
	bool reuse;           // SO_REUSEADDR and SO_REUSEPORT, too
};

extern struct page *page;
extern struct orders orders;
extern _Thread_local _Atomic(uint64_t) *watch; // this thread's call

// A call of the fence's: how long it takes is watched. On success errno must be what it was.
// Evaluates to the call's result.
#define CALL(call) call_end(__LINE__, (call_begin(__LINE__), (long)(call)))

void call_begin(int line);
long call_end(int line, long result);

// Says on stderr what is wrong; the driver counts the lines.
void finding(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Adds to what the closing line tells.
void count(enum count what);

// Does one random thing.
void traffic_step(uint64_t *seed);

// Opens and closes sockets in threads, some of them under each other's hands.
void traffic_threads(uint64_t *seed, struct slot *slot);

// Takes over the fds that another image left open.
void traffic_adopt(void);

// Closes all that is held, at once or one by one.
void traffic_close_all(uint64_t *seed);

// Says that another process is about to have copies of all that is held.
void traffic_share(void);

// Returns true if some socket must not be copied in ways that its process cannot see.
bool traffic_is_shy(void);

// Returns an fd that is held, or -1.
int traffic_any(uint64_t *seed);

#endif
