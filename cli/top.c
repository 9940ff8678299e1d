// SPDX-License-Identifier: MIT
// portfence top: pools and processes, live.
//
// Signals are let in only while top waits for a key, so that nothing is interrupted half-drawn;
// one that ends it does so once the terminal is as it was.
#include "json.h"
#include "snapshot.h"

#include "util.h"

#include <curses.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence top [-d SECONDS] [-a] [--json]\n"
	"\n"
	"Show the pools of this network namespace and the processes that have "
	"their ports, again and\n"
	"again; if standard input or output is no terminal, once.\n"
	"\n"
	"  -d, --delay SECONDS  between two looks: 0.1 to 3600 (default: 1)\n"
	"  -a, --all            also programs outside the fence\n"
	"      --json           one object a line, see portfence(1); without -d, "
	"one\n"
	"  -h, --help           show this\n"
	"\n"
	"Keys: q quits, h shows the others.\n";

#define LINES_LEAST 10
#define COLUMNS_LEAST 60
#define DELAY_MIN 100 // milliseconds
#define DELAY_MAX 3600000

struct top {
	struct snapshot snapshot;
	enum snapshot_order order;
	uint64_t delay_ms;
	bool all;
	bool json;
	bool again; // not only once, where there is no screen
	bool helps;
	size_t first; // process on the screen
	size_t rows;  // of processes on the screen
};

// --- the terminal --------------------------------------------------------------------------------

static volatile sig_atomic_t ended_by;
static SCREEN *screen;
static int messages = -1; // where standard error was

static void signal_note(int signal)
{
	ended_by = signal;
}

// Leaves the terminal as it was.
static void screen_end(void)
{
	if (!screen)
		return;
	endwin();
	screen = NULL;
	dup2(messages, STDERR_FILENO);
}

static bool coloured;

static void colours_begin(void)
{
	if (!cli_colour_on() || !has_colors() || start_color() != OK)
		return;
	use_default_colors();
	init_pair(CLI_GOOD, COLOR_GREEN, -1);
	init_pair(CLI_WARN, COLOR_YELLOW, -1);
	init_pair(CLI_BAD, COLOR_RED, -1);
	coloured = true;
}

// Takes the terminal. What would be written on the screen from elsewhere is not. Returns 0 or
// EXIT_PORTFENCE.
static int screen_begin(void)
{
	setlocale(LC_CTYPE, ""); // for the boxes
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return cli_error("top: cannot draw on a terminal of type '%s'",
			getenv("TERM") ? getenv("TERM") : "");
	messages = dup(STDERR_FILENO);
	FILE *nothing = fopen("/dev/null", "we");
	if (nothing) {
		dup2(fileno(nothing), STDERR_FILENO);
		fclose(nothing);
	}
	atexit(screen_end);
	cbreak();
	noecho();
	curs_set(0);
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	set_escdelay(25);
	colours_begin();
	return 0;
}

// Returns the attribute for a colour; 0 where there are none.
static chtype colour(enum cli_colour which)
{
	if (which == CLI_FAINT)
		return A_DIM;
	return which == CLI_PLAIN || !coloured ? 0 : (chtype)COLOR_PAIR(which);
}

// Writes at a place, cut at `width`.
__attribute__((format(printf, 5, 6))) static void put(
	int y, int x, int width, chtype attribute, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (width <= 0)
		return;
	attron(attribute);
	mvaddnstr(y, x, text, width);
	attroff(attribute);
}

// Draws a box with a title from row `y` on, over the whole width.
static void box_draw(int y, int height, const char *title)
{
	int right = COLS - 1, bottom = y + height - 1;
	mvhline(y, 1, ACS_HLINE, right - 1);
	mvhline(bottom, 1, ACS_HLINE, right - 1);
	mvvline(y + 1, 0, ACS_VLINE, height - 2);
	mvvline(y + 1, right, ACS_VLINE, height - 2);
	mvaddch(y, 0, ACS_ULCORNER);
	mvaddch(y, right, ACS_URCORNER);
	mvaddch(bottom, 0, ACS_LLCORNER);
	mvaddch(bottom, right, ACS_LRCORNER);
	put(y, 2, COLS - 4, A_BOLD, " %s ", title);
}

// --- pools ---------------------------------------------------------------------------------------

// Where the columns of pools are.
struct columns {
	int name, ports, bar; // widths
	int numbers;          // where they begin
	bool exhausted;       // there is room for that
};

#define NUMBERS 32   // the columns LEASED HOLDING FREE FOREIGN
#define EXHAUSTED 10 // and that

