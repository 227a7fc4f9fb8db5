#include "control/rpc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/rpc_link.h"
#include "core/list.h"
#include "core/log.h"
#include "core/map.h"
#include "core/metrics.h"

#define IDLE_DEFAULT_NS UINT64_C(300000000000)

struct conn {
	struct kr_rpc_link link;
	struct kr_rpc_server *server;
	uint64_t id;
	struct kr_addr from;
	struct kr_timer idle;
	struct kr_list requests; /* not answered yet */
	uint32_t request_count;
};

#define COMPLAIN_EVERY_NS UINT64_C(1000000000)

struct kr_rpc_server {
	struct kr_io *io;
	struct kr_rpc_server_opts opts;
	struct kr_listener listener;
	struct kr_u64_map conns; /* alive, by id */
	uint64_t next_id;
	uint32_t conn_count; /* not freed yet */
	struct kr_post last;
	bool closed, listener_gone;
	uint64_t complained_ns; /* a crowd must not fill the log */
	uint64_t unsaid_count;
	struct kr_metric *connections;
	struct kr_metric **requests; /* by method; then of any other name */
};

struct kr_rpc_request {
	struct kr_list link;
	struct conn *conn; /* NULL: it died */
	uint64_t conn_id;
	struct kr_addr from;
	uint32_t id;
};

static struct conn *conn_of(struct kr_rpc_link *l)
{
	return KR_CONTAINER_OF(l, struct conn, link);
}

static void free_if_gone(struct kr_rpc_server *s)
{
	if (!s->closed || !s->listener_gone || s->conn_count > 0)
		return;
	kr_u64_map_close(&s->conns);
	free(s->requests);
	free(s);
}

/* ---- a connection ends ---- */

/* What it asked may still be answered: into nothing. */
static void bury(struct conn *c)
{
	struct kr_list *it;

	kr_io_timer_stop(c->server->io, &c->idle);
	(void)kr_u64_map_del(&c->server->conns, c->id);
	while ((it = kr_list_first(&c->requests)) != NULL) {
		KR_CONTAINER_OF(it, struct kr_rpc_request, link)->conn = NULL;
		kr_list_del(it);
	}
	kr_rpc_link_close(&c->link);
}

/* Say what is wrong with a client, but once a second at most. */
static void complain(struct kr_rpc_server *s, const char *what,
		     const struct kr_addr *from, enum kr_err why)
{
	const uint64_t now_ns = kr_io_now_ns(s->io);

	if (s->complained_ns != 0 &&
	    now_ns - s->complained_ns < COMPLAIN_EVERY_NS) {
		s->unsaid_count++;
		return;
	}
	kr_log_warn("rpc", what, KR_ADDR("from", from), KR_ERR("error", why),
		    KR_U64("connections", s->conn_count),
		    KR_U64("others_unsaid", s->unsaid_count));
	s->complained_ns = now_ns;
	s->unsaid_count = 0;
}

static void on_dead(struct kr_rpc_link *l, enum kr_err why)
{
	struct conn *c = conn_of(l);

	if (why == KR_E_PROTO || why == KR_E_TOOBIG)
		complain(c->server, "connection closed: not our protocol",
			 &c->from, why);
	bury(c);
}

static void on_free(struct kr_rpc_link *l)
{
	struct conn *c = conn_of(l);
	struct kr_rpc_server *s = c->server;

	free(c);
	s->conn_count--;
	kr_metric_sub(s->connections, 1);
	free_if_gone(s);
}

/* Silence counts only while nobody waits for us. */
static void on_idle(struct kr_timer *t)
{
	struct conn *c = KR_CONTAINER_OF(t, struct conn, idle);
	const uint64_t now_ns = kr_io_now_ns(c->server->io);
	const uint64_t idle_ns = c->server->opts.idle_timeout_ns;
	const uint64_t rx_ns = c->request_count > 0 ? now_ns : c->link.rx_ns;
	uint64_t since_ns = c->link.tx_ns != 0 ? c->link.tx_ns : rx_ns;

	if (now_ns - since_ns >= idle_ns) {
		kr_log_debug("rpc", "idle connection closed",
			     KR_ADDR("from", &c->from));
		bury(c);
		return;
	}
	kr_io_timer_set(c->server->io, &c->idle, since_ns + idle_ns, on_idle);
}

