#define _GNU_SOURCE
#include "control/origins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/health.h"
#include "control/origin_msg.h"
#include "core/alloc.h"
#include "core/list.h"
#include "core/log.h"

enum { STAND_INS = 2 }; /* hosts asked beyond the owners */

/* A check is answered from memory: a host that takes longer is in trouble. */
#define CHECK_TIMEOUT_NS UINT64_C(2000000000)

struct origin {
	struct kr_origins *cluster;
	char *name;
	struct kr_rpc_client *rpc;
	struct kr_rpc_call info_call;
	struct kr_health health;
	struct kr_tracker_pick pick; /* what it said of itself */
	bool known;
};

struct kr_origins {
	struct kr_io *io;
	struct kr_ring ring;
	struct origin *list;
	uint32_t count, replicas;
	uint64_t rpc_timeout_ns, health_interval_ns;
	struct kr_timer timer;
};

/* A connection that was refused is known sooner than a check that failed. */
bool kr_origins_is_healthy(const struct kr_origins *o, uint32_t index)
{
	kr_assert(index < o->count);
	return kr_health_is_healthy(&o->list[index].health) &&
	       kr_rpc_client_healthy(o->list[index].rpc);
}

static bool is_healthy(void *ctx, uint32_t index)
{
	return kr_origins_is_healthy(ctx, index);
}

static void log_change(const struct origin *host)
{
	if (kr_health_is_healthy(&host->health))
		kr_log_info("origins", "origin is healthy",
			    KR_STR("origin", host->name));
	else
		kr_log_warn("origins", "origin is unhealthy; others stand in",
			    KR_STR("origin", host->name));
}

static enum kr_err learn(struct origin *host, struct kr_bytes result)
{
	const struct kr_addr at = kr_rpc_client_addr(host->rpc);
	struct kr_tracker_msg_peer peer;
	struct kr_tracker_pick pick;
	enum kr_err err = kr_origin_msg_info_decode(result, &peer);

	if (err != KR_OK)
		return err;
	pick = (struct kr_tracker_pick){ .id = peer.id,
					 .role = KR_PEER_ORIGIN,
					 .complete = true };
	memcpy(pick.zone, peer.zone, sizeof(pick.zone));
	err = kr_tracker_msg_peer_addr(&peer, &at, &pick.addr);
	if (err != KR_OK)
		return err;
	host->pick = pick;
	host->known = true;
	return KR_OK;
}

static void info_done(struct kr_rpc_call *call, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct origin *host = KR_CONTAINER_OF(call, struct origin, info_call);

	(void)text;
	if (err == KR_OK)
		err = learn(host, result);
	if (kr_health_check_done(&host->health, kr_io_now_ns(host->cluster->io),
				 err == KR_OK))
		log_change(host);
}

static void check_all(struct kr_timer *t)
{
	struct kr_origins *o = KR_CONTAINER_OF(t, struct kr_origins, timer);

	const uint64_t timeout_ns = o->rpc_timeout_ns < CHECK_TIMEOUT_NS
					    ? o->rpc_timeout_ns
					    : CHECK_TIMEOUT_NS;

	for (uint32_t i = 0; i < o->count; i++) {
		struct origin *host = &o->list[i];
		if (!host->info_call.busy)
			kr_rpc_call(host->rpc, &host->info_call, "origin.info",
				    (struct kr_bytes){ NULL, 0 }, timeout_ns,
				    info_done);
	}
	kr_io_timer_set(o->io, &o->timer,
			kr_io_now_ns(o->io) + o->health_interval_ns, check_all);
}

static enum kr_err open_origin(struct kr_origins *o, struct origin *host,
			       const char *name, const struct kr_addr *addr)
{
	const struct kr_rpc_client_opts opts = { .to = *addr };
	/* A failed check must be seen within a pull, not after it. */
	const struct kr_health_opts health = { .fails = 2, .passes = 1 };

	host->cluster = o;
	host->name = strdup(name);
	if (host->name == NULL)
		return KR_E_NOMEM;
	kr_health_init(&host->health, &health, true);
	return kr_rpc_client_open(o->io, &opts, &host->rpc);
}

enum kr_err kr_origins_open(const struct kr_origins_opts *opts,
			    struct kr_origins **ret)
{
	struct kr_origins *o = calloc(1, sizeof(*o));
	enum kr_err err = KR_E_NOMEM;

