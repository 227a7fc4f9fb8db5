/*
 * control/upload_chunked.h - decoder of the chunked transfer coding (RFC 9112,
 * 7.1), in place, bounded.
 *
 * PURE.  Chunk extensions and trailers are passed over; both are bounded, so
 * that a client cannot make us read heads for ever.
 */
#ifndef KR_CONTROL_UPLOAD_CHUNKED_H
#define KR_CONTROL_UPLOAD_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum {
	KR_CHUNK_HEAD_MAX = 1024,    /* a size line with extensions */
	KR_CHUNK_TRAILER_MAX = 8192, /* all trailer lines together */
};

struct kr_chunked {
	uint64_t left_bytes; /* of the chunk under way */
	uint32_t seen;       /* bytes of the head or trailer under way */
	uint8_t state;
	uint8_t digits;
};

/* Start; a zeroed struct is the same. */
void kr_chunked_init(struct kr_chunked *c);

/*
 * Decode @len bytes of @buf in place: the first *ret_data bytes of it are
 * body bytes afterwards.  *ret_used bytes were taken: all of them, unless the
 * body's end (kr_chunked_ended) was found; what follows it is untouched.
 *
 * KR_E_PROTO  not the coding, or above a limit; *ret_data bytes before the
 *             fault are good
 */
KR_NODISCARD enum kr_err kr_chunked_decode(struct kr_chunked *c, uint8_t *buf,
					   size_t len, size_t *ret_used,
					   size_t *ret_data);
bool kr_chunked_ended(const struct kr_chunked *c);

#endif
