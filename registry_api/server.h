/*
 * registry_api/server.h - what the files of the HTTP server share: the server
 * and a connection of it.  Private to registry_api/.
 *
 * A connection, as the gate sees it:
 *
 *	          head            small body         whole
 *	   +--> HEAD ----------------> BODY ----------------+
 *	   |      |  upload body                            v
 *	   |      +------> LENT -- role has taken it --> ANSWER (h2o's)
 *	   |      +---------------------------------------> |
 *	   |      |  blob GET                               |
 *	   |      +------> LENT -- role does not answer --> |
 *	   +----------------+ role has answered             |
 *	   +------------ the response is out ---------------+
 *
 * h2o is given one head at a time, never a body and never a byte of the next
 * request, so where a request ends is decided in one place only.
 *
 * Everything here belongs to the HTTP thread.
 */
#ifndef KR_REGISTRY_API_SERVER_H
#define KR_REGISTRY_API_SERVER_H

#include "registry_api/h2o_wrap.h" /* first: it asks for GNU declarations */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/buf.h"
#include "core/list.h"
#include "core/metrics.h"
#include "registry_api/ask.h"
#include "registry_api/errors.h"
#include "registry_api/grammar.h"
#include "registry_api/head.h"
#include "registry_api/http.h"
#include "registry_api/phr.h"

enum {
	KR_SMALL_BODY_MAX = 65536,      /* of requests that need no body */
	KR_BODIES_BYTES_MAX = 64 << 20, /* small bodies of all connections */
	KR_LINGER_COUNT_MAX = 64,
	KR_LINGER_BYTES_MAX = 16 << 20,
};
/* What h_blob.c and reply.c say through h2o, direct.c says by itself. */
#define KR_SERVER_NAME   "kraken"
#define KR_BLOB_TYPE     "application/octet-stream"
#define KR_V2_FIELD      "Docker-Distribution-API-Version"
#define KR_V2_VALUE      "registry/2.0"
#define KR_LINGER_NS_MAX UINT64_C(5000000000)
#define KR_STOP_GRACE_NS UINT64_C(1000000000)

enum kr_conn_state {
	KR_CONN_HEAD,   /* a request head is awaited or incomplete */
	KR_CONN_BODY,   /* a small body is being read into memory */
	KR_CONN_LENT,   /* the socket is the role's: it takes an upload body, or
			 * answers a blob GET */
	KR_CONN_ANSWER, /* h2o has the request */
};

struct kr_http {
	struct kr_http_opts opts; /* strings and registry borrowed */
	struct kr_addr at;
	pthread_t thread;
	atomic_bool stop;
	sem_t is_up;   /* the thread has set itself up */
	int listen_fd; /* for the thread */

	h2o_globalconf_t config;
	h2o_context_t ctx;
	h2o_accept_ctx_t accept_ctx;
	h2o_socket_t *listener; /* NULL: closed */
	struct kr_ask_queue asks;

	struct kr_list conns; /* kr_conn, oldest change first */
	uint32_t conn_count;
	uint64_t body_bytes; /* announced or at most, of small bodies */
	struct kr_list lingers;
	uint32_t linger_count;
	uint64_t accept_paused_until_ns; /* out of descriptors; 0: not */
	bool no_direct; /* the role does not do KR_REG_BLOB_SERVE */
	uint64_t stop_begun_ns;

	struct kr_metric *requests[KR_ROUTE_COUNT][6]; /* by status / 100 */
	struct kr_metric *connections, *refused;
};

/* What the gate learned of an upload body that the role has taken. */
struct kr_received {
	bool tried;      /* there was a body, and the role was asked */
	enum kr_err err; /* of the call that ended it */
	uint64_t size;   /* of the session afterwards */
	char upload_id[KR_UPLOAD_ID_LEN + 1];
	char text[256];
};

struct kr_blob_get;     /* h_blob.c */
struct kr_direct;       /* direct.c */
struct kr_prefetch;     /* h_kraken_proxy.c */
struct kr_manifest_put; /* h_manifest.c */

