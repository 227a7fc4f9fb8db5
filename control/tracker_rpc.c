#include "control/tracker_rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/msg_util.h"
#include "control/tracker_rpc_internal.h"
#include "core/log.h"

#define INTERVAL_DEFAULT_NS UINT64_C(30000000000)
#define CHECK_DEFAULT_NS    UINT64_C(3000000000)
#define UPSTREAM_DEFAULT_NS UINT64_C(2000000000)
#define FRESH_DEFAULT_NS    UINT64_C(2000000000)
#define EXPIRE_EVERY_NS     UINT64_C(1000000000)

enum {
	REPLICAS_DEFAULT = 3,
	CACHE_DEFAULT = 64 * 1024 * 1024,
	REQUEST_LEN_MAX = 2 * 1024 * 1024, /* the longest announce */
	EXPIRE_AT_ONCE = 10000,
	CONNECTIONS_DEFAULT = 20000,
};

/* ---- tracker.announce ---- */

bool tracker_refuses(const struct kr_tracker_service *s,
		     struct kr_rpc_request *req, const char *cluster)
{
	char text[KR_RPC_TEXT_MAX];

	if (s->cluster[0] == '\0' || strcmp(s->cluster, cluster) == 0)
		return false;
	(void)snprintf(text, sizeof(text),
		       "this tracker is of cluster \"%s\", not of \"%s\": "
		       "give both the same `cluster`",
		       s->cluster, cluster);
	kr_rpc_fail(req, KR_E_DENIED, text);
	return true;
}

static enum kr_err take_peer(const struct kr_tracker_msg_peer *said,
			     const struct kr_rpc_request *req,
			     struct kr_tracker_peer *ret)
{
	const struct kr_addr from = kr_rpc_request_from(req);

	if (said->port == 0)
		return KR_E_INVALID;
	memset(ret, 0, sizeof(*ret));
	ret->id = said->id;
	ret->role = said->role;
	memcpy(ret->zone, said->zone, sizeof(ret->zone));
	return kr_tracker_msg_peer_addr(said, &from, &ret->addr) == KR_OK
		       ? KR_OK
		       : KR_E_INVALID;
}

/* Append the responsible healthy origins of @d, but @id itself, to the @count
 * picks in @out; returns the new count. */
static uint32_t add_origins(const struct kr_tracker_service *s,
			    const struct kr_digest *d,
			    const struct kr_peer_id *id,
			    struct kr_tracker_pick *out, uint32_t count,
			    uint32_t max)
{
	uint32_t owners[KR_ORIGINS_MAX], owner_count = 0;

	if (s->origins != NULL)
		owner_count = kr_origins_owners(s->origins, d, owners,
						KR_ORIGINS_MAX);
	for (uint32_t i = 0; i < owner_count && count < max; i++) {
		struct kr_tracker_pick pick;
		bool there;

		if (!kr_origins_pick(s->origins, owners[i], &pick))
			continue;
		there = memcmp(&pick.id, id, sizeof(*id)) == 0;
		/* It may announce itself like any peer. */
		for (uint32_t k = 0; k < count && !there; k++)
			there = memcmp(&out[k].id, &pick.id, sizeof(*id)) == 0;
		if (!there)
			out[count++] = pick;
	}
	return count;
}

/* One blob of the announce, answered. */
static enum kr_err announce_blob(struct kr_tracker_service *s,
				 const struct kr_tracker_peer *peer,
				 const struct kr_tracker_msg_blob *blob,
				 struct kr_mp_writer *w)
{
	struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	uint32_t count = 0;
	enum kr_err err = kr_tracker_announce(s->tracker, kr_io_now_ns(s->io),
					      peer, &blob->item, picks,
					      KR_TRACKER_WANT_MAX, &count);

	if (err != KR_OK)
		return err;
	if (blob->item.want > 0 && !blob->item.complete) {
		tracker_metainfo_confirm(s, &blob->item.digest);
		count = add_origins(s, &blob->item.digest, &peer->id, picks,
				    count, KR_TRACKER_MSG_PICKS_MAX);
	}
	kr_tracker_msg_reply_blob(w, &blob->item.digest, picks, count);
	return KR_OK;
}

