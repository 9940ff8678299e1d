// SPDX-License-Identifier: MIT
// What --json prints.
#include "json.h"

#include "leases.h"
#include "moment.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Adds what json-c made, NULL for null.
static void field_add(struct json_object *object, const char *name, struct json_object *value)
{
	if (json_object_object_add(object, name, value) < 0)
		exit(cli_error("out of memory"));
}

void cli_json_text(struct json_object *object, const char *name, const char *text)
{
	field_add(object, name, text ? json_object_new_string(text) : NULL);
}

void cli_json_number(struct json_object *object, const char *name, uint64_t number)
{
	field_add(object, name, json_object_new_uint64(number));
}

void cli_json_some(struct json_object *object, const char *name, uint64_t number)
{
	field_add(object, name, number ? json_object_new_uint64(number) : NULL);
}

void cli_json_bool(struct json_object *object, const char *name, bool value)
{
	field_add(object, name, json_object_new_boolean(value));
}

void cli_json_time(struct json_object *object, const char *name, uint64_t ns)
{
	char text[CLI_MOMENT];
	cli_moment_text_zone(ns, text);
	cli_json_text(object, name, ns ? text : NULL);
}

void cli_json_endpoint(struct json_object *object, const char *address, const char *port,
	const struct pf_endpoint *endpoint)
{
	char text[CLI_ENDPOINT];
	cli_address(endpoint, text);
	cli_json_text(object, address, endpoint->port ? text : NULL);
	cli_json_some(object, port, endpoint->port);
}

static void print(struct json_object *json, int flags)
{
	puts(json_object_to_json_string_ext(json, flags | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
}

void cli_json_print_line(struct json_object *json)
{
	print(json, JSON_C_TO_STRING_PLAIN);
}

void cli_json_print(struct json_object *json)
{
	print(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}
