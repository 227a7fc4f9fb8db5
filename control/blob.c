/* A blob of the transfer driver: references, the table, waiters, its end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/transfer_internal.h"
#include "core/alloc.h"
#include "core/log.h"
#include "peerwire/msg.h"

/* ---- memory */

struct kr_blob *kr_blob_make(struct kr_transfer *t, const struct kr_digest *d,
			     const char *ns, uint64_t size_bytes)
{
	struct kr_blob *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->t = t;
	b->digest = *d;
	b->size_bytes = size_bytes;
	b->fd = -1;
	b->keep = true;
	b->holds = 1; /* the caller's */
	strncpy(b->ns, ns, KR_NAMESPACE_MAX);
	kr_list_init(&b->notice);
	kr_list_init(&b->lookups);
	kr_list_init(&b->pieces);
	kr_list_init(&b->waits);
	kr_list_init(&b->sends);
	kr_list_add_tail(&t->all_blobs, &b->link);
	return b;
}

static void close_files(struct kr_blob *b)
{
	if (b->partial != NULL)
		kr_store_partial_close(b->partial, b->keep);
	b->partial = NULL;
	if (b->stored != NULL)
		kr_store_blob_close(b->stored);
	b->stored = NULL;
	if (b->t != NULL && b->fd >= 0)
		kr_io_file_closes(b->t->io, b->fd);
	if (b->lease != NULL)
		b->t->lender->give_back(b->t->lender->ctx, b->lease);
	else if (b->fd >= 0)
		close(b->fd);
	b->lease = NULL;
	b->fd = -1;
}

static void free_blob(struct kr_blob *b)
{
	kr_assert(kr_list_empty(&b->pieces) && kr_list_empty(&b->waits) &&
		  kr_list_empty(&b->sends) && kr_list_empty(&b->lookups) &&
		  b->jobs == 0 && !b->in_node && !b->is_listed);
	if (b->t != NULL) {
		kr_io_timer_stop(b->t->io, &b->timer);
		kr_list_del(&b->link);
	}
	close_files(b);
	kr_metainfo_fini(kr_alloc_heap(), &b->meta);
	free(b->have.words);
	free(b->hints);
	free(b);
}

void kr_blob_hold(struct kr_blob *b)
{
	b->holds++;
}

void kr_blob_drop(struct kr_blob *b)
{
	kr_assert(b->holds > 0);
	if (--b->holds == 0)
		free_blob(b);
}

/* ---- tables */

struct kr_blob *kr_blob_find(struct kr_transfer *t, const struct kr_digest *d)
{
	return kr_digest_map_get(&t->blobs, d);
}

struct kr_blob *kr_blob_of_handle(struct kr_transfer *t, uint32_t handle)
{
	return kr_u64_map_get(&t->handles, handle);
}

enum kr_err kr_blob_list(struct kr_blob *b)
{
	const enum kr_err err = kr_digest_map_put(&b->t->blobs, &b->digest, b);

	if (err != KR_OK)
		return err;
	b->is_listed = true;
	kr_blob_hold(b);
	return KR_OK;
}

static void unlist(struct kr_blob *b)
{
	if (!b->is_listed)
		return;
	b->is_listed = false;
	kr_digest_map_del(&b->t->blobs, &b->digest);
	kr_blob_drop(b);
}

static void leave_node(struct kr_blob *b)
{
	struct kr_transfer *t = b->t;
	struct kr_blob_stats s;

	if (!b->in_node)
		return;
	kr_node_blob_stats(t->node, b->handle, &s);
	memcpy(b->from_bytes, s.bytes_from, sizeof(b->from_bytes));
	b->in_node = false;
	kr_u64_map_del(&t->handles, b->handle);
	kr_node_blob_remove(t->node, kr_transfer_now(t), b->handle);
	kr_transfer_pump(t);
}