static int widest(int sum, const char *text, int most)
{
	int length = (int)strlen(text);
	length = length < most ? length : most;
	return length > sum ? length : sum;
}

static struct columns columns_of(const struct snapshot *snapshot)
{
	struct columns columns = {.name = 4, .ports = 5};
	bool wide = COLS >= 120;
	for (size_t i = 0; i < snapshot->pools; i++) {
		columns.name = widest(columns.name, snapshot->pool[i].name, wide ? 31 : 12);
		columns.ports = widest(columns.ports, snapshot->pool[i].ports, wide ? 40 : 15);
	}
	columns.exhausted = COLS >= 90;
	columns.numbers = COLS - 2 - NUMBERS - (columns.exhausted ? EXHAUSTED : 0);
	int room = columns.numbers - 2 - columns.name - 1 - 1;
	if (columns.ports > room)
		columns.ports = room;
	columns.bar = room - columns.ports - 1;
	return columns;
}

// Draws one kind of ports into a bar, from cell `*at` on: their share of `size`, at least one cell
// if there are any.
static void bar_part(int y, int x, int width, int *at, uint32_t count, uint32_t size, char mark,
	enum cli_colour which)
{
	int cells = (int)((uint64_t)count * (uint64_t)width / size);
	if (count && !cells)
		cells = 1;
	for (; cells > 0 && *at < width; cells--, (*at)++)
		mvaddch(y, x + *at, (chtype)mark | colour(which));
}

static void bar_draw(int y, int x, int width, const struct snapshot_pool *pool)
{
	int at = 0;
	if (width < 5)
		return;
	mvaddch(y, x, '[');
	bar_part(y, x + 1, width - 2, &at, pool->usage.foreign, pool->size, 'x', CLI_BAD);
	bar_part(y, x + 1, width - 2, &at, pool->usage.busy, pool->size, '|', CLI_GOOD);
	bar_part(y, x + 1, width - 2, &at, pool->usage.holding, pool->size, '~', CLI_WARN);
	mvaddch(y, x + width - 1, ']');
}

static void pool_draw(int y, const struct columns *columns, const struct snapshot_pool *pool)
{
	int ports = 2 + columns->name + 1, bar = ports + columns->ports + 1;
	int at = columns->numbers;
	put(y, 2, columns->name, 0, "%s", pool->name);
	put(y, ports, columns->ports, 0, "%s", pool->ports);
	bar_draw(y, bar, columns->bar, pool);
	put(y, at, 8, 0, "%8u", pool->usage.leased);
	put(y, at + 8, 8, 0, "%8u", pool->usage.holding);
	put(y, at + 16, 8, pool->usage.free ? 0 : colour(CLI_WARN), "%8u", pool->usage.free);
	put(y, at + 24, 8, pool->usage.foreign ? colour(CLI_BAD) : 0, "%8u", pool->usage.foreign);
	if (columns->exhausted)
		put(y, at + 32, 10, pool->exhausted ? colour(CLI_BAD) : 0, "%10llu",
			(unsigned long long)pool->exhausted);
}

// Draws the box of the pools from row `y` on. Returns the row below it.
static int pools_draw(const struct snapshot *snapshot, int y)
{
	struct columns columns = columns_of(snapshot);
	int most = (LINES - 8) / 2, shown = (int)snapshot->pools;
	bool cut = shown > most;
	if (cut)
		shown = most > 1 ? most - 1 : 0;
	int height = shown + cut + 3;
	box_draw(y, height, "Pools");
	put(y + 1, 2, columns.name, colour(CLI_FAINT), "POOL");
	put(y + 1, 2 + columns.name + 1, columns.ports, colour(CLI_FAINT), "PORTS");
	put(y + 1, columns.numbers, NUMBERS + EXHAUSTED, colour(CLI_FAINT), "%8s%8s%8s%8s%s",
		"LEASED", "HOLDING", "FREE", "FOREIGN", columns.exhausted ? " EXHAUSTED" : "");
	for (int i = 0; i < shown; i++)
		pool_draw(y + 2 + i, &columns, &snapshot->pool[i]);
	if (cut)
		put(y + 2 + shown, 2, COLS - 4, colour(CLI_FAINT), "and %d more: portfence status",
			(int)snapshot->pools - shown);
	return y + height;
}

// --- processes -----------------------------------------------------------------------------------

#define PID 2
#define COMMAND 10
#define POOL 26

