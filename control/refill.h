/*
 * control/refill.h - blobs on their way from the storage backend of their
 * namespace into an origin's store, because somebody asks for them.
 *
 * Questions for one digest at the same time are one fetch.  The bytes are verified
 * against the digest before anything of the blob becomes visible; its metainfo
 * is made in the same pass.  KR_REFILL_MAX fetches run at a time, the others wait.
 *
 * Threads: reactor; the blocking parts run on the work pool.
 */
#ifndef KR_CONTROL_REFILL_H
#define KR_CONTROL_REFILL_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/backends.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"
#include "core/list.h"
#include "core/store.h"

struct kr_refill;

/* Each holds a thread of the work pool: see kr_runtime_open. */
enum { KR_REFILL_MAX = 2 };

KR_NODISCARD enum kr_err kr_refill_open(struct kr_io *io,
					struct kr_store *store,
					const struct kr_backends *backends,
					struct kr_refill **ret);
/* Every waiter gets KR_E_CANCELED; turns the ring until the fetch under way
 * has ended. */
void kr_refill_close(struct kr_refill *r);

/*
 * KR_OK           the blob and its metainfo are in the store
 * KR_E_NOTFOUND   the backend does not have it, or @ns has no backend
 * KR_E_DIGEST     what the backend has under that name is something else
 * KR_E_BUSY       a fetch for another namespace was under way, and failed,
 *                 which says nothing of @ns: ask again
 * others          the backend's or the store's
 */
struct kr_refill_wait;
typedef void kr_refill_fn(struct kr_refill_wait *w, enum kr_err err);
struct kr_refill_wait { /* embedded by the caller, lent until done */
	struct kr_list link;
	kr_refill_fn *done;
	bool joined_other; /* the fetch is for another namespace */
};
/* KR_E_NOMEM: done will not come. */
KR_NODISCARD enum kr_err kr_refill_want(struct kr_refill *r,
					struct kr_refill_wait *w,
					const char *ns,
					const struct kr_digest *d,
					kr_refill_fn *done);

/* done will not come; the fetch goes on. */
void kr_refill_unwant(struct kr_refill_wait *w);

#endif
