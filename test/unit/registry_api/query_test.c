#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/query.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void test_escapes_are_decoded(void **state)
{
	char out[16];
	size_t len;
	(void)state;

	assert_int_equal(
		kr_percent_decode(bytes("a%3Ab%2f+"), out, sizeof(out), &len),
		KR_OK);
	assert_string_equal(out, "a:b/+");
	assert_int_equal(len, 5);
}

static void test_broken_escapes_are_refused(void **state)
{
	static const char *const bad[] = { "%",  "%a",  "%g0", "%0g",
					   "a%", "%00", "x%4" };
	char out[16];
	size_t len;
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kr_percent_decode(bytes(bad[i]), out,
						   sizeof(out), &len),
				 KR_E_INVALID);
}

static void test_a_value_must_fit_with_its_nul(void **state)
{
	char out[4];
	size_t len;
	(void)state;

	assert_int_equal(kr_percent_decode(bytes("abc"), out, 4, &len), KR_OK);
	assert_int_equal(kr_percent_decode(bytes("abcd"), out, 4, &len),
			 KR_E_TOOBIG);
	assert_int_equal(kr_percent_decode(bytes(""), out, 0, &len),
			 KR_E_TOOBIG);
}

static void test_keys_are_found_whole_and_first(void **state)
{
	char out[64];
	const struct kr_bytes q =
		bytes("mount=sha256%3Aab&from=a%2Fb&x&from=c&=y");
	(void)state;

	assert_int_equal(kr_query_get(q, "mount", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "sha256:ab");
	assert_int_equal(kr_query_get(q, "from", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "a/b");
	assert_int_equal(kr_query_get(q, "x", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "");
	assert_int_equal(kr_query_get(q, "fro", out, sizeof(out)),
			 KR_E_NOTFOUND);
	assert_int_equal(kr_query_get(bytes(""), "x", out, sizeof(out)),
			 KR_E_NOTFOUND);
}

static void test_a_key_that_repeats_is_taken_time_after_time(void **state)
{
	struct kr_bytes q = bytes("tag=a&x=1&tag=b%2e&tag&tag=%zz&tag=e&y");
	char out[8];
	(void)state;

	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "a");
	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "b.");
	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "");
	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)),
			 KR_E_INVALID);
	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)), KR_OK);
	assert_string_equal(out, "e");
	assert_int_equal(kr_query_take(&q, "tag", out, sizeof(out)),
			 KR_E_NOTFOUND);
	assert_int_equal(q.len, 0);
}

static void test_numbers_have_a_ceiling(void **state)
{
	uint32_t v = 7;
	(void)state;

	assert_int_equal(kr_query_get_u32(bytes("n=12"), "n", 100, &v), KR_OK);
	assert_int_equal(v, 12);
	assert_int_equal(kr_query_get_u32(bytes("n=101"), "n", 100, &v),
			 KR_E_INVALID);
	assert_int_equal(kr_query_get_u32(bytes("n=-1"), "n", 100, &v),
			 KR_E_INVALID);
	assert_int_equal(kr_query_get_u32(bytes("n="), "n", 100, &v),
			 KR_E_INVALID);
	assert_int_equal(kr_query_get_u32(bytes("m=1"), "n", 100, &v),
			 KR_E_NOTFOUND);
	assert_int_equal(v, 12);
}

static void test_decimals_are_digits_only(void **state)
{
	uint64_t v;
	(void)state;

	assert_int_equal(kr_decimal_parse(bytes("9999999999999999999"), &v),
			 KR_OK);
	assert_true(v == UINT64_C(9999999999999999999));
	assert_int_equal(kr_decimal_parse(bytes("10000000000000000000"), &v),
			 KR_E_INVALID);
	assert_int_equal(kr_decimal_parse(bytes(" 1"), &v), KR_E_INVALID);
	assert_int_equal(kr_decimal_parse(bytes("+1"), &v), KR_E_INVALID);
	assert_int_equal(kr_decimal_parse(bytes("0x1"), &v), KR_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes_are_decoded),
		cmocka_unit_test(test_broken_escapes_are_refused),
		cmocka_unit_test(test_a_value_must_fit_with_its_nul),
		cmocka_unit_test(test_keys_are_found_whole_and_first),
		cmocka_unit_test(
			test_a_key_that_repeats_is_taken_time_after_time),
		cmocka_unit_test(test_numbers_have_a_ceiling),
		cmocka_unit_test(test_decimals_are_digits_only),
	};
	return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