struct kr_conn {
	struct kr_list link; /* srv->conns */
	struct kr_http *srv;
	h2o_socket_t *sock;
	h2o_socket_cb h2o_read; /* h2o's own call-back, while ours is in */
	enum kr_conn_state state;
	uint64_t since_ns; /* of the last change of state */

	struct kr_buf in;   /* read from the socket, not consumed yet */
	size_t seen_len;    /* of in: parsed without finding a whole head */
	struct kr_buf head; /* rewritten, until h2o is given it */

	/* the request; the rest is valid until it is answered */
	enum kr_method method;
	struct kr_route route;
	enum kr_framing framing;
	uint64_t body_left; /* BODY, KR_BODY_LENGTH */
	uint64_t body_max;
	struct phr_chunked_decoder decoder;
	struct kr_buf body;     /* BODY: decoded */
	uint64_t body_reserved; /* of srv->body_bytes */
	struct kr_received received;
	bool wants_continue;
	bool refused; /* before its body was read; the answer closes */
	enum kr_oci_code refused_code;
	const char *refused_why; /* NULL: the code's text */

	h2o_req_t *req;           /* ANSWER; NULL once the answer is out */
	h2o_timeout_entry_t next; /* go on with the next request */
	struct kr_blob_get *get;
	struct kr_direct *direct; /* LENT: a blob GET */
	struct kr_prefetch *prefetch;
	struct kr_manifest_put *put;
	bool linger; /* after the answer: swallow what the client still sends */
	struct kr_ask ask;
	kr_ask_done_fn *answer; /* kr_req_ask: what goes on afterwards */
};

/* ---- gate.c ----*/

/* h2o has accepted conn->sock: put the gate before it. */
void kr_gate_install(struct kr_conn *c);

/* The upload body of @c is the role's no more, or was refused: let h2o have
 * the request. */
void kr_gate_pass(struct kr_conn *c);

/* h2o has begun (kr_dispatch) and ended with the request of @c. */
void kr_gate_request_begun(struct kr_conn *c, h2o_req_t *req);

/* Close a connection that h2o reads a head on (all states but ANSWER).  @c is
 * freed. */
void kr_gate_drop(struct kr_conn *c);

/* The request of @c was answered without h2o: go on with the next. */
void kr_gate_answered(struct kr_conn *c);

/* Free the small body of @c, if it has one. */
void kr_gate_free_body(struct kr_conn *c);

/* Answer 100 (Continue).  False: the client is gone. */
bool kr_gate_continue(struct kr_conn *c);

/* ---- upload_gate.c ----*/

/* A request with an upload body: decide, and lend the socket to the role or
 * mark @c refused and pass it on. */
void kr_upload_gate_begin(struct kr_conn *c, const struct kr_head *head);

/* Is it such a request? */
bool kr_upload_gate_wants(const struct kr_conn *c, const struct kr_head *head);

/* What the target of a request means on this server. */
void kr_gate_route(const struct kr_http *h, const struct kr_head *head,
		   struct kr_route *ret);

/* ---- direct.c ----*/

/* Lend the socket to the role if it may answer this request, whose route is
 * c->route, by itself.  False: nothing was done. */
KR_NODISCARD bool kr_direct_begin(struct kr_conn *c,
				  const struct kr_head *head);

/* ---- linger.c ----*/

/* Half-close @fd (borrowed; a duplicate is kept) and swallow what still comes,
 * up to a bound of bytes and time, so that a reset does not destroy the answer
 * on its way. */
void kr_linger_start(struct kr_http *h, int fd);
void kr_linger_expire(struct kr_http *h, uint64_t now_ns);

/* ---- server.c ----*/
void kr_conn_touch(struct kr_conn *c, enum kr_conn_state state);
static inline int kr_conn_fd(const struct kr_conn *c)
{
	return h2o_socket_get_fd(c->sock);
}

/* ---- dispatch.c ----*/
int kr_dispatch(h2o_handler_t *self, h2o_req_t *req);

#endif
