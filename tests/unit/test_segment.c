// SPDX-License-Identifier: MIT
// The segment: made, found again, and refused when it is not what it should be.
#include "unit.h"

#include "util.h"

#include <portfence/reap.h>
#include <portfence/segment.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[] = "/var/tmp/portfence-unit-XXXXXX";
static struct pf_policy policy;
static int prepared;
static bool no_memory;

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);

// An address space without room. RLIMIT_AS would be valgrind's and the sanitizers', too.
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (!no_memory)
		return __real_mmap(address, size, protection, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

static void prepare(struct pf_segment *segment, void *arg)
{
	(void)segment;
	(void)arg;
	prepared++;
}

static int attach(struct pf_segment *ret_segment, char *reason)
{
	struct pf_segment_place place = {.dir = dir, .netns = 4711, .uid = geteuid()};
	return pf_segment_attach(&policy, &place, prepare, NULL, ret_segment, reason);
}

static const char *path_of_segment(void)
{
	static char path[PF_SEGMENT_PATH];
	snprintf(path, sizeof path, "%s/portfence.%016llx.4711.%u", dir,
		(unsigned long long)policy.digest, (unsigned)geteuid());
	return path;
}

static int setup(void **state)
{
	char error[PF_ERROR_TEXT];
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(pf_policy_from_ports("20000-20999,30000", &policy, error), 0);
	prepared = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	DIR *stream = opendir(dir);
	for (struct dirent *entry; (entry = readdir(stream));) {
		unlinkat(dirfd(stream), entry->d_name, 0);
		unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR);
	}
	closedir(stream);
	return rmdir(dir);
}

// Two in one tick of the clock must not both give back: the later one overtakes the other.
static void each_reap_has_a_number_of_its_own(void **state)
{
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT] = "";
	uint32_t reaped;
	uint64_t last = 0;
	(void)state;
	assert_int_equal(attach(&segment, reason), 0);
	for (int i = 0; i < 4; i++) {
		pf_reap(&segment, &reaped); // -EXDEV: of no namespace here
		uint64_t began = atomic_load(&segment.shared->reaped_ms);
		assert_true(began > last);
		last = began;
	}
	pf_segment_close(&segment);
}

static void the_second_attach_finds_what_the_first_made(void **state)
{
	struct pf_segment first, second;
	char reason[PF_SEGMENT_TEXT] = "";
	(void)state;
	assert_int_equal(attach(&first, reason), 0);
	assert_int_equal(attach(&second, reason), 0);
	assert_int_equal(prepared, 1);
	assert_false(first.alone);
	assert_ptr_not_equal(first.shared, second.shared);
	assert_true(pf_pool_mark(&first.pool[0], 7, 30000));
	assert_true(pf_pool_is_used(&second.pool[0], 7, 30000));
	assert_false(pf_pool_mark(&second.pool[0], 7, 30000));

	struct stat status;
	assert_int_equal(stat(path_of_segment(), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(status.st_size, first.size);
	assert_true((uint64_t)status.st_blocks * 512 >= first.size);
	pf_segment_close(&first);
	pf_segment_close(&second);
}

static void nothing_else_stays_in_the_directory(void **state)
{
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT];
	int files = 0;
	(void)state;
	assert_int_equal(attach(&segment, reason), 0);
	DIR *stream = opendir(dir);
	for (struct dirent *entry; (entry = readdir(stream));)
		files += entry->d_type == DT_REG;
	closedir(stream);
	assert_int_equal(files, 1);
	pf_segment_close(&segment);
}

static void the_command_reads_the_policy_from_the_segment(void **state)
{
	struct pf_segment made, opened;
	struct pf_policy found;
	char reason[PF_SEGMENT_TEXT];
	(void)state;
	assert_int_equal(attach(&made, reason), 0);
	assert_int_equal(pf_segment_open(path_of_segment(),
				 &(struct pf_segment_owner){geteuid(), PF_POLICY_NOBODY}, &found,
				 &opened, reason),
		0);
	assert_memory_equal(&found, &policy, sizeof policy);
	assert_int_equal(opened.pool[0].ranges.ports, 1001);
	pf_segment_close(&made);
	pf_segment_close(&opened);
}

static void sizes_are_within_their_bounds(void **state)
{
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT], error[PF_ERROR_TEXT];
	(void)state;
	assert_int_equal(pf_policy_from_ports("20000-20999", &policy, error), 0);
	assert_int_equal(attach(&segment, reason), 0);
	assert_true(segment.size <= 256 * 1024);
	assert_int_equal(segment.ring.entries, 1024);
	pf_segment_close(&segment);
	assert_int_equal(pf_policy_from_ports("32768-60999", &policy, error), 0);
	assert_int_equal(attach(&segment, reason), 0);
	assert_true(segment.size <= 4 * 1024 * 1024);
	assert_int_equal(segment.ring.entries, 4096);
	pf_segment_close(&segment);
}

