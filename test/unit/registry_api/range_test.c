#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/range.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void expect(const char *text, uint64_t size, uint64_t offset,
		   uint64_t length, bool partial)
{
	struct kr_range r;

	assert_int_equal(kr_range_parse(bytes(text), size, &r), KR_OK);
	assert_true(r.offset == offset);
	assert_true(r.length == length);
	assert_int_equal(r.partial, partial);
}

static void test_one_range_is_honoured(void **state)
{
	(void)state;
	expect("bytes=0-0", 10, 0, 1, true);
	expect("bytes=2-5", 10, 2, 4, true);
	expect("bytes=2-", 10, 2, 8, true);
	expect("bytes=-3", 10, 7, 3, true);
	expect("bytes=0-99", 10, 0, 10, true);
	expect("bytes=-99", 10, 0, 10, true);
	expect("Bytes= 1-2 ", 10, 1, 2, true);
}

static void test_what_is_not_one_range_means_the_whole(void **state)
{
	static const char *const ignored[] = { "",           "bytes",
					       "bytes=",     "bytes=a-b",
					       "bytes=5-2",  "bytes=1-2,4-5",
					       "items=0-1",  "bytes=--1",
					       "bytes=1-2x", "bytes=-" };
	(void)state;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		expect(ignored[i], 10, 0, 10, false);
}

static void test_a_range_without_a_byte_is_an_error(void **state)
{
	struct kr_range r = { 1, 2, true };
	(void)state;

	assert_int_equal(kr_range_parse(bytes("bytes=10-"), 10, &r),
			 KR_E_RANGE);
	assert_int_equal(kr_range_parse(bytes("bytes=-0"), 10, &r), KR_E_RANGE);
	assert_int_equal(kr_range_parse(bytes("bytes=0-"), 0, &r), KR_E_RANGE);
	assert_int_equal(kr_range_parse(bytes("bytes=-1"), 0, &r), KR_E_RANGE);
	assert_true(r.offset == 1 && r.length == 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_range_is_honoured),
		cmocka_unit_test(test_what_is_not_one_range_means_the_whole),
		cmocka_unit_test(test_a_range_without_a_byte_is_an_error),
	};
	return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