static void process_draw(
	const struct top *top, int y, int pool_width, const struct snapshot_process *process)
{
	const struct snapshot *snapshot = &top->snapshot;
	int count = POOL + pool_width + 1, peers = count + 9;
	chtype attribute = process->foreign ? colour(CLI_BAD) : 0;
	char text[512];
	int room = COLS - 2 - peers;
	if (process->pid)
		put(y, PID, 7, 0, "%7d", (int)process->pid);
	else
		put(y, PID, 7, 0, "%7s", "-");
	put(y, COMMAND, 15, attribute, "%s", process->command);
	put(y, POOL, pool_width, 0, "%s", snapshot_label(snapshot, process->pool));
	put(y, count, 7, attribute, process->foreign ? "x%6u" : "%7u", process->sockets);
	if (room <= 0)
		return;
	snapshot_peers(snapshot, process, text,
		(size_t)room + 1 < sizeof text ? (size_t)room + 1 : sizeof text);
	put(y, peers, room, 0, "%s", text);
}

// Draws a heading, and marks it if it is what the rows are sorted by.
static void heading_draw(int y, int x, int width, bool sorts, const char *text)
{
	put(y, x, width, sorts ? A_UNDERLINE | A_BOLD : colour(CLI_FAINT), "%s", text);
}

// Draws the box of the processes from row `y` on.
static void processes_draw(struct top *top, int y)
{
	const struct snapshot *snapshot = &top->snapshot;
	static const char *const orders[] = {"by count", "by command", "by pool"};
	int height = LINES - 1 - y, pool_width = 4;
	char title[64];
	if (height < 4)
		return;
	for (size_t i = 0; i < snapshot->pools; i++)
		pool_width = widest(
			pool_width, snapshot_label(snapshot, (uint32_t)i), COLS >= 120 ? 31 : 14);
	top->rows = (size_t)height - 3;
	if (top->first + top->rows > snapshot->processes)
		top->first = snapshot->processes > top->rows ? snapshot->processes - top->rows : 0;
	size_t end = top->first + top->rows;
	if (end > snapshot->processes)
		end = snapshot->processes;
	if (end - top->first < snapshot->processes)
		snprintf(title, sizeof title, "Processes %s, %zu to %zu of %zu", orders[top->order],
			top->first + 1, end, snapshot->processes);
	else
		snprintf(title, sizeof title, "Processes %s", orders[top->order]);
	box_draw(y, height, title);
	put(y + 1, PID, 7, colour(CLI_FAINT), "    PID");
	heading_draw(y + 1, COMMAND, 15, top->order == SNAPSHOT_BY_COMMAND, "COMMAND");
	heading_draw(y + 1, POOL, pool_width, top->order == SNAPSHOT_BY_POOL, "POOL");
	heading_draw(y + 1, POOL + pool_width + 2, 6, top->order == SNAPSHOT_BY_COUNT, "LEASES");
	put(y + 1, POOL + pool_width + 10, COLS - 2 - (POOL + pool_width + 10), colour(CLI_FAINT),
		"DESTINATIONS");
	for (size_t i = top->first; i < end; i++)
		process_draw(top, y + 2 + (int)(i - top->first), pool_width, &snapshot->process[i]);
	if (!snapshot->processes)
		put(y + 2, PID, COLS - 4, colour(CLI_FAINT), "no process has a lease");
}

// --- the screen ----------------------------------------------------------------------------------

static const char *const help[] = {
	"n       sort by number of leases",
	"c       sort by command",
	"p       sort by pool",
	"a       programs outside the fence, too",
	"+ -     look more often, less often",
	"space   look now",
	"arrows, page up, page down, home, end",
	"        scroll the processes",
	"h ?     this",
	"q       quit",
	"",
	"[xx||||~~~    ]  ports of a pool:",
	"  x  a program outside the fence has it",
	"  |  leased   ~  holding   blank: free",
};
#define HELP_LINES ((int)(sizeof help / sizeof *help))
#define HELP_WIDTH 46

static void help_draw(void)
{
	int y = (LINES - HELP_LINES - 2) / 2, x = (COLS - HELP_WIDTH) / 2;
	WINDOW *window = newwin(HELP_LINES + 2, HELP_WIDTH, y > 0 ? y : 0, x > 0 ? x : 0);
	if (!window)
		return; // it does not fit
	box(window, 0, 0);
	mvwaddstr(window, 0, 2, " Keys ");
	for (int i = 0; i < HELP_LINES; i++)
		mvwaddstr(window, i + 1, 2, help[i]);
	wnoutrefresh(window);
	delwin(window);
}

