/*
 * The client's life
 *
 *	          call                connected
 *	OFFLINE ------> CONNECTING ---------------> ONLINE
 *	   ^                |                         |
 *	   |                | refused, too slow       | closed, reset
 *	   +---- back-off --+-------------------------+
 *
 * A client whose attempt failed goes on trying, called or not: who asks whether
 * it is healthy may send no traffic until it is.
 *
 * A connection on which the other side said something before it ended costs
 * no back-off: the next call connects at once.  Calls wait (list `waiting`)
 * until they could be sent (list `sent`).
 */
#include "control/rpc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/rpc_link.h"
#include "core/clock.h"
#include "core/list.h"
#include "core/map.h"
#include "core/rand.h"

#define CONNECT_DEFAULT_NS UINT64_C(2000000000)
#define BACKOFF_MIN_NS     UINT64_C(50000000)
#define BACKOFF_MAX_NS     UINT64_C(5000000000)
#define LIVED_NS           UINT64_C(1000000000)

struct call_list {
	struct kr_rpc_call *first, *last;
};

/* A connection, which may outlive its use while the ring lets go of it. */
struct line {
	struct kr_rpc_link link;
	struct kr_rpc_client *client;
	uint64_t since_ns;
	bool heard; /* a message arrived */
};

struct kr_rpc_client {
	struct kr_io *io;
	struct kr_rpc_client_opts opts;
	struct kr_rand rand;
	struct line *line; /* ONLINE */
	struct kr_op connect;
	struct kr_timer connect_timer, retry_timer;
	bool connecting, connect_late;
	uint64_t backoff_ns;
	uint64_t retry_at_ns; /* no attempt before */
	enum kr_err last_err; /* of the last attempt; KR_OK: it is healthy */
	struct kr_u64_map by_id;
	struct call_list waiting, sent;
	uint32_t call_count;
	uint32_t next_id;
	uint32_t holds; /* lines and call-backs that need the struct */
	bool closed;
};

static void go_online_or_wait(struct kr_rpc_client *c);
static void on_call_timer(struct kr_timer *t);

/* ---- lists of calls ---- */

static void list_add(struct call_list *l, struct kr_rpc_call *call)
{
	call->next = NULL;
	call->prev = l->last;
	if (l->last != NULL)
		l->last->next = call;
	else
		l->first = call;
	l->last = call;
}

static void list_del(struct call_list *l, struct kr_rpc_call *call)
{
	if (call->prev != NULL)
		call->prev->next = call->next;
	else
		l->first = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	else
		l->last = call->prev;
	call->next = call->prev = NULL;
}

/* A call whose bytes are still here was not sent. */
static struct call_list *list_of(struct kr_rpc_call *call)
{
	return call->bytes != NULL || call->err != KR_OK
		       ? &call->client->waiting
		       : &call->client->sent;
}

/* Take @call out of everything; it is the caller's again. */
static void forget(struct kr_rpc_call *call)
{
	struct kr_rpc_client *c = call->client;

	list_del(list_of(call), call);
	(void)kr_u64_map_del(&c->by_id, call->id);
	kr_io_timer_stop(c->io, &call->timer);
	free(call->bytes);
	call->bytes = NULL;
	call->busy = false;
	c->call_count--;
}

static void finish(struct kr_rpc_call *call, enum kr_err err,
		   struct kr_bytes result, const char *text)
{
	forget(call);
	call->done(call, err, result, text);
}

static void hold(struct kr_rpc_client *c)
{
	c->holds++;
}

static void release(struct kr_rpc_client *c)
{
	c->holds--;
	if (!c->closed || c->holds > 0)
		return;
	kr_u64_map_close(&c->by_id);
	free(c);
}

/* End every call of @l; done() may add calls, cancel others, or close @c,
 * which the caller holds. */
static void finish_all(struct call_list *l, enum kr_err err)
{
	while (l->first != NULL)
		finish(l->first, err, (struct kr_bytes){ 0 }, "");
}

/* ---- the connection ---- */

