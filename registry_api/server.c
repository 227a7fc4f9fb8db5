/*
 * The thread: accept, h2o's loop, time limits, and the way out.
 *
 * h2o's own request timeout is put out of reach, because it would close a
 * socket that is lent to the role; the limits here apply to whatever waits
 * for a client, never to what waits for the role.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/thread.h"
#include "registry_api/server.h"

enum {
	BACKLOG = 1024,
	ACCEPTS_PER_TURN = 64,
	TURN_MS_MAX = 500, /* how late a time limit may be noticed */
	STOP_TURN_MS = 20,
};
#define NEVER_MS            (UINT64_C(10) * 365 * 24 * 3600 * 1000)
#define ACCEPT_PAUSE_NS     UINT64_C(100000000)
#define SLICE_NS            UINT64_C(100000) /* short work, others wait for it */
#define IDLE_NS_DEFAULT     UINT64_C(60000000000)
#define CONNECTIONS_DEFAULT 1024
#define MANIFEST_DEFAULT    (UINT64_C(4) << 20)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_LSAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_LSAN
#endif
#ifdef WITH_LSAN
/* h2o keeps free lists per thread (some 16 chunks) and offers no call to free
 * them when the thread ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:h2o_mem_alloc_recycle\n";
}
#endif

/* ---- connections ----*/

void kr_conn_touch(struct kr_conn *c, enum kr_conn_state state)
{
	c->state = state;
	c->since_ns = kr_clock_mono_ns();
	kr_list_del(&c->link);
	kr_list_add_tail(&c->srv->conns, &c->link);
}

/* h2o has closed the socket. */
static void on_close(void *data)
{
	struct kr_conn *c = data;

	kr_assert(!c->ask.flying && c->get == NULL && c->direct == NULL);
	h2o_timeout_unlink(&c->next);
	kr_list_del(&c->link);
	kr_buf_fini(&c->in);
	kr_buf_fini(&c->head);
	kr_gate_free_body(c);
	c->srv->conn_count--;
	kr_metric_sub(c->srv->connections, 1);
	free(c);
}

/* One too many: say so without reading a byte. */
static void turn_away(struct kr_http *h, int fd)
{
	const int status = h->opts.push ? 429 : 503;
	char text[128];
	const int n = snprintf(text, sizeof(text),
			       "HTTP/1.1 %d %s\r\n"
			       "Connection: close\r\n"
			       "Retry-After: 1\r\n"
			       "Content-Length: 0\r\n\r\n",
			       status, kr_http_reason(status));

	kr_assert(n > 0 && n < (int)sizeof(text));
	kr_metric_add(h->refused, 1);
	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) > 0)
		kr_linger_start(h, fd);
	(void)close(fd);
}