/* Complete, asked for by no user: the peers' business only. */
static bool is_only_seeded(const struct kr_blob *b)
{
	return b->in_node && b->refs == 0 && b->state == KR_BLOB_COMPLETE;
}

/*
 * The node is full: a blob that nobody downloads from us makes way, or else
 * the one that has been here longest.  Its peers may ask for it again, which
 * is better than to refuse one that is wanted now.
 */
static void make_way(struct kr_transfer *t)
{
	struct kr_blob *oldest = NULL;

	kr_list_for_each (it, &t->all_blobs) {
		struct kr_blob *b = KR_CONTAINER_OF(it, struct kr_blob, link);
		struct kr_blob_stats s;

		if (!is_only_seeded(b))
			continue;
		kr_node_blob_stats(t->node, b->handle, &s);
		if (oldest == NULL || s.neighbours == 0)
			oldest = b;
		if (s.neighbours == 0)
			break;
	}
	if (oldest != NULL)
		kr_blob_fail(oldest, KR_E_CANCELED, true);
}

static struct kr_blob *find_idle(struct kr_transfer *t)
{
	kr_list_for_each (it, &t->all_blobs) {
		struct kr_blob *b = KR_CONTAINER_OF(it, struct kr_blob, link);

		if (b->refs == 0 && b->is_listed &&
		    b->state == KR_BLOB_COMPLETE)
			return b;
	}
	return NULL;
}

void kr_blobs_let_go(struct kr_transfer *t)
{
	struct kr_blob *b;

	while ((b = find_idle(t)) != NULL)
		kr_blob_fail(b, KR_E_CANCELED, true);
}

struct kr_blob *kr_transfer_find(struct kr_transfer *t,
				 const struct kr_digest *d)
{
	return kr_blob_find(t, d);
}

void kr_transfer_let_go(struct kr_transfer *t)
{
	kr_blobs_let_go(t);
}

static enum kr_err add_to_node(struct kr_blob *b, uint32_t lookup)
{
	struct kr_transfer *t = b->t;
	const bool complete = b->state == KR_BLOB_COMPLETE;
	struct kr_blob_opts o = {
		.digest = b->digest,
		.ns = b->ns,
		.size_bytes = b->size_bytes,
		.piece_bytes = b->meta.piece_bytes,
		.complete = complete,
		.have_words = complete ? NULL : b->have.words,
		.lookup = lookup,
		.rank = b->rank,
	};

	memcpy(o.metainfo_id, b->meta.id, sizeof(o.metainfo_id));
	enum kr_err err =
		kr_node_blob_add(t->node, kr_transfer_now(t), &o, &b->handle);

	if (err == KR_OK) {
		b->in_node = true;
		err = kr_u64_map_put(&t->handles, b->handle, b);
	}
	kr_transfer_pump(t);
	if (err != KR_OK)
		leave_node(b);
	return err;
}

enum kr_err kr_blob_join(struct kr_blob *b, uint32_t lookup)
{
	struct kr_transfer *t = b->t;
	/* Asked before: with KR_E_LIMIT the lookup is answered already. */
	if (kr_u64_map_count(&t->handles) >= t->policy.blobs_max)
		make_way(t);
	const enum kr_err err = add_to_node(b, lookup);

	if (err != KR_OK)
		return err;
	if (b->hint_count > 0)
		kr_node_blob_peers(t->node, kr_transfer_now(t), b->handle,
				   b->hints, b->hint_count);
	free(b->hints);
	b->hints = NULL;
	b->hint_count = 0;
	kr_transfer_pump(t);
	return KR_OK;
}

/* ---- the end */

void kr_blob_count(struct kr_blob *b, bool on)
{
	const struct kr_transfer_metrics *m = &b->t->metrics;

	if (b->is_counted == on)
		return;
	b->is_counted = on;
	if (on) {
		b->t->downloads++;
		kr_metric_add(m->downloads, 1);
		kr_metric_add(m->download_bytes, b->size_bytes);
		kr_metric_add(m->download_verified, b->verified_bytes);
	} else {
		b->t->downloads--;
		kr_metric_sub(m->downloads, 1);
		kr_metric_sub(m->download_bytes, b->size_bytes);
		kr_metric_sub(m->download_verified, b->verified_bytes);
	}
}

