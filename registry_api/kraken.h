/*
 * registry_api/kraken.h - routes of Kraken's own HTTP endpoints, beside the
 * registry API.
 *
 * PURE.  Which of them a server has depends on its role.  Names in a path are
 * percent-encoded by Kraken's clients, "/" included ("/tags/team%2Fapp:v1");
 * unencoded slashes mean the same.  A digest may lack its "sha256:".
 */
#ifndef KR_REGISTRY_API_KRAKEN_H
#define KR_REGISTRY_API_KRAKEN_H

#include "registry_api/grammar.h"

enum { /* sets of endpoints, to be or-ed */
       KR_KRAKEN_AGENT = 1,
       KR_KRAKEN_ORIGIN = 2,
       KR_KRAKEN_PROXY = 4,
       KR_KRAKEN_INDEX = 8,
};

/*
 * Understand @path (without its query, percent-decoded) as an endpoint of
 * @sets.  KR_ROUTE_UNKNOWN: it is none of them.  Of a KR_ROUTE_KRAKEN_LIST,
 * repo is the prefix, whatever it is.
 */
void kr_kraken_route_parse(struct kr_bytes path, unsigned sets,
			   struct kr_route *ret);

/* Is @kind one of these? */
static inline bool kr_route_is_kraken(enum kr_route_kind kind)
{
	return kind > KR_ROUTE_METRICS && kind < KR_ROUTE_COUNT;
}

#endif
