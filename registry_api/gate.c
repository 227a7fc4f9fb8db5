/*
 * The gate stands between the socket and h2o.  h2o is told not to read
 * (h2o_socket_dont_read), so its call-back is only a notification; the gate
 * takes the call-back's place, reads, and puts one rewritten head into the
 * socket's input buffer when everything in front of the answer is done: the
 * small body is in memory, or the role has taken the upload body from the
 * socket.  A blob that is here the role may answer all alone (direct.c).
 *
 * When h2o is done with a request it frees the request's pool and installs
 * its own call-back again; a chunk in that pool tells us, and an entry of the
 * zero timeout puts the gate back before anything is polled.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/log.h"
#include "registry_api/handlers.h"
#include "registry_api/query.h"
#include "registry_api/server.h"

enum {
	READ_BYTES = 16384,
	IN_BYTES_MAX = 4 << 20, /* what the role may give back as surplus */
	RAW_SLACK = READ_BYTES, /* chunk framing beside a decoded body */
};

static void step(struct kr_conn *c);

void kr_gate_drop(struct kr_conn *c)
{
	kr_assert(c->state != KR_CONN_ANSWER && !c->ask.flying);
	c->h2o_read(c->sock, h2o_socket_error_closed);
}

/* Answer without h2o, and close: for what is not even a request. */
static void refuse_raw(struct kr_conn *c, int status)
{
	char text[256];
	const int n = snprintf(text, sizeof(text),
			       "HTTP/1.1 %d %s\r\nConnection: close\r\n"
			       "Content-Length: 0\r\n\r\n",
			       status, kr_http_reason(status));

	kr_log_debug("http", "malformed request",
		     KR_U64("status", (uint64_t)status));
	if (send(kr_conn_fd(c), text, (size_t)n, MSG_NOSIGNAL) == n)
		kr_linger_start(c->srv, kr_conn_fd(c));
	kr_gate_drop(c);
}

bool kr_gate_continue(struct kr_conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const ssize_t len = (ssize_t)sizeof(text) - 1;

	/* Nothing of ours is in the socket's buffer, so it takes 25 bytes. */
	return send(kr_conn_fd(c), text, (size_t)len, MSG_NOSIGNAL) == len;
}

void kr_gate_pass(struct kr_conn *c)
{
	h2o_iovec_t dst = h2o_buffer_reserve(&c->sock->input, c->head.len);

	memcpy(dst.base, c->head.ptr, c->head.len);
	c->sock->input->size += c->head.len;
	kr_buf_fini(&c->head);
	kr_conn_touch(c, KR_CONN_ANSWER);
	c->h2o_read(c->sock, NULL);
}

static void refuse(struct kr_conn *c, enum kr_oci_code code, const char *why)
{
	c->refused = true;
	c->refused_code = code;
	c->refused_why = why;
	kr_gate_pass(c);
}

/* ---- small bodies ----*/

static void body_is_whole(struct kr_conn *c)
{
	kr_gate_pass(c);
}

static void take_length_body(struct kr_conn *c)
{
	const size_t n =
		c->in.len < c->body_left ? c->in.len : (size_t)c->body_left;

	if (kr_buf_append(&c->body, c->in.ptr, n) != KR_OK) {
		kr_gate_drop(c);
		return;
	}
	kr_buf_consume(&c->in, n);
	c->body_left -= n;
	if (c->body_left == 0)
		body_is_whole(c);
}

/* The decoder works in place, so raw bytes go behind the decoded ones. */
static void take_chunked_body(struct kr_conn *c)
{
	size_t len = c->in.len;
	uint8_t *raw;

	if (len == 0)
		return;
	if (kr_buf_append(&c->body, c->in.ptr, len) != KR_OK) {
		refuse(c, KR_OCI_TOO_LARGE, NULL);
		return;
	}
	raw = c->body.ptr + c->body.len - len;
	c->body.len -= len;
	const ssize_t rest = phr_decode_chunked(&c->decoder, (char *)raw, &len);
	if (rest == -1) {
		refuse(c, KR_OCI_BAD_REQUEST, "broken chunk");
		return;
	}
	c->body.len += len;
	kr_buf_consume(&c->in, c->in.len - (rest > 0 ? (size_t)rest : 0));
	if (c->body.len > c->body_max)
		refuse(c, KR_OCI_TOO_LARGE, NULL);
	else if (rest >= 0)
		body_is_whole(c);
}

