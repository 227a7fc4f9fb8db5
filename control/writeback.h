/*
 * control/writeback.h - blobs on their way from an origin's store to the
 * storage backend of their namespace, through a durable queue.
 *
 *	kr_writeback_add: pin in the store, queue, both on disk --> KR_OK
 *	    worker: take -> backend put -> done, unpin
 *	                        \-> failed: again after a back-off, for ever
 *
 * A blob is pinned until the backend has it, across restarts, so nothing
 * pending is dropped.  Where its namespace has no backend, or its digest no
 * name there (sha512), the store is where it lives: it stays pinned.  One blob at a time goes out: a slow backend must not
 * take the work pool from those who hash.
 *
 * Threads: reactor; the blocking parts run on the work pool.
 */
#ifndef KR_CONTROL_WRITEBACK_H
#define KR_CONTROL_WRITEBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/backends.h"
#include "control/queue.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"
#include "core/store.h"
#include "peerwire/node.h"

struct kr_writeback;

struct kr_writeback_opts {
	struct kr_io *io;
	struct kr_store *store;
	const struct kr_backends *backends;
	struct kr_db *db;
	uint64_t seed;
};

KR_NODISCARD enum kr_err kr_writeback_open(const struct kr_writeback_opts *opts,
					   struct kr_writeback **ret);
/* Turns the ring until the blob under way is stored or failed. */
void kr_writeback_close(struct kr_writeback *w);

/* KR_OK: @d is pinned, and queued if there is a backend for it, both on disk.
 * KR_E_NOTFOUND: the store does not have it; KR_E_NOSPC, KR_E_IO, KR_E_BUSY. */
struct kr_writeback_add;
typedef void kr_writeback_add_fn(struct kr_writeback_add *a, enum kr_err err);
struct kr_writeback_add { /* embedded by the caller, lent until done */
	struct kr_writeback *wb;
	kr_writeback_add_fn *done;
	struct kr_job job;
	struct kr_queue_req req;
	struct kr_digest digest;
	char ns[KR_NAMESPACE_MAX + 1];
	bool has_backend;
	enum kr_err err;
};
void kr_writeback_add(struct kr_writeback *w, struct kr_writeback_add *a,
		      const char *ns, const struct kr_digest *d,
		      kr_writeback_add_fn *done);

#endif
