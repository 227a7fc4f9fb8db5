#include "control/origin.h"

#include <stdlib.h>
#include <string.h>

#include "control/blob_hash.h"
#include "control/db.h"
#include "control/origin_msg.h"
#include "control/refill.h"
#include "control/rpc.h"
#include "control/writeback.h"
#include "core/list.h"
#include "core/log.h"
#include "core/metrics.h"

struct kr_origin {
	struct kr_io *io;
	struct kr_store *store;
	const struct kr_backends *backends;
	struct kr_transfer *transfer;
	struct kr_tracker_msg_peer self;
	struct kr_rpc_server_opts server_opts;
	struct kr_rpc_server *server;
	struct kr_db *db;
	struct kr_writeback *writeback;
	struct kr_refill *refill;
	struct kr_list ingests;
	uint32_t busy; /* requests that hold memory */
	bool closing;
	struct kr_metric *ingest_ok, *ingest_failed;
};

static const char closing_text[] = "the origin stops";

/* ---- origin.info --------------------------------------------------------*/

static void on_info(void *ctx, struct kr_rpc_request *req,
		    struct kr_bytes params)
{
	struct kr_origin *o = ctx;
	uint8_t buf[KR_ORIGIN_MSG_INFO_MAX];
	struct kr_mp_writer w;
	size_t len;

	(void)params;
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_info_encode(&w, &o->self);
	if (kr_mp_w_done(&w, &len) != KR_OK) {
		kr_rpc_fail(req, KR_E_TOOBIG, "identity does not fit");
		return;
	}
	kr_rpc_reply(req, (struct kr_bytes){ buf, len });
}

/* ---- origin.metainfo, origin.stat ---------------------------------------
 *
 * look in the store --found--> answer
 *   | blob without metainfo --> hash it, keep the metainfo, look again
 *   | no blob               --> refill from the backend, look again
 *
 * Of a stat the backend is only asked whether it has the blob.  A refill that
 * takes longer than PATIENCE_NS goes on while the question is answered BUSY:
 * whoever asks has a deadline, and asks again.
 */
#define PATIENCE_NS UINT64_C(1000000000)

struct question {
	struct kr_origin *o;
	struct kr_rpc_request *req;
	struct kr_origin_msg_ref ref;
	bool wants_metainfo;
	bool refilled, rehashed;
	struct kr_job job;
	struct kr_refill_wait wait;
	struct kr_timer patience;   /* while it waits for a refill */
	struct kr_store_blob *blob; /* while it is hashed */
	struct kr_metainfo made;
	uint8_t *meta; /* what the job found */
	size_t meta_len;
	uint64_t size_bytes;
	enum kr_err err;
};

static void end_question(struct question *q)
{
	q->o->busy--;
	free(q->meta);
	free(q);
}

static void fail_question(struct question *q, enum kr_err err, const char *text)
{
	kr_rpc_fail(q->req, err, text);
	end_question(q);
}

static void answer_metainfo(struct question *q)
{
	const size_t cap = q->meta_len + 64;
	uint8_t *buf = malloc(cap);
	struct kr_mp_writer w;
	size_t len;

	if (buf == NULL) {
		fail_question(q, KR_E_NOMEM, NULL);
		return;
	}
	kr_mp_w_init(&w, buf, cap);
	kr_origin_msg_metainfo_encode(
		&w, (struct kr_bytes){ q->meta, q->meta_len });
	if (kr_mp_w_done(&w, &len) == KR_OK)
		kr_rpc_reply(q->req, (struct kr_bytes){ buf, len });
	else
		kr_rpc_fail(q->req, KR_E_TOOBIG, "metainfo");
	free(buf);
	end_question(q);
}

static void answer_stat(struct question *q)
{
	struct kr_mp_writer w;
	uint8_t buf[64];
	size_t len;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_stat_encode(&w, q->size_bytes);
	if (kr_mp_w_done(&w, &len) == KR_OK)
		kr_rpc_reply(q->req, (struct kr_bytes){ buf, len });
	else
		kr_rpc_fail(q->req, KR_E_TOOBIG, "size");
	end_question(q);
}

static void look(struct question *q);

/* On the pool: the size of what the store does not have. */
static enum kr_err stat_backend(struct question *q)
{
	struct kr_backend *b = kr_backends_find(q->o->backends, q->ref.ns);
	char hex[KR_DIGEST_TEXT_MAX];

