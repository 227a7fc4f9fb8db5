/*
 * The keys.  A row says for which roles it means something; policy rows
 * (peerwire/policy.h) are added for the roles that have a node.
 */
#include <stddef.h>
#include <stdio.h>

#include "control/programs/conf.h"
#include "core/log.h"

enum {
	AGENT = 1 << KR_ROLE_AGENT,
	ORIGIN = 1 << KR_ROLE_ORIGIN,
	TRACKER = 1 << KR_ROLE_TRACKER,
	PROXY = 1 << KR_ROLE_PROXY,
	INDEX = 1 << KR_ROLE_BUILD_INDEX,
	ALL = AGENT | ORIGIN | TRACKER | PROXY | INDEX,
	PEERS = AGENT | ORIGIN | PROXY, /* roles with a node and a store */
	SERVERS = ORIGIN | TRACKER | INDEX,
};

static const char *const level_names[] = { "debug", "info", "warn", "error",
					   NULL };
static const char *const format_names[] = { "text", "json", NULL };
static const char *const path_names[] = { "docker_tag", "identity",
					  "sharded_docker_blob", NULL };
static const char *const tag_path_names[] = { "docker_tag", "identity", NULL };

/* clang-format off */
#define BK struct kr_conf_backend
static const struct kr_config_row backend_rows[] = {
	KR_CONFIG_STRING(BK, namespace_regex, "namespace", ".*",
		"POSIX extended regular expression of repository names"),
	KR_CONFIG_STRING(BK, file_root, "backend.file.root_directory", "",
		"directory that holds the blobs"),
	KR_CONFIG_ENUM(BK, name_path, "backend.file.name_path",
		"sharded_docker_blob", path_names, "layout of names below it"),
};
static const struct kr_config_row tag_backend_rows[] = {
	KR_CONFIG_STRING(BK, namespace_regex, "namespace", NULL,
		"POSIX extended regular expression of repository names"),
	KR_CONFIG_STRING(BK, file_root, "backend.file.root_directory", "",
		"directory that holds the tags"),
	KR_CONFIG_ENUM(BK, name_path, "backend.file.name_path", "docker_tag",
		tag_path_names, "layout of names below it"),
};
#undef BK
static const struct kr_config_schema backend_schema =
	KR_CONFIG_SCHEMA(struct kr_conf_backend, backend_rows);
static const struct kr_config_schema tag_backend_schema =
	KR_CONFIG_SCHEMA(struct kr_conf_backend, tag_backend_rows);

#define FR struct kr_conf_freshness
static const struct kr_config_row freshness_rows[] = {
	KR_CONFIG_STRING(FR, repository, "repository", NULL,
		"POSIX extended regular expression of repository names"),
	KR_CONFIG_DURATION(FR, cache_ns, "cache", "0", 0,
		UINT64_C(31536000000000000),
		"upstream is not asked again within this; 0: always ask"),
	KR_CONFIG_BOOL(FR, stale, "stale", "true",
		"serve what is known while upstream cannot be asked"),
};
#undef FR
static const struct kr_config_schema freshness_schema =
	KR_CONFIG_SCHEMA(struct kr_conf_freshness, freshness_rows);

#define UP struct kr_upstream
static const struct kr_config_row upstream_rows[] = {
	KR_CONFIG_STRING(UP, host, "host", NULL,
		"registry that a client names by ?ns= or at the front of the "
		"path; \"*\": any other"),
	KR_CONFIG_STRING(UP, prefix, "prefix", "{host}",
		"put before its repositories here; {host} is its name"),
};
#undef UP
static const struct kr_config_schema upstream_schema =
	KR_CONFIG_SCHEMA(struct kr_upstream, upstream_rows);

