/*
 * registry_api/content_range.h - "start-end" as upload requests carry it
 * (OCI distribution-spec, "Pushing a blob in chunks").
 *
 * PURE.  It is not the Content-Range of RFC 9110: there is no unit and no
 * total.  A "bytes " in front and a "/total" behind are accepted, because
 * clients send them.
 */
#ifndef KR_REGISTRY_API_CONTENT_RANGE_H
#define KR_REGISTRY_API_CONTENT_RANGE_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"

/*
 * First and last offset, both included.
 *
 * KR_E_INVALID  of another form, or the end before the start
 */
KR_NODISCARD enum kr_err kr_content_range_parse(struct kr_bytes text,
						uint64_t *ret_first,
						uint64_t *ret_last);

/*
 * The same as Kraken's clients say it: the offset of the first byte, and that
 * behind the last; an empty range is one.  KR_E_INVALID.
 */
KR_NODISCARD enum kr_err kr_content_range_parse_half_open(struct kr_bytes text,
							  uint64_t *ret_first,
							  uint64_t *ret_end);

/*
 * Print the Range header of an upload of @size bytes into @buf of @cap:
 * "0-<size - 1>".  An empty upload says "0-0" as every registry does: the
 * form cannot express "nothing".
 */
void kr_upload_range_print(uint64_t size, char *buf, size_t cap);

#endif
