/*
 * registry_api/upstream.h - requests that name the registry an image comes
 * from, and where its repositories are in this cluster.
 *
 * PURE.  A runtime that uses us as the mirror of another registry says which,
 * in one of two ways:
 *
 *	containerd	GET /v2/library/x/manifests/1?ns=docker.io
 *	podman, CRI-O	GET /v2/docker.io/library/x/manifests/1
 *	Docker		GET /v2/library/x/manifests/1	(says nothing)
 *
 * A row of the table says that repositories of @host are below @prefix here;
 * then both ways lead to the same repository, and two upstreams with
 * repositories of one name do not meet.  Without a row for it, ?ns= has no
 * meaning, and a host in the path is part of the repository's name.
 */
#ifndef KR_REGISTRY_API_UPSTREAM_H
#define KR_REGISTRY_API_UPSTREAM_H

#include <stddef.h>

#include "core/bytes.h"
#include "registry_api/grammar.h"

/* What stands for the upstream's name in a prefix. */
#define KR_UPSTREAM_HOST "{host}"

struct kr_upstream {
	char *host;   /* "docker.io"; "*": any that has no row of its own */
	char *prefix; /* "": its repositories are not prefixed */
};

struct kr_upstreams {
	const struct kr_upstream *list; /* borrowed */
	size_t count;
};

/* Is the row of any use?  False: its host is empty, or its prefix makes no
 * repository name. */
bool kr_upstream_is_valid(const struct kr_upstream *u);

/*
 * Give @route the repository that is meant, by the table and the request's
 * @query.  A name that becomes too long or malformed is KR_ROUTE_BAD_NAME.
 * To a repository that was found so, nothing happens another time, unless a
 * prefix begins with the host of another row.
 */
void kr_upstream_map(const struct kr_upstreams *table, struct kr_bytes query,
		     struct kr_route *route);

#endif