static uint64_t jitter(struct kr_rpc_client *c, uint64_t ns)
{
	return ns / 2 + kr_rand_u64(&c->rand) % (ns / 2 + 1);
}

static void on_retry(struct kr_timer *t)
{
	go_online_or_wait(
		KR_CONTAINER_OF(t, struct kr_rpc_client, retry_timer));
}

/* Those that cannot live to see the next attempt need not wait for it. */
static void fail_hopeless(struct kr_rpc_client *c, enum kr_err err)
{
	const uint64_t now_ns = kr_io_now_ns(c->io);

	for (struct kr_rpc_call *call = c->waiting.first; call != NULL;
	     call = call->next) {
		if (call->err != KR_OK || call->deadline_ns >= c->retry_at_ns)
			continue;
		call->err = err;
		kr_io_timer_set(c->io, &call->timer, now_ns, on_call_timer);
	}
}

static void attempt_failed(struct kr_rpc_client *c, enum kr_err err)
{
	c->last_err = err;
	c->retry_at_ns = kr_io_now_ns(c->io) + jitter(c, c->backoff_ns);
	c->backoff_ns *= 2;
	if (c->backoff_ns > BACKOFF_MAX_NS)
		c->backoff_ns = BACKOFF_MAX_NS;
	fail_hopeless(c, err);
	go_online_or_wait(c);
}

static enum kr_err send_call(struct kr_rpc_client *c, struct kr_rpc_call *call)
{
	const struct kr_bytes bytes = { call->bytes, call->len };
	enum kr_err err =
		kr_rpc_link_send(&c->line->link, bytes, (struct kr_bytes){ 0 });

	if (err != KR_OK)
		return err;
	list_del(&c->waiting, call);
	free(call->bytes);
	call->bytes = NULL;
	list_add(&c->sent, call);
	return KR_OK;
}

static void send_waiting(struct kr_rpc_client *c)
{
	struct kr_rpc_call *call = c->waiting.first;

	while (call != NULL && c->line != NULL) {
		struct kr_rpc_call *next = call->next;

		if (call->err == KR_OK && send_call(c, call) != KR_OK)
			return; /* goes when there is room */
		call = next;
	}
}

/* ---- what the connection says ---- */

static struct line *line_of(struct kr_rpc_link *l)
{
	return KR_CONTAINER_OF(l, struct line, link);
}

static void on_response(struct kr_rpc_client *c, const struct kr_rpc_msg *msg)
{
	struct kr_rpc_call *call = kr_u64_map_get(&c->by_id, msg->id);
	char text[KR_RPC_ERROR_TEXT_MAX + 1];
	size_t len = msg->error_text.len;

	if (call == NULL || call->bytes != NULL || call->err != KR_OK)
		return; /* nobody waits any more */
	if (len > KR_RPC_ERROR_TEXT_MAX)
		len = KR_RPC_ERROR_TEXT_MAX;
	if (len > 0)
		memcpy(text, msg->error_text.ptr, len);
	text[len] = '\0';
	finish(call, msg->error, msg->result, text);
}

static enum kr_err on_msg(struct kr_rpc_link *l, const struct kr_rpc_msg *msg)
{
	struct line *line = line_of(l);
	struct kr_rpc_client *c = line->client;

	line->heard = true;
	c->backoff_ns = BACKOFF_MIN_NS;
	hold(c);
	if (msg->type == KR_RPC_RESPONSE)
		on_response(c, msg);
	else if (msg->type == KR_RPC_NOTIFICATION && c->opts.on_notify != NULL)
		c->opts.on_notify(c->opts.ctx, msg->method, msg->params);
	if (!c->closed)
		send_waiting(c);
	release(c);
	return msg->type == KR_RPC_REQUEST ? KR_E_PROTO : KR_OK;
}

static bool may_read(struct kr_rpc_link *l)
{
	(void)l;
	return true;
}

/* Did the connection prove that somebody serves there?  A server ends what is
 * idle for long; what accepts and ends at once is none. */
