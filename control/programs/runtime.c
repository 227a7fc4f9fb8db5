#define _GNU_SOURCE
#include "control/programs/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/mirror.h"
#include "control/programs/reactors.h"
#include "control/programs/uploads.h"
#include "control/refill.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/list.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/thread.h"

/* The one thing a signal may do; set before the handlers are. */
static struct kr_io *signal_io;

static void on_signal(int sig)
{
	(void)sig;
	kr_io_stop(signal_io);
}

static void take_signals(struct kr_io *io)
{
	struct sigaction sa = { .sa_handler = on_signal };

	signal_io = io;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void ignore_signals(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
}

static bool has_swarm(enum kr_role role)
{
	return role == KR_ROLE_AGENT || role == KR_ROLE_ORIGIN ||
	       role == KR_ROLE_PROXY;
}

static bool has_registry(enum kr_role role)
{
	return role == KR_ROLE_AGENT || role == KR_ROLE_PROXY;
}

enum {
	CONN_BYTES = 2048,      /* of a peer connection, driver and node */
	HTTP_CONN_BYTES = 8192, /* what h2o keeps of one */
	RPC_CONN_BYTES = 512,
};

static void add_swarm_rows(struct kr_limits *l, const struct kr_conf *c)
{
	kr_limits_row(l, "block buffers",
		      c->block_buffers * KR_REACTORS_BUFFER_BYTES,
		      KR_LIMIT_MEMORY_BYTES, "limits.block_buffers");
	kr_limits_row(l, "files a ring sends from the disk", c->pipes,
		      KR_LIMIT_COUNT, "limits.pipes");
	kr_limits_row(l, "peer connections", c->policy.conns_max,
		      KR_LIMIT_COUNT, "swarm.connections");
	kr_limits_row(l, "peer connection state",
		      c->policy.conns_max * CONN_BYTES, KR_LIMIT_MEMORY_BYTES,
		      "swarm.connections");
	kr_limits_row(l, "blobs in a swarm", c->policy.blobs_max,
		      KR_LIMIT_COUNT, "swarm.blobs");
	kr_limits_row(l, "store quota", c->store_quota_bytes, KR_LIMIT_BYTES,
		      "store.quota");
}

static void add_ring_rows(struct kr_limits *l, const struct kr_conf *c,
			  uint64_t reactors, bool are_configured)
{
	kr_limits_row(l, "reactors", reactors, KR_LIMIT_COUNT,
		      are_configured ? "reactors" : NULL);
	kr_limits_row(l, "requests of a ring", c->ops_max, KR_LIMIT_COUNT,
		      "limits.io_requests");
	kr_limits_row(l, "submission queue of a ring", c->sq_entries,
		      KR_LIMIT_COUNT, "limits.submission_queue");
	kr_limits_row(l, "kernel threads of a ring", c->io_workers,
		      KR_LIMIT_COUNT, "limits.io_workers");
	kr_limits_row(l, "receive buffers of all rings",
		      reactors * c->recv_buffers * KR_IO_RECV_MAX,
		      KR_LIMIT_MEMORY_BYTES, "limits.receive_buffers");
	if (reactors > 1)
		kr_limits_row(l, "block buffers of seeders",
			      (reactors - 1) * KR_SEEDER_BUFFERS *
				      KR_REACTORS_BUFFER_BYTES,
			      KR_LIMIT_MEMORY_BYTES, "reactors");
}

static enum kr_err check_budget(struct kr_runtime *rt)
{
	const struct kr_conf *c = &rt->conf;
	struct kr_limits *l = &rt->limits;
	enum kr_err err = kr_limits_init(l, c->memory_bytes);

	if (err != KR_OK)
		return err;
	kr_limits_row(l, "file descriptors", l->nofile, KR_LIMIT_COUNT, NULL);
	add_ring_rows(l, c, kr_reactors_count(rt->role, c),
		      rt->role == KR_ROLE_ORIGIN);
	if (has_swarm(rt->role))
		add_swarm_rows(l, c);
	if (has_registry(rt->role)) {
		kr_limits_row(l, "registry clients", c->http_connections,
			      KR_LIMIT_COUNT, "limits.http_connections");
		kr_limits_row(l, "registry client state",
			      c->http_connections * HTTP_CONN_BYTES,
			      KR_LIMIT_MEMORY_BYTES, "limits.http_connections");
		kr_limits_row(l, "manifest", c->manifest_bytes_max,
			      KR_LIMIT_BYTES, "limits.manifest");
		if (rt->role == KR_ROLE_PROXY)
			kr_limits_row(l, "open upload sessions", KR_UPLOADS_MAX,
				      KR_LIMIT_COUNT, NULL);
	} else {
		kr_limits_row(l, "RPC clients", c->rpc_connections,
			      KR_LIMIT_COUNT, "limits.rpc_connections");
		kr_limits_row(l, "RPC client state",
			      c->rpc_connections * RPC_CONN_BYTES,
			      KR_LIMIT_MEMORY_BYTES, "limits.rpc_connections");
	}
	kr_limits_log(l);
	return kr_limits_check(l);
}

/* 0: the pool counts cores.  Storage backends hold threads for as long as the
 * storage takes: those come on top. */
static uint32_t work_threads(const struct kr_runtime *rt)
{
	uint32_t held = 0;

	if (rt->role == KR_ROLE_ORIGIN)
		held = KR_REFILL_MAX + 1;
	else if (rt->role == KR_ROLE_BUILD_INDEX && rt->conf.backends.count > 0)
		held = KR_MIRROR_MAX;
	if (rt->conf.work_threads > 0 || held == 0)
		return (uint32_t)rt->conf.work_threads;
	return kr_thread_cores() + held;
}

static enum kr_err open_engine(struct kr_runtime *rt)
{
	struct kr_ring_opts opts;
	const enum kr_err err = kr_work_pool_open(work_threads(rt), &rt->pool);

	if (err != KR_OK)
		return err;
	kr_reactors_ring(rt->role, &rt->conf, 0, &opts);
	opts.pool = rt->pool;
	return kr_ring_open(&opts, &rt->io);
}

/* Which SHA-256 is used, and what it was chosen from. */
static void report_hash(void)
{
	const struct kr_hash_impl *im = kr_hash_impls();

	for (int i = 0; i < KR_HASH_IMPL_COUNT; i++, im++) {
		char labels[64] = "";

		if (kr_metrics_label(labels, sizeof(labels), "implementation",
				     im->name) != KR_OK)
			continue;
		kr_metric_set(
			kr_metrics_gauge("kraken_hash_rate_bytes_per_second",
					 "SHA-256 of two streams, measured at "
					 "start; 0: does not work here.",
					 labels),
			(int64_t)im->bytes_per_s);
		if (im->is_chosen)
			kr_metric_set(kr_metrics_gauge(
					      "kraken_hash_implementation_info",
					      "SHA-256 in use.", labels),
				      1);
		kr_log_info("runtime", "SHA-256 measured",
			    KR_STR("implementation", im->name),
			    KR_U64("mb_per_s", im->bytes_per_s / 1000000),
			    KR_STR("verdict", im->is_chosen ? "used"
					      : im->works   ? "slower"
							    : "not here"));
	}
}

/* Who answers /readiness where the role has nothing to say: it runs. */
static void submit_ready(void *ctx, struct kr_reg_call *call)
{
	(void)ctx;
	call->err = call->op == KR_REG_READY ? KR_OK : KR_E_UNSUPPORTED;
	call->text[0] = '\0';
	kr_reg_done(call);
}

/* An answer is already on its way. */
static void cancel_ready(void *ctx, struct kr_reg_call *call)
{
	(void)ctx;
	(void)call;
}

/* Other hosts are told an address.  A name (Kraken's --blobserver-hostname) is
 * resolved once, here. */
static enum kr_err resolve_peer_ip(struct kr_conf *c)
{
	char host[300], text[KR_ADDR_TEXT_MAX];
	struct kr_addr addr;
	struct kr_bytes ip;
	uint16_t port;
	size_t n = 0;
	enum kr_err err;

	if (c->peer_ip == NULL || c->peer_ip[0] == '\0')
		return KR_OK;
	(void)snprintf(host, sizeof(host),
		       strchr(c->peer_ip, ':') != NULL ? "[%.255s]:0"
						       : "%.255s:0",
		       c->peer_ip);
	err = kr_addr_resolve(host, &addr, 1, &n);
	if (err == KR_OK) {
		(void)kr_addr_print(&addr, text);
		err = kr_addr_split(text, strlen(text), &ip, &port);
	}
	if (err != KR_OK) {
		kr_log_error("config", "host does not resolve",
			     KR_STR("key", "peer.ip"),
			     KR_STR("host", c->peer_ip), KR_ERR("why", err),
			     KR_STR("do", "write the address of this host as "
					  "other hosts reach it"));
		return KR_E_CONFIG;
	}
	char *copy = strndup((const char *)ip.ptr, ip.len);
	if (copy == NULL)
		return KR_E_NOMEM;
	free(c->peer_ip);
	c->peer_ip = copy;
	return KR_OK;
}

enum kr_err kr_runtime_open(struct kr_runtime *rt, enum kr_role role, int argc,
			    char **argv)
{
	enum kr_err err;

	*rt = (struct kr_runtime){ .role = role };
	rt->readiness = (struct kr_registry){ rt, submit_ready, cancel_ready };
	rt->registry = &rt->readiness;
	err = kr_conf_load(role, argc, argv, &rt->conf);
	if (err != KR_OK)
		return err;
	kr_log_set_level((enum kr_log_level)rt->conf.log_level);
	kr_log_set_format((enum kr_log_format)rt->conf.log_format);
	kr_log_info("runtime", "starting", KR_STR("role", kr_role_name(role)),
		    KR_STR("cluster", rt->conf.cluster),
		    KR_STR("zone", rt->conf.zone),
		    KR_STR("sha256", kr_hash_impl_name()));
	report_hash();
	err = check_budget(rt);
	if (err == KR_OK)
		err = resolve_peer_ip(&rt->conf);
	if (err == KR_OK)
		err = open_engine(rt);
	if (err != KR_OK) {
		kr_log_error("runtime", "cannot start", KR_ERR("why", err));
		kr_runtime_close(rt);
		return err;
	}
	take_signals(rt->io);
	return KR_OK;
}

void kr_runtime_close(struct kr_runtime *rt)
{
	if (rt->io != NULL) {
		ignore_signals(); /* a second one must not find a ring that
				     is gone */
		kr_ring_close(rt->io);
	}
	if (rt->pool != NULL)
		kr_work_pool_close(rt->pool);
	kr_conf_free(rt->role, &rt->conf);
	*rt = (struct kr_runtime){ .role = rt->role };
}

/* ---- the server of /health, /readiness, /metrics ------------------------*/

struct stop {
	struct kr_post post;
	struct kr_io *io;
	struct kr_http *http;
	bool stopped;
};

static void stopped(struct kr_post *p)
{
	KR_CONTAINER_OF(p, struct stop, post)->stopped = true;
}

static void *stop_main(void *arg)
{
	struct stop *s = arg;

	kr_http_stop(s->http);
	kr_io_post(s->io, &s->post, stopped);
	return NULL;
}

/* Not on the work pool: the calls that are waited for may need its last
 * thread. */
void kr_runtime_stop_http(struct kr_runtime *rt, struct kr_http *h)
{
	struct stop stop = { .io = rt->io, .http = h };
	pthread_t thread;
	const int errnum = pthread_create(&thread, NULL, stop_main, &stop);

	if (errnum != 0) {
		kr_log_error("runtime", "no thread to stop the HTTP server",
			     KR_STR("errno", strerror(errnum)),
			     KR_STR("do", "allow this process more threads"));
		abort(); /* what is on disk is whole at any time */
	}
	while (!stop.stopped)
		kr_io_turn(rt->io);
	(void)pthread_join(thread, NULL); /* it has nothing left to do */
}

static const unsigned kraken_sets[KR_ROLE_COUNT] = {
	[KR_ROLE_AGENT] = KR_KRAKEN_AGENT,
	[KR_ROLE_ORIGIN] = KR_KRAKEN_ORIGIN,
	[KR_ROLE_PROXY] = KR_KRAKEN_PROXY,
	[KR_ROLE_BUILD_INDEX] = KR_KRAKEN_INDEX,
};

static enum kr_err start_server(struct kr_runtime *rt)
{
	struct kr_http_opts opts = {
		.role = kr_role_name(rt->role),
		.registry = rt->registry,
		.connections_max = 256,
		.kraken = kraken_sets[rt->role],
	};
	enum kr_err err;

	if (rt->conf.server_port == 0)
		return KR_OK;
	err = kr_runtime_addr(rt->conf.bind_ip, rt->conf.server_port,
			      &opts.listen);
	if (err == KR_OK)
		err = kr_http_start(&opts, &rt->server);
	if (err != KR_OK)
		kr_log_error("runtime", "cannot serve /health and /metrics",
			     KR_U64("port", rt->conf.server_port),
			     KR_ERR("why", err),
			     KR_STR("do", "free the port or set server.port"));
	return err;
}

enum kr_err kr_runtime_serve(struct kr_runtime *rt,
			     const struct kr_registry *reg, bool push,
			     struct kr_http **ret)
{
	const struct kr_conf *c = &rt->conf;
	struct kr_http_opts opts = {
		.role = kr_role_name(rt->role),
		.pull = true,
		.push = push,
		.registry = reg,
		.manifest_bytes_max = c->manifest_bytes_max,
		.connections_max = (uint32_t)c->http_connections,
		.idle_timeout_ns = c->http_idle_ns,
		.upstreams = { c->upstreams.list, c->upstreams.count },
		.kraken = push ? KR_KRAKEN_PROXY : 0,
	};
	enum kr_err err =
		kr_runtime_addr(c->registry_ip, c->registry_port, &opts.listen);

	if (push && c->advertise[0] != '\0') /* no key of an agent */
		opts.advertise = c->advertise;
	if (err == KR_OK)
		err = kr_http_start(&opts, ret);
	if (err != KR_OK) {
		kr_log_error(
			"runtime", "cannot serve the registry",
			KR_STR("ip", c->registry_ip),
			KR_U64("port", c->registry_port), KR_ERR("why", err),
			KR_STR("do", "free the port or set registry.port"));
		return err;
	}
	rt->registry = reg;
	return KR_OK;
}

static void run(struct kr_runtime *rt)
{
	kr_log_info("runtime", "ready", KR_STR("role", kr_role_name(rt->role)),
		    KR_U64("registry_port", rt->conf.registry_port),
		    KR_U64("peer_port", rt->conf.peer_port),
		    KR_U64("server_port", rt->conf.server_port),
		    KR_U64("rpc_port", rt->conf.rpc_port));
	kr_io_run(rt->io);
	kr_log_info("runtime", "stopping",
		    KR_STR("role", kr_role_name(rt->role)));
}

enum kr_err kr_runtime_run(struct kr_runtime *rt)
{
	enum kr_err err = start_server(rt);

	if (err != KR_OK)
		return err;
	err = kr_reactors_pin(&rt->conf, 0); /* not those it has started */
	if (err == KR_OK)
		run(rt);
	if (rt->server != NULL)
		kr_runtime_stop_http(rt, rt->server);
	rt->server = NULL;
	return err;
}

enum kr_err kr_runtime_addr(const char *ip, uint64_t port, struct kr_addr *ret)
{
	char text[KR_ADDR_TEXT_MAX];
	const char *fmt = strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u";
	int n = snprintf(text, sizeof(text), fmt, ip, (unsigned)port);

	if (n < 0 || (size_t)n >= sizeof(text) ||
	    kr_addr_parse(text, (size_t)n, ret) != KR_OK) {
		kr_log_error("config", "not an IP address", KR_STR("value", ip),
			     KR_STR("do", "write an address, not a name"));
		return KR_E_CONFIG;
	}
	return KR_OK;
}

/* ---- store and swarm ----------------------------------------------------*/

static enum kr_err read_peer_id(const char *path, struct kr_peer_id *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum kr_err err = KR_E_NOTFOUND;

	if (fd < 0)
		return kr_err_from_errno(errno);
	if (read(fd, ret->bytes, sizeof(ret->bytes)) ==
	    (ssize_t)sizeof(ret->bytes))
		err = KR_OK;
	(void)close(fd);
	return err;
}

static enum kr_err write_peer_id(const char *path, const struct kr_peer_id *id)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	enum kr_err err = KR_OK;

	if (fd < 0)
		return kr_err_from_errno(errno);
	if (write(fd, id->bytes, sizeof(id->bytes)) !=
	    (ssize_t)sizeof(id->bytes))
		err = KR_E_IO;
	if (close(fd) != 0 && err == KR_OK)
		err = KR_E_IO;
	return err;
}

