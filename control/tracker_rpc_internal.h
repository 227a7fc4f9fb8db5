/*
 * control/tracker_rpc_internal.h - the parts of a tracker on the network.
 *
 * Private to tracker_rpc.c (methods), tracker_origins.c (health of origins)
 * and tracker_metainfo.c (questions upstream, cache).
 */
#ifndef KR_CONTROL_TRACKER_RPC_INTERNAL_H
#define KR_CONTROL_TRACKER_RPC_INTERNAL_H

#include "control/health.h"
#include "control/origin_msg.h"
#include "control/ring.h"
#include "control/rpc.h"
#include "control/tracker_msg.h"
#include "control/tracker_rpc.h"
#include "core/list.h"
#include "core/map.h"
#include "core/metrics.h"
#include "core/rand.h"

struct tracker_origin {
	struct kr_tracker_service *service;
	struct kr_rpc_client *client;
	struct kr_rpc_call info_call;
	struct kr_timer timer;
	struct kr_health health;
	bool known; /* pick is what it said of itself */
	struct kr_tracker_pick pick;
	char name[KR_ADDR_TEXT_MAX * 4];
};

/* One question for a metainfo, with everybody who waits for the answer. */
struct metainfo_question {
	struct kr_tracker_service *service;
	struct kr_origin_msg_ref ref;
	struct kr_list waiting; /* of struct metainfo_waiter */
	struct kr_rpc_call call;
	uint32_t order[KR_RING_HOSTS_MAX]; /* whom to ask, in turn */
	uint32_t order_count, at;
	uint32_t answered; /* who said that they do not have it */
	enum kr_err last_err;
};

struct metainfo_waiter {
	struct kr_list link;
	struct kr_rpc_request *req;
};

/* An answer, kept. */
struct metainfo_entry {
	struct kr_list link; /* least recently used first */
	struct kr_digest digest;
	size_t len;
	uint8_t bytes[]; /* the encoded result */
};

struct kr_tracker_service {
	struct kr_io *io;
	struct kr_tracker_service_opts opts;
	char cluster[KR_NAME_MAX + 1];
	struct kr_rpc_server *server;
	struct kr_tracker *tracker;
	struct kr_timer expire_timer;
	struct kr_rand rand;
	struct kr_ring ring; /* only if there are origins */
	struct tracker_origin *origins;
	uint32_t origin_count;
	struct kr_digest_map questions;
	struct kr_digest_map cache;
	struct kr_list cache_by_use;
	size_t cache_bytes;
	uint64_t hits, upstream, joined;
	bool closing;
	struct { /* gauges of the process */
		struct kr_metric *peers, *blobs, *members, *announces, *handed,
			*reports, *origins_healthy, *cache_bytes;
	} metrics;
};

/* tracker_origins.c */
KR_NODISCARD enum kr_err tracker_origins_open(
	struct kr_tracker_service *s,
	const struct kr_tracker_service_opts *opts);
void tracker_origins_close(struct kr_tracker_service *s);
/* Append the responsible healthy origins of @d, but @id itself, to the
 * @count picks in @out; returns the new count. */
uint32_t tracker_origins_add(struct kr_tracker_service *s,
			     const struct kr_digest *d,
			     const struct kr_peer_id *id,
			     struct kr_tracker_pick *out, uint32_t count,
			     uint32_t max);
bool tracker_origin_usable(const struct tracker_origin *o);
/* The same, as a kr_ring_healthy_fn. */
bool tracker_origin_is_healthy(void *service, uint32_t index);

/* tracker_metainfo.c */
void tracker_metainfo_ask(struct kr_tracker_service *s,
			  struct kr_rpc_request *req, struct kr_bytes params);
void tracker_metainfo_open(struct kr_tracker_service *s);
void tracker_metainfo_close(struct kr_tracker_service *s);

#endif