static void take_body(struct kr_conn *c)
{
	if (c->framing == KR_BODY_CHUNKED)
		take_chunked_body(c);
	else
		take_length_body(c);
}

/* Chunks do not say how many bytes will come. */
static bool reserve_body(struct kr_conn *c)
{
	const uint64_t bytes =
		c->framing == KR_BODY_LENGTH ? c->body_left : c->body_max;

	if (bytes > KR_BODIES_BYTES_MAX - c->srv->body_bytes)
		return false;
	c->srv->body_bytes += bytes;
	c->body_reserved = bytes;
	return true;
}

void kr_gate_free_body(struct kr_conn *c)
{
	c->srv->body_bytes -= c->body_reserved;
	c->body_reserved = 0;
	kr_buf_fini(&c->body);
}

static void begin_body(struct kr_conn *c, const struct kr_head *head)
{
	const bool manifest =
		c->method == KR_PUT && c->route.kind == KR_ROUTE_MANIFEST;

	c->body_left = head->body_len;
	c->body_max =
		manifest ? c->srv->opts.manifest_bytes_max : KR_SMALL_BODY_MAX;
	if (c->body_left > c->body_max) {
		refuse(c, KR_OCI_TOO_LARGE, NULL);
		return;
	}
	if (!reserve_body(c)) {
		refuse(c,
		       c->srv->opts.push ? KR_OCI_TOOMANYREQUESTS
					 : KR_OCI_UNAVAILABLE,
		       "too many request bodies");
		return;
	}
	if (c->wants_continue && c->in.len == 0 && !kr_gate_continue(c)) {
		kr_gate_drop(c);
		return;
	}
	kr_buf_init(&c->body, (size_t)c->body_max + RAW_SLACK);
	memset(&c->decoder, 0, sizeof(c->decoder));
	c->decoder.consume_trailer = 1;
	c->state = KR_CONN_BODY; /* the head's time limit holds for both */
	take_body(c);
}

/* ---- heads ----*/

void kr_gate_route(const struct kr_http *h, const struct kr_head *head,
		   struct kr_route *ret)
{
	char path[2048];
	size_t len;

	*ret = (struct kr_route){ .kind = KR_ROUTE_UNKNOWN };
	if (kr_percent_decode(head->path, path, sizeof(path), &len) == KR_OK)
		kr_route_parse((struct kr_bytes){ (const uint8_t *)path, len },
			       ret);
	else
		len = 0;
	if (ret->kind == KR_ROUTE_UNKNOWN && h->opts.kraken != 0)
		kr_kraken_route_parse(
			(struct kr_bytes){ (const uint8_t *)path, len },
			h->opts.kraken, ret);
	kr_upstream_map(&h->opts.upstreams, head->query, ret);
}

static void begin_answer(struct kr_conn *c, const struct kr_head *head)
{
	const bool direct = kr_direct_begin(c, head);

	kr_buf_consume(&c->in, head->head_len);
	if (!direct)
		kr_gate_pass(c);
}

static bool has_body(const struct kr_head *head)
{
	return head->framing == KR_BODY_CHUNKED || head->body_len > 0;
}

static void begin_request(struct kr_conn *c, const struct kr_head *head)
{
	const bool body = has_body(head);

	c->method = head->method;
	c->framing = head->framing;
	c->wants_continue = head->wants_continue;
	c->refused = false;
	c->refused_why = NULL;
	c->linger = false;
	c->received = (struct kr_received){ .tried = false };
	kr_gate_route(c->srv, head, &c->route);
	if (kr_head_rewrite(head, &c->head) != KR_OK) {
		kr_gate_drop(c);
		return;
	}
	if (head->unknown_expectation) {
		kr_buf_consume(&c->in, head->head_len);
		refuse(c, KR_OCI_EXPECTATION_FAILED, NULL);
	} else if (body && kr_upload_gate_wants(c, head)) {
		kr_upload_gate_begin(c, head);
	} else if (body) {
		kr_buf_consume(&c->in, head->head_len);
		begin_body(c, head);
	} else {
		begin_answer(c, head);
	}
}

