#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/range.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void expect(const char *text, uint64_t size, uint64_t offset,
		   uint64_t length)
{
	struct kr_ranges r;

	assert_int_equal(kr_ranges_parse(bytes(text), size, &r), KR_OK);
	assert_int_equal(r.count, 1);
	assert_true(r.range[0].offset == offset);
	assert_true(r.range[0].length == length);
}

/* @want: "offset+length ..." */
static void expect_list(const char *text, uint64_t size, const char *want)
{
	struct kr_ranges r;
	char got[512] = "";
	size_t at = 0;

	assert_int_equal(kr_ranges_parse(bytes(text), size, &r), KR_OK);
	for (uint32_t i = 0; i < r.count; i++)
		at += (size_t)snprintf(
			got + at, sizeof(got) - at, "%s%" PRIu64 "+%" PRIu64,
			i > 0 ? " " : "", r.range[i].offset, r.range[i].length);
	assert_string_equal(got, want);
}

static void expect_whole(const char *text, uint64_t size)
{
	struct kr_ranges r = { .count = 9 };

	assert_int_equal(kr_ranges_parse(bytes(text), size, &r), KR_OK);
	assert_int_equal(r.count, 0);
	assert_false(r.open_ended);
}

static void test_one_range_is_honoured(void **state)
{
	(void)state;
	expect("bytes=0-0", 10, 0, 1);
	expect("bytes=2-5", 10, 2, 4);
	expect("bytes=2-", 10, 2, 8);
	expect("bytes=-3", 10, 7, 3);
	expect("bytes=0-99", 10, 0, 10);
	expect("bytes=-99", 10, 0, 10);
	expect("Bytes= 1-2 ", 10, 1, 2);
	expect("bytes=,1-2, ,", 10, 1, 2);
}

static void test_several_ranges_keep_their_order(void **state)
{
	(void)state;
	expect_list("bytes=0-1,5-6", 10, "0+2 5+2");
	expect_list("bytes=5-6 , 0-1,-1", 10, "5+2 0+2 9+1");
	expect_list("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,"
		    "20-20,22-22,24-24,26-26,28-28,30-30",
		    31,
		    "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 "
		    "24+1 26+1 28+1 30+1");
}

static void test_ranges_that_overlap_or_touch_become_one(void **state)
{
	(void)state;
	expect_list("bytes=0-4,3-6", 10, "0+7");
	expect_list("bytes=0-4,5-6", 10, "0+7");
	expect_list("bytes=8-9,0-1,4-5,1-4", 10, "8+2 0+6");
	expect_list("bytes=0-,0-,0-", 10, "0+10");
	expect_list("bytes=0-1,4-5,8-9,1-8", 10, "0+10");
	expect_list("bytes=0-9223372036854775807,-1", 10, "0+10");
}

static void test_ranges_without_a_byte_are_left_out(void **state)
{
	(void)state;
	expect_list("bytes=0-0,10-12,-0", 10, "0+1");
	expect_list("bytes=20-,3-4", 10, "3+2");
}

static void test_what_is_no_range_means_the_whole(void **state)
{
	static const char *const ignored[] = {
		"",           "bytes",      "bytes=",       "bytes=a-b",
		"bytes=5-2",  "items=0-1",  "bytes=--1",    "bytes=1-2x",
		"bytes=-",    "bytes=,",    "bytes=1-2,x",  "bytes=99-,5-2",
		"bytes=1 -2", "bytes=0-1;", "bytes=1-2 3-4"
	};
	(void)state;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		expect_whole(ignored[i], 10);
}

static void test_too_many_ranges_mean_the_whole(void **state)
{
	(void)state;
	expect_whole("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,"
		     "20-20,22-22,24-24,26-26,28-28,30-30,32-32",
		     99);
	expect_whole("bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-",
		     99);
}

static void test_only_one_range_without_an_end_is_open_ended(void **state)
{
	struct kr_ranges r;
	(void)state;

	assert_int_equal(kr_ranges_parse(bytes("bytes=3-"), 10, &r), KR_OK);
	assert_true(r.open_ended);
	assert_int_equal(kr_ranges_parse(bytes("bytes=3-9"), 10, &r), KR_OK);
	assert_false(r.open_ended);
	assert_int_equal(kr_ranges_parse(bytes("bytes=-3"), 10, &r), KR_OK);
	assert_false(r.open_ended);
	assert_int_equal(kr_ranges_parse(bytes("bytes=8-,1-2"), 10, &r), KR_OK);
	assert_false(r.open_ended);
}

static void test_a_header_without_a_byte_is_an_error(void **state)
{
	static const char *const none[] = { "bytes=10-", "bytes=-0",
					    "bytes=10-,99-100,-0" };
	struct kr_ranges r = { .count = 7 };
	(void)state;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(kr_ranges_parse(bytes(none[i]), 10, &r),
				 KR_E_RANGE);
	assert_int_equal(kr_ranges_parse(bytes("bytes=0-"), 0, &r), KR_E_RANGE);
	assert_int_equal(kr_ranges_parse(bytes("bytes=-1"), 0, &r), KR_E_RANGE);
	assert_int_equal(r.count, 7); /* untouched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_range_is_honoured),
		cmocka_unit_test(test_several_ranges_keep_their_order),
		cmocka_unit_test(test_ranges_that_overlap_or_touch_become_one),
		cmocka_unit_test(test_ranges_without_a_byte_are_left_out),
		cmocka_unit_test(test_what_is_no_range_means_the_whole),
		cmocka_unit_test(test_too_many_ranges_mean_the_whole),
		cmocka_unit_test(
			test_only_one_range_without_an_end_is_open_ended),
		cmocka_unit_test(test_a_header_without_a_byte_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