static bool was_good(const struct line *line, enum kr_err why)
{
	const uint64_t now_ns = kr_io_now_ns(line->client->io);

	return line->heard ||
	       (why == KR_E_CLOSED && now_ns - line->since_ns >= LIVED_NS);
}

static void on_dead(struct kr_rpc_link *l, enum kr_err why)
{
	struct line *line = line_of(l);
	struct kr_rpc_client *c = line->client;

	if (c->line != line)
		return;
	c->line = NULL;
	kr_rpc_link_close(l);
	hold(c);
	finish_all(&c->sent, why);
	if (!c->closed && was_good(line, why))
		go_online_or_wait(c);
	else if (!c->closed)
		attempt_failed(c, why);
	release(c);
}

static void on_free(struct kr_rpc_link *l)
{
	struct line *line = line_of(l);
	struct kr_rpc_client *c = line->client;

	free(line);
	release(c);
}

static const struct kr_rpc_link_ops link_ops = { .on_msg = on_msg,
						 .may_read = may_read,
						 .on_dead = on_dead,
						 .on_free = on_free };

/* ---- connecting ---- */

static void on_connect_late(struct kr_timer *t)
{
	struct kr_rpc_client *c =
		KR_CONTAINER_OF(t, struct kr_rpc_client, connect_timer);

	c->connect_late = true;
	kr_io_cancel(c->io, &c->connect);
}

static void on_connected(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_rpc_client *c =
		KR_CONTAINER_OF(op, struct kr_rpc_client, connect);
	const int fd = err == KR_OK ? (int)n : -1;
	struct line *line = NULL;

	kr_io_timer_stop(c->io, &c->connect_timer);
	c->connecting = false;
	if (err == KR_OK && !c->closed) {
		line = calloc(1, sizeof(*line));
		if (line == NULL)
			err = KR_E_NOMEM;
	}
	if (line != NULL) {
		line->client = c;
		line->since_ns = kr_io_now_ns(c->io);
		c->line = line;
		c->last_err = KR_OK;
		hold(c);
		kr_rpc_link_open(&line->link, c->io, fd, KR_RPC_LEN_MAX,
				 &link_ops);
		send_waiting(c);
	} else if (fd >= 0) {
		(void)close(fd);
	}
	if (err != KR_OK && !c->closed)
		attempt_failed(c, c->connect_late ? KR_E_TIMEDOUT : err);
	release(c);
}

/* Connect if somebody waits, or if the last attempt failed (so that health is
 * known again without traffic), now or when the back-off is over. */
static void go_online_or_wait(struct kr_rpc_client *c)
{
	const uint64_t now_ns = kr_io_now_ns(c->io);

	if (c->closed || c->connecting || c->line != NULL ||
	    (c->waiting.first == NULL && c->last_err == KR_OK))
		return;
	if (now_ns < c->retry_at_ns) {
		kr_io_timer_set(c->io, &c->retry_timer, c->retry_at_ns,
				on_retry);
		return;
	}
	c->connecting = true;
	c->connect_late = false;
	hold(c);
	kr_io_timer_set(c->io, &c->connect_timer,
			now_ns + c->opts.connect_timeout_ns, on_connect_late);
	kr_io_connect(c->io, &c->connect, &c->opts.to, on_connected);
}

/* ---- calls ---- */

static void on_call_timer(struct kr_timer *t)
{
	struct kr_rpc_call *call =
		KR_CONTAINER_OF(t, struct kr_rpc_call, timer);
	const enum kr_err err = call->err != KR_OK ? call->err : KR_E_TIMEDOUT;

	finish(call, err, (struct kr_bytes){ 0 }, "");
}

/* The request's bytes, in memory of their own. */
static enum kr_err encode_call(struct kr_rpc_call *call, const char *method,
			       struct kr_bytes params)
{
	static const uint8_t empty_map = 0x80;
	struct kr_mp_writer w;
	uint8_t head[KR_RPC_HEAD_MAX];

