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

#endif
