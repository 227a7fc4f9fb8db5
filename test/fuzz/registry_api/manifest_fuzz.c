/*
 * test/fuzz/registry_api/manifest_fuzz.c - no bytes may break the manifest
 * parser, and what it accepts can be described among referrers.
 *
 * The first byte picks the Content-Type.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/manifest.h"

/* A descriptor that is smaller than what it describes, but for its frame. */
static void describe(const struct kr_manifest *m, struct kr_bytes json)
{
	const struct kr_digest d = { .alg = KR_SHA512 };
	struct kr_buf out;

	/* Text of one byte may become an escape of six. */
	kr_buf_init(&out, 6 * json.len + KR_MEDIA_TYPE_MAX + 1024);
	const enum kr_err err = kr_manifest_describe(m, json, &d, &out);
	kr_assert(err == KR_OK || err == KR_E_NOMEM);
	kr_assert(err != KR_OK ||
		  (out.ptr[0] == '{' && out.ptr[out.len - 1] == '}'));
	kr_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_manifest m;
	struct kr_bytes type = { NULL, 0 };
	const char *why = NULL;

	if (size == 0)
		return 0;
	const uint8_t pick = data[0] % (KR_MANIFEST_KIND_COUNT + 1);
	if (pick < KR_MANIFEST_KIND_COUNT) {
		const char *t =
			kr_manifest_media_type((enum kr_manifest_kind)pick);
		type = (struct kr_bytes){ (const uint8_t *)t, strlen(t) };
	}
	const enum kr_err err = kr_manifest_parse(
		(struct kr_bytes){ data + 1, size - 1 }, type, &m, &why);
	if (err != KR_OK) {
		kr_assert(err == KR_E_NOMEM || why != NULL);
		return 0;
	}
	kr_assert(m.kind < KR_MANIFEST_KIND_COUNT);
	kr_assert(pick == KR_MANIFEST_KIND_COUNT || m.kind == pick);
	for (size_t i = 0; i < m.ref_count; i++)
		kr_assert(m.refs[i].digest.alg < KR_DIGEST_ALG_COUNT);
	kr_assert(strnlen(m.artifact_type, sizeof(m.artifact_type)) <
		  sizeof(m.artifact_type));
	if (m.has_subject)
		describe(&m, (struct kr_bytes){ data + 1, size - 1 });
	kr_manifest_fini(&m);
	return 0;
}
