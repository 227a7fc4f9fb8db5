/*
 * The chunked decoder: whatever comes, it stays in bounds, and gives the same
 * body whether the bytes come at once or one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "control/upload_chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	enum kr_err err;
	size_t used, len;
	bool ended;
	uint8_t *body;
};

static struct result decode(const uint8_t *data, size_t size, size_t step)
{
	struct result r = { .body = malloc(size + 1) };
	uint8_t *buf = malloc(size + 1);
	struct kr_chunked c;

	kr_chunked_init(&c);
	while (r.used < size && r.err == KR_OK && !r.ended) {
		const size_t n = size - r.used < step ? size - r.used : step;
		size_t used, len;

		memcpy(buf, data + r.used, n);
		r.err = kr_chunked_decode(&c, buf, n, &used, &len);
		kr_assert(used <= n && len <= used);
		memcpy(r.body + r.len, buf, len);
		r.len += len;
		r.used += used;
		r.ended = kr_chunked_ended(&c);
		kr_assert(r.ended || r.err != KR_OK || used == n);
	}
	free(buf);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct result all = decode(data, size, size);
	const struct result bytes = decode(data, size, 1);

	kr_assert(all.err == bytes.err && all.used == bytes.used);
	kr_assert(all.ended == bytes.ended && all.len == bytes.len);
	kr_assert(memcmp(all.body, bytes.body, all.len) == 0);
	free(all.body);
	free(bytes.body);
	return 0;
}
