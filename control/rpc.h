/*
 * control/rpc.h - MessagePack-RPC between our own processes, over persistent
 * TCP connections (control/rpc_codec.h has the bytes; RPC.md the methods).
 *
 * Threads: reactor only.
 *
 * Server: a request is a handle that stays valid until it is answered, also
 * when its connection dies meanwhile (the answer then goes nowhere).
 * Client: one connection to one address, made when first needed, made again
 * after a failure with jittered back-off; calls are pipelined; each has a
 * deadline.
 */
#ifndef KR_CONTROL_RPC_H
#define KR_CONTROL_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/rpc_codec.h"
#include "core/addr.h"
#include "core/bytes.h"
#include "core/err.h"
#include "core/io.h"

enum {
	KR_RPC_LEN_MAX = 40 * 1024 * 1024, /* the largest metainfo and a head */
	KR_RPC_TEXT_MAX = 256,             /* of an error */
};

/* ---- server -------------------------------------------------------------*/

struct kr_rpc_server;
struct kr_rpc_request;

/* @params: one encoded MessagePack value, borrowed until the function
 * returns.  Answer @req exactly once, now or later. */
typedef void kr_rpc_method_fn(void *ctx, struct kr_rpc_request *req,
			      struct kr_bytes params);

struct kr_rpc_method {
	const char *name; /* "tracker.announce" */
	kr_rpc_method_fn *fn;
};

struct kr_rpc_server_opts {
	struct kr_addr listen;
	const struct kr_rpc_method *methods; /* borrowed for the life */
	size_t method_count;
	void *ctx;
	uint32_t connections_max; /* 0: 4096 */
	uint32_t requests_max;    /* unanswered, per connection; 0: 256: then
				      reading stops */
	uint64_t idle_timeout_ns; /* 0: 5 min without a byte, while no request
				     is unanswered; or without progress of an
				     answer */
	size_t request_len_max;   /* 0: KR_RPC_LEN_MAX; a larger one closes its
				     connection */
};

/* KR_E_EXISTS: the address is in use; others: nothing was kept. */
KR_NODISCARD enum kr_err kr_rpc_server_open(struct kr_io *io,
					    const struct kr_rpc_server_opts *o,
					    struct kr_rpc_server **ret);
/* Close every connection; unanswered requests may still be answered, into
 * nothing. */
void kr_rpc_server_close(struct kr_rpc_server *s);
struct kr_addr kr_rpc_server_addr(const struct kr_rpc_server *s);

/* Answer with one encoded value (copied); an empty @result is nil. */
void kr_rpc_reply(struct kr_rpc_request *req, struct kr_bytes result);
/* Answer with an error; @text (may be NULL) says more than the code. */
void kr_rpc_fail(struct kr_rpc_request *req, enum kr_err err, const char *text);
/* Where the request came from. */
struct kr_addr kr_rpc_request_from(const struct kr_rpc_request *req);
/* Names the connection of @req for kr_rpc_notify; never reused. */
uint64_t kr_rpc_request_conn(const struct kr_rpc_request *req);

/* Send a notification on connection @conn; KR_E_NOTFOUND: it is gone;
 * KR_E_BUSY: its output queue is full. */
KR_NODISCARD enum kr_err kr_rpc_notify(struct kr_rpc_server *s, uint64_t conn,
				       const char *method,
				       struct kr_bytes params);

/* ---- client -------------------------------------------------------------*/

struct kr_rpc_client;
struct kr_rpc_call;

/*
 * The answer.  KR_OK: @result is one encoded value, borrowed until return.
 * Else @text says what the other side said (or "").  KR_E_TIMEDOUT,
 * KR_E_REFUSED, KR_E_RESET, KR_E_CLOSED are the transport's; whether the
 * method ran is then unknown.
 */
typedef void kr_rpc_done_fn(struct kr_rpc_call *call, enum kr_err err,
			    struct kr_bytes result, const char *text);

struct kr_rpc_call { /* embedded by the caller; private; zero it first */
	struct kr_rpc_client *client;
	kr_rpc_done_fn *done;
	struct kr_rpc_call *next, *prev;
	struct kr_timer timer;
	uint64_t deadline_ns;
	uint8_t *bytes; /* encoded, while there is no connection to send it */
	size_t len;
	enum kr_err err; /* known already, told by the timer */
	uint32_t id;
	bool busy;
};

struct kr_rpc_client_opts {
	struct kr_addr to;
	uint64_t connect_timeout_ns; /* 0: 2 s */
	uint32_t calls_max;          /* in flight; 0: 1024 */
	/* May be NULL.  @params is borrowed until return. */
	void (*on_notify)(void *ctx, struct kr_bytes method,
			  struct kr_bytes params);
	void *ctx;
};

KR_NODISCARD enum kr_err kr_rpc_client_open(struct kr_io *io,
					    const struct kr_rpc_client_opts *o,
					    struct kr_rpc_client **ret);
/* Ends every call with KR_E_CANCELED (from inside), then closes. */
void kr_rpc_client_close(struct kr_rpc_client *c);
struct kr_addr kr_rpc_client_addr(const struct kr_rpc_client *c);

/* Is the connection up (or not yet tried)?  false: the last attempt failed;
 * further ones follow by themselves, at most 5 s apart. */
bool kr_rpc_client_healthy(const struct kr_rpc_client *c);

/*
 * Call @method with one encoded value @params (copied; empty: nil).  @done
 * comes exactly once, never from inside, at the latest after @timeout_ns.
 * @call is lent until then.
 */
void kr_rpc_call(struct kr_rpc_client *c, struct kr_rpc_call *call,
		 const char *method, struct kr_bytes params,
		 uint64_t timeout_ns, kr_rpc_done_fn *done);

/* Nobody waits any more: done() will not come; @call is the caller's again. */
void kr_rpc_call_cancel(struct kr_rpc_call *call);

#endif
