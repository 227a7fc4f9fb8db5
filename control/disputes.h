/*
 * control/disputes.h - whose metainfo is right?
 *
 * A blob has one metainfo as long as its origins have it.  It may get another:
 * an origin lost its disk, and made it anew by other rules; somebody deleted
 * the blob and pushed it by another version of this program.  A download that
 * was begun before is refused by all who have the new one (REJECT(metainfo) of
 * the peer protocol), and would wait for ever.  So whoever is refused asks
 * again what the origins have:
 *
 *	refused --> ask --another, and no byte came--> KR_E_UNAVAILABLE
 *	             ^  |
 *	             |  +--the same, no answer, or bytes come: after
 *	             +----+  1, 2, 4, 8 s, then no more
 *
 * The next who wants the blob begins anew, with the new metainfo.  One peer
 * that refuses proves nothing: it is the origins' word that counts.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_DISPUTES_H
#define KR_CONTROL_DISPUTES_H

#include "control/locate.h"
#include "control/transfer.h"
#include "core/io.h"
#include "core/list.h"

/* A quarter of a minute; after half a one the peers are asked again. */
#define KR_DISPUTES_AGAIN_NS UINT64_C(1000000000) /* doubling */
enum { KR_DISPUTES_TRIES = 5 };

struct kr_disputes { /* embedded; private */
	struct kr_io *io;
	struct kr_trackers *trackers; /* or */
	struct kr_origins *origins;
	struct kr_list open;
};

/* Ask @trackers, or where that is NULL @origins; both are borrowed. */
void kr_disputes_open(struct kr_disputes *d, struct kr_io *io,
		      struct kr_trackers *trackers, struct kr_origins *origins);

/* End all, without a verdict; before whom they ask is closed.  Of a zeroed
 * one: nothing. */
void kr_disputes_close(struct kr_disputes *d);

/* A peer has another metainfo of @b, which is being downloaded.  No memory:
 * nothing happens, until it is refused again. */
void kr_disputes_settle(struct kr_disputes *d, struct kr_blob *b);

#endif
