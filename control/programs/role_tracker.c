/* The tracker: a kr_tracker_service and nothing else. */
#include <stdlib.h>

#include "control/programs/runtime.h"
#include "control/tracker_rpc.h"
#include "core/clock.h"
#include "core/log.h"

enum { ORIGINS_MAX = 256 };

static enum kr_err list_origins(const struct kr_conf *c,
				struct kr_tracker_origin *ret,
				size_t *ret_count)
{
	static struct kr_addr addrs[ORIGINS_MAX];
	enum kr_err err = kr_conf_resolve(&c->origins, "origin.hosts.static",
					  addrs, ORIGINS_MAX, ret_count);

	for (size_t i = 0; err == KR_OK && i < *ret_count; i++)
		ret[i] = (struct kr_tracker_origin){ c->origins.list[i],
						     addrs[i] };
	return err;
}

static enum kr_err serve(struct kr_runtime *rt)
{
	static struct kr_tracker_origin origins[ORIGINS_MAX];
	const struct kr_conf *c = &rt->conf;
	struct kr_tracker_service *service = NULL;
	struct kr_tracker_service_opts opts;
	size_t count = 0;
	enum kr_err err = list_origins(c, origins, &count);

	if (err != KR_OK)
		return err;
	opts = (struct kr_tracker_service_opts){
		.io = rt->io,
		.origins = origins,
		.origin_count = (uint32_t)count,
		.replicas = (uint32_t)c->replicas,
		.cluster = c->cluster,
		.seed = kr_clock_entropy(),
		.interval_ns = c->peer_ttl_ns / 3,
		.ttl_ns = c->peer_ttl_ns,
		.check_interval_ns = c->health_interval_ns,
		.connections_max = (uint32_t)c->rpc_connections,
		.upstream_timeout_ns = c->rpc_timeout_ns,
	};
	err = kr_runtime_addr(c->bind_ip, c->rpc_port, &opts.listen);
	if (err == KR_OK)
		err = kr_tracker_service_open(&opts, &service);
	if (err != KR_OK) {
		kr_log_error("tracker", "cannot listen",
			     KR_U64("port", c->rpc_port), KR_ERR("why", err),
			     KR_STR("do", "free the port or set rpc.port"));
		return err;
	}
	err = kr_runtime_run(rt);
	kr_tracker_service_close(service);
	return err;
}

int kr_tracker_main(int argc, char **argv)
{
	struct kr_runtime rt;
	enum kr_err err = kr_runtime_open(&rt, KR_ROLE_TRACKER, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = serve(&rt);
	kr_runtime_close(&rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
