// SPDX-License-Identifier: MIT
// portfence run: puts the shim between a program and libc, and becomes it.
#include "cli.h"
#include "policy_file.h"
#include "preflight.h"
#include "strict.h"

#include "util.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Run PROGRAM; it and all it starts take their ephemeral ports from a range.\n"
	"\n"
	"  -p, --ports RANGES  PORT or FIRST-LAST, several separated by commas: 20000-20999,22000\n"
	"                      (default: $PORTFENCE_PORTS)\n"
	"      --policy FILE   or what a policy says: portfence.conf(5) (default:\n"
	"                      $PORTFENCE_POLICY_FILE, ~/.config/portfence.conf,\n"
	"                      /etc/portfence.conf)\n"
	"      --pool NAME     the pool of the policy, whatever its rules say\n"
	"      --block PORTS   lease so many ports together for this run alone, until all that it\n"
	"                      started has ended (default: the pool's 'block =')\n"
	"      --wait TIME     wait so long for a block: 30s, 2m (default: not at all)\n"
	"      --strict        fence what the library does not see, too: static programs, Go, "
	"name\n"
	"                      resolution; with =auto only if that is possible here\n"
	"      --io-uring      allow io_uring in a strict run, which does not see what it does\n"
	"  -f, --force         run PROGRAM even if it cannot be fenced: if it is static, of Go,\n"
	"                      of another word size, or has a set-ID bit or file capabilities\n"
	"  -h, --help          show this\n"
	"\n"
	"Exit status: PROGRAM's own; 125 if portfence fails, 126 if PROGRAM cannot be run or "
	"fenced,\n"
	"127 if it is not found.\n";

// Sets an environment variable. Returns 0 or an exit status.
static int variable_set(const char *name, const char *value)
{
	return setenv(name, value, 1) ? cli_error("%s", strerror(errno)) : 0;
}

// Puts the library behind what LD_PRELOAD has, unless it is there: next to libc, where the calls of
// the others pass by it, too. Returns 0 or an exit status.
static int preload_set(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *preload;
	if (!before || !*before)
		return variable_set("LD_PRELOAD", library);
	const size_t length = strlen(library);
	// ld.so(8): colons or spaces are between the names.
	for (const char *at = before; (at = strstr(at, library)); at += length)
		if ((at == before || strchr(": ", at[-1])) && strchr(": ", at[length]))
			return 0;
	if (asprintf(&preload, "%s:%s", before, library) < 0)
		return cli_error("out of memory");
	int result = variable_set("LD_PRELOAD", preload);
	free(preload);
	return result;
}

// What a run is to be.
struct run {
	const char *ports, *file, *pool; // options, or NULL
	uint32_t block;                  // 0: none asked for
	uint32_t wait_ms;
	bool force;
	bool strict, automatic; // --strict, =auto
	bool uring;
	char **argv; // the program
	struct cli_preflight preflight;
	struct pf_policy policy;
	struct pf_rules rules;
	struct pf_range leased; // the block, if there is one
	int locks;              // as long as this is open
};

// Sets one of the variables that choose the ports, and clears the others. Returns 0 or an exit
// status.
static int choice_set(const char *variable, const char *value)
{
	static const char *const choices[] = {"PORTFENCE_PORTS", "PORTFENCE_POLICY",
		"PORTFENCE_POOL", "PORTFENCE_BLOCK", "PORTFENCE_BLOCK_FIRST"};
	for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
		unsetenv(choices[i]);
	return variable_set(variable, value);
}

// Puts the ports of a policy of one pool into the environment. Returns 0 or an exit status.
static int ports_set(const struct run *run)
{
	char text[PF_RANGES_TEXT];
	pf_ranges_format(&run->policy.pool[0].ranges, text);
	return choice_set("PORTFENCE_PORTS", text);
}

// Makes the policy the programs'. Returns 0 or an exit status.
static int policy_set(const struct run *run)
{
	char path[PF_SEGMENT_PATH];
	int result = cli_policy_publish(&run->policy, &run->rules, path);
	return result ? result : choice_set("PORTFENCE_POLICY", path);
}

// Returns the pool that the run has for itself a block of, or NULL: it is --pool, or the only one.
static struct pf_policy_pool *pool_of_blocks(struct run *run)
{
	int at = run->pool ? pf_policy_find(&run->policy, run->pool) : 0;
	bool chosen = run->pool || (run->policy.count == 1 && run->rules.count == 0);
	return at >= 0 && chosen && run->policy.pool[at].block ? &run->policy.pool[at] : NULL;
}

