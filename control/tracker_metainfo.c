/*
 * Metainfos: from the cache, or from the origins of the blob, one after the
 * other in ring order.  Whoever asks for the same blob meanwhile waits for the
 * same answer; that it was not found in one namespace is none for another, which
 * may have another storage backend.
 *
 *	ask -> cached, and an origin said so just now? -> reply
 *	        | no
 *	       open question? -> wait for it
 *	        | no
 *	       question: origin 1 -> origin 2 -> ... -> reply to all who wait
 *
 * A metainfo does not change, but an origin that has it may have made room of
 * its blob since.  Being asked is what makes it fetch the blob from the storage
 * backend again; a cache that answered for ever would send peers to origins
 * that have nothing.  So origins are asked again when their answer is older
 * than fresh_ns.  What is cached counts while none can be asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/tracker_rpc_internal.h"
#include "core/log.h"

/* ---- the cache ---- */

static void forget(struct kr_tracker_service *s, struct metainfo_entry *e)
{
	kr_list_del(&e->link);
	(void)kr_digest_map_del(&s->cache, &e->ref.digest);
	s->cache_bytes -= sizeof(*e) + e->len;
	free(e);
}

static void keep(struct kr_tracker_service *s,
		 const struct kr_origin_msg_ref *ref, struct kr_bytes result)
{
	const size_t size = sizeof(struct metainfo_entry) + result.len;
	struct metainfo_entry *e;
	struct kr_list *oldest;

	if (size > s->opts.cache_bytes)
		return;
	while (s->cache_bytes + size > s->opts.cache_bytes &&
	       (oldest = kr_list_first(&s->cache_by_use)) != NULL)
		forget(s, KR_CONTAINER_OF(oldest, struct metainfo_entry, link));
	e = malloc(size);
	if (e == NULL)
		return;
	e->ref = *ref;
	e->asked_ns = kr_io_now_ns(s->io);
	e->len = result.len;
	memcpy(e->bytes, result.ptr, result.len);
	if (kr_digest_map_put(&s->cache, &ref->digest, e) != KR_OK) {
		free(e);
		return;
	}
	kr_list_init(&e->link);
	kr_list_add_tail(&s->cache_by_use, &e->link);
	s->cache_bytes += size;
}

/* ---- a question ---- */

static void end_question(struct metainfo_question *q, struct kr_bytes result,
			 enum kr_err err, const char *text)
{
	struct kr_tracker_service *s = q->service;
	struct kr_list *it;

	(void)kr_digest_map_del(&s->questions, &q->ref.digest);
	while ((it = kr_list_first(&q->waiting)) != NULL) {
		struct metainfo_waiter *w =
			KR_CONTAINER_OF(it, struct metainfo_waiter, link);

		kr_list_del(it);
		if (err == KR_OK)
			kr_rpc_reply(w->req, result);
		else if (err == KR_E_NOTFOUND && w->of_other_ns)
			kr_rpc_fail(w->req, KR_E_BUSY,
				    "looked for in another repository: ask "
				    "again");
		else
			kr_rpc_fail(w->req, err, text);
		free(w);
	}
	free(q);
}

/* Does @err say something about the blob, not about the origins? */
static bool is_an_answer(enum kr_err err)
{
	return err == KR_OK || err == KR_E_NOTFOUND || err == KR_E_BUSY;
}

static void on_answer(struct kr_origins_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct metainfo_question *q =
		KR_CONTAINER_OF(a, struct metainfo_question, ask);
	struct kr_tracker_service *s = q->service;
	struct metainfo_entry *e = kr_digest_map_get(&s->cache, &q->ref.digest);
	struct kr_bytes metainfo;

	if (err == KR_OK)
		err = kr_origin_msg_metainfo_decode(result, &metainfo);
	if (err != KR_OK)
		kr_log_info("tracker", "no metainfo",
			    KR_DIGEST("digest", &q->ref.digest),
			    KR_STR("ns", q->ref.ns), KR_STR("why", text));
	if (e != NULL && !is_an_answer(err)) {
		e->asked_ns = kr_io_now_ns(s->io); /* not at once again */
		end_question(q, (struct kr_bytes){ e->bytes, e->len }, KR_OK,
			     "");
		return;
	}
	if (e != NULL && err != KR_E_BUSY)
		forget(s, e);
	if (err == KR_OK) /* made anew it may have other pieces */
		keep(s, &q->ref, result);
	end_question(q, result, err, text);
}

