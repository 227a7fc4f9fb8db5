/*
 * registry_api/http.h - the HTTP server of a role, on libh2o, in a thread of
 * its own.
 *
 *	kr_http_start --> serving --> kr_http_stop
 *
 * Bodies do not pass through h2o on plain HTTP/1 (ARCHITECTURE.md, "Heads by
 * h2o, bodies by the ring"): a blob GET is handed to the role's engine once
 * the head is out (or as a whole, where the role can do that), an upload body
 * is taken from the socket by a gate before h2o sees it.
 */
#ifndef KR_REGISTRY_API_HTTP_H
#define KR_REGISTRY_API_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "registry_api/kraken.h"
#include "registry_api/registry.h"
#include "registry_api/upstream.h"

struct kr_http;

struct kr_http_opts {
	struct kr_addr listen;
	const char *role; /* "agent": for logs, metrics and /health */
	bool pull;        /* GET and HEAD under /v2/ */
	bool push;        /* uploads, manifest PUT */
	const struct kr_registry *registry; /* borrowed; NULL: only /health,
					       /readiness and /metrics */
	uint64_t manifest_bytes_max;        /* 0: 4 MiB */
	uint32_t connections_max; /* 0: 1024; beyond it 503, with push 429, and
				     close */
	uint64_t idle_timeout_ns; /* 0: 60 s without a request */
	const char *advertise;    /* "http://host:port" put before Location, or
				  NULL: relative locations */
	unsigned kraken; /* KR_KRAKEN_*: Kraken's endpoints of these roles */
	struct kr_upstreams upstreams; /* lent as long as the server runs */
};

/* Bind, start the thread, serve.  KR_E_EXISTS: the address is in use. */
KR_NODISCARD enum kr_err kr_http_start(const struct kr_http_opts *opts,
				       struct kr_http **ret);

/* The address it listens on, with the port the kernel chose. */
struct kr_addr kr_http_addr(const struct kr_http *h);

/* Stop accepting, cancel open calls, wait for their kr_reg_done, join. */
void kr_http_stop(struct kr_http *h);

#endif
