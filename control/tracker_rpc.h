/*
 * control/tracker_rpc.h - the tracker on the network: methods tracker.* of
 * RPC.md, on control/tracker.h.
 *
 * It asks each configured origin who it is (origin.info) every few seconds;
 * the responsible healthy ones are part of every handout.  Questions for a
 * metainfo go to the origins of the blob in ring order; equal questions that
 * are open at the same time are one question upstream, and answers are cached,
 * for a short time: a blob that no origin has any more is fetched from its
 * storage backend by the origin that is asked.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_TRACKER_RPC_H
#define KR_CONTROL_TRACKER_RPC_H

#include <stddef.h>
#include <stdint.h>

#include "control/tracker.h"
#include "core/addr.h"
#include "core/err.h"
#include "core/io.h"

struct kr_tracker_service;

struct kr_tracker_origin {
	const char *name;   /* as everybody's configuration spells it: the
			       ring hashes it */
	struct kr_addr rpc; /* where that is */
};

struct kr_tracker_service_opts {
	struct kr_io *io; /* borrowed */
	struct kr_addr listen;
	const struct kr_tracker_origin *origins; /* copied; may be none */
	uint32_t origin_count;                   /* at most KR_RING_HOSTS_MAX */
	uint32_t replicas;                       /* owners of a blob; 0: 3 */
	const char *cluster; /* copied; announces of another cluster are
				  refused; NULL or "": all are taken */
	uint64_t seed;
	uint64_t interval_ns;         /* peers announce this often; 0: 30 s */
	uint64_t ttl_ns;              /* 0: 4 intervals */
	uint64_t check_interval_ns;   /* of origins; 0: 3 s */
	uint64_t upstream_timeout_ns; /* one question to one origin; 0: 2 s */
	size_t cache_bytes;           /* of metainfos; 0: 64 MiB */
	uint64_t fresh_ns; /* the origins are asked again for a metainfo that is
			      older; 0: 2 s */
	uint32_t blobs_max, peers_max, members_max; /* see tracker.h */
	uint32_t connections_max;                   /* 0: 20000 */
};

/* KR_E_EXISTS: the address is in use; KR_E_INVALID, KR_E_LIMIT: the list of
 * origins (ring.h); others: nothing was kept. */
KR_NODISCARD enum kr_err kr_tracker_service_open(
	const struct kr_tracker_service_opts *opts,
	struct kr_tracker_service **ret);
/* Not from inside one of its call-backs. */
void kr_tracker_service_close(struct kr_tracker_service *s);
struct kr_addr kr_tracker_service_addr(const struct kr_tracker_service *s);

struct kr_tracker_service_stats {
	struct kr_tracker_stats tracker;
	uint32_t origins, origins_healthy;
	uint64_t metainfo_hits, metainfo_upstream, metainfo_joined;
	size_t cache_bytes;
};
void kr_tracker_service_stats_get(const struct kr_tracker_service *s,
				  struct kr_tracker_service_stats *ret);

#endif