#define C struct kr_conf
#define HOSTS_HELP "host:port of the RPC listener of each"
static const struct {
	unsigned roles;
	struct kr_config_row row;
} keys[] = {
{ ALL, KR_CONFIG_ENUM(C, log_level, "log.level", "info", level_names,
	"least important event that is logged") },
{ ALL, KR_CONFIG_ENUM(C, log_format, "log.format", "text", format_names,
	"how a line of the log looks") },
{ ALL, KR_CONFIG_STRING(C, cluster, "cluster", "default",
	"name of the cluster; peers of another one are refused") },
{ ALL, KR_CONFIG_STRING(C, zone, "zone", "",
	"failure domain of this host; neighbours in it are preferred") },
{ ALL, KR_CONFIG_STRING(C, bind_ip, "bind_ip", "0.0.0.0",
	"address that peers, RPC and the server listen on") },
{ AGENT | PROXY, KR_CONFIG_STRING(C, registry_ip, "registry.ip", "127.0.0.1",
	"address that the registry listens on") },
{ AGENT | PROXY, KR_CONFIG_U64(C, registry_port, "registry.port", "0", 0, 65535,
	"port of the registry API") },
{ ALL, KR_CONFIG_U64(C, server_port, "server.port", "0", 0, 65535,
	"port of /health, /readiness and /metrics") },
{ SERVERS, KR_CONFIG_U64(C, rpc_port, "rpc.port", "0", 0, 65535,
	"port of MessagePack-RPC") },
{ PEERS, KR_CONFIG_STRING(C, peer_ip, "peer.ip", "",
	"our address as peers reach it; empty: as they see us") },
{ PEERS, KR_CONFIG_U64(C, peer_port, "peer.port", "0", 0, 65535,
	"port of the peer protocol") },
{ PROXY, KR_CONFIG_STRING(C, advertise, "registry.advertise", "",
	"http://host:port put before Location headers; empty: relative") },
{ AGENT | PROXY, KR_CONFIG_OBJECTS(C, upstreams, "registry.upstreams",
	&upstream_schema, 0, 64, "registries that we are a mirror of, and where "
	"their repositories are here") },
{ PROXY, KR_CONFIG_BOOL(C, sparse_manifests, "registry.sparse_manifests",
	"false", "take manifests that refer to what is not here") },
{ AGENT, KR_CONFIG_STRINGS(C, trackers, "tracker.hosts.static", "", 1, 64,
	HOSTS_HELP) },
{ AGENT | PROXY, KR_CONFIG_STRINGS(C, build_indexes,
	"build_index.hosts.static", "", 1, 64, HOSTS_HELP) },
{ INDEX, KR_CONFIG_STRINGS(C, build_indexes, "build_index.hosts.static", "", 0,
	64, "the other build-indexes: every tag is copied to them") },
{ INDEX, KR_CONFIG_STRINGS(C, immutable_tags, "tags.immutable", "", 0, 64,
	"regular expressions of repository:tag; such a tag never moves or goes") },
{ PROXY | TRACKER, KR_CONFIG_STRINGS(C, origins, "origin.hosts.static", "", 1,
	256, HOSTS_HELP) },
{ ORIGIN, KR_CONFIG_STRINGS(C, origins, "origin.hosts.static", "", 0, 256,
	"host:port of the RPC listener of each, us included, for uploads to us "
	"(Kraken's); empty: we are the only one") },
{ ORIGIN, KR_CONFIG_STRINGS(C, origin_servers, "origin.servers.static", "", 0,
	256, "host:port of the server (server.port) of each of "
	"origin.hosts.static, in that order; empty: the same hosts, our port") },
{ AGENT, KR_CONFIG_STRING(C, docker_host,
	"container_runtime.docker.docker_host", "unix:///var/run/docker.sock",
	"docker's socket or http://host:port, for /preload/tags/") },
{ AGENT, KR_CONFIG_STRING(C, containerd_address,
	"container_runtime.containerd.address",
	"/run/containerd/containerd.sock", "containerd's socket, likewise") },
{ ORIGIN | PROXY | TRACKER, KR_CONFIG_U64(C, replicas, "origin.replicas", "3", 1, 16,
	"origins that keep a blob; the same in the whole cluster") },
{ ORIGIN | PROXY, KR_CONFIG_U64(C, write_quorum, "origin.write_quorum", "2", 1, 16,
	"origins that must have a push on disk; fewer if fewer are healthy") },
{ PEERS | INDEX, KR_CONFIG_STRING(C, store_dir, "store.dir", NULL,
	"directory of everything this process keeps") },
{ PEERS, KR_CONFIG_BYTES(C, store_quota_bytes, "store.quota", "0", 0,
	UINT64_MAX, "bytes of blobs kept; 0: 90 % of the file system") },
{ PEERS, KR_CONFIG_U64(C, store_high_percent, "store.high_percent", "95", 2,
	100, "of the quota: above it old blobs are deleted") },
{ PEERS, KR_CONFIG_U64(C, store_low_percent, "store.low_percent", "85", 1, 99,
	"of the quota: until it is reached") },
{ ORIGIN | PROXY, KR_CONFIG_DURATION(C, upload_ttl_ns, "store.upload_ttl", "24h",
	1000000000, UINT64_MAX, "an idle upload session is dropped after this") },
{ AGENT, KR_CONFIG_BOOL(C, verify_full, "store.verify_full", "false",
	"hash each blob end to end besides its pieces") },
{ AGENT, KR_CONFIG_BOOL(C, leech_only, "swarm.leech_only", "false",
	"download, and serve nobody") },
{ ORIGIN, KR_CONFIG_OBJECTS(C, backends, "backends", &backend_schema, 0, 64,
	"where blobs live in the end; the first match of a namespace counts") },
{ INDEX, KR_CONFIG_OBJECTS(C, backends, "backends", &tag_backend_schema, 0, 64,
	"upstreams of tags that nobody put here; the first match of a "
	"repository counts") },
{ INDEX, KR_CONFIG_OBJECTS(C, freshness, "tags.freshness", &freshness_schema, 0,
	64, "when upstreams are asked; the first match of a repository counts, "
	"none: always ask, stale") },
{ INDEX, KR_CONFIG_DURATION(C, upstream_timeout_ns, "tags.upstream_timeout",
	"3s", 10000000, UINT64_C(60000000000),
	"an upstream must answer within this; less than rpc.timeout of others") },
{ AGENT, KR_CONFIG_DURATION(C, announce_interval_ns, "announce_interval", "30s",
	1000000000, UINT64_C(3600000000000), "between two announces") },
{ AGENT, KR_CONFIG_DURATION(C, seed_ttl_ns, "seed_ttl", "1h", 0,
	UINT64_C(864000000000000), "a blob is announced this long after it came") },
{ TRACKER, KR_CONFIG_DURATION(C, peer_ttl_ns, "peer_ttl", "90s",
	1000000000, UINT64_C(86400000000000),
	"a peer that does not announce is forgotten after this") },
{ AGENT | ORIGIN | PROXY | TRACKER, KR_CONFIG_DURATION(C, rpc_timeout_ns, "rpc.timeout",
	"5s", 1000000, UINT64_C(600000000000), "of a small question") },
{ ORIGIN | PROXY, KR_CONFIG_DURATION(C, ingest_timeout_ns, "origin.ingest_timeout",
	"15m", 1000000000, UINT64_C(86400000000000),
	"an origin must have fetched a pushed blob within this") },
{ ORIGIN | PROXY | TRACKER, KR_CONFIG_DURATION(C, health_interval_ns, "health.interval",
	"2s", 10000000, UINT64_C(600000000000), "between two health checks") },
{ AGENT | PROXY, KR_CONFIG_DURATION(C, http_idle_ns, "registry.idle_timeout",
	"60s", 1000000000, UINT64_C(3600000000000),
	"an HTTP connection without a request is closed after this") },
{ ALL, KR_CONFIG_BYTES(C, memory_bytes, "limits.memory", "96MiB",
	UINT64_C(16777216), UINT64_MAX, "budget that the tables are checked against") },
{ PEERS, KR_CONFIG_U64(C, block_buffers, "limits.block_buffers", "32", 16, 4096,
	"512 KiB buffers for blocks on their way in") },
{ ALL, KR_CONFIG_U64(C, work_threads, "limits.work_threads", "0", 0, 256,
	"threads that hash and wait for the disk; 0: one a core") },
{ AGENT | PROXY, KR_CONFIG_U64(C, http_connections, "limits.http_connections",
	"1024", 8, 100000, "registry clients at once") },
{ SERVERS, KR_CONFIG_U64(C, rpc_connections, "limits.rpc_connections", "8192",
	8, 100000, "RPC clients at once") },
{ AGENT | PROXY, KR_CONFIG_BYTES(C, manifest_bytes_max, "limits.manifest",
	"4MiB", 65536, UINT64_C(67108864), "largest manifest") },
{ ORIGIN, KR_CONFIG_U64(C, reactors, "reactors", "0", 0, 64,
	"threads that serve peers, each with a ring; 0: one a core, up to 4") },
{ ALL, KR_CONFIG_STRINGS(C, reactor_cpus, "reactor_cpus", "", 0, 64,
	"CPU that each reactor is pinned to, in order; empty: not pinned") },
{ ALL, KR_CONFIG_U64(C, ops_max, "limits.io_requests", "16384", 256, 65536,
	"requests in flight on a ring") },
{ ALL, KR_CONFIG_U64(C, sq_entries, "limits.submission_queue", "1024", 16, 32768,
	"requests given to the kernel at a time; more go in several calls") },
{ ALL, KR_CONFIG_U64(C, recv_buffers, "limits.receive_buffers", "64", 4, 32768,
	"16 KiB buffers of a ring for what arrives, rounded up to a power of two") },
{ PEERS, KR_CONFIG_U64(C, pipes, "limits.pipes", "16", 1, 4096,
	"files that a ring sends from the disk at once, not from memory") },
{ ALL, KR_CONFIG_U64(C, io_workers, "limits.io_workers", "8", 1, 1024,
	"kernel threads of a ring that wait for files") },
};
#undef C
/* clang-format on */

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

