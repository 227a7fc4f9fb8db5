/*
 * Ranges are written by gaps, so that a set of neighbouring pieces costs two
 * bytes however large its indices are.  Sums are made in 64 bits: two numbers
 * of 32 bits from the network cannot overflow there.
 */
#include "peerwire/have.h"

enum {
	LEB_LEN_MAX = 5, /* of a number below 2^32 */
	FORM_LEN = 1,
};

struct sink { /* bytes that do not fit are counted, not written */
	uint8_t *buf;
	size_t cap, len;
};

static void put_byte(struct sink *s, uint8_t b)
{
	if (s->len < s->cap)
		s->buf[s->len] = b;
	s->len++;
}

static void put_leb(struct sink *s, uint32_t v)
{
	for (; v >= 0x80; v >>= 7)
		put_byte(s, (uint8_t)(v | 0x80));
	put_byte(s, (uint8_t)v);
}

/* Write the range after one that ended before piece @next. */
static void put_range(struct sink *s, uint32_t next, struct kr_have_range r)
{
	put_leb(s, r.first - next);
	put_leb(s, r.count - 1);
}

static void put_set_ranges(struct sink *s, const struct kr_bitset *set,
			   size_t enough)
{
	uint32_t next = 0;

	while (s->len < enough) {
		const uint32_t first = kr_bitset_next_set(set, next);
		if (first == set->bit_count)
			return;
		const uint32_t end = kr_bitset_next_clear(set, first);
		put_range(s, next,
			  (struct kr_have_range){ first, end - first });
		next = end;
	}
}

/* One number, of the shortest form. */
static enum kr_err take_leb(struct kr_bytes *in, uint32_t *ret)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < LEB_LEN_MAX && i < in->len; i++) {
		const uint8_t b = in->ptr[i];
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if ((b & 0x80) != 0)
			continue;
		if ((b == 0 && i > 0) || v > UINT32_MAX)
			return KR_E_PROTO;
		in->ptr += i + 1;
		in->len -= i + 1;
		*ret = (uint32_t)v;
		return KR_OK;
	}
	return KR_E_PROTO;
}

static enum kr_err take_range(struct kr_have_iter *it,
			      struct kr_have_range *ret)
{
	uint32_t gap, more;
	enum kr_err err = take_leb(&it->left, &gap);

	if (err == KR_OK)
		err = take_leb(&it->left, &more);
	if (err != KR_OK)
		return err;
	const uint64_t first = (uint64_t)it->next + gap;
	const uint64_t end = first + more + 1;
	if ((it->begun && gap == 0) || end > it->piece_count)
		return KR_E_PROTO;
	it->begun = true;
	it->next = (uint32_t)end;
	*ret = (struct kr_have_range){ (uint32_t)first, more + 1 };
	return KR_OK;
}

enum kr_err kr_have_iter_init(struct kr_have_iter *it, struct kr_bytes in,
			      uint32_t piece_count, uint32_t *ret_range_count)
{
	const struct kr_have_iter begin = { .left = in,
					    .piece_count = piece_count };
	struct kr_have_iter trial = begin;
	struct kr_have_range range;
	uint32_t count = 0;

	if (in.len == 0)
		return KR_E_PROTO;
	for (; trial.left.len > 0; count++) {
		enum kr_err err = take_range(&trial, &range);
		if (err != KR_OK)
			return err;
	}
	*it = begin;
	*ret_range_count = count;
	return KR_OK;
}

bool kr_have_iter_next(struct kr_have_iter *it, struct kr_have_range *ret)
{
	if (it->left.len == 0)
		return false;
	const enum kr_err err = take_range(it, ret);
	kr_assert(err == KR_OK); /* init has walked over these bytes */
	return true;
}

enum kr_err kr_have_ranges_encode(const struct kr_have_range *ranges,
				  uint32_t count, uint8_t *buf, size_t cap,
				  size_t *ret_len)
{
	struct sink s = { .buf = buf, .cap = cap };
	uint32_t next = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct kr_have_range r = ranges[i];
		kr_assert(r.count > 0 && r.first <= UINT32_MAX - r.count);
		kr_assert(i == 0 || r.first > next);
		put_range(&s, next, r);
		next = r.first + r.count;
	}
	if (s.len > cap)
		return KR_E_TOOBIG;
	*ret_len = s.len;
	return KR_OK;
}

size_t kr_have_encoded_max(uint32_t piece_count)
{
	return FORM_LEN + kr_bitset_encoded_len(piece_count);
}

enum kr_err kr_have_encode(const struct kr_bitset *set, uint8_t *buf,
			   size_t cap, size_t *ret_len)
{
	const size_t bitmap_len = kr_bitset_encoded_len(set->bit_count);
	struct sink s = { .buf = buf, .cap = cap };

	if (kr_bitset_next_set(set, 0) == set->bit_count) {
		put_byte(&s, KR_HAVE_NONE);
	} else if (kr_bitset_all(set)) {
		put_byte(&s, KR_HAVE_ALL);
	} else {
		put_byte(&s, KR_HAVE_RANGES);
		put_set_ranges(&s, set, FORM_LEN + bitmap_len);
	}
	if (s.len > FORM_LEN && s.len >= FORM_LEN + bitmap_len) {
		/* The walk over the ranges stops where they are no shorter. */
		s.len = FORM_LEN + bitmap_len;
		if (s.len <= cap) {
			buf[0] = KR_HAVE_BITMAP;
			kr_bitset_encode(set, buf + FORM_LEN);
		}
	}
	if (s.len > cap)
		return KR_E_TOOBIG;
	*ret_len = s.len;
	return KR_OK;
}

static enum kr_err decode_ranges(struct kr_bitset *set, struct kr_bytes in)
{
	struct kr_have_iter it;
	struct kr_have_range range;
	uint32_t count;
	const enum kr_err err =
		kr_have_iter_init(&it, in, set->bit_count, &count);

	if (err != KR_OK)
		return err;
	kr_bitset_clear_all(set);
	while (kr_have_iter_next(&it, &range))
		kr_bitset_set_range(set, range.first, range.count);
	return KR_OK;
}

enum kr_err kr_have_decode(struct kr_bitset *set, struct kr_bytes in)
{
	if (in.len < FORM_LEN)
		return KR_E_PROTO;
	const struct kr_bytes rest = { in.ptr + FORM_LEN, in.len - FORM_LEN };
	switch (in.ptr[0]) {
	case KR_HAVE_NONE:
		if (rest.len > 0)
			return KR_E_PROTO;
		kr_bitset_clear_all(set);
		return KR_OK;
	case KR_HAVE_ALL:
		if (rest.len > 0)
			return KR_E_PROTO;
		kr_bitset_set_all(set);
		return KR_OK;
	case KR_HAVE_RANGES:
		return decode_ranges(set, rest);
	case KR_HAVE_BITMAP:
		return kr_bitset_decode(set, rest.ptr, rest.len) == KR_OK
			       ? KR_OK
			       : KR_E_PROTO;
	default:
		return KR_E_PROTO;
	}
}