enum kr_err kr_runtime_peer_id(const char *dir, struct kr_peer_id *ret)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/peer_id", dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return KR_E_TOOBIG;
	if (read_peer_id(path, ret) == KR_OK)
		return KR_OK;
	for (size_t i = 0; i < KR_PEER_ID_LEN; i += sizeof(uint64_t)) {
		const uint64_t v = kr_clock_entropy();
		memcpy(&ret->bytes[i], &v, sizeof(v));
	}
	return write_peer_id(path, ret);
}

static enum kr_err open_store(struct kr_runtime *rt, struct kr_store **ret)
{
	const struct kr_store_opts opts = {
		.dir = rt->conf.store_dir,
		.quota_bytes = rt->conf.store_quota_bytes,
		.high_percent = (uint32_t)rt->conf.store_high_percent,
		.low_percent = (uint32_t)rt->conf.store_low_percent,
		.upload_ttl_ns = rt->conf.upload_ttl_ns,
	};
	const enum kr_err err = kr_store_open(&opts, ret);

	if (err != KR_OK)
		kr_log_error("runtime", "cannot open the store",
			     KR_STR("dir", rt->conf.store_dir),
			     KR_ERR("why", err),
			     KR_STR("do", err == KR_E_EXISTS
						  ? "another process uses it: "
						    "stop that one"
						  : "check path and rights"));
	return err;
}

