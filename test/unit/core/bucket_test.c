/* test/unit/core/bucket_test.c - the token bucket: accurate, bounded, exact
 * over years. */
#include "test/support/test.h"

#include "core/bucket.h"
#include "core/rand.h"

#define S    UINT64_C(1000000000)
#define KIB  UINT64_C(1024)
#define MIB  (KIB * KIB)
#define YEAR (UINT64_C(365) * 24 * 3600 * S)

/* Move whole slices as soon as they may pass, each time up to @late_max_ns
 * late; returns the bytes that passed before @until_ns. */
static uint64_t drive(struct kr_bucket *b, uint64_t from_ns, uint64_t until_ns,
		      uint64_t slice, uint64_t late_max_ns, uint64_t seed)
{
	struct kr_rand r;
	uint64_t now = from_ns, moved = 0;

	kr_rand_init(&r, seed);
	for (;;) {
		now = kr_bucket_ready_ns(b, now, slice);
		if (late_max_ns > 0)
			now += kr_rand_u64(&r) % late_max_ns;
		if (now >= until_ns)
			return moved;
		assert_true(kr_bucket_bytes(b, now) >= slice);
		kr_bucket_take(b, now, slice);
		moved += slice;
	}
}

static void test_without_a_rate_everything_passes(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 0, 0, 5);
	assert_false(kr_bucket_is_limited(&b));
	kr_bucket_take(&b, 6, UINT64_MAX);
	assert_true(kr_bucket_bytes(&b, 6) == UINT64_MAX);
	assert_true(kr_bucket_ready_ns(&b, 7, UINT64_MAX) == 7);
}

static void test_a_second_is_accurate_to_two_percent(void **state)
{
	static const uint64_t rates[] = { MIB, 10 * MIB + 7, 300000000,
					  UINT64_C(12500000000) };
	struct kr_bucket b;

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const uint64_t rate = rates[i], slice = rate / 100;

		/* Idle before, and late by up to a slice each time. */
		kr_bucket_init(&b, rate, 2 * slice, 0);
		const uint64_t moved =
			drive(&b, 10 * S, 11 * S, slice, S / 100, i);

		assert_true(moved >= rate - rate / 50);
		assert_true(moved <= rate + rate / 50);
	}
}

static void test_sixty_four_kib_a_second(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 64 * KIB, 8 * KIB, 0);
	const uint64_t moved = drive(&b, 0, 100 * S, 4 * KIB, 0, 1);

	assert_true(moved >= 6400 * KIB);
	assert_true(moved <= 6408 * KIB);
}

/* However one takes: no window of time sees more than burst + rate * span. */
static void test_no_span_exceeds_burst_and_rate(void **state)
{
	enum { COUNT = 4000 };
	static uint64_t at[COUNT], sum[COUNT + 1];
	const uint64_t rate = 3 * MIB + 1, burst = 64 * KIB;
	struct kr_bucket b;
	struct kr_rand r;
	uint64_t now = 0;

	(void)state;
	kr_rand_init(&r, 7);
	kr_bucket_init(&b, rate, burst, 0);
	for (size_t i = 0; i < COUNT; i++) {
		const uint64_t gap = kr_rand_u64(&r) % 8 == 0 ? S : S / 1000;
		uint64_t n;

		now += kr_rand_u64(&r) % gap;
		n = kr_bucket_bytes(&b, now);
		if (n > 0 && kr_rand_u64(&r) % 4 != 0)
			n = kr_rand_u64(&r) % n;
		kr_bucket_take(&b, now, n);
		at[i] = now;
		sum[i + 1] = sum[i] + n;
	}
	for (size_t i = 0; i < COUNT; i++) {
		for (size_t k = i; k < COUNT; k += 37) {
			const double span = (double)(at[k] - at[i]) / 1e9;

			assert_true((double)(sum[k + 1] - sum[i]) <=
				    (double)burst + (double)rate * span + 1);
		}
	}
}

