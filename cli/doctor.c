// SPDX-License-Identifier: MIT
// portfence doctor: what stands in the way of a fence, and the command that mends it.
#include "doctor.h"

#include "cli.h"
#include "preflight.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence doctor [--ports RANGES] [[--] PROGRAM]\n"
	"\n"
	"Examine this system: what stands in the way of a fence, and the command that mends it.\n"
	"\n"
	"  -p, --ports RANGES  the ports that it is about (default: $PORTFENCE_PORTS)\n"
	"  -h, --help          show this\n"
	"\n"
	"A line for each finding: 'ok', 'warn' (it works, but not as well as it could) or 'fail'.\n"
	"Exit status: 0; 1 if something fails; 125 for bad usage.\n";

__attribute__((format(printf, 3, 0))) static void line_print(
	const char *grade, const char *what, const char *format, va_list arguments)
{
	printf("%-4s  %-8s  ", grade, what);
	vprintf(format, arguments);
	putchar('\n');
}

void doctor_ok(const char *what, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	line_print("ok", what, format, arguments);
	va_end(arguments);
}

void doctor_warn(const char *what, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	line_print("warn", what, format, arguments);
	va_end(arguments);
}

void doctor_fail(struct doctor *doctor, const char *what, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	line_print("fail", what, format, arguments);
	va_end(arguments);
	doctor->failed = true;
}

void doctor_mend(const char *format, ...)
{
	va_list arguments;
	printf("%16s", "");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static void kernel_examine(void)
{
	struct utsname name;
	uint32_t none = 0;
	uname(&name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!setsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &none, sizeof none))
		doctor_ok("kernel", "%s %s has IP_LOCAL_PORT_RANGE", name.sysname, name.release);
	else
		doctor_ok("kernel",
			"%s %s has no IP_LOCAL_PORT_RANGE (6.3 and later do): the "
			"claim is always bind",
			name.sysname, name.release);
	close(fd);
}

// Returns the path of the library, or NULL.
static const char *library_examine(struct doctor *doctor)
{
	static char library[PATH_MAX];
	char reason[PATH_MAX + 64];
	if (cli_library_find(library, reason) == 0) {
		doctor_ok("library", "%s", library);
		return library;
	}
	doctor_fail(doctor, "library", "%s", reason);
	doctor_mend("make install PREFIX=/usr/local");
	return NULL;
}

static void environment_examine(struct doctor *doctor)
{
	const char *disable = getenv("PORTFENCE_DISABLE"), *log = getenv("PORTFENCE_LOG");
	if (disable && !strcmp(disable, "1")) {
		doctor_fail(doctor, "disable", "PORTFENCE_DISABLE=1 takes the fence away");
		doctor_mend("unset PORTFENCE_DISABLE");
	}
	if (log && !strcmp(log, "none")) {
		doctor_warn("log", "PORTFENCE_LOG=none hides what the library has to say");
		doctor_mend("unset PORTFENCE_LOG");
	}
}

static void files_examine(const struct doctor *doctor)
{
	struct rlimit limit;
	uint32_t ports = doctor->policy.pool[0].ranges.ports;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > ports) {
		doctor_ok("files", "a process may have more open than the pool has ports");
		return;
	}
	doctor_warn("files", "a process may have %llu open: it cannot use the %u ports at once",
		(unsigned long long)limit.rlim_cur, ports);
	doctor_mend("ulimit -n %u", ports + 100);
}

static void program_examine(struct doctor *doctor, const char *program)
{
	struct cli_preflight preflight;
	char name[2 * PATH_MAX + 32];
	cli_preflight(program, &preflight);
	cli_preflight_name(&preflight, name, sizeof name);
	if (preflight.error) {
		doctor_fail(doctor, "program", "%s: %s", program,
			preflight.why[0] ? preflight.why : strerror(preflight.error));
		if (preflight.error == ENOENT && !preflight.why[0])
			doctor_mend("command -v %s || echo \"$PATH\"", program);
		else
			doctor_mend("ls -l %s; file %s", program, program);
	} else if (preflight.unfenced) {
		doctor_fail(
			doctor, "program", "%s: %s, so it cannot be fenced", name, preflight.why);
		doctor_mend("%s", preflight.cure);
	} else if (preflight.unread) {
		doctor_warn("program",
			"%s may not be read by this user: whether it can be fenced is unknown",
			name);
		doctor_mend("sudo portfence doctor -- %s", program);
	} else {
		doctor_ok("program", "%s can be fenced", name);
	}
}

// Takes the ports from the option or the environment. Returns 0, or an exit status for an option
// that cannot be read.
static int ports_take(struct doctor *doctor, const char *option)
{
	const char *ports = option ? option : getenv("PORTFENCE_PORTS");
	char error[PF_ERROR_TEXT];
	doctor->policy.count = 0;
	if (!ports) {
		doctor_warn("ports", "none given: what depends on them is not examined");
		doctor_mend("portfence doctor --ports 20000-20999");
	} else if (pf_policy_from_ports(ports, &doctor->policy, error) == 0) {
		pf_ranges_format(&doctor->policy.pool[0].ranges, doctor->ports);
		doctor_ok("ports", "%s: %u", doctor->ports, doctor->policy.pool[0].ranges.ports);
	} else if (option) {
		return cli_error("ports %s", error);
	} else {
		doctor_fail(doctor, "ports", "PORTFENCE_PORTS %s: no program gets a port", error);
		doctor_mend("export PORTFENCE_PORTS=20000-20999");
	}
	return 0;
}

int cli_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{"ports", required_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct doctor doctor;
	const char *ports = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:p:h", options, NULL)) != -1) {
		if (option == 'p')
			ports = optarg;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		else
			return cli_option_refuse(argv[0], argv, option);
	}

	int result = ports_take(&doctor, ports);
	if (result)
		return result;
	kernel_examine();
	const char *library = library_examine(&doctor);
	environment_examine(&doctor);
	if (library)
		doctor_preload(library);
	doctor_calls(&doctor);
	doctor_shm(&doctor);
	if (doctor.policy.count) {
		doctor_ports(&doctor);
		doctor_sockets(&doctor);
		doctor_strict(&doctor);
		files_examine(&doctor);
	}
	if (optind < argc)
		program_examine(&doctor, argv[optind]);
	return doctor.failed ? 1 : 0;
}
