#include "control/programs/uploads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "control/origin_msg.h"
#include "control/upload.h"
#include "core/list.h"
#include "core/log.h"
#include "core/metrics.h"

struct session {
	struct kr_list link;
	struct kr_uploads *all;
	char id[KR_UPLOAD_ID_LEN + 1];
	struct kr_upload *upload; /* NULL: being opened, or it is whole */
	struct kr_metainfo whole; /* of the blob, once it is in our store */
	bool is_whole, busy;
	uint64_t used_ns;
};

struct kr_uploads {
	struct kr_io *io;
	struct kr_store *store;
	struct kr_origins *origins;
	struct kr_pusher *pusher;
	struct kr_indexes *indexes;
	struct kr_list sessions;
	uint32_t session_count;
	uint64_t idle_ns;
	struct kr_timer timer;
	struct kr_job expiry;
	bool is_expiring;
	struct kr_metric *received;
};

/* What works on one call. */
struct work {
	struct kr_desk_job job;
	struct kr_uploads *all;
	struct kr_reg_call *call;
	struct session *s;
	struct kr_origins_ask ask;
	struct kr_indexes_ask index;
	struct kr_push *push; /* while it waits for one */
	bool canceled;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	if (w->s != NULL) {
		w->s->busy = false;
		w->s->used_ns = kr_io_now_ns(w->all->io);
	}
	kr_desk_end(&w->job, err, text);
	free(w);
}

static struct work *begin(struct kr_uploads *all, struct kr_reg_call *call,
			  kr_desk_cancel_fn *cancel)
{
	struct work *w = kr_desk_work(call, sizeof(*w), cancel);

	if (w == NULL)
		return NULL;
	w->all = all;
	w->call = call;
	return w;
}

/* ---- sessions -----------------------------------------------------------*/

static struct session *find_session(struct kr_uploads *all, const char *id)
{
	kr_list_for_each (at, &all->sessions) {
		struct session *s = KR_CONTAINER_OF(at, struct session, link);
		if (strcmp(s->id, id) == 0)
			return s;
	}
	return NULL;
}

/* Forget @s here; what is on disk stays. */
static void drop_session(struct session *s)
{
	if (s->upload != NULL)
		kr_upload_close(s->upload);
	if (s->is_whole)
		kr_metainfo_fini(kr_alloc_heap(), &s->whole);
	kr_list_del(&s->link);
	s->all->session_count--;
	free(s);
}

static void expire_run(struct kr_job *j)
{
	kr_store_expire_sessions(
		KR_CONTAINER_OF(j, struct kr_uploads, expiry)->store);
}

static void expire_done(struct kr_job *j)
{
	KR_CONTAINER_OF(j, struct kr_uploads, expiry)->is_expiring = false;
}

/* Sessions that are closed here expire on disk. */
static void close_idle(struct kr_timer *t)
{
	struct kr_uploads *all = KR_CONTAINER_OF(t, struct kr_uploads, timer);
	const uint64_t now = kr_io_now_ns(all->io);

	kr_list_for_each_safe(at, &all->sessions)
	{
		struct session *s = KR_CONTAINER_OF(at, struct session, link);
		if (!s->busy && now - s->used_ns >= all->idle_ns)
			drop_session(s);
	}
	kr_io_timer_set(all->io, &all->timer, now + all->idle_ns, close_idle);
	if (!all->is_expiring) {
		all->is_expiring = true;
		kr_io_work(all->io, &all->expiry, expire_run, expire_done);
	}
}

/* KR_E_LIMIT: all KR_UPLOADS_MAX are at work. */
static enum kr_err make_room(struct kr_uploads *all)
{
	if (all->session_count < KR_UPLOADS_MAX)
		return KR_OK;
	kr_list_for_each_safe(at, &all->sessions)
	{
		struct session *s = KR_CONTAINER_OF(at, struct session, link);
		if (!s->busy) {
			drop_session(s);
			return KR_OK;
		}
	}
	return KR_E_LIMIT;
}

static enum kr_err add_session(struct kr_uploads *all, const char *id,
			       struct session **ret)
{
	enum kr_err err = make_room(all);
	struct session *s;

	if (err != KR_OK)
		return err;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return KR_E_NOMEM;
	s->all = all;
	s->used_ns = kr_io_now_ns(all->io);
	(void)snprintf(s->id, sizeof(s->id), "%s", id);
	kr_list_add_tail(&all->sessions, &s->link);
	all->session_count++;
	*ret = s;
	return KR_OK;
}

/* ---- UPLOAD_OPEN --------------------------------------------------------*/

