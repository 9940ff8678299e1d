// SPDX-License-Identifier: MIT
// portfence export: the pools of a policy, in the languages of those who are to know of them.
#include "export.h"

#include "cli.h"
#include "leases.h"
#include "policy_file.h"
#include "portset.h"
#include "preflight.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"Usage: portfence export FORMAT [OPTION]...\n"
	"\n"
	"Print the pools of a policy for other programs.\n"
	"\n"
	"  nft         a table with a set of ports for each pool, for nft -f\n"
	"  iptables    a chain with the pools' ports, for iptables-restore -n, ip6tables-restore "
	"-n\n"
	"  sysctl      net.ipv4.ip_local_reserved_ports: what is there, and the pools\n"
	"  suricata    port and address groups for suricata.yaml\n"
	"  prometheus  the state of the pools that are in use, for a textfile collector\n"
	"\n"
	"  -p, --ports RANGES    one pool of these ports (default: $PORTFENCE_PORTS)\n"
	"      --policy FILE     the pools of this policy (default: as for run)\n"
	"  -f, --filter          nft, iptables: with rules that drop what leaves this host from\n"
	"                        other ports, but for what rules with pool = none are about\n"
	"  -l, --listen ADDRESS:PORT\n"
	"                        prometheus: serve it there over HTTP, at /metrics\n"
	"  -h, --help            show this\n";

// Writes the ranges of a pool, with `dash` in each and `comma` between them.
static void ranges_write(const struct pf_ranges *ranges, const char *dash, const char *comma)
{
	for (uint32_t i = 0; i < ranges->count; i++) {
		struct pf_range range = ranges->range[i];
		printf(i ? "%s%u" : "%.0s%u", comma, range.first);
		if (range.last > range.first)
			printf("%s%u", dash, range.last);
	}
}

// ---- nftables ----------------------------------------------------------------------------------

static void nft_set(const char *name, const struct pf_policy *policy, uint32_t from, uint32_t to)
{
	printf("\tset %s {\n\t\ttype inet_service\n\t\tflags interval\n\t\tauto-merge\n"
	       "\t\telements = { ",
		name);
	for (uint32_t i = from; i < to; i++) {
		printf(i > from ? ", " : "");
		ranges_write(&policy->pool[i].ranges, "-", ", ");
	}
	printf(" }\n\t}\n");
}

static void nft_line(const struct export_line *line)
{
	printf("\t\t");
	if (line->protocols == PF_POLICY_TCP || line->protocols == PF_POLICY_UDP)
		printf("meta l4proto %s ", line->protocols == PF_POLICY_TCP ? "tcp" : "udp");
	if (*line->network)
		printf("%s daddr %s ", line->is_ipv4 ? "ip" : "ip6", line->network);
	if (line->first != 1 || line->last != 65535)
		printf(line->first == line->last ? "th dport %u " : "th dport %u-%u ", line->first,
			line->last);
	printf("%s comment \"rule %s\"\n", line->accepts ? "accept" : "counter drop", line->rule);
}

static void nft_filter(const struct export *export)
{
	// A server's answers leave from its own port: they are not of the original direction.
	puts("\tchain output {\n"
	     "\t\ttype filter hook output priority filter; policy accept;\n"
	     "\t\toif lo accept\n"
	     "\t\tmeta l4proto { tcp, udp } ct direction original goto outgoing\n"
	     "\t}\n"
	     "\tchain outgoing {\n"
	     "\t\tth sport @pools accept");
	export_filter_lines(export, nft_line);
	puts("\t\tcounter drop\n"
	     "\t}");
}

static void export_nft(const struct export *export)
{
	const struct pf_policy *policy = &export->policy;
	puts("# The table is made anew: nft -f replaces what was there.");
	if (export->filter)
		export_filter_explain(export);
	puts("table inet portfence\n"
	     "delete table inet portfence\n"
	     "table inet portfence {");
	nft_set("pools", policy, 0, policy->count);
	for (uint32_t i = 0; i < policy->count; i++) {
		char name[PF_POOL_NAME + 8];
		snprintf(name, sizeof name, "pool-%s", policy->pool[i].name);
		nft_set(name, policy, i, i + 1);
	}
	if (export->filter)
		nft_filter(export);
	puts("}\n"
	     "# In a chain of this table a rule can name them:\n"
	     "#   count a pool    th sport @pool-NAME counter\n"
	     "#   mark it         th sport @pool-NAME meta mark set 7\n"
	     "#   an address for  ip protocol tcp th sport @pool-NAME snat to 192.0.2.1   (nat, "
	     "postrouting)\n"
	     "#   let it out      th sport @pools accept                                (filter, "
	     "output)");
}

