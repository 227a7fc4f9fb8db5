/*
 * core/bitset.h - a fixed number of bits in memory of the caller.
 *
 * PURE.  Nothing allocates; indices are asserted.  The unused high bits of the
 * last word are always 0.
 */
#ifndef KR_CORE_BITSET_H
#define KR_CORE_BITSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct kr_bitset {
	uint64_t *words;    /* kr_bitset_words(bit_count) of them, lent */
	uint32_t bit_count; /* may be 0 */
};

/* How many 64-bit words hold @bit_count bits. */
size_t kr_bitset_words(uint32_t bit_count);

/* How many bytes the encoding of @bit_count bits has. */
size_t kr_bitset_encoded_len(uint32_t bit_count);

/* All bits 0.  @words is lent until the bitset is used no more. */
void kr_bitset_init(struct kr_bitset *bs, uint64_t *words, uint32_t bit_count);

/* @bit < bit_count */
void kr_bitset_set(struct kr_bitset *bs, uint32_t bit);
void kr_bitset_clear(struct kr_bitset *bs, uint32_t bit);
bool kr_bitset_test(const struct kr_bitset *bs, uint32_t bit);

/* Set @count bits from @from on; all of them must exist. */
void kr_bitset_set_range(struct kr_bitset *bs, uint32_t from, uint32_t count);
void kr_bitset_set_all(struct kr_bitset *bs);
void kr_bitset_clear_all(struct kr_bitset *bs);

uint32_t kr_bitset_count(const struct kr_bitset *bs); /* bits that are 1 */
bool kr_bitset_all(const struct kr_bitset *bs);       /* true of 0 bits */

/* The first 1 (0) at or after @from; bit_count if there is none. */
uint32_t kr_bitset_next_set(const struct kr_bitset *bs, uint32_t from);
uint32_t kr_bitset_next_clear(const struct kr_bitset *bs, uint32_t from);

/* Bits that are 1 in @a and 0 in @b, of the same bit_count. */
uint32_t kr_bitset_count_andnot(const struct kr_bitset *a,
				const struct kr_bitset *b);

/* The first bit at or after @from that is 1 in @a and 0 in @b, of the same
 * bit_count; bit_count if there is none. */
uint32_t kr_bitset_next_andnot(const struct kr_bitset *a,
			       const struct kr_bitset *b, uint32_t from);

/*
 * To and from the byte string of BEP 3: bit 0 is the high bit of byte 0, spare
 * bits at the end are 0.  encode fills kr_bitset_encoded_len(bit_count) bytes.
 *
 * KR_E_INVALID  @len is not that length, or a spare bit is 1; @bs unchanged
 */
void kr_bitset_encode(const struct kr_bitset *bs, uint8_t *out);
KR_NODISCARD enum kr_err kr_bitset_decode(struct kr_bitset *bs,
					  const uint8_t *in, size_t len);

#endif
