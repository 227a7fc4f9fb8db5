/*
 * control/origin.h - a dedicated seeder: keeps blobs, vouches for their
 * metainfo, takes pushes, and is backed by a storage backend.
 *
 *	origin.ingest --> fetch over the swarm from the proxy and the other
 *	    owners --> whole blob hashed --> durable, queued for write-back -->
 *	    answered
 *	origin.metainfo --> from the store; or made from the blob; or the blob
 *	    is fetched from the backend first
 *
 * Methods and messages are in RPC.md.  Pieces are served by the transfer
 * (peers' lookups find complete blobs in the store by themselves).
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_ORIGIN_H
#define KR_CONTROL_ORIGIN_H

#include <stdint.h>

#include "backends/backends.h"
#include "control/tracker_msg.h"
#include "control/transfer.h"
#include "core/addr.h"
#include "core/err.h"
#include "core/io.h"
#include "core/store.h"

struct kr_origin;

/* An ingest that verifies nothing for this long is given up. */
#define KR_ORIGIN_STALL_NS UINT64_C(60000000000)

struct kr_origin_opts {
	struct kr_io *io; /* borrowed, as all pointers here */
	struct kr_store *store;
	const struct kr_backends *backends;
	struct kr_addr listen;           /* of RPC */
	const char *queue_path;          /* database of pending write-backs */
	struct kr_tracker_msg_peer self; /* the answer to origin.info */
	uint32_t connections_max;
	uint64_t seed;
};

/*
 * Open the parts that need no swarm; kr_origin_start when the transfer is
 * there.  BLOCKS while the queue's database is opened.  Errors: those of
 * kr_db_open and kr_rpc_server_open; what is wrong has been logged.
 */
KR_NODISCARD enum kr_err kr_origin_open(const struct kr_origin_opts *opts,
					struct kr_origin **ret);
/* Begin to answer.  KR_E_EXISTS: the address is in use. */
KR_NODISCARD enum kr_err kr_origin_start(struct kr_origin *o,
					 struct kr_transfer *t);
/* Requests under way are answered KR_E_UNAVAILABLE.  Before the transfer is
 * closed. */
void kr_origin_close(struct kr_origin *o);

/* kr_transfer_opts.need_peers of an origin. */
void kr_origin_need_peers(struct kr_origin *o, struct kr_blob *b);

#endif