static void created(void *ctx, enum kr_err err, struct kr_upload *u)
{
	struct work *w = ctx;

	if (err == KR_OK)
		err = add_session(w->all, kr_upload_uuid(u), &w->s);
	if (err != KR_OK) {
		if (u != NULL)
			kr_upload_abort(u);
		end(w, err,
		    err == KR_E_NOSPC ? "no room for another upload" : NULL);
		return;
	}
	w->s->upload = u;
	memcpy(w->call->upload_id, w->s->id, sizeof(w->s->id));
	end(w, KR_OK, NULL);
}

static void on_create(void *ctx, struct kr_reg_call *call)
{
	struct kr_uploads *all = ctx;
	struct work *w = begin(all, call, NULL);
	enum kr_err err;

	if (w == NULL)
		return;
	err = kr_upload_create(all->io, all->store, w, created);
	if (err != KR_OK)
		end(w, err, NULL);
}

/* ---- what needs a session that exists -----------------------------------*/

static void act(struct work *w);

static void reopened(void *ctx, enum kr_err err, struct kr_upload *u)
{
	struct work *w = ctx;

	if (err != KR_OK) {
		struct session *s = w->s;
		w->s = NULL;
		drop_session(s);
		end(w, err == KR_E_INVALID ? KR_E_NOTFOUND : err,
		    "no such upload session");
		return;
	}
	w->s->upload = u;
	if (w->canceled)
		end(w, KR_E_CANCELED, NULL);
	else
		act(w);
}

static void cancel_work(struct kr_desk_job *job)
{
	struct work *w = KR_CONTAINER_OF(job, struct work, job);

	w->canceled = true;    /* what cannot be ended now ends before its next
			       step: a push may last for minutes */
	if (w->push != NULL) { /* the origins go on; the session stays */
		kr_push_abandon(w->push);
		end(w, KR_E_CANCELED, NULL);
	} else if (w->s != NULL && w->s->upload != NULL) {
		kr_upload_cancel(w->s->upload);
	}
}

/* One request at a time works on a session; what stands there may be asked
 * meanwhile, so that a client can go on where a connection of it broke that
 * we still take for alive. */
static void answer_busy(struct work *w, const struct session *s)
{
	if (w->call->op != KR_REG_UPLOAD_STAT ||
	    (s->upload == NULL && !s->is_whole)) {
		end(w, KR_E_BUSY, "another request works on this session");
		return;
	}
	w->call->size =
		s->is_whole ? s->whole.size_bytes : kr_upload_size(s->upload);
	end(w, KR_OK, NULL);
}

/* Handler of every op on an existing session: find it, maybe on disk. */
static void on_session(void *ctx, struct kr_reg_call *call)
{
	struct kr_uploads *all = ctx;
	struct work *w = begin(all, call, cancel_work);
	struct session *s;
	enum kr_err err;

	if (w == NULL)
		return;
	s = find_session(all, call->upload_id);
	if (s != NULL && s->busy) {
		answer_busy(w, s);
		return;
	}
	if (s != NULL) {
		s->busy = true;
		w->s = s;
		act(w);
		return;
	}
	err = add_session(all, call->upload_id, &s);
	if (err != KR_OK) {
		end(w, err, NULL);
		return;
	}
	s->busy = true;
	w->s = s;
	err = kr_upload_open(all->io, all->store, s->id, w, reopened);
	if (err != KR_OK)
		reopened(w, err, NULL);
}

static void received(void *ctx, enum kr_err err,
		     const struct kr_upload_got *got)
{
	struct work *w = ctx;
	struct kr_reg_call *call = w->call;

	call->moved = got->moved_bytes;
	call->size = kr_upload_size(w->s->upload);
	call->surplus = NULL;
	call->surplus_len = 0;
	kr_metric_add(w->all->received, got->moved_bytes);
	if (err == KR_OK && got->surplus_len > 0) {
		call->surplus = malloc(got->surplus_len);
		if (call->surplus == NULL) {
			end(w, KR_E_NOMEM, NULL);
			return;
		}
		memcpy(call->surplus, got->surplus, got->surplus_len);
		call->surplus_len = got->surplus_len;
	}
	end(w, err, err == KR_E_NOSPC ? "the proxy's disk is full" : NULL);
}

