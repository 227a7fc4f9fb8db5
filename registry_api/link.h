/*
 * registry_api/link.h - the Link header of an answer that has more pages
 * (RFC 8288; distribution-spec end-8b, end-12b).
 *
 * PURE.
 */
#ifndef KR_REGISTRY_API_LINK_H
#define KR_REGISTRY_API_LINK_H

#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"

struct kr_link_param {
	const char *key;   /* a literal */
	const char *value; /* any text; "": the parameter is left out */
};

/*
 * Append </path?key=value&key=value>; rel="next", values percent-encoded so
 * that kr_query_get (query.h) gives back what they were.
 *
 * @path  of names that need no encoding
 *
 * Errors: kr_buf_append's.
 */
KR_NODISCARD enum kr_err kr_link_next(struct kr_buf *out, const char *path,
				      const struct kr_link_param *params,
				      size_t count);

#endif
