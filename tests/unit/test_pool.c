// SPDX-License-Identifier: MIT
// A pool: take, give, hold, stripes; on any bit pattern.
#include "unit.h"

#include "random.h"

#include <portfence/pool.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define HOLD_MS 1000
#define STRIPES (PF_STRIPE_TCP + 4)

// A pool over `text`, in memory of its own.
struct fixture {
	struct pf_pool pool;
	struct pf_layout_pool shared;
	size_t size;
};

static struct fixture *fixture_new(const char *text)
{
	char error[PF_ERROR_TEXT];
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct pf_pool *pool = &fixture->pool;
	assert_int_equal(pf_ranges_parse(text, &pool->ranges, error), 0);
	pool->words = pf_layout_words(pool->ranges.ports);
	pool->stripe_size = pf_layout_stripe_size(pool->ranges.ports);
	pool->stripes = STRIPES;
	pool->hold_ms = HOLD_MS;
	pool->shared = &fixture->shared;
	fixture->size = STRIPES * pool->stripe_size;
	assert_int_equal(posix_memalign((void **)&pool->stripe, 64, fixture->size), 0);
	memset(pool->stripe, 0, fixture->size);
	return fixture;
}

static void fixture_free(struct fixture *fixture)
{
	free(fixture->pool.stripe);
	free(fixture);
}

// Returns the port taken from a random start at `now`, or 0.
static uint16_t take_at(struct fixture *fixture, uint32_t stripe, uint64_t now)
{
	uint16_t port;
	uint32_t start = (uint32_t)(pf_random() % fixture->pool.ranges.ports);
	return pf_pool_take(&fixture->pool, stripe, 0, now, &start, &port) ? 0 : port;
}

static uint16_t take(struct fixture *fixture, uint32_t stripe)
{
	return take_at(fixture, stripe, 10 * HOLD_MS);
}

static void ports_are_counted_over_the_stripes(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	struct pf_pool *pool = &fixture->pool;
	(void)state;
	assert_true(pf_pool_mark(pool, PF_STRIPE_TCP, 170));
	assert_true(pf_pool_mark(pool, PF_STRIPE_TCP + 1, 170));
	assert_true(pf_pool_mark(pool, PF_STRIPE_UDP, 170));
	assert_true(pf_pool_mark(pool, PF_STRIPE_WHOLE, 199));
	assert_true(pf_pool_mark(pool, PF_STRIPE_TCP, 171));
	pf_pool_give(pool, PF_STRIPE_TCP + 2, 170);
	pf_pool_give(pool, PF_STRIPE_TCP, 171);
	for (uint32_t w = 0; w < pool->words; w++)
		for (uint32_t bit = 0; bit < 64; bit++) {
			struct pf_pool_ports ports = pf_pool_ports(pool, w);
			uint32_t port = 100 + 64 * w + bit;
			assert_int_equal(ports.used[bit], port == 170 ? 3 : port == 199);
			assert_int_equal(ports.holding >> bit & 1, port == 171);
		}
	// What is beyond the last port is no port, whatever is there.
	memset(pool->stripe, 0xff, fixture->size);
	assert_int_equal(pf_pool_ports(pool, 1).used[35], STRIPES);
	assert_int_equal(pf_pool_ports(pool, 1).used[36], 0);
	memset(pool->stripe, 0, fixture->size);
	fixture_free(fixture);
}

static void every_port_is_taken_once(void **state)
{
	const char *const sets[] = {
		"7", "8-9", "100-162", "100-163", "100-164", "1-65535", "10,20-29,40-103,5000"};
	(void)state;
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		struct fixture *fixture = fixture_new(sets[i]);
		uint32_t ports = fixture->pool.ranges.ports;
		static bool seen[65536];
		memset(seen, 0, sizeof seen);
		for (uint32_t taken = 0; taken < ports; taken++) {
			uint16_t port = take(fixture, PF_STRIPE_TCP);
			assert_int_not_equal(port, 0);
			assert_true(pf_ranges_index(&fixture->pool.ranges, port) >= 0);
			assert_false(seen[port]);
			seen[port] = true;
		}
		assert_int_equal(take(fixture, PF_STRIPE_TCP), 0);
		assert_int_equal(pf_pool_usage(&fixture->pool).used, ports);
		assert_int_equal(pf_pool_usage(&fixture->pool).free, 0);
		fixture_free(fixture);
	}
}

