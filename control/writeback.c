#include "control/writeback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"
#include "core/metrics.h"

#define KIND        "writeback"
#define POLL_MAX_NS UINT64_C(60000000000)
#define SETTLE_NS   UINT64_C(5000000000) /* between two tries to settle */

/* An item's key: "digest namespace". */
enum { KEY_MAX = KR_DIGEST_TEXT_MAX + KR_NAMESPACE_MAX + 1 };

/* UNSETTLED: what became of the item could not be written to the queue. */
enum state { IDLE, TAKING, STORING, SETTLING, UNSETTLED };

struct kr_writeback {
	struct kr_io *io;
	struct kr_store *store;
	const struct kr_backends *backends;
	struct kr_queue *queue;
	struct kr_queue_req req;
	struct kr_queue_item item;
	struct kr_job job;
	struct kr_timer timer;
	enum state state;
	bool closing, added;     /* added: something came while we were busy */
	struct kr_digest digest; /* of the item at work */
	enum kr_err result;
	bool stays; /* no backend for its namespace: it lives here */
	bool gone;  /* from our store; a backend may say "not found", too */
	struct kr_metric *stored, *failed, *pending;
};

static void take(struct kr_writeback *w);
static void settle(struct kr_writeback *w);

static void on_timer(struct kr_timer *t)
{
	struct kr_writeback *w = KR_CONTAINER_OF(t, struct kr_writeback, timer);

	if (w->state == IDLE)
		take(w);
	else if (w->state == UNSETTLED)
		settle(w);
}

/* Sleep until the next item is due; adding wakes earlier. */
static void idle_until(struct kr_writeback *w, uint64_t due_wall_ns)
{
	const uint64_t now = kr_clock_wall_ns();
	uint64_t in = due_wall_ns > now ? due_wall_ns - now : 0;

	w->state = IDLE;
	if (w->closing)
		return;
	if (w->added) {
		take(w);
		return;
	}
	if (due_wall_ns == UINT64_MAX)
		return;
	if (in > POLL_MAX_NS)
		in = POLL_MAX_NS;
	kr_io_timer_set(w->io, &w->timer, kr_io_now_ns(w->io) + in, on_timer);
}

static void settled(struct kr_queue_req *r, enum kr_err err)
{
	struct kr_writeback *w = KR_CONTAINER_OF(r, struct kr_writeback, req);

	w->state = IDLE;
	if (w->closing)
		return; /* what is not settled is done again after a start */
	if (err == KR_OK) {
		take(w);
		return;
	}
	kr_log_error("writeback", "the queue cannot be written: tried again",
		     KR_ERR("why", err),
		     KR_STR("do", "make room on the disk of store.dir, and "
				  "check that queue.db may be written"));
	w->state = UNSETTLED;
	kr_io_timer_set(w->io, &w->timer, kr_io_now_ns(w->io) + SETTLE_NS,
			on_timer);
}

/* Write to the queue what became of the item at work. */
static void settle(struct kr_writeback *w)
{
	w->state = SETTLING;
	if (w->result == KR_OK || w->gone)
		kr_queue_done(w->queue, &w->req, &w->item, settled);
	else
		kr_queue_fail(w->queue, &w->req, &w->item, kr_clock_wall_ns(),
			      settled);
}

/* On the pool: the blob to the backend, unless it is there already (each
 * push of an image names its old layers too). */
static void store_run(struct kr_job *j)
{
	struct kr_writeback *w = KR_CONTAINER_OF(j, struct kr_writeback, job);
	char hex[KR_DIGEST_TEXT_MAX], ns[KR_NAMESPACE_MAX + 1];
	struct kr_store_blob *blob;
	uint64_t size_bytes;

	memcpy(ns, w->item.payload, w->item.payload_len);
	ns[w->item.payload_len] = '\0';
	struct kr_backend *backend = kr_backends_find(w->backends, ns);
	w->gone = false;
	w->result = KR_OK;
	w->stays = backend == NULL; /* the configuration changed */
	if (w->stays)
		return;
	w->result = kr_store_blob_open(w->store, &w->digest, &blob);
	w->gone = w->result == KR_E_NOTFOUND;
	if (w->result != KR_OK)
		return;
	kr_digest_print_hex(&w->digest, hex);
	if (kr_backend_stat(backend, hex, &size_bytes) != KR_OK ||
	    size_bytes != kr_store_blob_size(blob))
		w->result = kr_backend_put(backend, hex, kr_store_blob_fd(blob),
					   kr_store_blob_size(blob));
	kr_store_blob_close(blob);
}

/* On the pool: no backend waits for the blob any more. */
static void unpin_run(struct kr_job *j)
{
	struct kr_writeback *w = KR_CONTAINER_OF(j, struct kr_writeback, job);

	w->result = kr_store_keep(w->store, &w->digest, false);
}

static void unpin_done(struct kr_job *j)
{
	settle(KR_CONTAINER_OF(j, struct kr_writeback, job));
}

/* Other items of the same digest go to other namespaces' backends: the last
 * one unpins. */
static void counted(struct kr_queue_req *r, enum kr_err err)
{
	struct kr_writeback *w = KR_CONTAINER_OF(r, struct kr_writeback, req);

	if (err == KR_OK && r->depth <= 1 && !w->stays)
		kr_io_work(w->io, &w->job, unpin_run, unpin_done);
	else
		settle(w);
}

/* How many namespaces' backends still lack the blob, this one included? */
static void count_items(struct kr_writeback *w)
{
	char digest[KR_DIGEST_TEXT_MAX], prefix[KEY_MAX];

	w->state = SETTLING;
	(void)snprintf(prefix, sizeof(prefix), "%s ",
		       kr_digest_print(&w->digest, digest));
	kr_queue_count(w->queue, &w->req, KIND, prefix, counted);
}

