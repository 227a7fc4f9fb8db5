#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

void kr_buf_init(struct kr_buf *b, size_t max_bytes)
{
	*b = (struct kr_buf){ .max = max_bytes };
}

void kr_buf_fini(struct kr_buf *b)
{
	free(b->ptr);
	kr_buf_init(b, b->max);
}

/* Doubling keeps appending linear; the ceiling bounds the last step. */
static size_t next_cap(const struct kr_buf *b, size_t need)
{
	size_t cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap;

	while (cap < need && cap <= b->max / 2)
		cap *= 2;
	if (cap < need || cap > b->max)
		cap = b->max;
	return cap;
}

enum kr_err kr_buf_reserve(struct kr_buf *b, size_t extra)
{
	if (extra > b->max - b->len)
		return KR_E_TOOBIG;
	if (b->ptr != NULL && extra <= b->cap - b->len)
		return KR_OK;

	const size_t cap = next_cap(b, b->len + extra);
	uint8_t *ptr = realloc(b->ptr, cap > 0 ? cap : 1);
	if (ptr == NULL)
		return KR_E_NOMEM;
	b->ptr = ptr;
	b->cap = cap;
	return KR_OK;
}

enum kr_err kr_buf_append(struct kr_buf *b, const void *ptr, size_t len)
{
	enum kr_err err = kr_buf_reserve(b, len);

	if (err != KR_OK)
		return err;
	if (len > 0)
		memcpy(b->ptr + b->len, ptr, len);
	b->len += len;
	return KR_OK;
}

enum kr_err kr_buf_append_str(struct kr_buf *b, const char *str)
{
	return kr_buf_append(b, str, strlen(str));
}

enum kr_err kr_buf_printf(struct kr_buf *b, const char *fmt, ...)
{
	va_list args, again;
	enum kr_err err;

	va_start(args, fmt);
	va_copy(again, args);
	const int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	kr_assert(len >= 0);

	err = kr_buf_reserve(b, (size_t)len + 1);
	if (err == KR_OK) {
		vsnprintf((char *)b->ptr + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
	}
	va_end(again);
	return err;
}

void kr_buf_consume(struct kr_buf *b, size_t n)
{
	kr_assert(n <= b->len);
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->ptr, b->ptr + n, b->len);
}

void kr_buf_reset(struct kr_buf *b)
{
	b->len = 0;
}