	/* A sha512 blob has no name in Kraken's layouts. */
	if (b == NULL || q->ref.digest.alg != KR_SHA256)
		return KR_E_NOTFOUND;
	return kr_backend_stat(b, kr_digest_print_hex(&q->ref.digest, hex),
			       &q->size_bytes);
}

static void look_run(struct kr_job *j)
{
	struct question *q = KR_CONTAINER_OF(j, struct question, job);
	struct kr_store *s = q->o->store;

	q->err = kr_store_stat(s, &q->ref.digest, &q->size_bytes);
	if (q->err == KR_E_NOTFOUND && !q->wants_metainfo)
		q->err = stat_backend(q);
	if (q->err == KR_OK && q->wants_metainfo)
		q->err = kr_store_meta_get(s, &q->ref.digest, &q->meta,
					   &q->meta_len);
	if (q->err == KR_E_NOTFOUND && q->wants_metainfo && !q->rehashed &&
	    kr_store_blob_open(s, &q->ref.digest, &q->blob) != KR_OK)
		q->blob = NULL; /* it is not here: look_done refills */
}

static void refilled(struct kr_refill_wait *w, enum kr_err err)
{
	struct question *q = KR_CONTAINER_OF(w, struct question, wait);

	kr_io_timer_stop(q->o->io, &q->patience);
	if (q->o->closing)
		err = KR_E_UNAVAILABLE;
	if (err != KR_OK) {
		fail_question(
			q, err,
			err == KR_E_NOTFOUND
				? "neither the store nor the storage "
				  "backend has the blob"
			: err == KR_E_BUSY
				? "looked for in another repository: ask again"
				: "the storage backend could not give it");
		return;
	}
	q->refilled = true;
	look(q);
}

static void answer_busy(struct kr_timer *t)
{
	struct question *q = KR_CONTAINER_OF(t, struct question, patience);

	kr_refill_unwant(&q->wait);
	fail_question(q, KR_E_BUSY,
		      "the blob is on its way from the storage backend");
}

static void want_refill(struct question *q)
{
	struct kr_origin *o = q->o;
	const enum kr_err err = kr_refill_want(o->refill, &q->wait, q->ref.ns,
					       &q->ref.digest, refilled);

	if (err != KR_OK)
		fail_question(q, err, NULL);
	else
		kr_io_timer_set(o->io, &q->patience,
				kr_io_now_ns(o->io) + PATIENCE_NS, answer_busy);
}

static void keep_run(struct kr_job *j)
{
	struct question *q = KR_CONTAINER_OF(j, struct question, job);

	q->err = kr_store_meta_put(q->o->store, &q->ref.digest, q->made.encoded,
				   q->made.encoded_len);
}

static void keep_done(struct kr_job *j)
{
	struct question *q = KR_CONTAINER_OF(j, struct question, job);

	kr_metainfo_fini(kr_alloc_heap(), &q->made);
	if (q->err != KR_OK) {
		fail_question(q, q->err, "metainfo could not be kept");
		return;
	}
	q->rehashed = true;
	look(q);
}

static void rehashed(void *ctx, enum kr_err err, struct kr_metainfo *m)
{
	struct question *q = ctx;

	kr_store_blob_close(q->blob);
	q->blob = NULL;
	if (err == KR_OK && !kr_digest_equal(&m->digest, &q->ref.digest)) {
		kr_log_error("origin",
			     "a stored blob is damaged: it is not "
			     "what its name says",
			     KR_DIGEST("digest", &q->ref.digest),
			     KR_STR("do", "delete it; it comes back from the "
					  "backend or another origin"));
		kr_metainfo_fini(kr_alloc_heap(), m);
		err = KR_E_CORRUPT;
	}
	if (err != KR_OK) {
		fail_question(q, err, "the stored blob could not be hashed");
		return;
	}
	q->made = *m;
	kr_io_work(q->o->io, &q->job, keep_run, keep_done);
}

