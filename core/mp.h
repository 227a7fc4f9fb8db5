/*
 * core/mp.h - MessagePack (github.com/msgpack/msgpack/blob/master/spec.md)
 * with limits: a writer into a fixed buffer and a reader that never allocates.
 *
 * PURE.  The writer packs with msgpack-c's packer.  The reader is ours:
 * msgpack-c's unpacker allocates the elements that an array header claims
 * (24 bytes each, up to gigabytes) before it has seen one of them, so five
 * bytes from a peer would cost what the peer likes; test/unit/core/mp_test.c
 * shows it.  Here counts are judged against the bytes that are there.
 *
 * Not checked: that strings are UTF-8, that map keys differ.  Integers need
 * not be in their shortest form.  Floats and extensions are skipped, not read.
 */
#ifndef KR_CORE_MP_H
#define KR_CORE_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"

enum { KR_MP_DEPTH_MAX = 16 }; /* arrays and maps within each other */

/*
 * Writer.  What does not fit sets a sticky flag and is dropped, so only
 * kr_mp_w_done needs a check.
 */
struct kr_mp_writer {
	uint8_t *buf; /* lent until done */
	size_t cap, len;
	bool overflow;
};

void kr_mp_w_init(struct kr_mp_writer *w, uint8_t *buf, size_t cap);
void kr_mp_w_nil(struct kr_mp_writer *w);
void kr_mp_w_bool(struct kr_mp_writer *w, bool v);
void kr_mp_w_u64(struct kr_mp_writer *w, uint64_t v);
void kr_mp_w_i64(struct kr_mp_writer *w, int64_t v);
void kr_mp_w_str(struct kr_mp_writer *w, const char *str, size_t len);
void kr_mp_w_cstr(struct kr_mp_writer *w, const char *str);
void kr_mp_w_bin(struct kr_mp_writer *w, const void *ptr, size_t len);
/* The caller writes @count values (map: key, value, key, ...) next. */
void kr_mp_w_array(struct kr_mp_writer *w, uint32_t count);
void kr_mp_w_map(struct kr_mp_writer *w, uint32_t count);

/* KR_E_TOOBIG  it did not all fit; the buffer holds nothing of use */
KR_NODISCARD enum kr_err kr_mp_w_done(const struct kr_mp_writer *w,
				      size_t *ret_len);

/*
 * Reader: a cursor over borrowed bytes.  A call that does not return KR_OK
 * has moved nothing.  For every read:
 *
 * KR_AGAIN    the bytes end within the value (kr_mp_r_init only)
 * KR_E_PROTO  another type, a number that does not fit, a byte that begins no
 *             value; after kr_mp_r_init_whole also bytes that end too early
 */
struct kr_mp_reader { /* at may be read; the rest is private to mp_reader.c */
	const uint8_t *ptr;
	size_t len;
	size_t at; /* bytes consumed */
	bool whole;
};

enum kr_mp_type {
	KR_MP_NIL,
	KR_MP_BOOL,
	KR_MP_INT, /* of either sign */
	KR_MP_FLOAT,
	KR_MP_STR,
	KR_MP_BIN,
	KR_MP_ARRAY,
	KR_MP_MAP,
	KR_MP_EXT,
};

/* Read @len bytes of a stream: more may come, short input is KR_AGAIN. */
void kr_mp_r_init(struct kr_mp_reader *r, const uint8_t *ptr, size_t len);

/* Read a message that is all there: short input is KR_E_PROTO. */
void kr_mp_r_init_whole(struct kr_mp_reader *r, const uint8_t *ptr, size_t len);

/* The type of the next value, which stays unread. */
KR_NODISCARD enum kr_err kr_mp_r_type(const struct kr_mp_reader *r,
				      enum kr_mp_type *ret);

KR_NODISCARD enum kr_err kr_mp_r_nil(struct kr_mp_reader *r);
KR_NODISCARD enum kr_err kr_mp_r_bool(struct kr_mp_reader *r, bool *ret);
KR_NODISCARD enum kr_err kr_mp_r_u64(struct kr_mp_reader *r, uint64_t *ret);
KR_NODISCARD enum kr_err kr_mp_r_i64(struct kr_mp_reader *r, int64_t *ret);

/* @ret points into the reader's bytes. */
KR_NODISCARD enum kr_err kr_mp_r_str(struct kr_mp_reader *r,
				     struct kr_bytes *ret);
KR_NODISCARD enum kr_err kr_mp_r_bin(struct kr_mp_reader *r,
				     struct kr_bytes *ret);

/*
 * Enter an array (map): its @ret_count elements (pairs) are the next values.
 * A count above what the bytes left can hold, at a byte for each value, is
 * short input, so memory may be sized by @ret_count.
 */
KR_NODISCARD enum kr_err kr_mp_r_array(struct kr_mp_reader *r,
				       uint32_t *ret_count);
KR_NODISCARD enum kr_err kr_mp_r_map(struct kr_mp_reader *r,
				     uint32_t *ret_count);

/* Pass over one value of any type with all it contains.  Deeper nesting than
 * KR_MP_DEPTH_MAX is KR_E_PROTO. */
KR_NODISCARD enum kr_err kr_mp_r_skip(struct kr_mp_reader *r);

/* KR_E_PROTO  bytes are left */
KR_NODISCARD enum kr_err kr_mp_r_end(const struct kr_mp_reader *r);

#endif
