#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/content_range.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void test_both_ends_are_included(void **state)
{
	uint64_t first, last;
	(void)state;

	assert_int_equal(kr_content_range_parse(bytes("0-9"), &first, &last),
			 KR_OK);
	assert_true(first == 0 && last == 9);
	assert_int_equal(
		kr_content_range_parse(bytes("bytes 5-5/*"), &first, &last),
		KR_OK);
	assert_true(first == 5 && last == 5);
}

static void test_of_krakens_form_the_end_is_excluded(void **state)
{
	uint64_t first, end;
	(void)state;

	assert_int_equal(
		kr_content_range_parse_half_open(bytes("10-20"), &first, &end),
		KR_OK);
	assert_true(first == 10 && end == 20);
	assert_int_equal(
		kr_content_range_parse_half_open(bytes("0-0"), &first, &end),
		KR_OK);
	assert_true(first == 0 && end == 0);
	assert_int_equal(
		kr_content_range_parse_half_open(bytes("2-1"), &first, &end),
		KR_E_INVALID);
}

static void test_other_forms_are_refused(void **state)
{
	static const char *const bad[] = { "",       "-",        "5",
					   "5-",     "-5",       "9-0",
					   "a-b",    "0-9-1",    "0 -9",
					   "bytes ", "bytes=0-1" };
	uint64_t first = 3, last = 4;
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			kr_content_range_parse(bytes(bad[i]), &first, &last),
			KR_E_INVALID);
	assert_true(first == 3 && last == 4);
}

static void test_an_empty_upload_says_what_all_registries_say(void **state)
{
	char text[32];
	(void)state;

	kr_upload_range_print(0, text, sizeof(text));
	assert_string_equal(text, "0-0");
	kr_upload_range_print(1, text, sizeof(text));
	assert_string_equal(text, "0-0");
	kr_upload_range_print(UINT64_C(1) << 40, text, sizeof(text));
	assert_string_equal(text, "0-1099511627775");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ends_are_included),
		cmocka_unit_test(test_of_krakens_form_the_end_is_excluded),
		cmocka_unit_test(test_other_forms_are_refused),
		cmocka_unit_test(
			test_an_empty_upload_says_what_all_registries_say),
	};
	return cmocka_run_group_tests_name("content_range", tests, NULL, NULL);
}
