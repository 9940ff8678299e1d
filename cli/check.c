// SPDX-License-Identifier: MIT
// portfence check: what a policy file says, or what is wrong with it.
#include "cli.h"
#include "leases.h"
#include "policy_file.h"
#include "policy_value.h"
#include "preflight.h"

#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence check [OPTION]... [FILE]\n"
	"\n"
	"Check a policy file and show what it says: pools, rules, where the segment is.\n"
	"FILE is by default $PORTFENCE_POLICY_FILE, ~/.config/portfence.conf or "
	"/etc/portfence.conf.\n"
	"\n"
	"      --for PROGRAM       show only which rule and pool decide for PROGRAM\n"
	"  -u, --user USER         run by USER (default: you)\n"
	"  -t, --to ADDRESS:PORT   towards this destination (default: bind and listen)\n"
	"      --udp               by UDP (default: TCP)\n"
	"  -h, --help              show this\n"
	"\n"
	"Exit status: 0; 125 if there is something wrong, with one line for each error.\n";

// A call that the user asks about.
struct question {
	const char *program; // NULL: nothing is asked
	struct pf_rule_call call;
	struct pf_endpoint destination;
};

// ---- Showing -----------------------------------------------------------------------------------

// Returns a duration as a policy has it.
static const char *duration_text(uint32_t ms)
{
	static char text[16];
	snprintf(text, sizeof text, ms % 1000 ? "%ums" : "%us", ms % 1000 ? ms : ms / 1000);
	return text;
}

static const char *protocols_text(uint32_t flags)
{
	static const char *const texts[] = {"-", "tcp", "udp", "tcp udp"};
	return texts[flags & (PF_POLICY_TCP | PF_POLICY_UDP)];
}

static const char *exhausted_text(const struct pf_policy_pool *pool)
{
	static char text[32];
	snprintf(text, sizeof text, "wait %s", duration_text(pool->wait_ms));
	return pool->exhausted == PF_EXHAUSTED_WAIT        ? text
		: pool->exhausted == PF_EXHAUSTED_FALLBACK ? "fallback"
							   : "fail";
}

// Returns a number, or "-" for 0.
static const char *number_text(uint32_t number)
{
	static char text[16];
	snprintf(text, sizeof text, "%u", number);
	return number ? text : "-";
}

static const char *parity_text(const struct pf_ranges *ranges)
{
	return ranges->step == 1 ? "any" : ranges->range[0].first % 2 ? "odd" : "even";
}

static void pools_show(const struct pf_policy *policy)
{
	CLI_TABLE table = cli_table_new(11);
	static const char *const names[] = {"POOL", "SIZE", "PROTOCOLS", "SHARING", "HOLD", "QUOTA",
		"EXHAUSTED", "EXPLICIT", "PARITY", "BLOCK", "PORTS"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		cli_table_add(table, "%s", names[i]);
	for (uint32_t i = 0; i < policy->count; i++) {
		const struct pf_policy_pool *pool = &policy->pool[i];
		char ports[PF_RANGES_TEXT];
		pf_ranges_format(&pool->ranges, ports);
		cli_table_add(table, "%s", pool->name);
		cli_table_add(table, "%u", pool->ranges.ports);
		cli_table_add(table, "%s", protocols_text(pool->flags));
		cli_table_add(
			table, "%s", pool->flags & PF_POLICY_EXCLUSIVE ? "none" : "destination");
		cli_table_add(table, "%s", duration_text(pool->hold_ms));
		cli_table_add(table, "%s", number_text(pool->quota));
		cli_table_add(table, "%s", exhausted_text(pool));
		cli_table_add(table, "%s", pool->flags & PF_POLICY_DENY ? "deny" : "allow");
		cli_table_add(table, "%s", parity_text(&pool->ranges));
		cli_table_add(table, "%s", number_text(pool->block));
		cli_table_add(table, "%s", ports);
	}
	cli_table_print(table);
}

static void user_show(FILE *stream, uint32_t id)
{
	const struct passwd *user = getpwuid(id);
	user ? fprintf(stream, " %s", user->pw_name) : fprintf(stream, " %u", id);
}

static void group_show(FILE *stream, uint32_t id)
{
	const struct group *group = getgrgid(id);
	group ? fprintf(stream, " %s", group->gr_name) : fprintf(stream, " %u", id);
}

// Shows a destination as a policy has it.
static void destination_show(FILE *stream, const struct pf_rule_destination *to)
{
	char address[CLI_ENDPOINT];
	unsigned bits;
	bool has_ports = to->first != 1 || to->last != 65535;
	bool is_ipv4 = cli_network(to, address, &bits);
	bool is_bracketed = !is_ipv4 && to->prefix && has_ports;
	fprintf(stream, " %s%s", is_bracketed ? "[" : "", to->prefix ? address : "*");
	if (to->prefix && to->prefix < 128)
		fprintf(stream, "/%u", bits);
	fputs(is_bracketed ? "]" : "", stream);
	if (has_ports)
		fprintf(stream, to->first == to->last ? ":%u" : ":%u-%u", to->first, to->last);
}

// Begins a condition, or goes on with its next word.
static void condition_begin(FILE *stream, bool is_first, const char *name)
{
	if (is_first)
		fprintf(stream, "%s%s", ftell(stream) > 0 ? ", " : "", name);
}

// Returns the conditions of a rule, for free().
static char *conditions_text(const struct pf_rule *rule)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	if (!stream)
		exit(cli_error("out of memory"));
	const char *glob = rule->program;
	for (uint32_t i = 0; i < rule->programs; i++, glob += strlen(glob) + 1) {
		condition_begin(stream, i == 0, "program");
		fprintf(stream, " %s", glob);
	}
	for (uint32_t i = 0; i < rule->users; i++) {
		condition_begin(stream, i == 0, "user");
		user_show(stream, rule->user[i]);
	}
	for (uint32_t i = 0; i < rule->groups; i++) {
		condition_begin(stream, i == 0, "group");
		group_show(stream, rule->group[i]);
	}
	for (uint32_t i = 0; i < rule->destinations; i++) {
		condition_begin(stream, i == 0, "destination");
		destination_show(stream, &rule->destination[i]);
	}
	if (rule->flags != (PF_POLICY_TCP | PF_POLICY_UDP)) {
		condition_begin(stream, true, "protocol ");
		fputs(protocols_text(rule->flags), stream);
	}
	if (fclose(stream) != 0)
		exit(cli_error("out of memory"));
	return text;
}

