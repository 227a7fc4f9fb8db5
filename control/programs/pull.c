#include "control/programs/pull.h"

#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "core/hash.h"
#include "core/list.h"
#include "core/log.h"

enum {
	RANK_FIRST = 0, /* manifests and small blobs: configs */
	RANK_LAYER = 1,
	SMALL_BYTES = 1024 * 1024,
};

/* The registry's handle of an open blob.  An empty blob has no kr_blob. */
struct kr_reg_blob {
	struct kr_blob *blob;
	uint64_t size_bytes;
};

/* What works on one call. */
struct work {
	struct kr_desk_job job;
	struct kr_pull *p;
	struct kr_reg_call *call;
	enum {
		AT_REST,
		LOCATING,
		PAUSING,
		WAITING,
		READING,
		SENDING,
		LISTENING
	} phase;
	bool canceled;
	union {
		struct kr_locate locate;
		struct kr_indexes_ask indexes;
	} ask;
	struct kr_blob *blob;
	struct kr_blob_wait wait;
	struct kr_blob_send send;
	struct kr_op read;
	struct kr_timer stall;
	uint64_t seen_bytes;
	uint64_t give_up_ns; /* 0: nobody asked for patience yet */
	uint8_t *buf;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	kr_io_timer_stop(w->p->io, &w->stall);
	if (w->blob != NULL)
		kr_blob_put(w->blob);
	free(w->buf);
	kr_desk_end(&w->job, w->canceled ? KR_E_CANCELED : err, text);
	free(w);
}

static void cancel_work(struct kr_desk_job *job);

static struct work *begin(struct kr_pull *p, struct kr_reg_call *call)
{
	struct work *w = kr_desk_work(call, sizeof(*w), cancel_work);

	if (w == NULL)
		return NULL;
	w->p = p;
	w->call = call;
	return w;
}

/* ---- where a blob is ----------------------------------------------------*/

static void located(struct kr_locate *l, enum kr_err err,
		    struct kr_bytes metainfo, const char *text);

static void locate(struct work *w)
{
	struct kr_reg_call *call = w->call;

	w->phase = LOCATING;
	kr_locate(&w->ask.locate, w->p->trackers, w->p->origins, call->repo,
		  &call->digest, located);
}

static void ask_again(struct kr_timer *t)
{
	locate(KR_CONTAINER_OF(t, struct work, stall));
}

/* The blob is on its way from a storage backend to an origin. */
static void pause_asking(struct work *w, const char *text)
{
	const uint64_t now = kr_io_now_ns(w->p->io);

	if (w->give_up_ns == 0)
		w->give_up_ns = now + KR_PULL_REFILL_NS;
	if (now >= w->give_up_ns) {
		end(w, KR_E_UNAVAILABLE, text);
		return;
	}
	w->phase = PAUSING;
	kr_io_timer_set(w->p->io, &w->stall, now + KR_PULL_ASK_AGAIN_NS,
			ask_again);
}

static void have_blob(struct work *w, struct kr_blob *b, uint64_t size);

/* Most likely the digest of a layer: it is not fetched to find that out. */
static const char too_large[] =
	"larger than a manifest may be (limits.manifest)";

static bool is_too_large(const struct work *w, uint64_t size)
{
	return w->call->op == KR_REG_MANIFEST_GET &&
	       size > w->p->manifest_bytes_max;
}

/* The metainfo is here: begin (or join) the download, or just tell the size. */
static void located(struct kr_locate *l, enum kr_err err,
		    struct kr_bytes metainfo, const char *text)
{
	struct work *w = KR_CONTAINER_OF(l, struct work, ask.locate);
	struct kr_reg_call *call = w->call;
	struct kr_metainfo m;
	struct kr_blob *b = NULL;

	w->phase = AT_REST;
	if (err == KR_E_BUSY && !w->p->impatient) {
		pause_asking(w, text);
		return;
	}
	if (err == KR_OK)
		err = kr_metainfo_decode_of(kr_alloc_heap(), &call->digest,
					    metainfo.ptr, metainfo.len, &m);
	if (err != KR_OK) {
		end(w, err,
		    err == KR_E_CORRUPT ? "metainfo of another blob" : text);
		return;
	}
	if (call->op == KR_REG_BLOB_STAT)
		call->size = m.size_bytes;
	else if (m.size_bytes > 0 && !is_too_large(w, m.size_bytes))
		err = kr_transfer_fetch(
			w->p->transfer, call->repo, &m,
			m.size_bytes <= SMALL_BYTES ? RANK_FIRST : RANK_LAYER,
			&b);
	const uint64_t size = m.size_bytes;
	kr_metainfo_fini(kr_alloc_heap(), &m);
	if (err != KR_OK || call->op == KR_REG_BLOB_STAT)
		end(w, err, kr_err_text(err));
	else
		have_blob(w, b, size);
}

