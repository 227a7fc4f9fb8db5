#include "test/support/test.h"

#include <time.h>

#include "core/clock.h"

static void test_monotonic_time_does_not_go_back(void **state)
{
	uint64_t last = kr_clock_mono_ns();
	(void)state;

	for (int i = 0; i < 1000; i++) {
		const uint64_t now = kr_clock_mono_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void test_wall_time_is_in_nanoseconds_since_1970(void **state)
{
	const uint64_t before_s = (uint64_t)time(NULL);
	const uint64_t wall_s = kr_clock_wall_ns() / 1000000000;
	(void)state;

	/* time(2) may lag the clock by a tick */
	assert_in_range(wall_s, before_s, before_s + 5);
}

static void test_entropy_does_not_repeat(void **state)
{
	(void)state;

	assert_true(kr_clock_entropy() != kr_clock_entropy());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_monotonic_time_does_not_go_back),
		cmocka_unit_test(test_wall_time_is_in_nanoseconds_since_1970),
		cmocka_unit_test(test_entropy_does_not_repeat),
	};
	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