	if (params.len == 0)
		params = (struct kr_bytes){ &empty_map, 1 };
	kr_mp_w_init(&w, head, sizeof(head));
	kr_rpc_request_head(&w, call->id, method);
	kr_assert(!w.overflow);
	if (params.len > KR_RPC_LEN_MAX - w.len)
		return KR_E_TOOBIG;
	call->bytes = malloc(w.len + params.len);
	if (call->bytes == NULL)
		return KR_E_NOMEM;
	memcpy(call->bytes, head, w.len);
	memcpy(call->bytes + w.len, params.ptr, params.len);
	call->len = w.len + params.len;
	return KR_OK;
}

/* An id that no open call has; never 0, which calls without one have. */
static uint32_t draw_id(struct kr_rpc_client *c)
{
	do {
		c->next_id++;
	} while (c->next_id == 0 ||
		 kr_u64_map_get(&c->by_id, c->next_id) != NULL);
	return c->next_id;
}

static enum kr_err prepare(struct kr_rpc_client *c, struct kr_rpc_call *call,
			   const char *method, struct kr_bytes params)
{
	enum kr_err err;

	if (c->call_count > c->opts.calls_max)
		return KR_E_BUSY;
	call->id = draw_id(c);
	err = encode_call(call, method, params);
	if (err == KR_OK)
		err = kr_u64_map_put(&c->by_id, call->id, call);
	return err;
}

void kr_rpc_call(struct kr_rpc_client *c, struct kr_rpc_call *call,
		 const char *method, struct kr_bytes params,
		 uint64_t timeout_ns, kr_rpc_done_fn *done)
{
	const uint64_t now_ns = kr_io_now_ns(c->io);

	kr_assert(!c->closed && !call->busy);
	*call = (struct kr_rpc_call){ .client = c, .done = done, .busy = true };
	call->deadline_ns = timeout_ns < UINT64_MAX - now_ns
				    ? now_ns + timeout_ns
				    : UINT64_MAX;
	c->call_count++;
	call->err = prepare(c, call, method, params);
	if (call->err == KR_OK && c->line == NULL && !c->connecting &&
	    call->deadline_ns < c->retry_at_ns)
		call->err =
			c->last_err != KR_OK ? c->last_err : KR_E_UNAVAILABLE;
	list_add(&c->waiting, call);
	kr_io_timer_set(c->io, &call->timer,
			call->err == KR_OK ? call->deadline_ns : now_ns,
			on_call_timer);
	if (c->line != NULL)
		send_waiting(c);
	else
		go_online_or_wait(c);
}

void kr_rpc_call_cancel(struct kr_rpc_call *call)
{
	if (call->busy)
		forget(call);
}

/* ---- the client ---- */

enum kr_err kr_rpc_client_open(struct kr_io *io,
			       const struct kr_rpc_client_opts *o,
			       struct kr_rpc_client **ret)
{
	struct kr_rpc_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return KR_E_NOMEM;
	c->io = io;
	c->opts = *o;
	if (o->connect_timeout_ns == 0)
		c->opts.connect_timeout_ns = CONNECT_DEFAULT_NS;
	if (o->calls_max == 0)
		c->opts.calls_max = 1024;
	c->backoff_ns = BACKOFF_MIN_NS;
	kr_rand_init(&c->rand, kr_clock_entropy());
	kr_u64_map_open(&c->by_id, kr_alloc_heap());
	*ret = c;
	return KR_OK;
}

void kr_rpc_client_close(struct kr_rpc_client *c)
{
	if (c == NULL)
		return;
	kr_assert(!c->closed);
	c->closed = true;
	hold(c);
	kr_io_timer_stop(c->io, &c->retry_timer);
	if (c->connecting)
		kr_io_cancel(c->io, &c->connect);
	if (c->line != NULL)
		kr_rpc_link_close(&c->line->link);
	c->line = NULL;
	finish_all(&c->sent, KR_E_CANCELED);
	finish_all(&c->waiting, KR_E_CANCELED);
	release(c);
}

struct kr_addr kr_rpc_client_addr(const struct kr_rpc_client *c)
{
	return c->opts.to;
}

bool kr_rpc_client_healthy(const struct kr_rpc_client *c)
{
	return c->last_err == KR_OK;
}