/* Somebody pulls a blob that is complete here: peers may still have use for
 * it, too. */
static void note_use(struct kr_pull *p, struct kr_blob *b)
{
	if (p->trackers != NULL && kr_blob_size_bytes(b) > 0)
		kr_trackers_used(p->trackers, b);
}

/* Join what is here or on its way; else find out where it is. */
static void find_blob(struct work *w)
{
	struct kr_blob *b;
	const enum kr_err err =
		kr_transfer_open_blob(w->p->transfer, &w->call->digest, &b);

	if (err == KR_OK) {
		if (kr_blob_complete(b))
			note_use(w->p, b);
		have_blob(w, b, kr_blob_size_bytes(b));
	} else if (err == KR_E_NOTFOUND)
		locate(w);
	else
		end(w, err, NULL);
}

/* ---- BLOB_OPEN, BLOB_CLOSE, BLOB_STAT -----------------------------------*/

static void give_handle(struct work *w, struct kr_blob *b, uint64_t size)
{
	struct kr_reg_blob *handle = malloc(sizeof(*handle));

	w->blob = b;
	if (handle == NULL) {
		end(w, KR_E_NOMEM, NULL);
		return;
	}
	handle->blob = b != NULL ? kr_blob_get(b) : NULL;
	handle->size_bytes = size;
	w->call->blob = handle;
	w->call->size = size;
	end(w, KR_OK, NULL);
}

static void blob_has_room(struct kr_blob_wait *wait, enum kr_err err)
{
	struct work *w = KR_CONTAINER_OF(wait, struct work, wait);
	struct kr_blob *b = w->blob;

	w->phase = AT_REST;
	if (err != KR_OK)
		end(w, err,
		    err == KR_E_NOSPC ? "no room for the blob on the disk of "
					"this host"
				      : kr_err_text(err));
	else
		give_handle(w, b, kr_blob_size_bytes(b));
}

/* The head of a response promises the body: not before there is room for it,
 * else a full disk looks like a broken connection. */
static void wait_room(struct work *w, struct kr_blob *b)
{
	w->blob = b;
	w->phase = WAITING;
	kr_blob_wait_room(b, &w->wait, blob_has_room);
}

static void on_open(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct work *w = begin(p, call);

	if (w != NULL)
		find_blob(w);
}

static void on_close(void *ctx, struct kr_reg_call *call)
{
	struct kr_reg_blob *handle = call->blob;

	(void)ctx;
	if (handle->blob != NULL)
		kr_blob_put(handle->blob);
	free(handle);
	call->blob = NULL;
	kr_desk_refuse(call, KR_OK, NULL);
}

static void on_stat(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct kr_blob *b;

	if (kr_transfer_open_blob(p->transfer, &call->digest, &b) == KR_OK) {
		call->size = kr_blob_size_bytes(b);
		kr_blob_put(b);
		kr_desk_refuse(call, KR_OK, NULL);
		return;
	}
	struct work *w = begin(p, call);
	if (w != NULL)
		locate(w);
}

/* ---- TAG_GET ------------------------------------------------------------*/

static void tag_found(struct kr_indexes_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask.indexes);

	w->phase = AT_REST;
	if (err == KR_OK)
		err = kr_index_msg_digest_decode(result, &w->call->digest);
	end(w, err, text);
}

static void on_tag(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct work *w = begin(p, call);

	if (w == NULL)
		return;
	w->job.cancel = NULL; /* it has a deadline of seconds */
	kr_indexes_get(p->indexes, &w->ask.indexes, call->repo, call->tag,
		       tag_found);
}

/* ---- MANIFEST_GET -------------------------------------------------------*/

static void manifest_read(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct work *w = KR_CONTAINER_OF(op, struct work, read);
	struct kr_digest got;
	struct kr_hash h;

	w->phase = AT_REST;
	if (w->canceled)
		err = KR_E_CANCELED; /* nobody takes the bytes */
	if (err == KR_OK && n != kr_blob_size_bytes(w->blob))
		err = KR_E_CORRUPT;
	if (err == KR_OK)
		err = kr_hash_init(&h, (enum kr_digest_alg)w->call->digest.alg);
	if (err != KR_OK) {
		end(w, err, NULL);
		return;
	}
	kr_hash_update(&h, w->buf, n);
	kr_hash_final(&h, &got);
	if (!kr_digest_equal(&got, &w->call->digest)) {
		kr_log_error("pull", "a stored manifest is damaged",
			     KR_DIGEST("digest", &w->call->digest));
		end(w, KR_E_CORRUPT, "the stored manifest is damaged");
		return;
	}
	w->call->bytes = w->buf;
	w->call->len = n;
	w->buf = NULL; /* moved to the call */
	end(w, KR_OK, NULL);
}

