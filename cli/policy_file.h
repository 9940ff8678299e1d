// SPDX-License-Identifier: MIT
// Policy files: portfence.conf(5).
#ifndef PF_POLICY_FILE_H
#define PF_POLICY_FILE_H

#include <portfence/rule.h>

// Reads a policy file. Returns 0; or EXIT_PORTFENCE with a line for every problem, and the results
// untouched.
int cli_policy_load(const char *path, struct pf_policy *ret_policy, struct pf_rules *ret_rules);

// Returns the policy file to use where none is named: $PORTFENCE_POLICY_FILE if that is set, else
// the first that exists of ~/.config/portfence.conf and /etc/portfence.conf, else NULL. It is good
// until the next call.
const char *cli_policy_default(void);

// Reads the policy that the user means: these ports, or this file, at most one of which may be
// given; else $PORTFENCE_PORTS; else the default file. Returns 0, with true in ret_plain if it is
// ports and nothing else; or EXIT_PORTFENCE with a message in which `command` names the subcommand.
int cli_policy_choose(const char *command, const char *ports, const char *file,
	struct pf_policy *ret_policy, struct pf_rules *ret_rules, bool *ret_plain);

#endif