static enum kr_err announce_all(struct kr_tracker_service *s,
				const struct kr_tracker_peer *peer,
				struct kr_tracker_msg_announce *a,
				struct kr_mp_writer *w)
{
	struct kr_tracker_msg_blob blob;
	struct kr_digest gone;
	enum kr_err err = KR_OK;

	while (kr_tracker_msg_next_gone(a, &gone))
		kr_tracker_leave(s->tracker, kr_io_now_ns(s->io), &peer->id,
				 &gone);
	kr_tracker_msg_reply_begin(w, (uint32_t)(s->opts.interval_ns / 1000000),
				   a->blob_count);
	while (err == KR_OK && kr_tracker_msg_next_blob(a, &blob))
		err = announce_blob(s, peer, &blob, w);
	return err;
}

static void method_announce(void *ctx, struct kr_rpc_request *req,
			    struct kr_bytes params)
{
	struct kr_tracker_service *s = ctx;
	struct kr_tracker_msg_announce a;
	struct kr_tracker_peer peer;
	struct kr_mp_writer w;
	enum kr_err err;

	if (kr_tracker_msg_announce_decode(params, &a) != KR_OK) {
		kr_rpc_fail(req, KR_E_INVALID, "not an announce");
		return;
	}
	if (tracker_refuses(s, req, a.peer.cluster))
		return;
	err = take_peer(&a.peer, req, &peer);
	if (err != KR_OK) {
		kr_rpc_fail(req, err, "peer: bad ip or port");
		return;
	}
	const size_t cap = kr_tracker_msg_reply_max(a.blob_count);
	uint8_t *buf = malloc(cap);
	if (buf == NULL) {
		kr_rpc_fail(req, KR_E_NOMEM, NULL);
		return;
	}
	kr_mp_w_init(&w, buf, cap);
	err = announce_all(s, &peer, &a, &w);
	kr_assert(!w.overflow);
	if (err == KR_OK)
		kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
	else
		kr_rpc_fail(req, err, NULL);
	free(buf);
}

/* ---- the others ---- */

static void method_metainfo(void *ctx, struct kr_rpc_request *req,
			    struct kr_bytes params)
{
	tracker_metainfo_ask(ctx, req, params);
}

static void method_report(void *ctx, struct kr_rpc_request *req,
			  struct kr_bytes params)
{
	struct kr_tracker_service *s = ctx;
	struct kr_digest digest;
	struct kr_peer_id id;
	enum kr_err err;

	if (kr_tracker_msg_report_decode(params, &digest, &id) != KR_OK) {
		kr_rpc_fail(req, KR_E_INVALID, "expected {digest, id}");
		return;
	}
	err = kr_tracker_report(s->tracker, kr_io_now_ns(s->io), &id, &digest);
	if (err != KR_OK) {
		kr_rpc_fail(req, err, "not a member of that blob's swarm");
		return;
	}
	kr_log_warn("tracker", "peer quarantined: it sent corrupt bytes",
		    KR_DIGEST("blob", &digest));
	kr_rpc_reply(req, (struct kr_bytes){ 0 });
}

static void method_status(void *ctx, struct kr_rpc_request *req,
			  struct kr_bytes params)
{
	struct kr_tracker_service_stats st;
	uint8_t buf[512];
	struct kr_mp_writer w;

	(void)params;
	kr_tracker_service_stats_get(ctx, &st);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 14);
	kr_msg_w_u64(&w, "peers", st.tracker.peers);
	kr_msg_w_u64(&w, "blobs", st.tracker.blobs);
	kr_msg_w_u64(&w, "members", st.tracker.members);
	kr_msg_w_u64(&w, "announces", st.tracker.announces);
	kr_msg_w_u64(&w, "handed", st.tracker.handed);
	kr_msg_w_u64(&w, "expired", st.tracker.expired);
	kr_msg_w_u64(&w, "evicted", st.tracker.evicted);
	kr_msg_w_u64(&w, "reports", st.tracker.reports);
	kr_msg_w_u64(&w, "origins", st.origins);
	kr_msg_w_u64(&w, "origins_healthy", st.origins_healthy);
	kr_msg_w_u64(&w, "metainfo_hits", st.metainfo_hits);
	kr_msg_w_u64(&w, "metainfo_upstream", st.metainfo_upstream);
	kr_msg_w_u64(&w, "metainfo_joined", st.metainfo_joined);
	kr_msg_w_u64(&w, "cache_bytes", st.cache_bytes);
	kr_assert(!w.overflow);
	kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
}

