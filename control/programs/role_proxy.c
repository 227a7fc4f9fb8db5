/* The proxy: a pushing and pulling registry in front of the origins. */
#include <stdlib.h>

#include "control/disputes.h"
#include "control/programs/desk.h"
#include "control/programs/hosts.h"
#include "control/programs/kept.h"
#include "control/programs/links.h"
#include "control/programs/lists.h"
#include "control/programs/manifests.h"
#include "control/programs/pull.h"
#include "control/programs/ready.h"
#include "control/programs/runtime.h"
#include "control/programs/uploads.h"
#include "core/log.h"

enum { HINTS_MAX = 16 };

struct role {
	struct kr_runtime rt;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_origins *origins;
	struct kr_indexes *indexes;
	struct kr_pusher *pusher;
	struct kr_uploads *uploads;
	struct kr_desk desk;
	struct kr_pull pull;
	struct kr_ready ready;
	struct kr_manifests manifests;
	struct kr_lists lists;
	struct kr_links links;
	struct kr_kept kept;
	struct kr_disputes disputes;
	struct kr_http *http;
	bool desk_open;
};

/* A proxy downloads from the owners only: clients push through it, and the
 * few who pull do not make a swarm. */
static void need_peers(void *ctx, struct kr_blob *b)
{
	struct role *r = ctx;
	struct kr_peer_hint hints[HINTS_MAX];

	if (kr_blob_complete(b) || r->origins == NULL)
		return;
	const uint32_t n = kr_origins_hints(r->origins, kr_blob_digest(b),
					    hints, HINTS_MAX);
	kr_blob_peers(b, hints, n);
}

static void bad_peer(void *ctx, struct kr_blob *b, const struct kr_peer_id *id,
		     const struct kr_addr *addr)
{
	(void)ctx;
	(void)id;
	kr_log_error("proxy",
		     "an origin sent bytes that do not match their "
		     "hash",
		     KR_DIGEST("digest", kr_blob_digest(b)),
		     KR_ADDR("peer", addr),
		     KR_STR("do", "check the disk of that origin"));
}

static enum kr_err open_uploads(struct role *r, const struct kr_peer_id *id)
{
	const enum kr_err err = kr_hosts_pusher(
		&r->rt, KR_PEER_PROXY, id, r->transfer, r->origins, &r->pusher);

	if (err != KR_OK)
		return err;
	const struct kr_uploads_opts uploads = {
		.io = r->rt.io,
		.store = r->store,
		.origins = r->origins,
		.pusher = r->pusher,
		.ttl_ns = r->rt.conf.upload_ttl_ns,
		.indexes = r->indexes
	};
	return kr_uploads_open(&uploads, &r->uploads);
}

static void disputed(void *ctx, struct kr_blob *b)
{
	struct role *r = ctx;

	if (r->origins != NULL)
		kr_disputes_settle(&r->disputes, b);
}

static enum kr_err open_parts(struct role *r)
{
	struct kr_transfer_opts opts = {
		.role = KR_PEER_PROXY,
		.verify_full = true,
		.ctx = r,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
		.disputed = disputed,
	};
	enum kr_err err = kr_hosts_origins(&r->rt, &r->origins);

	if (err == KR_OK) {
		kr_disputes_open(&r->disputes, r->rt.io, NULL, r->origins);
		err = kr_hosts_indexes(&r->rt, &r->indexes);
	}
	if (err == KR_OK)
		err = kr_runtime_swarm(&r->rt, &opts, &r->store, &r->transfer);
	if (err == KR_OK)
		err = open_uploads(r, &opts.id);
	return err;
}

static void attach(struct role *r)
{
	kr_desk_open(&r->desk, r->rt.io);
	r->desk_open = true;
	r->pull = (struct kr_pull){
		.io = r->rt.io,
		.transfer = r->transfer,
		.indexes = r->indexes,
		.origins = r->origins,
		.manifest_bytes_max = r->rt.conf.manifest_bytes_max,
	};
	r->manifests = (struct kr_manifests){
		.io = r->rt.io,
		.store = r->store,
		.origins = r->origins,
		.pusher = r->pusher,
		.indexes = r->indexes,
		.sparse = r->rt.conf.sparse_manifests,
	};
	kr_pull_attach(&r->pull, &r->desk);
	kr_uploads_attach(r->uploads, &r->desk);
	kr_manifests_attach(&r->manifests, &r->desk);
	r->lists = (struct kr_lists){ .indexes = r->indexes };
	kr_lists_attach(&r->lists, &r->desk);
	r->links = (struct kr_links){ .io = r->rt.io,
				      .indexes = r->indexes,
				      .origins = r->origins };
	kr_links_attach(&r->links, &r->desk);
	r->kept = (struct kr_kept){ .io = r->rt.io,
				    .transfer = r->transfer,
				    .store = r->store,
				    .origins = r->origins };
	kr_kept_attach(&r->kept, &r->desk);
	r->ready = (struct kr_ready){ .indexes = r->indexes,
				      .origins = r->origins };
	kr_ready_attach(&r->ready, &r->desk);
}

static void close_all(struct role *r)
{
	if (r->http != NULL)
		kr_runtime_stop_http(&r->rt, r->http);
	if (r->desk_open)
		kr_desk_close(&r->desk);
	if (r->uploads != NULL)
		kr_uploads_close(r->uploads);
	if (r->pusher != NULL)
		kr_pusher_close(r->pusher);
	kr_disputes_close(&r->disputes);
	struct kr_origins *origins = r->origins;
	r->origins = NULL; /* need_peers: we are closing */
	if (r->transfer != NULL)
		kr_transfer_close(r->transfer);
	if (origins != NULL)
		kr_origins_close(origins);
	if (r->indexes != NULL)
		kr_indexes_close(r->indexes);
	if (r->store != NULL)
		kr_store_close(r->store);
}

int kr_proxy_main(int argc, char **argv)
{
	struct role r = { .store = NULL };
	enum kr_err err = kr_runtime_open(&r.rt, KR_ROLE_PROXY, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = open_parts(&r);
	if (err == KR_OK) {
		attach(&r);
		err = kr_runtime_serve(&r.rt, &r.desk.registry, true, &r.http);
	}
	if (err == KR_OK)
		err = kr_runtime_run(&r.rt);
	close_all(&r);
	kr_runtime_close(&r.rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
