/*
 * control/tracker_rpc_internal.h - the parts of a tracker on the network.
 *
 * Private to tracker_rpc.c (methods) and tracker_metainfo.c (questions
 * upstream, cache).
 */
#ifndef KR_CONTROL_TRACKER_RPC_INTERNAL_H
#define KR_CONTROL_TRACKER_RPC_INTERNAL_H

#include "control/origin_msg.h"
#include "control/origins.h"
#include "control/rpc.h"
#include "control/tracker_msg.h"
#include "control/tracker_rpc.h"
#include "core/list.h"
#include "core/map.h"
#include "core/metrics.h"

/* One question for a metainfo, with everybody who waits for the answer. */
struct metainfo_question {
	struct kr_tracker_service *service;
	struct kr_origin_msg_ref ref;
	struct kr_list waiting; /* of struct metainfo_waiter */
	struct kr_origins_ask ask;
};

struct metainfo_waiter {
	struct kr_list link;
	struct kr_rpc_request *req;
	bool of_other_ns; /* than the question that it waits for */
};

/* An answer, kept. */
struct metainfo_entry {
	struct kr_list link; /* least recently used first */
	struct kr_origin_msg_ref ref;
	uint64_t asked_ns; /* an origin said so, or none could be asked */
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
	struct kr_origins *origins; /* NULL: none is configured */
	uint32_t origin_count;
	struct kr_digest_map questions;
	struct kr_digest_map cache;
	struct kr_list cache_by_use;
	size_t cache_bytes;
	uint64_t hits, upstream, joined;
	struct { /* gauges of the process */
		struct kr_metric *peers, *blobs, *members, *announces, *handed,
			*reports, *origins_healthy, *cache_bytes;
	} metrics;
};

/* Is a host of @cluster none of ours?  Then @req has been refused. */
bool tracker_refuses(const struct kr_tracker_service *s,
		     struct kr_rpc_request *req, const char *cluster);

/* tracker_metainfo.c */
void tracker_metainfo_ask(struct kr_tracker_service *s,
			  struct kr_rpc_request *req, struct kr_bytes params);
/* Somebody who wants blob @d is about to be sent to its origins: see to it that
 * they have it, if they said so a while ago. */
void tracker_metainfo_confirm(struct kr_tracker_service *s,
			      const struct kr_digest *d);
void tracker_metainfo_open(struct kr_tracker_service *s);
/* Questions under way are answered KR_E_UNAVAILABLE.  Before the origins are
 * closed. */
void tracker_metainfo_close(struct kr_tracker_service *s);

#endif
