/*
 * test/fuzz/registry_api/range_fuzz.c - Range and Content-Range: whatever the
 * text, a result lies within the size, and never wraps.
 *
 * The first eight bytes are the size.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/content_range.h"
#include "registry_api/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t total, first, last;
	struct kr_range r;

	if (size < sizeof(total))
		return 0;
	memcpy(&total, data, sizeof(total));
	const struct kr_bytes text = { data + sizeof(total),
				       size - sizeof(total) };
	if (kr_range_parse(text, total, &r) == KR_OK) {
		kr_assert(r.offset <= total && r.length <= total - r.offset);
		kr_assert(r.partial ? r.length > 0
				    : r.offset == 0 && r.length == total);
	}
	if (kr_content_range_parse(text, &first, &last) == KR_OK)
		kr_assert(first <= last);
	return 0;
}
