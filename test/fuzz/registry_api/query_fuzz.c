/*
 * test/fuzz/registry_api/query_fuzz.c - no query may break the look-up of a
 * key, and no value overruns its buffer or loses its NUL.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "n",    "last", "mount",
					    "from", "",     "digest" };
	const struct kr_bytes query = { data, size };
	char out[32];
	uint32_t n;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		memset(out, 'x', sizeof(out));
		if (kr_query_get(query, keys[i], out, sizeof(out)) == KR_OK)
			kr_assert(strnlen(out, sizeof(out)) < sizeof(out));
	}
	/* Taking one after the other comes to an end, and begins with the one
	 * that is got. */
	struct kr_bytes rest = query;
	size_t left = SIZE_MAX;
	enum kr_err err;
	do {
		err = kr_query_take(&rest, "tag", out, sizeof(out));
		kr_assert(rest.len < left);
		left = rest.len;
	} while (err != KR_E_NOTFOUND && rest.len > 0);
	if (kr_query_get_u32(query, "n", 1000, &n) == KR_OK)
		kr_assert(n <= 1000);
	return 0;
}
