// SPDX-License-Identifier: MIT
// portfence who: which program has a port, or had it.
//
// Who has it now, the kernel knows. Who had it, and since when, the rings remember, as far as they
// reach back. That a lease ended is told by nobody; but the port went to somebody else for the same
// destination, or has no socket any more.
#include "history.h"
#include "json.h"
#include "moment.h"

#include "util.h"

#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: portfence who [--at TIME] [--json] PORT\n"
	"\n"
	"Say which program has a port of a pool, or, if none has it, which had it last.\n"
	"\n"
	"      --at TIME   which program had it then: 04:10, 04:10:59, 2026-11-23T04:10:59.123,\n"
	"                  with Z or +01:00 behind it if it is not local time; -5min, '5 min ago'\n"
	"      --json      an array of objects, see portfence(1)\n"
	"  -h, --help      show this\n"
	"\n"
	"HOW is as in portfence log, or 'foreign' for a program outside the fence. The exit "
	"status\n"
	"is 1 if nothing is known.\n";

struct question {
	uint16_t port;
	const char *at; // NULL: now
	struct cli_moment moment;
	bool json;
};

// What is known of the port.
struct answer {
	uint16_t port;
	bool pool; // it is in one
	struct cli_processes *processes;
	struct cli_leases leases; // sockets
	struct cli_history history;
	struct cli_table *table;
	struct json_object *array; // NULL: the table is shown
	unsigned holders;          // in either
};

// One who has or had it.
struct holder {
	struct cli_taken taken; // time_ns 0: not known
	bool foreign;
	uint64_t ended_by; // 0: not known
};

// Returns true if the two cannot have had the port at the same time.
static bool is_rival(const struct cli_taken *one, const struct cli_taken *other)
{
	const struct pf_endpoint *a = &one->lease.peer, *b = &other->lease.peer;
	if (one->lease.protocol != other->lease.protocol || strcmp(one->pool, other->pool) != 0)
		return false;
	return one->lease.protocol == IPPROTO_UDP || !a->port || !b->port ||
		pf_endpoint_hash(a) == pf_endpoint_hash(b);
}

// Returns the holder that a socket is, without what the rings know of it.
static struct holder holder_of(const struct cli_lease *socket)
{
	struct holder holder = {.taken.live = true, .foreign = socket->kind == CLI_FOREIGN};
	struct pf_lease *lease = &holder.taken.lease;
	strcpy(holder.taken.pool, socket->name);
	lease->protocol = socket->socket.protocol;
	lease->port = socket->socket.local.port;
	lease->peer = socket->socket.peer;
	lease->pid = (uint32_t)socket->pid;
	lease->uid = socket->socket.uid;
	if (socket->command)
		snprintf(lease->command, sizeof lease->command, "%s", socket->command);
	return holder;
}

// Completes what the kernel says by what the rings do, whose entry is marked as live.
static void holder_complete(struct holder *holder, const struct cli_history *history)
{
	for (size_t i = history->count; i-- > 0 && !holder->foreign;) {
		struct cli_taken *taken = &history->taken[i];
		if (!is_rival(taken, &holder->taken))
			continue;
		holder->taken.lease.time_ns = taken->lease.time_ns;
		holder->taken.lease.how = taken->lease.how;
		if (!holder->taken.lease.peer.port) // UDP: the first one
			holder->taken.lease.peer = taken->lease.peer;
		if (!holder->taken.lease.pid) {
			holder->taken.lease.pid = taken->lease.pid;
			memcpy(holder->taken.lease.command, taken->lease.command, PF_COMMAND);
		}
		taken->live = true;
		return;
	}
}

// Returns when somebody else took the port that the history's entry `at` is about, or 0.
static uint64_t ended_by(const struct cli_history *history, size_t at)
{
	for (size_t i = at + 1; i < history->count; i++)
		if (is_rival(&history->taken[at], &history->taken[i]))
			return history->taken[i].lease.time_ns;
	return 0;
}

// ---- The answer ------------------------------------------------------------------------------

static void segment_read(struct cli_segment *segment, void *arg)
{
	struct answer *answer = arg;
	struct cli_leases *leases = &answer->leases;
	size_t kept = leases->count;
	for (uint32_t i = 0; i < segment->segment.pools; i++)
		answer->pool |=
			pf_ranges_index(&segment->segment.pool[i].ranges, answer->port) >= 0;
	cli_leases_add(leases, segment, answer->processes);
	for (size_t i = kept; i < leases->count; i++)
		if (leases->lease[i].socket.local.port == answer->port &&
			leases->lease[i].kind != CLI_ENDING)
			leases->lease[kept++] = leases->lease[i];
	leases->count = kept;
}

