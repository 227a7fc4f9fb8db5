/*
 * core/buf.h - a buffer on the heap that grows up to a ceiling.
 *
 * For text and messages off the data path (metrics, JSON, RPC bodies).  A
 * struct kr_buf is owned by whoever embeds it, and used by one thread at a
 * time.  A call that fails leaves the content as it was.
 *
 *	init -> reserve, append, printf, consume, reset ... -> fini
 */
#ifndef KR_CORE_BUF_H
#define KR_CORE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct kr_buf {
	uint8_t *ptr; /* NULL until something was reserved */
	size_t len;   /* bytes that are there */
	size_t cap;   /* bytes that fit without growing */
	size_t max;   /* ceiling of len */
};

/* Prepare an empty buffer that never holds more than @max_bytes. */
void kr_buf_init(struct kr_buf *b, size_t max_bytes);

/* Release the memory.  @b is empty and usable again. */
void kr_buf_fini(struct kr_buf *b);

/*
 * Make room for @extra bytes at ptr + len; the caller may write them and add
 * to len itself.
 *
 * KR_E_TOOBIG  len + @extra is above the ceiling
 * KR_E_NOMEM   the heap is exhausted
 */
KR_NODISCARD enum kr_err kr_buf_reserve(struct kr_buf *b, size_t extra);

/* Copy @len bytes to the end.  @ptr must not lie in @b.  Errors: reserve's. */
KR_NODISCARD enum kr_err kr_buf_append(struct kr_buf *b, const void *ptr,
				       size_t len);
KR_NODISCARD enum kr_err kr_buf_append_str(struct kr_buf *b, const char *str);

/* Append formatted text without its NUL.  Errors: reserve's (the NUL needs
 * room while printing, but not in len). */
KR_NODISCARD enum kr_err kr_buf_printf(struct kr_buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Drop the first @n (<= len) bytes; the rest moves to the front. */
void kr_buf_consume(struct kr_buf *b, size_t n);

/* Drop all bytes, keep the memory. */
void kr_buf_reset(struct kr_buf *b);

#endif