// Fills a row with a text at each end.
static void bar_line(int y, const char *left, const char *right)
{
	int length = (int)strlen(right);
	attron(A_REVERSE);
	mvhline(y, 0, ' ', COLS);
	attroff(A_REVERSE);
	put(y, 1, COLS - 2, A_REVERSE, "%s", left);
	if ((int)strlen(left) + length + 4 <= COLS)
		put(y, COLS - 1 - length, length, A_REVERSE, "%s", right);
}

static const char *plural(size_t count, const char *one, const char *more)
{
	return count == 1 ? one : more;
}

static void screen_draw(struct top *top)
{
	const struct snapshot *snapshot = &top->snapshot;
	char left[128], right[64];
	time_t now = time(NULL);
	struct tm local;
	erase();
	if (LINES < LINES_LEAST || COLS < COLUMNS_LEAST) {
		put(0, 0, COLS, 0, "too small");
		refresh();
		return;
	}
	snprintf(left, sizeof left, "portfence: %zu %s, %zu %s", snapshot->pools,
		plural(snapshot->pools, "pool", "pools"), snapshot->leased,
		plural(snapshot->leased, "lease", "leases"));
	localtime_r(&now, &local);
	snprintf(right, sizeof right, "every %g s  %02d:%02d:%02d", (double)top->delay_ms / 1000,
		local.tm_hour, local.tm_min, local.tm_sec);
	bar_line(0, left, right);
	processes_draw(top, pools_draw(snapshot, 1));
	bar_line(LINES - 1, "n count  c command  p pool  a all", "h help  q quit");
	wnoutrefresh(stdscr);
	if (top->helps)
		help_draw();
	doupdate();
}

// --- the loop ------------------------------------------------------------------------------------

static void look(struct top *top)
{
	snapshot_free(&top->snapshot);
	if (snapshot_read(&top->snapshot, top->all))
		exit(EXIT_PORTFENCE);
	snapshot_sort(&top->snapshot, top->order);
}

static void order_set(struct top *top, enum snapshot_order order)
{
	top->order = order;
	top->first = 0;
	snapshot_sort(&top->snapshot, order);
}

static void scroll_by(struct top *top, long rows)
{
	long first = (long)top->first + rows;
	top->first = first > 0 ? (size_t)first : 0; // drawing knows where it ends
}

// Does what a key says. Returns true if top is to look again at once.
static bool key_take(struct top *top, int key)
{
	bool helped = top->helps;
	top->helps = false;
	switch (key) {
	case 'n':
		order_set(top, SNAPSHOT_BY_COUNT);
		return false;
	case 'c':
		order_set(top, SNAPSHOT_BY_COMMAND);
		return false;
	case 'p':
		order_set(top, SNAPSHOT_BY_POOL);
		return false;
	case 'a':
		top->all = !top->all;
		return true;
	case ' ':
		return true;
	case '+':
		top->delay_ms = top->delay_ms > DELAY_MIN * 2 ? top->delay_ms / 2 : DELAY_MIN;
		return false;
	case '-':
		top->delay_ms = top->delay_ms < DELAY_MAX / 2 ? top->delay_ms * 2 : DELAY_MAX;
		return false;
	case KEY_UP:
		scroll_by(top, -1);
		return false;
	case KEY_DOWN:
		scroll_by(top, 1);
		return false;
	case KEY_PPAGE:
		scroll_by(top, -(long)top->rows);
		return false;
	case KEY_NPAGE:
		scroll_by(top, (long)top->rows);
		return false;
	case KEY_HOME:
		top->first = 0;
		return false;
	case KEY_END:
		top->first = top->snapshot.processes;
		return false;
	case 'h':
	case '?':
		top->helps = !helped;
		return false;
	default:
		return false;
	}
}

// Waits for a key, a signal, or `wait_ms`. Returns false if the terminal is gone.
static bool await(uint64_t wait_ms, const sigset_t *outside)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	struct timespec time = {(time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000};
	return ppoll(&input, 1, &time, outside) <= 0 || !(input.revents & (POLLHUP | POLLERR));
}

static void loop(struct top *top, const sigset_t *outside)
{
	uint64_t looked = pf_now_ms();
	for (;;) {
		uint64_t since = pf_now_ms() - looked;
		screen_draw(top);
		if (!await(since < top->delay_ms ? top->delay_ms - since : 0, outside) || ended_by)
			return;
		bool again = pf_now_ms() - looked >= top->delay_ms;
		for (int key; (key = getch()) != ERR;) {
			if (key == 'q')
				return;
			again |= key_take(top, key);
		}
		if (again) {
			look(top);
			looked = pf_now_ms();
		}
	}
}

