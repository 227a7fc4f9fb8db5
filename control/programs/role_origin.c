/*
 * The origin: store, swarm, storage backends, RPC; and Kraken's HTTP
 * endpoints, which ask the owners of a blob, us among them, by RPC as a proxy
 * does, and push what is uploaded to us to them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/origin.h"
#include "control/programs/desk.h"
#include "control/programs/hosts.h"
#include "control/programs/kept.h"
#include "control/programs/pull.h"
#include "control/programs/reactors.h"
#include "control/programs/runtime.h"
#include "control/programs/storage.h"
#include "control/programs/uploads.h"
#include "core/clock.h"
#include "core/log.h"

enum { HINTS_MAX = 16 };

struct role {
	struct kr_runtime rt;
	struct kr_backends *backends;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_reactors reactors;
	struct kr_origin *origin;
	/* for Kraken's endpoints */
	struct kr_origins *origins; /* the owners, as a client sees them */
	struct kr_peer_id id;
	struct kr_pusher *pusher;
	struct kr_uploads *uploads;
	struct kr_desk desk;
	struct kr_pull pull;
	struct kr_kept kept;
	bool desk_open;
};

static enum kr_err open_backends(struct role *r)
{
	const enum kr_err err =
		kr_storage_open(&r->rt.conf, "origin", &r->backends);

	if (err == KR_OK && r->rt.conf.backends.count == 0)
		kr_log_warn("origin",
			    "no storage backend is configured: the origins' "
			    "disks are all there is, and what is pushed stays "
			    "on them",
			    KR_STR("do", "configure backends, or give the "
					 "store room for all pushes"));
	return err;
}

static void need_peers(void *ctx, struct kr_blob *b)
{
	struct role *r = ctx;
	struct kr_peer_hint hints[HINTS_MAX];
	uint32_t n, others = 0;

	if (r->origin != NULL)
		kr_origin_need_peers(r->origin, b);
	if (r->origins == NULL || kr_blob_complete(b))
		return;
	n = kr_origins_hints(r->origins, kr_blob_digest(b), hints, HINTS_MAX);
	for (uint32_t i = 0; i < n; i++)
		if (memcmp(&hints[i].id, &r->id, sizeof(r->id)) != 0)
			hints[others++] = hints[i];
	kr_blob_peers(b, hints, others);
}

/* The ingest is told by a piece that fails; nobody else is to be told: who
 * sends to an origin is a proxy or an origin, known to its operator. */
static void bad_peer(void *ctx, struct kr_blob *b, const struct kr_peer_id *id,
		     const struct kr_addr *addr)
{
	(void)ctx;
	(void)id;
	kr_log_error("origin", "a peer sent bytes that do not match their hash",
		     KR_DIGEST("digest", kr_blob_digest(b)),
		     KR_ADDR("peer", addr));
}

static void need_room(void *ctx, uint64_t bytes)
{
	struct role *r = ctx;

	(void)bytes;
	kr_reactors_make_room(&r->reactors);
}