// ---- iptables ----------------------------------------------------------------------------------

static void iptables_pool(const struct pf_policy_pool *pool, const char *protocol)
{
	for (uint32_t i = 0; i < pool->ranges.count; i++) {
		struct pf_range range = pool->ranges.range[i];
		printf("-A PORTFENCE -p %s --sport %u:%u -m comment --comment \"pool %s\" -j "
		       "ACCEPT\n",
			protocol, range.first, range.last, pool->name);
	}
}

static void iptables_line_of(const struct export_line *line, const char *protocol)
{
	printf("-A PORTFENCE -p %s", protocol);
	if (*line->network) // -4 and -6: the other family's command passes over the line
		printf(" %s -d %s", line->is_ipv4 ? "-4" : "-6", line->network);
	if (line->first != 1 || line->last != 65535)
		printf(" --dport %u:%u", line->first, line->last);
	printf(" -m comment --comment \"rule %s\" -j %s\n", line->rule,
		line->accepts ? "ACCEPT" : "DROP");
}

static void iptables_line(const struct export_line *line)
{
	if (line->protocols & PF_POLICY_TCP)
		iptables_line_of(line, "tcp");
	if (line->protocols & PF_POLICY_UDP)
		iptables_line_of(line, "udp");
}

static void export_iptables(const struct export *export)
{
	// What is restored twice is there twice, but in a chain that is emptied first.
	puts("# For iptables-restore -n: only this chain is replaced. What leads to it is made\n"
	     "# apart, if it is not there; for ip6tables, too:\n"
	     "#   for p in tcp udp; do\n"
	     "#       set -- OUTPUT -p $p -m conntrack --ctdir ORIGINAL -j PORTFENCE\n"
	     "#       iptables -C \"$@\" 2>/dev/null || iptables -A \"$@\"\n"
	     "#   done");
	if (export->filter)
		export_filter_explain(export);
	puts("*filter\n"
	     ":PORTFENCE - [0:0]");
	if (export->filter)
		puts("-A PORTFENCE -o lo -j ACCEPT");
	for (uint32_t i = 0; i < export->policy.count; i++) {
		const struct pf_policy_pool *pool = &export->policy.pool[i];
		if (pool->flags & PF_POLICY_TCP)
			iptables_pool(pool, "tcp");
		if (pool->flags & PF_POLICY_UDP)
			iptables_pool(pool, "udp");
	}
	if (export->filter)
		export_filter_lines(export, iptables_line);
	puts(export->filter ? "-A PORTFENCE -j DROP" : "-A PORTFENCE -j RETURN");
	puts("COMMIT");
}

// ---- sysctl ------------------------------------------------------------------------------------

static void export_sysctl(const struct export *export)
{
	static cli_portset merged;
	char *now = cli_sysctl("ip_local_reserved_ports");
	if (now)
		cli_portset_read(merged, now);
	for (uint32_t i = 0; i < export->policy.count; i++) {
		const struct pf_ranges *ranges = &export->policy.pool[i].ranges;
		for (uint32_t r = 0; r < ranges->count; r++)
			cli_portset_add(merged, ranges->range[r].first, ranges->range[r].last);
	}
	char *text = cli_portset_format(merged, CLI_PORTS);
	puts("# For /etc/sysctl.d: the kernel gives these ports to nobody who does not ask for "
	     "them.");
	printf("net.ipv4.ip_local_reserved_ports = %s\n", text);
	free(text);
	free(now);
}

// ---- Suricata ----------------------------------------------------------------------------------

#define SURICATA_NAME (sizeof "PORTFENCE_" - 1 + PF_POOL_NAME)

// Writes a name as the variables of suricata.yaml have it: PORTFENCE_WEB.
static void suricata_name(const char *name, char *text)
{
	char *at = stpcpy(text, "PORTFENCE_");
	for (; *name; name++)
		*at++ = (char)(isalnum((unsigned char)*name) ? toupper((unsigned char)*name) : '_');
	*at = 0;
}

// Returns 0, or EXIT_PORTFENCE with a message if both names are one variable.
static int suricata_compare(const char *kind, const char *name, const char *other)
{
	char text[SURICATA_NAME], other_text[SURICATA_NAME];
	suricata_name(name, text);
	suricata_name(other, other_text);
	if (strcmp(text, other_text) != 0)
		return 0;
	return cli_error("export: %s '%s' and '%s' are both %s for Suricata, rename one", kind,
		name, other, text);
}