// Leases a block, and makes it all that the programs know of the policy. Returns 0 or an exit
// status.
static int block_set(struct run *run, struct pf_policy_pool *pool)
{
	char text[32], first[16];
	if (run->block)
		pool->block = run->block;
	run->locks = cli_block_take(&run->policy, pool, run->wait_ms, &run->leased);
	if (run->locks < 0)
		return EXIT_PORTFENCE;
	struct pf_policy_pool own = *pool;
	bool thin = own.ranges.step == 2;
	unsigned parity = own.ranges.range[0].first % 2;
	own.block = 0;
	own.ranges = (struct pf_ranges){.count = 1, .range = {run->leased}};
	pf_ranges_normalise(&own.ranges, NULL);
	if (thin && pf_ranges_thin(&own.ranges, parity) < 0)
		return cli_error("pool %s: a block of %u ports has none of its parity", own.name,
			pool->block);
	run->policy.count = 1;
	run->policy.pool[0] = own;
	run->rules.count = run->rules.fallback = 0;
	pf_policy_digest(&run->policy);
	snprintf(text, sizeof text, "%u-%u", run->leased.first, run->leased.last);
	snprintf(first, sizeof first, "%u", run->leased.first);
	int result = policy_set(run);
	if (result == 0)
		result = variable_set("PORTFENCE_BLOCK", text);
	return result ? result : variable_set("PORTFENCE_BLOCK_FIRST", first);
}

// Removes what served the block alone.
static void block_end(const struct run *run)
{
	char path[PF_SEGMENT_PATH];
	const char *policy = getenv("PORTFENCE_POLICY");
	const struct pf_segment_place place = {
		cli_policy_dir(&run->policy.place), pf_diag_netns(), geteuid()};
	if (pf_segment_path(&run->policy, &place, path) == 0)
		unlink(path);
	if (policy)
		unlink(policy);
	close(run->locks);
}

// Reads the policy that this process is in a fence of. Returns 0 or an exit status.
static int policy_inherit(struct run *run)
{
	char reason[PF_SEGMENT_TEXT];
	char *bytes = malloc(PF_RULES_FILE_MAX);
	size_t size;
	const char *path = getenv("PORTFENCE_POLICY");
	int result = 0;
	if (!bytes)
		return cli_error("out of memory");
	if (pf_segment_read(path, geteuid(), bytes, PF_RULES_FILE_MAX, &size, reason) < 0)
		result = cli_error("PORTFENCE_POLICY: %s", reason);
	else if (pf_rules_read(bytes, size, &run->policy, &run->rules) < 0)
		result = cli_error("PORTFENCE_POLICY: %s: damaged, or of another version", path);
	free(bytes);
	return result;
}

// Chooses the ports of the run, and puts them into the environment. Returns 0 or an exit status.
static int ports_choose(struct run *run)
{
	const char *policy = getenv("PORTFENCE_POLICY");
	bool plain;
	bool inside = !run->ports && !run->file && policy && *policy && !run->block;
	int result = inside ? policy_inherit(run)
			    : cli_policy_choose("run", run->ports, run->file, &run->policy,
				      &run->rules, &plain);
	if (result)
		return result;
	if (run->pool && pf_policy_find(&run->policy, run->pool) < 0)
		return cli_error("run: the policy has no pool '%s'", run->pool);
	if (inside) // a fence already: another pool of its policy
		return run->pool ? variable_set("PORTFENCE_POOL", run->pool) : 0;
	if (plain)
		run->policy.pool[0].block = run->block;
	struct pf_policy_pool *pool = pool_of_blocks(run);
	if (pool)
		return block_set(run, pool);
	if (run->block)
		return cli_error("run: --block: %s",
			run->pool ? "the pool is shared by runs; it has no 'block ='"
				  : "which pool? --pool NAME says it");
	if (run->wait_ms)
		return cli_error("run: --wait: only a run that leases a block waits for it");
	if (plain)
		return ports_set(run);
	result = policy_set(run);
	return result == 0 && run->pool ? variable_set("PORTFENCE_POOL", run->pool) : result;
}

// Finds out whether the run can be strict; if not, and that is no must, it will not be. Returns 0
// or an exit status.
static int strict_prepare(struct run *run)
{
	char reason[PF_SEGMENT_TEXT] = "";
	const char *pool = getenv("PORTFENCE_POOL");
	const struct cli_strict_policy policy = {
		&run->policy, &run->rules, pool && *pool ? pool : NULL, run->uring};
	int result = cli_strict_prepare(&policy, reason);
	if (result == 0)
		return 0;
	if (!*reason)
		snprintf(reason, sizeof reason, "%s", strerror(-result));
	if (!run->automatic)
		return cli_error("run: --strict: %s", reason);
	cli_error("run: --strict=auto: %s; only what the library sees is fenced", reason);
	run->strict = false;
	return 0;
}

