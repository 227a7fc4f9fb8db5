/*
 * registry_api/range.h - the Range request header (RFC 9110, 14).
 *
 * PURE.  One range is honoured.  Several ranges, another unit, or a header
 * that is not a range at all are ignored, which RFC 9110, 14.2 allows, and
 * the whole representation is sent.
 */
#ifndef KR_REGISTRY_API_RANGE_H
#define KR_REGISTRY_API_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"

struct kr_range {
	uint64_t offset, length; /* within the size it was parsed for */
	bool partial;            /* answer 206; false: the whole */
};

/*
 * What part of @size bytes does header value @text (len 0: absent) ask for?
 *
 * KR_E_RANGE  a single well-formed range that has no byte in it: 416
 */
KR_NODISCARD enum kr_err kr_range_parse(struct kr_bytes text, uint64_t size,
					struct kr_range *ret);

#endif