static void destinations_share_ports_and_whole_ports_do_not(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	(void)state;
	for (uint32_t stripe = PF_STRIPE_TCP; stripe < STRIPES; stripe++)
		for (int i = 0; i < 50; i++)
			assert_int_not_equal(take(fixture, stripe), 0);
	uint32_t whole = 0;
	uint16_t port;
	while ((port = take(fixture, PF_STRIPE_WHOLE))) {
		whole++;
		for (uint32_t stripe = PF_STRIPE_TCP; stripe < STRIPES; stripe++)
			assert_false(pf_pool_is_used(&fixture->pool, stripe, port));
	}
	assert_true(whole > 0 && whole <= 50);
	// What is left of each destination excludes the whole ports.
	for (uint32_t stripe = PF_STRIPE_TCP; stripe < STRIPES; stripe++) {
		uint32_t more = 0;
		while ((port = take(fixture, stripe))) {
			assert_false(pf_pool_is_used(&fixture->pool, PF_STRIPE_WHOLE, port));
			more++;
		}
		assert_int_equal(more, 50 - whole);
	}
	// UDP is another world.
	for (int i = 0; i < 100; i++)
		assert_int_not_equal(take(fixture, PF_STRIPE_UDP), 0);
	fixture_free(fixture);
}

static void churn_leaves_whole_ports_to_take(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	(void)state;
	// Every port was some destination's, and holds; one is in use.
	uint16_t used = take(fixture, PF_STRIPE_TCP);
	for (int i = 0; i < 1000; i++)
		pf_pool_give(&fixture->pool, PF_STRIPE_TCP + 1, take(fixture, PF_STRIPE_TCP + 1));
	for (int i = 0; i < 99; i++) {
		uint16_t port = take(fixture, PF_STRIPE_WHOLE);
		assert_int_not_equal(port, 0);
		assert_int_not_equal(port, used);
	}
	assert_int_equal(take(fixture, PF_STRIPE_WHOLE), 0);
	fixture_free(fixture);
}

static void a_churned_port_comes_back_after_its_generation(void **state)
{
	struct fixture *fixture = fixture_new("1000-1999");
	int since[1000] = {0}, soon = 0;
	(void)state;
	for (int i = 1; i <= 20000; i++) {
		uint16_t port = take(fixture, PF_STRIPE_TCP);
		int *last = &since[port - 1000];
		soon += *last && i - *last < 10;
		*last = i;
		pf_pool_give(&fixture->pool, PF_STRIPE_TCP, port);
	}
	// Picked at random out of all, it would be 180.
	assert_in_range(soon, 0, 20);
	fixture_free(fixture);
}

static void what_one_stripe_gives_back_ends_exhaustion_where_it_may_serve(void **state)
{
	struct fixture *fixture = fixture_new("100-100");
	(void)state;
	uint16_t port = take(fixture, PF_STRIPE_TCP);
	pf_pool_exhaust(&fixture->pool, PF_STRIPE_WHOLE, 5000);
	pf_pool_exhaust(&fixture->pool, PF_STRIPE_TCP + 1, 5000);
	pf_pool_give(&fixture->pool, PF_STRIPE_TCP, port);
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_WHOLE, 5000));
	assert_true(pf_pool_exhausted(&fixture->pool, PF_STRIPE_TCP + 1, 5000));
	port = take(fixture, PF_STRIPE_WHOLE);
	pf_pool_give(&fixture->pool, PF_STRIPE_WHOLE, port);
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_TCP + 1, 5000));
	fixture_free(fixture);
}

static void released_ports_hold_and_are_taken_last_and_oldest_first(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	uint64_t now = 100 * HOLD_MS;
	uint16_t first = take_at(fixture, PF_STRIPE_UDP, now);
	(void)state;
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, first);
	now += HOLD_MS / 2 + 1;
	uint16_t second = take_at(fixture, PF_STRIPE_UDP, now);
	assert_int_not_equal(second, first);
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, second);
	for (int i = 0; i < 98; i++) {
		uint16_t port = take_at(fixture, PF_STRIPE_UDP, now);
		assert_int_not_equal(port, first);
		assert_int_not_equal(port, second);
	}
	assert_int_equal(pf_pool_usage(&fixture->pool).holding, 2);
	assert_int_equal(take_at(fixture, PF_STRIPE_UDP, now), first);
	assert_int_equal(take_at(fixture, PF_STRIPE_UDP, now), second);
	assert_int_equal(take_at(fixture, PF_STRIPE_UDP, now), 0);
	fixture_free(fixture);
}