// Returns true if the program is to be executed. If not, or if it will be unfenced, a line says
// why.
static bool preflight_passes(struct run *run)
{
	struct cli_preflight *preflight = &run->preflight;
	const bool strict = run->strict, force = run->force;
	char name[2 * PATH_MAX + 32];
	cli_preflight(run->argv[0], preflight);
	cli_preflight_name(preflight, name, sizeof name);
	if (strict && preflight->privileged && !force)
		return cli_error("%s: a strict run gives no privileges (no_new_privs), and it has "
				 "a set-ID bit or file capabilities; run it without --strict",
			       name) < 0;
	if (strict && !preflight->hopeless)
		return true;
	if (preflight->unfenced && force)
		cli_error("%s: %s; it runs unfenced", name, preflight->why);
	else if (preflight->unfenced)
		cli_error("%s: %s, so it cannot be fenced; %s, or with --force to run it unfenced",
			name, preflight->why, preflight->cure);
	else if (preflight->hopeless && !force)
		cli_error("%s: %s", name, preflight->why);
	return force || (!preflight->unfenced && !preflight->hopeless);
}

// Becomes the program. Returns the exit status if it cannot.
static int program_run(void *arg)
{
	struct run *run = arg;
	char **argv = run->argv;
	execvp(argv[0], argv);
	int error = errno;
	bool known = run->preflight.error == error && run->preflight.why[0];
	cli_error("%s: %s", argv[0], known ? run->preflight.why : strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

// Reads what --strict was given, if anything. Returns 0 or an exit status.
static int strict_read(struct run *run, const char *how)
{
	run->strict = true;
	run->automatic = how;
	if (how && strcmp(how, "auto") != 0)
		return cli_error("run: --strict '%s': expected nothing, or auto", how);
	return 0;
}

// Reads the options. Returns -1 to go on, or the exit status.
static int options_read(int argc, char **argv, struct run *run)
{
	static const struct option options[] = {
		{"ports", required_argument, NULL, 'p'},
		{"policy", required_argument, NULL, 'P'},
		{"pool", required_argument, NULL, 'o'},
		{"block", required_argument, NULL, 'b'},
		{"wait", required_argument, NULL, 'w'},
		{"strict", optional_argument, NULL, 's'},
		{"io-uring", no_argument, NULL, 'u'},
		{"force", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:p:fh", options, NULL)) != -1) {
		size_t digits = 0;
		if (option == 'p')
			run->ports = optarg;
		else if (option == 'P')
			run->file = optarg;
		else if (option == 'o')
			run->pool = optarg;
		else if (option == 'b') {
			run->block = (uint32_t)pf_number(optarg, 5, 10, &digits);
			if (!digits || optarg[digits] || !run->block || run->block > 65535)
				return cli_error(
					"run: --block '%s': expected a number of ports, 1 to 65535",
					optarg);
		} else if (option == 'w') {
			if (cli_duration(optarg, strlen(optarg), &run->wait_ms) < 0)
				return cli_error("run: --wait '%s': expected a time, as in 30s, "
						 "24h at the most",
					optarg);
		} else if (option == 's') {
			if (strict_read(run, optarg))
				return EXIT_PORTFENCE;
		} else if (option == 'u')
			run->uring = true;
		else if (option == 'f')
			run->force = true;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		else
			return cli_option_refuse("run", argv, option);
	}
	if (optind == argc)
		return cli_error("run: no program; see portfence run --help");
	run->argv = argv + optind;
	return -1;
}

int cli_run(int argc, char **argv)
{
	static struct run run = {.locks = -1};
	char library[PATH_MAX], reason[PATH_MAX + 64];
	run.argv = argv;
	int result = options_read(argc, argv, &run);
	if (result >= 0)
		return result;
	result = ports_choose(&run);
	if (result == 0 && cli_library_find(library, reason) < 0)
		result = cli_error("%s", reason);
	if (result == 0)
		result = preload_set(library);
	if (result == 0 && run.strict)
		result = strict_prepare(&run);
	const char *disable = getenv("PORTFENCE_DISABLE");
	if (result == 0 && !run.strict && disable && !strcmp(disable, "1"))
		cli_error("run: PORTFENCE_DISABLE=1 is in the environment; it runs unfenced");
	// Before the run gives up all privileges to come: then no program would gain any.
	if (result == 0 && !preflight_passes(&run))
		result = EXIT_CANNOT_RUN;
	if (result == 0 && run.strict)
		result = cli_strict_run(program_run, &run);
	else if (result == 0 && run.locks < 0)
		return program_run(&run);
	else if (result == 0)
		result = cli_supervise(program_run, &run, NULL);
	if (run.locks >= 0)
		block_end(&run);
	return result;
}