void kr_blob_notice(struct kr_blob *b)
{
	if (!kr_list_empty(&b->notice))
		return;
	kr_blob_hold(b);
	kr_list_add_tail(&b->t->notices, &b->notice);
	kr_transfer_call_back(b->t);
}

static void wake(struct kr_blob_wait *w, enum kr_err err)
{
	struct kr_transfer *t = w->blob->t;

	kr_list_del(&w->link);
	w->err = err;
	kr_list_add_tail(&t->due_waits, &w->link);
	kr_transfer_call_back(t);
}

void kr_blob_wake(struct kr_blob *b, enum kr_err err)
{
	kr_list_for_each_safe(it, &b->waits)
		wake(KR_CONTAINER_OF(it, struct kr_blob_wait, link), err);
}

void kr_blob_wake_room(struct kr_blob *b)
{
	kr_list_for_each_safe(it, &b->waits)
	{
		struct kr_blob_wait *w =
			KR_CONTAINER_OF(it, struct kr_blob_wait, link);

		if (w->room_will_do)
			wake(w, KR_OK);
	}
}

static void close_partial_if_over(struct kr_blob *b)
{
	if (b->jobs > 0 || b->state != KR_BLOB_FAILED || b->partial == NULL)
		return;
	kr_store_partial_close(b->partial, b->keep);
	b->partial = NULL;
}

void kr_blob_job_begin(struct kr_blob *b)
{
	kr_blob_hold(b);
	b->jobs++;
}

void kr_blob_job_over(struct kr_blob *b)
{
	kr_assert(b->jobs > 0);
	b->jobs--;
	close_partial_if_over(b);
	kr_blob_drop(b);
}

void kr_blob_fail(struct kr_blob *b, enum kr_err why, bool keep)
{
	struct kr_transfer *t = b->t;
	const bool was_open = b->state == KR_BLOB_COMPLETE;

	kr_assert(b->state != KR_BLOB_FAILED);
	kr_blob_hold(b);
	kr_blob_count(b, false);
	b->state = KR_BLOB_FAILED;
	b->why = why;
	b->keep = keep;
	kr_io_timer_stop(t->io, &b->timer);
	kr_file_hash_cancel(&b->full);
	leave_node(b);
	kr_transfer_answer_all(b);
	kr_blob_drop_pieces(b);
	kr_blob_wake(b, why);
	if (!was_open)
		kr_blob_sends_fail(b, why);
	b->is_changed = true;
	kr_blob_notice(b);
	unlist(b);
	close_partial_if_over(b);
	kr_blob_drop(b);
}

/* ---- references */

static void on_linger(struct kr_timer *timer)
{
	struct kr_blob *b = KR_CONTAINER_OF(timer, struct kr_blob, timer);
	struct kr_blob_stats s = { 0 };

	if (b->refs > 0 || b->state == KR_BLOB_FAILED)
		return;
	if (b->in_node && b->state == KR_BLOB_COMPLETE)
		kr_node_blob_stats(b->t->node, b->handle, &s);
	if (b->state == KR_BLOB_COMMITTING || s.neighbours > 0)
		kr_blob_linger(b);
	else
		kr_blob_fail(b, KR_E_CANCELED, true);
}

void kr_blob_linger(struct kr_blob *b)
{
	/* While it is being opened the timer is for the next try. */
	if (b->refs > 0 || !b->is_listed || b->state == KR_BLOB_OPENING)
		return;
	kr_io_timer_set(b->t->io, &b->timer,
			kr_transfer_now(b->t) + KR_BLOB_LINGER_NS, on_linger);
}

