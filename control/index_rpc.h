/*
 * control/index_rpc.h - the build-index on the network: methods index.* of
 * RPC.md, on control/index.h and control/mirror.h, and the copying of every put
 * to the other build-indexes.
 *
 * A put and its copies are queued in one transaction; a copy is retried with
 * back-off until the other index has it, also after a restart of either.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_INDEX_RPC_H
#define KR_CONTROL_INDEX_RPC_H

#include <stdint.h>

#include "control/db.h"
#include "control/index.h"
#include "control/mirror.h"
#include "core/addr.h"
#include "core/err.h"
#include "core/io.h"

struct kr_index_service;

struct kr_index_peer {
	const char *name;   /* names its queue: must stay the same over
			       restarts ("index2:15004"); at most 48 bytes */
	struct kr_addr rpc; /* where that is */
};

struct kr_index_service_opts {
	struct kr_io *io; /* borrowed */
	struct kr_addr listen;
	const char *path; /* of the database file */
	uint64_t node;    /* unlike the other indexes'; 0: one is drawn at the
			     first start and kept in the database */
	const struct kr_index_peer *peers; /* copied */
	uint32_t peer_count;               /* at most KR_INDEX_PEERS_MAX */
	const char *const *immutable;      /* control/index.h */
	uint32_t immutable_count;          /* at most KR_INDEX_IMMUTABLE_MAX */
	/* control/mirror.h */
	const struct kr_backends *backends; /* of tags, for the life, or NULL */
	const struct kr_mirror_rule *rules;
	uint32_t rule_count;
	uint64_t upstream_timeout_ns;
	uint64_t copy_timeout_ns;  /* 0: 10 s */
	uint64_t copy_interval_ns; /* look for due copies; 0: 1 s */
	uint64_t backoff_min_ns, backoff_max_ns; /* 0: 1 s, 5 min */
	uint64_t seed;
	uint32_t connections_max; /* 0: 4096 */
};

/* BLOCKS while the database is opened.  KR_E_EXISTS: the address is in use;
 * KR_E_CORRUPT, KR_E_DENIED ...: the database (db.h); others: nothing was
 * kept. */
KR_NODISCARD enum kr_err kr_index_service_open(
	const struct kr_index_service_opts *opts,
	struct kr_index_service **ret);
/* Turns the ring until the database is idle; not from a call-back. */
void kr_index_service_close(struct kr_index_service *s);
struct kr_addr kr_index_service_addr(const struct kr_index_service *s);
/* For the HTTP endpoints of the same process. */
struct kr_index *kr_index_service_index(struct kr_index_service *s);
struct kr_mirror *kr_index_service_mirror(struct kr_index_service *s);

#endif
