#include "control/push.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/origin_msg.h"
#include "core/list.h"
#include "core/log.h"

enum { OWNERS_MAX = 16 };
#define LOOK_NS UINT64_C(500000000) /* between two looks at their health */

struct kr_pusher {
	struct kr_io *io;
	struct kr_origins *origins;
	struct kr_transfer *transfer;
	struct kr_tracker_msg_peer self;
	uint32_t write_quorum;
	uint64_t ingest_timeout_ns;
	struct kr_list pushes;
};

struct owner {
	struct kr_push *push;
	uint32_t index; /* among the origins */
	struct kr_rpc_call call;
};

struct kr_push {
	struct kr_list link;
	struct kr_pusher *p;
	struct kr_digest digest;
	struct kr_blob *blob; /* ours, so that it is not deleted; or NULL */
	struct owner owners[OWNERS_MAX];
	uint32_t owner_count, ok_count, lost_count, ended_count;
	enum kr_err first_err; /* of an owner that answered and refused */
	char text[KR_RPC_TEXT_MAX];
	void *ctx;
	kr_push_done_fn *done; /* NULL: it was called */
	struct kr_post post;   /* for an answer without any owner */
	struct kr_timer look;
};

static void answer(struct kr_push *u, enum kr_err err)
{
	kr_push_done_fn *done = u->done;

	u->done = NULL;
	if (done != NULL)
		done(u->ctx, err, err == KR_OK ? "" : u->text);
}

static void free_push(struct kr_push *u)
{
	kr_io_timer_stop(u->p->io, &u->look);
	kr_list_del(&u->link);
	if (u->blob != NULL)
		kr_blob_put(u->blob);
	free(u);
}

/* How many must have it: an owner that does not answer is not healthy. */
static uint32_t needed(const struct kr_push *u)
{
	const uint32_t reachable = u->owner_count - u->lost_count;

	return reachable < u->p->write_quorum ? reachable : u->p->write_quorum;
}

static void judge(struct kr_push *u)
{
	const uint32_t open = u->owner_count - u->ended_count;

	if (u->ok_count > 0 && u->ok_count >= needed(u))
		answer(u, KR_OK);
	else if (u->ok_count + open == 0 || u->ok_count + open < needed(u))
		answer(u,
		       u->first_err != KR_OK ? u->first_err : KR_E_UNAVAILABLE);
	if (open == 0)
		free_push(u);
}

/* Is the owner gone?  Where it said itself what is wrong (@text), only that it
 * stops: one that could not fetch the blob is there, and refuses. */
static bool is_lost(enum kr_err err, const char *text)
{
	if (err == KR_E_UNAVAILABLE)
		return true;
	return text[0] == '\0' && (err == KR_E_REFUSED || err == KR_E_RESET ||
				   err == KR_E_CLOSED || err == KR_E_TIMEDOUT);
}

static void note_failure(struct owner *w, enum kr_err err, const char *text)
{
	struct kr_push *u = w->push;
	const char *name = kr_origins_name(u->p->origins, w->index);

	u->ended_count++;
	if (u->first_err == KR_OK) /* a refusal is what the pusher is told */
		(void)snprintf(u->text, sizeof(u->text), "origin %s: %s", name,
			       text[0] != '\0' ? text : kr_err_text(err));
	kr_log_warn("push", "an origin did not take a blob",
		    KR_DIGEST("digest", &u->digest), KR_STR("origin", name),
		    KR_ERR("why", err), KR_STR("text", text));
	if (is_lost(err, text))
		u->lost_count++;
	else if (u->first_err == KR_OK) /* what an owner lacks is no answer to
					   the client's question */
		u->first_err = err == KR_E_NOTFOUND ? KR_E_UNAVAILABLE : err;
}

static void ingest_done(struct kr_rpc_call *call, enum kr_err err,
			struct kr_bytes result, const char *text)
{
	struct owner *w = KR_CONTAINER_OF(call, struct owner, call);
	struct kr_push *u = w->push;

	(void)result;
	if (err == KR_OK) {
		u->ended_count++;
		u->ok_count++;
	} else {
		note_failure(w, err, text);
	}
	kr_origins_traffic(u->p->origins, w->index, !is_lost(err, text));
	judge(u);
}

/* A call to a host that is down waits for it to come back, as long as an
 * ingest may take: the pusher does not. */
static void look_at_owners(struct kr_timer *t)
{
	struct kr_push *u = KR_CONTAINER_OF(t, struct kr_push, look);
	struct kr_pusher *p = u->p;
	bool lost = false;

	for (uint32_t i = 0; i < u->owner_count; i++) {
		struct owner *w = &u->owners[i];
		if (!w->call.busy ||
		    kr_origins_is_healthy(p->origins, w->index))
			continue;
		kr_rpc_call_cancel(&w->call);
		note_failure(w, KR_E_UNAVAILABLE, "stopped answering");
		lost = true;
	}
	kr_io_timer_set(p->io, &u->look, kr_io_now_ns(p->io) + LOOK_NS,
			look_at_owners);
	if (lost)
		judge(u); /* @u may be gone now */
}

