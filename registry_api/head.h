/*
 * registry_api/head.h - the head of an HTTP/1 request: judged, and rewritten
 * for libh2o (RFC 9112).
 *
 * PURE.  The gate reads heads itself, so what is ambiguous is refused here,
 * before two parsers can disagree about where a body ends: Content-Length
 * beside Transfer-Encoding, more than one of either, a length that is not all
 * digits, a coding other than "chunked", folded lines, no or several Hosts.
 */
#ifndef KR_REGISTRY_API_HEAD_H
#define KR_REGISTRY_API_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/bytes.h"
#include "core/err.h"
#include "registry_api/grammar.h"

enum {
	KR_HEAD_BYTES_MAX = 32768, /* request line and fields */
	KR_HEAD_FIELDS_MAX = 100,
};

enum kr_framing { KR_BODY_ABSENT, KR_BODY_LENGTH, KR_BODY_CHUNKED };

struct kr_head { /* all bytes are borrowed from what was parsed */
	enum kr_method method;
	struct kr_bytes method_text;
	struct kr_bytes path;  /* raw, without "?" */
	struct kr_bytes query; /* raw, without "?" */
	int minor_version;     /* of HTTP/1: 0, or 1 for anything later */
	enum kr_framing framing;
	uint64_t body_len; /* KR_BODY_LENGTH: may be 0 */
	bool wants_continue;
	bool unknown_expectation;
	size_t head_len; /* bytes up to and with the empty line */
	size_t field_count;
	struct kr_bytes names[KR_HEAD_FIELDS_MAX];
	struct kr_bytes values[KR_HEAD_FIELDS_MAX];
};

/*
 * Parse the head at the front of @buf.  @seen_len: how many of the bytes the
 * last call with the same head was given (0 at first); it saves scanning them
 * again.
 *
 * KR_AGAIN      the head is not complete
 * KR_E_TOOBIG   it cannot be within KR_HEAD_BYTES_MAX: 431
 * KR_E_PROTO    malformed or ambiguous: 400
 */
KR_NODISCARD enum kr_err kr_head_parse(const uint8_t *buf, size_t len,
				       size_t seen_len, struct kr_head *ret);

/* The value of field @name (lower-case literal), or len 0 and NULL. */
struct kr_bytes kr_head_field(const struct kr_head *h, const char *name);

/*
 * Append the head without what frames a body (Content-Length,
 * Transfer-Encoding, Expect, Trailer, TE) or changes the protocol (Upgrade).
 * Errors: kr_buf_append's.
 */
KR_NODISCARD enum kr_err kr_head_rewrite(const struct kr_head *h,
					 struct kr_buf *out);

#endif
