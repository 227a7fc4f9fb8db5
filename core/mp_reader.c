#include "core/mp.h"

void kr_mp_r_init(struct kr_mp_reader *r, const uint8_t *ptr, size_t len)
{
	*r = (struct kr_mp_reader){ .ptr = ptr, .len = len };
}

void kr_mp_r_init_whole(struct kr_mp_reader *r, const uint8_t *ptr, size_t len)
{
	*r = (struct kr_mp_reader){ .ptr = ptr, .len = len, .whole = true };
}

/* What stands in front of a value: its first byte and length or number. */
struct head {
	enum kr_mp_type type;
	uint32_t head_len; /* bytes of the head itself */
	uint64_t body_len; /* str, bin, ext, float: bytes that follow */
	uint64_t values;   /* array, map: values that follow; a pair is two */
	uint64_t number;   /* int: two's complement; bool: 0 or 1 */
	bool negative;
};

/* The bytes 0xc0 to 0xdf.  .arg_len bytes of big-endian argument follow, which
 * mean what the type makes of them; then .body_len bytes that are always
 * there.  A signed argument is sign-extended.  0xc1 is never used. */
/* clang-format off */
static const struct {
	uint8_t type, arg_len, body_len;
	bool is_signed;
} rows[32] = {
	[0x00] = { .type = KR_MP_NIL },
	[0x02] = { .type = KR_MP_BOOL },
	[0x03] = { .type = KR_MP_BOOL },
	[0x04] = { .type = KR_MP_BIN,   .arg_len = 1 },
	[0x05] = { .type = KR_MP_BIN,   .arg_len = 2 },
	[0x06] = { .type = KR_MP_BIN,   .arg_len = 4 },
	[0x07] = { .type = KR_MP_EXT,   .arg_len = 1, .body_len = 1 },
	[0x08] = { .type = KR_MP_EXT,   .arg_len = 2, .body_len = 1 },
	[0x09] = { .type = KR_MP_EXT,   .arg_len = 4, .body_len = 1 },
	[0x0a] = { .type = KR_MP_FLOAT, .body_len = 4 },
	[0x0b] = { .type = KR_MP_FLOAT, .body_len = 8 },
	[0x0c] = { .type = KR_MP_INT,   .arg_len = 1 },
	[0x0d] = { .type = KR_MP_INT,   .arg_len = 2 },
	[0x0e] = { .type = KR_MP_INT,   .arg_len = 4 },
	[0x0f] = { .type = KR_MP_INT,   .arg_len = 8 },
	[0x10] = { .type = KR_MP_INT,   .arg_len = 1, .is_signed = true },
	[0x11] = { .type = KR_MP_INT,   .arg_len = 2, .is_signed = true },
	[0x12] = { .type = KR_MP_INT,   .arg_len = 4, .is_signed = true },
	[0x13] = { .type = KR_MP_INT,   .arg_len = 8, .is_signed = true },
	[0x14] = { .type = KR_MP_EXT,   .body_len = 2 },
	[0x15] = { .type = KR_MP_EXT,   .body_len = 3 },
	[0x16] = { .type = KR_MP_EXT,   .body_len = 5 },
	[0x17] = { .type = KR_MP_EXT,   .body_len = 9 },
	[0x18] = { .type = KR_MP_EXT,   .body_len = 17 },
	[0x19] = { .type = KR_MP_STR,   .arg_len = 1 },
	[0x1a] = { .type = KR_MP_STR,   .arg_len = 2 },
	[0x1b] = { .type = KR_MP_STR,   .arg_len = 4 },
	[0x1c] = { .type = KR_MP_ARRAY, .arg_len = 2 },
	[0x1d] = { .type = KR_MP_ARRAY, .arg_len = 4 },
	[0x1e] = { .type = KR_MP_MAP,   .arg_len = 2 },
	[0x1f] = { .type = KR_MP_MAP,   .arg_len = 4 },
};
/* clang-format on */

static enum kr_err short_input(const struct kr_mp_reader *r)
{
	return r->whole ? KR_E_PROTO : KR_AGAIN;
}

static void set_arg(struct head *h, uint64_t arg)
{
	switch (h->type) {
	case KR_MP_INT:
	case KR_MP_BOOL:
		h->number = arg;
		break;
	case KR_MP_STR:
	case KR_MP_BIN:
	case KR_MP_EXT:
		h->body_len += arg;
		break;
	case KR_MP_ARRAY:
		h->values = arg;
		break;
	case KR_MP_MAP:
		h->values = arg * 2;
		break;
	case KR_MP_NIL:
	case KR_MP_FLOAT:
		break;
	}
}

/* Heads of one byte; false for the others. */
static bool decode_fix(uint8_t first, struct head *h)
{
	*h = (struct head){ .head_len = 1 };
	if (first < 0x80) {
		h->type = KR_MP_INT;
		set_arg(h, first);
	} else if (first >= 0xe0) {
		h->type = KR_MP_INT;
		h->negative = true;
		set_arg(h, UINT64_MAX - 0xff + first);
	} else if (first < 0x90) {
		h->type = KR_MP_MAP;
		set_arg(h, first & 0x0f);
	} else if (first < 0xa0) {
		h->type = KR_MP_ARRAY;
		set_arg(h, first & 0x0f);
	} else if (first < 0xc0) {
		h->type = KR_MP_STR;
		set_arg(h, first & 0x1f);
	} else {
		return false;
	}
	return true;
}

static uint64_t read_arg(const uint8_t *p, uint32_t len)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

