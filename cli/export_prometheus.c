// SPDX-License-Identifier: MIT
// portfence export prometheus: the state of the pools.
#include "export.h"

#include "cli.h"
#include "leases.h"

#include <stdlib.h>
#include <string.h>

// One pool, at this moment.
struct sample {
	char name[PF_POOL_NAME], segment[PF_SEGMENT_PATH];
	uint32_t ports;
	struct cli_usage usage;
	uint64_t counter[PF_COUNTERS];
};

struct samples {
	struct sample *sample;
	size_t count;
	struct cli_processes *processes;
};

static void segment_sample(struct cli_segment *segment, void *arg)
{
	struct samples *samples = arg;
	CLI_LEASES leases = {0};
	cli_leases_add(&leases, segment, samples->processes);
	for (uint32_t i = 0; i < segment->segment.pools; i++) {
		const struct pf_pool *pool = &segment->segment.pool[i];
		samples->sample =
			realloc(samples->sample, (samples->count + 1) * sizeof *samples->sample);
		if (!samples->sample)
			exit(cli_error("out of memory"));
		struct sample *sample = &samples->sample[samples->count++];
		struct cli_port *ports = cli_ports_read(segment, i, &leases);
		memset(sample, 0, sizeof *sample);
		memcpy(sample->name, pool->name, sizeof sample->name);
		snprintf(sample->segment, sizeof sample->segment, "%s", segment->path);
		sample->ports = pool->ranges.ports;
		sample->usage = cli_usage(ports, pool->ranges.ports);
		for (int c = 0; c < PF_COUNTERS; c++)
			sample->counter[c] = pf_pool_counted(pool, (enum pf_counter)c);
		free(ports);
	}
}

// Writes a label's value.
static void label_write(FILE *stream, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', stream);
		if (*text == '\n')
			fputs("\\n", stream);
		else
			fputc(*text, stream);
	}
}

// Writes one metric of one pool.
static void metric_write(
	FILE *stream, const char *name, const struct sample *sample, unsigned long long value)
{
	fprintf(stream, "portfence_pool_%s{pool=\"", name);
	label_write(stream, sample->name);
	fputs("\",segment=\"", stream);
	label_write(stream, sample->segment);
	fprintf(stream, "\"} %llu\n", value);
}

static void heading_write(FILE *stream, const char *name, const char *help, const char *type)
{
	fprintf(stream, "# HELP portfence_pool_%s %s\n# TYPE portfence_pool_%s %s\n", name, help,
		name, type);
}

static void usage_write(FILE *stream, const struct samples *samples)
{
	static const struct {
		const char *name, *help;
		size_t at;
	} gauges[] = {
		{"ports", "Ports in the pool.", offsetof(struct sample, ports)},
		{"leases", "Leases: a port counts once for each destination.",
			offsetof(struct sample, usage.leased)},
		{"busy_ports", "Ports with a lease.", offsetof(struct sample, usage.busy)},
		{"holding_ports", "Ports released lately.", offsetof(struct sample, usage.holding)},
		{"foreign_ports", "Ports that programs outside the fence have.",
			offsetof(struct sample, usage.foreign)},
		{"free_ports", "Ports that are neither busy, holding nor foreign.",
			offsetof(struct sample, usage.free)},
	};
	for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
		heading_write(stream, gauges[i].name, gauges[i].help, "gauge");
		for (size_t s = 0; s < samples->count; s++) {
			uint32_t value;
			memcpy(&value, (const char *)&samples->sample[s] + gauges[i].at,
				sizeof value);
			metric_write(stream, gauges[i].name, &samples->sample[s], value);
		}
	}
}

static void counters_write(FILE *stream, const struct samples *samples)
{
	static const struct {
		const char *name, *help;
		enum pf_counter counter;
	} counters[] = {
		{"refused_total", "Claims that the kernel refused.", PF_COUNT_REFUSED},
		{"exhausted_total", "Calls that failed for want of a port.", PF_COUNT_EXHAUSTED},
		{"reaped_total", "Ports given back that no socket used.", PF_COUNT_REAPED},
		{"searched_total", "Calls for which the kernel searched.", PF_COUNT_SEARCHED},
		{"strayed_total", "Claims that ended outside the pool.", PF_COUNT_STRAYED},
		{"fallback_total", "Calls left to the kernel for want of a port.",
			PF_COUNT_FALLBACK},
		{"quota_total", "Calls that failed because of a quota.", PF_COUNT_QUOTA},
	};
	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
		heading_write(stream, counters[i].name, counters[i].help, "counter");
		for (size_t s = 0; s < samples->count; s++)
			metric_write(stream, counters[i].name, &samples->sample[s],
				samples->sample[s].counter[counters[i].counter]);
	}
}

int export_prometheus(FILE *stream)
{
	CLI_PROCESSES processes = cli_processes_new();
	struct samples samples = {.processes = processes};
	int result = cli_segments(segment_sample, &samples);
	if (result == 0) {
		usage_write(stream, &samples);
		counters_write(stream, &samples);
	}
	free(samples.sample);
	return result;
}
