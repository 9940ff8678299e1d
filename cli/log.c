// SPDX-License-Identifier: MIT
// portfence log: the leases that were taken last, and those that are taken.
#include "history.h"
#include "json.h"
#include "moment.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence log [OPTION]...\n"
	"\n"
	"Show the leases that were taken last, the oldest first; 1,024 to 4,096 are remembered.\n"
	"HOW is late or bind (a connect or send, by that claim), any (bind to port 0), port (bind\n"
	"to this one) or listen.\n"
	"\n"
	"  -f, --follow      go on with what is taken from now on; begins with the last 10\n"
	"  -n, --lines N     begin with the last N\n"
	"      --no-header   no first line\n"
	"      --pool POOL   only that pool's: its name, or its ports as status shows them\n"
	"      --port PORTS  only these local ports: 20000-20099,20200\n"
	"      --pid PID     only this process's\n"
	"      --to PEER     only to ADDRESS[/BITS][:PORTS] or *:PORTS\n"
	"      --json        an array of objects, see portfence(1); with -f one a line\n"
	"  -h, --help        show this\n";

#define FOLLOW_MS 100
#define FOLLOW_LINES 10

struct listing {
	bool follow, json, no_header;
	bool some;    // not all that is remembered:
	size_t lines; // so many
	struct cli_filter filter;
	struct json_object *array; // NULL: an object a line
};

static void text_show(const struct cli_taken *taken)
{
	const struct pf_lease *lease = &taken->lease;
	char time[CLI_MOMENT], peer[CLI_ENDPOINT];
	cli_moment_text(lease->time_ns, time);
	cli_endpoint(&lease->peer, peer);
	printf("%-23s  %-8s  %-5s  %5u  %-21s  %-6s  %7u  %-8s  %s\n", time, taken->pool,
		cli_protocol(lease->protocol), lease->port, peer, cli_how(lease), lease->pid,
		cli_user(lease->uid), lease->command);
}

static void json_show(const struct listing *listing, const struct cli_taken *taken)
{
	struct json_object *object = json_object_new_object();
	cli_json_time(object, "time", taken->lease.time_ns);
	cli_json_taken(object, taken);
	if (listing->array)
		json_object_array_add(listing->array, object);
	else
		cli_json_print_line(object);
}

// Shows the history from its `first` on. Returns 0, or EXIT_PORTFENCE if that does not get out.
static int show(const struct listing *listing, const struct cli_history *history, size_t first)
{
	for (size_t i = first; i < history->count; i++)
		if (listing->json)
			json_show(listing, &history->taken[i]);
		else
			text_show(&history->taken[i]);
	return fflush(stdout) ? EXIT_PORTFENCE : 0;
}

static int list(struct listing *listing)
{
	CLI_HISTORY history = {.filter = &listing->filter};
	int result = cli_history_read(&history);
	if (result)
		return result;
	if (!listing->json && !listing->no_header)
		printf("%-23s  %-8s  PROTO   PORT  %-21s  HOW         PID  USER      COMMAND\n",
			"TIME", "POOL", "PEER");
	if (listing->json && !listing->follow)
		listing->array = json_object_new_array();
	bool cut = listing->some && history.count > listing->lines;
	result = show(listing, &history, cut ? history.count - listing->lines : 0);
	if (listing->array)
		cli_json_print(listing->array);
	while (listing->follow && !result && cli_is_read(FOLLOW_MS)) {
		result = cli_history_read(&history);
		if (!result)
			result = show(listing, &history, 0);
	}
	return result;
}

enum { OPTION_JSON = CLI_FILTER_END, OPTION_NO_HEADER };

static const struct option options[] = {
	{"follow", no_argument, NULL, 'f'},
	{"lines", required_argument, NULL, 'n'},
	{"no-header", no_argument, NULL, OPTION_NO_HEADER},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, 'h'},
	CLI_FILTER_OPTIONS,
	{0},
};

static int lines_read(struct listing *listing, const char *text)
{
	char *end;
	errno = 0;
	listing->lines = strtoul(text, &end, 10);
	listing->some = true;
	if (*text < '0' || *text > '9' || *end || errno)
		return cli_error("log: '%s' is no number of lines", text);
	return 0;
}

// Takes one option. Returns 0 or EXIT_PORTFENCE.
static int option_take(struct listing *listing, char **argv, int option)
{
	switch (option) {
	case 'f':
		listing->follow = true;
		return 0;
	case 'n':
		return lines_read(listing, optarg);
	case OPTION_NO_HEADER:
		listing->no_header = true;
		return 0;
	case OPTION_JSON:
		listing->json = true;
		return 0;
	default:
		return cli_filter_option(&listing->filter, argv, option);
	}
}

int cli_log(int argc, char **argv)
{
	struct listing listing = {.follow = false};
	int option, result = 0;
	opterr = 0;
	while (!result && (option = getopt_long(argc, argv, ":fn:h", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		result = option_take(&listing, argv, option);
	}
	if (!result && optind < argc)
		result = cli_error("log: '%s' is one argument too many", argv[optind]);
	if (result)
		return result;
	if (listing.follow && !listing.some) {
		listing.some = true;
		listing.lines = FOLLOW_LINES;
	}
	signal(SIGPIPE, SIG_DFL); // whoever started us: no reader, no more to say
	return list(&listing);
}
