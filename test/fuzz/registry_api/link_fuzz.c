/*
 * test/fuzz/registry_api/link_fuzz.c - what goes into a Link to the next page
 * comes back out of the request that a client makes of it, whatever it is.
 *
 * The input is two texts, split at the first NUL.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/link.h"
#include "registry_api/query.h"

enum { TEXT_MAX = 300, LINK_MAX = 4096 };

static const char before[] = "</v2/a/referrers/x?n=7";
static const char after[] = ">; rel=\"next\"";

static void expect(struct kr_bytes query, const char *key, const char *want)
{
	char got[TEXT_MAX + 1];
	const enum kr_err err = kr_query_get(query, key, got, sizeof(got));

	kr_assert(want[0] == '\0' ? err == KR_E_NOTFOUND : err == KR_OK);
	kr_assert(want[0] == '\0' || strcmp(got, want) == 0);
}

/* A header of one line of ASCII, between the brackets nothing that ends it. */
static void judge(struct kr_bytes link, const char *last, const char *type)
{
	const size_t head = strlen(before), tail = strlen(after);

	kr_assert(link.len >= head + tail);
	kr_assert(memcmp(link.ptr, before, head) == 0);
	kr_assert(memcmp(link.ptr + link.len - tail, after, tail) == 0);
	for (size_t i = 1; i < link.len - tail; i++)
		kr_assert(link.ptr[i] > ' ' && link.ptr[i] < 0x7f &&
			  memchr("<>\"", link.ptr[i], 3) == NULL);
	const uint8_t *mark = memchr(link.ptr, '?', link.len);
	const struct kr_bytes query = {
		mark + 1, link.len - tail - (size_t)(mark + 1 - link.ptr)
	};
	expect(query, "n", "7");
	expect(query, "last", last);
	expect(query, "artifactType", type);
}

static void copy(char *dst, struct kr_bytes text)
{
	const size_t len = text.len < TEXT_MAX ? text.len : TEXT_MAX;

	if (len > 0)
		memcpy(dst, text.ptr, len);
	dst[len] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
	const size_t first = nul != NULL ? (size_t)(nul - data) : size;
	char last[TEXT_MAX + 1], type[TEXT_MAX + 1];
	const struct kr_link_param params[] = { { "n", "7" },
						{ "last", last },
						{ "artifactType", type } };
	struct kr_buf out;

	copy(last, (struct kr_bytes){ data, first });
	copy(type, (struct kr_bytes){ data + first, size - first });
	if (nul != NULL)
		copy(type, (struct kr_bytes){ nul + 1, size - first - 1 });
	kr_buf_init(&out, LINK_MAX);
	const enum kr_err err =
		kr_link_next(&out, "/v2/a/referrers/x", params, 3);
	kr_assert(err == KR_OK);
	judge((struct kr_bytes){ out.ptr, out.len }, last, type);
	kr_buf_fini(&out);
	return 0;
}
