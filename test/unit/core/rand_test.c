#include "test/support/test.h"

#include "core/rand.h"

static void test_the_numbers_are_those_of_splitmix64(void **state)
{
	struct kr_rand r;
	(void)state;

	/* from an independent computation of the published algorithm */
	kr_rand_init(&r, 1234567);
	assert_true(kr_rand_u64(&r) == UINT64_C(6457827717110365317));
	assert_true(kr_rand_u64(&r) == UINT64_C(3203168211198807973));
	assert_true(kr_rand_u64(&r) == UINT64_C(9817491932198370423));
}

static void test_the_same_seed_gives_the_same_numbers(void **state)
{
	struct kr_rand a, b;
	(void)state;

	kr_rand_init(&a, 7);
	kr_rand_init(&b, 7);
	for (int i = 0; i < 100; i++)
		assert_true(kr_rand_u64(&a) == kr_rand_u64(&b));
}

static void test_below_reaches_each_value_about_equally_often(void **state)
{
	uint32_t seen[7] = { 0 };
	struct kr_rand r;
	(void)state;

	kr_rand_init(&r, 3);
	for (int i = 0; i < 70000; i++)
		seen[kr_rand_below(&r, 7)]++; /* ASan sees an 8th */
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 9500, 10500);
}

static void test_below_stays_below_at_the_extremes(void **state)
{
	struct kr_rand r;
	(void)state;

	kr_rand_init(&r, 4);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(kr_rand_below(&r, 1), 0);
		assert_true(kr_rand_below(&r, UINT32_MAX) < UINT32_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_numbers_are_those_of_splitmix64),
		cmocka_unit_test(test_the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(
			test_below_reaches_each_value_about_equally_often),
		cmocka_unit_test(test_below_stays_below_at_the_extremes),
	};
	return cmocka_run_group_tests_name("rand", tests, NULL, NULL);
}
