// SPDX-License-Identifier: MIT
// The ring of the last leases: what is written is read, and what was never whole is not.
#include "unit.h"

#include "util.h"

#include <portfence/policy.h>
#include <portfence/ring.h>

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

// Of a lease, without the padding at its end.
#define LEASE_BYTES (offsetof(struct pf_lease, command) + PF_COMMAND)

#define ENTRIES PF_RING_MIN

static struct pf_ring ring;

static int setup(void **state)
{
	(void)state;
	ring.entries = ENTRIES;
	ring.shared = mmap(NULL, pf_layout_ring_size(ENTRIES), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return ring.shared == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(ring.shared, pf_layout_ring_size(ENTRIES));
}

// Returns a lease all of whose fields follow from `seed`.
static struct pf_lease lease_of(uint32_t seed)
{
	struct pf_lease lease = {.time_ns = (uint64_t)seed << 33 | 1,
		.pid = seed,
		.uid = ~seed,
		.port = (uint16_t)(seed % 65535 + 1),
		.protocol = seed % 2 ? IPPROTO_TCP : IPPROTO_UDP,
		.how = (uint8_t)(seed % (PF_HOW_END - 1) + 1),
		.pool = seed % 16,
		.peer.port = (uint16_t)seed};
	memset(lease.peer.address, (int)seed, sizeof lease.peer.address);
	memset(lease.command, (int)seed, sizeof lease.command - 1);
	return lease;
}

// Returns true if the lease is whole: made by lease_of.
static bool is_whole(const struct pf_lease *lease)
{
	struct pf_lease made = lease_of(lease->pid);
	made.number = lease->number;
	return !memcmp(&made, lease, LEASE_BYTES);
}

static uint32_t leases_in_ring(void)
{
	uint32_t count = 0;
	struct pf_lease lease;
	for (uint32_t i = 0; i < ring.entries; i++)
		count += pf_ring_read(&ring, i, &lease);
	return count;
}

static void what_is_added_is_read(void **state)
{
	struct pf_lease lease, found;
	(void)state;
	assert_int_equal(leases_in_ring(), 0);
	for (uint32_t i = 0; i < 7; i++) {
		lease = lease_of(0x10001 * i + 5);
		pf_ring_add(&ring, &lease);
	}
	assert_int_equal(leases_in_ring(), 7);
	assert_true(pf_ring_read(&ring, 6, &found));
	lease.number = 6;
	assert_memory_equal(&found, &lease, LEASE_BYTES);
}

static void the_newest_take_the_places_of_the_oldest(void **state)
{
	struct pf_lease found;
	(void)state;
	for (uint32_t i = 0; i < ENTRIES + 3; i++) {
		struct pf_lease lease = lease_of(i);
		pf_ring_add(&ring, &lease);
	}
	assert_int_equal(leases_in_ring(), ENTRIES);
	assert_true(pf_ring_read(&ring, 2, &found));
	assert_int_equal(found.pid, ENTRIES + 2);
	assert_true(pf_ring_read(&ring, 3, &found));
	assert_int_equal(found.pid, 3);
}

static void any_changed_bit_breaks_the_seal(void **state)
{
	struct pf_lease lease = lease_of(4711), found;
	unsigned char *entry = (unsigned char *)(ring.shared + 1);
	(void)state;
	pf_ring_add(&ring, &lease);
	for (size_t bit = 0; bit < 8 * sizeof(struct pf_layout_entry); bit++) {
		entry[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_false(pf_ring_read(&ring, 0, &found));
		entry[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	assert_true(pf_ring_read(&ring, 0, &found));
}

static void a_scribbled_head_loses_nothing_that_is_added(void **state)
{
	(void)state;
	const uint64_t heads[] = {UINT64_MAX, UINT32_MAX, 1ull << 63, 0x123456789abcdef};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct pf_lease lease = lease_of(1), found;
		ring.shared->head = heads[i];
		pf_ring_add(&ring, &lease);
		assert_true(pf_ring_read(&ring, heads[i] % ENTRIES, &found));
		assert_int_equal(found.number, (uint32_t)heads[i]);
	}
}

static void a_lease_that_makes_no_sense_is_passed_over(void **state)
{
	(void)state;
	struct pf_lease lease = lease_of(1);
	lease.port = 0;
	pf_ring_add(&ring, &lease);
	lease = lease_of(1);
	lease.how = PF_HOW_END;
	pf_ring_add(&ring, &lease);
	lease = lease_of(1);
	lease.protocol = IPPROTO_SCTP;
	pf_ring_add(&ring, &lease);
	assert_int_equal(leases_in_ring(), 0);
}

static void a_name_without_an_end_is_given_one(void **state)
{
	struct pf_lease lease = lease_of('x'), found;
	(void)state;
	lease.command[PF_COMMAND - 1] = 'x';
	pf_ring_add(&ring, &lease);
	assert_true(pf_ring_read(&ring, 0, &found));
	assert_string_equal(found.command, "xxxxxxxxxxxxxxx");
}

// What writers killed at any moment, and others that lap them, leave behind is whole or not there.
static void no_reader_sees_half_an_entry(void **state)
{
	pid_t writer[4];
	struct pf_lease lease;
	uint64_t seen = 0;
	(void)state;
	ring.entries = 8;
	for (uint32_t i = 0; i < 4; i++) {
		writer[i] = fork();
		for (uint32_t seed = i << 24; writer[i] == 0; seed++) {
			lease = lease_of(seed);
			pf_ring_add(&ring, &lease);
		}
	}
	bool whole = true;
	for (uint64_t end = pf_now_ms() + 300; pf_now_ms() < end;)
		for (uint32_t place = 0; place < ring.entries; place++)
			if (pf_ring_read(&ring, place, &lease)) {
				whole &= is_whole(&lease) && lease.number % ring.entries == place;
				seen++;
			}
	for (int i = 0; i < 4; i++) {
		kill(writer[i], SIGKILL);
		waitpid(writer[i], NULL, 0);
	}
	assert_true(whole);
	assert_true(seen > ENTRIES);
	for (uint32_t i = 0; i < ring.entries; i++) {
		lease = lease_of(i);
		pf_ring_add(&ring, &lease);
	}
	assert_int_equal(leases_in_ring(), ring.entries);
}

static void a_ring_has_an_entry_for_each_port_within_bounds(void **state)
{
	(void)state;
	assert_int_equal(pf_layout_ring_entries(1), 1024);
	assert_int_equal(pf_layout_ring_entries(1024), 1024);
	assert_int_equal(pf_layout_ring_entries(1025), 2048);
	assert_int_equal(pf_layout_ring_entries(2048), 2048);
	assert_int_equal(pf_layout_ring_entries(65535 * PF_POOLS_MAX), 4096);
}

static void without_a_ring_nothing_is_written(void **state)
{
	struct pf_ring none = {.shared = NULL, .entries = 0};
	struct pf_lease lease = lease_of(1);
	(void)state;
	pf_ring_add(&none, &lease);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_added_is_read),
		TEST(the_newest_take_the_places_of_the_oldest),
		TEST(any_changed_bit_breaks_the_seal),
		TEST(a_scribbled_head_loses_nothing_that_is_added),
		TEST(a_lease_that_makes_no_sense_is_passed_over),
		TEST(a_name_without_an_end_is_given_one),
		TEST(no_reader_sees_half_an_entry),
		TEST(a_ring_has_an_entry_for_each_port_within_bounds),
		TEST(without_a_ring_nothing_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
