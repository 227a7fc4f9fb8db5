/* test/unit/control/pace_test.c - turns under a rate limit, on a clock and one
 * timer that the test moves. */
#include "test/support/test.h"

#include "control/pace.h"

#define S    UINT64_C(1000000000)
#define KIB  UINT64_C(1024)
#define SLOW (64 * KIB)

/* ---- the part of kr_io that pace.c stands on */

static uint64_t now_ns;
static struct kr_timer *timer;
static uint64_t timers_set;

uint64_t kr_io_now_ns(const struct kr_io *io)
{
	(void)io;
	return now_ns;
}

void kr_io_timer_set(struct kr_io *io, struct kr_timer *t, uint64_t at_ns,
		     kr_timer_fn *fn)
{
	(void)io;
	t->at_ns = at_ns;
	t->fn = fn;
	timer = t;
	timers_set++;
}

void kr_io_timer_stop(struct kr_io *io, struct kr_timer *t)
{
	(void)io;
	if (timer == t)
		timer = NULL;
}

/* Let time pass until @until_ns; returns how often it woke. */
static uint64_t pass(uint64_t until_ns)
{
	uint64_t wakes = 0;

	while (timer != NULL && timer->at_ns <= until_ns) {
		struct kr_timer *t = timer;

		timer = NULL;
		if (t->at_ns > now_ns)
			now_ns = t->at_ns;
		t->fn(t);
		wakes++;
	}
	now_ns = until_ns;
	return wakes;
}

/* ---- transfers */

struct transfer {
	struct kr_turn turn;
	struct kr_pace *pace;
	uint64_t left_bytes, moved_bytes, done_ns;
};

static void on_turn(struct kr_turn *turn);

/* Each slice takes no time once it is granted. */
static void go_on(struct transfer *t)
{
	while (t->left_bytes > 0) {
		const uint32_t n = kr_pace_ask(
			t->pace, &t->turn, (uint32_t)t->left_bytes, on_turn);
		if (n == 0)
			return;
		t->left_bytes -= n;
		t->moved_bytes += n;
	}
	t->done_ns = now_ns;
}

static void on_turn(struct kr_turn *turn)
{
	struct transfer *t = KR_CONTAINER_OF(turn, struct transfer, turn);

	assert_true(turn->granted_bytes > 0);
	assert_true(turn->granted_bytes <= t->left_bytes);
	t->left_bytes -= turn->granted_bytes;
	t->moved_bytes += turn->granted_bytes;
	go_on(t);
}

static void start(struct transfer *t, struct kr_pace *p, uint64_t bytes)
{
	*t = (struct transfer){ .pace = p, .left_bytes = bytes };
	kr_turn_init(&t->turn);
	go_on(t);
}

static void open_pace(struct kr_pace *p, uint64_t rate)
{
	struct kr_policy policy;

	kr_policy_defaults(&policy);
	now_ns = 1000 * S;
	timer = NULL;
	timers_set = 0;
	kr_pace_open(p, NULL, rate, &policy);
}

static void test_without_a_limit_all_is_granted_at_once(void **state)
{
	struct kr_pace p;
	struct transfer t;

	(void)state;
	open_pace(&p, 0);
	start(&t, &p, UINT32_MAX);
	assert_int_equal(t.moved_bytes, UINT32_MAX);
	assert_int_equal(timers_set, 0);
}

static void test_a_second_is_accurate_to_two_percent(void **state)
{
	static const uint64_t rates[] = { 1 << 20, 100000000, 1250000000 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct kr_pace p;
		struct transfer a, b;

		open_pace(&p, rates[i]);
		start(&a, &p, UINT32_MAX);
		start(&b, &p, UINT32_MAX);
		pass(now_ns + S);
		const uint64_t sum = a.moved_bytes + b.moved_bytes;

		assert_true(sum >= rates[i] - rates[i] / 50);
		assert_true(sum <= rates[i] + rates[i] / 50);
		/* Both had the same of it, but for a burst. */
		assert_true(a.moved_bytes <= b.moved_bytes + rates[i] / 25);
		kr_pace_leave(&a.turn);
		kr_pace_leave(&b.turn);
		kr_pace_close(&p);
	}
}

static void test_a_small_block_passes_bulk_ones(void **state)
{
	struct kr_pace p;
	struct transfer bulk[3], small;

	(void)state;
	open_pace(&p, SLOW);
	for (int i = 0; i < 3; i++)
		start(&bulk[i], &p, 512 * KIB);
	pass(now_ns + S);
	const uint64_t start_ns = now_ns;
	start(&small, &p, 4 * KIB);
	pass(now_ns + 30 * S);
	/* A slice of each of the others: 12 KiB, not 1.5 MiB (24 s). */
	assert_int_equal(small.left_bytes, 0);
	assert_true(small.done_ns - start_ns < S / 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bulk[i].moved_bytes, 512 * KIB);
	kr_pace_close(&p);
}

static void test_nobody_waits_nothing_wakes(void **state)
{
	struct kr_pace p;
	struct transfer t;

	(void)state;
	open_pace(&p, SLOW);
	assert_int_equal(pass(now_ns + 1000 * S), 0);
	start(&t, &p, 512 * KIB);
	/* 4 KiB each 62.5 ms: 16 a second, and not one more. */
	assert_in_range(pass(now_ns + 8 * S), 120, 128);
	assert_int_equal(t.left_bytes, 0);
	assert_null(timer);
	assert_int_equal(pass(now_ns + 1000 * S), 0);
	kr_pace_close(&p);
}

static void test_who_leaves_is_not_called(void **state)
{
	struct kr_pace p;
	struct transfer a, b;

	(void)state;
	open_pace(&p, SLOW);
	start(&a, &p, 512 * KIB);
	start(&b, &p, 16 * KIB);
	assert_true(kr_turn_waits(&a.turn) && kr_turn_waits(&b.turn));
	const uint64_t moved = a.moved_bytes;

	kr_pace_leave(&a.turn);
	kr_pace_leave(&a.turn); /* twice is as good */
	pass(now_ns + S);
	assert_int_equal(a.moved_bytes, moved);
	assert_int_equal(b.left_bytes, 0);
	kr_pace_close(&p);
}

static void test_what_did_not_move_is_granted_again(void **state)
{
	struct kr_pace p;
	struct kr_turn turn;

	(void)state;
	open_pace(&p, SLOW);
	kr_turn_init(&turn);
	assert_int_equal(kr_pace_ask(&p, &turn, 9000, on_turn), 4096);
	assert_int_equal(kr_pace_ask(&p, &turn, 9000, on_turn), 4096);
	kr_pace_give(&p, 4096);
	assert_int_equal(kr_pace_ask(&p, &turn, 9000, on_turn), 4096);
	assert_int_equal(kr_pace_ask(&p, &turn, 9000, on_turn), 0);
	assert_int_equal(kr_pace_ask(&p, &turn, 9000, on_turn), 0);
	kr_pace_leave(&turn);
	kr_pace_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_limit_all_is_granted_at_once),
		cmocka_unit_test(test_a_second_is_accurate_to_two_percent),
		cmocka_unit_test(test_a_small_block_passes_bulk_ones),
		cmocka_unit_test(test_nobody_waits_nothing_wakes),
		cmocka_unit_test(test_who_leaves_is_not_called),
		cmocka_unit_test(test_what_did_not_move_is_granted_again),
	};

	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
