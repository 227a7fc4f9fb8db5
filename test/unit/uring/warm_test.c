/* On a file in memory a page that was never written is not there, and one
 * that is cut out of it leaves at once. */
#define _GNU_SOURCE
#include "test/support/test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uring/resident.h"
#include "uring/warm.h"

enum { PAGE = 4096, MIB = 1 << 20 };
#define NOW_NS UINT64_C(5000000000)

static struct kr_warm warm;

static int make_memory_file(off_t bytes)
{
	static const uint8_t page[PAGE];
	const int fd = memfd_create("warm", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (off_t at = 0; at < bytes; at += PAGE)
		assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
	return fd;
}

static void cut_page_before(int fd, off_t end)
{
	assert_int_equal(fallocate(fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   end - PAGE, PAGE),
			 0);
}

static bool is_there_at(uint64_t now_ns, int fd, uint64_t from, uint32_t len)
{
	return kr_warm_check(&warm, now_ns, fd, from, len, true);
}

static bool is_there(int fd, uint64_t from, uint32_t len)
{
	return is_there_at(NOW_NS, fd, from, len);
}

static int start(void **state)
{
	(void)state;
	warm = (struct kr_warm){ 0 };
	return 0;
}

static void test_what_was_there_is_asked_about_again_after_a_while(void **state)
{
	const int fd = make_memory_file(KR_WARM_BYTES);
	(void)state;

	assert_true(is_there(fd, MIB, MIB));
	cut_page_before(fd, KR_WARM_BYTES);
	assert_true(is_there(fd, 3 * MIB, MIB));
	assert_true(is_there_at(NOW_NS + KR_WARM_NS - 1, fd, 3 * MIB, MIB));
	assert_false(is_there_at(NOW_NS + KR_WARM_NS, fd, 3 * MIB, MIB));
	close(fd);
}

static void test_a_forgotten_file_is_asked_about_at_once(void **state)
{
	const int fd = make_memory_file(KR_WARM_BYTES);
	const int other = make_memory_file(KR_WARM_BYTES);
	(void)state;

	assert_true(is_there(fd, 0, KR_WARM_BYTES));
	assert_true(is_there(other, 0, KR_WARM_BYTES));
	cut_page_before(fd, KR_WARM_BYTES);
	cut_page_before(other, KR_WARM_BYTES);
	kr_warm_forget(&warm, fd);
	assert_false(is_there(fd, 0, KR_WARM_BYTES));
	assert_true(is_there(other, 0, KR_WARM_BYTES));
	close(fd);
	close(other);
}

static void test_a_hole_elsewhere_does_not_matter(void **state)
{
	const int fd = make_memory_file(2 * KR_WARM_BYTES);
	(void)state;

	cut_page_before(fd, KR_WARM_BYTES);
	assert_true(is_there(fd, MIB, MIB));
	assert_false(is_there(fd, 3 * MIB, MIB));
	assert_true(is_there(fd, KR_WARM_BYTES, KR_WARM_BYTES));
	close(fd);
}

static void test_a_range_needs_all_it_touches(void **state)
{
	const int fd = make_memory_file(3 * KR_WARM_BYTES);
	(void)state;

	assert_true(is_there(fd, KR_WARM_BYTES - 1, KR_WARM_BYTES + 2));
	kr_warm_forget(&warm, fd);
	cut_page_before(fd, 3 * KR_WARM_BYTES);
	assert_false(is_there(fd, KR_WARM_BYTES - 1, 2 * KR_WARM_BYTES + 1));
	close(fd);
}

static void test_the_end_of_a_file_may_be_anywhere(void **state)
{
	const int fd = make_memory_file(KR_WARM_BYTES + PAGE);
	(void)state;

	assert_int_equal(ftruncate(fd, KR_WARM_BYTES + 17), 0);
	assert_true(is_there(fd, KR_WARM_BYTES, 17));
	assert_true(is_there(fd, 0, KR_WARM_BYTES + 17));
	close(fd);
}

/* Two places of one file share a slot: the table says nothing wrong. */
static void test_what_takes_the_place_of_another_is_asked_about(void **state)
{
	const uint64_t far = (uint64_t)KR_WARM_SLOTS * KR_WARM_BYTES;
	const int fd = make_memory_file(KR_WARM_BYTES);
	(void)state;

	assert_int_equal(ftruncate(fd, (off_t)(far + KR_WARM_BYTES)), 0);
	assert_true(is_there(fd, 0, MIB));
	assert_false(is_there(fd, far, MIB));
	assert_true(is_there(fd, 0, MIB));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			test_what_was_there_is_asked_about_again_after_a_while,
			start),
		cmocka_unit_test_setup(
			test_a_forgotten_file_is_asked_about_at_once, start),
		cmocka_unit_test_setup(test_a_hole_elsewhere_does_not_matter,
				       start),
		cmocka_unit_test_setup(test_a_range_needs_all_it_touches,
				       start),
		cmocka_unit_test_setup(test_the_end_of_a_file_may_be_anywhere,
				       start),
		cmocka_unit_test_setup(
			test_what_takes_the_place_of_another_is_asked_about,
			start),
	};

	if (!kr_resident_probe()) {
		print_message("no cachestat(2): files in memory count as "
			      "cold, which has no table\n");
		return 0;
	}
	return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