static void read_manifest(struct work *w)
{
	const uint64_t size = kr_blob_size_bytes(w->blob);

	w->buf = malloc(size);
	if (w->buf == NULL) {
		end(w, KR_E_NOMEM, NULL);
		return;
	}
	w->phase = READING;
	kr_blob_read(w->blob, &w->read, w->buf, (uint32_t)size, 0,
		     manifest_read);
}

static void read_range(struct work *w);

static void blob_whole(struct kr_blob_wait *wait, enum kr_err err)
{
	struct work *w = KR_CONTAINER_OF(wait, struct work, wait);

	w->phase = AT_REST;
	kr_io_timer_stop(w->p->io, &w->stall);
	if (err != KR_OK)
		end(w, err, kr_err_text(err));
	else if (w->call->op == KR_REG_MANIFEST_GET)
		read_manifest(w);
	else
		read_range(w);
}

/* What came in, and went out by us. */
static uint64_t moved_bytes(const struct work *w)
{
	struct kr_blob_progress progress;

	kr_blob_progress(w->blob, &progress);
	return progress.verified_bytes + w->send.moved_bytes;
}

/* Look again after KR_PULL_STALL_NS whether anything has moved. */
static void watch(struct work *w, void (*check)(struct kr_timer *))
{
	w->seen_bytes = moved_bytes(w);
	kr_io_timer_set(w->p->io, &w->stall,
			kr_io_now_ns(w->p->io) + KR_PULL_STALL_NS, check);
}

/* A download that stands still must not keep its clients for ever. */
static void check_wait(struct kr_timer *t)
{
	struct work *w = KR_CONTAINER_OF(t, struct work, stall);

	if (moved_bytes(w) != w->seen_bytes) {
		watch(w, check_wait);
		return;
	}
	kr_blob_wait_cancel(&w->wait);
	end(w, KR_E_TIMEDOUT, "no peer sent a byte of the blob");
}

static void wait_whole(struct work *w)
{
	w->phase = WAITING;
	kr_blob_wait(w->blob, &w->wait, blob_whole);
	watch(w, check_wait);
}

static void have_blob(struct work *w, struct kr_blob *b, uint64_t size)
{
	if (w->call->op == KR_REG_BLOB_OPEN) {
		if (b == NULL || kr_blob_complete(b))
			give_handle(w, b, size);
		else
			wait_room(w, b);
		return;
	}
	w->blob = b;
	if (is_too_large(w, size)) {
		end(w, KR_E_NOTFOUND, too_large);
		return;
	}
	if (size == 0) {
		end(w, KR_E_NOTFOUND, "an empty blob is no manifest");
		return;
	}
	wait_whole(w);
}

static void on_manifest(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct work *w = begin(p, call);

	if (w != NULL)
		find_blob(w);
}

/* ---- BLOB_SEND, BLOB_READ -----------------------------------------------*/

static void sent(struct kr_blob_send *s, enum kr_err err, uint64_t moved)
{
	struct work *w = KR_CONTAINER_OF(s, struct work, send);

	w->phase = AT_REST;
	w->call->moved = moved;
	end(w, err, NULL);
}

static void check_send(struct kr_timer *t)
{
	struct work *w = KR_CONTAINER_OF(t, struct work, stall);
	struct kr_blob_progress progress;

	if (moved_bytes(w) != w->seen_bytes) {
		watch(w, check_send);
		return;
	}
	kr_blob_progress(w->blob, &progress);
	kr_log_warn("pull",
		    "giving up on a client or a download that stands still",
		    KR_DIGEST("digest", kr_blob_digest(w->blob)),
		    KR_U64("verified_bytes", progress.verified_bytes),
		    KR_U64("neighbours", progress.neighbours));
	kr_blob_send_cancel(&w->send);
}

/* @b is moved to @w. */
static void send_blob(struct work *w, struct kr_blob *b, kr_blob_send_fn *done)
{
	const struct kr_reg_call *call = w->call;
	const struct kr_blob_part part = {
		.head = { call->prefix, call->prefix_len },
		.offset_bytes = call->offset,
		.len_bytes = call->length,
		.open_ended = call->open_ended,
	};

	w->blob = b;
	w->phase = SENDING;
	watch(w, check_send);
	kr_blob_send(b, &w->send, call->fd, &part, done);
}

static void on_send(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct work *w;

	call->moved = 0;
	if (call->blob->blob == NULL || call->length == 0) {
		kr_desk_refuse(call, KR_OK, NULL);
		return;
	}
	w = begin(p, call);
	if (w != NULL)
		send_blob(w, kr_blob_get(call->blob->blob), sent);
}

/* ---- BLOB_SERVE ---------------------------------------------------------*/

static void serve(struct work *w);

