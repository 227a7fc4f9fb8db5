/*
 * control/programs/conf.h - the configuration of every role: one struct, one
 * table of keys, a schema per role that holds the keys which mean something
 * there.
 *
 * Sources, the later wins: defaults, `extends:`, --config FILE, --secrets
 * FILE, flags (core/config.h).  Kraken's flags set the same keys, so that a
 * command line written for Kraken works.
 */
#ifndef KR_CONTROL_PROGRAMS_CONF_H
#define KR_CONTROL_PROGRAMS_CONF_H

#include <stdint.h>

#include "core/addr.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/err.h"
#include "peerwire/policy.h"
#include "registry_api/upstream.h"

enum kr_role {
	KR_ROLE_AGENT,
	KR_ROLE_ORIGIN,
	KR_ROLE_TRACKER,
	KR_ROLE_PROXY,
	KR_ROLE_BUILD_INDEX,
	KR_ROLE_COUNT
};

const char *kr_role_name(enum kr_role role); /* "build-index", static */

struct kr_conf_backend {
	char *namespace_regex;
	char *file_root;    /* "": not a file backend */
	uint32_t name_path; /* enum kr_conf_name_path */
};

enum kr_conf_name_path {
	KR_CONF_DOCKER_TAG,
	KR_CONF_IDENTITY,
	KR_CONF_SHARDED_DOCKER_BLOB, /* last: names no tags */
};

struct kr_conf_freshness { /* control/freshness.h */
	char *repository;
	uint64_t cache_ns;
	bool stale;
};

struct kr_conf {
	/* log */
	uint32_t log_level, log_format; /* enum kr_log_level, _format */
	/* who we are */
	char *cluster, *zone;
	/* where we listen; a port 0 is chosen by the kernel, and not listened
	 * on where the role can do without */
	char *bind_ip;     /* of HTTP and RPC */
	char *registry_ip; /* of the agent's registry: loopback */
	char *peer_ip;     /* told to other hosts; "": as they see us */
	uint64_t peer_port, registry_port, server_port, rpc_port;
	char *advertise; /* of the proxy, for Location */
	bool sparse_manifests;
	struct kr_config_strings immutable_tags; /* of the build-index */
	struct kr_config_objects upstreams;      /* struct kr_upstream */
	/* the others */
	struct kr_config_strings trackers, build_indexes, origins;
	struct kr_config_strings origin_servers; /* HTTP, of each of origins */
	uint64_t replicas, write_quorum;
	/* the store */
	char *store_dir;
	uint64_t store_quota_bytes, store_high_percent, store_low_percent;
	uint64_t upload_ttl_ns;
	char *docker_host, *containerd_address; /* of the agent's host */
	bool verify_full;
	bool leech_only; /* of an agent; policy.leech_only is this */
	/* storage backends */
	struct kr_config_objects backends; /* struct kr_conf_backend */
	/* tags of upstreams, at the build-index */
	struct kr_config_objects freshness; /* struct kr_conf_freshness */
	uint64_t upstream_timeout_ns;
	/* times */
	uint64_t announce_interval_ns, seed_ttl_ns, peer_ttl_ns, rpc_timeout_ns,
		ingest_timeout_ns, health_interval_ns, http_idle_ns;
	/* limits */
	uint64_t memory_bytes, block_buffers, work_threads, http_connections,
		rpc_connections, manifest_bytes_max, ops_max;
	/* reactors and their rings */
	uint64_t reactors; /* 0: as many as cores, up to KR_REACTORS_AUTO */
	struct kr_config_strings reactor_cpus;
	uint64_t sq_entries, recv_buffers, pipes, io_workers;
	struct kr_policy policy;
};

/* The schema of @role; static, made at the first call. */
const struct kr_config_schema *kr_conf_schema(enum kr_role role);

struct kr_conf_args { /* what the command line said; borrowed from argv */
	const char *config_path;  /* --config; NULL: defaults */
	const char *secrets_path; /* --secrets */
};

/*
 * Parse the command line of @role and load the configuration into @ret.
 * Prints what is wrong, or the help, to stderr.
 *
 * KR_E_CONFIG    the line or the configuration is wrong; it has been said
 * KR_E_CANCELED  --help was asked for and printed
 */
KR_NODISCARD enum kr_err kr_conf_load(enum kr_role role, int argc, char **argv,
				      struct kr_conf *ret);
void kr_conf_free(enum kr_role role, struct kr_conf *c);

/* The first address of @list[i] for each i; names are resolved.  [blocks]
 * KR_E_CONFIG: an entry does not resolve (said in the log), or more than
 * @max. */
KR_NODISCARD enum kr_err kr_conf_resolve(const struct kr_config_strings *list,
					 const char *key, struct kr_addr *ret,
					 size_t max, size_t *ret_count);

#endif