struct kr_blob *kr_blob_get(struct kr_blob *b)
{
	b->refs++;
	b->holds++;
	return b;
}

void kr_blob_put(struct kr_blob *b)
{
	kr_assert(b->refs > 0);
	b->refs--;
	if (b->t != NULL)
		kr_blob_linger(b);
	kr_blob_drop(b);
}

void kr_blob_abort(struct kr_blob *b, enum kr_err why)
{
	if (b->t != NULL && b->state != KR_BLOB_FAILED)
		kr_blob_fail(b, why, true);
}

void kr_blob_orphan(struct kr_blob *b)
{
	kr_io_timer_stop(b->t->io, &b->timer);
	kr_list_del(&b->link);
	close_files(b);
	b->t = NULL;
}

/* ---- what users ask */

void kr_blob_peers(struct kr_blob *b, const struct kr_peer_hint *hints,
		   size_t count)
{
	struct kr_transfer *t = b->t;

	if (t == NULL || b->state == KR_BLOB_FAILED || count == 0)
		return;
	if (b->in_node) {
		kr_node_blob_peers(t->node, kr_transfer_now(t), b->handle,
				   hints, count);
		kr_transfer_pump(t);
		return;
	}
	if (b->state == KR_BLOB_COMPLETE || count > t->policy.hints_max)
		count = b->state == KR_BLOB_COMPLETE ? 0 : t->policy.hints_max;
	struct kr_peer_hint *copy =
		count == 0 ? NULL : malloc(count * sizeof(*copy));

	if (copy == NULL) /* need_peers will come once it is in the swarm */
		return;
	memcpy(copy, hints, count * sizeof(*copy));
	free(b->hints);
	b->hints = copy;
	b->hint_count = count;
}

const struct kr_digest *kr_blob_digest(const struct kr_blob *b)
{
	return &b->digest;
}

const char *kr_blob_ns(const struct kr_blob *b)
{
	return b->ns;
}

uint64_t kr_blob_size_bytes(const struct kr_blob *b)
{
	return b->size_bytes;
}

bool kr_blob_complete(const struct kr_blob *b)
{
	return b->state == KR_BLOB_COMPLETE;
}

const uint8_t *kr_blob_metainfo_id(const struct kr_blob *b)
{
	return b->state == KR_BLOB_OPENING || b->state == KR_BLOB_PARTIAL
		       ? b->meta.id
		       : NULL;
}

void kr_blob_progress(const struct kr_blob *b, struct kr_blob_progress *ret)
{
	struct kr_blob_stats s = { 0 };

	*ret = (struct kr_blob_progress){ .size_bytes = b->size_bytes };
	ret->verified_bytes = b->state == KR_BLOB_COMPLETE ? b->size_bytes
							   : b->verified_bytes;
	memcpy(ret->from_bytes, b->from_bytes, sizeof(ret->from_bytes));
	if (!b->in_node)
		return;
	kr_node_blob_stats(b->t->node, b->handle, &s);
	ret->neighbours = s.neighbours;
	for (int i = 0; i < KR_PEER_ROLE_COUNT; i++)
		ret->from_bytes[i] += s.bytes_from[i];
}

void kr_blob_wait(struct kr_blob *b, struct kr_blob_wait *w,
		  kr_blob_wait_fn *done)
{
	kr_assert(b->t != NULL);
	*w = (struct kr_blob_wait){ .blob = b, .done = done };
	kr_list_add_tail(&b->waits, &w->link);
	if (b->state == KR_BLOB_COMPLETE)
		kr_blob_wake(b, KR_OK);
	else if (b->state == KR_BLOB_FAILED)
		kr_blob_wake(b, b->why);
}

void kr_blob_wait_room(struct kr_blob *b, struct kr_blob_wait *w,
		       kr_blob_wait_fn *done)
{
	kr_blob_wait(b, w, done);
	w->room_will_do = true;
	if (b->state != KR_BLOB_FAILED && b->fd >= 0)
		kr_blob_wake_room(b);
}

