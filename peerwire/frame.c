#include "peerwire/frame.h"

#include "core/bytes.h"

static const struct row {
	const char *name; /* NULL: no such type */
	uint32_t min_len, max_len;
	bool on_stream;
	bool before_hello;
} rows[KR_FRAME_TYPE_COUNT] = {
#define X(type, number, min, max, stream, early) \
	[number] = { #type, min, max, stream, early },
	KR_FRAME_TABLE(X)
#undef X
};

static const struct row *row_of(uint8_t type)
{
	if (type >= KR_FRAME_TYPE_COUNT || rows[type].name == NULL)
		return NULL;
	return &rows[type];
}

const char *kr_frame_type_name(uint8_t type)
{
	const struct row *row = row_of(type);
	return row != NULL ? row->name : "unknown";
}

bool kr_frame_is_known(uint8_t type)
{
	return row_of(type) != NULL;
}

bool kr_frame_may_precede_hello(uint8_t type)
{
	const struct row *row = row_of(type);
	return row != NULL && row->before_hello;
}

static bool is_lawful(const struct kr_frame_head *h)
{
	const struct row *row = row_of(h->type);

	if (row == NULL)
		return (h->flags & KR_FRAME_FLAG_SKIP) != 0 &&
		       h->len <= KR_FRAME_CONTROL_MAX;
	return h->len >= row->min_len && h->len <= row->max_len &&
	       row->on_stream == (h->stream != 0);
}

enum kr_err kr_frame_head_decode(const uint8_t *buf, size_t len,
				 struct kr_frame_head *ret)
{
	if (len < KR_FRAME_HEAD_LEN)
		return KR_AGAIN;
	const struct kr_frame_head h = {
		.len = kr_get_be32(buf),
		.type = buf[4],
		.flags = buf[5],
		.stream = kr_get_be16(buf + 6),
		.arg = kr_get_be32(buf + 8),
	};
	if (!is_lawful(&h))
		return KR_E_PROTO;
	*ret = h;
	return KR_OK;
}

void kr_frame_head_encode(const struct kr_frame_head *h, uint8_t *buf)
{
	kr_assert(is_lawful(h));
	kr_put_be32(buf, h->len);
	buf[4] = h->type;
	buf[5] = h->flags;
	kr_put_be16(buf + 6, h->stream);
	kr_put_be32(buf + 8, h->arg);
}

enum kr_err kr_block_head_decode(const struct kr_frame_head *h,
				 const uint8_t *buf, size_t len,
				 struct kr_block_head *ret)
{
	kr_assert(h->type == KR_FRAME_BLOCK && is_lawful(h));
	if (len < KR_BLOCK_HEAD_LEN)
		return KR_AGAIN;
	const uint32_t offset = kr_get_be32(buf);
	if (offset > KR_BLOCK_BODY_MAX - h->len)
		return KR_E_PROTO;
	*ret = (struct kr_block_head){ offset, kr_get_be32(buf + 4) };
	return KR_OK;
}

void kr_block_encode(uint16_t stream, uint32_t piece,
		     const struct kr_block_head *b, uint32_t payload_len,
		     uint8_t buf[KR_FRAME_BLOCK_LEN])
{
	kr_assert(payload_len > 0 && payload_len <= KR_PIECE_BYTES_MAX);
	kr_assert(b->offset <= KR_PIECE_BYTES_MAX - payload_len);
	const struct kr_frame_head h = { .len = KR_BLOCK_HEAD_LEN + payload_len,
					 .type = KR_FRAME_BLOCK,
					 .stream = stream,
					 .arg = piece };
	kr_frame_head_encode(&h, buf);
	kr_put_be32(buf + KR_FRAME_HEAD_LEN, b->offset);
	kr_put_be32(buf + KR_FRAME_HEAD_LEN + 4, b->queued_kib);
}