static void receive(struct work *w)
{
	struct kr_reg_call *call = w->call;
	struct kr_upload *u = w->s->upload;
	enum kr_err err;

	call->size = kr_upload_size(u);
	if (call->offset != UINT64_MAX && call->offset != call->size) {
		end(w, KR_E_RANGE, "not where the upload stands");
		return;
	}
	if (call->op == KR_REG_UPLOAD_APPEND) {
		err = kr_upload_append(u, call->bytes, call->len, w, received);
	} else {
		const struct kr_upload_body body = {
			.fd = call->fd,
			.chunked = call->chunked,
			.length_bytes = call->length,
			.prefix = call->prefix,
			.prefix_len = call->prefix_len,
		};
		err = kr_upload_recv(u, &body, w, received);
	}
	if (err != KR_OK)
		end(w, err, NULL);
}

/* Without this the repository might still hold that the blob was deleted. */
static void record(struct work *w, kr_indexes_ask_fn *done)
{
	const struct kr_bytes nothing = { NULL, 0 };

	if (w->all->indexes == NULL) { /* an origin: it knows of none */
		done(&w->index, KR_OK, nothing, NULL);
		return;
	}
	kr_indexes_put_blob(w->all->indexes, &w->index, w->call->repo,
			    &w->call->digest, done);
}

static void recorded(struct kr_indexes_ask *a, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, index);
	struct session *s = w->s;

	(void)result;
	if (err == KR_OK) { /* the session has done its duty */
		w->s = NULL;
		drop_session(s);
	}
	end(w, err, text);
}

static void pushed(void *ctx, enum kr_err err, const char *text)
{
	struct work *w = ctx;

	w->push = NULL;
	if (err != KR_OK)
		end(w, err, text);
	else
		record(w, recorded);
}

static void push_whole(struct work *w)
{
	const enum kr_err err =
		kr_push_start(w->all->pusher, w->call->repo, &w->s->whole, w,
			      pushed, &w->push);

	if (err != KR_OK)
		end(w, err, NULL);
}

static void finished(void *ctx, enum kr_err err, struct kr_metainfo *m)
{
	struct work *w = ctx;
	struct session *s = w->s;

	if (err == KR_E_DIGEST) { /* the bytes are of no use to anybody */
		kr_upload_abort(s->upload);
		s->upload = NULL;
		w->s = NULL;
		drop_session(s);
	}
	if (err != KR_OK) {
		end(w, err,
		    err == KR_E_DIGEST ? "the bytes are another blob" : NULL);
		return;
	}
	s->upload = NULL;
	s->whole = *m;
	s->is_whole = true;
	if (w->canceled)
		end(w, KR_E_CANCELED, NULL);
	else
		push_whole(w);
}

static void commit(struct work *w)
{
	struct session *s = w->s;
	enum kr_err err;

	if (s->is_whole &&
	    kr_digest_equal(&s->whole.digest, &w->call->digest)) {
		push_whole(w);
		return;
	}
	if (s->is_whole) {
		end(w, KR_E_DIGEST, "the session became another blob");
		return;
	}
	err = kr_upload_finish(s->upload, &w->call->digest, w, finished);
	if (err != KR_OK)
		end(w, err, NULL);
}

static void discard(struct work *w)
{
	struct session *s = w->s;

	if (s->upload != NULL)
		kr_upload_abort(s->upload);
	s->upload = NULL;
	w->s = NULL;
	drop_session(s);
	end(w, KR_OK, NULL);
}

/* The session is open and ours: do what the call asks. */
static void act(struct work *w)
{
	const enum kr_reg_op op = w->call->op;

	if (op == KR_REG_UPLOAD_COMMIT) {
		commit(w);
	} else if (op == KR_REG_UPLOAD_CANCEL) {
		discard(w);
	} else if (w->s->is_whole) {
		w->call->size = w->s->whole.size_bytes;
		end(w, op == KR_REG_UPLOAD_STAT ? KR_OK : KR_E_RANGE,
		    "the upload is whole already");
	} else if (op == KR_REG_UPLOAD_STAT) {
		w->call->size = kr_upload_size(w->s->upload);
		end(w, KR_OK, NULL);
	} else {
		receive(w);
	}
}

/* ---- BLOB_STAT: do the origins have it? ---------------------------------*/

static void stat_done(struct kr_origins_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);

	if (err == KR_OK)
		err = kr_origin_msg_stat_decode(result, &w->call->size);
	end(w, err, text);
}

static void on_stat(void *ctx, struct kr_reg_call *call)
{
	struct kr_uploads *all = ctx;
	struct work *w;

	if (call->local) {
		kr_desk_refuse(
			call,
			kr_store_stat(all->store, &call->digest, &call->size),
			NULL);
		return;
	}
	w = begin(all, call, NULL);
	if (w != NULL)
		kr_origins_stat(all->origins, &w->ask, call->repo,
				&call->digest, stat_done);
}

