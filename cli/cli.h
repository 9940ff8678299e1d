// SPDX-License-Identifier: MIT
// What the subcommands share: exit statuses, messages, tables, segments, processes.
#ifndef PF_CLI_H
#define PF_CLI_H

#include <portfence/diag.h>
#include <portfence/rule.h>
#include <portfence/segment.h>

#include <stdint.h>
#include <sys/types.h>

// Exit statuses, as env(1) and timeout(1) have them.
#define EXIT_PORTFENCE 125 // portfence itself failed
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

// A subcommand: argv[0] is its name. Returns the exit status.
typedef int cli_main(int argc, char **argv);
cli_main cli_check, cli_doctor, cli_export, cli_gc, cli_log, cli_ls, cli_map, cli_run, cli_status,
	cli_top, cli_version, cli_who;

// Writes "portfence: " and the message to stderr. Returns EXIT_PORTFENCE.
__attribute__((format(printf, 1, 2))) int cli_error(const char *format, ...);

// Reads the options of a subcommand that takes none but --help and, if `json` is not NULL, --json;
// and no argument, or, if `argument` is not NULL, none or one. Returns -1 to go on, or the exit
// status.
int cli_options(int argc, char **argv, const char *usage, const char **argument, bool *json);

// A table of text with aligned columns, its first row the heading.
struct cli_table;
struct cli_table *cli_table_new(size_t columns);
void cli_table_free(struct cli_table *table);

// Adds a cell, to the right of the last or in a new row.
__attribute__((format(printf, 2, 3))) void cli_table_add(
	struct cli_table *table, const char *format, ...);

// What a cell means, on a terminal that shows colours.
enum cli_colour {
	CLI_PLAIN,
	CLI_GOOD,
	CLI_WARN,
	CLI_BAD,
	CLI_FAINT,
};

// Colours the cell that was added last.
void cli_table_paint(struct cli_table *table, enum cli_colour colour);
void cli_table_print(const struct cli_table *table);

// Prints as many columns, from the left, as fit into `width`; 0: all.
void cli_table_print_within(const struct cli_table *table, size_t width);

// Returns the columns of the terminal on standard output: COLUMNS, else what it says itself, else
// 80.
size_t cli_terminal_width(void);

// Returns true if standard output is a terminal that is to show colours, whatever NO_COLOR says.
bool cli_colour_on(void);

// Keeps standard output plain, for --no-color.
void cli_colour_off(void);

// Returns what begins a colour, or, for CLI_PLAIN, ends it; "" where there are none.
const char *cli_colour(enum cli_colour colour);

// Waits. Returns false, at once, if nobody reads standard output any more.
bool cli_is_read(uint64_t wait_ms);

// A segment of this user (of anybody, for root), of this network namespace.
struct cli_segment {
	char path[PF_SEGMENT_PATH];
	struct pf_policy policy;
	struct pf_segment segment;
};

// Calls `each` for every segment in PORTFENCE_DIR; says what is wrong with those that cannot be
// opened, the first time it is called. Returns 0, or EXIT_PORTFENCE with a message if the directory
// cannot be read.
typedef void cli_segment_fn(struct cli_segment *segment, void *arg);
int cli_segments(cli_segment_fn *each, void *arg);

// Makes of what anybody may have written what can be printed: anything but visible ASCII is '?'.
void cli_clean(char *text);

// Returns true for a name that a segment can have, with its network namespace and whose it is: for
// a group's, this user and the group.
bool cli_segment_name(const char *name, uint64_t *ret_netns, struct pf_segment_owner *ret_owner);

// Returns true for the name of a whole segment of this network namespace.
bool cli_segment_is_ours(const char *dir, const char *name);

// Says what is wrong with the option that getopt_long, whose short options begin with ':', read
// last and the subcommand does not know. Returns EXIT_PORTFENCE.
int cli_option_refuse(const char *command, char **argv, int option);

