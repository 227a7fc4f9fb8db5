/*
 * peerwire/frame.h - the frames of the peer protocol, as far as they can be
 * judged by their first twelve bytes.  PURE.
 *
 *	0       4      5      6         8            12
 *	+-------+------+------+---------+------------+----------------+
 *	| length| type | flags| stream  | argument   | body: length   |
 *	+-------+------+------+---------+------------+----------------+
 *	 u32     u8     u8     u16       u32           all big endian
 *
 * A length is judged before a byte of the body is buffered: each type has a
 * least and a greatest one in KR_FRAME_TABLE.  BLOCK alone may be long; its
 * body is an 8-byte head and raw bytes, which are never buffered here.
 *
 * Stream 0 is the connection itself.  PROTOCOL.md says what each frame means;
 * msg.h has their bodies.
 */
#ifndef KR_PEERWIRE_FRAME_H
#define KR_PEERWIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "peerwire/metainfo.h"

enum {
	KR_FRAME_HEAD_LEN = 12,
	KR_FRAME_CONTROL_MAX = 256 * 1024, /* body of anything but BLOCK */
	KR_FRAME_SMALL_MAX = 256, /* body of a frame with few numbers in it */
	KR_BLOCK_HEAD_LEN = 8,    /* front of BLOCK's body */
	KR_BLOCK_BODY_MAX = KR_BLOCK_HEAD_LEN + KR_PIECE_BYTES_MAX,
	KR_FRAME_BLOCK_LEN = KR_FRAME_HEAD_LEN + KR_BLOCK_HEAD_LEN,
};

enum { KR_FRAME_FLAG_SKIP = 0x01 }; /* who does not know the type skips it */

/* Type, number, least and greatest length of the body, whether it belongs to
 * a stream (else its stream is 0), whether it may come before HELLO. */
/* clang-format off */
#define KR_FRAME_TABLE(X)                                                    \
	X(HELLO,    1, 1, 4096,                 false, true)                 \
	X(OPEN,     2, 1, KR_FRAME_CONTROL_MAX, true,  false)                \
	X(OPENED,   3, 1, KR_FRAME_CONTROL_MAX, true,  false)                \
	X(HAVE,     4, 1, KR_FRAME_CONTROL_MAX, true,  false)                \
	X(REQUEST,  5, 4, KR_FRAME_SMALL_MAX,   true,  false)                \
	X(CANCEL,   6, 3, KR_FRAME_SMALL_MAX,   true,  false)                \
	X(BLOCK,    7, KR_BLOCK_HEAD_LEN + 1, KR_BLOCK_BODY_MAX, true, false) \
	X(REJECT,   8, 5, KR_FRAME_SMALL_MAX,   true,  false)                \
	X(LOAD,     9, 0, KR_FRAME_SMALL_MAX,   false, false)                \
	X(CLOSE,   10, 0, KR_FRAME_SMALL_MAX,   true,  false)                \
	X(PING,    11, 0, KR_FRAME_SMALL_MAX,   false, false)                \
	X(PONG,    12, 0, KR_FRAME_SMALL_MAX,   false, false)                \
	X(BYE,     13, 0, KR_FRAME_SMALL_MAX,   false, true)
/* clang-format on */

enum kr_frame_type {
#define X(name, number, min, max, stream, early) KR_FRAME_##name = number,
	KR_FRAME_TABLE(X)
#undef X
		KR_FRAME_TYPE_COUNT /* one above the greatest; 0 is no type */
};

struct kr_frame_head {
	uint32_t len;  /* of the body */
	uint8_t type;  /* enum kr_frame_type, or unknown: skip len bytes */
	uint8_t flags; /* those without a meaning are ignored */
	uint16_t stream;
	uint32_t arg;
};

/* "HELLO"; "unknown" for a type that is not in the table.  Static. */
const char *kr_frame_type_name(uint8_t type);

/* Is @type in the table?  If not, and its head decoded, skip its body. */
bool kr_frame_is_known(uint8_t type);

/* May a frame of @type come before the sender's HELLO? */
bool kr_frame_may_precede_hello(uint8_t type);

/*
 * Decode the head of a frame from the first @len bytes of it.
 *
 * KR_AGAIN    fewer than KR_FRAME_HEAD_LEN bytes
 * KR_E_PROTO  an unknown type without KR_FRAME_FLAG_SKIP; a body shorter or
 *             longer than its type allows (KR_FRAME_CONTROL_MAX for a type to
 *             be skipped); a stream where there must be none, or the reverse
 */
KR_NODISCARD enum kr_err kr_frame_head_decode(const uint8_t *buf, size_t len,
					      struct kr_frame_head *ret);

/* Write KR_FRAME_HEAD_LEN bytes.  @h must be one that decodes (asserted). */
void kr_frame_head_encode(const struct kr_frame_head *h, uint8_t *buf);

/* What stands between the head of a BLOCK and its payload. */
struct kr_block_head {
	uint32_t offset;     /* of the payload in the piece, bytes */
	uint32_t queued_kib; /* what the sender has queued for upload, to all */
};

/*
 * Decode the first @len bytes of the body of BLOCK @h, whose payload is the
 * h->len - KR_BLOCK_HEAD_LEN bytes after it.
 *
 * KR_AGAIN    fewer than KR_BLOCK_HEAD_LEN bytes
 * KR_E_PROTO  the payload would end after KR_PIECE_BYTES_MAX
 */
KR_NODISCARD enum kr_err kr_block_head_decode(const struct kr_frame_head *h,
					      const uint8_t *buf, size_t len,
					      struct kr_block_head *ret);

/* Write all that precedes @payload_len (> 0) bytes of piece @piece: the
 * KR_FRAME_BLOCK_LEN bytes of KR_ACT_SERVE's head. */
void kr_block_encode(uint16_t stream, uint32_t piece,
		     const struct kr_block_head *b, uint32_t payload_len,
		     uint8_t buf[KR_FRAME_BLOCK_LEN]);

#endif