static const struct kr_rpc_method methods[] = {
	{ "tracker.announce", method_announce },
	{ "tracker.metainfo", method_metainfo },
	{ "tracker.report", method_report },
	{ "tracker.status", method_status },
};

/* ---- life ---- */

/* What /metrics shows, as of the last second: another thread prints it. */
static void show(const struct kr_tracker_service *s)
{
	struct kr_tracker_service_stats st;

	kr_tracker_service_stats_get(s, &st);
	kr_metric_set(s->metrics.peers, st.tracker.peers);
	kr_metric_set(s->metrics.blobs, st.tracker.blobs);
	kr_metric_set(s->metrics.members, st.tracker.members);
	kr_metric_set(s->metrics.announces, (int64_t)st.tracker.announces);
	kr_metric_set(s->metrics.handed, (int64_t)st.tracker.handed);
	kr_metric_set(s->metrics.reports, (int64_t)st.tracker.reports);
	kr_metric_set(s->metrics.origins_healthy, st.origins_healthy);
	kr_metric_set(s->metrics.cache_bytes, (int64_t)st.cache_bytes);
}

static void register_metrics(struct kr_tracker_service *s)
{
	const struct {
		struct kr_metric **metric;
		const char *name, *help;
	} rows[] = {
		{ &s->metrics.peers, "kraken_tracker_peers", "hosts known" },
		{ &s->metrics.blobs, "kraken_tracker_blobs",
		  "blobs that somebody has or wants" },
		{ &s->metrics.members, "kraken_tracker_members",
		  "pairs of host and blob" },
		{ &s->metrics.announces, "kraken_tracker_announced_blobs",
		  "blobs announced since start" },
		{ &s->metrics.handed, "kraken_tracker_handed_peers",
		  "peers handed out since start" },
		{ &s->metrics.reports, "kraken_tracker_reported_peers",
		  "reports of corrupt bytes since start" },
		{ &s->metrics.origins_healthy, "kraken_tracker_origins_healthy",
		  "origins that may be used" },
		{ &s->metrics.cache_bytes,
		  "kraken_tracker_metainfo_cache_bytes",
		  "memory of cached metainfos" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		*rows[i].metric =
			kr_metrics_gauge(rows[i].name, rows[i].help, NULL);
}

/* Announces forget a few each; this forgets when nobody announces. */
static void on_expire(struct kr_timer *t)
{
	struct kr_tracker_service *s =
		KR_CONTAINER_OF(t, struct kr_tracker_service, expire_timer);
	const uint64_t now_ns = kr_io_now_ns(s->io);

	(void)kr_tracker_expire(s->tracker, now_ns, EXPIRE_AT_ONCE);
	show(s);
	kr_io_timer_set(s->io, &s->expire_timer, now_ns + EXPIRE_EVERY_NS,
			on_expire);
}

static void set_opts(struct kr_tracker_service *s,
		     const struct kr_tracker_service_opts *opts)
{
	struct kr_tracker_service_opts *o = &s->opts;

	*o = *opts;
	if (o->replicas == 0)
		o->replicas = REPLICAS_DEFAULT;
	if (o->interval_ns == 0)
		o->interval_ns = INTERVAL_DEFAULT_NS;
	if (o->ttl_ns == 0)
		o->ttl_ns = 4 * o->interval_ns;
	if (o->check_interval_ns == 0)
		o->check_interval_ns = CHECK_DEFAULT_NS;
	if (o->upstream_timeout_ns == 0)
		o->upstream_timeout_ns = UPSTREAM_DEFAULT_NS;
	if (o->cache_bytes == 0)
		o->cache_bytes = CACHE_DEFAULT;
	if (o->fresh_ns == 0)
		o->fresh_ns = FRESH_DEFAULT_NS;
	if (o->cluster != NULL)
		strncpy(s->cluster, o->cluster, sizeof(s->cluster) - 1);
	o->cluster = s->cluster;
	o->origins = NULL; /* copied, see s->origins */
}

static enum kr_err open_origins(struct kr_tracker_service *s,
				const struct kr_tracker_service_opts *opts)
{
	const char *names[KR_ORIGINS_MAX];
	struct kr_addr addrs[KR_ORIGINS_MAX];
	const struct kr_origins_opts o = {
		.io = s->io,
		.names = names,
		.addrs = addrs,
		.count = opts->origin_count,
		.replicas = s->opts.replicas,
		.rpc_timeout_ns = s->opts.upstream_timeout_ns,
		.health_interval_ns = s->opts.check_interval_ns,
	};

	if (opts->origin_count == 0)
		return KR_OK;
	if (opts->origin_count > KR_ORIGINS_MAX)
		return KR_E_LIMIT;
	for (uint32_t i = 0; i < opts->origin_count; i++) {
		names[i] = opts->origins[i].name;
		addrs[i] = opts->origins[i].rpc;
	}
	s->origin_count = opts->origin_count;
	return kr_origins_open(&o, &s->origins);
}

static enum kr_err open_parts(struct kr_tracker_service *s,
			      const struct kr_tracker_service_opts *opts)
{
	const struct kr_tracker_opts t = { .alloc = kr_alloc_heap(),
					   .seed = opts->seed,
					   .ttl_ns = s->opts.ttl_ns,
					   .blobs_max = opts->blobs_max,
					   .peers_max = opts->peers_max,
					   .members_max = opts->members_max };
	const struct kr_rpc_server_opts r = {
		.listen = opts->listen,
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.ctx = s,
		.connections_max = opts->connections_max != 0
					   ? opts->connections_max
					   : CONNECTIONS_DEFAULT,
		.request_len_max = REQUEST_LEN_MAX,
	};
	enum kr_err err = kr_tracker_open(&t, &s->tracker);

	if (err == KR_OK)
		err = open_origins(s, opts);
	if (err == KR_OK)
		err = kr_rpc_server_open(s->io, &r, &s->server);
	return err;
}

enum kr_err kr_tracker_service_open(const struct kr_tracker_service_opts *opts,
				    struct kr_tracker_service **ret)
{
	struct kr_tracker_service *s = calloc(1, sizeof(*s));
	enum kr_err err;

	if (s == NULL)
		return KR_E_NOMEM;
	s->io = opts->io;
	set_opts(s, opts);
	tracker_metainfo_open(s);
	register_metrics(s);
	err = open_parts(s, opts);
	if (err != KR_OK) {
		kr_tracker_service_close(s);
		return err;
	}
	on_expire(&s->expire_timer);
	*ret = s;
	return KR_OK;
}

void kr_tracker_service_close(struct kr_tracker_service *s)
{
	if (s == NULL)
		return;
	kr_io_timer_stop(s->io, &s->expire_timer);
	tracker_metainfo_close(s);
	if (s->origins != NULL)
		kr_origins_close(s->origins);
	kr_rpc_server_close(s->server);
	kr_tracker_close(s->tracker);
	free(s);
}

struct kr_addr kr_tracker_service_addr(const struct kr_tracker_service *s)
{
	return kr_rpc_server_addr(s->server);
}

void kr_tracker_service_stats_get(const struct kr_tracker_service *s,
				  struct kr_tracker_service_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	kr_tracker_stats_get(s->tracker, &ret->tracker);
	ret->origins = s->origin_count;
	if (s->origins != NULL)
		ret->origins_healthy = kr_origins_healthy_count(s->origins);
	ret->metainfo_hits = s->hits;
	ret->metainfo_upstream = s->upstream;
	ret->metainfo_joined = s->joined;
	ret->cache_bytes = s->cache_bytes;
}
