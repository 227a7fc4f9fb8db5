#include "control/upload_chunked.h"

#include <string.h>

enum state {
	SIZE,      /* hex digits */
	EXTENSION, /* behind them, up to LF */
	DATA,
	DATA_END, /* CR LF behind the data */
	DATA_LF,
	LINE_START, /* of a trailer, or the last empty line */
	LINE,
	LINE_END, /* CR of the last empty line was seen */
	ENDED,
};

void kr_chunked_init(struct kr_chunked *c)
{
	*c = (struct kr_chunked){ 0 };
}

bool kr_chunked_ended(const struct kr_chunked *c)
{
	return c->state == ENDED;
}

static int hex_value(uint8_t b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	if (b >= 'a' && b <= 'f')
		return b - 'a' + 10;
	if (b >= 'A' && b <= 'F')
		return b - 'A' + 10;
	return -1;
}

/* The size line is over. */
static enum kr_err end_head(struct kr_chunked *c)
{
	if (c->digits == 0)
		return KR_E_PROTO;
	c->state = c->left_bytes > 0 ? DATA : LINE_START;
	c->seen = 0;
	c->digits = 0;
	return KR_OK;
}

static enum kr_err in_size(struct kr_chunked *c, uint8_t b)
{
	const int v = hex_value(b);

	if (v >= 0) {
		/* 15 digits: no client has a chunk of an exabyte. */
		if (c->digits == 15)
			return KR_E_PROTO;
		c->digits++;
		c->left_bytes = c->left_bytes * 16 + (uint64_t)v;
		return KR_OK;
	}
	if (b == '\n')
		return end_head(c);
	if (c->digits == 0 || (b != ';' && b != '\r' && b != ' ' && b != '\t'))
		return KR_E_PROTO;
	c->state = EXTENSION;
	return KR_OK;
}

static enum kr_err in_head(struct kr_chunked *c, uint8_t b)
{
	if (++c->seen > KR_CHUNK_HEAD_MAX)
		return KR_E_PROTO;
	if (c->state == SIZE)
		return in_size(c, b);
	return b == '\n' ? end_head(c) : KR_OK;
}

static enum kr_err in_data_end(struct kr_chunked *c, uint8_t b)
{
	if (c->state == DATA_END && b == '\r') {
		c->state = DATA_LF;
		return KR_OK;
	}
	if (b != '\n')
		return KR_E_PROTO;
	c->state = SIZE;
	return KR_OK;
}

static enum kr_err in_trailer(struct kr_chunked *c, uint8_t b)
{
	if (++c->seen > KR_CHUNK_TRAILER_MAX)
		return KR_E_PROTO;
	if (c->state == LINE) {
		if (b == '\n')
			c->state = LINE_START;
		return KR_OK;
	}
	if (b == '\n')
		c->state = ENDED;
	else if (c->state == LINE_END)
		return KR_E_PROTO;
	else
		c->state = b == '\r' ? LINE_END : LINE;
	return KR_OK;
}

static enum kr_err in_control(struct kr_chunked *c, uint8_t b)
{
	switch (c->state) {
	case SIZE:
	case EXTENSION:
		return in_head(c, b);
	case DATA_END:
	case DATA_LF:
		return in_data_end(c, b);
	default:
		return in_trailer(c, b);
	}
}

enum kr_err kr_chunked_decode(struct kr_chunked *c, uint8_t *buf, size_t len,
			      size_t *ret_used, size_t *ret_data)
{
	size_t at = 0, data = 0;
	enum kr_err err = KR_OK;

	while (at < len && c->state != ENDED && err == KR_OK) {
		if (c->state != DATA) {
			err = in_control(c, buf[at++]);
			continue;
		}
		const size_t n = len - at < c->left_bytes
					 ? len - at
					 : (size_t)c->left_bytes;

		memmove(buf + data, buf + at, n);
		data += n;
		at += n;
		c->left_bytes -= n;
		if (c->left_bytes == 0)
			c->state = DATA_END;
	}
	*ret_used = at;
	*ret_data = data;
	return err;
}