/* ---- requests ---- */

static bool may_read(struct kr_rpc_link *l)
{
	const struct conn *c = conn_of(l);

	return c->request_count < c->server->opts.requests_max &&
	       kr_rpc_link_queued(l) < KR_RPC_LINK_OUT_HIGH;
}

static const struct kr_rpc_method *find_method(const struct kr_rpc_server *s,
					       struct kr_bytes name)
{
	for (size_t i = 0; i < s->opts.method_count; i++) {
		const struct kr_rpc_method *m = &s->opts.methods[i];

		if (strlen(m->name) == name.len &&
		    memcmp(m->name, name.ptr, name.len) == 0)
			return m;
	}
	return NULL;
}

static void count_request(const struct kr_rpc_server *s,
			  const struct kr_rpc_method *m)
{
	const size_t row = m == NULL ? s->opts.method_count
				     : (size_t)(m - s->opts.methods);

	kr_metric_add(s->requests[row], 1);
}

static enum kr_err on_msg(struct kr_rpc_link *l, const struct kr_rpc_msg *msg)
{
	struct conn *c = conn_of(l);
	const struct kr_rpc_method *m;
	struct kr_rpc_request *req;

	if (msg->type == KR_RPC_NOTIFICATION)
		return KR_OK; /* none is for a server */
	if (msg->type != KR_RPC_REQUEST)
		return KR_E_PROTO;
	req = calloc(1, sizeof(*req));
	if (req == NULL)
		return KR_E_NOMEM;
	req->conn = c;
	req->conn_id = c->id;
	req->from = c->from;
	req->id = msg->id;
	kr_list_add_tail(&c->requests, &req->link);
	c->request_count++;

	m = find_method(c->server, msg->method);
	count_request(c->server, m);
	if (m == NULL)
		kr_rpc_fail(req, KR_E_UNSUPPORTED, "no such method");
	else
		m->fn(c->server->opts.ctx, req, msg->params);
	return KR_OK;
}

static const struct kr_rpc_link_ops link_ops = { .on_msg = on_msg,
						 .may_read = may_read,
						 .on_dead = on_dead,
						 .on_free = on_free };

static void answer(struct kr_rpc_request *req, struct kr_bytes head,
		   struct kr_bytes body)
{
	struct conn *c = req->conn;

	if (c != NULL) {
		kr_list_del(&req->link);
		c->request_count--;
		enum kr_err err = kr_rpc_link_send(&c->link, head, body);
		if (err != KR_OK) {
			complain(c->server,
				 "connection closed: it does not read its "
				 "answers",
				 &c->from, err);
			bury(c);
		} else {
			c->link.rx_ns = kr_io_now_ns(c->server->io);
			kr_rpc_link_resume(&c->link);
		}
	}
	free(req);
}

void kr_rpc_reply(struct kr_rpc_request *req, struct kr_bytes result)
{
	static const uint8_t nil = 0xc0;
	uint8_t buf[KR_RPC_HEAD_MAX];
	struct kr_mp_writer w;

	if (result.len == 0)
		result = (struct kr_bytes){ &nil, 1 };
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_rpc_response_head(&w, req->id);
	kr_assert(!w.overflow);
	answer(req, (struct kr_bytes){ buf, w.len }, result);
}

void kr_rpc_fail(struct kr_rpc_request *req, enum kr_err err, const char *text)
{
	uint8_t buf[KR_RPC_ERROR_MAX];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_rpc_response_error(&w, req->id, err, text);
	kr_assert(!w.overflow);
	answer(req, (struct kr_bytes){ buf, w.len }, (struct kr_bytes){ 0 });
}

struct kr_addr kr_rpc_request_from(const struct kr_rpc_request *req)
{
	return req->from;
}

uint64_t kr_rpc_request_conn(const struct kr_rpc_request *req)
{
	return req->conn_id;
}

enum kr_err kr_rpc_notify(struct kr_rpc_server *s, uint64_t conn,
			  const char *method, struct kr_bytes params)
{
	struct conn *c = kr_u64_map_get(&s->conns, conn);
	uint8_t buf[KR_RPC_HEAD_MAX];
	struct kr_mp_writer w;

	if (c == NULL)
		return KR_E_NOTFOUND;
	if (kr_rpc_link_queued(&c->link) >= KR_RPC_LINK_OUT_HIGH)
		return KR_E_BUSY;
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_rpc_notification_head(&w, method);
	kr_assert(!w.overflow);
	return kr_rpc_link_send(&c->link, (struct kr_bytes){ buf, w.len },
				params);
}