static void look_done(struct kr_job *j)
{
	struct question *q = KR_CONTAINER_OF(j, struct question, job);
	struct kr_origin *o = q->o;
	enum kr_err err = q->err;

	if (err == KR_OK && q->wants_metainfo) {
		answer_metainfo(q);
	} else if (err == KR_OK) {
		answer_stat(q);
	} else if (q->blob != NULL) {
		err = kr_metainfo_from_file(
			o->io, kr_store_blob_fd(q->blob),
			kr_store_blob_size(q->blob),
			(enum kr_digest_alg)q->ref.digest.alg, q, rehashed);
		if (err != KR_OK) {
			kr_store_blob_close(q->blob);
			fail_question(q, err, NULL);
		}
	} else if (err != KR_E_NOTFOUND || q->refilled || !q->wants_metainfo) {
		fail_question(q, err, NULL);
	} else if (o->closing) {
		/* The backend may have it: somebody else is to be asked. */
		fail_question(q, KR_E_UNAVAILABLE, closing_text);
	} else {
		want_refill(q);
	}
}

static void look(struct question *q)
{
	kr_io_work(q->o->io, &q->job, look_run, look_done);
}

static void begin_question(struct kr_origin *o, struct kr_rpc_request *req,
			   struct kr_bytes params, bool wants_metainfo)
{
	struct question *q;
	enum kr_err err = KR_E_NOMEM;

	if (o->closing) { /* close waits for those that are under way */
		kr_rpc_fail(req, KR_E_UNAVAILABLE, closing_text);
		return;
	}
	q = calloc(1, sizeof(*q));
	if (q != NULL)
		err = kr_origin_msg_ref_decode(params, &q->ref);
	if (err != KR_OK) {
		kr_rpc_fail(req, err, "expected {ns, digest}");
		free(q);
		return;
	}
	q->o = o;
	q->req = req;
	q->wants_metainfo = wants_metainfo;
	o->busy++;
	look(q);
}

static void on_metainfo(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	begin_question(ctx, req, params, true);
}

static void on_stat(void *ctx, struct kr_rpc_request *req,
		    struct kr_bytes params)
{
	begin_question(ctx, req, params, false);
}

/* ---- origin.ingest ------------------------------------------------------*/

struct ingest {
	struct kr_list link;
	struct kr_origin *o;
	struct kr_rpc_request *req;
	struct kr_metainfo m;
	char ns[KR_NAMESPACE_MAX + 1];
	struct kr_peer_hint hints[KR_ORIGIN_MSG_PEERS_MAX];
	uint32_t hint_count;
	struct kr_blob *blob;
	struct kr_blob_wait wait;
	struct kr_writeback_add add;
	struct kr_job job;
	struct kr_timer timer;
	uint64_t seen_bytes; /* verified when the timer last looked */
	bool waiting;
	enum kr_err err;
};

static void end_ingest(struct ingest *in, enum kr_err err, const char *text)
{
	struct kr_origin *o = in->o;

	kr_metric_add(err == KR_OK ? o->ingest_ok : o->ingest_failed, 1);
	if (err == KR_OK)
		kr_rpc_reply(in->req, (struct kr_bytes){ NULL, 0 });
	else
		kr_rpc_fail(in->req, err, text);
	kr_log_info("origin", err == KR_OK ? "blob ingested" : "ingest failed",
		    KR_DIGEST("digest", &in->m.digest),
		    KR_STR("namespace", in->ns),
		    KR_U64("bytes", in->m.size_bytes), KR_ERR("result", err),
		    KR_STR("text", text));
	kr_io_timer_stop(o->io, &in->timer);
	if (in->blob != NULL)
		kr_blob_put(in->blob);
	kr_metainfo_fini(kr_alloc_heap(), &in->m);
	kr_list_del(&in->link);
	o->busy--;
	free(in);
}

static void added(struct kr_writeback_add *a, enum kr_err err)
{
	struct ingest *in = KR_CONTAINER_OF(a, struct ingest, add);

	end_ingest(in, err, err == KR_OK ? "" : "write-back cannot be queued");
}

static void fetched(struct kr_blob_wait *w, enum kr_err err)
{
	struct ingest *in = KR_CONTAINER_OF(w, struct ingest, wait);

	in->waiting = false;
	kr_io_timer_stop(in->o->io, &in->timer);
	if (err != KR_OK) {
		end_ingest(in, err, kr_err_text(err));
		return;
	}
	kr_writeback_add(in->o->writeback, &in->add, in->ns, &in->m.digest,
			 added);
}

