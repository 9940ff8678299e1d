// SPDX-License-Identifier: MIT
// portfence doctor: the sysctls that decide how a port is claimed and who else may take it, and who
// has taken one.
#include "doctor.h"

#include "cli.h"
#include "portset.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Returns the number that a sysctl has, or -1.
static long sysctl_number(const char *name)
{
	char *line = cli_sysctl(name);
	long number = line ? strtol(line, NULL, 10) : -1;
	free(line);
	return number;
}

static unsigned ports_count(const cli_portset set)
{
	unsigned count = 0;
	for (unsigned port = 0; port < CLI_PORTS; port++)
		count += set[port];
	return count;
}

static void pool_add(cli_portset set, const struct doctor *doctor)
{
	const struct pf_ranges *ranges = &doctor->policy.pool[0].ranges;
	for (uint32_t i = 0; i < ranges->count; i++)
		cli_portset_add(set, ranges->range[i].first, ranges->range[i].last);
}

// Which ports the kernel hands out by itself, and which it never does.
static cli_portset ephemeral, reserved;

static void claim_examine(struct doctor *doctor)
{
	static cli_portset pool, out;
	uint32_t range;
	socklen_t size = sizeof range;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool option = !getsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, &size);
	int chosen = pf_claim_choose(&doctor->policy.pool[0].ranges, fd);
	doctor->claim = chosen == PF_CLAIM_LATE ? PF_CLAIM_LATE : PF_CLAIM_BIND;
	close(fd);

	pool_add(pool, doctor);
	char *inside = cli_portset_format(ephemeral, 2);
	unsigned outside = 0, kept = 0;
	for (unsigned port = 0; port < CLI_PORTS; port++) {
		out[port] = pool[port] && !ephemeral[port];
		outside += out[port];
		kept += pool[port] && reserved[port];
	}
	if (doctor->claim == PF_CLAIM_LATE)
		doctor_ok("claim",
			"late: all ports are in ip_local_port_range (%s), none is reserved",
			inside);
	else if (!option)
		doctor_ok("claim", "bind: the kernel has no IP_LOCAL_PORT_RANGE");
	else if (outside)
		doctor_ok("claim", "bind: %u of the ports are outside ip_local_port_range (%s)",
			outside, inside);
	else if (kept)
		doctor_ok("claim", "bind: %u of the ports are in ip_local_reserved_ports", kept);
	else
		doctor_ok("claim", "bind: /proc/sys/net/ipv4 does not tell the kernel's range");
	free(inside);
	if (doctor->segment.pools && pf_pool_claim(&doctor->segment.pool[0]) != doctor->claim) {
		doctor_warn("claim",
			"the segment in use has the claim %s: sysctls have changed since",
			doctor->claim == PF_CLAIM_LATE ? "bind" : "late");
		doctor_mend("rm %s/" PF_SEGMENT_PREFIX "%016llx.*   # when no program uses it",
			cli_segment_dir(), (unsigned long long)doctor->policy.digest);
	}
}

// Says whether programs without a fence can take ports of the pool.
static void intruders_examine(const struct doctor *doctor)
{
	static cli_portset pool, merged;
	unsigned open = 0;
	pool_add(pool, doctor);
	for (unsigned port = 0; port < CLI_PORTS; port++) {
		open += pool[port] && ephemeral[port] && !reserved[port];
		merged[port] = pool[port] || reserved[port];
	}
	if (!open) {
		doctor_ok("reserved", "the kernel gives no port of the pool to other programs");
		return;
	}
	char *text = cli_portset_format(merged, CLI_PORTS);
	doctor_warn("reserved",
		"the kernel gives %u of the ports to other programs, too; reserved, they are the "
		"pool's alone (claim bind)",
		open);
	doctor_mend("sysctl -w net.ipv4.ip_local_reserved_ports=%s", text);
	free(text);
}

// Returns true if this process may bind the port, as far as privileges go.
static bool port_is_allowed(uint16_t port)
{
	const int on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bool denied = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno == EACCES;
	close(fd);
	return !denied;
}

static void privileged_examine(struct doctor *doctor)
{
	uint16_t first = doctor->policy.pool[0].ranges.range[0].first;
	long start = sysctl_number("ip_unprivileged_port_start");
	if (start < 0)
		start = 1024; // before Linux 4.11
	if (first >= start || port_is_allowed(first))
		return;
	doctor_fail(doctor, "ports", "those below %ld are only for who has CAP_NET_BIND_SERVICE",
		start);
	doctor_mend("sysctl -w net.ipv4.ip_unprivileged_port_start=%u", first);
}

