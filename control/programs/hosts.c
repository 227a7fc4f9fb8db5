#include "control/programs/hosts.h"

#include <stdio.h>

#include "core/clock.h"

enum { HOSTS_MAX = 256 };

enum kr_err kr_hosts_indexes(struct kr_runtime *rt, struct kr_indexes **ret)
{
	const struct kr_conf *c = &rt->conf;
	struct kr_addr addrs[KR_INDEXES_MAX];
	size_t count = 0;
	enum kr_err err =
		kr_conf_resolve(&c->build_indexes, "build_index.hosts.static",
				addrs, KR_INDEXES_MAX, &count);

	if (err != KR_OK)
		return err;
	const struct kr_indexes_opts opts = {
		.io = rt->io,
		.names = (const char *const *)c->build_indexes.list,
		.addrs = addrs,
		.count = (uint32_t)count,
		.rpc_timeout_ns = c->rpc_timeout_ns,
	};
	return kr_indexes_open(&opts, ret);
}

enum kr_err kr_hosts_origins(struct kr_runtime *rt, struct kr_origins **ret)
{
	const struct kr_conf *c = &rt->conf;
	struct kr_addr addrs[HOSTS_MAX];
	size_t count = 0;
	enum kr_err err = kr_conf_resolve(&c->origins, "origin.hosts.static",
					  addrs, HOSTS_MAX, &count);

	if (err != KR_OK)
		return err;
	const struct kr_origins_opts opts = {
		.io = rt->io,
		.names = (const char *const *)c->origins.list,
		.addrs = addrs,
		.count = (uint32_t)count,
		.replicas = (uint32_t)c->replicas,
		.rpc_timeout_ns = c->rpc_timeout_ns,
		.health_interval_ns = c->health_interval_ns,
	};
	return kr_origins_open(&opts, ret);
}

enum kr_err kr_hosts_trackers(struct kr_runtime *rt, struct kr_trackers **ret)
{
	const struct kr_conf *c = &rt->conf;
	struct kr_addr addrs[KR_TRACKERS_MAX];
	size_t count = 0;
	struct kr_trackers_opts opts = {
		.io = rt->io,
		.names = (const char *const *)c->trackers.list,
		.addrs = addrs,
		.interval_ns = c->announce_interval_ns,
		.rpc_timeout_ns = c->rpc_timeout_ns,
		.seed_ttl_ns = c->seed_ttl_ns,
		.seeds_max = (uint32_t)(c->policy.blobs_max / 2),
		.leech_only = c->leech_only,
		.seed = kr_clock_entropy(),
	};
	enum kr_err err = kr_conf_resolve(&c->trackers, "tracker.hosts.static",
					  addrs, KR_TRACKERS_MAX, &count);

	if (err != KR_OK)
		return err;
	opts.count = (uint32_t)count;
	kr_hosts_self(c, KR_PEER_AGENT, NULL, 0, &opts.self);
	return kr_trackers_open(&opts, ret);
}

void kr_hosts_self(const struct kr_conf *c, enum kr_peer_role role,
		   const struct kr_peer_id *id, uint16_t port,
		   struct kr_tracker_msg_peer *ret)
{
	*ret = (struct kr_tracker_msg_peer){ .port = port, .role = role };
	if (id != NULL)
		ret->id = *id;
	(void)snprintf(ret->ip, sizeof(ret->ip), "%.45s", c->peer_ip);
	(void)snprintf(ret->zone, sizeof(ret->zone), "%.64s", c->zone);
	(void)snprintf(ret->cluster, sizeof(ret->cluster), "%.64s", c->cluster);
}

enum kr_err kr_hosts_pusher(struct kr_runtime *rt, enum kr_peer_role role,
			    const struct kr_peer_id *id, struct kr_transfer *t,
			    struct kr_origins *origins, struct kr_pusher **ret)
{
	struct kr_pusher_opts opts = {
		.io = rt->io,
		.origins = origins,
		.transfer = t,
		.write_quorum = (uint32_t)rt->conf.write_quorum,
		.ingest_timeout_ns = rt->conf.ingest_timeout_ns,
	};

	kr_hosts_self(&rt->conf, role, id, kr_transfer_addr(t).port,
		      &opts.self);
	return kr_pusher_open(&opts, ret);
}
