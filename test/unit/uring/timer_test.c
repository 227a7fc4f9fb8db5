#include "test/support/test.h"

#include <stdlib.h>
#include <string.h>

#include "uring/timer.h"

enum { TIMERS = 500 };

static struct kr_timers ts;
static struct kr_timer timers[TIMERS];
static uint64_t last_ns;
static uint32_t fired_count;

static int set_up(void **state)
{
	(void)state;
	memset(timers, 0, sizeof(timers));
	last_ns = 0;
	fired_count = 0;
	return kr_timers_init(&ts, TIMERS) == KR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	kr_timers_fini(&ts);
	return 0;
}

static void note(struct kr_timer *t)
{
	assert_true(t->at_ns >= last_ns);
	assert_int_equal(t->heap_index, 0);
	last_ns = t->at_ns;
	fired_count++;
}

static void note_and_set_at_zero(struct kr_timer *t)
{
	fired_count++;
	kr_timers_set(&ts, t, 0, note_and_set_at_zero);
}

static void test_timers_fire_in_order_of_time(void **state)
{
	(void)state;
	srand(7);
	for (int i = 0; i < TIMERS; i++) {
		kr_timers_set(&ts, &timers[i], (uint64_t)(rand() % 1000) + 1,
			      note);
		kr_timers_check(&ts);
	}
	kr_timers_fire(&ts, 500);
	assert_true(last_ns <= 500);
	assert_true(kr_timers_next_ns(&ts) > 500);
	kr_timers_fire(&ts, 1000);
	assert_int_equal(fired_count, TIMERS);
	assert_true(kr_timers_next_ns(&ts) == UINT64_MAX);
}

static void test_stopped_timers_do_not_fire(void **state)
{
	(void)state;
	srand(11);
	for (int i = 0; i < TIMERS; i++)
		kr_timers_set(&ts, &timers[i], (uint64_t)(rand() % 1000) + 1,
			      note);
	for (int i = 0; i < TIMERS; i += 2) {
		kr_timers_stop(&ts, &timers[i]);
		kr_timers_stop(&ts, &timers[i]);
		kr_timers_check(&ts);
	}
	kr_timers_fire(&ts, 1000);
	assert_int_equal(fired_count, TIMERS / 2);
}

static void test_setting_again_replaces_the_time(void **state)
{
	(void)state;
	kr_timers_set(&ts, &timers[0], 10, note);
	kr_timers_set(&ts, &timers[1], 20, note);
	kr_timers_set(&ts, &timers[0], 30, note);
	kr_timers_check(&ts);
	kr_timers_fire(&ts, 25);
	assert_int_equal(fired_count, 1);
	assert_int_equal(last_ns, 20);
	assert_true(kr_timers_next_ns(&ts) == 30);
}

static void test_a_pass_ends_though_timers_are_set_in_it(void **state)
{
	(void)state;
	kr_timers_set(&ts, &timers[0], 1, note_and_set_at_zero);
	kr_timers_set(&ts, &timers[1], 2, note);
	kr_timers_fire(&ts, 5);
	assert_int_equal(fired_count, 2);
	kr_timers_check(&ts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_timers_fire_in_order_of_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped_timers_do_not_fire,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_setting_again_replaces_the_time, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_pass_ends_though_timers_are_set_in_it, set_up,
			tear_down),
	};
	return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