// Returns the name of a rule's pool.
static const char *pool_name(const struct pf_policy *policy, uint32_t place)
{
	return place == PF_RULE_UNFENCED ? "none" : policy->pool[place].name;
}

// Returns true if each run has a block of the only pool for itself, and there is no more to say.
static bool is_of_runs(const struct pf_policy *policy, const struct pf_rules *rules)
{
	return rules->count == 0 && policy->count == 1 && policy->pool[0].block;
}

static void rules_show(const struct pf_policy *policy, const struct pf_rules *rules)
{
	CLI_TABLE table = cli_table_new(3);
	cli_table_add(table, "RULE");
	cli_table_add(table, "POOL");
	cli_table_add(table, "CALLS");
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct pf_rule *rule = &rules->rule[i];
		char *conditions = conditions_text(rule);
		cli_table_add(table, "%s", rule->name);
		cli_table_add(table, "%s", pool_name(policy, rule->pool));
		cli_table_add(table, "%s", *conditions ? conditions : "all");
		free(conditions);
	}
	cli_table_add(table, "-");
	bool runs = is_of_runs(policy, rules);
	cli_table_add(
		table, "%s", runs ? policy->pool[0].name : pool_name(policy, rules->fallback));
	if (runs)
		cli_table_add(table, "those of a run, which has a block for itself");
	else
		cli_table_add(table,
			rules->fallback == PF_RULE_UNFENCED ? "all others: the kernel chooses"
							    : "all others");
	cli_table_print(table);
}

static void place_show(const struct pf_policy_place *place)
{
	printf("segment in %s, ", cli_policy_dir(place));
	if (place->group == PF_POLICY_NOBODY)
		printf("each user's own, mode %04o\n", place->mode);
	else {
		fputs("shared by the group", stdout);
		group_show(stdout, place->group);
		printf(", mode %04o\n", place->mode);
	}
}

// Warns of ports that only root's programs get.
static void privileged_warn(const char *path, const struct pf_policy *policy)
{
	unsigned least = 1024;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	if (file && fscanf(file, "%u", &least) != 1)
		least = 1024;
	if (file)
		fclose(file);
	for (uint32_t i = 0; i < policy->count; i++)
		if (policy->pool[i].ranges.range[0].first < least)
			cli_error("%s: pool '%s' has ports below %u, which only privileged "
				  "programs get",
				path, policy->pool[i].name, least);
}

// ---- Asking ------------------------------------------------------------------------------------

