/*
 * registry_api/grammar.h - names, references and routes of the registry API
 * (OCI distribution-spec 1.1, "Pulling manifests" and "Endpoints").
 *
 * PURE.  A route is what method-independent part of a request target means;
 * a target that is a known endpoint with a malformed name or reference is
 * still that endpoint, and says what is wrong with it, so that the answer can
 * carry the right error code.
 */
#ifndef KR_REGISTRY_API_GRAMMAR_H
#define KR_REGISTRY_API_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "registry_api/registry.h"

enum kr_method {
	KR_GET,
	KR_HEAD,
	KR_POST,
	KR_PUT,
	KR_PATCH,
	KR_DELETE,
	KR_METHOD_OTHER,
	KR_METHOD_COUNT
};

enum kr_route_kind {
	KR_ROUTE_UNKNOWN,   /* no endpoint of ours */
	KR_ROUTE_BASE,      /* /v2/ */
	KR_ROUTE_BLOB,      /* /v2/<name>/blobs/<digest> */
	KR_ROUTE_UPLOADS,   /* /v2/<name>/blobs/uploads/ */
	KR_ROUTE_UPLOAD,    /* /v2/<name>/blobs/uploads/<id> */
	KR_ROUTE_MANIFEST,  /* /v2/<name>/manifests/<reference> */
	KR_ROUTE_TAGS,      /* /v2/<name>/tags/list */
	KR_ROUTE_REFERRERS, /* /v2/<name>/referrers/<digest> */
	KR_ROUTE_CATALOG,   /* /v2/_catalog */
	KR_ROUTE_HEALTH,
	KR_ROUTE_READINESS,
	KR_ROUTE_METRICS,
	/* Kraken's own (registry_api/kraken.h) */
	KR_ROUTE_KRAKEN_TAG,            /* /tags/<repo>:<tag> */
	KR_ROUTE_KRAKEN_TAG_DIGEST,     /* /tags/<repo>:<tag>/digest/<digest> */
	KR_ROUTE_KRAKEN_REPLICATE,      /* /remotes/tags/<repo>:<tag> */
	KR_ROUTE_KRAKEN_REPO_TAGS,      /* /repositories/<repo>/tags */
	KR_ROUTE_KRAKEN_LIST,           /* /list/<prefix> */
	KR_ROUTE_KRAKEN_BLOB,           /* /namespace/<ns>/blobs/<digest> */
	KR_ROUTE_KRAKEN_STAT,           /* /internal/namespace/... */
	KR_ROUTE_KRAKEN_UPLOADS,        /* .../uploads */
	KR_ROUTE_KRAKEN_UPLOAD,         /* .../uploads/<id> */
	KR_ROUTE_KRAKEN_PREFETCH,       /* .../prefetch */
	KR_ROUTE_KRAKEN_BLOB_HERE,      /* /blobs/<digest>, also internal */
	KR_ROUTE_KRAKEN_LOCATIONS,      /* /blobs/<digest>/locations */
	KR_ROUTE_KRAKEN_PRELOAD,        /* /preload/tags/<repo>:<tag> */
	KR_ROUTE_KRAKEN_PREFETCH_IMAGE, /* /proxy/v1/registry/prefetch, v2 */
	KR_ROUTE_KRAKEN_NOTIFY,         /* /registry/notifications */
	KR_ROUTE_COUNT
};

enum kr_route_fault {
	KR_ROUTE_FINE,
	KR_ROUTE_BAD_NAME,   /* repo is empty */
	KR_ROUTE_BAD_DIGEST, /* malformed, or of an unknown algorithm */
	KR_ROUTE_BAD_TAG,
	KR_ROUTE_BAD_ID, /* not an upload id of ours */
};

struct kr_route {
	enum kr_route_kind kind;
	enum kr_route_fault fault;
	char repo[KR_REPO_MAX + 1];
	char tag[KR_TAG_MAX + 1]; /* MANIFEST by tag; else "" */
	char upload_id[KR_UPLOAD_ID_LEN + 1];
	struct kr_digest digest; /* BLOB, REFERRERS, MANIFEST by digest */
	bool by_digest;
};

/* Case-sensitive, as methods are (RFC 9110, 9.1). */
enum kr_method kr_method_parse(struct kr_bytes text);

/* Is @s a repository name: components of [a-z0-9]+ with single separators
 * (. _ __ or dashes) inside, joined by "/", at most KR_REPO_MAX bytes? */
bool kr_repo_is_valid(struct kr_bytes s);

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool kr_tag_is_valid(struct kr_bytes s);

/* 8-4-4-4-12 lower-case hexadecimal digits */
bool kr_upload_id_is_valid(struct kr_bytes s);

/*
 * Understand @path: the target without its query, percent-decoded.
 * Always fills @ret; see kind and fault.
 */
void kr_route_parse(struct kr_bytes path, struct kr_route *ret);

/* "blob": for metrics and logs; static. */
const char *kr_route_name(enum kr_route_kind kind);

#endif