static void heard(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct work *w = KR_CONTAINER_OF(op, struct work, read);
	const bool more =
		err == KR_OK && w->call->next(w->call, kr_io_data(op), n);

	w->phase = AT_REST;
	kr_io_timer_stop(w->p->io, &w->stall);
	if (more && !w->canceled)
		serve(w);
	else
		end(w, KR_OK, NULL);
}

static void on_silence(struct kr_timer *t)
{
	struct work *w = KR_CONTAINER_OF(t, struct work, stall);

	kr_io_cancel(w->p->io, &w->read);
}

/* The client's next request is likely for another blob. */
static void listen_on(struct work *w)
{
	struct kr_io *io = w->p->io;

	w->phase = LISTENING;
	kr_io_timer_set(io, &w->stall, kr_io_now_ns(io) + w->call->listen_ns,
			on_silence);
	kr_io_recv(io, &w->read, w->call->fd, heard);
}

static void served(struct kr_blob_send *s, enum kr_err err, uint64_t moved)
{
	struct work *w = KR_CONTAINER_OF(s, struct work, send);
	struct kr_reg_call *call = w->call;

	w->phase = AT_REST;
	call->moved = moved;
	call->begun = err != KR_OK || moved != call->length;
	if (call->begun || w->canceled || call->listen_ns == 0) {
		end(w, err, NULL);
		return;
	}
	kr_blob_put(w->blob);
	w->blob = NULL;
	listen_on(w);
}

/* What is not whole here is for BLOB_OPEN. */
static void serve(struct work *w)
{
	struct kr_reg_call *call = w->call;
	struct kr_blob *b;

	if (kr_transfer_open_blob(w->p->transfer, &call->digest, &b) != KR_OK) {
		end(w, KR_E_NOTFOUND, NULL);
		return;
	}
	if (!kr_blob_complete(b) ||
	    !call->answer(call, kr_blob_size_bytes(b))) {
		kr_blob_put(b);
		end(w, KR_E_NOTFOUND, NULL);
		return;
	}
	note_use(w->p, b);
	call->begun = true;
	send_blob(w, b, served);
}

static void on_serve(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		serve(w);
}

static void range_read(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct work *w = KR_CONTAINER_OF(op, struct work, read);

	w->phase = AT_REST;
	w->call->moved = n;
	end(w, err, NULL);
}

static void read_range(struct work *w)
{
	const uint64_t size = kr_blob_size_bytes(w->blob);
	struct kr_reg_call *call = w->call;
	uint64_t len = call->length;

	if (call->offset >= size) {
		call->moved = 0;
		end(w, KR_OK, NULL);
		return;
	}
	if (len > size - call->offset)
		len = size - call->offset;
	w->phase = READING;
	kr_blob_read(w->blob, &w->read, call->buf, (uint32_t)len, call->offset,
		     range_read);
}

static void on_read(void *ctx, struct kr_reg_call *call)
{
	struct kr_pull *p = ctx;
	struct work *w;

	call->moved = 0;
	if (call->blob->blob == NULL || call->length == 0) {
		kr_desk_refuse(call, KR_OK, NULL);
		return;
	}
	w = begin(p, call);
	if (w == NULL)
		return;
	w->blob = kr_blob_get(call->blob->blob);
	wait_whole(w);
}

/* ---- the client is gone -------------------------------------------------*/

static void cancel_work(struct kr_desk_job *job)
{
	struct work *w = KR_CONTAINER_OF(job, struct work, job);

	w->canceled = true;
	switch (w->phase) {
	case LOCATING:
		kr_locate_cancel(&w->ask.locate);
		end(w, KR_E_CANCELED, NULL);
		break;
	case PAUSING:
		end(w, KR_E_CANCELED, NULL);
		break;
	case WAITING:
		kr_blob_wait_cancel(&w->wait);
		end(w, KR_E_CANCELED, NULL);
		break;
	case SENDING:
		kr_blob_send_cancel(&w->send);
		break;
	case LISTENING:
		kr_io_cancel(w->p->io, &w->read);
		break;
	case READING: /* ends by itself */
	case AT_REST:
		break;
	}
}

void kr_pull_attach(struct kr_pull *p, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_TAG_GET, on_tag, p);
	kr_desk_handle(desk, KR_REG_MANIFEST_GET, on_manifest, p);
	kr_desk_handle(desk, KR_REG_BLOB_OPEN, on_open, p);
	kr_desk_handle(desk, KR_REG_BLOB_SEND, on_send, p);
	kr_desk_handle(desk, KR_REG_BLOB_READ, on_read, p);
	kr_desk_handle(desk, KR_REG_BLOB_CLOSE, on_close, p);
	if (p->trackers != NULL)
		kr_desk_handle(desk, KR_REG_BLOB_STAT, on_stat, p);
}

void kr_pull_attach_serve(struct kr_pull *p, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_BLOB_SERVE, on_serve, p);
}
