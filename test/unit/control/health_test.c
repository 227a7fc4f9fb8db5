/* test/unit/control/health_test.c - control/health, one behaviour per test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/health.h"

#define SEC UINT64_C(1000000000)

static const struct kr_health_opts opts = { .fails = 3,
					    .passes = 2,
					    .passive_fails = 3,
					    .passive_window_ns = 10 * SEC };

static void test_failures_in_a_row_make_it_unhealthy(void **state)
{
	struct kr_health h;
	(void)state;

	kr_health_init(&h, &opts, true);
	assert_false(kr_health_check_done(&h, 1, false));
	assert_false(kr_health_check_done(&h, 2, false));
	assert_false(kr_health_check_done(&h, 3, true)); /* not in a row */
	assert_false(kr_health_check_done(&h, 4, false));
	assert_false(kr_health_check_done(&h, 5, false));
	assert_true(kr_health_is_healthy(&h));
	assert_true(kr_health_check_done(&h, 6, false));
	assert_false(kr_health_is_healthy(&h));
}

static void test_passes_in_a_row_make_it_healthy(void **state)
{
	struct kr_health h;
	(void)state;

	kr_health_init(&h, &opts, false);
	assert_false(kr_health_check_done(&h, 1, true));
	assert_false(kr_health_check_done(&h, 2, false));
	assert_false(kr_health_check_done(&h, 3, true));
	assert_true(kr_health_check_done(&h, 4, true));
	assert_true(kr_health_is_healthy(&h));
}

static void test_failing_traffic_counts_within_its_window(void **state)
{
	struct kr_health h;
	(void)state;

	kr_health_init(&h, &opts, true);
	assert_false(kr_health_traffic(&h, 1 * SEC, false));
	assert_false(kr_health_traffic(&h, 2 * SEC, false));
	assert_false(kr_health_traffic(&h, 12 * SEC, false)); /* a new one */
	assert_false(kr_health_traffic(&h, 13 * SEC, false));
	assert_true(kr_health_traffic(&h, 14 * SEC, false));
	assert_false(kr_health_is_healthy(&h));
}

static void test_good_traffic_forgives_but_does_not_heal(void **state)
{
	struct kr_health h;
	(void)state;

	kr_health_init(&h, &opts, true);
	assert_false(kr_health_traffic(&h, 1, false));
	assert_false(kr_health_traffic(&h, 2, false));
	assert_false(kr_health_traffic(&h, 3, true));
	assert_false(kr_health_traffic(&h, 4, false));
	assert_false(kr_health_traffic(&h, 5, false));
	assert_true(kr_health_traffic(&h, 6, false));
	for (int i = 0; i < 10; i++)
		assert_false(kr_health_traffic(&h, 7, true));
	assert_false(kr_health_is_healthy(&h));
}

static void test_zero_means_the_defaults(void **state)
{
	const struct kr_health_opts none = { 0 };
	struct kr_health h;
	(void)state;

	kr_health_init(&h, &none, true);
	assert_false(kr_health_check_done(&h, 1, false));
	assert_false(kr_health_check_done(&h, 2, false));
	assert_true(kr_health_check_done(&h, 3, false));
	assert_false(kr_health_check_done(&h, 4, true));
	assert_true(kr_health_check_done(&h, 5, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failures_in_a_row_make_it_unhealthy),
		cmocka_unit_test(test_passes_in_a_row_make_it_healthy),
		cmocka_unit_test(test_failing_traffic_counts_within_its_window),
		cmocka_unit_test(test_good_traffic_forgives_but_does_not_heal),
		cmocka_unit_test(test_zero_means_the_defaults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
