/*
 * Metainfos: from the cache, or from the origins of the blob, one after the
 * other in ring order.  Whoever asks for the same blob meanwhile waits for the
 * same answer.
 *
 *	ask -> cached? -> reply
 *	        | no
 *	       open question? -> wait for it
 *	        | no
 *	       question: origin 1 -> origin 2 -> ... -> reply to all who wait
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/tracker_rpc_internal.h"
#include "core/log.h"

static void ask_next(struct metainfo_question *q);

/* ---- the cache ---- */

static void forget(struct kr_tracker_service *s, struct metainfo_entry *e)
{
	kr_list_del(&e->link);
	(void)kr_digest_map_del(&s->cache, &e->digest);
	s->cache_bytes -= sizeof(*e) + e->len;
	free(e);
}

static void keep(struct kr_tracker_service *s, const struct kr_digest *d,
		 struct kr_bytes result)
{
	const size_t size = sizeof(struct metainfo_entry) + result.len;
	struct metainfo_entry *e;
	struct kr_list *oldest;

	if (size > s->opts.cache_bytes ||
	    kr_digest_map_get(&s->cache, d) != NULL)
		return;
	while (s->cache_bytes + size > s->opts.cache_bytes &&
	       (oldest = kr_list_first(&s->cache_by_use)) != NULL)
		forget(s, KR_CONTAINER_OF(oldest, struct metainfo_entry, link));
	e = malloc(size);
	if (e == NULL)
		return;
	e->digest = *d;
	e->len = result.len;
	memcpy(e->bytes, result.ptr, result.len);
	if (kr_digest_map_put(&s->cache, d, e) != KR_OK) {
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
		else
			kr_rpc_fail(w->req, err, text);
		free(w);
	}
	free(q);
}

/* Nobody had it: was anybody there to say so? */
static void give_up(struct metainfo_question *q)
{
	char digest[KR_DIGEST_TEXT_MAX], text[KR_RPC_TEXT_MAX];
	const uint32_t total = q->service->origin_count;
	enum kr_err err = KR_E_NOTFOUND;

	kr_digest_print(&q->ref.digest, digest);
	if (q->answered > 0 && q->answered == q->at) {
		(void)snprintf(text, sizeof(text),
			       "no origin has blob %s (%u asked)", digest,
			       q->answered);
	} else {
		err = KR_E_UNAVAILABLE;
		(void)snprintf(text, sizeof(text),
			       "blob %s: %u of %u origins answered (%s); are "
			       "they running?",
			       digest, q->answered, total,
			       kr_err_text(q->last_err));
	}
	kr_log_warn("tracker", "no metainfo", KR_STR("why", text),
		    KR_STR("ns", q->ref.ns));
	end_question(q, (struct kr_bytes){ 0 }, err, text);
}

/* Did the host say something, whatever it was? */
static bool spoke(enum kr_err err)
{
	return err != KR_E_TIMEDOUT && err != KR_E_REFUSED &&
	       err != KR_E_RESET && err != KR_E_CLOSED;
}

static void on_answer(struct kr_rpc_call *call, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct metainfo_question *q =
		KR_CONTAINER_OF(call, struct metainfo_question, call);
	struct kr_tracker_service *s = q->service;
	struct tracker_origin *o = &s->origins[q->order[q->at]];
	struct kr_bytes metainfo;

	(void)text;
	if (s->closing) {
		end_question(q, (struct kr_bytes){ 0 }, KR_E_UNAVAILABLE,
			     "the tracker is shutting down");
		return;
	}
	(void)kr_health_traffic(&o->health, kr_io_now_ns(s->io), spoke(err));
	if (err == KR_OK)
		err = kr_origin_msg_metainfo_decode(result, &metainfo);
	if (err == KR_OK) {
		keep(s, &q->ref.digest, result);
		end_question(q, result, KR_OK, NULL);
		return;
	}
	if (err == KR_E_NOTFOUND)
		q->answered++;
	else
		q->last_err = err;
	q->at++;
	ask_next(q);
}

static void ask_next(struct metainfo_question *q)
{
	struct kr_tracker_service *s = q->service;
	uint8_t buf[KR_ORIGIN_MSG_REF_MAX];
	struct kr_mp_writer w;

	if (q->at == q->order_count) {
		give_up(q);
		return;
	}
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_ref_encode(&w, q->ref.ns, &q->ref.digest);
	kr_assert(!w.overflow);
	kr_rpc_call(s->origins[q->order[q->at]].client, &q->call,
		    "origin.metainfo", (struct kr_bytes){ buf, w.len },
		    s->opts.upstream_timeout_ns, on_answer);
}

/* Healthy ones in ring order; then the others, for want of better: a tracker
 * that just started has not heard of any yet. */
static void set_order(struct metainfo_question *q)
{
	struct kr_tracker_service *s = q->service;
	uint32_t all[KR_RING_HOSTS_MAX];
	uint32_t total;

	if (s->origin_count == 0)
		return;
	q->order_count = kr_ring_order(&s->ring, &q->ref.digest,
				       tracker_origin_is_healthy, s, q->order,
				       KR_RING_HOSTS_MAX);
	total = kr_ring_order(&s->ring, &q->ref.digest, NULL, NULL, all,
			      KR_RING_HOSTS_MAX);
	for (uint32_t i = 0; i < total; i++)
		if (!tracker_origin_is_healthy(s, all[i]))
			q->order[q->order_count++] = all[i];
}

static struct metainfo_question *open_question(
	struct kr_tracker_service *s, const struct kr_origin_msg_ref *ref)
{
	struct metainfo_question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->service = s;
	q->ref = *ref;
	q->last_err = KR_E_NOTFOUND;
	kr_list_init(&q->waiting);
	if (kr_digest_map_put(&s->questions, &ref->digest, q) != KR_OK) {
		free(q);
		return NULL;
	}
	set_order(q);
	return q;
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
	kr_list_init(&w->link);
	kr_list_add_tail(&q->waiting, &w->link);
	s->upstream += fresh;
	s->joined += !fresh;
	if (fresh)
		ask_next(q);
}

void tracker_metainfo_ask(struct kr_tracker_service *s,
			  struct kr_rpc_request *req, struct kr_bytes params)
{
	struct kr_origin_msg_ref ref;
	struct metainfo_entry *e;

	if (kr_origin_msg_ref_decode(params, &ref) != KR_OK) {
		kr_rpc_fail(req, KR_E_INVALID, "expected {ns, digest}");
		return;
	}
	e = kr_digest_map_get(&s->cache, &ref.digest);
	if (e == NULL) {
		ask_upstream(s, &ref, req);
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

/* The questions ended with the clients that asked them. */
void tracker_metainfo_close(struct kr_tracker_service *s)
{
	struct kr_list *it;

	kr_assert(kr_digest_map_count(&s->questions) == 0);
	while ((it = kr_list_first(&s->cache_by_use)) != NULL)
		forget(s, KR_CONTAINER_OF(it, struct metainfo_entry, link));
	kr_digest_map_close(&s->cache);
	kr_digest_map_close(&s->questions);
}