static int watch(struct top *top)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = signal_note};
	sigset_t inside, outside;
	int result = screen_begin();
	if (result)
		return result;
	sigemptyset(&inside);
	sigaddset(&inside, SIGWINCH); // curses has its own handler
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		sigaction(ends[i], &action, NULL);
		sigaddset(&inside, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &inside, &outside);
	loop(top, &outside);
	screen_end();
	if (ended_by) {
		signal(ended_by, SIG_DFL);
		raise(ended_by);
		sigprocmask(SIG_SETMASK, &outside, NULL);
	}
	return 0;
}

// --- once ----------------------------------------------------------------------------------------

static void pools_print(const struct snapshot *snapshot)
{
	static const char *const heading[] = {
		"POOL", "PORTS", "SIZE", "LEASED", "HOLDING", "FREE", "FOREIGN", "EXHAUSTED"};
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	for (size_t i = 0; i < snapshot->pools; i++) {
		const struct snapshot_pool *pool = &snapshot->pool[i];
		const uint32_t numbers[] = {pool->size, pool->usage.leased, pool->usage.holding,
			pool->usage.free, pool->usage.foreign};
		cli_table_add(table, "%s", pool->name);
		cli_table_add(table, "%s", pool->ports);
		for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
			cli_table_add(table, "%u", numbers[n]);
		cli_table_add(table, "%llu", (unsigned long long)pool->exhausted);
	}
	cli_table_print(table);
}

static void processes_print(const struct snapshot *snapshot)
{
	static const char *const heading[] = {"PID", "COMMAND", "POOL", "LEASES", "DESTINATIONS"};
	CLI_TABLE table = cli_table_new(sizeof heading / sizeof *heading);
	for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
		cli_table_add(table, "%s", heading[i]);
	for (size_t i = 0; i < snapshot->processes; i++) {
		const struct snapshot_process *process = &snapshot->process[i];
		char peers[512];
		snapshot_peers(snapshot, process, peers, sizeof peers);
		if (process->pid)
			cli_table_add(table, "%d", (int)process->pid);
		else
			cli_table_add(table, "-");
		cli_table_add(table, "%s", process->command);
		cli_table_add(table, "%s", snapshot_label(snapshot, process->pool));
		cli_table_add(table, process->foreign ? "x%u" : "%u", process->sockets);
		cli_table_add(table, "%s", peers);
	}
	cli_table_print(table);
}

// Prints an object, or one at each look until nobody reads. Returns 0 or EXIT_PORTFENCE.
static int json_print(struct top *top)
{
	signal(SIGPIPE, SIG_DFL); // whoever started us
	for (;;) {
		cli_json_print_line(snapshot_json(&top->snapshot, pf_time_ns(pf_now_ms())));
		if (fflush(stdout))
			return EXIT_PORTFENCE;
		if (!top->again || !cli_is_read(top->delay_ms))
			return 0;
		look(top);
	}
}

// --- options -------------------------------------------------------------------------------------

static int delay_read(struct top *top, const char *text)
{
	char *end;
	double ms = strtod(text, &end) * 1000;
	if (*end || end == text || !(ms >= DELAY_MIN && ms <= DELAY_MAX))
		return cli_error("top: '%s' is no delay; expected 0.1 to 3600 seconds", text);
	top->delay_ms = (uint64_t)ms;
	top->again = true;
	return 0;
}

static const struct option options[] = {
	{"delay", required_argument, NULL, 'd'},
	{"all", no_argument, NULL, 'a'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

// Returns -1 to go on, or the exit status.
static int options_read(int argc, char **argv, struct top *top)
{
	int option, result = 0;
	opterr = 0;
	while (!result && (option = getopt_long(argc, argv, ":d:ah", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		if (option == 'a')
			top->all = true;
		else if (option == 'j')
			top->json = true;
		else if (option == 'd')
			result = delay_read(top, optarg);
		else
			result = cli_option_refuse(argv[0], argv, option);
	}
	if (!result && optind < argc)
		result = cli_error("top: '%s' is one argument too many", argv[optind]);
	return result ? result : -1;
}

int cli_top(int argc, char **argv)
{
	struct top top = {.delay_ms = 1000};
	int result = options_read(argc, argv, &top);
	if (result >= 0)
		return result;
	result = 0;
	look(&top);
	if (top.json) {
		result = json_print(&top);
	} else if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
		result = watch(&top);
	} else {
		pools_print(&top.snapshot);
		putchar('\n');
		processes_print(&top.snapshot);
	}
	snapshot_free(&top.snapshot);
	return result;
}