static void a_port_still_holds_when_all_before_it_are_free(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	uint64_t now = 100 * HOLD_MS;
	uint16_t ports[100];
	(void)state;
	for (int i = 0; i < 100; i++)
		ports[i] = take_at(fixture, PF_STRIPE_UDP, now);
	for (int i = 0; i < 100; i++)
		pf_pool_give(&fixture->pool, PF_STRIPE_UDP, ports[i]);
	// All hold, and so the oldest is taken: from here on the pool knows that none was free.
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, take_at(fixture, PF_STRIPE_UDP, now));
	now += 2 * HOLD_MS;
	uint16_t held = take_at(fixture, PF_STRIPE_UDP, now);
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, held);
	now += HOLD_MS / 2 + 1;
	for (int i = 0; i < 99; i++)
		assert_int_not_equal(take_at(fixture, PF_STRIPE_UDP, now), held);
	fixture_free(fixture);
}

static bool holds(const struct fixture *fixture, uint32_t stripe, uint16_t port)
{
	uint32_t index = (uint32_t)pf_ranges_index(&fixture->pool.ranges, port);
	const struct pf_layout_word *word = pf_pool_word(&fixture->pool, stripe, index / 64);
	return (word->current | word->previous) >> index % 64 & 1;
}

static void a_port_holds_for_half_the_time_at_least_and_all_of_it_at_most(void **state)
{
	(void)state;
	// Released at any moment of a turn; the pool is large enough to leave the port alone.
	for (uint64_t phase = 0; phase < HOLD_MS; phase += 50) {
		struct fixture *fixture = fixture_new("1000-9999");
		uint64_t now = 100 * HOLD_MS, released = now + phase;
		uint16_t held = 0;
		for (; now <= released + HOLD_MS + 20; now += 10) {
			take_at(fixture, PF_STRIPE_UDP, now);
			if (now == released) {
				held = take_at(fixture, PF_STRIPE_UDP, now);
				pf_pool_give(&fixture->pool, PF_STRIPE_UDP, held);
			}
			if (held && now - released < HOLD_MS / 2)
				assert_true(holds(fixture, PF_STRIPE_UDP, held));
		}
		assert_false(holds(fixture, PF_STRIPE_UDP, held));
		fixture_free(fixture);
	}
}

static void a_long_rest_frees_everything(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	uint64_t now = 100 * HOLD_MS;
	(void)state;
	for (int i = 0; i < 100; i++)
		pf_pool_give(&fixture->pool, PF_STRIPE_UDP, take_at(fixture, PF_STRIPE_UDP, now));
	assert_int_equal(pf_pool_usage(&fixture->pool).holding, 100);
	take_at(fixture, PF_STRIPE_UDP, now + 10 * HOLD_MS);
	assert_int_equal(pf_pool_usage(&fixture->pool).free, 99);
	fixture_free(fixture);
}

static void a_count_that_somebody_is_amid_hides_no_port(void **state)
{
	struct fixture *fixture = fixture_new("100-199");
	struct pf_layout_stripe *whole = (void *)fixture->pool.stripe;
	uint64_t now = 100 * HOLD_MS;
	(void)state;
	// All ports held when it began, and it did not get to those in use.
	whole->counted_ms = now;
	for (uint32_t word = 0; word < fixture->pool.words; word++)
		pf_pool_word(&fixture->pool, PF_STRIPE_WHOLE, word)->busy = UINT64_MAX;
	assert_int_not_equal(take_at(fixture, PF_STRIPE_WHOLE, now), 0);
	fixture_free(fixture);
}

static void the_port_to_avoid_is_never_taken(void **state)
{
	struct fixture *fixture = fixture_new("100-101");
	(void)state;
	for (int i = 0; i < 200; i++) {
		uint32_t start = (uint32_t)i;
		uint16_t port;
		assert_int_equal(
			pf_pool_take(&fixture->pool, PF_STRIPE_TCP, 100, 5000, &start, &port), 0);
		assert_int_equal(port, 101);
		start = (uint32_t)i;
		assert_int_equal(
			pf_pool_take(&fixture->pool, PF_STRIPE_TCP, 100, 5000, &start, &port),
			-EAGAIN);
		pf_pool_give(&fixture->pool, PF_STRIPE_TCP, 101);
	}
	fixture_free(fixture);
}