/* ---- the server ---- */

static void on_accept(struct kr_listener *l, int fd, const struct kr_addr *from)
{
	struct kr_rpc_server *s =
		KR_CONTAINER_OF(l, struct kr_rpc_server, listener);
	struct conn *c = NULL;

	if (!s->closed && s->conn_count < s->opts.connections_max)
		c = calloc(1, sizeof(*c));
	if (c == NULL || kr_u64_map_put(&s->conns, s->next_id, c) != KR_OK) {
		complain(s, "connection refused: too many", from, KR_E_LIMIT);
		free(c);
		(void)close(fd);
		return;
	}
	c->server = s;
	c->id = s->next_id++;
	c->from = *from;
	kr_list_init(&c->requests);
	s->conn_count++;
	kr_metric_add(s->connections, 1);
	kr_rpc_link_open(&c->link, s->io, fd, s->opts.request_len_max,
			 &link_ops);
	kr_io_timer_set(s->io, &c->idle,
			kr_io_now_ns(s->io) + s->opts.idle_timeout_ns, on_idle);
}

static enum kr_err register_metrics(struct kr_rpc_server *s)
{
	const size_t count = s->opts.method_count;

	s->requests = calloc(count + 1, sizeof(*s->requests));
	if (s->requests == NULL)
		return KR_E_NOMEM;
	s->connections = kr_metrics_gauge("kraken_rpc_connections",
					  "open RPC connections to us", NULL);
	for (size_t i = 0; i <= count; i++) {
		char labels[KR_RPC_NAME_MAX + 16] = "";
		const enum kr_err err = kr_metrics_label(
			labels, sizeof(labels), "method",
			i < count ? s->opts.methods[i].name : "other");

		kr_assert(err == KR_OK);
		s->requests[i] =
			kr_metrics_counter("kraken_rpc_requests_total",
					   "RPC requests to us", labels);
	}
	return KR_OK;
}

enum kr_err kr_rpc_server_open(struct kr_io *io,
			       const struct kr_rpc_server_opts *o,
			       struct kr_rpc_server **ret)
{
	struct kr_rpc_server *s = calloc(1, sizeof(*s));
	enum kr_err err;

	if (s == NULL)
		return KR_E_NOMEM;
	s->io = io;
	s->opts = *o;
	if (o->connections_max == 0)
		s->opts.connections_max = 4096;
	if (o->requests_max == 0)
		s->opts.requests_max = 256;
	if (o->idle_timeout_ns == 0)
		s->opts.idle_timeout_ns = IDLE_DEFAULT_NS;
	if (o->request_len_max == 0)
		s->opts.request_len_max = KR_RPC_LEN_MAX;
	s->next_id = 1;
	kr_u64_map_open(&s->conns, kr_alloc_heap());
	err = register_metrics(s);
	if (err == KR_OK)
		err = kr_io_listen(io, &s->listener, &o->listen, on_accept);
	if (err != KR_OK) {
		free(s->requests);
		free(s);
		return err;
	}
	*ret = s;
	return KR_OK;
}

/* The listener may be freed once the ring has let go of it. */
static void last_post(struct kr_post *p)
{
	struct kr_rpc_server *s =
		KR_CONTAINER_OF(p, struct kr_rpc_server, last);

	if (kr_op_busy(&s->listener.op)) {
		kr_io_post(s->io, &s->last, last_post);
		return;
	}
	s->listener_gone = true;
	free_if_gone(s);
}

void kr_rpc_server_close(struct kr_rpc_server *s)
{
	uint32_t cursor = 0;
	uint64_t id;
	void *value;

	if (s == NULL)
		return;
	kr_assert(!s->closed);
	s->closed = true;
	kr_io_unlisten(s->io, &s->listener);
	while (kr_u64_map_next(&s->conns, &cursor, &id, &value))
		bury(value);
	kr_io_post(s->io, &s->last, last_post);
}

struct kr_addr kr_rpc_server_addr(const struct kr_rpc_server *s)
{
	return s->listener.at;
}