/* Where the pieces are: here, and soon at the other owners. */
static uint32_t list_peers(const struct kr_push *u, uint32_t but,
			   struct kr_tracker_msg_peer *ret)
{
	uint32_t n = 0;

	ret[n++] = u->p->self;
	for (uint32_t i = 0; i < u->owner_count; i++) {
		struct kr_tracker_pick pick;

		if (i != but &&
		    kr_origins_pick(u->p->origins, u->owners[i].index, &pick))
			kr_tracker_pick_peer(&pick, &ret[n++]);
	}
	return n;
}

static enum kr_err tell_owner(struct kr_push *u, uint32_t i, const char *ns,
			      const struct kr_metainfo *m)
{
	const struct kr_bytes encoded = { m->encoded, m->encoded_len };
	struct kr_tracker_msg_peer peers[OWNERS_MAX + 1];
	const uint32_t peer_count = list_peers(u, i, peers);
	const size_t cap = kr_origin_msg_ingest_max(encoded.len, peer_count);
	struct kr_mp_writer w;
	uint8_t *buf = malloc(cap);
	enum kr_err err;
	size_t len;

	if (buf == NULL)
		return KR_E_NOMEM;
	kr_mp_w_init(&w, buf, cap);
	kr_origin_msg_ingest_encode(&w, ns, &m->digest, encoded, peers,
				    peer_count);
	err = kr_mp_w_done(&w, &len);
	if (err == KR_OK)
		kr_rpc_call(
			kr_origins_client(u->p->origins, u->owners[i].index),
			&u->owners[i].call, "origin.ingest",
			(struct kr_bytes){ buf, len }, u->p->ingest_timeout_ns,
			ingest_done);
	free(buf);
	return err;
}

static void nobody(struct kr_post *post)
{
	struct kr_push *u = KR_CONTAINER_OF(post, struct kr_push, post);

	answer(u, KR_E_UNAVAILABLE);
	free_push(u);
}

static enum kr_err tell_owners(struct kr_push *u, const char *ns,
			       const struct kr_metainfo *m)
{
	enum kr_err err = KR_OK;

	for (uint32_t i = 0; i < u->owner_count && err == KR_OK; i++) {
		err = tell_owner(u, i, ns, m);
		if (err != KR_OK) {
			while (i-- > 0) /* none may come back to us */
				kr_rpc_call_cancel(&u->owners[i].call);
			break;
		}
	}
	return err;
}

enum kr_err kr_push_start(struct kr_pusher *p, const char *ns,
			  const struct kr_metainfo *m, void *ctx,
			  kr_push_done_fn *done, struct kr_push **ret)
{
	struct kr_push *u = calloc(1, sizeof(*u));
	uint32_t owners[OWNERS_MAX];
	enum kr_err err;

	if (u == NULL)
		return KR_E_NOMEM;
	u->p = p;
	u->digest = m->digest;
	u->ctx = ctx;
	u->done = done;
	kr_list_add_tail(&p->pushes, &u->link);
	if (p->transfer == NULL ||
	    kr_transfer_open_blob(p->transfer, &m->digest, &u->blob) != KR_OK)
		u->blob = NULL; /* the owners have it from each other */
	u->owner_count =
		kr_origins_owners(p->origins, &m->digest, owners, OWNERS_MAX);
	for (uint32_t i = 0; i < u->owner_count; i++)
		u->owners[i] = (struct owner){ .push = u, .index = owners[i] };
	if (u->owner_count == 0) {
		(void)snprintf(u->text, sizeof(u->text),
			       "no origin is healthy: check that the origins "
			       "run and origin.hosts.static names them");
		kr_io_post(p->io, &u->post, nobody);
		*ret = u;
		return KR_OK;
	}
	err = tell_owners(u, ns, m);
	if (err != KR_OK) {
		free_push(u);
		return err;
	}
	kr_io_timer_set(p->io, &u->look, kr_io_now_ns(p->io) + LOOK_NS,
			look_at_owners);
	*ret = u;
	return KR_OK;
}

void kr_push_abandon(struct kr_push *u)
{
	u->done = NULL;
}

enum kr_err kr_pusher_open(const struct kr_pusher_opts *opts,
			   struct kr_pusher **ret)
{
	struct kr_pusher *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return KR_E_NOMEM;
	p->io = opts->io;
	p->origins = opts->origins;
	p->transfer = opts->transfer;
	p->self = opts->self;
	p->write_quorum = opts->write_quorum;
	p->ingest_timeout_ns = opts->ingest_timeout_ns;
	kr_list_init(&p->pushes);
	*ret = p;
	return KR_OK;
}

void kr_pusher_close(struct kr_pusher *p)
{
	kr_list_for_each_safe(at, &p->pushes)
	{
		struct kr_push *u = KR_CONTAINER_OF(at, struct kr_push, link);
		for (uint32_t i = 0; i < u->owner_count; i++) {
			if (u->owners[i].call.busy)
				kr_rpc_call_cancel(&u->owners[i].call);
		}
		if (u->owner_count == 0)
			continue; /* its answer is posted already */
		kr_assert(u->done == NULL);
		free_push(u);
	}
	while (!kr_list_empty(&p->pushes))
		kr_io_turn(p->io);
	free(p);
}