/* What fails says so itself, once. */
static enum kr_err open_transfer(struct kr_runtime *rt,
				 struct kr_transfer_opts *opts,
				 struct kr_transfer **ret)
{
	enum kr_err err = kr_runtime_peer_id(rt->conf.store_dir, &opts->id);

	if (err != KR_OK) {
		kr_log_error("runtime", "cannot read or write the peer's id",
			     KR_STR("dir", rt->conf.store_dir),
			     KR_STR("file", "peer_id"), KR_ERR("why", err),
			     KR_STR("do", "check what is there and its rights; "
					  "without the file a new id is made"));
		return err;
	}
	opts->io = rt->io;
	opts->policy = &rt->conf.policy;
	opts->cluster = rt->conf.cluster;
	opts->zone = rt->conf.zone;
	opts->connections_max = (uint32_t)rt->conf.policy.conns_max;
	err = kr_runtime_addr(rt->conf.bind_ip, rt->conf.peer_port,
			      &opts->listen);
	if (err != KR_OK)
		return err;
	err = kr_transfer_open(opts, ret);
	if (err != KR_OK)
		kr_log_error("runtime", "cannot open the peer protocol",
			     KR_U64("port", rt->conf.peer_port),
			     KR_ERR("why", err),
			     KR_STR("do", "free the port or set peer.port"));
	return err;
}

enum kr_err kr_runtime_swarm(struct kr_runtime *rt,
			     struct kr_transfer_opts *opts,
			     struct kr_store **ret_store,
			     struct kr_transfer **ret_transfer)
{
	struct kr_store *store = NULL;
	enum kr_err err = open_store(rt, &store);

	if (err != KR_OK)
		return err;
	opts->store = store;
	err = open_transfer(rt, opts, ret_transfer);
	if (err != KR_OK) {
		kr_store_close(store);
		return err;
	}
	*ret_store = store;
	return KR_OK;
}