// Says which rule and pool decide. Returns 0.
static int question_answer(const struct question *question, const struct pf_policy *policy,
	const struct pf_rules *rules)
{
	char path[PATH_MAX];
	struct cli_preflight preflight;
	struct pf_rule_call call = question->call;
	cli_preflight(question->program, &preflight);
	if (preflight.error || !realpath(preflight.path, path))
		snprintf(path, sizeof path, "%s", question->program);
	call.candidates = pf_rules_candidates(rules, path);
	int first = pf_rules_first(rules, policy, &call);
	uint32_t pool = pf_rules_pool(rules, policy, &call);

	printf("%s, user", path);
	user_show(stdout, call.user);
	printf(", %s, ", call.protocol == PF_POLICY_UDP ? "udp" : "tcp");
	if (call.destination) {
		struct pf_rule_destination to = {.prefix = 128,
			.first = call.destination->port,
			.last = call.destination->port};
		memcpy(to.address, call.destination->address, sizeof to.address);
		fputs("to", stdout);
		destination_show(stdout, &to);
	} else
		fputs("bind or listen", stdout);
	if (first >= 0)
		printf(": rule %s, ", rules->rule[first].name);
	else
		printf(": no rule, ");
	bool runs = is_of_runs(policy, rules);
	if (pool == PF_RULE_UNFENCED && !runs)
		puts("the kernel chooses");
	else {
		char ports[PF_RANGES_TEXT];
		const struct pf_policy_pool *chosen = &policy->pool[runs ? 0 : pool];
		pf_ranges_format(&chosen->ranges, ports);
		printf("%spool %s (%s)\n", runs ? "a block of " : "", chosen->name, ports);
	}
	return 0;
}

// Reads a word of the command line as one of a policy, by `read`. Returns 0 or an exit status.
static int word_read(const char *option, char *bytes,
	bool (*read)(struct policy_text *, struct policy_word, struct question *),
	struct question *ret_question)
{
	struct policy_place place[256] = {{0}};
	POLICY_TEXT text = {0};
	struct policy_word word = {bytes, place, strlen(bytes)};
	if (word.length >= sizeof place / sizeof *place)
		return cli_error("check: --%s: too long", option);
	if (word.length && read(&text, word, ret_question))
		return 0;
	return cli_error(
		"check: --%s %s", option, text.problems ? text.problem[0].line : "wants a value");
}

static bool user_read(
	struct policy_text *text, struct policy_word word, struct question *ret_question)
{
	if (!policy_user(text, word, &ret_question->call.user))
		return false;
	const struct passwd *user = getpwuid(ret_question->call.user);
	if (user)
		ret_question->call.group = user->pw_gid;
	return true;
}

static bool destination_read(
	struct policy_text *text, struct policy_word word, struct question *ret_question)
{
	struct pf_rule_destination to;
	if (!policy_destination(text, word, &to))
		return false;
	if (to.prefix != 128 || to.first != to.last) {
		policy_refuse(text, word, "expected one address and one port, as in 10.0.0.1:443");
		return false;
	}
	memcpy(ret_question->destination.address, to.address, sizeof to.address);
	ret_question->destination.port = to.first;
	ret_question->call.destination = &ret_question->destination;
	return true;
}

// Reads the options. Returns -1 to go on, or the exit status.
static int options_read(int argc, char **argv, struct question *question)
{
	static const struct option options[] = {
		{"for", required_argument, NULL, 'p'},
		{"user", required_argument, NULL, 'u'},
		{"to", required_argument, NULL, 't'},
		{"udp", no_argument, NULL, 'U'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option, result = 0;
	bool has_details = false;
	opterr = 0;
	while (result == 0 && (option = getopt_long(argc, argv, ":u:t:h", options, NULL)) != -1) {
		has_details |= option == 'u' || option == 't' || option == 'U';
		if (option == 'p' && *optarg)
			question->program = optarg;
		else if (option == 'p')
			result = cli_error("check: '--for' wants a program");
		else if (option == 'u')
			result = word_read("user", optarg, user_read, question);
		else if (option == 't')
			result = word_read("to", optarg, destination_read, question);
		else if (option == 'U')
			question->call.protocol = PF_POLICY_UDP;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		else
			result = cli_option_refuse(argv[0], argv, option);
	}
	if (result)
		return result;
	if (has_details && !question->program)
		return cli_error("check: --user, --to and --udp want --for PROGRAM");
	if (argc - optind > 1)
		return cli_error("check: '%s' is one argument too many", argv[optind + 1]);
	return -1;
}

int cli_check(int argc, char **argv)
{
	struct pf_policy policy;
	struct pf_rules rules;
	struct question question = {
		.call = {.user = geteuid(), .group = getegid(), .protocol = PF_POLICY_TCP}};
	int result = options_read(argc, argv, &question);
	if (result >= 0)
		return result;
	const char *path = optind < argc ? argv[optind] : cli_policy_default();
	if (!path)
		return cli_error(
			"check: no policy file; expected one, or ~/.config/portfence.conf");
	result = cli_policy_load(path, &policy, &rules);
	if (result)
		return result;
	privileged_warn(path, &policy);
	if (question.program)
		return question_answer(&question, &policy, &rules);
	pools_show(&policy);
	putchar('\n');
	rules_show(&policy, &rules);
	putchar('\n');
	place_show(&policy.place);
	return 0;
}
