#include "registry_api/content_range.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "registry_api/query.h"

enum kr_err kr_content_range_parse_half_open(struct kr_bytes text,
					     uint64_t *ret_first,
					     uint64_t *ret_end)
{
	uint64_t first, last;

	if (text.len > 6 && memcmp(text.ptr, "bytes ", 6) == 0) {
		text.ptr += 6;
		text.len -= 6;
	}
	const uint8_t *dash =
		text.len > 0 ? memchr(text.ptr, '-', text.len) : NULL;
	if (dash == NULL)
		return KR_E_INVALID;
	const struct kr_bytes a = { text.ptr, (size_t)(dash - text.ptr) };
	struct kr_bytes b = { dash + 1, text.len - a.len - 1 };
	const uint8_t *slash = b.len > 0 ? memchr(b.ptr, '/', b.len) : NULL;
	if (slash != NULL)
		b.len = (size_t)(slash - b.ptr);
	if (kr_decimal_parse(a, &first) != KR_OK ||
	    kr_decimal_parse(b, &last) != KR_OK || last < first)
		return KR_E_INVALID;
	*ret_first = first;
	*ret_end = last;
	return KR_OK;
}

/* Both forms are two numbers of which the second is not the lesser. */
enum kr_err kr_content_range_parse(struct kr_bytes text, uint64_t *ret_first,
				   uint64_t *ret_last)
{
	return kr_content_range_parse_half_open(text, ret_first, ret_last);
}

void kr_upload_range_print(uint64_t size, char *buf, size_t cap)
{
	(void)snprintf(buf, cap, "0-%" PRIu64, size > 0 ? size - 1 : 0);
}