static void test_nothing_drifts_at_odd_rates(void **state)
{
	const uint64_t rate = 65537; /* 15,258.5 ns a byte */
	struct kr_bucket b;
	uint64_t moved = 0;

	(void)state;
	kr_bucket_init(&b, rate, 100, 0);
	kr_bucket_take(&b, 0, 100);
	/* An hour in steps that are no whole number of bytes. */
	for (uint64_t now = 0; now <= 3600 * S; now += 777777) {
		const uint64_t n = kr_bucket_bytes(&b, now);

		kr_bucket_take(&b, now, n);
		moved += n;
	}
	assert_in_range(moved, 3600 * rate - 60, 3600 * rate);
}

static void test_years_overflow_nothing(void **state)
{
	static const uint64_t rates[] = { 1, 64 * KIB, KR_BUCKET_RATE_MAX,
					  UINT64_MAX };
	struct kr_bucket b;

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		kr_bucket_init(&b, rates[i], UINT64_MAX, 0);
		kr_bucket_take(&b, 0, UINT64_MAX);
		kr_bucket_take(&b, 1, UINT64_MAX);
		assert_int_equal(kr_bucket_bytes(&b, 1), 0);
		assert_int_equal(kr_bucket_bytes(&b, 200 * YEAR),
				 KR_BUCKET_BURST_MAX);
		assert_int_equal(kr_bucket_bytes(&b, UINT64_MAX),
				 KR_BUCKET_BURST_MAX);
	}
}

static void test_debt_is_paid_first(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 1000, 100, 0);
	kr_bucket_take(&b, 0, 1100); /* 1,000 bytes of debt: a second */
	assert_int_equal(kr_bucket_bytes(&b, S), 0);
	assert_int_equal(kr_bucket_ready_ns(&b, S, 1), S + S / 1000);
	assert_int_equal(kr_bucket_bytes(&b, S + S / 1000), 1);
}

static void test_what_did_not_pass_is_put_back(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 1000, 100, 0);
	kr_bucket_take(&b, 0, 80);
	kr_bucket_give(&b, 30);
	assert_int_equal(kr_bucket_bytes(&b, 0), 50);
	kr_bucket_give(&b, UINT64_MAX); /* never above the burst */
	assert_int_equal(kr_bucket_bytes(&b, 0), 100);
}

static void test_ready_is_the_first_moment(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 3, 10, 0);
	kr_bucket_take(&b, 0, 10);
	const uint64_t at = kr_bucket_ready_ns(&b, 0, 1);

	assert_int_equal(at, 333333334);
	assert_int_equal(kr_bucket_bytes(&b, at - 1), 0);
	assert_int_equal(kr_bucket_bytes(&b, at), 1);
	/* More than the burst counts as the burst. */
	assert_int_equal(kr_bucket_ready_ns(&b, at, 1000),
			 kr_bucket_ready_ns(&b, at, 10));
}

static void test_time_that_goes_back_changes_nothing(void **state)
{
	struct kr_bucket b;

	(void)state;
	kr_bucket_init(&b, 1000, 100, 5 * S);
	kr_bucket_take(&b, 5 * S, 100);
	assert_int_equal(kr_bucket_bytes(&b, 4 * S), 0);
	assert_int_equal(kr_bucket_bytes(&b, 5 * S + S / 100), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_rate_everything_passes),
		cmocka_unit_test(test_a_second_is_accurate_to_two_percent),
		cmocka_unit_test(test_sixty_four_kib_a_second),
		cmocka_unit_test(test_no_span_exceeds_burst_and_rate),
		cmocka_unit_test(test_nothing_drifts_at_odd_rates),
		cmocka_unit_test(test_years_overflow_nothing),
		cmocka_unit_test(test_debt_is_paid_first),
		cmocka_unit_test(test_what_did_not_pass_is_put_back),
		cmocka_unit_test(test_ready_is_the_first_moment),
		cmocka_unit_test(test_time_that_goes_back_changes_nothing),
	};

	return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
