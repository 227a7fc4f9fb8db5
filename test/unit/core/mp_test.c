#include "test/support/test.h"

#include <string.h>

#include <msgpack.h>

#include "core/mp.h"
#include "test/support/mp_oracle.h"

/* A reader over the bytes of a string literal. */
#define READER(literal)                                            \
	((struct kr_mp_reader){ .ptr = (const uint8_t *)(literal), \
				.len = sizeof(literal) - 1 })

static void test_what_is_written_reads_back(void **state)
{
	uint8_t buf[128];
	struct kr_mp_writer w;
	struct kr_mp_reader r;
	struct kr_bytes bytes;
	uint64_t u = 0;
	int64_t i = 0;
	uint32_t count = 0;
	size_t len = 0;
	bool yes = false;
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_array(&w, 7);
	kr_mp_w_nil(&w);
	kr_mp_w_bool(&w, true);
	kr_mp_w_u64(&w, UINT64_MAX);
	kr_mp_w_i64(&w, INT64_MIN);
	kr_mp_w_str(&w, "text", 4);
	kr_mp_w_bin(&w, "\x00\x01", 2);
	kr_mp_w_map(&w, 1);
	kr_mp_w_cstr(&w, "key");
	kr_mp_w_i64(&w, -1);
	assert_ok(kr_mp_w_done(&w, &len));

	kr_mp_r_init_whole(&r, buf, len);
	assert_ok(kr_mp_r_array(&r, &count));
	assert_int_equal(count, 7);
	assert_ok(kr_mp_r_nil(&r));
	assert_ok(kr_mp_r_bool(&r, &yes));
	assert_true(yes);
	assert_ok(kr_mp_r_u64(&r, &u));
	assert_true(u == UINT64_MAX);
	assert_ok(kr_mp_r_i64(&r, &i));
	assert_true(i == INT64_MIN);
	assert_ok(kr_mp_r_str(&r, &bytes));
	assert_int_equal(bytes.len, 4);
	assert_memory_equal(bytes.ptr, "text", 4);
	assert_ok(kr_mp_r_bin(&r, &bytes));
	assert_int_equal(bytes.len, 2);
	assert_memory_equal(bytes.ptr, "\x00\x01", 2);
	assert_ok(kr_mp_r_map(&r, &count));
	assert_int_equal(count, 1);
	assert_ok(kr_mp_r_skip(&r));
	assert_ok(kr_mp_r_i64(&r, &i));
	assert_int_equal(i, -1);
	assert_ok(kr_mp_r_end(&r));
}

static void test_a_writer_that_overflowed_stays_so(void **state)
{
	uint8_t buf[4] = { 0 };
	struct kr_mp_writer w;
	size_t len = 77;
	(void)state;

	kr_mp_w_init(&w, buf, 3);
	kr_mp_w_cstr(&w, "abc");
	kr_mp_w_nil(&w); /* would fit in what the string left */
	assert_err(kr_mp_w_done(&w, &len), KR_E_TOOBIG);
	assert_int_equal(len, 77);
	assert_int_equal(buf[3], 0);
}

static void test_a_writer_may_fill_its_buffer_to_the_last_byte(void **state)
{
	uint8_t buf[4];
	struct kr_mp_writer w;
	size_t len = 0;
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_cstr(&w, "abc");
	assert_ok(kr_mp_w_done(&w, &len));
	assert_int_equal(len, 4);
	assert_memory_equal(buf,
			    "\xa3"
			    "abc",
			    4);
}

static void test_the_type_is_told_without_moving(void **state)
{
	static const struct {
		uint8_t first;
		enum kr_mp_type type;
	} rows[] = {
		{ 0xc0, KR_MP_NIL },   { 0xc2, KR_MP_BOOL },
		{ 0xc3, KR_MP_BOOL },  { 0x00, KR_MP_INT },
		{ 0x7f, KR_MP_INT },   { 0xe0, KR_MP_INT },
		{ 0xff, KR_MP_INT },   { 0xcc, KR_MP_INT },
		{ 0xd3, KR_MP_INT },   { 0xca, KR_MP_FLOAT },
		{ 0xcb, KR_MP_FLOAT }, { 0xa0, KR_MP_STR },
		{ 0xbf, KR_MP_STR },   { 0xd9, KR_MP_STR },
		{ 0xdb, KR_MP_STR },   { 0xc4, KR_MP_BIN },
		{ 0xc6, KR_MP_BIN },   { 0x90, KR_MP_ARRAY },
		{ 0x9f, KR_MP_ARRAY }, { 0xdc, KR_MP_ARRAY },
		{ 0xdd, KR_MP_ARRAY }, { 0x80, KR_MP_MAP },
		{ 0x8f, KR_MP_MAP },   { 0xde, KR_MP_MAP },
		{ 0xdf, KR_MP_MAP },   { 0xc7, KR_MP_EXT },
		{ 0xd4, KR_MP_EXT },   { 0xd8, KR_MP_EXT },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum kr_mp_type type = KR_MP_NIL;
		struct kr_mp_reader r;

		kr_mp_r_init(&r, &rows[i].first, 1);
		assert_ok(kr_mp_r_type(&r, &type));
		assert_int_equal(type, rows[i].type);
		assert_int_equal(r.at, 0);
	}
}

