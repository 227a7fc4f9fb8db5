#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#define MS UINT64_C(1000000)

/* ---- timers on the ring */

static struct kr_io *io;
static int fired[8], fired_count;
static struct kr_timer timers[8];

static int set_up(void **state)
{
	const struct kr_ring_opts opts = { .buffer_count = 3,
					   .buffer_size_bytes = 4096 };
	(void)state;
	io = open_ring(&opts);
	memset(timers, 0, sizeof(timers));
	fired_count = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kr_ring_close(io);
	return 0;
}

static void note(struct kr_timer *t)
{
	assert_true(kr_io_now_ns(io) >= t->at_ns);
	fired[fired_count++] = (int)(t - timers);
}

static bool three_fired(const void *ctx)
{
	(void)ctx;
	return fired_count == 3;
}

static void test_timers_fire_in_order_and_not_early(void **state)
{
	const uint64_t now_ns = kr_io_now_ns(io);
	(void)state;

	kr_io_timer_set(io, &timers[0], now_ns + 9 * MS, note);
	kr_io_timer_set(io, &timers[1], now_ns + 3 * MS, note);
	kr_io_timer_set(io, &timers[2], now_ns + 6 * MS, note);
	kr_io_timer_set(io, &timers[3], now_ns + 4 * MS, note);
	kr_io_timer_stop(io, &timers[3]);
	turn_until(io, three_fired, NULL);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired[1], 2);
	assert_int_equal(fired[2], 0);
	assert_true(kr_clock_mono_ns() >= now_ns + 9 * MS);
}

static void stop_the_next(struct kr_timer *t)
{
	note(t);
	kr_io_timer_stop(io, &timers[1]);
	kr_io_timer_set(io, &timers[2], t->at_ns + 3, note);
	kr_io_timer_set(io, &timers[3], t->at_ns + 2, note);
}

static void test_a_timer_stops_and_sets_others(void **state)
{
	const uint64_t now_ns = kr_io_now_ns(io);
	(void)state;

	kr_io_timer_set(io, &timers[0], now_ns + 1, stop_the_next);
	kr_io_timer_set(io, &timers[1], now_ns + 2, note);
	turn_until(io, three_fired, NULL);
	assert_int_equal(fired[0], 0);
	assert_int_equal(fired[1], 3);
	assert_int_equal(fired[2], 2);
}

/* One turn sleeps until the timer: an idle ring has no tick. */
static void test_an_idle_ring_sleeps_until_its_timer(void **state)
{
	struct kr_ring_stats s;
	(void)state;

	kr_io_timer_set(io, &timers[0], kr_io_now_ns(io) + 30 * MS, note);
	kr_io_turn(io);
	kr_ring_stats_get(io, &s);
	assert_int_equal(fired_count, 1);
	assert_int_equal(s.turns, 1);
}

/* ---- block buffers */

struct waiter {
	struct kr_waiter waiter;
	int number;
	bool takes;
	uint8_t *got;
};

static int woken[8], woken_count;

static void wake(struct kr_waiter *w)
{
	struct waiter *x = (struct waiter *)w;

	assert_false(in_start);
	woken[woken_count++] = x->number;
	if (x->takes) {
		x->got = kr_io_buffer_take(io);
		assert_non_null(x->got);
	}
}

static void test_buffers_are_distinct_aligned_and_finite(void **state)
{
	uint8_t *b[3];
	(void)state;

	assert_int_equal(kr_io_buffer_size_bytes(io), 4096);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kr_io_buffer_free_count(io), 3 - i);
		b[i] = kr_io_buffer_take(io);
		assert_non_null(b[i]);
		assert_int_equal((uintptr_t)b[i] % 4096, 0);
		memset(b[i], i, 4096);
	}
	assert_null(kr_io_buffer_take(io));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(b[i][0], i);
		assert_int_equal(b[i][4095], i);
		kr_io_buffer_give(io, b[i]);
	}
	assert_int_equal(kr_io_buffer_free_count(io), 3);
}