static void time_wait_examine(const struct doctor *doctor)
{
	long reuse = sysctl_number("tcp_tw_reuse");
	if (doctor->claim != PF_CLAIM_LATE || reuse < 0) {
		doctor_ok("timewait", "tcp_tw_reuse does not matter here");
	} else if (reuse == 0) {
		doctor_warn("timewait",
			"tcp_tw_reuse = 0: a port in TIME_WAIT is not used again "
			"for the same destination");
		doctor_mend("sysctl -w net.ipv4.tcp_tw_reuse=2");
	} else {
		doctor_ok("timewait",
			"tcp_tw_reuse = %ld: a port in TIME_WAIT is used again after a second%s",
			reuse, reuse == 2 ? ", on loopback" : "");
	}
}

void doctor_ports(struct doctor *doctor)
{
	char *range = cli_sysctl("ip_local_port_range");
	char *kept = cli_sysctl("ip_local_reserved_ports");
	if (range)
		cli_portset_read(ephemeral, range);
	if (kept)
		cli_portset_read(reserved, kept);
	free(range);
	free(kept);
	claim_examine(doctor);
	intruders_examine(doctor);
	privileged_examine(doctor);
	time_wait_examine(doctor);
}

// --- who sits on the ports -----------------------------------------------------------------------

struct census {
	const struct doctor *doctor;
	const struct cli_processes *processes;
	cli_portset taken; // by sockets of others that block them for every destination
	unsigned connections;
	char *text; // "20080 (tcp, nginx), ..."
	size_t size;
	FILE *stream;
};

// Returns true for the sockets of the processes that are attached to the segment. Whom a port is
// leased to, the segment does not know: the reap marks the ports of others, too.
static bool is_fenced(const struct doctor *doctor, pid_t pid)
{
	static struct {
		pid_t pid;
		bool fenced;
	} known[256];
	unsigned at = (unsigned)pid % 256;
	if (!doctor->segment.pools)
		return false;
	if (known[at].pid != pid) {
		known[at].pid = pid;
		known[at].fenced = cli_process_maps(pid, &doctor->file) > 0;
	}
	return known[at].fenced;
}

static int socket_count(const struct pf_socket *socket, void *arg)
{
	struct census *census = arg;
	pid_t pid;
	bool tcp = socket->protocol == IPPROTO_TCP;
	const char *command = cli_processes_find(census->processes, socket->inode, &pid);
	if ((tcp && socket->state == TCP_TIME_WAIT) || (command && is_fenced(census->doctor, pid)))
		return 0;
	if (tcp && socket->state != TCP_LISTEN && socket->state != TCP_CLOSE) {
		census->connections++;
		return 0;
	}
	unsigned before = ports_count(census->taken);
	census->taken[socket->local.port] = true;
	if (before >= 3 || ports_count(census->taken) == before)
		return 0;
	fprintf(census->stream, "%s%u (%s%s%s)", before ? ", " : "", socket->local.port,
		tcp ? "tcp" : "udp", command ? ", " : "", command ? command : "");
	return 0;
}

static void census_report(struct doctor *doctor, const struct census *census)
{
	const struct pf_ranges *ranges = &doctor->policy.pool[0].ranges;
	static cli_portset rest;
	unsigned taken = ports_count(census->taken);
	pool_add(rest, doctor);
	for (unsigned port = 0; port < CLI_PORTS; port++)
		rest[port] &= !census->taken[port];
	unsigned left = ports_count(rest);
	if (census->connections)
		doctor_ok("sockets", "%u connections of other programs have ports of the pool",
			census->connections);
	if (!taken) {
		doctor_ok("sockets", "nobody else listens on a port of the pool");
		return;
	}
	const char *more = taken > 3 ? ", ..." : "";
	if (left)
		doctor_warn("sockets", "%u of the ports have other owners: %s%s", taken,
			census->text, more);
	else
		doctor_fail(doctor, "sockets", "all of the ports have other owners: %s%s",
			census->text, more);
	char *text = cli_portset_format(rest, PF_RANGES_MAX);
	if (left && !strstr(text, "..."))
		doctor_mend("portfence run --ports %s -- PROGRAM", text);
	else
		doctor_mend("ss -Htulpn 'sport >= :%u and sport <= :%u'   # and end them",
			ranges->range[0].first, ranges->range[ranges->count - 1].last);
	free(text);
}

void doctor_sockets(struct doctor *doctor)
{
	static struct census census;
	const struct pf_ranges *ranges = &doctor->policy.pool[0].ranges;
	const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	CLI_PROCESSES processes = cli_processes_new();
	census.doctor = doctor;
	census.processes = processes;
	census.stream = open_memstream(&census.text, &census.size);
	if (!census.stream)
		exit(cli_error("out of memory"));
	for (size_t i = 0; i < sizeof protocols; i++) {
		int result = pf_diag_each(
			protocols[i], ranges->range, ranges->count, socket_count, &census);
		if (result < 0) {
			doctor_warn("sockets",
				"the kernel does not list %s sockets (%s): what "
				"dead programs leave comes back late",
				i ? "UDP" : "TCP", strerror(-result));
			doctor_mend("modprobe -a inet_diag tcp_diag udp_diag");
		}
	}
	fclose(census.stream);
	census_report(doctor, &census);
	free(census.text);
}
