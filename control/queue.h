/*
 * control/queue.h - durable queues of work that must be done some day:
 * write-back to a backend, copies of tags to other build-indexes.
 *
 * An item is named by (kind, key); adding it again replaces its payload and
 * makes it due at once.  Whoever works a kind asks for what is due, does it,
 * and says done or failed; a failed item is due again after a jittered
 * back-off that doubles.  Doing must be idempotent: a crash between the work
 * and `done` repeats it.
 *
 *	add --> due --take--> at work --done--> gone
 *	         ^               |
 *	         +--- back-off --fail
 *
 * An item at work is not handed out again by this process until it failed.
 *
 * Threads: reactor; the database is used through the work pool (db.h).
 */
#ifndef KR_CONTROL_QUEUE_H
#define KR_CONTROL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/db.h"
#include "core/bytes.h"
#include "core/err.h"

struct kr_queue;
struct kr_queue_req;

enum {
	KR_QUEUE_KIND_MAX = 64,  /* bytes, with the NUL */
	KR_QUEUE_KEY_MAX = 1024, /* bytes, with the NUL */
	KR_QUEUE_PAYLOAD_MAX = 8192,
	KR_QUEUE_TAKE_MAX = 64, /* items of one take */
};

struct kr_queue_opts {
	struct kr_db *db; /* borrowed; may be shared with the index */
	uint64_t seed;
	uint64_t backoff_min_ns; /* 0: 1 s */
	uint64_t backoff_max_ns; /* 0: 5 min */
};

struct kr_queue_item {
	int64_t id;
	int64_t version; /* changes when the item is added again */
	char key[KR_QUEUE_KEY_MAX];
	uint8_t payload[KR_QUEUE_PAYLOAD_MAX];
	size_t payload_len;
	uint32_t attempts; /* failed so far */
};

typedef void kr_queue_done_fn(struct kr_queue_req *r, enum kr_err err);

/* One operation; embedded by its owner, lent until done.  The fields are the
 * answers. */
struct kr_queue_req {
	struct kr_db_req db; /* private, down to max */
	struct kr_queue *q;
	kr_queue_done_fn *done;
	char kind[KR_QUEUE_KIND_MAX];
	bool too_big; /* said from the ring, like all */
	uint64_t now_ns, next_ns;
	uint32_t max;
	struct kr_queue_item item;   /* add, done, fail */
	struct kr_queue_item *items; /* take: given by the caller */
	uint32_t item_count;         /* take: how many were filled */
	uint64_t next_due_ns; /* take: when to ask again; UINT64_MAX: never,
				 unless something is added */
	uint64_t depth;       /* take, count: items, due or not */
};

/* BLOCKS: at start only.  Errors: kr_db_schema's. */
KR_NODISCARD enum kr_err kr_queue_open(const struct kr_queue_opts *opts,
				       struct kr_queue **ret);
/* Every request is done before (kr_db_drain).  Items at work are due again
 * after the next open. */
void kr_queue_close(struct kr_queue *q);

/*
 * Times are kr_clock_wall_ns, because they outlive the process.  @kind is at
 * most KR_QUEUE_KIND_MAX - 1, @key KR_QUEUE_KEY_MAX - 1, @payload
 * KR_QUEUE_PAYLOAD_MAX bytes; more is done(KR_E_TOOBIG).  All: KR_E_NOSPC,
 * KR_E_IO, KR_E_BUSY.
 */

/* KR_OK: it is on disk. */
void kr_queue_add(struct kr_queue *q, struct kr_queue_req *r, const char *kind,
		  const char *key, struct kr_bytes payload, uint64_t now_ns,
		  kr_queue_done_fn *done);

/* Hand out at most @max (<= KR_QUEUE_TAKE_MAX) items that are due into @items
 * (lent until done), longest due first.  They are at work then. */
void kr_queue_take(struct kr_queue *q, struct kr_queue_req *r, const char *kind,
		   uint64_t now_ns, struct kr_queue_item *items, uint32_t max,
		   kr_queue_done_fn *done);

/* How many items of @kind have a key that begins with @prefix (ASCII, not
 * empty)?  The answer is r->depth. */
void kr_queue_count(struct kr_queue *q, struct kr_queue_req *r,
		    const char *kind, const char *prefix,
		    kr_queue_done_fn *done);

/* @item was done: forget it, unless it was added again meanwhile (then it
 * becomes due). */
void kr_queue_done(struct kr_queue *q, struct kr_queue_req *r,
		   const struct kr_queue_item *item, kr_queue_done_fn *done);

/* @item failed: due again after its back-off. */
void kr_queue_fail(struct kr_queue *q, struct kr_queue_req *r,
		   const struct kr_queue_item *item, uint64_t now_ns,
		   kr_queue_done_fn *done);

/* For a kr_db_run_fn of somebody else: add within its transaction. */
KR_NODISCARD enum kr_err kr_queue_add_in(struct sqlite3 *sql, const char *kind,
					 const char *key,
					 struct kr_bytes payload,
					 uint64_t now_ns);

#endif
