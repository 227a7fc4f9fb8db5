/* test/unit/core/pattern_test.c - core/pattern, one behaviour per test. */
#include <string.h>

#include "core/pattern.h"
#include "test/support/test.h"

static void test_it_matches_anywhere_unless_anchored(void **state)
{
	struct kr_pattern p;
	(void)state;

	assert_ok(kr_pattern_init(&p, "k", 0, "b+(c|d)$", NULL));
	assert_true(kr_pattern_matches(&p, "abbd"));
	assert_false(kr_pattern_matches(&p, "abbde"));
	assert_false(kr_pattern_matches(&p, ""));
	kr_pattern_fini(&p);
}

static void test_the_error_names_key_entry_text_and_reason(void **state)
{
	char error[KR_PATTERN_ERROR_MAX] = "";
	struct kr_pattern p;
	(void)state;

	assert_err(kr_pattern_init(&p, "tags.immutable", 1, "prod/(", error),
		   KR_E_CONFIG);
	assert_non_null(strstr(error, "key `tags.immutable`: entry 2: "));
	assert_non_null(strstr(error, "\"prod/(\""));
	assert_non_null(strstr(error, "(Unmatched ( or \\()"));
	assert_err(kr_pattern_init(&p, "k", 0, "*[", NULL), KR_E_CONFIG);
}

static void test_the_error_of_a_long_text_is_cut(void **state)
{
	char error[KR_PATTERN_ERROR_MAX], text[2000];
	struct kr_pattern p;
	(void)state;

	memset(text, '(', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_err(kr_pattern_init(&p, text, 0, text, error), KR_E_CONFIG);
	assert_true(strlen(error) < KR_PATTERN_ERROR_MAX - 1);
	assert_int_equal(error[strlen(error) - 1], ')'); /* with the reason */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_matches_anywhere_unless_anchored),
		cmocka_unit_test(
			test_the_error_names_key_entry_text_and_reason),
		cmocka_unit_test(test_the_error_of_a_long_text_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
