/*
 * control/programs/pull.h - the pulling half of a registry: tags, manifests
 * and blobs, for the agent (metainfo from the trackers) and the proxy
 * (metainfo from the origins).
 *
 *	tag --indexes--> digest --locate--> metainfo --transfer--> bytes
 *
 * A blob that is here or on its way is joined; else its metainfo is asked for
 * and the download begins.  Nothing is asked of anybody about a blob that is
 * complete here, so what was pulled once is served, by digest, while everything
 * else is down; a tag is asked of a build-index each time.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_PULL_H
#define KR_CONTROL_PROGRAMS_PULL_H

#include "control/indexes.h"
#include "control/locate.h"
#include "control/origins.h"
#include "control/programs/desk.h"
#include "control/trackers.h"
#include "control/transfer.h"
#include "core/io.h"

/* A blob that neither comes in nor goes out for this long is given up. */
#define KR_PULL_STALL_NS UINT64_C(120000000000)

/* An origin that fetches a blob from its storage backend is asked again this
 * often, for this long. */
#define KR_PULL_ASK_AGAIN_NS UINT64_C(500000000)
#define KR_PULL_REFILL_NS    UINT64_C(900000000000)

struct kr_pull {
	struct kr_io *io;
	struct kr_transfer *transfer;
	struct kr_indexes *indexes;
	struct kr_trackers *trackers; /* one of these two is NULL */
	struct kr_origins *origins;
	uint64_t manifest_bytes_max;
	bool impatient; /* a blob that an origin still fetches is KR_E_BUSY at
			   once: Kraken's clients come again by themselves */
};

/* Handle TAG_GET, MANIFEST_GET, BLOB_OPEN, BLOB_SEND, BLOB_READ, BLOB_CLOSE,
 * and where the metainfo comes from trackers BLOB_STAT, at @desk.  @p is
 * filled by the caller and outlives the desk. */
void kr_pull_attach(struct kr_pull *p, struct kr_desk *desk);

/* And BLOB_SERVE: where whoever knows the digest of a blob may have it.  Not
 * where others are asked first whether it was deleted (links.h). */
void kr_pull_attach_serve(struct kr_pull *p, struct kr_desk *desk);

#endif
