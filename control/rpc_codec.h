/*
 * control/rpc_codec.h - msgpack-RPC messages to and from bytes
 * (github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md).
 *
 * PURE.  Three messages, arrays of MessagePack:
 *
 *	request       [0, id, method, params]
 *	response      [1, id, error, result]
 *	notification  [2, method, params]
 *
 * Params is an array, a map or nil; ours are maps, so that keys can be added.  An
 * error is nil or a map {"code": "KR_E_NOTFOUND", "text": "..."}; an error in
 * which no code of ours is found reads as KR_E_UNAVAILABLE.
 */
#ifndef KR_CONTROL_RPC_CODEC_H
#define KR_CONTROL_RPC_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"
#include "core/mp.h"

enum {
	KR_RPC_NAME_MAX = 64, /* bytes of a method's name */
	KR_RPC_ERROR_TEXT_MAX = 256,
	KR_RPC_HEAD_MAX = 96,   /* what a head below needs at most */
	KR_RPC_ERROR_MAX = 384, /* what kr_rpc_response_error needs at most */
};

enum kr_rpc_type {
	KR_RPC_REQUEST = 0,
	KR_RPC_RESPONSE = 1,
	KR_RPC_NOTIFICATION = 2,
};

/* Slices are borrowed from the buffer that was decoded; each is one whole
 * MessagePack value, for kr_mp_r_init_whole. */
struct kr_rpc_msg {
	enum kr_rpc_type type;
	uint32_t id;            /* request, response */
	struct kr_bytes method; /* request, notification: the name's bytes */
	struct kr_bytes params; /* request, notification: array or map */
	struct kr_bytes result; /* response; nil when there is an error */
	enum kr_err error;      /* response; KR_OK: result counts */
	struct kr_bytes
		error_text; /* response; text for people, may be empty */
};

/*
 * Decode the message that @buf begins with.  It took *ret_used bytes.  The
 * cost is a walk over the values that are there, so a caller that waits for a
 * large message should not ask again for every few bytes.
 *
 * KR_AGAIN     a front of a message of at most @max_len bytes
 * KR_E_TOOBIG  more than @max_len bytes, whatever comes next
 * KR_E_PROTO   not a message
 */
KR_NODISCARD enum kr_err kr_rpc_decode(const uint8_t *buf, size_t len,
				       size_t max_len, struct kr_rpc_msg *ret,
				       size_t *ret_used);

/* Write the front of a message; the caller then writes one value: params (an
 * array, a map or nil).  @method has at most KR_RPC_NAME_MAX bytes (asserted). */
void kr_rpc_request_head(struct kr_mp_writer *w, uint32_t id,
			 const char *method);
void kr_rpc_notification_head(struct kr_mp_writer *w, const char *method);

/* The caller then writes one value of any type: the result. */
void kr_rpc_response_head(struct kr_mp_writer *w, uint32_t id);

/* Write a whole response that says @err (not KR_OK, asserted).  @text may be
 * NULL; it is cut at KR_RPC_ERROR_TEXT_MAX. */
void kr_rpc_response_error(struct kr_mp_writer *w, uint32_t id, enum kr_err err,
			   const char *text);

#endif
