#define _GNU_SOURCE
#include "control/origins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/health.h"
#include "control/origin_msg.h"
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
	struct kr_peer_hint hint;
	bool known; /* it has told its peer address */
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

static void log_change(const struct origin * or)
{
	if (kr_health_is_healthy(& or->health))
		kr_log_info("origins", "origin is healthy",
			    KR_STR("origin", or->name));
	else
		kr_log_warn("origins", "origin is unhealthy; others stand in",
			    KR_STR("origin", or->name));
}

static enum kr_err learn(struct origin * or, struct kr_bytes result)
{
	const struct kr_addr at = kr_rpc_client_addr(or->rpc);
	struct kr_tracker_msg_peer peer;
	struct kr_peer_hint hint;
	enum kr_err err = kr_origin_msg_info_decode(result, &peer);

	if (err != KR_OK)
		return err;
	hint = (struct kr_peer_hint){ .id = peer.id,
				      .role = KR_PEER_ORIGIN,
				      .complete = true };
	err = kr_tracker_msg_peer_addr(&peer, &at, &hint.addr);
	if (err != KR_OK)
		return err;
	or->hint = hint;
	or->known = true;
	return KR_OK;
}

static void info_done(struct kr_rpc_call *call, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct origin * or = KR_CONTAINER_OF(call, struct origin, info_call);

	(void)text;
	if (err == KR_OK)
		err = learn(or, result);
	if (kr_health_check_done(& or->health, kr_io_now_ns(or->cluster->io),
				 err == KR_OK))
		log_change(or);
}

static void check_all(struct kr_timer *t)
{
	struct kr_origins *o = KR_CONTAINER_OF(t, struct kr_origins, timer);

	const uint64_t timeout_ns = o->rpc_timeout_ns < CHECK_TIMEOUT_NS
					    ? o->rpc_timeout_ns
					    : CHECK_TIMEOUT_NS;

	for (uint32_t i = 0; i < o->count; i++) {
		struct origin * or = &o->list[i];
		if (! or->info_call.busy)
			kr_rpc_call(or->rpc, & or->info_call, "origin.info",
				    (struct kr_bytes){ NULL, 0 }, timeout_ns,
				    info_done);
	}
	kr_io_timer_set(o->io, &o->timer,
			kr_io_now_ns(o->io) + o->health_interval_ns, check_all);
}

static enum kr_err open_origin(struct kr_origins *o, struct origin * or,
			       const char *name, const struct kr_addr *addr)
{
	const struct kr_rpc_client_opts opts = { .to = *addr };
	/* A failed check must be seen within a pull, not after it. */
	const struct kr_health_opts health = { .fails = 2, .passes = 1 };

	or->cluster = o;
	or->name = strdup(name);
	if (or->name == NULL)
		return KR_E_NOMEM;
	kr_health_init(& or->health, &health, true);
	return kr_rpc_client_open(o->io, &opts, & or->rpc);
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
		struct origin * or = &o->list[i];
		if (or->info_call.busy)
			kr_rpc_call_cancel(& or->info_call);
		if (or->rpc != NULL)
			kr_rpc_client_close(or->rpc);
		free(or->name);
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
		n += kr_origins_is_healthy(o, i);
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
	struct origin * or = &o->list[index];

	if (kr_health_traffic(& or->health, kr_io_now_ns(o->io), ok))
		log_change(or);
}

bool kr_origins_hint(const struct kr_origins *o, uint32_t index,
		     struct kr_peer_hint *ret)
{
	kr_assert(index < o->count);
	if (o->list[index].known)
		*ret = o->list[index].hint;
	return o->list[index].known;
}

uint32_t kr_origins_hints(const struct kr_origins *o, const struct kr_digest *d,
			  struct kr_peer_hint *ret, uint32_t max)
{
	uint32_t owners[KR_ORIGINS_MAX], n = 0;
	const uint32_t count = kr_origins_owners(o, d, owners, KR_ORIGINS_MAX);

	for (uint32_t i = 0; i < count && n < max; i++)
		n += kr_origins_hint(o, owners[i], &ret[n]);
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
	if (err == KR_OK) {
		a->done(a, KR_OK, result, "");
		return;
	}
	if (err == KR_E_NOTFOUND)
		a->answered = true;
	else
		kr_log_debug("origins", "origin did not answer a question",
			     KR_STR("origin",
				    a->origins->list[a->order[a->at]].name),
			     KR_STR("method", a->method), KR_ERR("why", err),
			     KR_STR("text", text));
	a->at++;
	ask_next(a);
}

static void ask_next(struct kr_origins_ask *a)
{
	const struct kr_bytes nothing = { NULL, 0 };
	struct kr_origins *o = a->origins;

	if (a->at < a->order_count) {
		kr_rpc_call(o->list[a->order[a->at]].rpc, &a->call, a->method,
			    (struct kr_bytes){ a->params, a->params_len },
			    a->timeout_ns, ask_done);
		return;
	}
	if (a->answered) {
		a->done(a, KR_E_NOTFOUND, nothing, "no origin has the blob");
		return;
	}
	a->done(a, KR_E_UNAVAILABLE, nothing,
		"no origin could be asked: check that the origins run and "
		"that origin.hosts.static names their RPC ports");
}

/* Owners first, then who would stand in; all of them where none is healthy,
 * since asking the dead costs less than refusing without a try. */
static void make_order(struct kr_origins_ask *a, const struct kr_digest *d)
{
	struct kr_origins *o = a->origins;
	uint32_t want = o->replicas + STAND_INS;

	if (want > KR_ORIGINS_MAX)
		want = KR_ORIGINS_MAX;
	a->order_count =
		kr_ring_order(&o->ring, d, is_healthy, o, a->order, want);
	if (a->order_count == 0)
		a->order_count =
			kr_ring_order(&o->ring, d, NULL, NULL, a->order, want);
}

void kr_origins_ask(struct kr_origins *o, struct kr_origins_ask *a,
		    const char *method, const char *ns,
		    const struct kr_digest *d, kr_origins_ask_fn *done)
{
	struct kr_mp_writer w;
	enum kr_err err;

	memset(&a->call, 0, sizeof(a->call));
	a->origins = o;
	a->done = done;
	a->method = method;
	a->timeout_ns = o->rpc_timeout_ns;
	a->at = 0;
	a->answered = false;
	kr_mp_w_init(&w, a->params, sizeof(a->params));
	kr_origin_msg_ref_encode(&w, ns, d);
	err = kr_mp_w_done(&w, &a->params_len);
	kr_assert(err == KR_OK); /* see the assertion below the struct */
	make_order(a, d);
	kr_assert(a->order_count > 0); /* a ring has at least one host */
	ask_next(a);
}

void kr_origins_ask_cancel(struct kr_origins_ask *a)
{
	kr_rpc_call_cancel(&a->call);
}
