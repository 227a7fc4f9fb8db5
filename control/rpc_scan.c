/* Where a MessagePack value ends, found byte by byte as it arrives.  Nesting
 * needs no stack: an array or map only adds to the number of values to come. */
#include "control/rpc_link.h"

#include "core/bytes.h"

/* A value's first bytes, judged. */
struct head {
	size_t len;        /* of the head */
	uint64_t body;     /* bytes that follow it */
	uint64_t children; /* values within */
};

static uint64_t get_be(const uint8_t *p, size_t len)
{
	switch (len) {
	case 1:
		return p[0];
	case 2:
		return kr_get_be16(p);
	default:
		return kr_get_be32(p);
	}
}

/* Rows for 0xc0..0xdf: bytes of length field, fixed bytes, what it counts. */
enum counts { NOTHING, BYTES, VALUES, PAIRS, BAD };
static const struct {
	uint8_t len_field, fixed, counts;
} rows[32] = {
	{ 0, 0, NOTHING },  { 0, 0, BAD },     { 0, 0, NOTHING },
	{ 0, 0, NOTHING },  { 1, 0, BYTES },   { 2, 0, BYTES },
	{ 4, 0, BYTES },    { 1, 1, BYTES },   { 2, 1, BYTES },
	{ 4, 1, BYTES },    { 0, 4, NOTHING }, { 0, 8, NOTHING },
	{ 0, 1, NOTHING },  { 0, 2, NOTHING }, { 0, 4, NOTHING },
	{ 0, 8, NOTHING },  { 0, 1, NOTHING }, { 0, 2, NOTHING },
	{ 0, 4, NOTHING },  { 0, 8, NOTHING }, { 0, 2, NOTHING },
	{ 0, 3, NOTHING },  { 0, 5, NOTHING }, { 0, 9, NOTHING },
	{ 0, 17, NOTHING }, { 1, 0, BYTES },   { 2, 0, BYTES },
	{ 4, 0, BYTES },    { 2, 0, VALUES },  { 4, 0, VALUES },
	{ 2, 0, PAIRS },    { 4, 0, PAIRS },
};

static enum kr_err read_head(const uint8_t *p, size_t len, struct head *h)
{
	const uint8_t b = p[0];

	*h = (struct head){ .len = 1 };
	if (b < 0x80 || b >= 0xe0)
		return KR_OK;
	if (b < 0x90) {
		h->children = 2 * (b & 0x0fU);
		return KR_OK;
	}
	if (b < 0xa0) {
		h->children = b & 0x0fU;
		return KR_OK;
	}
	if (b < 0xc0) {
		h->body = b & 0x1fU;
		return KR_OK;
	}
	const size_t field = rows[b - 0xc0].len_field;
	if (rows[b - 0xc0].counts == BAD)
		return KR_E_PROTO;
	if (len < 1 + field)
		return KR_AGAIN;
	const uint64_t n = field == 0 ? 0 : get_be(p + 1, field);
	h->len = 1 + field;
	h->body = rows[b - 0xc0].fixed;
	if (rows[b - 0xc0].counts == BYTES)
		h->body += n;
	else if (rows[b - 0xc0].counts == VALUES)
		h->children = n;
	else if (rows[b - 0xc0].counts == PAIRS)
		h->children = 2 * n;
	return KR_OK;
}

void kr_rpc_scan_init(struct kr_rpc_scan *s)
{
	*s = (struct kr_rpc_scan){ .pending = 1 };
}

enum kr_err kr_rpc_scan_step(struct kr_rpc_scan *s, const uint8_t *buf,
			     size_t len, size_t len_max)
{
	while (s->pending > 0) {
		struct head h;
		enum kr_err err;

		/* Every value to come has a byte at least. */
		if (s->at > len_max || s->pending > len_max - s->at)
			return KR_E_TOOBIG;
		if (s->at >= len)
			return KR_AGAIN;
		err = read_head(buf + s->at, len - s->at, &h);
		if (err != KR_OK)
			return err;
		s->at += h.len + (size_t)h.body;
		s->pending += h.children;
		s->pending--;
	}
	if (s->at > len_max)
		return KR_E_TOOBIG;
	return s->at <= len ? KR_OK : KR_AGAIN;
}