static void holder_add(struct answer *answer, const struct holder *holder)
{
	const struct pf_lease *lease = &holder->taken.lease;
	char since[CLI_MOMENT] = "-", until[CLI_MOMENT] = "", peer[CLI_ENDPOINT];
	const char *how = holder->foreign ? "foreign" : cli_how(lease);
	answer->holders++;
	if (answer->array) {
		struct json_object *object = json_object_new_object();
		cli_json_taken(object, &holder->taken);
		cli_json_bool(object, "foreign", holder->foreign);
		cli_json_bool(object, "live", holder->taken.live);
		cli_json_time(object, "since", lease->time_ns);
		cli_json_time(object, "ended_by", holder->ended_by);
		json_object_array_add(answer->array, object);
		return;
	}
	if (lease->time_ns)
		cli_moment_text(lease->time_ns, since);
	if (holder->ended_by)
		cli_moment_text(holder->ended_by, until);
	cli_endpoint(&lease->peer, peer);
	cli_table_add(answer->table, "%s", cli_protocol(lease->protocol));
	cli_table_add(answer->table, "%s", peer);
	if (lease->pid)
		cli_table_add(answer->table, "%u", lease->pid);
	else
		cli_table_add(answer->table, "-");
	cli_table_add(answer->table, "%s", lease->command[0] ? lease->command : "-");
	cli_table_add(answer->table, "%s", cli_user(lease->uid));
	cli_table_add(answer->table, "%s", holder->taken.pool);
	cli_table_add(answer->table, "%s", how ? how : "-");
	cli_table_add(answer->table, "%s", since);
	cli_table_add(answer->table, "%s%s",
		holder->taken.live         ? "still"
			: holder->ended_by ? "ended by "
					   : "ended",
		until);
}

// Adds those who had the port at the moment, or without one who had it last, if nobody has it now.
static void past_add(struct answer *answer, const struct question *question)
{
	struct cli_history *history = &answer->history;
	for (size_t i = question->at || !history->count ? 0 : history->count - 1;
		i < history->count; i++) {
		struct holder holder = {
			.taken = history->taken[i], .ended_by = ended_by(history, i)};
		bool over = holder.ended_by && holder.ended_by <= question->moment.from_ns;
		if (!holder.taken.live && !over &&
			holder.taken.lease.time_ns <= question->moment.to_ns)
			holder_add(answer, &holder);
	}
}

static int nothing_say(const struct answer *answer, const struct question *question)
{
	char from[CLI_MOMENT];
	uint64_t oldest = answer->history.oldest_ns;
	cli_moment_text(oldest, from);
	if (!answer->pool)
		fprintf(stderr, "portfence: port %u is in no pool here\n", question->port);
	else if (!question->at)
		fprintf(stderr, "portfence: nothing is known of port %u\n", question->port);
	else if (oldest <= question->moment.to_ns)
		fprintf(stderr, "portfence: nothing is known of port %u at %s\n", question->port,
			question->at);
	else
		fprintf(stderr, "portfence: nothing is known of port %u at %s, only from %s on\n",
			question->port, question->at, from);
	return 1;
}

static int answer_find(struct answer *answer, const struct question *question)
{
	const struct cli_filter filter = {.ports = {.count = 1,
						  .ports = 1,
						  .step = 1,
						  .range = {{question->port, question->port}}}};
	answer->history.filter = &filter;
	if (cli_history_read(&answer->history) || cli_segments(segment_read, answer))
		return EXIT_PORTFENCE;
	for (size_t i = 0; i < answer->leases.count; i++) {
		struct holder holder = holder_of(&answer->leases.lease[i]);
		holder_complete(&holder, &answer->history);
		if (holder.taken.lease.time_ns <= question->moment.to_ns)
			holder_add(answer, &holder);
	}
	if (question->at || !answer->holders)
		past_add(answer, question);
	return answer->holders ? 0 : nothing_say(answer, question);
}

static int answer_give(const struct question *question)
{
	static const char *const heading[] = {
		"PROTO", "PEER", "PID", "COMMAND", "USER", "POOL", "HOW", "SINCE", "UNTIL"};
	CLI_PROCESSES processes = cli_processes_new();
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	struct answer answer = {.port = question->port, .processes = processes, .table = table};
	if (question->json)
		answer.array = json_object_new_array();
	int result = answer_find(&answer, question);
	if (answer.array)
		cli_json_print(answer.array);
	else if (answer.holders)
		cli_table_print(table);
	cli_leases_free(&answer.leases);
	cli_history_free(&answer.history);
	return result;
}

// ---- The question ----------------------------------------------------------------------------

static int port_read(struct question *question, const char *text)
{
	size_t digits;
	uint64_t port = pf_number(text, strlen(text), 10, &digits);
	if (!digits || text[digits] || port < 1 || port > UINT16_MAX)
		return cli_error("who: '%s' is no port", text);
	question->port = (uint16_t)port;
	return 0;
}

static int at_read(struct question *question, const char *text)
{
	question->at = text;
	return cli_moment_read(text, pf_time_ns(pf_now_ms()), &question->moment) < 0
		? cli_error("who: '%s' is no time; see portfence who --help", text)
		: 0;
}

int cli_who(int argc, char **argv)
{
	enum { OPTION_AT = 256, OPTION_JSON };
	static const struct option options[] = {
		{"at", required_argument, NULL, OPTION_AT},
		{"json", no_argument, NULL, OPTION_JSON},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct question question = {.moment = {UINT64_MAX, UINT64_MAX}};
	int option, result = 0;
	opterr = 0;
	while (!result && (option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		if (option == OPTION_JSON)
			question.json = true;
		else if (option == OPTION_AT)
			result = at_read(&question, optarg);
		else
			result = cli_option_refuse(argv[0], argv, option);
	}
	if (!result && optind == argc)
		result = cli_error("who: no port was given; see portfence who --help");
	if (!result)
		result = port_read(&question, argv[optind]);
	if (!result && optind + 1 < argc)
		result = cli_error("who: '%s' is one argument too many", argv[optind + 1]);
	return result ? result : answer_give(&question);
}