static void test_integers_need_not_be_minimal(void **state)
{
	struct kr_mp_reader r = READER("\xcf\0\0\0\0\0\0\0\x05"
				       "\xd3\0\0\0\0\0\0\0\x06"
				       "\xd1\xff\xff");
	uint64_t u = 0;
	int64_t i = 0;
	(void)state;

	assert_ok(kr_mp_r_u64(&r, &u));
	assert_int_equal(u, 5);
	assert_ok(kr_mp_r_u64(&r, &u));
	assert_int_equal(u, 6);
	assert_ok(kr_mp_r_i64(&r, &i));
	assert_int_equal(i, -1);
}

static void test_numbers_that_do_not_fit_are_refused(void **state)
{
	struct kr_mp_reader negative = READER("\xff");
	struct kr_mp_reader above = READER("\xcf\x80\0\0\0\0\0\0\0");
	uint64_t u = 7;
	int64_t i = 7;
	(void)state;

	assert_err(kr_mp_r_u64(&negative, &u), KR_E_PROTO);
	assert_err(kr_mp_r_i64(&above, &i), KR_E_PROTO);
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
	assert_int_equal(negative.at + above.at, 0);
}

static void test_another_type_is_refused_and_stays_unread(void **state)
{
	struct kr_mp_reader r = READER("\xa1x");
	struct kr_bytes bytes;
	uint32_t count;
	uint64_t u;
	bool yes;
	(void)state;

	assert_err(kr_mp_r_nil(&r), KR_E_PROTO);
	assert_err(kr_mp_r_bool(&r, &yes), KR_E_PROTO);
	assert_err(kr_mp_r_u64(&r, &u), KR_E_PROTO);
	assert_err(kr_mp_r_bin(&r, &bytes), KR_E_PROTO);
	assert_err(kr_mp_r_array(&r, &count), KR_E_PROTO);
	assert_err(kr_mp_r_map(&r, &count), KR_E_PROTO);
	assert_ok(kr_mp_r_str(&r, &bytes));
}

static void test_short_input_is_again_in_a_stream_and_wrong_in_a_whole(
	void **state)
{
	static const uint8_t cut[] = { 0xa5, 'a', 'b' };
	struct kr_mp_reader stream, whole;
	struct kr_bytes bytes;
	(void)state;

	for (size_t n = 0; n <= sizeof(cut); n++) {
		kr_mp_r_init(&stream, cut, n);
		kr_mp_r_init_whole(&whole, cut, n);
		assert_err(kr_mp_r_str(&stream, &bytes), KR_AGAIN);
		assert_err(kr_mp_r_skip(&stream), KR_AGAIN);
		assert_err(kr_mp_r_str(&whole, &bytes), KR_E_PROTO);
		assert_err(kr_mp_r_skip(&whole), KR_E_PROTO);
		assert_int_equal(stream.at + whole.at, 0);
	}
}

static void test_a_count_is_bounded_by_the_bytes_that_are_left(void **state)
{
	struct kr_mp_reader three_of_two = READER("\x93\x01\x02");
	struct kr_mp_reader two_of_two = READER("\x92\x01\x02");
	struct kr_mp_reader pair_of_one = READER("\x81\x01");
	struct kr_mp_reader many = READER("\xdd\xff\xff\xff\xff\x01");
	struct kr_mp_reader many_pairs = READER("\xdf\xff\xff\xff\xff\x01");
	uint32_t count = 77;
	(void)state;

	assert_err(kr_mp_r_array(&three_of_two, &count), KR_AGAIN);
	assert_err(kr_mp_r_map(&pair_of_one, &count), KR_AGAIN);
	assert_err(kr_mp_r_array(&many, &count), KR_AGAIN);
	assert_err(kr_mp_r_map(&many_pairs, &count), KR_AGAIN);
	assert_int_equal(count, 77);
	assert_ok(kr_mp_r_array(&two_of_two, &count));
	assert_int_equal(count, 2);
}