void kr_blob_wait_cancel(struct kr_blob_wait *w)
{
	if (w->blob != NULL)
		kr_list_del(&w->link);
	w->blob = NULL;
}

void kr_blob_read(struct kr_blob *b, struct kr_op *op, void *buf,
		  uint32_t len_bytes, uint64_t offset_bytes,
		  kr_op_done_fn *done)
{
	kr_assert(b->t != NULL && b->stored != NULL);
	kr_io_read(b->t->io, op, b->fd, buf, len_bytes, offset_bytes, done);
}

enum kr_err kr_transfer_open_blob(struct kr_transfer *t,
				  const struct kr_digest *d,
				  struct kr_blob **ret)
{
	struct kr_blob *b = kr_blob_find(t, d);

	if (b != NULL) {
		*ret = kr_blob_get(b);
		return KR_OK;
	}
	if (t->is_closing)
		return KR_E_CANCELED;
	b = kr_blob_make(t, d, "", 0);
	if (b == NULL)
		return KR_E_NOMEM;
	enum kr_err err = kr_blob_open_stored(b);

	if (err == KR_OK)
		err = kr_blob_list(b);
	if (err == KR_OK)
		*ret = kr_blob_get(b);
	kr_blob_drop(b);
	return err;
}

static enum kr_err keep_meta(struct kr_blob *b, const struct kr_metainfo *m)
{
	struct kr_metainfo copy;
	const enum kr_err err = kr_metainfo_decode(kr_alloc_heap(), m->encoded,
						   m->encoded_len, &copy);

	if (err == KR_OK)
		b->meta = copy;
	return err;
}

/* A download that was not there before. */
static enum kr_err begin(struct kr_transfer *t, const char *ns,
			 const struct kr_metainfo *m, uint8_t rank,
			 struct kr_blob **ret)
{
	if (t->downloads >= t->policy.blobs_max)
		return KR_E_LIMIT;
	struct kr_blob *b = kr_blob_make(t, &m->digest, ns, m->size_bytes);

	if (b == NULL)
		return KR_E_NOMEM;
	b->rank = rank;
	enum kr_err err = keep_meta(b, m);

	if (err == KR_OK)
		err = kr_blob_list(b);
	if (err == KR_OK) {
		*ret = kr_blob_get(b);
		kr_blob_count(b, true);
		kr_blob_open_partial(b);
	}
	kr_blob_drop(b);
	return err;
}

/* A blob of the store is known by its digest alone; peers that ask for it
 * need more.  Where there is no memory, a lookup reads it from disk. */
static void learn(struct kr_blob *b, const char *ns,
		  const struct kr_metainfo *m)
{
	if (b->ns[0] == '\0')
		strncpy(b->ns, ns, KR_NAMESPACE_MAX);
	if (b->state == KR_BLOB_COMPLETE && b->meta.hashes == NULL &&
	    b->size_bytes == m->size_bytes && keep_meta(b, m) != KR_OK)
		kr_log_debug("transfer", "metainfo was not kept",
			     KR_DIGEST("blob", &b->digest));
}

enum kr_err kr_transfer_fetch(struct kr_transfer *t, const char *ns,
			      const struct kr_metainfo *m, uint8_t rank,
			      struct kr_blob **ret)
{
	if (t->is_closing)
		return KR_E_CANCELED;
	if (!kr_msg_is_name(
		    (struct kr_bytes){ (const uint8_t *)ns, strlen(ns) }, 1,
		    KR_NAMESPACE_MAX))
		return KR_E_INVALID; /* peers could not be told of it */
	const enum kr_err err = kr_transfer_open_blob(t, &m->digest, ret);

	if (err == KR_E_NOTFOUND)
		return begin(t, ns, m, rank, ret);
	if (err == KR_OK)
		learn(*ret, ns, m);
	return err;
}