/* ---- BLOB_MOUNT: from where it is, pushed into another repository -------*/

static void mount_recorded(struct kr_indexes_ask *a, enum kr_err err,
			   struct kr_bytes result, const char *text)
{
	(void)result;
	end(KR_CONTAINER_OF(a, struct work, index), err, text);
}

static void mounted(void *ctx, enum kr_err err, const char *text)
{
	struct work *w = ctx;

	w->push = NULL;
	if (err != KR_OK)
		end(w, err, text);
	else
		record(w, mount_recorded);
}

static void mount_found(struct kr_origins_ask *a, enum kr_err err,
			struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);
	struct kr_metainfo m;

	if (w->canceled)
		err = KR_E_CANCELED;
	if (err == KR_OK)
		err = kr_origins_metainfo_read(result, &w->call->digest, &m,
					       &text);
	if (err == KR_OK) {
		err = kr_push_start(w->all->pusher, w->call->repo, &m, w,
				    mounted, &w->push);
		kr_metainfo_fini(kr_alloc_heap(), &m);
	}
	if (err != KR_OK)
		end(w, err, text);
}

static void find_source(struct work *w)
{
	struct kr_reg_call *call = w->call;

	kr_origins_metainfo(w->all->origins, &w->ask,
			    call->from_repo[0] != '\0' ? call->from_repo
						       : call->repo,
			    &call->digest, mount_found);
}

/* What was deleted from the source is not mounted from there; of what the
 * index does not know the origins decide. */
static void source_known(struct kr_indexes_ask *a, enum kr_err err,
			 struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, index);
	bool deleted = false;

	(void)text;
	if (err == KR_OK)
		err = kr_index_msg_deleted_decode(result, &deleted);
	if (w->canceled)
		end(w, KR_E_CANCELED, NULL);
	else if (err == KR_OK && deleted)
		end(w, KR_E_NOTFOUND, NULL);
	else
		find_source(w);
}

static void on_mount(void *ctx, struct kr_reg_call *call)
{
	struct kr_uploads *all = ctx;
	struct work *w = begin(all, call, cancel_work);

	if (w == NULL)
		return;
	if (call->from_repo[0] == '\0')
		find_source(w);
	else
		kr_indexes_find_object(all->indexes, &w->index, KR_INDEX_BLOB,
				       call->from_repo, &call->digest,
				       source_known);
}

/* ---- life ---------------------------------------------------------------*/

void kr_uploads_attach(struct kr_uploads *u, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_UPLOAD_OPEN, on_create, u);
	kr_desk_handle(desk, KR_REG_UPLOAD_STAT, on_session, u);
	kr_desk_handle(desk, KR_REG_UPLOAD_RECV, on_session, u);
	kr_desk_handle(desk, KR_REG_UPLOAD_APPEND, on_session, u);
	kr_desk_handle(desk, KR_REG_UPLOAD_COMMIT, on_session, u);
	kr_desk_handle(desk, KR_REG_UPLOAD_CANCEL, on_session, u);
	kr_desk_handle(desk, KR_REG_BLOB_STAT, on_stat, u);
	kr_desk_handle(desk, KR_REG_BLOB_MOUNT, on_mount, u);
}

enum kr_err kr_uploads_open(const struct kr_uploads_opts *opts,
			    struct kr_uploads **ret)
{
	struct kr_uploads *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return KR_E_NOMEM;
	u->io = opts->io;
	u->store = opts->store;
	u->origins = opts->origins;
	u->pusher = opts->pusher;
	u->indexes = opts->indexes;
	u->idle_ns = opts->ttl_ns < KR_UPLOADS_IDLE_NS ? opts->ttl_ns
						       : KR_UPLOADS_IDLE_NS;
	kr_list_init(&u->sessions);
	kr_io_timer_set(u->io, &u->timer, kr_io_now_ns(u->io) + u->idle_ns,
			close_idle);
	u->received = kr_metrics_counter("kraken_upload_received_bytes_total",
					 "bytes of upload bodies", NULL);
	*ret = u;
	return KR_OK;
}

void kr_uploads_close(struct kr_uploads *u)
{
	kr_io_timer_stop(u->io, &u->timer);
	while (u->is_expiring)
		kr_io_turn(u->io);
	while (!kr_list_empty(&u->sessions))
		drop_session(KR_CONTAINER_OF(u->sessions.next, struct session,
					     link));
	free(u);
}