static void take_head(struct kr_conn *c)
{
	struct kr_head head;

	switch (kr_head_parse(c->in.ptr, c->in.len, c->seen_len, &head)) {
	case KR_OK:
		c->seen_len = 0;
		begin_request(c, &head);
		return;
	case KR_AGAIN:
		c->seen_len = c->in.len;
		return;
	case KR_E_TOOBIG:
		refuse_raw(c, 431);
		return;
	default:
		refuse_raw(c, 400);
		return;
	}
}

static void step(struct kr_conn *c)
{
	if (c->state == KR_CONN_HEAD)
		take_head(c);
	else if (c->state == KR_CONN_BODY)
		take_body(c);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
	struct kr_conn *c = sock->on_close.data;

	kr_assert(c->state == KR_CONN_HEAD || c->state == KR_CONN_BODY);
	if (err != NULL || kr_buf_reserve(&c->in, READ_BYTES) != KR_OK) {
		kr_gate_drop(c);
		return;
	}
	const ssize_t n = recv(kr_conn_fd(c), c->in.ptr + c->in.len, READ_BYTES,
			       MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		kr_gate_drop(c);
		return;
	}
	if (c->state == KR_CONN_HEAD && c->in.len == 0)
		kr_conn_touch(c, KR_CONN_HEAD);
	c->in.len += (size_t)n;
	step(c);
}

/* ---- between requests ----*/

static void put_before_h2o(struct kr_conn *c)
{
	kr_assert(c->sock->_cb.read != NULL);
	c->h2o_read = c->sock->_cb.read;
	c->sock->_cb.read = on_read;
}

static void go_on(struct kr_conn *c)
{
	kr_conn_touch(c, KR_CONN_HEAD);
	if (c->in.len > 0)
		step(c);
	else
		kr_buf_fini(&c->in); /* an idle connection holds no buffer */
}

static void on_next(h2o_timeout_entry_t *entry)
{
	struct kr_conn *c = KR_CONTAINER_OF(entry, struct kr_conn, next);

	put_before_h2o(c);
	go_on(c);
}

void kr_gate_answered(struct kr_conn *c)
{
	kr_assert(c->state == KR_CONN_LENT && !c->ask.flying);
	kr_buf_fini(&c->head);
	h2o_socket_read_start(c->sock, on_read);
	go_on(c);
}

/* h2o frees the request: it is answered, or the connection is closing. */
static void on_request_gone(void *chunk)
{
	struct kr_conn *c = *(struct kr_conn **)chunk;

	c->req = NULL;
	kr_blob_end(c);
	kr_prefetch_end(c);
	kr_gate_free_body(c);
	if (c->linger)
		kr_linger_start(c->srv, kr_conn_fd(c));
	h2o_timeout_link(c->srv->ctx.loop, &c->srv->ctx.zero_timeout, &c->next);
}

void kr_gate_request_begun(struct kr_conn *c, h2o_req_t *req)
{
	struct kr_conn **chunk = h2o_mem_alloc_shared(
		&req->pool, sizeof(*chunk), on_request_gone);

	kr_assert(c->state == KR_CONN_ANSWER && c->req == NULL);
	*chunk = c;
	c->req = req;
}

void kr_gate_install(struct kr_conn *c)
{
	kr_buf_init(&c->in, IN_BYTES_MAX);
	kr_buf_init(&c->head, KR_HEAD_BYTES_MAX + 16384);
	kr_buf_init(&c->body, 0);
	c->next.cb = on_next;
	h2o_socket_dont_read(c->sock, 1);
	put_before_h2o(c);
}