/* Decode the head at the cursor; nothing says that its body is there. */
static enum kr_err decode_head(const struct kr_mp_reader *r, struct head *h)
{
	if (r->at == r->len)
		return short_input(r);
	const uint8_t *p = r->ptr + r->at;
	if (decode_fix(*p, h))
		return KR_OK;
	if (*p == 0xc1)
		return KR_E_PROTO;

	const uint8_t row = *p - 0xc0;
	const uint32_t arg_len = rows[row].arg_len;
	if (r->len - r->at - 1 < arg_len)
		return short_input(r);
	uint64_t arg = read_arg(p + 1, arg_len);
	if (rows[row].is_signed && (p[1] & 0x80) != 0) {
		h->negative = true;
		if (arg_len < 8)
			arg |= UINT64_MAX << (arg_len * 8);
	}
	h->type = rows[row].type;
	h->head_len = 1 + arg_len;
	h->body_len = rows[row].body_len;
	set_arg(h, h->type == KR_MP_BOOL ? (uint64_t)(*p & 1) : arg);
	return KR_OK;
}

/* Decode a head and see that what it announces fits in the bytes left. */
static enum kr_err decode(const struct kr_mp_reader *r, struct head *h)
{
	const enum kr_err err = decode_head(r, h);

	if (err != KR_OK)
		return err;
	const size_t left = r->len - r->at - h->head_len;
	if (h->body_len > left || h->values > left)
		return short_input(r);
	return KR_OK;
}

/* The same for a caller who wants a certain type: a wrong type is wrong even
 * if the value is not all there. */
static enum kr_err expect(const struct kr_mp_reader *r, enum kr_mp_type type,
			  struct head *h)
{
	enum kr_mp_type found;
	enum kr_err err = kr_mp_r_type(r, &found);

	if (err != KR_OK)
		return err;
	if (found != type)
		return KR_E_PROTO;
	return decode(r, h);
}

static void advance(struct kr_mp_reader *r, const struct head *h)
{
	r->at += h->head_len + (size_t)h->body_len;
}

enum kr_err kr_mp_r_type(const struct kr_mp_reader *r, enum kr_mp_type *ret)
{
	struct head h;

	if (r->at == r->len)
		return short_input(r);
	const uint8_t first = r->ptr[r->at];
	if (first == 0xc1)
		return KR_E_PROTO;
	*ret = decode_fix(first, &h) ? h.type
				     : (enum kr_mp_type)rows[first - 0xc0].type;
	return KR_OK;
}

enum kr_err kr_mp_r_nil(struct kr_mp_reader *r)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_NIL, &h);

	if (err == KR_OK)
		advance(r, &h);
	return err;
}

enum kr_err kr_mp_r_bool(struct kr_mp_reader *r, bool *ret)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_BOOL, &h);

	if (err == KR_OK) {
		advance(r, &h);
		*ret = h.number != 0;
	}
	return err;
}

enum kr_err kr_mp_r_u64(struct kr_mp_reader *r, uint64_t *ret)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_INT, &h);

	if (err != KR_OK)
		return err;
	if (h.negative)
		return KR_E_PROTO;
	advance(r, &h);
	*ret = h.number;
	return KR_OK;
}

enum kr_err kr_mp_r_i64(struct kr_mp_reader *r, int64_t *ret)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_INT, &h);

	if (err != KR_OK)
		return err;
	if (!h.negative && h.number > INT64_MAX)
		return KR_E_PROTO;
	advance(r, &h);
	*ret = (int64_t)h.number;
	return KR_OK;
}

static enum kr_err read_run(struct kr_mp_reader *r, enum kr_mp_type type,
			    struct kr_bytes *ret)
{
	struct head h;
	const enum kr_err err = expect(r, type, &h);

	if (err == KR_OK) {
		*ret = (struct kr_bytes){ r->ptr + r->at + h.head_len,
					  (size_t)h.body_len };
		advance(r, &h);
	}
	return err;
}

enum kr_err kr_mp_r_str(struct kr_mp_reader *r, struct kr_bytes *ret)
{
	return read_run(r, KR_MP_STR, ret);
}

enum kr_err kr_mp_r_bin(struct kr_mp_reader *r, struct kr_bytes *ret)
{
	return read_run(r, KR_MP_BIN, ret);
}

enum kr_err kr_mp_r_array(struct kr_mp_reader *r, uint32_t *ret_count)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_ARRAY, &h);

	if (err == KR_OK) {
		advance(r, &h);
		*ret_count = (uint32_t)h.values;
	}
	return err;
}

enum kr_err kr_mp_r_map(struct kr_mp_reader *r, uint32_t *ret_count)
{
	struct head h;
	const enum kr_err err = expect(r, KR_MP_MAP, &h);

	if (err == KR_OK) {
		advance(r, &h);
		*ret_count = (uint32_t)(h.values / 2);
	}
	return err;
}

enum kr_err kr_mp_r_skip(struct kr_mp_reader *r)
{
	uint64_t left[KR_MP_DEPTH_MAX]; /* values to come at each level */
	struct kr_mp_reader ahead = *r;
	uint32_t depth = 0;

	do {
		struct head h;
		const enum kr_err err = decode(&ahead, &h);

		if (err != KR_OK)
			return err;
		advance(&ahead, &h);
		if (depth > 0)
			left[depth - 1]--;
		if (h.type == KR_MP_ARRAY || h.type == KR_MP_MAP) {
			if (depth == KR_MP_DEPTH_MAX)
				return KR_E_PROTO;
			left[depth++] = h.values;
		}
		while (depth > 0 && left[depth - 1] == 0)
			depth--;
	} while (depth > 0);
	*r = ahead;
	return KR_OK;
}

enum kr_err kr_mp_r_end(const struct kr_mp_reader *r)
{
	return r->at == r->len ? KR_OK : KR_E_PROTO;
}