// Attaches and expects a private segment that works, with this end of the reason.
static void private_because(int error, const char *why)
{
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT] = "";
	int result = attach(&segment, reason);
	assert_int_equal(result, -error);
	assert_true(strlen(reason) > strlen(why));
	assert_string_equal(reason + strlen(reason) - strlen(why), why);
	assert_true(segment.alone);
	uint32_t start = 0;
	uint16_t port;
	assert_int_equal(pf_pool_take(&segment.pool[0], PF_STRIPE_TCP, 0, 1, &start, &port), 0);
	assert_int_equal(port, 20000);
	pf_segment_close(&segment);
}

static void a_private_segment_serves_where_none_can_be_shared(void **state)
{
	(void)state;
	assert_int_equal(symlink("/etc/passwd", path_of_segment()), 0);
	private_because(ELOOP, "ELOOP (a symbolic link)");
	unlink(path_of_segment());
	assert_int_equal(mkfifo(path_of_segment(), 0600), 0);
	private_because(EPERM, "not a regular file");
	unlink(path_of_segment());
	assert_int_equal(mkdir(path_of_segment(), 0700), 0);
	private_because(EISDIR, "EISDIR (a directory)");
	rmdir(path_of_segment());
	int fd = open(path_of_segment(), O_CREAT | O_RDWR, 0600);
	private_because(EBADMSG, "damaged (its size)");
	assert_int_equal(ftruncate(fd, 65536), 0);
	private_because(EBADMSG, "damaged, or of another version");
	assert_int_equal(fchmod(fd, 0666), 0);
	private_because(EPERM, "others may write to it");
	assert_int_equal(fchmod(fd, 0660), 0);
	private_because(EPERM, "others may write to it");
	close(fd);
	unlink(path_of_segment());
}

static void a_segment_that_was_changed_is_refused_field_by_field(void **state)
{
	struct pf_segment segment;
	struct pf_policy found;
	char reason[PF_SEGMENT_TEXT];
	(void)state;
	assert_int_equal(attach(&segment, reason), 0);
	unsigned char *bytes = (unsigned char *)segment.shared;
	size_t table = sizeof(struct pf_layout_header);
	for (size_t at = 0; at < table + offsetof(struct pf_layout_pool, claim); at++) {
		bool reserved = at >= offsetof(struct pf_layout_header, reserved) && at < table;
		if (reserved)
			continue;
		bytes[at] ^= 0x40;
		assert_true(attach(&(struct pf_segment){0}, reason) < 0 ||
			at >= offsetof(struct pf_layout_header, boot_id));
		if (at < offsetof(struct pf_layout_header, netns))
			assert_int_equal(
				pf_segment_open(path_of_segment(),
					&(struct pf_segment_owner){geteuid(), PF_POLICY_NOBODY},
					&found, &(struct pf_segment){0}, reason),
				-EBADMSG);
		bytes[at] ^= 0x40;
		if (at >= offsetof(struct pf_layout_header, boot_id) && at < table)
			break;
	}
	pf_segment_close(&segment);
}

static void a_segment_of_an_earlier_boot_is_replaced(void **state)
{
	struct pf_segment old, fresh;
	char reason[PF_SEGMENT_TEXT];
	(void)state;
	assert_int_equal(attach(&old, reason), 0);
	pf_pool_mark(&old.pool[0], PF_STRIPE_UDP, 20000);
	old.shared->boot_id[3] ^= 1;
	assert_int_equal(attach(&fresh, reason), 0);
	assert_int_equal(prepared, 2);
	assert_false(pf_pool_is_used(&fresh.pool[0], PF_STRIPE_UDP, 20000));
	pf_segment_close(&old);
	pf_segment_close(&fresh);
}

