// SPDX-License-Identifier: MIT
// What export.c shares with the server of one of its formats.
#ifndef PF_EXPORT_H
#define PF_EXPORT_H

#include <stdio.h>

// Writes the state of the pools in use, as Prometheus reads it. Returns 0, or EXIT_PORTFENCE with a
// message.
int export_prometheus(FILE *stream);

#endif