static void test_skipping_passes_over_all_that_a_value_contains(void **state)
{
	struct kr_mp_reader r = READER("\x82\xa1"
				       "a\x93\x01\xc4\x02xx\x80\xa1"
				       "b\xca\0\0\0\0\xd5\x01xx\x2a");
	uint64_t u = 0;
	(void)state;

	assert_ok(kr_mp_r_skip(&r)); /* the map */
	assert_ok(kr_mp_r_skip(&r)); /* the extension */
	assert_ok(kr_mp_r_u64(&r, &u));
	assert_int_equal(u, 42);
	assert_ok(kr_mp_r_end(&r));
}

static void test_nesting_is_bounded(void **state)
{
	uint8_t nest[KR_MP_DEPTH_MAX + 2];
	struct kr_mp_reader r;
	(void)state;

	memset(nest, 0x91, sizeof(nest)); /* arrays of one element */
	nest[KR_MP_DEPTH_MAX] = 0xc0;
	kr_mp_r_init(&r, nest, KR_MP_DEPTH_MAX + 1);
	assert_ok(kr_mp_r_skip(&r));
	nest[KR_MP_DEPTH_MAX] = 0x91;
	nest[KR_MP_DEPTH_MAX + 1] = 0xc0;
	kr_mp_r_init(&r, nest, KR_MP_DEPTH_MAX + 2);
	assert_err(kr_mp_r_skip(&r), KR_E_PROTO);
}

static void test_the_byte_that_is_never_used_is_refused(void **state)
{
	struct kr_mp_reader r = READER("\xc1");
	struct kr_mp_reader inside = READER("\x91\xc1");
	enum kr_mp_type type;
	(void)state;

	assert_err(kr_mp_r_type(&r, &type), KR_E_PROTO);
	assert_err(kr_mp_r_nil(&r), KR_E_PROTO);
	assert_err(kr_mp_r_skip(&r), KR_E_PROTO);
	assert_err(kr_mp_r_skip(&inside), KR_E_PROTO);
}

static void test_bytes_left_over_are_noticed(void **state)
{
	struct kr_mp_reader r = READER("\xc0\xc0");
	(void)state;

	assert_ok(kr_mp_r_nil(&r));
	assert_err(kr_mp_r_end(&r), KR_E_PROTO);
	assert_ok(kr_mp_r_nil(&r));
	assert_ok(kr_mp_r_end(&r));
}

/* Each first byte, before bytes that make small lengths and counts. */
static void test_all_first_bytes_agree_with_msgpack_c(void **state)
{
	uint8_t in[40];
	(void)state;

	for (int first = 0; first < 256; first++) {
		for (int fill = 0; fill < 3; fill++) {
			memset(in, fill, sizeof(in));
			in[0] = (uint8_t)first;
			for (size_t n = 1; n <= sizeof(in); n++)
				mp_oracle_check(in, n);
		}
	}
}

/*
 * Why the reader is ours.  If this fails, msgpack-c has learnt to wait for the
 * elements, and core/mp.h should be thought over.
 */
static void test_msgpack_c_allocates_what_a_header_claims(void **state)
{
	static const char claim[5] = "\xdd\x00\x10\x00\x00"; /* 2^20 */
	msgpack_zone zone;
	msgpack_object o;
	size_t at = 0;
	(void)state;

	assert_true(msgpack_zone_init(&zone, 1024));
	assert_int_equal(msgpack_unpack(claim, 5, &at, &zone, &o),
			 MSGPACK_UNPACK_CONTINUE);
	/* the elements took all but the rest of a chunk of megabytes */
	assert_true(zone.chunk_list.free > 1024 * 1024);
	msgpack_zone_destroy(&zone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_reads_back),
		cmocka_unit_test(test_a_writer_that_overflowed_stays_so),
		cmocka_unit_test(
			test_a_writer_may_fill_its_buffer_to_the_last_byte),
		cmocka_unit_test(test_the_type_is_told_without_moving),
		cmocka_unit_test(test_integers_need_not_be_minimal),
		cmocka_unit_test(test_numbers_that_do_not_fit_are_refused),
		cmocka_unit_test(test_another_type_is_refused_and_stays_unread),
		cmocka_unit_test(
			test_short_input_is_again_in_a_stream_and_wrong_in_a_whole),
		cmocka_unit_test(
			test_a_count_is_bounded_by_the_bytes_that_are_left),
		cmocka_unit_test(
			test_skipping_passes_over_all_that_a_value_contains),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_the_byte_that_is_never_used_is_refused),
		cmocka_unit_test(test_bytes_left_over_are_noticed),
		cmocka_unit_test(test_all_first_bytes_agree_with_msgpack_c),
		cmocka_unit_test(test_msgpack_c_allocates_what_a_header_claims),
	};
	return cmocka_run_group_tests_name("mp", tests, NULL, NULL);
}