static void a_walk_from_refusal_to_refusal_meets_every_port(void **state)
{
	struct fixture *fixture = fixture_new("1000-1999");
	bool seen[1000] = {false};
	uint32_t start = 777, met = 0;
	uint16_t port;
	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(
			pf_pool_take(&fixture->pool, PF_STRIPE_UDP, 0, 5000, &start, &port), 0);
		met += !seen[port - 1000];
		seen[port - 1000] = true;
		pf_pool_refuse(&fixture->pool, PF_STRIPE_UDP, port);
	}
	assert_int_equal(met, 1000);
	assert_int_equal(pf_pool_counted(&fixture->pool, PF_COUNT_REFUSED), 1000);
	fixture_free(fixture);
}

static void a_clock_that_was_read_earlier_ends_no_hold(void **state)
{
	struct fixture *fixture = fixture_new("100-163");
	struct pf_layout_word *word = pf_pool_word(&fixture->pool, PF_STRIPE_UDP, 0);
	(void)state;
	uint16_t port = take_at(fixture, PF_STRIPE_UDP, 10 * HOLD_MS);
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, port);
	uint64_t held = word->current;
	assert_int_not_equal(held, 0);
	take_at(fixture, PF_STRIPE_UDP, 10 * HOLD_MS - 4);
	assert_int_equal(word->current, held);
	// A time that is far in the future is none: the bitmaps turn, or they never would again.
	take_at(fixture, PF_STRIPE_UDP, 8 * HOLD_MS);
	assert_int_equal(word->current, 0);
	fixture_free(fixture);
}

static void exhaustion_is_remembered_until_something_comes_back(void **state)
{
	struct fixture *fixture = fixture_new("100-109");
	(void)state;
	uint16_t port = take(fixture, PF_STRIPE_UDP);
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_UDP, 5000));
	pf_pool_exhaust(&fixture->pool, PF_STRIPE_UDP, 5000);
	assert_true(pf_pool_exhausted(&fixture->pool, PF_STRIPE_UDP, 5000 + PF_EXHAUSTED_MS));
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_TCP, 5000));
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_UDP, 5001 + PF_EXHAUSTED_MS));
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_UDP, 4000));
	pf_pool_give(&fixture->pool, PF_STRIPE_UDP, port);
	assert_false(pf_pool_exhausted(&fixture->pool, PF_STRIPE_UDP, 5000));
	fixture_free(fixture);
}

static void any_bit_pattern_is_legal(void **state)
{
	struct fixture *fixture = fixture_new("100-250,1000-1100");
	(void)state;
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < fixture->size; i += 8) {
			uint64_t noise = pf_random();
			memcpy(fixture->pool.stripe + i, &noise, sizeof noise);
		}
		for (uint32_t stripe = 0; stripe < STRIPES; stripe++) {
			uint16_t port = take_at(fixture, stripe, pf_random());
			if (port)
				assert_true(pf_ranges_index(&fixture->pool.ranges, port) >= 0);
			pf_pool_exhausted(&fixture->pool, stripe, pf_random());
			pf_pool_give(&fixture->pool, stripe, (uint16_t)pf_random());
		}
		pf_pool_give(&fixture->pool, 60000, 100);
		struct pf_pool_usage usage = pf_pool_usage(&fixture->pool);
		assert_true(usage.holding + usage.free <= fixture->pool.ranges.ports);
	}
	fixture_free(fixture);
}

static void picks_cover_the_range_evenly(void **state)
{
	enum { PORTS = 1000, PICKS = 200000 };
	struct fixture *fixture = fixture_new("1000-1999");
	static int count[PORTS];
	(void)state;
	fixture->pool.hold_ms = 0;
	for (int i = 0; i < PICKS; i++) {
		uint16_t port = take(fixture, PF_STRIPE_UDP);
		count[port - 1000]++;
		pf_pool_give(&fixture->pool, PF_STRIPE_UDP, port);
	}
	// 200 expected for each; 5 standard deviations are 71.
	for (int i = 0; i < PORTS; i++)
		assert_in_range(count[i], 200 - 90, 200 + 90);
	fixture_free(fixture);
}

static struct fixture *contended;
static _Atomic(int) owners[65536];