/* A push whose sender is gone must not wait for ever.  Once all bytes are
 * here the whole blob is hashed, which shows no progress, but ends. */
static void check_stall(struct kr_timer *t)
{
	struct ingest *in = KR_CONTAINER_OF(t, struct ingest, timer);
	struct kr_blob_progress progress;

	kr_blob_progress(in->blob, &progress);
	if (progress.verified_bytes > in->seen_bytes ||
	    progress.verified_bytes == progress.size_bytes) {
		in->seen_bytes = progress.verified_bytes;
		kr_io_timer_set(in->o->io, &in->timer,
				kr_io_now_ns(in->o->io) + KR_ORIGIN_STALL_NS,
				check_stall);
		return;
	}
	kr_blob_wait_cancel(&in->wait);
	in->waiting = false;
	end_ingest(in, KR_E_TIMEDOUT, "no byte came for a minute");
}

static void start_fetch(struct ingest *in)
{
	struct kr_origin *o = in->o;
	const enum kr_err err =
		kr_transfer_fetch(o->transfer, in->ns, &in->m, 0, &in->blob);

	if (err != KR_OK) {
		end_ingest(in, err, kr_err_text(err));
		return;
	}
	kr_blob_peers(in->blob, in->hints, in->hint_count);
	in->waiting = true;
	kr_blob_wait(in->blob, &in->wait, fetched);
	kr_io_timer_set(o->io, &in->timer,
			kr_io_now_ns(o->io) + KR_ORIGIN_STALL_NS, check_stall);
}

/* An empty blob has no pieces and so no swarm: it is made here. */
static void empty_run(struct kr_job *j)
{
	struct ingest *in = KR_CONTAINER_OF(j, struct ingest, job);

	in->err = kr_store_blob_put(in->o->store, &in->m.digest, "", 0);
	if (in->err == KR_OK)
		in->err = kr_store_meta_put(in->o->store, &in->m.digest,
					    in->m.encoded, in->m.encoded_len);
}

static void empty_done(struct kr_job *j)
{
	struct ingest *in = KR_CONTAINER_OF(j, struct ingest, job);

	if (in->err != KR_OK) {
		end_ingest(in, in->err, kr_err_text(in->err));
		return;
	}
	kr_writeback_add(in->o->writeback, &in->add, in->ns, &in->m.digest,
			 added);
}

static enum kr_err take_peers(struct ingest *in,
			      const struct kr_origin_msg_ingest *msg,
			      const struct kr_addr *from)
{
	for (uint32_t i = 0; i < msg->peer_count; i++) {
		struct kr_peer_hint *h = &in->hints[in->hint_count];
		const struct kr_tracker_msg_peer *p = &msg->peers[i];
		const enum kr_err err =
			kr_tracker_msg_peer_addr(p, from, &h->addr);
		if (err != KR_OK)
			return err;
		h->id = p->id;
		h->role = p->role;
		h->complete = p->role == KR_PEER_PROXY;
		in->hint_count++;
	}
	return KR_OK;
}

static enum kr_err decode_ingest(struct ingest *in, struct kr_bytes params,
				 const struct kr_addr *from)
{
	struct kr_origin_msg_ingest *msg = malloc(sizeof(*msg));
	enum kr_err err = KR_E_NOMEM;

	if (msg == NULL)
		return KR_E_NOMEM;
	err = kr_origin_msg_ingest_decode(params, msg);
	if (err != KR_OK)
		goto out;
	memcpy(in->ns, msg->ref.ns, sizeof(in->ns));
	err = kr_metainfo_decode(kr_alloc_heap(), msg->metainfo.ptr,
				 msg->metainfo.len, &in->m);
	if (err != KR_OK)
		goto out;
	if (!kr_digest_equal(&in->m.digest, &msg->ref.digest))
		err = KR_E_INVALID;
	if (err == KR_OK)
		err = take_peers(in, msg, from);
	if (err != KR_OK)
		kr_metainfo_fini(kr_alloc_heap(), &in->m);
out:
	free(msg);
	return err;
}

static void on_ingest(void *ctx, struct kr_rpc_request *req,
		      struct kr_bytes params)
{
	const struct kr_addr from = kr_rpc_request_from(req);
	struct kr_origin *o = ctx;
	struct ingest *in;
	enum kr_err err = KR_E_NOMEM;