	if (o == NULL)
		return KR_E_NOMEM;
	o->io = opts->io;
	o->replicas = opts->replicas;
	o->rpc_timeout_ns = opts->rpc_timeout_ns;
	o->health_interval_ns = opts->health_interval_ns;
	o->list = calloc(opts->count, sizeof(*o->list));
	if (o->list == NULL)
		goto out;
	err = kr_ring_init(&o->ring, opts->names, opts->count, opts->replicas);
	while (err == KR_OK && o->count < opts->count) {
		err = open_origin(o, &o->list[o->count], opts->names[o->count],
				  &opts->addrs[o->count]);
		o->count++;
	}
	if (err != KR_OK)
		goto out;
	check_all(&o->timer);
	*ret = o;
	o = NULL; /* moved to the caller */
out:
	if (o != NULL)
		kr_origins_close(o);
	return err;
}

void kr_origins_close(struct kr_origins *o)
{
	kr_io_timer_stop(o->io, &o->timer);
	for (uint32_t i = 0; i < o->count; i++) {
		struct origin *host = &o->list[i];
		if (host->info_call.busy)
			kr_rpc_call_cancel(&host->info_call);
		if (host->rpc != NULL)
			kr_rpc_client_close(host->rpc);
		free(host->name);
	}
	free(o->list);
	free(o);
}

uint32_t kr_origins_owners(const struct kr_origins *o,
			   const struct kr_digest *d, uint32_t *ret,
			   uint32_t max)
{
	return kr_ring_owners(&o->ring, d, is_healthy, (void *)o, ret, max);
}

uint32_t kr_origins_healthy_count(const struct kr_origins *o)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < o->count; i++)
		n += o->list[i].known && kr_origins_is_healthy(o, i);
	return n;
}

struct kr_rpc_client *kr_origins_client(const struct kr_origins *o,
					uint32_t index)
{
	kr_assert(index < o->count);
	return o->list[index].rpc;
}

const char *kr_origins_name(const struct kr_origins *o, uint32_t index)
{
	kr_assert(index < o->count);
	return o->list[index].name;
}

void kr_origins_traffic(struct kr_origins *o, uint32_t index, bool ok)
{
	struct origin *host = &o->list[index];

	if (kr_health_traffic(&host->health, kr_io_now_ns(o->io), ok))
		log_change(host);
}

bool kr_origins_pick(const struct kr_origins *o, uint32_t index,
		     struct kr_tracker_pick *ret)
{
	kr_assert(index < o->count);
	if (o->list[index].known)
		*ret = o->list[index].pick;
	return o->list[index].known;
}

uint32_t kr_origins_hints(const struct kr_origins *o, const struct kr_digest *d,
			  struct kr_peer_hint *ret, uint32_t max)
{
	uint32_t owners[KR_ORIGINS_MAX], n = 0;
	const uint32_t count = kr_origins_owners(o, d, owners, KR_ORIGINS_MAX);
	struct kr_tracker_pick pick;

	for (uint32_t i = 0; i < count && n < max; i++) {
		if (kr_origins_pick(o, owners[i], &pick))
			kr_tracker_pick_hint(&pick, "", &ret[n++]);
	}
	return n;
}

/* ---- one question, several hosts ----------------------------------------*/

static void ask_next(struct kr_origins_ask *a);

/* Did the host itself answer, whatever it said? */
static bool is_answer(enum kr_err err)
{
	const enum kr_err_class cls = kr_err_class_of(err);

	return err == KR_OK || cls == KR_ERR_CLASS_REQUEST ||
	       err == KR_E_UNAVAILABLE || err == KR_E_BUSY;
}

static void ask_done(struct kr_rpc_call *call, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	struct kr_origins_ask *a =
		KR_CONTAINER_OF(call, struct kr_origins_ask, call);

	kr_origins_traffic(a->origins, a->order[a->at], is_answer(err));
	if (err == KR_OK || err == KR_E_BUSY) {
		a->done(a, err, result, text);
		return;
	}
	if (err == KR_E_NOTFOUND)
		a->answered++;
	else
		a->last_err = err;
	if (err != KR_E_NOTFOUND)
		kr_log_debug("origins", "origin did not answer a question",
			     KR_STR("origin",
				    a->origins->list[a->order[a->at]].name),
			     KR_STR("method", a->method), KR_ERR("why", err),
			     KR_STR("text", text));
	a->at++;
	ask_next(a);
}

/* Nobody had it: was everybody there to say so? */
static void give_up(struct kr_origins_ask *a)
{
	const struct kr_bytes nothing = { NULL, 0 };
	char text[KR_RPC_TEXT_MAX], digest[KR_DIGEST_TEXT_MAX];

	kr_digest_print(&a->digest, digest);
	if ((a->answered == a->order_count && a->away == 0) ||
	    (a->is_stat && a->answered > 0)) {
		(void)snprintf(text, sizeof(text),
			       "no origin has blob %s (%u asked)", digest,
			       a->answered);
		a->done(a, KR_E_NOTFOUND, nothing, text);
		return;
	}
	(void)snprintf(text, sizeof(text),
		       "%u of %u origins answered (%s): check that they run "
		       "and that origin.hosts.static names their RPC ports",
		       a->answered, a->order_count + a->away,
		       kr_err_text(a->away > 0 && a->last_err == KR_OK
					   ? KR_E_REFUSED
					   : a->last_err));
	a->done(a, KR_E_UNAVAILABLE, nothing, text);
}

