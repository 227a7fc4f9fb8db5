/*
 * test/fuzz/peerwire/msg_fuzz.c - a stream of frames with bodies: what is
 * decoded encodes, and what that makes decodes to the same.
 *
 * The encoding is ours, so it may differ from the input; made twice it may
 * not differ from itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "peerwire/msg.h"

enum {
	BUF_LEN = 8192, /* longer have-sets than that are only decoded */
	PIECES_MAX = 1 << 16,
};

struct text { /* a frame that we encoded */
	uint8_t bytes[BUF_LEN];
	size_t len;
};

typedef enum kr_err recode_fn(const struct kr_frame_head *h,
			      const uint8_t *body, struct text *out);

static enum kr_err recode_hello(const struct kr_frame_head *h,
				const uint8_t *body, struct text *out)
{
	struct kr_msg_hello m;
	enum kr_err err = kr_msg_hello_decode(h, body, &m);

	if (err == KR_OK && m.version != KR_PROTO_VERSION)
		return KR_AGAIN; /* nothing more is known of it */
	return err == KR_OK
		       ? kr_msg_hello_encode(&m, out->bytes, BUF_LEN, &out->len)
		       : err;
}

/* The set means the same when it was written again, in our form. */
static void check_have(const struct kr_msg_open *m)
{
	static uint64_t words[2][PIECES_MAX / 64];
	static uint8_t again[1 + PIECES_MAX / 8];
	const uint32_t pieces =
		kr_metainfo_piece_count_for(m->size_bytes, m->piece_bytes);
	struct kr_bitset set, back;
	size_t len;

	if (pieces > PIECES_MAX)
		return;
	kr_bitset_init(&set, words[0], pieces);
	kr_bitset_init(&back, words[1], pieces);
	if (kr_have_decode(&set, m->have) != KR_OK)
		return;
	kr_assert(kr_have_encode(&set, again, sizeof(again), &len) == KR_OK);
	kr_assert(len <= kr_have_encoded_max(pieces));
	kr_assert(kr_have_decode(&back, (struct kr_bytes){ again, len }) ==
		  KR_OK);
	kr_assert(memcmp(words[0], words[1], kr_bitset_words(pieces) * 8) == 0);
}

static enum kr_err recode_open(const struct kr_frame_head *h,
			       const uint8_t *body, struct text *out)
{
	struct kr_msg_open m;
	const enum kr_err err = kr_msg_open_decode(h, body, &m);

	if (err != KR_OK)
		return err;
	check_have(&m);
	if (m.have.len > BUF_LEN - KR_MSG_OPEN_FIXED_MAX)
		return KR_AGAIN;
	return kr_msg_open_encode(&m, out->bytes, BUF_LEN, &out->len);
}

static enum kr_err recode_opened(const struct kr_frame_head *h,
				 const uint8_t *body, struct text *out)
{
	struct kr_msg_opened m;
	const enum kr_err err = kr_msg_opened_decode(h, body, &m);

	if (err != KR_OK)
		return err;
	if (m.have.len > BUF_LEN - KR_MSG_SMALL_MAX)
		return KR_AGAIN;
	return kr_msg_opened_encode(&m, out->bytes, BUF_LEN, &out->len);
}

static enum kr_err recode_have(const struct kr_frame_head *h,
			       const uint8_t *body, struct text *out)
{
	struct kr_have_range ranges[512];
	struct kr_msg_have m;
	uint32_t count = 0;
	const enum kr_err err = kr_msg_have_decode(h, body, PIECES_MAX, &m);

	if (err != KR_OK)
		return err;
	if (m.range_count > 512)
		return KR_AGAIN;
	while (kr_have_iter_next(&m.ranges, &ranges[count])) {
		kr_assert(ranges[count].count > 0);
		kr_assert(ranges[count].first < PIECES_MAX);
		kr_assert(ranges[count].count <=
			  PIECES_MAX - ranges[count].first);
		count++;
	}
	kr_assert(count == m.range_count);
	return kr_msg_have_encode(m.stream, ranges, count, out->bytes, BUF_LEN,
				  &out->len);
}

static enum kr_err recode_request(const struct kr_frame_head *h,
				  const uint8_t *body, struct text *out)
{
	struct kr_msg_request m;
	const enum kr_err err = kr_msg_request_decode(h, body, &m);

	if (err != KR_OK)
		return err;
	kr_assert(m.block_count > 0);
	kr_assert((uint64_t)m.first_block + m.block_count <= KR_MSG_BLOCKS_MAX);
	return kr_msg_request_encode((enum kr_frame_type)h->type, &m,
				     out->bytes, BUF_LEN, &out->len);
}

static enum kr_err recode_reject(const struct kr_frame_head *h,
				 const uint8_t *body, struct text *out)
{
	struct kr_msg_reject m;
	const enum kr_err err = kr_msg_reject_decode(h, body, &m);

	return err == KR_OK ? kr_msg_reject_encode(&m, out->bytes, BUF_LEN,
						   &out->len)
			    : err;
}

static recode_fn *recoder_of(uint8_t type)
{
	static recode_fn *const table[KR_FRAME_TYPE_COUNT] = {
		[KR_FRAME_HELLO] = recode_hello,
		[KR_FRAME_OPEN] = recode_open,
		[KR_FRAME_OPENED] = recode_opened,
		[KR_FRAME_HAVE] = recode_have,
		[KR_FRAME_REQUEST] = recode_request,
		[KR_FRAME_CANCEL] = recode_request,
		[KR_FRAME_REJECT] = recode_reject,
	};

	return type < KR_FRAME_TYPE_COUNT ? table[type] : NULL;
}

static void check_body(const struct kr_frame_head *h, const uint8_t *body)
{
	static struct text once, twice;
	struct kr_frame_head h2;
	recode_fn *recode = recoder_of(h->type);

	if (recode == NULL)
		return;
	const enum kr_err err = recode(h, body, &once);
	if (err == KR_AGAIN || err == KR_E_PROTO)
		return;
	kr_assert(err == KR_OK);
	kr_assert(kr_frame_head_decode(once.bytes, once.len, &h2) == KR_OK);
	kr_assert(h2.len == once.len - KR_FRAME_HEAD_LEN);
	kr_assert(h2.type == h->type && h2.stream == h->stream);
	kr_assert(recode(&h2, once.bytes + KR_FRAME_HEAD_LEN, &twice) == KR_OK);
	kr_assert(twice.len == once.len);
	kr_assert(memcmp(twice.bytes, once.bytes, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_frame_head h;

	while (kr_frame_head_decode(data, size, &h) == KR_OK) {
		data += KR_FRAME_HEAD_LEN;
		size -= KR_FRAME_HEAD_LEN;
		/* The body that is there, at its true end for the sanitizer. */
		if (h.len > size) {
			h.len = (uint32_t)size;
			if (h.len > 0)
				check_body(&h, data);
			break;
		}
		check_body(&h, data);
		data += h.len;
		size -= h.len;
	}
	return 0;
}
