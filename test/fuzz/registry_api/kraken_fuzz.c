/*
 * test/fuzz/registry_api/kraken_fuzz.c - no path may break the parser of
 * Kraken's endpoints, and a route without a fault holds only what the grammar
 * allows.
 *
 * The first byte says whose endpoints they are.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/kraken.h"

static struct kr_bytes text(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_route r;

	if (size == 0)
		return 0;
	kr_kraken_route_parse((struct kr_bytes){ data + 1, size - 1 }, data[0],
			      &r);
	kr_assert(r.kind == KR_ROUTE_UNKNOWN || kr_route_is_kraken(r.kind));
	if (r.kind == KR_ROUTE_UNKNOWN)
		kr_assert(r.fault == KR_ROUTE_FINE && r.repo[0] == '\0');
	if (r.fault != KR_ROUTE_FINE)
		return 0;
	if (r.repo[0] != '\0' && r.kind != KR_ROUTE_KRAKEN_LIST)
		kr_assert(kr_repo_is_valid(text(r.repo)));
	if (r.tag[0] != '\0')
		kr_assert(kr_tag_is_valid(text(r.tag)));
	if (r.kind == KR_ROUTE_KRAKEN_UPLOAD)
		kr_assert(kr_upload_id_is_valid(text(r.upload_id)));
	if (r.by_digest)
		kr_assert(r.digest.alg < KR_DIGEST_ALG_COUNT);
	return 0;
}
