/* test/unit/peerwire/have_test.c - sets of pieces as they travel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/rand.h"
#include "peerwire/have.h"

enum { BITS_MAX = 4096, BUF_LEN = 1 + BITS_MAX / 8 };

struct set {
	uint64_t words[BITS_MAX / 64];
	struct kr_bitset bits;
};

static void set_init(struct set *s, uint32_t bit_count)
{
	kr_bitset_init(&s->bits, s->words, bit_count);
}

static size_t encode(const struct set *s, uint8_t *buf)
{
	const size_t max = kr_have_encoded_max(s->bits.bit_count);
	size_t len = 0;

	assert_true(max <= BUF_LEN);
	assert_int_equal(kr_have_encode(&s->bits, buf, max, &len), KR_OK);
	return len;
}

static void assert_round_trip(const struct set *s, const uint8_t *buf,
			      size_t len)
{
	struct set back;

	set_init(&back, s->bits.bit_count);
	if (s->bits.bit_count > 0)
		kr_bitset_set(&back.bits, 0); /* must be replaced */
	assert_int_equal(
		kr_have_decode(&back.bits, (struct kr_bytes){ buf, len }),
		KR_OK);
	for (uint32_t i = 0; i < s->bits.bit_count; i++)
		assert_int_equal(kr_bitset_test(&s->bits, i),
				 kr_bitset_test(&back.bits, i));
}

static void nothing_and_everything_take_one_byte(void **state)
{
	static const uint32_t counts[] = { 1, 8, 63, 64, 65, BITS_MAX };
	uint8_t buf[BUF_LEN];
	struct set s;
	(void)state;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		set_init(&s, counts[i]);
		assert_int_equal(encode(&s, buf), 1);
		assert_int_equal(buf[0], KR_HAVE_NONE);
		assert_round_trip(&s, buf, 1);
		kr_bitset_set_all(&s.bits);
		assert_int_equal(encode(&s, buf), 1);
		assert_int_equal(buf[0], KR_HAVE_ALL);
		assert_round_trip(&s, buf, 1);
	}
}

static void a_set_of_no_pieces_is_none(void **state)
{
	uint8_t buf[BUF_LEN];
	struct set s;
	(void)state;

	set_init(&s, 0);
	assert_int_equal(encode(&s, buf), 1);
	assert_int_equal(buf[0], KR_HAVE_NONE);
	assert_round_trip(&s, buf, 1);
}

static void few_ranges_are_written_as_ranges(void **state)
{
	static const uint8_t golden[] = { 2, 5, 0, 0xc2, 0x01, 0x0f };
	uint8_t buf[BUF_LEN];
	struct set s;
	(void)state;

	set_init(&s, 1000);
	kr_bitset_set(&s.bits, 5);
	kr_bitset_set_range(&s.bits, 200, 16);
	assert_int_equal(encode(&s, buf), sizeof(golden));
	assert_memory_equal(buf, golden, sizeof(golden));
	assert_round_trip(&s, buf, sizeof(golden));
}

static void a_scattered_set_is_written_as_a_bitmap(void **state)
{
	static const uint8_t golden[] = { 3, 0xaa, 0xaa, 0xa0 };
	uint8_t buf[BUF_LEN];
	struct set s;
	(void)state;

	set_init(&s, 20);
	for (uint32_t i = 0; i < 20; i += 2)
		kr_bitset_set(&s.bits, i);
	assert_int_equal(encode(&s, buf), sizeof(golden));
	assert_memory_equal(buf, golden, sizeof(golden));
	assert_round_trip(&s, buf, sizeof(golden));
}

static void any_set_survives_and_is_never_longer_than_its_bitmap(void **state)
{
	uint8_t buf[BUF_LEN];
	struct kr_rand rnd;
	struct set s;
	(void)state;

	kr_rand_init(&rnd, 1);
	for (uint32_t round = 0; round < 2000; round++) {
		set_init(&s, 1 + kr_rand_below(&rnd, BITS_MAX));
		const uint32_t ranges = kr_rand_below(&rnd, 40);
		for (uint32_t i = 0; i < ranges; i++) {
			const uint32_t from =
				kr_rand_below(&rnd, s.bits.bit_count);
			const uint32_t left = s.bits.bit_count - from;
			kr_bitset_set_range(&s.bits, from,
					    1 + kr_rand_below(&rnd, left) / 8);
		}
		assert_round_trip(&s, buf, encode(&s, buf));
	}
}

