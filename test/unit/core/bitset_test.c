#include "test/support/test.h"

#include <stdbool.h>
#include <string.h>

#include "core/bitset.h"
#include "core/rand.h"

enum { BITS_MAX = 200, WORDS_MAX = 4 };

/* Sizes around the edges of bytes and words. */
static const uint32_t sizes[] = {
	0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200
};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(*sizes) };

static void fill_at_random(struct kr_bitset *bs, bool *model,
			   struct kr_rand *rand)
{
	for (uint32_t i = 0; i < bs->bit_count; i++) {
		model[i] = kr_rand_below(rand, 2) == 1;
		if (model[i])
			kr_bitset_set(bs, i);
	}
}

static void test_a_new_bitset_is_empty(void **state)
{
	(void)state;

	for (size_t s = 0; s < SIZE_COUNT; s++) {
		uint64_t words[WORDS_MAX];
		struct kr_bitset bs;

		memset(words, 0xff, sizeof(words));
		kr_bitset_init(&bs, words, sizes[s]);
		assert_int_equal(kr_bitset_count(&bs), 0);
		assert_int_equal(kr_bitset_next_set(&bs, 0), sizes[s]);
	}
}

static void test_setting_and_clearing_touches_one_bit(void **state)
{
	uint64_t words[WORDS_MAX];
	struct kr_bitset bs;
	(void)state;

	for (uint32_t i = 0; i < BITS_MAX; i++) {
		kr_bitset_init(&bs, words, BITS_MAX);
		kr_bitset_set(&bs, i);
		assert_true(kr_bitset_test(&bs, i));
		assert_int_equal(kr_bitset_count(&bs), 1);
		kr_bitset_set_all(&bs);
		kr_bitset_clear(&bs, i);
		assert_false(kr_bitset_test(&bs, i));
		assert_int_equal(kr_bitset_count(&bs), BITS_MAX - 1);
	}
}

static void test_every_range_sets_its_bits_and_no_other(void **state)
{
	uint64_t words[WORDS_MAX];
	struct kr_bitset bs;
	(void)state;

	for (uint32_t from = 0; from <= BITS_MAX; from += 3) {
		for (uint32_t n = 0; n <= BITS_MAX - from; n++) {
			kr_bitset_init(&bs, words, BITS_MAX);
			kr_bitset_set_range(&bs, from, n);
			assert_int_equal(kr_bitset_count(&bs), n);
			if (n == 0)
				continue;
			assert_int_equal(kr_bitset_next_set(&bs, 0), from);
			assert_int_equal(kr_bitset_next_clear(&bs, from),
					 from + n);
		}
	}
}

static void test_all_is_true_when_no_bit_is_missing(void **state)
{
	(void)state;

	for (size_t s = 0; s < SIZE_COUNT; s++) {
		uint64_t words[WORDS_MAX];
		struct kr_bitset bs;

		kr_bitset_init(&bs, words, sizes[s]);
		assert_int_equal(kr_bitset_all(&bs), sizes[s] == 0);
		kr_bitset_set_all(&bs);
		assert_true(kr_bitset_all(&bs));
		assert_int_equal(kr_bitset_count(&bs), sizes[s]);
		if (sizes[s] == 0)
			continue;
		kr_bitset_clear(&bs, sizes[s] - 1);
		assert_false(kr_bitset_all(&bs));
	}
}