// Returns 0, or EXIT_PORTFENCE with a message if two pools, or two rules, are one variable.
static int suricata_check(const struct export *export)
{
	const struct pf_policy_pool *pool = export->policy.pool;
	const struct pf_rule *rule = export->rules.rule;
	int result = 0;
	for (uint32_t i = 0; i < export->policy.count; i++)
		for (uint32_t j = 0; j < i && result == 0; j++)
			result = suricata_compare("pools", pool[j].name, pool[i].name);
	for (uint32_t i = 0; i < export->rules.count; i++)
		for (uint32_t j = 0; j < i && result == 0; j++)
			if (rule[i].destinations && rule[j].destinations)
				result = suricata_compare("rules", rule[j].name, rule[i].name);
	return result;
}

// Writes the networks of a rule's destinations.
static void suricata_addresses(const struct pf_rule *rule)
{
	char name[SURICATA_NAME];
	suricata_name(rule->name, name);
	printf("    %s: \"[", name);
	for (uint32_t i = 0; i < rule->destinations; i++) {
		const struct pf_rule_destination *to = &rule->destination[i];
		char text[CLI_ENDPOINT];
		unsigned bits;
		cli_network(to, text, &bits);
		if (to->prefix == 0)
			printf("%sany", i ? "," : "");
		else
			printf("%s%s/%u", i ? "," : "", text, bits);
	}
	puts("]\"");
}

static void export_suricata(const struct export *export)
{
	bool addresses = false;
	puts("%YAML 1.1\n---\nvars:\n  port-groups:");
	for (uint32_t i = 0; i < export->policy.count; i++) {
		char name[SURICATA_NAME];
		suricata_name(export->policy.pool[i].name, name);
		printf("    %s: \"[", name);
		ranges_write(&export->policy.pool[i].ranges, ":", ",");
		puts("]\"");
	}
	for (uint32_t i = 0; i < export->rules.count; i++) {
		const struct pf_rule *rule = &export->rules.rule[i];
		if (rule->destinations && !addresses)
			puts("  address-groups:");
		addresses |= rule->destinations > 0;
		if (rule->destinations)
			suricata_addresses(rule);
	}
}

// ---- The subcommand ----------------------------------------------------------------------------

static const struct {
	const char *name;
	void (*write)(const struct export *export);
	int (*check)(const struct export *export); // before that; NULL: nothing to refuse
} formats[] = {
	{"nft", export_nft, NULL},
	{"iptables", export_iptables, NULL},
	{"sysctl", export_sysctl, NULL},
	{"suricata", export_suricata, suricata_check},
};

// Writes the policy in the format. Returns the exit status.
static int format_write(
	const char *name, struct export *export, const char *ports, const char *file)
{
	bool plain;
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (strcmp(formats[i].name, name) != 0)
			continue;
		int result = cli_policy_choose(
			"export", ports, file, &export->policy, &export->rules, &plain);
		if (result == 0 && formats[i].check)
			result = formats[i].check(export);
		if (result == 0)
			formats[i].write(export);
		return result;
	}
	return cli_error("export: no format '%s'; expected nft, iptables, sysctl, suricata or "
			 "prometheus",
		name);
}

// Becomes the server. Returns the exit status if it cannot.
static int prometheus_serve(const char *where)
{
	char path[PATH_MAX];
	if (cli_beside_find("portfence-prometheus", path) == 0)
		execl(path, "portfence-prometheus", where, NULL);
	return cli_error("%s: %s", path, strerror(errno));
}

int cli_export(int argc, char **argv)
{
	static const struct option options[] = {
		{"ports", required_argument, NULL, 'p'},
		{"policy", required_argument, NULL, 'P'},
		{"filter", no_argument, NULL, 'f'},
		{"listen", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct export export;
	const char *ports = NULL, *file = NULL, *listen = NULL;
	int option;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":p:fl:h", options, NULL)) != -1) {
		if (option == 'p')
			ports = optarg;
		else if (option == 'P')
			file = optarg;
		else if (option == 'f')
			export.filter = true;
		else if (option == 'l')
			listen = optarg;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_PORTFENCE : 0;
		else
			return cli_option_refuse(argv[0], argv, option);
	}
	if (optind != argc - 1)
		return cli_error("export: expected one format; see portfence export --help");
	bool live = !strcmp(argv[optind], "prometheus");
	if (live && (ports || file || export.filter))
		return cli_error(
			"export: prometheus is about the pools in use; it takes no policy");
	if (listen && !live)
		return cli_error("export: --listen is for prometheus");
	if (live)
		return listen ? prometheus_serve(listen) : export_prometheus(stdout);
	return format_write(argv[optind], &export, ports, file);
}
