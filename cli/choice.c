// SPDX-License-Identifier: MIT
// Which policy the user means.
#include "cli.h"
#include "policy_file.h"

#include <stdlib.h>

int cli_policy_choose(const char *command, const char *ports, const char *file,
	struct pf_policy *ret_policy, struct pf_rules *ret_rules, bool *ret_plain)
{
	char error[PF_ERROR_TEXT];
	if (ports && file)
		return cli_error(
			"%s: --ports and --policy are two ways to say which ports", command);
	if (!ports && !file)
		ports = getenv("PORTFENCE_PORTS");
	*ret_plain = ports;
	if (!ports && !file)
		file = cli_policy_default();
	if (!ports && !file)
		return cli_error("%s: no ports; expected --ports RANGES, as in 20000-20999, or "
				 "--policy FILE",
			command);
	if (!ports)
		return cli_policy_load(file, ret_policy, ret_rules);
	ret_rules->count = ret_rules->fallback = 0;
	if (pf_policy_from_ports(ports, ret_policy, error) < 0)
		return cli_error("ports %s", error);
	return 0;
}
