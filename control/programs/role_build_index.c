/* The build-index: a kr_index_service, the upstreams of its tags, and Kraken's
 * endpoints to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "control/index_rpc.h"
#include "control/programs/desk.h"
#include "control/programs/index_desk.h"
#include "control/programs/runtime.h"
#include "control/programs/storage.h"
#include "core/clock.h"
#include "core/log.h"

enum { PEERS_MAX = 64 };

static enum kr_err make_dir(const char *dir)
{
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return KR_OK;
	kr_log_error("build-index", "cannot make store.dir", KR_STR("dir", dir),
		     KR_ERR("why", kr_err_from_errno(errno)));
	return kr_err_from_errno(errno);
}

struct role {
	struct kr_runtime rt;
	char path[4096]; /* of the database */
	struct kr_backends *backends;
	struct kr_index_service *service;
	struct kr_addr addrs[PEERS_MAX];
	struct kr_index_peer peers[PEERS_MAX];
	struct kr_mirror_rule rules[KR_MIRROR_RULES_MAX];
};

/* The other build-indexes. */
static enum kr_err fill_peers(struct role *r,
			      struct kr_index_service_opts *opts)
{
	const struct kr_config_strings *names = &r->rt.conf.build_indexes;
	size_t count = 0;
	const enum kr_err err = kr_conf_resolve(
		names, "build_index.hosts.static", r->addrs, PEERS_MAX, &count);

	for (size_t i = 0; err == KR_OK && i < count; i++)
		r->peers[i] =
			(struct kr_index_peer){ names->list[i], r->addrs[i] };
	opts->peers = r->peers;
	opts->peer_count = (uint32_t)count;
	return err;
}

static enum kr_err fill_upstreams(struct role *r,
				  struct kr_index_service_opts *opts)
{
	const struct kr_conf *c = &r->rt.conf;
	const struct kr_conf_freshness *rules = c->freshness.list;
	const enum kr_err err =
		kr_storage_attach(c, "build-index", &r->backends);

	for (size_t i = 0; i < c->freshness.count; i++)
		r->rules[i] = (struct kr_mirror_rule){
			.repository = rules[i].repository,
			.policy = { .cache_ns = rules[i].cache_ns,
				    .stale = rules[i].stale },
		};
	opts->backends = r->backends;
	opts->rules = r->rules;
	opts->rule_count = (uint32_t)c->freshness.count;
	opts->upstream_timeout_ns = c->upstream_timeout_ns;
	return err;
}

static enum kr_err open_service(struct role *r)
{
	const struct kr_conf *c = &r->rt.conf;
	struct kr_index_service_opts opts = {
		.io = r->rt.io,
		.path = r->path,
		.seed = kr_clock_entropy(),
		.connections_max = (uint32_t)c->rpc_connections,
		.immutable = (const char *const *)c->immutable_tags.list,
		.immutable_count = (uint32_t)c->immutable_tags.count,
	};
	enum kr_err err = make_dir(c->store_dir);
	const int n =
		snprintf(r->path, sizeof(r->path), "%s/tags.db", c->store_dir);

	if (err != KR_OK)
		return err;
	if (n < 0 || (size_t)n >= sizeof(r->path))
		return KR_E_TOOBIG;
	err = fill_peers(r, &opts);
	if (err == KR_OK)
		err = fill_upstreams(r, &opts);
	if (err == KR_OK)
		err = kr_runtime_addr(c->bind_ip, c->rpc_port, &opts.listen);
	if (err == KR_OK)
		err = kr_index_service_open(&opts, &r->service);
	if (err != KR_OK)
		kr_log_error("build-index", "cannot start",
			     KR_U64("port", c->rpc_port),
			     KR_STR("database", r->path), KR_ERR("why", err),
			     KR_STR("do", "free the port or set rpc.port; "
					  "check store.dir and backends"));
	return err;
}

static enum kr_err serve(struct role *r)
{
	struct kr_desk desk;
	enum kr_err err = open_service(r);

	if (err == KR_OK) {
		kr_desk_open(&desk, r->rt.io);
		kr_index_desk_attach(r->service, &desk);
		r->rt.registry = &desk.registry;
		err = kr_runtime_run(&r->rt);
		kr_desk_close(&desk);
	}
	kr_index_service_close(r->service);
	kr_backends_close(r->backends);
	return err;
}

int kr_build_index_main(int argc, char **argv)
{
	static struct role r; /* one a process; large */
	enum kr_err err =
		kr_runtime_open(&r.rt, KR_ROLE_BUILD_INDEX, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = serve(&r);
	kr_runtime_close(&r.rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
