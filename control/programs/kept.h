/*
 * control/programs/kept.h - what Kraken's endpoints ask about where a blob is
 * kept: this host's copy is to go, the origins are to get it, who has it.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_KEPT_H
#define KR_CONTROL_PROGRAMS_KEPT_H

#include "control/origins.h"
#include "control/programs/desk.h"
#include "control/seeders.h"
#include "control/trackers.h"
#include "control/transfer.h"
#include "core/config.h"
#include "core/store.h"

/* So long a blob that is to go may still be in use. */
#define KR_KEPT_FORGET_NS UINT64_C(1000000000)

struct kr_kept {
	struct kr_io *io;
	struct kr_transfer *transfer;
	struct kr_store *store;
	struct kr_trackers *trackers; /* or NULL */
	struct kr_seeders *seeders;   /* likewise */
	struct kr_origins *origins;   /* NULL: BLOB_FORGET only */
	/* HTTP servers of the origins, in their order; empty: each has ours,
	 * on the host that its name says */
	const struct kr_config_strings *servers;
	uint16_t server_port;
};

/* Handle BLOB_FORGET, and with origins BLOB_PREFETCH and BLOB_LOCATE, at
 * @desk.  @k is filled by the caller and outlives the desk. */
void kr_kept_attach(struct kr_kept *k, struct kr_desk *desk);

#endif