static enum kr_err open_origin(struct role *r, const struct kr_peer_id *id)
{
	const struct kr_conf *c = &r->rt.conf;
	struct kr_origin_opts opts = {
		.io = r->rt.io,
		.store = r->store,
		.backends = r->backends,
		.connections_max = (uint32_t)c->rpc_connections,
		.seed = kr_clock_entropy(),
	};
	char path[4096];
	enum kr_err err;
	const int n = snprintf(path, sizeof(path), "%s/queue.db", c->store_dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return KR_E_TOOBIG;
	opts.queue_path = path;
	kr_hosts_self(c, KR_PEER_ORIGIN, id, kr_transfer_addr(r->transfer).port,
		      &opts.self);
	err = kr_runtime_addr(c->bind_ip, c->rpc_port, &opts.listen);
	if (err == KR_OK)
		err = kr_origin_open(&opts, &r->origin);
	if (err == KR_OK)
		err = kr_origin_start(r->origin, r->transfer);
	if (err != KR_OK)
		kr_log_error("origin", "cannot start", KR_ERR("why", err),
			     KR_U64("rpc_port", c->rpc_port),
			     KR_STR("queue", path));
	return err;
}

/* ---- Kraken's endpoints -------------------------------------------------*/

static void on_ready(void *ctx, struct kr_reg_call *call)
{
	(void)ctx;
	kr_desk_refuse(call, KR_OK, NULL);
}

/* The address at which we reach what we listen on ourselves. */
static const char *own_ip(const struct kr_conf *c)
{
	if (strcmp(c->bind_ip, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(c->bind_ip, "::") == 0 ? "::1" : c->bind_ip;
}

/* The owners as configured; else we are the only one, by our own RPC. */
static enum kr_err open_owners(struct role *r)
{
	const struct kr_conf *c = &r->rt.conf;
	struct kr_addr addr;
	char name[KR_ADDR_TEXT_MAX];
	const char *const names[] = { name };
	enum kr_err err;

	if (c->origins.count > 0)
		return kr_hosts_origins(&r->rt, &r->origins);
	err = kr_runtime_addr(own_ip(c), c->rpc_port, &addr);
	if (err != KR_OK)
		return err;
	(void)kr_addr_print(&addr, name);
	const struct kr_origins_opts opts = {
		.io = r->rt.io,
		.names = names,
		.addrs = &addr,
		.count = 1,
		.replicas = 1,
		.rpc_timeout_ns = c->rpc_timeout_ns,
		.health_interval_ns = c->health_interval_ns,
	};
	return kr_origins_open(&opts, &r->origins);
}

static enum kr_err open_uploads(struct role *r)
{
	const enum kr_err err =
		kr_hosts_pusher(&r->rt, KR_PEER_ORIGIN, &r->id, r->transfer,
				r->origins, &r->pusher);

	if (err != KR_OK)
		return err;
	const struct kr_uploads_opts uploads = {
		.io = r->rt.io,
		.store = r->store,
		.origins = r->origins,
		.pusher = r->pusher,
		.ttl_ns = r->rt.conf.upload_ttl_ns
	};
	return kr_uploads_open(&uploads, &r->uploads);
}

static enum kr_err open_desk(struct role *r)
{
	enum kr_err err = open_owners(r);

	if (err == KR_OK)
		err = open_uploads(r);
	if (err != KR_OK)
		return err;
	kr_desk_open(&r->desk, r->rt.io);
	r->desk_open = true;
	r->pull = (struct kr_pull){ .io = r->rt.io,
				    .transfer = r->transfer,
				    .origins = r->origins,
				    .impatient = true };
	r->kept = (struct kr_kept){
		.io = r->rt.io,
		.transfer = r->transfer,
		.store = r->store,
		.seeders = r->reactors.seeders,
		.origins = r->origins,
		.servers = &r->rt.conf.origin_servers,
		.server_port = (uint16_t)r->rt.conf.server_port,
	};
	kr_pull_attach(&r->pull, &r->desk);
	kr_pull_attach_serve(&r->pull, &r->desk);
	kr_uploads_attach(r->uploads, &r->desk);
	kr_kept_attach(&r->kept, &r->desk);
	kr_desk_handle(&r->desk, KR_REG_READY, on_ready, r);
	r->rt.registry = &r->desk.registry;
	return KR_OK;
}

static void close_desk(struct role *r)
{
	if (r->desk_open)
		kr_desk_close(&r->desk);
	if (r->uploads != NULL)
		kr_uploads_close(r->uploads);
	if (r->pusher != NULL)
		kr_pusher_close(r->pusher);
}

static void close_all(struct role *r)
{
	struct kr_origins *origins = r->origins;

	close_desk(r);
	r->origins = NULL; /* need_peers: we are closing */
	if (r->origin != NULL)
		kr_origin_close(r->origin);
	r->origin = NULL; /* likewise */
	kr_reactors_stop(&r->reactors);
	if (r->transfer != NULL)
		kr_transfer_close(r->transfer);
	kr_reactors_fini(&r->reactors);
	if (origins != NULL)
		kr_origins_close(origins);
	if (r->store != NULL)
		kr_store_close(r->store);
	kr_backends_close(r->backends);
}

/* Without a port that is known nobody can be asked, not even we. */
static bool can_serve_kraken(const struct kr_conf *c)
{
	return c->server_port != 0 &&
	       (c->origins.count > 0 || c->rpc_port != 0);
}

static enum kr_err serve(struct role *r)
{
	struct kr_transfer_opts transfer = {
		.role = KR_PEER_ORIGIN,
		.verify_full = true,
		.ctx = r,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
		.need_room = need_room,
	};
	enum kr_err err = open_backends(r);

	kr_reactors_share(&r->reactors, &r->rt, &transfer);
	if (err == KR_OK)
		err = kr_runtime_swarm(&r->rt, &transfer, &r->store,
				       &r->transfer);
	if (err == KR_OK)
		err = open_origin(r, &transfer.id);
	if (err == KR_OK)
		err = kr_reactors_start(&r->reactors, &transfer, r->store,
					r->transfer);
	r->id = transfer.id;
	if (err == KR_OK && can_serve_kraken(&r->rt.conf))
		err = open_desk(r);
	if (err == KR_OK)
		err = kr_runtime_run(&r->rt);
	close_all(r);
	return err;
}

int kr_origin_main(int argc, char **argv)
{
	struct role r = { .backends = NULL };
	enum kr_err err = kr_runtime_open(&r.rt, KR_ROLE_ORIGIN, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = serve(&r);
	kr_runtime_close(&r.rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
