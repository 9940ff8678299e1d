// SPDX-License-Identifier: MIT
// The leases that the segments' rings remember.
#include "history.h"

#include "json.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What was in a ring when it was last looked at. The numbers alone do not tell: a segment that is
// made again counts from 0 again.
struct watch {
	struct watch *next;
	char path[PF_SEGMENT_PATH];
	struct {
		uint64_t time_ns; // 0: nothing
		uint32_t number;
	} seen[PF_RING_MAX];
};

const char *cli_how(const struct pf_lease *lease)
{
	static const char *const names[] = {[PF_HOW_LATE] = "late",
		[PF_HOW_BIND] = "bind",
		[PF_HOW_ANY] = "any",
		[PF_HOW_PORT] = "port",
		[PF_HOW_LISTEN] = "listen"};
	return names[lease->how];
}

const char *cli_user(uint32_t uid)
{
	static char number[16];
	const struct passwd *user = getpwuid(uid);
	snprintf(number, sizeof number, "%u", uid);
	return user ? user->pw_name : number;
}

void cli_json_taken(struct json_object *object, const struct cli_taken *taken)
{
	const struct pf_lease *lease = &taken->lease;
	cli_json_text(object, "pool", taken->pool);
	cli_json_text(object, "protocol", cli_protocol(lease->protocol));
	cli_json_number(object, "port", lease->port);
	cli_json_endpoint(object, "peer_address", "peer_port", &lease->peer);
	cli_json_text(object, "how", cli_how(lease));
	cli_json_some(object, "pid", lease->pid);
	cli_json_text(object, "command", lease->command[0] ? lease->command : NULL);
	cli_json_number(object, "uid", lease->uid);
	cli_json_text(object, "user", cli_user(lease->uid));
}

// Returns `memory`, or ends the program.
static void *or_die(void *memory)
{
	if (!memory)
		exit(cli_error("out of memory"));
	return memory;
}

// Returns the watch over the ring of this segment.
static struct watch *watch_over(struct cli_history *history, const char *path)
{
	struct watch *watch = history->watches;
	while (watch && strcmp(watch->path, path) != 0)
		watch = watch->next;
	if (watch)
		return watch;
	watch = or_die(calloc(1, sizeof *watch));
	strcpy(watch->path, path);
	watch->next = history->watches;
	return history->watches = watch;
}

static void taken_add(
	struct cli_history *history, const struct pf_lease *lease, const struct pf_pool *pool)
{
	if (history->count == history->room) {
		history->room = history->room ? 2 * history->room : PF_RING_MIN;
		history->taken =
			or_die(realloc(history->taken, history->room * sizeof *history->taken));
	}
	struct cli_taken *taken = &history->taken[history->count++];
	taken->lease = *lease;
	taken->live = false;
	cli_clean(taken->lease.command);
	strcpy(taken->pool, pool->name);
}

// Returns true for an entry that was not at its place before, and remembers it.
static bool is_new(struct watch *watch, uint32_t place, const struct pf_lease *lease)
{
	if (watch->seen[place].time_ns == lease->time_ns &&
		watch->seen[place].number == lease->number)
		return false;
	watch->seen[place].time_ns = lease->time_ns;
	watch->seen[place].number = lease->number;
	return true;
}

static void segment_read(struct cli_segment *segment, void *arg)
{
	struct cli_history *history = arg;
	struct watch *watch = watch_over(history, segment->path);
	const struct pf_segment *shared = &segment->segment;
	for (uint32_t place = 0; place < shared->ring.entries; place++) {
		struct pf_lease lease;
		if (!pf_ring_read(&shared->ring, place, &lease) || lease.pool >= shared->pools ||
			!is_new(watch, place, &lease))
			continue;
		const struct pf_pool *pool = &shared->pool[lease.pool];
		if (!history->oldest_ns || lease.time_ns < history->oldest_ns)
			history->oldest_ns = lease.time_ns;
		if (pf_ranges_index(&pool->ranges, lease.port) >= 0 &&
			cli_filter_passes(
				history->filter, pool, lease.port, (pid_t)lease.pid, &lease.peer))
			taken_add(history, &lease, pool);
	}
}

static int compare(const void *a, const void *b)
{
	const struct pf_lease *one = &((const struct cli_taken *)a)->lease;
	const struct pf_lease *other = &((const struct cli_taken *)b)->lease;
	if (one->time_ns != other->time_ns)
		return one->time_ns < other->time_ns ? -1 : 1;
	return (int32_t)(one->number - other->number) < 0 ? -1 : 1;
}

int cli_history_read(struct cli_history *history)
{
	history->count = 0;
	if (cli_segments(segment_read, history))
		return EXIT_PORTFENCE;
	if (history->count)
		qsort(history->taken, history->count, sizeof *history->taken, compare);
	return 0;
}

void cli_history_free(struct cli_history *history)
{
	while (history->watches) {
		struct watch *next = history->watches->next;
		free(history->watches);
		history->watches = next;
	}
	free(history->taken);
}
