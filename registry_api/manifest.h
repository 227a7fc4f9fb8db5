/*
 * registry_api/manifest.h - the four kinds of manifest that are stored and
 * served: Docker schema 2 and manifest list, OCI manifest and index
 * (image-spec manifest.md and image-index.md).
 *
 * What is needed of one is its media type and what it points to.  Everything
 * else is the client's business, and the bytes are kept as they came.
 */
#ifndef KR_REGISTRY_API_MANIFEST_H
#define KR_REGISTRY_API_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/bytes.h"
#include "core/err.h"
#include "registry_api/registry.h"

enum {
	KR_MANIFEST_DEPTH_MAX = 32,   /* of nested JSON values */
	KR_MANIFEST_REFS_MAX = 10000, /* config, layers, manifests */
};

enum kr_manifest_kind {
	KR_MANIFEST_DOCKER,
	KR_MANIFEST_DOCKER_LIST,
	KR_MANIFEST_OCI,
	KR_MANIFEST_OCI_INDEX,
	KR_MANIFEST_KIND_COUNT
};

struct kr_manifest {
	enum kr_manifest_kind kind;
	struct kr_reg_ref *refs; /* owned; see kr_manifest_fini */
	size_t ref_count;
	bool has_subject; /* image-spec "subject": need not exist */
	struct kr_digest subject;
	/* What it is filtered by among the referrers of its subject: its own
	 * artifactType, else that of an image's config; "": none. */
	char artifact_type[KR_MEDIA_TYPE_MAX + 1];
};

/*
 * Parse @json.  @content_type (may be empty) is what HTTP said; it must agree
 * with the "mediaType" inside, if that is there.  Where neither is, the kind
 * is inferred: "manifests" makes an index, "config" and "layers" a manifest.
 *
 * A document that is both a manifest and an index is refused, as is a Docker
 * type that is not said inside: whoever reads it must see what was pushed.
 *
 * Layers that are not distributable (their media type says foreign or
 * nondistributable) are not references: they are fetched from elsewhere.
 *
 * KR_E_INVALID      not JSON, or not such a manifest; @ret_why says what is
 *                   wrong, static
 * KR_E_UNSUPPORTED  well-formed, of a kind that is not served (schema 1)
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_manifest_parse(struct kr_bytes json,
					   struct kr_bytes content_type,
					   struct kr_manifest *ret,
					   const char **ret_why);
void kr_manifest_fini(struct kr_manifest *m);

/*
 * Append the descriptor (image-spec descriptor.md) that lists @m, whose bytes
 * are @json, among the referrers of its subject, with its artifact type and
 * annotations.
 *
 * @d  of @json
 *
 * KR_E_TOOBIG  does not fit into @out; KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_manifest_describe(const struct kr_manifest *m,
					      struct kr_bytes json,
					      const struct kr_digest *d,
					      struct kr_buf *out);

const char *kr_manifest_media_type(enum kr_manifest_kind kind); /* static */

#endif
