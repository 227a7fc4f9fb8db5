/*
 * control/seeders.h - the further reactors of a host: threads that seed what
 * the first one has.
 *
 *	reactor 0                              reactor 1 .. n
 *	store, downloads, RPC, all state       a ring, a transfer without a store
 *	   |  <---- ask(digest) --------------------  | a peer OPENs a blob
 *	   |  ----- lease: descriptor, metainfo --->  | in the swarm
 *	   |  <---- give back ----------------------  | nobody uses it any more
 *	   |  <---- connection of origin or proxy --  | its HELLO has come
 *	   |  ----- let go: room is needed -------->  |
 *
 * All of them listen on the peer port of the first, and have its peer id: to
 * other hosts they are one, and which of them has a connection is the kernel's
 * choice.  That holds because none of them dials.
 *
 * What is leased is an open handle of the store, so it is pinned.  A blob that
 * is still on its way in is answered when it is complete; who wants pieces of
 * it before (origins that ingest) is with reactor 0.
 *
 * Degree limits, upload slots and what a single seeder reveals (SWARM.md, rules
 * 2 and 7) are by reactor: to a swarm n of them are n seeders of one host.  A limit of the
 * upload rate is shared exactly (struct kr_tokens); what HELLO says of it is
 * the reactor's even part.
 *
 * Threads: the functions are for reactor 0.
 */
#ifndef KR_CONTROL_SEEDERS_H
#define KR_CONTROL_SEEDERS_H

#include <stdint.h>

#include "control/transfer.h"
#include "core/err.h"
#include "core/io.h"
#include "core/store.h"

struct kr_seeders;

enum { KR_REACTORS_MAX = 64 }; /* the first one included */

struct kr_seeders_opts {
	struct kr_io *io; /* of reactor 0; borrowed, as all pointers here */
	struct kr_store *store;
	struct kr_transfer *transfer; /* of reactor 0, KR_LISTEN_FIRST */
	uint32_t count;               /* of reactors besides it; may be 0 */
	/* As of reactor 0; io, store, lender, reactor, listen, share and the
	 * call-backs are filled in here. */
	struct kr_transfer_opts seed;
	void *ctx;
	/* Open and close the ring of reactor @reactor; called on its thread. */
	enum kr_err (*open_io)(void *ctx, uint32_t reactor, struct kr_io **ret);
	void (*close_io)(void *ctx, struct kr_io *io);
};

/*
 * Start the threads; returns when all seed.  [blocks, some milliseconds]
 *
 * KR_E_NOMEM, KR_E_LIMIT (no thread), what open_io and kr_transfer_open
 * return; nothing was kept
 */
KR_NODISCARD enum kr_err kr_seeders_open(const struct kr_seeders_opts *opts,
					 struct kr_seeders **ret);

/* The store of reactor 0 needs room: what the seeders use for peers only comes
 * back, soon. */
void kr_seeders_make_room(struct kr_seeders *s);

/* Blob @d is to be deleted: who seeds it lets go of it, soon.  Without memory
 * for the message nothing happens. */
void kr_seeders_forget(struct kr_seeders *s, const struct kr_digest *d);

/* Stop and join; turns the ring of reactor 0 meanwhile.  Before its transfer
 * and store are closed.  NULL is fine. */
void kr_seeders_close(struct kr_seeders *s);

#endif