	if (o->closing) {
		kr_rpc_fail(req, KR_E_UNAVAILABLE, closing_text);
		return;
	}
	in = calloc(1, sizeof(*in));
	if (in != NULL)
		err = decode_ingest(in, params, &from);
	if (err != KR_OK) {
		kr_rpc_fail(req, err, "expected {ns, digest, metainfo, peers}");
		free(in);
		return;
	}
	in->o = o;
	in->req = req;
	o->busy++;
	kr_list_add_tail(&o->ingests, &in->link);
	if (in->m.size_bytes == 0)
		kr_io_work(o->io, &in->job, empty_run, empty_done);
	else
		start_fetch(in);
}

void kr_origin_need_peers(struct kr_origin *o, struct kr_blob *b)
{
	kr_list_for_each (at, &o->ingests) {
		struct ingest *in = KR_CONTAINER_OF(at, struct ingest, link);
		if (in->blob == b)
			kr_blob_peers(b, in->hints, in->hint_count);
	}
}

/* ---- life ---------------------------------------------------------------*/

static const struct kr_rpc_method methods[] = {
	{ "origin.info", on_info },
	{ "origin.metainfo", on_metainfo },
	{ "origin.stat", on_stat },
	{ "origin.ingest", on_ingest },
};

static enum kr_err open_parts(struct kr_origin *o,
			      const struct kr_origin_opts *opts)
{
	const char *schema = "PRAGMA user_version = 1;";
	enum kr_err err = kr_db_open(o->io, opts->queue_path, schema, &o->db);

	if (err != KR_OK)
		return err;
	const struct kr_writeback_opts wb = { .io = o->io,
					      .store = o->store,
					      .backends = opts->backends,
					      .db = o->db,
					      .seed = opts->seed };
	err = kr_writeback_open(&wb, &o->writeback);
	if (err != KR_OK)
		return err;
	return kr_refill_open(o->io, o->store, opts->backends, &o->refill);
}

enum kr_err kr_origin_open(const struct kr_origin_opts *opts,
			   struct kr_origin **ret)
{
	struct kr_origin *o = calloc(1, sizeof(*o));
	enum kr_err err;

	if (o == NULL)
		return KR_E_NOMEM;
	o->io = opts->io;
	o->store = opts->store;
	o->backends = opts->backends;
	o->self = opts->self;
	o->server_opts = (struct kr_rpc_server_opts){
		.listen = opts->listen,
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.ctx = o,
		.connections_max = opts->connections_max,
		/* More than a client has in flight (rpc.h, calls_max): else
		 * ingests that take long would keep origin.info, and with it
		 * our health, from being read. */
		.requests_max = 1024 + 64,
	};
	kr_list_init(&o->ingests);
	o->ingest_ok = kr_metrics_counter("kraken_ingest_total", "pushed blobs",
					  "result=\"ok\"");
	o->ingest_failed = kr_metrics_counter(
		"kraken_ingest_total", "pushed blobs", "result=\"failed\"");
	err = open_parts(o, opts);
	if (err != KR_OK) {
		kr_origin_close(o);
		return err;
	}
	*ret = o;
	return KR_OK;
}

enum kr_err kr_origin_start(struct kr_origin *o, struct kr_transfer *t)
{
	o->transfer = t;
	return kr_rpc_server_open(o->io, &o->server_opts, &o->server);
}

/* Ingests that wait for bytes end now; what a job works on ends by itself. */
static void cancel_ingests(struct kr_origin *o)
{
	kr_list_for_each_safe(at, &o->ingests)
	{
		struct ingest *in = KR_CONTAINER_OF(at, struct ingest, link);
		if (!in->waiting)
			continue;
		kr_blob_wait_cancel(&in->wait);
		end_ingest(in, KR_E_UNAVAILABLE, closing_text);
	}
}

void kr_origin_close(struct kr_origin *o)
{
	o->closing = true;
	cancel_ingests(o);
	if (o->refill != NULL)
		kr_refill_close(o->refill);
	while (o->busy > 0)
		kr_io_turn(o->io);
	if (o->server != NULL)
		kr_rpc_server_close(o->server);
	if (o->writeback != NULL)
		kr_writeback_close(o->writeback);
	if (o->db != NULL)
		kr_db_close(o->db);
	free(o);
}