static void test_searches_agree_with_looking_at_each_bit(void **state)
{
	struct kr_rand rand;
	(void)state;

	kr_rand_init(&rand, 1);
	for (size_t s = 0; s < SIZE_COUNT; s++) {
		const uint32_t n = sizes[s];
		uint64_t words[2][WORDS_MAX];
		bool model[2][BITS_MAX];
		struct kr_bitset a, b;

		kr_bitset_init(&a, words[0], n);
		kr_bitset_init(&b, words[1], n);
		fill_at_random(&a, model[0], &rand);
		fill_at_random(&b, model[1], &rand);
		uint32_t set = n, clear = n, andnot = n, andnot_count = 0;
		for (uint32_t i = n; i-- > 0;) {
			if (model[0][i])
				set = i;
			else
				clear = i;
			if (model[0][i] && !model[1][i]) {
				andnot = i;
				andnot_count++;
			}
			assert_int_equal(kr_bitset_next_set(&a, i), set);
			assert_int_equal(kr_bitset_next_clear(&a, i), clear);
			assert_int_equal(kr_bitset_next_andnot(&a, &b, i),
					 andnot);
		}
		assert_int_equal(kr_bitset_count_andnot(&a, &b), andnot_count);
		assert_int_equal(kr_bitset_next_set(&a, n), n);
		assert_int_equal(kr_bitset_next_clear(&a, n + 100), n);
	}
}

static void test_bit_0_is_the_high_bit_of_byte_0(void **state)
{
	uint64_t words[1];
	struct kr_bitset bs;
	uint8_t out[2];
	(void)state;

	kr_bitset_init(&bs, words, 10);
	kr_bitset_set(&bs, 0);
	kr_bitset_set(&bs, 7);
	kr_bitset_set(&bs, 9);
	kr_bitset_encode(&bs, out);
	assert_memory_equal(out, "\x81\x40", 2);
}

static void test_decoding_gives_back_what_was_encoded(void **state)
{
	struct kr_rand rand;
	(void)state;

	kr_rand_init(&rand, 2);
	for (size_t s = 0; s < SIZE_COUNT; s++) {
		uint64_t words[2][WORDS_MAX] = { { 0 } };
		uint8_t out[BITS_MAX / 8];
		bool model[BITS_MAX];
		struct kr_bitset a, b;

		kr_bitset_init(&a, words[0], sizes[s]);
		kr_bitset_init(&b, words[1], sizes[s]);
		fill_at_random(&a, model, &rand);
		kr_bitset_encode(&a, out);
		assert_ok(kr_bitset_decode(&b, out,
					   kr_bitset_encoded_len(sizes[s])));
		assert_memory_equal(words[0], words[1],
				    kr_bitset_words(sizes[s]) * 8);
	}
}

static void test_decoding_refuses_a_wrong_length(void **state)
{
	const uint8_t in[3] = { 0 };
	uint64_t words[1];
	struct kr_bitset bs;
	(void)state;

	kr_bitset_init(&bs, words, 16);
	kr_bitset_set(&bs, 3);
	assert_err(kr_bitset_decode(&bs, in, 1), KR_E_INVALID);
	assert_err(kr_bitset_decode(&bs, in, 3), KR_E_INVALID);
	assert_true(kr_bitset_test(&bs, 3));
}

static void test_decoding_refuses_spare_bits(void **state)
{
	uint64_t words[1];
	struct kr_bitset bs;
	(void)state;

	kr_bitset_init(&bs, words, 10);
	for (int bit = 0; bit < 6; bit++) {
		const uint8_t in[2] = { 0xff, (uint8_t)(1U << bit) };

		assert_err(kr_bitset_decode(&bs, in, 2), KR_E_INVALID);
		assert_int_equal(kr_bitset_count(&bs), 0);
	}
	assert_ok(kr_bitset_decode(&bs, (const uint8_t *)"\xff\xc0", 2));
	assert_true(kr_bitset_all(&bs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_bitset_is_empty),
		cmocka_unit_test(test_setting_and_clearing_touches_one_bit),
		cmocka_unit_test(test_every_range_sets_its_bits_and_no_other),
		cmocka_unit_test(test_all_is_true_when_no_bit_is_missing),
		cmocka_unit_test(test_searches_agree_with_looking_at_each_bit),
		cmocka_unit_test(test_bit_0_is_the_high_bit_of_byte_0),
		cmocka_unit_test(test_decoding_gives_back_what_was_encoded),
		cmocka_unit_test(test_decoding_refuses_a_wrong_length),
		cmocka_unit_test(test_decoding_refuses_spare_bits),
	};
	return cmocka_run_group_tests_name("bitset", tests, NULL, NULL);
}