const char *kr_role_name(enum kr_role role)
{
	static const char *const names[KR_ROLE_COUNT] = {
		[KR_ROLE_AGENT] = "agent",
		[KR_ROLE_ORIGIN] = "origin",
		[KR_ROLE_TRACKER] = "tracker",
		[KR_ROLE_PROXY] = "proxy",
		[KR_ROLE_BUILD_INDEX] = "build-index",
	};
	return names[role];
}

static enum kr_config_type policy_type(enum kr_policy_unit unit)
{
	switch (unit) {
	case KR_POLICY_BYTES:
	case KR_POLICY_BYTES_PER_S:
		return KR_CONFIG_TYPE_BYTES;
	case KR_POLICY_NS:
		return KR_CONFIG_TYPE_DURATION;
	default:
		return KR_CONFIG_TYPE_U64;
	}
}

/* A default as core/config parses it: plain numbers, durations with unit. */
static const char *print_default(const struct kr_policy_row *row, char *buf,
				 size_t cap)
{
	(void)snprintf(buf, cap, "%llu%s", (unsigned long long)row->value,
		       row->unit == KR_POLICY_NS ? "ns" : "");
	return buf;
}

enum { POLICY_ROWS_MAX = 96, TEXT_MAX = 64 };

/* The configurable rows of the policy table as keys below "swarm." */
static size_t add_policy_rows(struct kr_config_row *rows)
{
	static char key_text[POLICY_ROWS_MAX][TEXT_MAX];
	static char def_text[POLICY_ROWS_MAX][TEXT_MAX];
	size_t count = 0, added = 0;
	const struct kr_policy_row *policy = kr_policy_rows(&count);

	kr_assert(count <= POLICY_ROWS_MAX);
	for (size_t i = 0; i < count; i++) {
		if (policy[i].key == NULL)
			continue;
		(void)snprintf(key_text[i], TEXT_MAX, "swarm.%s",
			       policy[i].key);
		rows[added++] = (struct kr_config_row){
			.key = key_text[i],
			.type = policy_type(policy[i].unit),
			.def = print_default(&policy[i], def_text[i], TEXT_MAX),
			.max = UINT64_MAX,
			.help = policy[i].reason,
			.offset = offsetof(struct kr_conf, policy) +
				  policy[i].offset,
		};
	}
	return added;
}

const struct kr_config_schema *kr_conf_schema(enum kr_role role)
{
	static struct kr_config_row rows[KR_ROLE_COUNT]
					[KEY_COUNT + POLICY_ROWS_MAX];
	static struct kr_config_schema schemas[KR_ROLE_COUNT];
	struct kr_config_schema *schema = &schemas[role];
	size_t n = 0;

	if (schema->rows != NULL)
		return schema;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if ((keys[i].roles & 1u << role) != 0)
			rows[role][n++] = keys[i].row;
	}
	if ((PEERS & 1u << role) != 0)
		n += add_policy_rows(&rows[role][n]);
	*schema = (struct kr_config_schema){
		.rows = rows[role],
		.row_count = n,
		.size_bytes = sizeof(struct kr_conf),
	};
	return schema;
}