static void a_boot_id_that_cannot_be_read_is_no_evidence(void **state)
{
	struct pf_segment old, again;
	char reason[PF_SEGMENT_TEXT];
	(void)state;
	assert_int_equal(attach(&old, reason), 0);
	memset(old.shared->boot_id, 0, sizeof old.shared->boot_id);
	assert_int_equal(attach(&again, reason), 0);
	assert_int_equal(prepared, 1);
	pf_segment_close(&old);
	pf_segment_close(&again);
}

static void a_truncated_segment_is_refused(void **state)
{
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT];
	(void)state;
	assert_int_equal(attach(&segment, reason), 0);
	off_t size = (off_t)segment.size;
	pf_segment_close(&segment);
	for (off_t left = size - 1; left > 4096; left /= 2) {
		assert_int_equal(truncate(path_of_segment(), left), 0);
		private_because(EBADMSG, "damaged, or of another version");
	}
}

static void the_file_size_limit_is_no_signal(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct rlimit limit = {4096, 4096};
		struct pf_segment segment;
		char reason[PF_SEGMENT_TEXT];
		setrlimit(RLIMIT_FSIZE, &limit);
		_exit(attach(&segment, reason) == -EFBIG && segment.alone ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void without_memory_to_map_the_static_array_serves(void **state)
{
	char error[PF_ERROR_TEXT];
	(void)state;
	assert_int_equal(pf_policy_from_ports("1-65535", &policy, error), 0);
	no_memory = true;
	struct pf_segment segment;
	char reason[PF_SEGMENT_TEXT];
	static bool seen[65536];
	int error_of_attach = attach(&segment, reason);
	no_memory = false;
	assert_int_equal(error_of_attach, -ENOMEM);
	assert_true(segment.alone);
	assert_int_equal(segment.size, 0);
	assert_null(segment.ring.entries);
	for (uint32_t i = 0; i < 65535; i++) {
		uint32_t start = i;
		uint16_t port;
		assert_int_equal(
			pf_pool_take(&segment.pool[0], PF_STRIPE_TCP, 0, 1, &start, &port), 0);
		assert_false(seen[port]);
		seen[port] = true;
	}
	pf_segment_close(&segment);
}

static int count_line(char *line, size_t length, void *arg)
{
	int *lines = arg;
	assert_int_equal(strlen(line), length);
	return ++*lines == 4 ? 99 : 0;
}

static void files_are_read_line_by_line(void **state)
{
	char path[PF_SEGMENT_PATH];
	int lines = 0;
	(void)state;
	snprintf(path, sizeof path, "%s/lines", dir);
	FILE *file = fopen(path, "w");
	fputs("one\n\nthree\n", file);
	fclose(file);
	assert_int_equal(pf_segment_each_line(path, '\n', count_line, &lines), 0);
	assert_int_equal(lines, 3);
	assert_int_equal(pf_segment_each_line(path, '\n', count_line, &lines), 99);
	assert_int_equal(pf_segment_each_line("/nowhere", '\n', count_line, &lines), -ENOENT);
	file = fopen(path, "w");
	for (int i = 0; i < 70000; i++)
		fputc('x', file);
	fclose(file);
	assert_int_equal(pf_segment_each_line(path, '\n', count_line, &lines), -EMSGSIZE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_reap_has_a_number_of_its_own),
		TEST(the_second_attach_finds_what_the_first_made),
		TEST(nothing_else_stays_in_the_directory),
		TEST(the_command_reads_the_policy_from_the_segment),
		TEST(sizes_are_within_their_bounds),
		TEST(a_private_segment_serves_where_none_can_be_shared),
		TEST(a_segment_that_was_changed_is_refused_field_by_field),
		TEST(a_segment_of_an_earlier_boot_is_replaced),
		TEST(a_boot_id_that_cannot_be_read_is_no_evidence),
		TEST(a_truncated_segment_is_refused),
		TEST(the_file_size_limit_is_no_signal),
		TEST(without_memory_to_map_the_static_array_serves),
		TEST(files_are_read_line_by_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