// Reads a time: a number of seconds, or of ms, s, m or h, as in 30s. Returns 0, -EINVAL, or -ERANGE
// for more than a day.
int cli_duration(const char *text, size_t length, uint32_t *ret_ms);

// Writes the policy to where programs can read it, and that file's name into path[PF_SEGMENT_PATH]:
// PORTFENCE_POLICY. Returns 0 or EXIT_PORTFENCE.
int cli_policy_publish(const struct pf_policy *policy, const struct pf_rules *rules, char *path);

// Leases a block of pool->block ports of the pool for as long as the fd that is returned is open,
// in ret_block; waits for one up to `wait_ms`. Returns -EXIT_PORTFENCE with a message if there is
// none.
int cli_block_take(const struct pf_policy *policy, const struct pf_policy_pool *pool,
	uint64_t wait_ms, struct pf_range *ret_block);

// The blocks that runs of this user and of its groups have leased; of everybody, for root.
struct cli_blocks {
	struct pf_range *block;
	size_t count;
};
void cli_blocks_read(struct cli_blocks *ret_blocks);

// Runs a program in a child, stays its parent, and that of all its descendants whose own parent
// ends, until the last of them has ended; passes signals on. `run` becomes the program, or returns
// the exit status. Returns the program's, or 128 and the signal that ended it.
typedef int cli_program_fn(void *arg);

// What the parent looks after besides, if it does.
struct cli_guard {
	int (*enter)(void *arg);  // in the child, first. Returns 0 or an exit status
	int (*watch)(void *arg);  // in the parent. Returns an fd to watch, or -1
	void (*serve)(void *arg); // whenever that has something
	void *arg;
};
int cli_supervise(cli_program_fn *run, void *arg, const struct cli_guard *guard);

// Returns true if this process may look at what is the group's: it is a member, or root.
bool cli_group_is_ours(gid_t group);

// Returns the directory of the segments: PORTFENCE_DIR or PF_SEGMENT_DIR.
const char *cli_segment_dir(void);

// Returns the directory of a policy's segments: its own, or that.
const char *cli_policy_dir(const struct pf_policy_place *place);

// Reads the name of a process as it is, "" if that cannot be had.
void cli_process_command(pid_t pid, char command[PF_COMMAND]);

// Which process has a socket: all of /proc, read once.
struct cli_processes;
struct cli_processes *cli_processes_new(void);
void cli_processes_free(struct cli_processes *processes);

// Returns the name of a process that has the socket with this inode, and its pid; NULL for none, or
// none that this user may look into.
const char *cli_processes_find(
	const struct cli_processes *processes, uint64_t inode, pid_t *ret_pid);

// Returns 1 if the process has the library, 0 if it does not, or -1 if this user cannot look into
// it; CLI_SUPERVISED if it is in a strict run without the library. A process that disabled the
// fence, or is another policy's, has it as well.
#define CLI_SUPERVISED 2
int cli_processes_fenced(struct cli_processes *processes, pid_t pid);

// Returns 1 if the process has the file mapped, whatever name it has there: who made a segment maps
// it under a temporary one. Returns 0 if not, or -1 if this user cannot look into the process.
struct stat;
int cli_process_maps(pid_t pid, const struct stat *status);

// Returns 1 if the process was started with this policy, or 0 if not, or -1 if that cannot be
// known.
int cli_process_says(pid_t pid, const char *policy);

// Returns true if one of the user IDs of the process is `uid`.
bool cli_process_is_of(pid_t pid, uid_t uid);

// Frees at the end of a scope.
static inline void cli_free_table(struct cli_table **table)
{
	cli_table_free(*table);
}

static inline void cli_free_processes(struct cli_processes **processes)
{
	cli_processes_free(*processes);
}

#define CLI_TABLE __attribute__((cleanup(cli_free_table))) struct cli_table *
#define CLI_PROCESSES __attribute__((cleanup(cli_free_processes))) struct cli_processes *

#endif
