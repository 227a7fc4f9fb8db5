#include "core/bitset.h"

enum { WORD_BITS = 64 };

static uint64_t mask_of(uint32_t bit)
{
	return UINT64_C(1) << (bit % WORD_BITS);
}

/* The bits of word @w that exist. */
static uint64_t valid_mask(const struct kr_bitset *bs, size_t w)
{
	const uint64_t first = (uint64_t)w * WORD_BITS;
	const uint64_t left = bs->bit_count - first;

	return left >= WORD_BITS ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

size_t kr_bitset_words(uint32_t bit_count)
{
	return ((size_t)bit_count + WORD_BITS - 1) / WORD_BITS;
}

size_t kr_bitset_encoded_len(uint32_t bit_count)
{
	return ((size_t)bit_count + 7) / 8;
}

void kr_bitset_init(struct kr_bitset *bs, uint64_t *words, uint32_t bit_count)
{
	*bs = (struct kr_bitset){ words, bit_count };
	kr_bitset_clear_all(bs);
}

void kr_bitset_set(struct kr_bitset *bs, uint32_t bit)
{
	kr_assert(bit < bs->bit_count);
	bs->words[bit / WORD_BITS] |= mask_of(bit);
}

void kr_bitset_clear(struct kr_bitset *bs, uint32_t bit)
{
	kr_assert(bit < bs->bit_count);
	bs->words[bit / WORD_BITS] &= ~mask_of(bit);
}

bool kr_bitset_test(const struct kr_bitset *bs, uint32_t bit)
{
	kr_assert(bit < bs->bit_count);
	return (bs->words[bit / WORD_BITS] & mask_of(bit)) != 0;
}

void kr_bitset_set_range(struct kr_bitset *bs, uint32_t from, uint32_t count)
{
	kr_assert(from <= bs->bit_count && count <= bs->bit_count - from);
	const uint32_t end = from + count;

	while (from < end) {
		const uint32_t in_word = from % WORD_BITS;
		uint32_t n = WORD_BITS - in_word;

		if (n > end - from)
			n = end - from;
		bs->words[from / WORD_BITS] |= UINT64_MAX >> (WORD_BITS - n)
								     << in_word;
		from += n;
	}
}

void kr_bitset_set_all(struct kr_bitset *bs)
{
	kr_bitset_set_range(bs, 0, bs->bit_count);
}

void kr_bitset_clear_all(struct kr_bitset *bs)
{
	const size_t n = kr_bitset_words(bs->bit_count);

	for (size_t w = 0; w < n; w++)
		bs->words[w] = 0;
}

uint32_t kr_bitset_count(const struct kr_bitset *bs)
{
	const size_t n = kr_bitset_words(bs->bit_count);
	uint32_t count = 0;

	for (size_t w = 0; w < n; w++)
		count += (uint32_t)__builtin_popcountll(bs->words[w]);
	return count;
}

bool kr_bitset_all(const struct kr_bitset *bs)
{
	return kr_bitset_next_clear(bs, 0) == bs->bit_count;
}

/* The three searches differ only in what they look for in a word. */
enum search { SET, CLEAR, AND_NOT };

static uint64_t candidates(enum search what, const struct kr_bitset *a,
			   const struct kr_bitset *b, size_t w)
{
	switch (what) {
	case SET:
		return a->words[w];
	case CLEAR:
		return ~a->words[w] & valid_mask(a, w);
	case AND_NOT:
		break;
	}
	return a->words[w] & ~b->words[w];
}

static uint32_t next(enum search what, const struct kr_bitset *a,
		     const struct kr_bitset *b, uint32_t from)
{
	const size_t n = kr_bitset_words(a->bit_count);
	size_t w = from / WORD_BITS;

	if (from >= a->bit_count)
		return a->bit_count;
	uint64_t found = candidates(what, a, b, w) & ~(mask_of(from) - 1);
	while (found == 0) {
		if (++w == n)
			return a->bit_count;
		found = candidates(what, a, b, w);
	}
	return (uint32_t)(w * WORD_BITS) + (uint32_t)__builtin_ctzll(found);
}

uint32_t kr_bitset_next_set(const struct kr_bitset *bs, uint32_t from)
{
	return next(SET, bs, NULL, from);
}

uint32_t kr_bitset_next_clear(const struct kr_bitset *bs, uint32_t from)
{
	return next(CLEAR, bs, NULL, from);
}

uint32_t kr_bitset_count_andnot(const struct kr_bitset *a,
				const struct kr_bitset *b)
{
	kr_assert(a->bit_count == b->bit_count);
	const size_t n = kr_bitset_words(a->bit_count);
	uint32_t count = 0;

	for (size_t w = 0; w < n; w++)
		count += (uint32_t)__builtin_popcountll(
			candidates(AND_NOT, a, b, w));
	return count;
}

uint32_t kr_bitset_next_andnot(const struct kr_bitset *a,
			       const struct kr_bitset *b, uint32_t from)
{
	kr_assert(a->bit_count == b->bit_count);
	return next(AND_NOT, a, b, from);
}

static uint8_t reverse_bits(uint8_t v)
{
	v = (uint8_t)((v & 0xf0) >> 4 | (v & 0x0f) << 4);
	v = (uint8_t)((v & 0xcc) >> 2 | (v & 0x33) << 2);
	return (uint8_t)((v & 0xaa) >> 1 | (v & 0x55) << 1);
}

void kr_bitset_encode(const struct kr_bitset *bs, uint8_t *out)
{
	const size_t len = kr_bitset_encoded_len(bs->bit_count);

	for (size_t i = 0; i < len; i++)
		out[i] = reverse_bits(
			(uint8_t)(bs->words[i / 8] >> (i % 8 * 8)));
}

enum kr_err kr_bitset_decode(struct kr_bitset *bs, const uint8_t *in,
			     size_t len)
{
	const uint32_t spare = (uint32_t)(len * 8 - bs->bit_count);

	if (len != kr_bitset_encoded_len(bs->bit_count))
		return KR_E_INVALID;
	if (spare > 0 && (in[len - 1] & ((1U << spare) - 1)) != 0)
		return KR_E_INVALID;

	kr_bitset_clear_all(bs);
	for (size_t i = 0; i < len; i++)
		bs->words[i / 8] |= (uint64_t)reverse_bits(in[i])
				    << (i % 8 * 8);
	return KR_OK;
}