/* Who waits for the answer has about as long as we do: of a host that hangs,
 * and that no check has found yet, there is time to go on to the next. */
static uint64_t patience_ns(const struct kr_origins_ask *a)
{
	const uint64_t all_ns = a->origins->rpc_timeout_ns;

	return a->at + 1 < a->order_count ? all_ns / 3 : all_ns;
}

static void ask_next(struct kr_origins_ask *a)
{
	struct kr_origins *o = a->origins;

	if (a->at < a->order_count)
		kr_rpc_call(o->list[a->order[a->at]].rpc, &a->call, a->method,
			    (struct kr_bytes){ a->params, a->params_len },
			    patience_ns(a), ask_done);
	else
		give_up(a);
}

/* Owners that are not asked because they are down may have it. */
static void count_away(struct kr_origins_ask *a, const struct kr_digest *d)
{
	const struct kr_origins *o = a->origins;
	uint32_t owners[KR_ORIGINS_MAX];
	const uint32_t count =
		kr_ring_owners(&o->ring, d, NULL, NULL, owners, KR_ORIGINS_MAX);

	a->away = 0;
	for (uint32_t i = 0; i < count; i++)
		a->away += !kr_origins_is_healthy(o, owners[i]);
}

/* Owners first, then who would stand in; all of them where none is healthy,
 * since asking the dead costs less than refusing without a try. */
static void make_order(struct kr_origins_ask *a, const struct kr_digest *d)
{
	struct kr_origins *o = a->origins;
	uint32_t want = o->replicas + STAND_INS;

	if (want > KR_ORIGINS_MAX)
		want = KR_ORIGINS_MAX;
	count_away(a, d);
	a->order_count =
		kr_ring_order(&o->ring, d, is_healthy, o, a->order, want);
	if (a->order_count > 0)
		return;
	a->away = 0; /* they are asked all the same */
	a->order_count = kr_ring_order(&o->ring, d, NULL, NULL, a->order, want);
}

static void ask(struct kr_origins *o, struct kr_origins_ask *a,
		const char *method, const char *ns, const struct kr_digest *d,
		kr_origins_ask_fn *done)
{
	struct kr_mp_writer w;
	enum kr_err err;

	memset(&a->call, 0, sizeof(a->call));
	a->origins = o;
	a->done = done;
	a->method = method;
	a->at = 0;
	a->answered = 0;
	a->digest = *d;
	a->last_err = KR_OK;
	kr_mp_w_init(&w, a->params, sizeof(a->params));
	kr_origin_msg_ref_encode(&w, ns, d);
	err = kr_mp_w_done(&w, &a->params_len);
	kr_assert(err == KR_OK); /* see the assertion below */
	make_order(a, d);
	kr_assert(a->order_count > 0); /* a ring has at least one host */
	ask_next(a);
}
_Static_assert(sizeof(((struct kr_origins_ask *)0)->params) >=
		       KR_ORIGIN_MSG_REF_MAX,
	       "the longest question fits");

void kr_origins_metainfo(struct kr_origins *o, struct kr_origins_ask *a,
			 const char *ns, const struct kr_digest *d,
			 kr_origins_ask_fn *done)
{
	a->is_stat = false;
	ask(o, a, "origin.metainfo", ns, d, done);
}

enum kr_err kr_origins_metainfo_read(struct kr_bytes result,
				     const struct kr_digest *d,
				     struct kr_metainfo *ret, const char **text)
{
	struct kr_bytes metainfo;
	enum kr_err err = kr_origin_msg_metainfo_decode(result, &metainfo);

	if (err == KR_OK)
		err = kr_metainfo_decode_of(kr_alloc_heap(), d, metainfo.ptr,
					    metainfo.len, ret);
	if (err == KR_E_CORRUPT)
		*text = "an origin sent the metainfo of another blob";
	return err;
}

void kr_origins_stat(struct kr_origins *o, struct kr_origins_ask *a,
		     const char *ns, const struct kr_digest *d,
		     kr_origins_ask_fn *done)
{
	a->is_stat = true;
	ask(o, a, "origin.stat", ns, d, done);
}

void kr_origins_ask_cancel(struct kr_origins_ask *a)
{
	kr_rpc_call_cancel(&a->call);
}
