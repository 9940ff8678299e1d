// SPDX-License-Identifier: MIT
// Take and give alone, in memory of our own: the linked core/pool.c, and no system call but those
// of pf_random.
#include "driver.h"

#include "random.h"
#include "util.h"

#include <portfence/pool.h>

#include <pthread.h>
#include <time.h>

static struct pf_pool pool;
static long rounds;

static void pool_make(unsigned ports)
{
	static struct pf_layout_pool shared;
	char text[16], error[PF_ERROR_TEXT];
	memset(&pool, 0, sizeof pool);
	memset(&shared, 0, sizeof shared);
	snprintf(text, sizeof text, "1000-%u", 999 + ports);
	if (pf_ranges_parse(text, &pool.ranges, error) < 0)
		die(error);
	pool.words = pf_layout_words(ports);
	pool.stripe_size = pf_layout_stripe_size(ports);
	pool.stripes = PF_STRIPE_TCP + 1;
	pool.hold_ms = 120000;
	pool.shared = &shared;
	pool.stripe = aligned_alloc(64, pool.stripes * pool.stripe_size);
	if (!pool.stripe)
		die("aligned_alloc");
	memset(pool.stripe, 0, pool.stripes * pool.stripe_size);
}

// Marks as used so many ports, at random.
static void pool_fill(unsigned used)
{
	while (used) {
		uint16_t port = pf_ranges_port(&pool.ranges, below(pool.ranges.ports));
		used -= pf_pool_mark(&pool, PF_STRIPE_TCP, port);
	}
}

// Returns the nanoseconds that this thread had a processor: what else runs there does not count.
static double processor_time(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// Does what a connect and a close do, the kernel's part left out.
static void *churn(void *arg)
{
	struct tally *tally = arg;
	double start = processor_time();
	for (long i = 0; i < rounds; i++) {
		uint32_t at = (uint32_t)((pf_random() >> 32) * pool.ranges.ports >> 32);
		uint16_t port;
		if (pf_pool_take(&pool, PF_STRIPE_TCP, 0, pf_now_ms(), &at, &port) < 0) {
			tally->refused++;
			continue;
		}
		tally->done++;
		pf_pool_give(&pool, PF_STRIPE_TCP, port);
	}
	tally->ns = processor_time() - start;
	return NULL;
}

struct tally pool_churn(unsigned ports, double percent, int threads, long count)
{
	static _Alignas(4096) unsigned char page[4096];
	struct tally tally[64] = {{0}}, sum = {0};
	pthread_t thread[64];
	if (ports < 1 || ports > 60000 || percent < 0 || percent > 100 || threads < 1 ||
		threads > 64)
		die("pool");
	pf_random_use(page);
	pool_make(ports);
	pool_fill((unsigned)(ports * percent / 100));
	rounds = count;
	for (int i = 0; i < threads; i++)
		if ((errno = pthread_create(&thread[i], NULL, churn, &tally[i])))
			die("pthread_create");
	for (int i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		sum.done += tally[i].done;
		sum.refused += tally[i].refused;
		sum.ns += tally[i].ns;
	}
	free(pool.stripe);
	return sum;
}
