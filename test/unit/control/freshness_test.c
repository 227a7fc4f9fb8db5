/* test/unit/control/freshness_test.c - control/freshness: every row of the
 * decision, one behaviour per test. */
#include "control/freshness.h"
#include "test/support/test.h"

#define SEC UINT64_C(1000000000)
#define NOW (1000 * SEC)

static const struct kr_freshness always = { .cache_ns = 0, .stale = true };
static const struct kr_freshness always_strict = { .cache_ns = 0 };
static const struct kr_freshness cached = { .cache_ns = 10 * SEC,
					    .stale = true };
static const struct kr_freshness cached_strict = { .cache_ns = 10 * SEC };

static void what_is_not_known_is_asked(void **state)
{
	(void)state;
	assert_int_equal(kr_freshness_decide(&always, 0, NOW, KR_AGAIN),
			 KR_FRESH_ASK);
	assert_int_equal(kr_freshness_decide(&cached, 0, NOW, KR_AGAIN),
			 KR_FRESH_ASK);
	/* also when the clock is young */
	assert_int_equal(kr_freshness_decide(&cached, 0, SEC, KR_AGAIN),
			 KR_FRESH_ASK);
}

static void always_asks_however_young_it_is(void **state)
{
	(void)state;
	assert_int_equal(kr_freshness_decide(&always, NOW, NOW, KR_AGAIN),
			 KR_FRESH_ASK);
}

static void what_is_young_is_served_and_what_is_old_is_asked(void **state)
{
	(void)state;
	assert_int_equal(kr_freshness_decide(&cached, NOW, NOW, KR_AGAIN),
			 KR_FRESH_KNOWN);
	assert_int_equal(
		kr_freshness_decide(&cached, NOW - 10 * SEC + 1, NOW, KR_AGAIN),
		KR_FRESH_KNOWN);
	assert_int_equal(
		kr_freshness_decide(&cached, NOW - 10 * SEC, NOW, KR_AGAIN),
		KR_FRESH_ASK);
}

static void a_clock_that_was_set_back_keeps_nothing_young(void **state)
{
	(void)state;
	assert_int_equal(kr_freshness_decide(&cached, NOW + 1, NOW, KR_AGAIN),
			 KR_FRESH_ASK);
}

static void what_upstream_says_counts(void **state)
{
	const struct kr_freshness *const all[] = { &always, &always_strict,
						   &cached, &cached_strict };
	(void)state;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (uint64_t learned = 0; learned <= NOW; learned += NOW) {
			assert_int_equal(kr_freshness_decide(all[i], learned,
							     NOW, KR_OK),
					 KR_FRESH_NEW);
			assert_int_equal(kr_freshness_decide(all[i], learned,
							     NOW,
							     KR_E_NOTFOUND),
					 KR_FRESH_GONE);
		}
	}
}

static void who_cannot_be_asked_lets_the_known_be_served(void **state)
{
	static const enum kr_err errs[] = { KR_E_TIMEDOUT, KR_E_UNAVAILABLE,
					    KR_E_DENIED,   KR_E_IO,
					    KR_E_CORRUPT,  KR_E_NOMEM };
	(void)state;

	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		assert_int_equal(
			kr_freshness_decide(&always, SEC, NOW, errs[i]),
			KR_FRESH_STALE);
		assert_int_equal(kr_freshness_decide(&always, 0, NOW, errs[i]),
				 KR_FRESH_FAILED);
		assert_int_equal(
			kr_freshness_decide(&always_strict, SEC, NOW, errs[i]),
			KR_FRESH_FAILED);
		assert_int_equal(
			kr_freshness_decide(&cached_strict, NOW, NOW, errs[i]),
			KR_FRESH_FAILED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_known_is_asked),
		cmocka_unit_test(always_asks_however_young_it_is),
		cmocka_unit_test(
			what_is_young_is_served_and_what_is_old_is_asked),
		cmocka_unit_test(a_clock_that_was_set_back_keeps_nothing_young),
		cmocka_unit_test(what_upstream_says_counts),
		cmocka_unit_test(who_cannot_be_asked_lets_the_known_be_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