static void a_buffer_too_short_is_told(void **state)
{
	uint8_t buf[BUF_LEN];
	struct set s;
	size_t len = 77;
	(void)state;

	set_init(&s, 1000);
	kr_bitset_set(&s.bits, 500);
	const size_t full = encode(&s, buf);
	for (size_t cap = 0; cap < full; cap++)
		assert_int_equal(kr_have_encode(&s.bits, buf, cap, &len),
				 KR_E_TOOBIG);
	assert_int_equal(len, 77);
}

static void broken_sets_are_refused_and_change_nothing(void **state)
{
	/* All of ten pieces. */
	static const struct {
		uint8_t bytes[8];
		size_t len;
	} bad[] = {
		{ { 0 }, 0 },                /* no form */
		{ { 4 }, 1 },                /* no such form */
		{ { 0, 0 }, 2 },             /* more after none */
		{ { 1, 0 }, 2 },             /* more after all */
		{ { 2 }, 1 },                /* no range */
		{ { 2, 0 }, 2 },             /* half a range */
		{ { 2, 0, 0x80 }, 3 },       /* half a number */
		{ { 2, 0x80, 0x00, 0 }, 4 }, /* not the shortest */
		{ { 2, 10, 0 }, 3 },         /* first beyond the end */
		{ { 2, 0, 10 }, 3 },         /* last beyond the end */
		{ { 2, 0, 0, 0, 0 }, 5 },    /* touches the one before */
		{ { 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f }, 7 }, /* 2^32 pieces */
		{ { 2, 0, 0xff, 0xff, 0xff, 0xff, 0x1f }, 7 }, /* above u32 */
		{ { 2, 0x80, 0x80, 0x80, 0x80, 0x10, 0 },
		  7 }, /* 2^32 is not 0 */
		{ { 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0 },
		  8 },                       /* 6 bytes */
		{ { 3, 0xff }, 2 },          /* bitmap too short */
		{ { 3, 0xff, 0xc0, 0 }, 4 }, /* too long */
		{ { 3, 0xff, 0xe0 }, 3 },    /* a spare bit */
	};
	struct set s;
	(void)state;

	set_init(&s, 10);
	kr_bitset_set(&s.bits, 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct kr_bytes in = { bad[i].bytes, bad[i].len };
		assert_int_equal(kr_have_decode(&s.bits, in), KR_E_PROTO);
		assert_int_equal(kr_bitset_count(&s.bits), 1);
		assert_true(kr_bitset_test(&s.bits, 3));
	}
}

static void ranges_come_back_in_order(void **state)
{
	static const struct kr_have_range ranges[] = { { 0, 3 },
						       { 4, 1 },
						       { 100000, 900000 } };
	uint8_t buf[3 * KR_HAVE_RANGE_LEN_MAX];
	struct kr_have_iter it;
	struct kr_have_range r;
	uint32_t count;
	size_t len;
	(void)state;

	assert_int_equal(
		kr_have_ranges_encode(ranges, 3, buf, sizeof(buf), &len),
		KR_OK);
	assert_int_equal(kr_have_iter_init(&it, (struct kr_bytes){ buf, len },
					   1000000, &count),
			 KR_OK);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(kr_have_iter_next(&it, &r));
		assert_int_equal(r.first, ranges[i].first);
		assert_int_equal(r.count, ranges[i].count);
	}
	assert_false(kr_have_iter_next(&it, &r));
	assert_int_equal(kr_have_iter_init(&it, (struct kr_bytes){ buf, len },
					   999999, &count),
			 KR_E_PROTO);
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(
			kr_have_ranges_encode(ranges, 3, buf, cap, &len),
			KR_E_TOOBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_and_everything_take_one_byte),
		cmocka_unit_test(a_set_of_no_pieces_is_none),
		cmocka_unit_test(few_ranges_are_written_as_ranges),
		cmocka_unit_test(a_scattered_set_is_written_as_a_bitmap),
		cmocka_unit_test(
			any_set_survives_and_is_never_longer_than_its_bitmap),
		cmocka_unit_test(a_buffer_too_short_is_told),
		cmocka_unit_test(broken_sets_are_refused_and_change_nothing),
		cmocka_unit_test(ranges_come_back_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