static void adopt(struct kr_http *h, int fd)
{
	struct kr_conn *c = NULL;
	const int one = 1;

	if (h->conn_count < h->opts.connections_max)
		c = calloc(1, sizeof(*c));
	if (c == NULL) {
		turn_away(h, fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->srv = h;
	kr_list_init(&c->link);
	kr_conn_touch(c, KR_CONN_HEAD);
	h->conn_count++;
	kr_metric_add(h->connections, 1);
	c->sock = h2o_evloop_socket_create(
		h->ctx.loop, fd, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
	c->sock->on_close.cb = on_close;
	c->sock->on_close.data = c;
	h2o_accept(&h->accept_ctx, c->sock);
	kr_gate_install(c);
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
	struct kr_http *h = listener->data;

	(void)err;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		const int fd = accept4(h2o_socket_get_fd(listener), NULL, NULL,
				       SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			adopt(h, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			kr_log_warn("http", "cannot accept, pausing",
				    KR_ERR("why", kr_err_from_errno(errno)));
			h2o_socket_read_stop(listener);
			h->accept_paused_until_ns =
				kr_clock_mono_ns() + ACCEPT_PAUSE_NS;
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- time ----*/

/* The client had its time: h2o notices a dead socket when it writes. */
static void expire_conn(struct kr_conn *c)
{
	if (c->state != KR_CONN_ANSWER) {
		kr_gate_drop(c);
		return;
	}
	(void)shutdown(kr_conn_fd(c), SHUT_RDWR);
	kr_conn_touch(c, KR_CONN_ANSWER);
}

static void expire_conns(struct kr_http *h, uint64_t now_ns)
{
	struct kr_list *it;

	while ((it = kr_list_first(&h->conns)) != NULL) {
		struct kr_conn *c = KR_CONTAINER_OF(it, struct kr_conn, link);
		if (c->since_ns + h->opts.idle_timeout_ns > now_ns)
			return;
		if (c->ask.flying)
			kr_conn_touch(c, c->state);
		else
			expire_conn(c);
	}
}

static void resume_accepting(struct kr_http *h, uint64_t now_ns)
{
	if (h->accept_paused_until_ns == 0 ||
	    h->accept_paused_until_ns > now_ns || h->listener == NULL)
		return;
	h->accept_paused_until_ns = 0;
	h2o_socket_read_start(h->listener, on_accept);
}

/* ---- the way out ----*/

static void begin_stop(struct kr_http *h, uint64_t now_ns)
{
	if (h->stop_begun_ns != 0)
		return;
	h->stop_begun_ns = now_ns;
	h2o_socket_close(h->listener);
	h->listener = NULL;
	h->ctx.shutdown_requested = 1; /* answers close their connection */
	kr_linger_expire(h, UINT64_MAX);
}

/* Requests that are being answered may end; everything else is closed. */
static void push_out(struct kr_http *h, uint64_t now_ns)
{
	const bool patient = now_ns < h->stop_begun_ns + KR_STOP_GRACE_NS;

	kr_ask_cancel_all(&h->asks);
	kr_list_for_each_safe(it, &h->conns)
	{
		struct kr_conn *c = KR_CONTAINER_OF(it, struct kr_conn, link);
		if (c->ask.flying)
			continue;
		if (c->state != KR_CONN_ANSWER)
			kr_gate_drop(c);
		else if (!patient)
			(void)shutdown(kr_conn_fd(c), SHUT_RDWR);
	}
}

static bool is_empty(const struct kr_http *h)
{
	return h->stop_begun_ns != 0 && kr_list_empty(&h->conns) &&
	       kr_ask_queue_is_idle(&h->asks) && kr_list_empty(&h->lingers);
}

/* ---- the thread ----*/

/* So long a turn may wait: nothing ends by time where nobody is connected. */
static int32_t turn_ms(const struct kr_http *h)
{
	if (h->stop_begun_ns != 0)
		return STOP_TURN_MS;
	if (kr_list_empty(&h->conns) && kr_list_empty(&h->lingers) &&
	    h->accept_paused_until_ns == 0)
		return INT32_MAX;
	return TURN_MS_MAX;
}

static void turn(struct kr_http *h)
{
	/* -1 with EINTR is not an error (ENGINE.md). */
	(void)h2o_evloop_run(h->ctx.loop, turn_ms(h));
	const uint64_t now_ns = kr_clock_mono_ns();
	resume_accepting(h, now_ns);
	expire_conns(h, now_ns);
	kr_linger_expire(h, now_ns);
	if (atomic_load(&h->stop)) {
		begin_stop(h, now_ns);
		push_out(h, now_ns);
	}
}

static void setup_h2o(struct kr_http *h)
{
	h2o_hostconf_t *host;
	h2o_pathconf_t *path;

	h2o_config_init(&h->config);
	h->config.server_name = h2o_iovec_init(H2O_STRLIT(KR_SERVER_NAME));
	h->config.http1.req_timeout = NEVER_MS;
	h->config.http1.upgrade_to_http2 = 0;
	host = h2o_config_register_host(
		&h->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
	path = h2o_config_register_path(host, "/", 0);
	h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = kr_dispatch;
	h2o_context_init(&h->ctx, h2o_evloop_create(), &h->config);
	h->accept_ctx.ctx = &h->ctx;
	h->accept_ctx.hosts = h->config.hosts;
}

static void teardown_h2o(struct kr_http *h)
{
	h2o_loop_t *loop = h->ctx.loop;
	h2o_multithread_queue_t *queue = h->ctx.queue;

	kr_ask_queue_fini(&h->asks);
	h2o_context_dispose(&h->ctx);
	free(queue); /* 2.2.5 destroys it, but leaves its memory */
	h2o_config_dispose(&h->config);
	(void)h2o_evloop_run(loop, 0); /* closed sockets are freed in a turn */
	h2o_evloop_destroy(loop);
}

/*
 * All that h2o makes is made here, not by who starts us: the buffers of its
 * sockets, those of its message queue too, come from a list of the thread that
 * made the socket, and two servers of one process would share it, unlocked.
 */
static void set_up(struct kr_http *h)
{
	setup_h2o(h);
	kr_ask_queue_init(&h->asks, h->ctx.queue, h->opts.registry);
	h->listener = h2o_evloop_socket_create(h->ctx.loop, h->listen_fd,
					       H2O_SOCKET_FLAG_DONT_READ);
	h->listener->data = h;
	h2o_socket_read_start(h->listener, on_accept);
}

static void *run(void *arg)
{
	struct kr_http *h = arg;

	kr_thread_set_slice(SLICE_NS);
	set_up(h);
	(void)sem_post(&h->is_up);
	while (!is_empty(h))
		turn(h);
	teardown_h2o(h);
	return NULL;
}

/* ---- start ----*/

static void register_metrics(struct kr_http *h)
{
	char labels[256];

	for (int r = 0; r < KR_ROUTE_COUNT; r++) {
		for (int cls = 0; cls < 6; cls++) {
			(void)snprintf(
				labels, sizeof(labels),
				"role=\"%s\",route=\"%s\",status=\"%dxx\"",
				h->opts.role,
				kr_route_name((enum kr_route_kind)r), cls);
			h->requests[r][cls] =
				kr_metrics_counter("kraken_http_requests_total",
						   "requests answered", labels);
		}
	}
	(void)snprintf(labels, sizeof(labels), "role=\"%s\"", h->opts.role);
	h->connections = kr_metrics_gauge("kraken_http_connections",
					  "open HTTP connections", labels);
	h->refused = kr_metrics_counter("kraken_http_connections_refused_total",
					"connections turned away at the limit",
					labels);
}

static enum kr_err bind_and_listen(struct kr_http *h, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len = kr_addr_to_sockaddr(&h->opts.listen, &sa);
	const int one = 1;
	const int fd = socket(sa.ss_family,
			      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return kr_err_from_errno(errno);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, len) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		const int why = errno;
		(void)close(fd);
		return why == EADDRINUSE ? KR_E_EXISTS : kr_err_from_errno(why);
	}
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
	    kr_addr_from_sockaddr((struct sockaddr *)&sa, &h->at) != KR_OK) {
		(void)close(fd);
		return KR_E_IO;
	}
	*ret_fd = fd;
	return KR_OK;
}

static void fill_defaults(struct kr_http_opts *o)
{
	if (o->manifest_bytes_max == 0)
		o->manifest_bytes_max = MANIFEST_DEFAULT;
	if (o->connections_max == 0)
		o->connections_max = CONNECTIONS_DEFAULT;
	if (o->idle_timeout_ns == 0)
		o->idle_timeout_ns = IDLE_NS_DEFAULT;
}

/* Signals are the main thread's, and h2o's writes must not raise SIGPIPE.
 * Returns when the thread has set itself up: it may be stopped then. */
static int start_thread(struct kr_http *h)
{
	sigset_t all, old;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	const int rc = pthread_create(&h->thread, NULL, run, h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	while (rc == 0 && sem_wait(&h->is_up) != 0)
		; /* interrupted */
	return rc;
}

static void free_http(struct kr_http *h)
{
	(void)sem_destroy(&h->is_up);
	free(h);
}

enum kr_err kr_http_start(const struct kr_http_opts *opts, struct kr_http **ret)
{
	struct kr_http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return KR_E_NOMEM;
	(void)sem_init(&h->is_up, 0, 0);
	h->opts = *opts;
	fill_defaults(&h->opts);
	enum kr_err err = bind_and_listen(h, &h->listen_fd);
	if (err != KR_OK) {
		free_http(h);
		return err;
	}
	kr_list_init(&h->conns);
	kr_list_init(&h->lingers);
	register_metrics(h);
	const int rc = start_thread(h);
	if (rc != 0) {
		(void)close(h->listen_fd);
		free_http(h);
		return kr_err_from_errno(rc);
	}
	*ret = h;
	return KR_OK;
}

struct kr_addr kr_http_addr(const struct kr_http *h)
{
	return h->at;
}

void kr_http_stop(struct kr_http *h)
{
	if (h == NULL)
		return;
	kr_ask_queue_tell(&h->asks, &h->stop);
	(void)pthread_join(h->thread, NULL);
	free_http(h);
}