static void test_waiters_are_woken_first_come_first_served(void **state)
{
	struct waiter w[3] = { { .number = 0, .takes = true },
			       { .number = 1, .takes = true },
			       { .number = 2, .takes = true } };
	uint8_t *b[3];
	(void)state;

	woken_count = 0;
	for (int i = 0; i < 3; i++)
		b[i] = kr_io_buffer_take(io);
	for (int i = 0; i < 3; i++) {
		in_start = true;
		kr_io_buffer_wait(io, &w[i].waiter, wake);
		kr_io_buffer_wait(io, &w[i].waiter, wake);
		in_start = false;
	}
	turn_once(io);
	assert_int_equal(woken_count, 0);
	for (int i = 0; i < 3; i++) {
		in_start = true;
		kr_io_buffer_give(io, b[i]);
		in_start = false;
		kr_io_turn(io); /* does not sleep: somebody is to be woken */
		assert_int_equal(woken_count, i + 1);
		assert_int_equal(woken[i], i);
	}
	for (int i = 0; i < 3; i++)
		kr_io_buffer_give(io, w[i].got);
}

static void test_who_gives_and_takes_does_not_overtake(void **state)
{
	struct waiter w = { .takes = true };
	uint8_t *b[3];
	(void)state;

	woken_count = 0;
	for (int i = 0; i < 3; i++)
		b[i] = kr_io_buffer_take(io);
	kr_io_buffer_wait(io, &w.waiter, wake);
	kr_io_buffer_give(io, b[0]);
	assert_int_equal(kr_io_buffer_free_count(io), 0);
	assert_null(kr_io_buffer_take(io));
	kr_io_turn(io);
	assert_int_equal(woken_count, 1);
	assert_ptr_equal(w.got, b[0]);
	for (int i = 0; i < 3; i++)
		kr_io_buffer_give(io, b[i]);
}

static void test_who_does_not_take_lets_the_next_in(void **state)
{
	struct waiter w[3] = { { .number = 0 },
			       { .number = 1 },
			       { .number = 2, .takes = true } };
	uint8_t *b[3];
	(void)state;

	woken_count = 0;
	for (int i = 0; i < 3; i++)
		b[i] = kr_io_buffer_take(io);
	for (int i = 0; i < 3; i++)
		kr_io_buffer_wait(io, &w[i].waiter, wake);
	kr_io_buffer_unwait(io, &w[1].waiter);
	kr_io_buffer_unwait(io, &w[1].waiter);
	kr_io_buffer_give(io, b[0]);
	kr_io_turn(io);
	assert_int_equal(woken_count, 2);
	assert_int_equal(woken[0], 0);
	assert_int_equal(woken[1], 2);
	for (int i = 0; i < 3; i++)
		kr_io_buffer_give(io, b[i]);
}

static void test_waiting_while_one_is_free_is_served_next_turn(void **state)
{
	struct waiter w = { .takes = true };
	(void)state;

	woken_count = 0;
	kr_io_buffer_wait(io, &w.waiter, wake);
	assert_int_equal(woken_count, 0);
	kr_io_turn(io);
	assert_int_equal(woken_count, 1);
	kr_io_buffer_give(io, w.got);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_timers_fire_in_order_and_not_early),
		TEST(test_a_timer_stops_and_sets_others),
		TEST(test_an_idle_ring_sleeps_until_its_timer),
		TEST(test_buffers_are_distinct_aligned_and_finite),
		TEST(test_waiters_are_woken_first_come_first_served),
		TEST(test_who_gives_and_takes_does_not_overtake),
		TEST(test_who_does_not_take_lets_the_next_in),
		TEST(test_waiting_while_one_is_free_is_served_next_turn),
	};
	return cmocka_run_group_tests_name("waits", tests, NULL, NULL);
}