static void store_done(struct kr_job *j)
{
	struct kr_writeback *w = KR_CONTAINER_OF(j, struct kr_writeback, job);

	kr_metric_add(w->result == KR_OK ? w->stored : w->failed, 1);
	if (w->gone)
		kr_log_error("writeback",
			     "the blob is gone from the store: not written "
			     "back",
			     KR_DIGEST("digest", &w->digest),
			     KR_STR("do", "push the image again"));
	else if (w->result != KR_OK)
		kr_log_warn("writeback",
			    "the backend did not take a blob; it stays "
			    "here and is tried again",
			    KR_DIGEST("digest", &w->digest),
			    KR_ERR("why", w->result),
			    KR_U64("attempts", w->item.attempts + 1),
			    KR_STR("do", "check the storage behind backends: "
					 "is it there, writable, not full?"));
	if (w->result == KR_OK)
		count_items(w);
	else
		settle(w);
}

static void taken(struct kr_queue_req *r, enum kr_err err)
{
	struct kr_writeback *w = KR_CONTAINER_OF(r, struct kr_writeback, req);

	if (err != KR_OK) {
		kr_log_error("writeback", "the queue cannot be read",
			     KR_ERR("why", err));
		idle_until(w, kr_clock_wall_ns() + POLL_MAX_NS);
		return;
	}
	kr_metric_set(w->pending, (int64_t)r->depth);
	if (r->item_count == 0) {
		idle_until(w, r->next_due_ns);
		return;
	}
	if (kr_digest_parse(w->item.key, strcspn(w->item.key, " "),
			    &w->digest) != KR_OK ||
	    w->item.payload_len > KR_NAMESPACE_MAX) {
		kr_log_error("writeback",
			     "an item of the queue is damaged: dropped",
			     KR_STR("key", w->item.key));
		w->gone = true; /* no way to do it */
		settle(w);
		return;
	}
	w->state = STORING;
	kr_io_work(w->io, &w->job, store_run, store_done);
}

static void take(struct kr_writeback *w)
{
	w->state = TAKING;
	w->added = false;
	kr_io_timer_stop(w->io, &w->timer);
	kr_queue_take(w->queue, &w->req, KIND, kr_clock_wall_ns(), &w->item, 1,
		      taken);
}

/* ---- adding -------------------------------------------------------------*/

static void queued(struct kr_queue_req *r, enum kr_err err)
{
	struct kr_writeback_add *a =
		KR_CONTAINER_OF(r, struct kr_writeback_add, req);
	struct kr_writeback *w = a->wb;

	w->added = true;
	if (w->state == IDLE && !w->closing)
		take(w);
	a->done(a, err);
}

static void pin_run(struct kr_job *j)
{
	struct kr_writeback_add *a =
		KR_CONTAINER_OF(j, struct kr_writeback_add, job);

	/* A sha512 blob has no name in Kraken's layouts. */
	a->has_backend = a->digest.alg == KR_SHA256 &&
			 kr_backends_find(a->wb->backends, a->ns) != NULL;
	a->err = kr_store_keep(a->wb->store, &a->digest, true);
}

static void pin_done(struct kr_job *j)
{
	struct kr_writeback_add *a =
		KR_CONTAINER_OF(j, struct kr_writeback_add, job);
	char digest[KR_DIGEST_TEXT_MAX], key[KEY_MAX];

	if (a->err != KR_OK || !a->has_backend) {
		a->done(a, a->err);
		return;
	}
	(void)snprintf(key, sizeof(key), "%s %s",
		       kr_digest_print(&a->digest, digest), a->ns);
	kr_queue_add(a->wb->queue, &a->req, KIND, key,
		     (struct kr_bytes){ (const uint8_t *)a->ns, strlen(a->ns) },
		     kr_clock_wall_ns(), queued);
}

void kr_writeback_add(struct kr_writeback *w, struct kr_writeback_add *a,
		      const char *ns, const struct kr_digest *d,
		      kr_writeback_add_fn *done)
{
	a->wb = w;
	a->done = done;
	a->digest = *d;
	kr_assert(strlen(ns) <= KR_NAMESPACE_MAX);
	memcpy(a->ns, ns, strlen(ns) + 1);
	kr_io_work(w->io, &a->job, pin_run, pin_done);
}

/* ---- life ---------------------------------------------------------------*/

enum kr_err kr_writeback_open(const struct kr_writeback_opts *opts,
			      struct kr_writeback **ret)
{
	const struct kr_queue_opts queue = { .db = opts->db,
					     .seed = opts->seed };
	struct kr_writeback *w = calloc(1, sizeof(*w));
	enum kr_err err;

	if (w == NULL)
		return KR_E_NOMEM;
	w->io = opts->io;
	w->store = opts->store;
	w->backends = opts->backends;
	w->stored = kr_metrics_counter("kraken_writeback_total",
				       "blobs sent to their storage backend",
				       "result=\"stored\"");
	w->failed = kr_metrics_counter("kraken_writeback_total",
				       "blobs sent to their storage backend",
				       "result=\"failed\"");
	w->pending = kr_metrics_gauge("kraken_writeback_pending",
				      "blobs the storage backend lacks", NULL);
	err = kr_queue_open(&queue, &w->queue);
	if (err != KR_OK) {
		free(w);
		return err;
	}
	take(w);
	*ret = w;
	return KR_OK;
}

void kr_writeback_close(struct kr_writeback *w)
{
	w->closing = true;
	kr_io_timer_stop(w->io, &w->timer);
	while (w->state != IDLE && w->state != UNSETTLED)
		kr_io_turn(w->io);
	kr_queue_close(w->queue);
	free(w);
}
