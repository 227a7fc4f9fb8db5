/*
 * control/programs/runtime.h - what every role's process has: configuration,
 * log, budgets, work pool, ring, signals, the server of /health and /metrics.
 *
 *	kr_runtime_open -> the role opens its parts -> kr_runtime_run
 *	    (SIGTERM, SIGINT) -> the role closes its parts -> kr_runtime_close
 */
#ifndef KR_CONTROL_PROGRAMS_RUNTIME_H
#define KR_CONTROL_PROGRAMS_RUNTIME_H

#include "control/programs/conf.h"
#include "control/transfer.h"
#include "core/io.h"
#include "core/limits.h"
#include "core/store.h"
#include "registry_api/http.h"
#include "uring/ring.h"

struct kr_runtime {
	enum kr_role role;
	struct kr_conf conf;
	struct kr_limits limits;
	struct kr_work_pool *pool;
	struct kr_io *io;
	struct kr_http *server; /* NULL where server.port is 0 */
	/* Who answers /readiness; NULL: a process that runs is ready. */
	const struct kr_registry *registry;
	struct kr_registry readiness; /* that default */
};

/*
 * Load the configuration from the command line, start the log, print the
 * budgets, open pool and ring, let SIGTERM and SIGINT end kr_runtime_run.
 * What is wrong has been said.  KR_E_CANCELED: --help.
 */
KR_NODISCARD enum kr_err kr_runtime_open(struct kr_runtime *rt,
					 enum kr_role role, int argc,
					 char **argv);

/* Start /health, /readiness and /metrics (server.port), say "ready", run
 * until SIGTERM or SIGINT, stop that server. */
KR_NODISCARD enum kr_err kr_runtime_run(struct kr_runtime *rt);

/* Serve the registry API as configured, answered by @reg, which answers
 * /readiness too; @push: uploads as well.  What is wrong has been said. */
KR_NODISCARD enum kr_err kr_runtime_serve(struct kr_runtime *rt,
					  const struct kr_registry *reg,
					  bool push, struct kr_http **ret);

/* kr_http_stop waits for calls that only the reactor can end: stop @h in a
 * thread of its own and turn the ring meanwhile. */
void kr_runtime_stop_http(struct kr_runtime *rt, struct kr_http *h);

void kr_runtime_close(struct kr_runtime *rt);

/* bind_ip:@port; KR_E_CONFIG has been said. */
KR_NODISCARD enum kr_err kr_runtime_addr(const char *ip, uint64_t port,
					 struct kr_addr *ret);

/* Open the store and the swarm of a role that has them, as configured; what
 * is wrong has been said.  @opts brings role and call-backs. */
KR_NODISCARD enum kr_err kr_runtime_swarm(struct kr_runtime *rt,
					  struct kr_transfer_opts *opts,
					  struct kr_store **ret_store,
					  struct kr_transfer **ret_transfer);

/* A random id that lives as long as the store (file "peer_id" in its dir). */
KR_NODISCARD enum kr_err kr_runtime_peer_id(const char *dir,
					    struct kr_peer_id *ret);

/* ---- roles: each runs to its end and returns the exit status ------------*/
int kr_agent_main(int argc, char **argv);
int kr_origin_main(int argc, char **argv);
int kr_tracker_main(int argc, char **argv);
int kr_proxy_main(int argc, char **argv);
int kr_build_index_main(int argc, char **argv);

#endif
