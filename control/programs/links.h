/*
 * control/programs/links.h - what was deleted, on a proxy: MANIFEST_DELETE and
 * BLOB_DELETE, and a look at the build-index before something is served by
 * its digest.
 *
 *	MANIFEST_GET, BLOB_OPEN, BLOB_STAT --> index.find_object
 *	    deleted from this repository     --> KR_E_NOTFOUND
 *	    there, unknown, or no index answers --> the handler that was there
 *
 * An index that is down does not stop pulls: bytes are named by their digest,
 * so what is served too long is still what was asked for.  It is not asked
 * again for KR_LINKS_SILENT_NS, so pulls are not slow either.  Agents do not ask
 * at all; what they have in their caches is served until it makes way.
 *
 * Deleting takes a digest out of a repository.  The bytes stay with the
 * origins, as other repositories may have them.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_LINKS_H
#define KR_CONTROL_PROGRAMS_LINKS_H

#include "control/indexes.h"
#include "control/origins.h"
#include "control/programs/desk.h"
#include "core/io.h"

#define KR_LINKS_SILENT_NS UINT64_C(2000000000)

struct kr_links {
	struct kr_io *io;
	struct kr_indexes *indexes;
	struct kr_origins *origins;
	uint64_t silent_until_ns; /* private: no index answered */
	struct {                  /* private: by op, the handlers that serve */
		kr_desk_fn *fn;
		void *ctx;
	} serve[KR_REG_OP_COUNT];
};

/* After the handlers that serve.  @l is filled by the caller and outlives the
 * desk. */
void kr_links_attach(struct kr_links *l, struct kr_desk *desk);

#endif
