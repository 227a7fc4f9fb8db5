/*
 * test/fuzz/registry_api/range_fuzz.c - Range and Content-Range: whatever the
 * text, ranges lie within the size, are not empty, and share no byte.
 *
 * The first eight bytes are the size.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/content_range.h"
#include "registry_api/range.h"

static void check(const struct kr_ranges *rs, uint64_t total)
{
	kr_assert(rs->count <= KR_RANGES_MAX);
	kr_assert(!rs->open_ended || rs->count == 1);
	for (uint32_t i = 0; i < rs->count; i++) {
		const struct kr_range *a = &rs->range[i];

		kr_assert(a->length > 0);
		kr_assert(a->offset < total && a->length <= total - a->offset);
		for (uint32_t k = 0; k < i; k++) {
			const struct kr_range *b = &rs->range[k];

			kr_assert(a->offset + a->length < b->offset ||
				  b->offset + b->length < a->offset);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t total, first, last;
	struct kr_ranges r;

	if (size < sizeof(total))
		return 0;
	memcpy(&total, data, sizeof(total));
	const struct kr_bytes text = { data + sizeof(total),
				       size - sizeof(total) };
	if (kr_ranges_parse(text, total, &r) == KR_OK)
		check(&r, total);
	if (kr_content_range_parse(text, &first, &last) == KR_OK)
		kr_assert(first <= last);
	if (kr_content_range_parse_half_open(text, &first, &last) == KR_OK)
		kr_assert(first <= last);
	return 0;
}
