/*
 * peerwire/have.h - sets of pieces as they travel.  PURE.
 *
 * One byte that names the form, then
 *
 *	0 none     nothing
 *	1 all      nothing
 *	2 ranges   pairs of LEB128 numbers: pieces to leave out since the end of
 *	           the range before, pieces that follow in the set, less one
 *	3 bitmap   bit 0 is the high bit of byte 0, spare bits are 0 (BEP 3)
 *
 * The encoder takes the shortest.  Every index from the network is checked
 * against the number of pieces before it is used.
 */
#ifndef KR_PEERWIRE_HAVE_H
#define KR_PEERWIRE_HAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bitset.h"
#include "core/bytes.h"
#include "core/err.h"

enum kr_have_form {
	KR_HAVE_NONE,
	KR_HAVE_ALL,
	KR_HAVE_RANGES,
	KR_HAVE_BITMAP,
	KR_HAVE_FORM_COUNT
};

enum {
	KR_HAVE_RANGE_LEN_MAX = 10, /* most bytes of one encoded range */
};

struct kr_have_range {
	uint32_t first;
	uint32_t count; /* > 0 */
};

/* Upper bound of the encoding of a set out of @piece_count pieces. */
size_t kr_have_encoded_max(uint32_t piece_count);

/* Encode @set.  KR_E_TOOBIG: longer than @cap; see kr_have_encoded_max. */
KR_NODISCARD enum kr_err kr_have_encode(const struct kr_bitset *set,
					uint8_t *buf, size_t cap,
					size_t *ret_len);

/*
 * Replace @set by the set that @in encodes; nothing else may be in @in.
 *
 * KR_E_PROTO  not a set, or not one of set->bit_count pieces; @set is
 *             unchanged
 */
KR_NODISCARD enum kr_err kr_have_decode(struct kr_bitset *set,
					struct kr_bytes in);

/*
 * Encode @count ranges, in ascending order, neither overlapping nor touching
 * (asserted), without a form byte: what a HAVE carries.  KR_E_TOOBIG:
 * longer than @cap; KR_HAVE_RANGE_LEN_MAX a range always suffices.
 */
KR_NODISCARD enum kr_err kr_have_ranges_encode(
	const struct kr_have_range *ranges, uint32_t count, uint8_t *buf,
	size_t cap, size_t *ret_len);

/* Walks over encoded ranges; fields are private to have.c. */
struct kr_have_iter {
	struct kr_bytes left;
	uint32_t next; /* least index the next range may begin with */
	uint32_t piece_count;
	bool begun;
};

/*
 * Begin to walk over @in, all of which is checked here: what follows cannot
 * fail.
 *
 * KR_E_PROTO  cut short, empty, out of order, or a piece that is not below
 *             @piece_count
 */
KR_NODISCARD enum kr_err kr_have_iter_init(struct kr_have_iter *it,
					   struct kr_bytes in,
					   uint32_t piece_count,
					   uint32_t *ret_range_count);

/* Take the next range, in ascending order; false: there are no more. */
bool kr_have_iter_next(struct kr_have_iter *it, struct kr_have_range *ret);

#endif
