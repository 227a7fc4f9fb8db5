/*
 * registry_api/query.h - percent-encoding and query strings (RFC 3986, 2.1).
 *
 * PURE.
 */
#ifndef KR_REGISTRY_API_QUERY_H
#define KR_REGISTRY_API_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"

/*
 * Decode @in into @out of @cap bytes, with a NUL; @ret_len is without it.
 * A "+" stays a "+": digests of other algorithms may contain one.
 *
 * KR_E_INVALID  a broken escape, or one that means a NUL
 * KR_E_TOOBIG   does not fit
 */
KR_NODISCARD enum kr_err kr_percent_decode(struct kr_bytes in, char *out,
					   size_t cap, size_t *ret_len);

/*
 * Find the first "@key=value" in @query (without its "?") and decode the
 * value into @out of @cap bytes, with a NUL.  A key without "=" has the value
 * "".
 *
 * KR_E_NOTFOUND  no such key; @out is as it was
 * KR_E_INVALID, KR_E_TOOBIG  as kr_percent_decode
 */
KR_NODISCARD enum kr_err kr_query_get(struct kr_bytes query, const char *key,
				      char *out, size_t cap);

/* The same, and move @query behind that pair, so that the next call finds the
 * next "@key=value"; without one, to its end. */
KR_NODISCARD enum kr_err kr_query_take(struct kr_bytes *query, const char *key,
				       char *out, size_t cap);

/*
 * A decimal number of at most @max.
 *
 * KR_E_NOTFOUND  no such key
 * KR_E_INVALID   not a number, or above @max
 */
KR_NODISCARD enum kr_err kr_query_get_u32(struct kr_bytes query,
					  const char *key, uint32_t max,
					  uint32_t *ret);

/* Parse 1 to 19 decimal digits and nothing else.  KR_E_INVALID. */
KR_NODISCARD enum kr_err kr_decimal_parse(struct kr_bytes text, uint64_t *ret);

#endif
