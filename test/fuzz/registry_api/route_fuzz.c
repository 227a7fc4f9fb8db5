/*
 * test/fuzz/registry_api/route_fuzz.c - no path may break the grammar, and a
 * route without a fault holds only what the grammar allows.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/grammar.h"
#include "registry_api/query.h"

static struct kr_bytes text(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void judge(const struct kr_route *r)
{
	const bool named =
		r->kind == KR_ROUTE_BLOB || r->kind == KR_ROUTE_UPLOADS ||
		r->kind == KR_ROUTE_UPLOAD || r->kind == KR_ROUTE_MANIFEST ||
		r->kind == KR_ROUTE_TAGS || r->kind == KR_ROUTE_REFERRERS;

	if (r->fault != KR_ROUTE_FINE) {
		kr_assert(named);
		return;
	}
	kr_assert(named == kr_repo_is_valid(text(r->repo)));
	if (r->kind == KR_ROUTE_UPLOAD)
		kr_assert(kr_upload_id_is_valid(text(r->upload_id)));
	if (r->kind == KR_ROUTE_MANIFEST && !r->by_digest)
		kr_assert(kr_tag_is_valid(text(r->tag)));
	if (r->by_digest)
		kr_assert(r->digest.alg < KR_DIGEST_ALG_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[2048];
	struct kr_route route;
	size_t len;

	kr_route_parse((struct kr_bytes){ data, size }, &route);
	judge(&route);
	if (kr_percent_decode((struct kr_bytes){ data, size }, path,
			      sizeof(path), &len) == KR_OK) {
		kr_route_parse((struct kr_bytes){ (const uint8_t *)path, len },
			       &route);
		judge(&route);
	}
	return 0;
}
