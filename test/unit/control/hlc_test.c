/* test/unit/control/hlc_test.c - control/hlc, one behaviour per test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/hlc.h"

#define MS UINT64_C(1000000)

static void test_it_follows_the_wall_clock(void **state)
{
	struct kr_hlc c = { 0 };
	(void)state;

	assert_int_equal(kr_hlc_next(&c, 7 * MS), 7 << 16);
	assert_int_equal(kr_hlc_next(&c, 9 * MS), 9 << 16);
}

static void test_it_never_repeats_nor_goes_back(void **state)
{
	struct kr_hlc c = { 0 };
	uint64_t last = kr_hlc_next(&c, 1000 * MS);
	(void)state;

	/* More events in a millisecond than the counter holds, while the
	 * clock runs backwards. */
	for (uint64_t i = 0; i < 200000; i++) {
		const uint64_t next = kr_hlc_next(&c, (1000 - i % 1000) * MS);
		assert_true(next > last);
		last = next;
	}
}

static void test_what_was_seen_is_earlier_than_what_comes(void **state)
{
	struct kr_hlc c = { 0 };
	const uint64_t other = (UINT64_C(2000) << 16) + 5;
	(void)state;

	assert_true(kr_hlc_seen(&c, other, 1000 * MS));
	assert_true(kr_hlc_next(&c, 1000 * MS) > other);
	assert_true(kr_hlc_seen(&c, 1, 1000 * MS)); /* old news */
	assert_true(kr_hlc_next(&c, 1000 * MS) > other);
}

static void test_a_stamp_from_the_far_future_moves_nothing(void **state)
{
	struct kr_hlc c = { 0 };
	(void)state;

	assert_false(kr_hlc_seen(&c, UINT64_MAX, 1000 * MS));
	assert_int_equal(kr_hlc_next(&c, 1000 * MS), UINT64_C(1000) << 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_follows_the_wall_clock),
		cmocka_unit_test(test_it_never_repeats_nor_goes_back),
		cmocka_unit_test(test_what_was_seen_is_earlier_than_what_comes),
		cmocka_unit_test(
			test_a_stamp_from_the_far_future_moves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
