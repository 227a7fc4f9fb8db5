/* test/unit/backends/backends_test.c - backends/backends, one behaviour per
 * test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/backends.h"

static unsigned closed;

static void fake_close(struct kr_backend *b)
{
	(void)b;
	closed++;
}

static const struct kr_backend_ops fake_ops = { .type = "fake",
						.close = fake_close };

static void test_the_first_rule_that_matches_wins(void **state)
{
	struct kr_backend a = { &fake_ops }, b = { &fake_ops };
	struct kr_backends *bs;
	(void)state;

	closed = 0;
	assert_int_equal(kr_backends_open(&bs), KR_OK);
	assert_int_equal(kr_backends_add(bs, "^library/.*", &a, NULL), KR_OK);
	assert_int_equal(kr_backends_add(bs, "team-(a|b)/", &b, NULL), KR_OK);
	assert_ptr_equal(kr_backends_find(bs, "library/team-a/x"), &a);
	assert_ptr_equal(kr_backends_find(bs, "x/team-b/y"), &b);
	assert_null(kr_backends_find(bs, "x/team-c/y"));
	kr_backends_close(bs);
	assert_int_equal(closed, 2);
}

static void test_a_bad_expression_is_explained(void **state)
{
	struct kr_backend a = { &fake_ops };
	char error[KR_BACKENDS_ERROR_MAX];
	struct kr_backends *bs;
	(void)state;

	closed = 0;
	assert_int_equal(kr_backends_open(&bs), KR_OK);
	assert_int_equal(kr_backends_add(bs, "library/(", &a, error),
			 KR_E_CONFIG);
	assert_non_null(strstr(error, "`backends`: entry 1"));
	assert_non_null(strstr(error, "library/("));
	assert_null(kr_backends_find(bs, "library/("));
	kr_backends_close(bs);
	assert_int_equal(closed, 0); /* it stayed the caller's */
}

static void test_the_number_of_rules_is_bounded(void **state)
{
	static struct kr_backend all[KR_BACKENDS_MAX + 1];
	struct kr_backends *bs;
	(void)state;

	assert_int_equal(kr_backends_open(&bs), KR_OK);
	for (size_t i = 0; i <= KR_BACKENDS_MAX; i++) {
		all[i].ops = &fake_ops;
		assert_int_equal(kr_backends_add(bs, "x", &all[i], NULL),
				 i < KR_BACKENDS_MAX ? KR_OK : KR_E_LIMIT);
	}
	kr_backends_close(bs);
}

static void test_what_cannot_list_says_so(void **state)
{
	struct kr_backend a = { &fake_ops };
	(void)state;

	assert_int_equal(kr_backend_list(&a, "", NULL, NULL), KR_E_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_rule_that_matches_wins),
		cmocka_unit_test(test_a_bad_expression_is_explained),
		cmocka_unit_test(test_the_number_of_rules_is_bounded),
		cmocka_unit_test(test_what_cannot_list_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
