// SPDX-License-Identifier: MIT
// Windows: where a process looks for its next port.
#include "unit.h"

#include "window.h"

#include <stdbool.h>
#include <string.h>

#define DESTINATION 0x9e3779b97f4a7c15u

static struct pf_windows page;

static int setup(void **state)
{
	(void)state;
	memset(&page, 0, sizeof page);
	pf_window_use(&page);
	return 0;
}

// Returns a destination that has another window.
static uint64_t another_than(uint64_t destination)
{
	pf_word *window, *other;
	pf_window_look(destination, 10000, &window);
	pf_window_look(destination, 10000, &window); // the first one draws the key
	uint64_t found = destination;
	do
		pf_window_look(++found << 32, 10000, &other);
	while (other == window);
	return found << 32;
}

static void every_look_is_in_the_pool(void **state)
{
	const uint32_t counts[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000, 65535};
	(void)state;
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		for (int looks = 0; looks < 5000; looks++) {
			pf_word *window;
			assert_true(pf_window_look(DESTINATION, counts[i], &window) < counts[i]);
			if (looks % 50 == 0)
				pf_window_leave(window);
		}
}

static void every_port_is_looked_at(void **state)
{
	const uint32_t ports = 1000;
	bool seen[1000] = {false};
	uint32_t missing = ports;
	(void)state;
	for (int looks = 0; looks < 1000000 && missing; looks++) {
		pf_word *window;
		uint32_t index = pf_window_look(DESTINATION, ports, &window);
		missing -= !seen[index];
		seen[index] = true;
		if (looks % 40 == 0)
			pf_window_leave(window);
	}
	assert_int_equal(missing, 0);
}

static void looks_stay_together_until_the_window_is_left(void **state)
{
	const uint32_t ports = 60000;
	pf_word *window;
	bool seen[PF_WINDOW_PORTS] = {false};
	unsigned places = 0, moved = 0;
	(void)state;
	uint32_t first = pf_window_look(DESTINATION, ports, &window);
	first = pf_window_look(DESTINATION, ports, &window) / PF_WINDOW_PORTS;
	for (int looks = 0; looks < 2000; looks++) {
		uint32_t index = pf_window_look(DESTINATION, ports, &window);
		assert_int_equal(index / PF_WINDOW_PORTS, first);
		places += !seen[index % PF_WINDOW_PORTS];
		seen[index % PF_WINDOW_PORTS] = true;
	}
	assert_int_equal(places, PF_WINDOW_PORTS);
	for (int leaves = 0; leaves < 100; leaves++) {
		pf_window_leave(window);
		uint32_t next = pf_window_look(DESTINATION, ports, &window) / PF_WINDOW_PORTS;
		moved += next != first;
		first = next;
	}
	assert_true(moved > 90);
}

static void destinations_have_windows_of_their_own(void **state)
{
	unsigned apart = 0;
	(void)state;
	for (int i = 0; i < 100; i++) {
		pf_word *window, *other;
		setup(NULL);
		uint64_t another = another_than(DESTINATION);
		uint32_t ours = pf_window_look(DESTINATION, 60000, &window);
		uint32_t theirs = pf_window_look(another, 60000, &other);
		assert_ptr_not_equal(window, other);
		apart += ours / PF_WINDOW_PORTS != theirs / PF_WINDOW_PORTS;
	}
	assert_true(apart > 90);
}

static void which_destinations_share_a_window_is_secret(void **state)
{
	unsigned shared = 0, apart = 0;
	(void)state;
	for (int i = 0; i < 1000; i++) {
		pf_word *window, *other;
		setup(NULL);
		pf_window_look(DESTINATION, 1000, &window);
		pf_window_look(DESTINATION, 1000, &window);
		pf_window_look(~DESTINATION * 3, 1000, &other);
		*(window == other ? &shared : &apart) += 1;
	}
	assert_true(shared > 0 && apart > 900);
}

static void a_child_looks_elsewhere(void **state)
{
	unsigned apart = 0;
	(void)state;
	for (int i = 0; i < 100; i++) {
		pf_word *window;
		setup(NULL);
		pf_window_look(DESTINATION, 60000, &window);
		struct pf_windows parents = page;
		uint32_t parent = pf_window_look(DESTINATION, 60000, &window);
		memset(&page, 0, sizeof page); // what MADV_WIPEONFORK does
		uint32_t child = pf_window_look(DESTINATION, 60000, &window);
		assert_int_not_equal(page.key, parents.key);
		apart += parent / PF_WINDOW_PORTS != child / PF_WINDOW_PORTS;
	}
	assert_true(apart > 90);
}

static void a_window_of_another_pool_is_none(void **state)
{
	pf_word *window;
	(void)state;
	pf_window_look(DESTINATION, 60000, &window);
	for (int looks = 0; looks < 1000; looks++) {
		assert_true(pf_window_look(DESTINATION, 60000, &window) < 60000);
		assert_true(pf_window_look(DESTINATION, 100, &window) < 100);
	}
}

static void any_word_is_legal(void **state)
{
	uint64_t word = 1;
	(void)state;
	for (int looks = 0; looks < 100000; looks++) {
		pf_word *window;
		word = word * 6364136223846793005u + 1442695040888963407u;
		for (int i = 0; i < PF_WINDOWS; i++)
			pf_word_put(&page.window[i], looks % 2 ? word : word >> 40);
		assert_true(pf_window_look(word, 777, &window) < 777);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(every_look_is_in_the_pool),
		TEST(every_port_is_looked_at),
		TEST(looks_stay_together_until_the_window_is_left),
		TEST(destinations_have_windows_of_their_own),
		TEST(which_destinations_share_a_window_is_secret),
		TEST(a_child_looks_elsewhere),
		TEST(a_window_of_another_pool_is_none),
		TEST(any_word_is_legal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
