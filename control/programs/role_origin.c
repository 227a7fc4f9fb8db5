/* The origin: store, swarm, storage backends, RPC. */
#include <stdio.h>
#include <stdlib.h>

#include "backends/file.h"
#include "control/origin.h"
#include "control/programs/hosts.h"
#include "control/programs/runtime.h"
#include "core/clock.h"
#include "core/log.h"

struct role {
	struct kr_runtime rt;
	struct kr_backends *backends;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_origin *origin;
};

static enum kr_err add_backend(struct kr_backends *bs,
			       const struct kr_conf_backend *conf)
{
	static const enum kr_backend_layout layouts[] = {
		[KR_CONF_SHARDED_DOCKER_BLOB] = KR_LAYOUT_SHARDED_DOCKER_BLOB,
		[KR_CONF_DOCKER_TAG] = KR_LAYOUT_DOCKER_TAG,
		[KR_CONF_IDENTITY] = KR_LAYOUT_IDENTITY,
	};
	char why[KR_BACKENDS_ERROR_MAX] = "";
	struct kr_backend *b = NULL;
	enum kr_err err = KR_E_CONFIG;

	if (conf->file_root[0] == '\0')
		(void)snprintf(why, sizeof(why),
			       "backend.file.root_directory is missing");
	else
		err = kr_backend_file_open(conf->file_root,
					   layouts[conf->name_path], &b);
	if (err == KR_OK) {
		err = kr_backends_add(bs, conf->namespace_regex, b, why);
		if (err != KR_OK)
			kr_backend_close(b);
	}
	if (err != KR_OK)
		kr_log_error("origin", "storage backend cannot be used",
			     KR_STR("namespace", conf->namespace_regex),
			     KR_STR("root", conf->file_root),
			     KR_ERR("why", err), KR_STR("text", why));
	return err;
}

static enum kr_err open_backends(struct role *r)
{
	const struct kr_config_objects *list = &r->rt.conf.backends;
	const struct kr_conf_backend *confs = list->list;
	enum kr_err err = kr_backends_open(&r->backends);

	for (size_t i = 0; err == KR_OK && i < list->count; i++)
		err = add_backend(r->backends, &confs[i]);
	if (err == KR_OK && list->count == 0)
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

	if (r->origin != NULL)
		kr_origin_need_peers(r->origin, b);
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

static enum kr_err serve(struct role *r)
{
	struct kr_transfer_opts transfer = {
		.role = KR_PEER_ORIGIN,
		.verify_full = true,
		.ctx = r,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
	};
	enum kr_err err = open_backends(r);

	if (err == KR_OK)
		err = kr_runtime_swarm(&r->rt, &transfer, &r->store,
				       &r->transfer);
	if (err == KR_OK)
		err = open_origin(r, &transfer.id);
	if (err == KR_OK)
		err = kr_runtime_run(&r->rt);
	if (r->origin != NULL)
		kr_origin_close(r->origin);
	r->origin = NULL; /* need_peers: we are closing */
	if (r->transfer != NULL)
		kr_transfer_close(r->transfer);
	if (r->store != NULL)
		kr_store_close(r->store);
	kr_backends_close(r->backends);
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