static struct metainfo_question *open_question(
	struct kr_tracker_service *s, const struct kr_origin_msg_ref *ref)
{
	struct metainfo_question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->service = s;
	q->ref = *ref;
	kr_list_init(&q->waiting);
	if (kr_digest_map_put(&s->questions, &ref->digest, q) != KR_OK) {
		free(q);
		return NULL;
	}
	return q;
}

static void ask_origins(struct metainfo_question *q)
{
	struct kr_tracker_service *s = q->service;

	s->upstream++;
	kr_origins_metainfo(s->origins, &q->ask, q->ref.ns, &q->ref.digest,
			    on_answer);
}

static void ask_upstream(struct kr_tracker_service *s,
			 const struct kr_origin_msg_ref *ref,
			 struct kr_rpc_request *req)
{
	struct metainfo_question *q =
		kr_digest_map_get(&s->questions, &ref->digest);
	struct metainfo_waiter *w = malloc(sizeof(*w));
	const bool fresh = q == NULL;

	if (w != NULL && fresh)
		q = open_question(s, ref);
	if (w == NULL || q == NULL) {
		free(w);
		kr_rpc_fail(req, KR_E_NOMEM, NULL);
		return;
	}
	w->req = req;
	w->of_other_ns = strcmp(q->ref.ns, ref->ns) != 0;
	kr_list_init(&w->link);
	kr_list_add_tail(&q->waiting, &w->link);
	s->joined += !fresh;
	if (fresh)
		ask_origins(q);
}

static bool is_fresh(const struct kr_tracker_service *s,
		     const struct metainfo_entry *e)
{
	return kr_io_now_ns(s->io) - e->asked_ns < s->opts.fresh_ns;
}

void tracker_metainfo_confirm(struct kr_tracker_service *s,
			      const struct kr_digest *d)
{
	const struct metainfo_entry *e = kr_digest_map_get(&s->cache, d);
	struct metainfo_question *q;

	if (e == NULL || s->origins == NULL || is_fresh(s, e) ||
	    kr_digest_map_get(&s->questions, d) != NULL)
		return;
	q = open_question(s, &e->ref);
	if (q != NULL)
		ask_origins(q);
}

void tracker_metainfo_ask(struct kr_tracker_service *s,
			  struct kr_rpc_request *req, struct kr_bytes params)
{
	struct kr_origin_msg_seek seek;
	const struct kr_origin_msg_ref *ref = &seek.ref;
	struct metainfo_entry *e;

	if (kr_origin_msg_seek_decode(params, &seek) != KR_OK) {
		kr_rpc_fail(req, KR_E_INVALID,
			    "expected {ns, digest, cluster}");
		return;
	}
	if (seek.cluster[0] != '\0' && tracker_refuses(s, req, seek.cluster))
		return;
	e = kr_digest_map_get(&s->cache, &ref->digest);
	if (e == NULL && s->origins == NULL) {
		kr_rpc_fail(req, KR_E_UNAVAILABLE, "no origin is configured");
		return;
	}
	if (e == NULL || (s->origins != NULL && !is_fresh(s, e))) {
		ask_upstream(s, ref, req);
		return;
	}
	s->hits++;
	kr_list_del(&e->link);
	kr_list_add_tail(&s->cache_by_use, &e->link);
	kr_rpc_reply(req, (struct kr_bytes){ e->bytes, e->len });
}

void tracker_metainfo_open(struct kr_tracker_service *s)
{
	kr_list_init(&s->cache_by_use);
	kr_digest_map_open(&s->cache, kr_alloc_heap());
	kr_digest_map_open(&s->questions, kr_alloc_heap());
}

void tracker_metainfo_close(struct kr_tracker_service *s)
{
	uint32_t at = 0;
	struct kr_list *it;
	void *value;

	while (kr_digest_map_next(&s->questions, &at, NULL, &value)) {
		struct metainfo_question *q = value;

		kr_origins_ask_cancel(&q->ask);
		end_question(q, (struct kr_bytes){ 0 }, KR_E_UNAVAILABLE,
			     "the tracker is shutting down");
	}
	while ((it = kr_list_first(&s->cache_by_use)) != NULL)
		forget(s, KR_CONTAINER_OF(it, struct metainfo_entry, link));
	kr_digest_map_close(&s->cache);
	kr_digest_map_close(&s->questions);
}
