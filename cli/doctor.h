// SPDX-License-Identifier: MIT
// What the parts of `portfence doctor` share: the report, and what it is about.
#ifndef PF_DOCTOR_H
#define PF_DOCTOR_H

#include <portfence/claim.h>
#include <portfence/segment.h>

#include <sys/stat.h>

struct doctor {
	struct pf_policy policy; // count 0: no ports were given
	char ports[PF_RANGES_TEXT];
	struct pf_segment segment; // of this policy; pools 0: there is none
	struct stat file;          // where the segment is
	enum pf_claim claim;       // that a new segment would choose
	bool failed;               // something that the fence cannot do without
};

// Adds a finding: all is well; something works less well than it could; the fence does not work.
__attribute__((format(printf, 2, 3))) void doctor_ok(const char *what, const char *format, ...);
__attribute__((format(printf, 2, 3))) void doctor_warn(const char *what, const char *format, ...);
__attribute__((format(printf, 3, 4))) void doctor_fail(
	struct doctor *doctor, const char *what, const char *format, ...);

// Adds the command that mends the last finding.
__attribute__((format(printf, 1, 2))) void doctor_mend(const char *format, ...);

// The examinations, one file each.
void doctor_ports(struct doctor *doctor);        // sysctls and claim
void doctor_sockets(struct doctor *doctor);      // who sits on the ports
void doctor_shm(struct doctor *doctor);          // the segment and its directory
void doctor_calls(struct doctor *doctor);        // seccomp
void doctor_strict(const struct doctor *doctor); // whether a run can be strict
void doctor_preload(const char *library);        // others in LD_PRELOAD

#endif
