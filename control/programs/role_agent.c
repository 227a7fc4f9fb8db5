/* The agent: a pulling registry on localhost, in the swarm. */
#include <stdlib.h>

#include "control/disputes.h"
#include "control/programs/desk.h"
#include "control/programs/hosts.h"
#include "control/programs/kept.h"
#include "control/programs/lists.h"
#include "control/programs/preload.h"
#include "control/programs/pull.h"
#include "control/programs/ready.h"
#include "control/programs/runtime.h"
#include "core/log.h"

struct role {
	struct kr_runtime rt;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_trackers *trackers;
	struct kr_indexes *indexes;
	struct kr_desk desk;
	struct kr_pull pull;
	struct kr_lists lists;
	struct kr_ready ready;
	struct kr_kept kept;
	struct kr_preload preload;
	struct kr_disputes disputes;
	struct kr_http *http;
	bool desk_open;
};

static void need_peers(void *ctx, struct kr_blob *b)
{
	struct role *r = ctx;

	if (r->trackers != NULL) /* else we are closing */
		kr_trackers_need_peers(r->trackers, b);
}

static void bad_peer(void *ctx, struct kr_blob *b, const struct kr_peer_id *id,
		     const struct kr_addr *addr)
{
	struct role *r = ctx;

	kr_log_error("agent",
		     "a peer sent bytes that do not match their hash: "
		     "dropped and reported",
		     KR_DIGEST("digest", kr_blob_digest(b)),
		     KR_ADDR("peer", addr));
	if (r->trackers != NULL)
		kr_trackers_report(r->trackers, kr_blob_digest(b), id);
}

static void changed(void *ctx, struct kr_blob *b, bool complete)
{
	struct role *r = ctx;

	if (complete && r->trackers != NULL)
		kr_trackers_completed(r->trackers, b);
}

static void disputed(void *ctx, struct kr_blob *b)
{
	struct role *r = ctx;

	if (r->trackers != NULL)
		kr_disputes_settle(&r->disputes, b);
}

static void need_room(void *ctx, uint64_t bytes)
{
	struct role *r = ctx;

	if (r->trackers != NULL)
		kr_trackers_make_room(r->trackers, bytes);
}

/* What an earlier run left is announced again: else a restart of all agents
 * puts everything on the origins. */
struct stored {
	struct role *r;
	uint32_t count, max;
};

static void announce_stored(void *ctx, const struct kr_digest *d,
			    uint64_t size_bytes)
{
	struct stored *s = ctx;
	struct kr_blob *b;

	if (s->count == s->max || size_bytes == 0 ||
	    kr_transfer_open_blob(s->r->transfer, d, &b) != KR_OK)
		return;
	s->count++;
	kr_trackers_completed(s->r->trackers, b);
	kr_blob_put(b);
}

static void announce_all_stored(struct role *r)
{
	struct stored s = {
		.r = r,
		.max = (uint32_t)(r->rt.conf.policy.blobs_max / 2),
	};

	kr_store_for_each(r->store, announce_stored, &s);
	if (s.count > 0)
		kr_log_info("agent", "blobs of an earlier run are announced",
			    KR_U64("blobs", s.count));
}

static enum kr_err open_swarm(struct role *r)
{
	struct kr_transfer_opts opts = {
		.role = KR_PEER_AGENT,
		.verify_full = r->rt.conf.verify_full,
		.ctx = r,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
		.disputed = disputed,
		.changed = changed,
		.need_room = need_room,
	};
	enum kr_err err = kr_hosts_trackers(&r->rt, &r->trackers);

	if (err != KR_OK)
		return err;
	kr_disputes_open(&r->disputes, r->rt.io, r->trackers, NULL);
	err = kr_runtime_swarm(&r->rt, &opts, &r->store, &r->transfer);
	if (err != KR_OK)
		return err;
	kr_trackers_attach(r->trackers, r->transfer, &opts.id,
			   kr_transfer_addr(r->transfer).port);
	announce_all_stored(r);
	return KR_OK;
}

static void attach(struct role *r)
{
	kr_desk_open(&r->desk, r->rt.io);
	r->desk_open = true;
	r->pull = (struct kr_pull){
		.io = r->rt.io,
		.transfer = r->transfer,
		.indexes = r->indexes,
		.trackers = r->trackers,
		.manifest_bytes_max = r->rt.conf.manifest_bytes_max,
	};
	r->ready = (struct kr_ready){ .indexes = r->indexes,
				      .trackers = r->trackers };
	r->kept = (struct kr_kept){ .io = r->rt.io,
				    .transfer = r->transfer,
				    .store = r->store,
				    .trackers = r->trackers };
	r->preload.io = r->rt.io;
	r->preload.docker_host = r->rt.conf.docker_host;
	r->preload.containerd_address = r->rt.conf.containerd_address;
	r->preload.registry_ip = r->rt.conf.registry_ip;
	r->preload.registry_port = (uint16_t)r->rt.conf.registry_port;
	kr_kept_attach(&r->kept, &r->desk);
	kr_preload_attach(&r->preload, &r->desk);
	kr_pull_attach(&r->pull, &r->desk);
	kr_pull_attach_serve(&r->pull, &r->desk);
	r->lists = (struct kr_lists){ .indexes = r->indexes };
	kr_lists_attach(&r->lists, &r->desk);
	kr_ready_attach(&r->ready, &r->desk);
}

static void close_all(struct role *r)
{
	if (r->http != NULL)
		kr_runtime_stop_http(&r->rt, r->http);
	if (r->desk_open) {
		kr_preload_close(&r->preload);
		kr_desk_close(&r->desk);
	}
	kr_disputes_close(&r->disputes);
	if (r->trackers != NULL)
		kr_trackers_close(r->trackers);
	r->trackers = NULL;
	if (r->transfer != NULL)
		kr_transfer_close(r->transfer);
	if (r->indexes != NULL)
		kr_indexes_close(r->indexes);
	if (r->store != NULL)
		kr_store_close(r->store);
}

int kr_agent_main(int argc, char **argv)
{
	struct role r = { .store = NULL };
	enum kr_err err = kr_runtime_open(&r.rt, KR_ROLE_AGENT, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = kr_hosts_indexes(&r.rt, &r.indexes);
	if (err == KR_OK)
		err = open_swarm(&r);
	if (err == KR_OK) {
		attach(&r);
		err = kr_runtime_serve(&r.rt, &r.desk.registry, false, &r.http);
	}
	if (err == KR_OK)
		err = kr_runtime_run(&r.rt);
	close_all(&r);
	kr_runtime_close(&r.rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
