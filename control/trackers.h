/*
 * control/trackers.h - the trackers as an agent sees them: it announces what
 * it has and wants, and is told of neighbours and metainfos.
 *
 * A digest belongs to one tracker by rendezvous hashing; while that one does
 * not answer, to the next.  All blobs of a tracker go into one announce: at
 * once (KR_TRACKERS_BATCH_NS) for blobs that need peers or were completed, all
 * of them every interval_ns, or as often as the trackers say if that is
 * shorter, with jitter.
 *
 * Blobs that were completed are referred to, and announced, for seed_ttl_ns;
 * then the tracker is told that they are gone.
 *
 * While every tracker says that we are of another cluster nobody would send us
 * a byte: downloads end with KR_E_UNAVAILABLE when one says so.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_TRACKERS_H
#define KR_CONTROL_TRACKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/ring.h"
#include "control/rpc.h"
#include "control/tracker_msg.h"
#include "control/transfer.h"
#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"

struct kr_trackers;

enum { KR_TRACKERS_MAX = 64 };
#define KR_TRACKERS_BATCH_NS UINT64_C(2000000)

struct kr_trackers_opts {
	struct kr_io *io;
	const char *const *names; /* as configured: they make the ring */
	const struct kr_addr *addrs;
	uint32_t count;                  /* at most KR_TRACKERS_MAX */
	struct kr_tracker_msg_peer self; /* id and port: see attach */
	uint64_t interval_ns, rpc_timeout_ns, seed_ttl_ns;
	uint32_t seeds_max; /* completed blobs referred to at once */
	bool leech_only;    /* announced as full, to get neighbours and be
			       none; not at all once complete */
	uint64_t seed;      /* of the jitter */
};

KR_NODISCARD enum kr_err kr_trackers_open(const struct kr_trackers_opts *opts,
					  struct kr_trackers **ret);
/* Drop the references to blobs.  Asks must have ended or been canceled. */
void kr_trackers_close(struct kr_trackers *t);

/* The transfer whose blobs are announced, and under which id and port peers
 * find it; before anything is announced. */
void kr_trackers_attach(struct kr_trackers *t, struct kr_transfer *transfer,
			const struct kr_peer_id *id, uint16_t port);

/* Blob @b needs neighbours: announce it soon. */
void kr_trackers_need_peers(struct kr_trackers *t, struct kr_blob *b);

/* Blob @b became complete: tell soon, keep it for seed_ttl_ns. */
void kr_trackers_completed(struct kr_trackers *t, struct kr_blob *b);

/* Blob @b, complete, is of use to somebody here: it is announced and kept
 * longer, and told soon if it was not announced before. */
void kr_trackers_used(struct kr_trackers *t, struct kr_blob *b);

/* The store is full: announce the oldest completed blobs no longer, until twice
 * @bytes of them are given back. */
void kr_trackers_make_room(struct kr_trackers *t, uint64_t bytes);

/* Blob @d is to be deleted: announce it no longer, give it back. */
void kr_trackers_forget(struct kr_trackers *t, const struct kr_digest *d);

/* Peer @id sent bytes of @d that were not those. */
void kr_trackers_report(struct kr_trackers *t, const struct kr_digest *d,
			const struct kr_peer_id *id);

/*
 * Ask for the metainfo of a blob: one tracker, then the next.
 *
 * KR_OK             @metainfo is the encoding, borrowed until return
 * KR_E_NOTFOUND     no origin has the blob
 * KR_E_BUSY         an origin is fetching it from its backend: ask again
 * KR_E_UNAVAILABLE  it could not be found out; @text says why
 */
struct kr_trackers_ask;
typedef void kr_trackers_ask_fn(struct kr_trackers_ask *a, enum kr_err err,
				struct kr_bytes metainfo, const char *text);
struct kr_trackers_ask { /* embedded by the caller; private */
	struct kr_trackers *trackers;
	const char *method;
	uint64_t timeout_ns;
	kr_trackers_ask_fn *done;
	struct kr_rpc_call call;
	uint32_t order[KR_TRACKERS_MAX];
	uint32_t order_count, at;
	uint8_t params[512];
	size_t params_len;
};
void kr_trackers_metainfo(struct kr_trackers *t, struct kr_trackers_ask *a,
			  const char *ns, const struct kr_digest *d,
			  kr_trackers_ask_fn *done);
/* Does a tracker answer, now?  KR_OK (no metainfo), KR_E_UNAVAILABLE. */
#define KR_TRACKERS_PING_NS UINT64_C(800000000)
void kr_trackers_ping(struct kr_trackers *t, struct kr_trackers_ask *a,
		      kr_trackers_ask_fn *done);
void kr_trackers_ask_cancel(struct kr_trackers_ask *a); /* no done */

#endif
