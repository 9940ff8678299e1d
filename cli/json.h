// SPDX-License-Identifier: MIT
// What --json prints. The names of fields are a promise: portfence(1) lists them.
#ifndef PF_JSON_H
#define PF_JSON_H

#include <portfence/endpoint.h>

#include <json-c/json_object.h>
#include <stdbool.h>
#include <stdint.h>

// The objects are json-c's: what is added to one is freed with it.

// Adds a field: text (NULL: null), a number, true or false.
void cli_json_text(struct json_object *object, const char *name, const char *text);
void cli_json_number(struct json_object *object, const char *name, uint64_t number);
void cli_json_some(struct json_object *object, const char *name, uint64_t number); // 0: null
void cli_json_bool(struct json_object *object, const char *name, bool value);

// Adds a time in nanoseconds since 1970, 0: null.
void cli_json_time(struct json_object *object, const char *name, uint64_t ns);

// Adds an address and a port under these names; null, both, for port 0.
void cli_json_endpoint(struct json_object *object, const char *address, const char *port,
	const struct pf_endpoint *endpoint);

// Prints the object or array, on one line or on several, and frees it.
void cli_json_print_line(struct json_object *json);
void cli_json_print(struct json_object *json);

#endif
