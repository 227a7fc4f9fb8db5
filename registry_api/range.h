/*
 * registry_api/range.h - the Range request header (RFC 9110, 14).
 *
 * PURE.  Up to KR_RANGES_MAX ranges are honoured, in the order asked for;
 * those that overlap or touch are joined (RFC 9110, 15.3.7.2), so no byte is
 * sent twice however often it is asked for.  More ranges, another unit, or a
 * header that is not a range at all are ignored, which RFC 9110, 14.2 allows,
 * and the whole representation is sent.
 */
#ifndef KR_REGISTRY_API_RANGE_H
#define KR_REGISTRY_API_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"

enum { KR_RANGES_MAX = 16 };

struct kr_range {
	uint64_t offset, length; /* within the size it was parsed for */
};

struct kr_ranges {
	uint32_t count;  /* 0: the whole, answer 200; else 206 */
	bool open_ended; /* one range without an end ("bytes=5-"): the client
			    may leave when it has what it wants */
	struct kr_range range[KR_RANGES_MAX]; /* disjoint, none empty */
};

/*
 * What parts of @size bytes does header value @text (len 0: absent) ask for?
 *
 * KR_E_RANGE  well-formed, and no range has a byte in it: 416
 */
KR_NODISCARD enum kr_err kr_ranges_parse(struct kr_bytes text, uint64_t size,
					 struct kr_ranges *ret);

#endif