static void *contend(void *arg)
{
	long *clashes = arg;
	for (int i = 0; i < 20000; i++) {
		uint16_t port = take(contended, PF_STRIPE_TCP);
		if (!port)
			continue;
		*clashes += atomic_fetch_add(&owners[port], 1) != 0;
		atomic_fetch_sub(&owners[port], 1);
		pf_pool_give(&contended->pool, PF_STRIPE_TCP, port);
	}
	return NULL;
}

static void threads_never_own_one_port_together(void **state)
{
	enum { THREADS = 16 };
	pthread_t thread[THREADS];
	long clashes[THREADS] = {0};
	(void)state;
	contended = fixture_new("100-119");
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, contend, &clashes[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(clashes[i], 0);
	}
	assert_int_equal(pf_pool_usage(&contended->pool).used, 0);
	fixture_free(contended);
}

static void a_look_at_once_goes_round_its_word_and_no_farther(void **state)
{
	struct fixture *fixture = fixture_new("20000-20099");
	const uint64_t now = 1; // the bitmaps have not turned over yet
	uint16_t port;
	(void)state;
	for (uint16_t taken = 20010; taken < 20064; taken++)
		assert_true(pf_pool_mark(&fixture->pool, PF_STRIPE_TCP, taken));
	for (uint16_t left = 0; left < 10; left++) {
		assert_int_equal(
			pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 0, now, 40, &port),
			24 + left);
		assert_int_equal(port, 20000 + left);
	}
	assert_int_equal(
		pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 0, now, 40, &port), -EAGAIN);
	// Behind the last port there is none, and in front of it there are.
	assert_int_equal(pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 0, now, 99, &port), 0);
	assert_int_equal(port, 20099);
	assert_int_equal(pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 20070, now, 70, &port),
		-EAGAIN);
	fixture_free(fixture);
}

static void a_look_at_once_takes_what_holds_longest_where_nothing_is_free(void **state)
{
	struct fixture *fixture = fixture_new("20000-20063");
	const uint64_t now = 10 * HOLD_MS;
	uint16_t port;
	(void)state;
	for (int i = 0; i < 64; i++)
		assert_true(take_at(fixture, PF_STRIPE_TCP, now));
	for (uint16_t given = 20000; given < 20064; given++)
		pf_pool_give(&fixture->pool, PF_STRIPE_TCP, given);
	// The first of them turns the bitmaps over; what comes back from now on holds longer.
	port = take_at(fixture, PF_STRIPE_TCP, now);
	assert_true(port);
	pf_pool_give(&fixture->pool, PF_STRIPE_TCP, port);
	for (int i = 0; i < 63; i++) {
		uint16_t next = 0;
		assert_true(
			pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 0, now, 7, &next) >= 0);
		assert_int_not_equal(next, port);
	}
	assert_int_equal(
		pf_pool_take_at_once(&fixture->pool, PF_STRIPE_TCP, 0, now, 7, &port), -EAGAIN);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_counted_over_the_stripes),
		cmocka_unit_test(every_port_is_taken_once),
		cmocka_unit_test(destinations_share_ports_and_whole_ports_do_not),
		cmocka_unit_test(churn_leaves_whole_ports_to_take),
		cmocka_unit_test(a_churned_port_comes_back_after_its_generation),
		cmocka_unit_test(what_one_stripe_gives_back_ends_exhaustion_where_it_may_serve),
		cmocka_unit_test(released_ports_hold_and_are_taken_last_and_oldest_first),
		cmocka_unit_test(a_port_holds_for_half_the_time_at_least_and_all_of_it_at_most),
		cmocka_unit_test(a_port_still_holds_when_all_before_it_are_free),
		cmocka_unit_test(a_long_rest_frees_everything),
		cmocka_unit_test(a_count_that_somebody_is_amid_hides_no_port),
		cmocka_unit_test(the_port_to_avoid_is_never_taken),
		cmocka_unit_test(a_walk_from_refusal_to_refusal_meets_every_port),
		cmocka_unit_test(a_clock_that_was_read_earlier_ends_no_hold),
		cmocka_unit_test(exhaustion_is_remembered_until_something_comes_back),
		cmocka_unit_test(any_bit_pattern_is_legal),
		cmocka_unit_test(picks_cover_the_range_evenly),
		cmocka_unit_test(a_look_at_once_goes_round_its_word_and_no_farther),
		cmocka_unit_test(a_look_at_once_takes_what_holds_longest_where_nothing_is_free),
		cmocka_unit_test(threads_never_own_one_port_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
