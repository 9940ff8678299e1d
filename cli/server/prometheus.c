// SPDX-License-Identifier: MIT
// portfence-prometheus ADDRESS:PORT: what `portfence export prometheus --listen` becomes. A program
// of its own, since its library brings others, which no container should need to run the command.
#include "../cli.h"
#include "../export.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

// Answers a request with a text, which is freed. Returns as MHD_queue_response.
static enum MHD_Result answer(
	struct MHD_Connection *connection, unsigned status, char *text, size_t size)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, CONTENT_TYPE);
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *size, void **state)
{
	char *text = NULL;
	size_t length = 0;
	(void)arg, (void)version, (void)body, (void)size, (void)state;
	bool reads = !strcmp(method, "GET") || !strcmp(method, "HEAD");
	bool known = !strcmp(url, "/metrics");
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		return MHD_NO;
	bool failed = reads && known && export_prometheus(stream) != 0;
	if (!known)
		fputs("portfence: see /metrics\n", stream);
	if (fclose(stream) != 0)
		return MHD_NO;
	return answer(connection,
		!reads           ? MHD_HTTP_METHOD_NOT_ALLOWED
			: failed ? MHD_HTTP_INTERNAL_SERVER_ERROR
			: known  ? MHD_HTTP_OK
				 : MHD_HTTP_NOT_FOUND,
		text, length);
}

// Reads "ADDRESS:PORT" or "[ADDRESS]:PORT". Returns 0 or -EINVAL.
static int address_read(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char host[INET6_ADDRSTRLEN], end;
	unsigned port;
	memset(ret_address, 0, sizeof *ret_address);
	if (sscanf(text, "[%45[0-9a-fA-F:.]]:%5u%c", host, &port, &end) == 2 && port <= 65535 &&
		inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
		in6.sin6_port = htons((uint16_t)port);
		memcpy(ret_address, &in6, sizeof in6);
		return 0;
	}
	if (sscanf(text, "%15[0-9.]:%5u%c", host, &port, &end) == 2 && port <= 65535 &&
		inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		in.sin_port = htons((uint16_t)port);
		memcpy(ret_address, &in, sizeof in);
		return 0;
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	const char *where = argc > 1 ? argv[1] : "";
	struct sockaddr_storage address;
	sigset_t ends;
	int number;
	if (address_read(where, &address) < 0)
		return cli_error(
			"export: --listen '%s': expected ADDRESS:PORT, as in 127.0.0.1:9100",
			where);
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL); // for its thread, too
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD |
		(address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
	errno = 0;
	struct MHD_Daemon *daemon = MHD_start_daemon(flags, 0, NULL, NULL, request, NULL,
		MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_CONNECTION_TIMEOUT,
		10u, MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_END);
	if (!daemon)
		return cli_error("export: --listen %s: %s", where,
			errno ? strerror(errno) : "cannot listen there");
	sigwait(&ends, &number);
	MHD_stop_daemon(daemon);
	return 0;
}
