/*
 * peerwire/msg.h - the messages of the peer protocol: frames with their
 * bodies.  PURE.
 *
 * encode writes a whole frame, head and body, into memory of the caller and
 * fails only with KR_E_TOOBIG, for want of room; KR_MSG_SMALL_MAX suffices
 * where the comment says small.  What the program puts in must be within the
 * limits (asserted).
 *
 * decode takes a decoded head and the head->len bytes of its body.  What it
 * returns borrows from the body.  Every error is KR_E_PROTO: another shape,
 * a value outside its limits.  Map keys and array elements of later versions
 * are passed over.
 *
 * Streams: even numbers are opened by the host that dialled, odd ones by the
 * host that accepted; 0 is the connection.  PROTOCOL.md, "Streams", has the
 * rules.
 */
#ifndef KR_PEERWIRE_MSG_H
#define KR_PEERWIRE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "peerwire/frame.h"
#include "peerwire/have.h"
#include "peerwire/node.h"

enum {
	KR_PROTO_VERSION = 1,
	KR_MSG_SMALL_MAX = 512,      /* whole frame */
	KR_MSG_OPEN_FIXED_MAX = 768, /* whole frame without the have-set */
	KR_MSG_BLOCK_BYTES_MIN = 16 * 1024, /* least block length */
	KR_MSG_BLOCKS_MAX = KR_PIECE_BYTES_MAX / KR_MSG_BLOCK_BYTES_MIN,
};
#define KR_MSG_NO_PIECE UINT32_MAX /* REJECT: of the stream, not of a piece */

/* Whether @s can go into a message as the name of a cluster, a zone (at most
 * KR_NAME_MAX bytes) or a repository (KR_NAMESPACE_MAX): from @min to @max
 * bytes, all of them printable ASCII and no space.  What comes from outside
 * is to be asked before it is encoded. */
bool kr_msg_is_name(struct kr_bytes s, size_t min, size_t max);

/* It serves nobody and announces nothing. */
#define KR_FEATURE_LEECH UINT64_C(1)

