/*
 * control/push.h - hand a blob that this host has (a proxy, after an upload)
 * to the origins that own it.
 *
 * Every healthy owner is told to ingest it (origin.ingest); they fetch the
 * pieces from us and from each other.  The push is done when write_quorum
 * owners have it on disk, or all owners where fewer are healthy; the others
 * go on in the background.
 *
 *	start --> ingest at each owner --quorum--> done(KR_OK)
 *	                |                             rest: background
 *	                +--quorum out of reach--> done(KR_E_UNAVAILABLE ...)
 *
 * An owner that stops being healthy (control/origins.h) while it is waited for
 * is given up: the quorum is then of those that are left.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PUSH_H
#define KR_CONTROL_PUSH_H

#include <stdint.h>

#include "control/origins.h"
#include "control/tracker_msg.h"
#include "control/transfer.h"
#include "core/err.h"
#include "core/io.h"
#include "peerwire/metainfo.h"

struct kr_pusher;
struct kr_push; /* one blob on its way; gone when done was called */

struct kr_pusher_opts {
	struct kr_io *io;
	struct kr_origins *origins;
	struct kr_transfer *transfer; /* whose blobs are pinned while they are
					 pushed; NULL: none */
	struct kr_tracker_msg_peer self; /* where owners find the pieces */
	uint32_t write_quorum;
	uint64_t ingest_timeout_ns;
};

KR_NODISCARD enum kr_err kr_pusher_open(const struct kr_pusher_opts *opts,
					struct kr_pusher **ret);
/* Give up every push.  Those that wait for an answer were abandoned before. */
void kr_pusher_close(struct kr_pusher *p);

/* @text says which origin refused and why, or "". */
typedef void kr_push_done_fn(void *ctx, enum kr_err err, const char *text);

/*
 * Push blob @m (borrowed), asked for in repository @ns: one that is here, or one
 * that some owner has.  done comes exactly once, not from inside:
 *
 * KR_OK             it is durable on a write quorum
 * KR_E_UNAVAILABLE  no quorum: origins are down or do not answer
 * KR_E_NOSPC        an owner has no room, and without it there is no quorum
 * KR_E_DIGEST ...   what an owner found wrong with it
 *
 * Returns KR_E_NOMEM, KR_E_TOOBIG: done will not come.
 *
 * @ret  valid until done, or kr_push_abandon
 */
KR_NODISCARD enum kr_err kr_push_start(struct kr_pusher *p, const char *ns,
				       const struct kr_metainfo *m, void *ctx,
				       kr_push_done_fn *done,
				       struct kr_push **ret);

/* Nobody waits any more: done will not come, the push goes on. */
void kr_push_abandon(struct kr_push *u);

#endif
