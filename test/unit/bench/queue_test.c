#include "test/support/test.h"

#include "bench/swarm_sim/queue.h"
#include "core/rand.h"

/* Times from within a bucket of the wheel to far beyond its reach. */
static uint64_t some_delay(struct kr_rand *rand)
{
	static const uint32_t reach_ns[] = { 1,         200,       100000,
					     100000000, 200000000, 3000000000 };

	return kr_rand_below(rand, reach_ns[kr_rand_below(rand, 6)]);
}

static void test_an_empty_queue_has_nothing(void **state)
{
	struct sim_queue *q = sim_queue_open();
	struct sim_event ev;

	(void)state;
	assert_false(sim_queue_pop(q, &ev));
	sim_queue_push(q, 5, 1, 2, 3, 4);
	assert_true(sim_queue_pop(q, &ev));
	assert_int_equal(ev.at_ns, 5);
	assert_int_equal(ev.type, 1);
	assert_int_equal(ev.a, 2);
	assert_int_equal(ev.b, 3);
	assert_int_equal(ev.c, 4);
	assert_false(sim_queue_pop(q, &ev));
	assert_int_equal(sim_queue_popped(q), 1);
	sim_queue_close(q);
}

static void test_events_come_in_the_order_of_their_time(void **state)
{
	struct sim_queue *q = sim_queue_open();
	struct kr_rand rand;
	struct sim_event ev;
	uint64_t now_ns = 0;
	uint32_t pushed = 0, left = 0, last = 0;

	(void)state;
	kr_rand_init(&rand, 7);
	while (pushed < 200000 || left > 0) {
		/* More come than go, then the rest is taken. */
		if (pushed < 200000 && kr_rand_below(&rand, 5) < 3) {
			const uint64_t at_ns = now_ns + some_delay(&rand);

			sim_queue_push(q, at_ns, 0, pushed++, (uint32_t)at_ns,
				       (uint32_t)(at_ns >> 32));
			left++;
			continue;
		}
		if (left == 0)
			continue;
		assert_true(sim_queue_pop(q, &ev));
		left--;
		assert_true(ev.at_ns >= now_ns);
		assert_int_equal(ev.at_ns,
				 (uint64_t)ev.c << 32 | (uint64_t)ev.b);
		if (ev.at_ns == now_ns && last != 0)
			assert_true(ev.a > last);
		last = ev.a;
		now_ns = ev.at_ns;
	}
	assert_false(sim_queue_pop(q, &ev));
	assert_int_equal(sim_queue_popped(q), 200000);
	sim_queue_close(q);
}

static void test_a_time_that_has_passed_is_now(void **state)
{
	struct sim_queue *q = sim_queue_open();
	struct sim_event ev;

	(void)state;
	sim_queue_push(q, 1000000, 0, 1, 0, 0);
	assert_true(sim_queue_pop(q, &ev));
	sim_queue_push(q, 1000001, 0, 3, 0, 0);
	sim_queue_push(q, 10, 0, 2, 0, 0);
	assert_true(sim_queue_pop(q, &ev));
	assert_int_equal(ev.a, 2);
	assert_int_equal(ev.at_ns, 1000000);
	assert_true(sim_queue_pop(q, &ev));
	assert_int_equal(ev.a, 3);
	sim_queue_close(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_queue_has_nothing),
		cmocka_unit_test(test_events_come_in_the_order_of_their_time),
		cmocka_unit_test(test_a_time_that_has_passed_is_now),
	};

	return cmocka_run_group_tests_name("bench queue", tests, NULL, NULL);
}