/* HELLO: first frame of either side. */
struct kr_msg_hello {
	uint32_t version; /* KR_PROTO_VERSION; another one decodes, and is then
			     refused by BYE(KR_BYE_CLUSTER) */
	struct kr_peer_id id;
	struct kr_bytes cluster; /* 1..KR_NAME_MAX bytes, printable ASCII */
	struct kr_bytes zone;    /* 0..KR_NAME_MAX */
	enum kr_peer_role role;  /* one we do not know reads as KR_PEER_AGENT */
	uint64_t features;       /* KR_FEATURE_...; unknown ones are ignored */
	uint16_t listen_port;    /* 0: does not listen */
	uint64_t up_bytes_per_s, down_bytes_per_s; /* its limits; 0: none */
};
/* small */
KR_NODISCARD enum kr_err kr_msg_hello_encode(const struct kr_msg_hello *m,
					     uint8_t *buf, size_t cap,
					     size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_hello_decode(const struct kr_frame_head *h,
					     const uint8_t *body,
					     struct kr_msg_hello *ret);

/* OPEN: the stream is about this blob from now on. */
struct kr_msg_open {
	uint16_t stream;    /* of the sender's parity */
	struct kr_bytes ns; /* 1..KR_NAMESPACE_MAX bytes, printable ASCII */
	struct kr_digest digest;
	uint8_t metainfo_id[KR_SHA256_LEN];
	uint64_t size_bytes;  /* > 0 */
	uint32_t piece_bytes; /* power of two within metainfo.h's limits */
	uint32_t block_bytes; /* KR_MSG_BLOCK_BYTES_MIN..piece_bytes, power of
				 two; both sides must use the same */
	struct kr_bytes have; /* for kr_have_decode; > 0 bytes.  The number of
				 pieces follows from size and piece length and
				 is at most KR_METAINFO_PIECES_MAX */
};
/* KR_MSG_OPEN_FIXED_MAX + have.len suffices */
KR_NODISCARD enum kr_err kr_msg_open_encode(const struct kr_msg_open *m,
					    uint8_t *buf, size_t cap,
					    size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_open_decode(const struct kr_frame_head *h,
					    const uint8_t *body,
					    struct kr_msg_open *ret);

/* OPENED: OPEN accepted, here is what we have. */
struct kr_msg_opened {
	uint16_t stream;
	struct kr_bytes have; /* for kr_have_decode; > 0 bytes */
};
/* KR_MSG_SMALL_MAX + have.len suffices */
KR_NODISCARD enum kr_err kr_msg_opened_encode(const struct kr_msg_opened *m,
					      uint8_t *buf, size_t cap,
					      size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_opened_decode(const struct kr_frame_head *h,
					      const uint8_t *body,
					      struct kr_msg_opened *ret);

/* HAVE: pieces verified since the last one. */
struct kr_msg_have {
	uint16_t stream;
	uint32_t range_count; /* > 0 */
	struct kr_have_iter ranges;
};
/* @ranges as for kr_have_ranges_encode, @count > 0; KR_MSG_SMALL_MAX +
 * @count * KR_HAVE_RANGE_LEN_MAX suffices.  KR_E_TOOBIG also when the body
 * would exceed KR_FRAME_CONTROL_MAX: send two. */
KR_NODISCARD enum kr_err kr_msg_have_encode(uint16_t stream,
					    const struct kr_have_range *ranges,
					    uint32_t count, uint8_t *buf,
					    size_t cap, size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_have_decode(const struct kr_frame_head *h,
					    const uint8_t *body,
					    uint32_t piece_count,
					    struct kr_msg_have *ret);

/* REQUEST and CANCEL: blocks of a piece.  The caller checks them against the
 * blob: decode cannot know it. */
struct kr_msg_request {
	uint16_t stream;
	uint32_t piece;
	uint32_t first_block;
	uint32_t block_count; /* > 0; first_block + block_count is at most
				 KR_MSG_BLOCKS_MAX */
	uint32_t gets_kib_s;  /* of a REQUEST: what its sender gets of all
				 its peers together */
};
/* small; @type is KR_FRAME_REQUEST or KR_FRAME_CANCEL */
KR_NODISCARD enum kr_err kr_msg_request_encode(enum kr_frame_type type,
					       const struct kr_msg_request *m,
					       uint8_t *buf, size_t cap,
					       size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_request_decode(const struct kr_frame_head *h,
					       const uint8_t *body,
					       struct kr_msg_request *ret);

enum kr_reject_reason {
	KR_REJECT_BUSY,      /* the request queue is full: ask later */
	KR_REJECT_FULL,      /* no room for another neighbour */
	KR_REJECT_NOT_FOUND, /* no such blob, or not that piece (any more) */
	KR_REJECT_METAINFO,  /* other metainfo, sizes, or block length */
	KR_REJECT_LIMIT,     /* a limit of ours: streams, lookups */
	KR_REJECT_REASON_COUNT
};
const char *kr_reject_reason_name(enum kr_reject_reason r); /* "busy" */

/* REJECT: the answer to OPEN (piece == KR_MSG_NO_PIECE; the stream is free
 * again) or to blocks of a REQUEST. */
struct kr_msg_reject {
	uint16_t stream;
	uint32_t piece;
	enum kr_reject_reason reason; /* one we do not know reads as BUSY */
	uint32_t first_block, block_count; /* 0, 0 of a stream; else as in
					      kr_msg_request */
	uint32_t retry_ms;                 /* not before that; 0: no advice */
};
/* small */
KR_NODISCARD enum kr_err kr_msg_reject_encode(const struct kr_msg_reject *m,
					      uint8_t *buf, size_t cap,
					      size_t *ret_len);
KR_NODISCARD enum kr_err kr_msg_reject_decode(const struct kr_frame_head *h,
					      const uint8_t *body,
					      struct kr_msg_reject *ret);

/*
 * Messages that are a head and nothing more (a body of a later version is
 * passed over, so they need no decode):
 *
 *	LOAD   stream 0, arg: KiB queued for upload
 *	CLOSE  stream,   arg: 0
 *	PING   stream 0, arg: token, which PONG repeats
 *	PONG   stream 0, arg: token
 *	BYE    stream 0, arg: enum kr_bye_reason
 *
 * Writes KR_FRAME_HEAD_LEN bytes.
 */
void kr_msg_plain_encode(enum kr_frame_type type, uint16_t stream, uint32_t arg,
			 uint8_t buf[KR_FRAME_HEAD_LEN]);

/* The reason in a BYE; one we do not know reads as KR_BYE_NONE. */
enum kr_bye_reason kr_msg_bye_reason(const struct kr_frame_head *h);

#endif
