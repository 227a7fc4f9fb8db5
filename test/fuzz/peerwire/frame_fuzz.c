/*
 * test/fuzz/peerwire/frame_fuzz.c - a stream of frames: every head that is
 * taken is within the limits and makes the same bytes again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "peerwire/frame.h"

static void check_block(const struct kr_frame_head *h, const uint8_t *frame,
			size_t len)
{
	uint8_t again[KR_FRAME_BLOCK_LEN];
	struct kr_block_head b;

	if (kr_block_head_decode(h, frame + KR_FRAME_HEAD_LEN,
				 len - KR_FRAME_HEAD_LEN, &b) != KR_OK)
		return;
	const uint32_t payload_len = h->len - KR_BLOCK_HEAD_LEN;
	kr_assert(payload_len > 0);
	kr_assert((uint64_t)b.offset + payload_len <= KR_PIECE_BYTES_MAX);
	kr_block_encode(h->stream, h->arg, &b, payload_len, again);
	again[5] = h->flags;
	kr_assert(memcmp(again, frame, sizeof(again)) == 0);
}

static void check_head(const struct kr_frame_head *h, const uint8_t *frame)
{
	uint8_t again[KR_FRAME_HEAD_LEN];

	kr_assert(h->len <= (h->type == KR_FRAME_BLOCK ? KR_BLOCK_BODY_MAX
						       : KR_FRAME_CONTROL_MAX));
	kr_assert(kr_frame_is_known(h->type) ||
		  (h->flags & KR_FRAME_FLAG_SKIP) != 0);
	kr_assert(kr_frame_is_known(h->type) ||
		  !kr_frame_may_precede_hello(h->type));
	kr_frame_head_encode(h, again);
	kr_assert(memcmp(again, frame, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_frame_head h;

	while (kr_frame_head_decode(data, size, &h) == KR_OK) {
		check_head(&h, data);
		if (h.type == KR_FRAME_BLOCK)
			check_block(&h, data, size);
		if (h.len > size - KR_FRAME_HEAD_LEN)
			break;
		data += KR_FRAME_HEAD_LEN + h.len;
		size -= KR_FRAME_HEAD_LEN + h.len;
	}
	return 0;
}
