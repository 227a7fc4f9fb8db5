/* The origins as a tracker knows them: asked who they are every few seconds,
 * believed healthy when they answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/tracker_rpc_internal.h"
#include "core/log.h"

#define CHECK_TIMEOUT_NS UINT64_C(1000000000)

/* A tracker that just started has to believe an origin at its first word. */
static const struct kr_health_opts health_opts = { .fails = 2, .passes = 1 };

static void check(struct kr_timer *t);

/* A connection that was refused is known sooner than a check that failed. */
bool tracker_origin_usable(const struct tracker_origin *o)
{
	return kr_health_is_healthy(&o->health) &&
	       kr_rpc_client_healthy(o->client);
}

bool tracker_origin_is_healthy(void *service, uint32_t index)
{
	const struct kr_tracker_service *s = service;

	return tracker_origin_usable(&s->origins[index]);
}

static enum kr_err take_info(struct tracker_origin *o, struct kr_bytes result)
{
	const struct kr_addr from = kr_rpc_client_addr(o->client);
	struct kr_tracker_msg_peer peer;
	enum kr_err err = kr_origin_msg_info_decode(result, &peer);

	if (err != KR_OK)
		return err;
	o->pick = (struct kr_tracker_pick){ .id = peer.id,
					    .role = KR_PEER_ORIGIN,
					    .complete = true };
	memcpy(o->pick.zone, peer.zone, sizeof(o->pick.zone));
	err = kr_tracker_msg_peer_addr(&peer, &from, &o->pick.addr);
	o->known = err == KR_OK;
	return err;
}

static void on_info(struct kr_rpc_call *call, enum kr_err err,
		    struct kr_bytes result, const char *text)
{
	struct tracker_origin *o =
		KR_CONTAINER_OF(call, struct tracker_origin, info_call);
	struct kr_tracker_service *s = o->service;
	const uint64_t interval_ns = s->opts.check_interval_ns;

	(void)text;
	if (s->closing)
		return;
	if (err == KR_OK)
		err = take_info(o, result);
	if (kr_health_check_done(&o->health, kr_io_now_ns(s->io),
				 err == KR_OK)) {
		if (err == KR_OK)
			kr_log_info("tracker", "origin is healthy",
				    KR_STR("origin", o->name));
		else
			kr_log_warn("tracker", "origin is not healthy",
				    KR_STR("origin", o->name),
				    KR_ERR("error", err));
	}
	kr_io_timer_set(s->io, &o->timer,
			kr_io_now_ns(s->io) + interval_ns / 2 +
				kr_rand_u64(&s->rand) % (interval_ns + 1),
			check);
}

static void check(struct kr_timer *t)
{
	struct tracker_origin *o =
		KR_CONTAINER_OF(t, struct tracker_origin, timer);

	kr_rpc_call(o->client, &o->info_call, "origin.info",
		    (struct kr_bytes){ 0 }, CHECK_TIMEOUT_NS, on_info);
}

uint32_t tracker_origins_add(struct kr_tracker_service *s,
			     const struct kr_digest *d,
			     const struct kr_peer_id *id,
			     struct kr_tracker_pick *out, uint32_t count,
			     uint32_t max)
{
	uint32_t owners[KR_RING_HOSTS_MAX];
	uint32_t owner_count;

	if (s->origin_count == 0)
		return count;
	owner_count = kr_ring_owners(&s->ring, d, tracker_origin_is_healthy, s,
				     owners, KR_RING_HOSTS_MAX);
	for (uint32_t i = 0; i < owner_count && count < max; i++) {
		const struct tracker_origin *o = &s->origins[owners[i]];
		bool there = memcmp(&o->pick.id, id, sizeof(*id)) == 0;

		/* It may announce itself like any peer. */
		for (uint32_t k = 0; k < count && !there; k++)
			there = memcmp(&out[k].id, &o->pick.id, sizeof(*id)) ==
				0;
		if (o->known && !there)
			out[count++] = o->pick;
	}
	return count;
}

static enum kr_err open_ring(struct kr_tracker_service *s,
			     const struct kr_tracker_service_opts *opts)
{
	const char *names[KR_RING_HOSTS_MAX];

	if (opts->origin_count > KR_RING_HOSTS_MAX)
		return KR_E_LIMIT;
	for (uint32_t i = 0; i < opts->origin_count; i++)
		names[i] = opts->origins[i].name;
	return kr_ring_init(&s->ring, names, opts->origin_count,
			    s->opts.replicas);
}

enum kr_err tracker_origins_open(struct kr_tracker_service *s,
				 const struct kr_tracker_service_opts *opts)
{
	enum kr_err err = KR_OK;

	if (opts->origin_count == 0)
		return KR_OK;
	err = open_ring(s, opts);
	if (err != KR_OK)
		return err;
	s->origins = calloc(opts->origin_count, sizeof(*s->origins));
	if (s->origins == NULL)
		return KR_E_NOMEM;
	for (uint32_t i = 0; i < opts->origin_count; i++) {
		struct tracker_origin *o = &s->origins[i];
		const struct kr_rpc_client_opts client = {
			.to = opts->origins[i].rpc,
		};

		o->service = s;
		(void)snprintf(o->name, sizeof(o->name), "%s",
			       opts->origins[i].name);
		kr_health_init(&o->health, &health_opts, false);
		err = kr_rpc_client_open(s->io, &client, &o->client);
		if (err != KR_OK)
			return err;
		s->origin_count++;
		check(&o->timer);
	}
	return KR_OK;
}

void tracker_origins_close(struct kr_tracker_service *s)
{
	for (uint32_t i = 0; i < s->origin_count; i++) {
		kr_io_timer_stop(s->io, &s->origins[i].timer);
		kr_rpc_client_close(s->origins[i].client);
	}
	free(s->origins);
	s->origins = NULL;
	s->origin_count = 0;
}
