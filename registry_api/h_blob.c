/*
 * A blob GET is h2o's until the head is out, then the role's until the last
 * byte is on the socket, then h2o's again for the end of the response:
 *
 *	BLOB_OPEN -> h2o sends the head -> proceed -> BLOB_SEND -> FINAL
 *	                                                  |
 *	                                   error: the connection is dropped
 *
 * The handle is given back when h2o frees the request, on every path.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "registry_api/handlers.h"
#include "registry_api/range.h"
#include "registry_api/reply.h"

struct kr_blob_get {
	h2o_generator_t generator;
	struct kr_conn *conn;
	struct kr_reg_blob *blob; /* NULL: not open yet */
	struct kr_range range;
	struct kr_ask close; /* made with the rest, so closing cannot fail */
};

static void print_etag(const struct kr_digest *d, char *buf, size_t cap)
{
	char text[KR_DIGEST_TEXT_MAX];

	(void)snprintf(buf, cap, "\"%s\"", kr_digest_print(d, text));
}

static void add_blob_headers(struct kr_conn *c)
{
	char etag[KR_DIGEST_TEXT_MAX + 2];

	print_etag(&c->route.digest, etag, sizeof(etag));
	kr_reply_digest(c, &c->route.digest);
	kr_reply_header(c, "Content-Type", "application/octet-stream");
	kr_reply_header(c, "Accept-Ranges", "bytes");
	kr_reply_header(c, "ETag", etag);
}

/* ---- HEAD ----*/

static void send_head_only(struct kr_conn *c, uint64_t size)
{
	static h2o_generator_t nothing_more = { NULL, NULL };

	kr_reply_begin(c, 200);
	add_blob_headers(c);
	c->req->res.content_length = size;
	h2o_start_response(c->req, &nothing_more);
	h2o_send(c->req, NULL, 0, H2O_SEND_STATE_FINAL);
}

static void on_stat(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err != KR_OK)
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_BLOB_UNKNOWN);
	else
		send_head_only(c, ask->call.size);
}

void kr_h_blob_head(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_BLOB_STAT);
	kr_req_ask(c, on_stat);
}

/* ---- GET ----*/

static void on_closed(struct kr_ask *ask)
{
	free(ask->owner);
}

void kr_blob_end(struct kr_conn *c)
{
	struct kr_blob_get *g = c->get;

	if (g == NULL)
		return;
	c->get = NULL;
	if (g->blob == NULL) {
		free(g);
		return;
	}
	kr_ask_prepare(&g->close, KR_REG_BLOB_CLOSE)->blob = g->blob;
	kr_ask_start(&c->srv->asks, &g->close, g, on_closed);
}

static void on_sent(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	const struct kr_reg_call *call = &ask->call;

	if (call->err == KR_OK && call->moved == c->get->range.length) {
		h2o_send(c->req, NULL, 0, H2O_SEND_STATE_FINAL);
		return;
	}
	kr_log_info("http", "blob response broken off",
		    KR_DIGEST("blob", &c->route.digest),
		    KR_ERR("why", call->err), KR_U64("sent", call->moved),
		    KR_U64("of", c->get->range.length));
	/* The length was promised: only closing tells the client. */
	c->req->http1_is_persistent = 0;
	h2o_send(c->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

/* The head is out: the socket is the role's until on_sent. */
static void on_head_sent(h2o_generator_t *generator, h2o_req_t *req)
{
	struct kr_blob_get *g =
		KR_CONTAINER_OF(generator, struct kr_blob_get, generator);
	struct kr_conn *c = g->conn;
	struct kr_reg_call *call = kr_req_call(c, KR_REG_BLOB_SEND);

	(void)req;
	call->blob = g->blob;
	call->offset = g->range.offset;
	call->length = g->range.length;
	call->fd = kr_conn_fd(c);
	kr_ask_start(&c->srv->asks, &c->ask, c, on_sent);
}

static void start_body(struct kr_conn *c, uint64_t size)
{
	struct kr_blob_get *g = c->get;
	char text[96];

	kr_reply_begin(c, g->range.partial ? 206 : 200);
	add_blob_headers(c);
	if (g->range.partial) {
		(void)snprintf(text, sizeof(text),
			       "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
			       g->range.offset,
			       g->range.offset + g->range.length - 1, size);
		kr_reply_header(c, "Content-Range", text);
	}
	c->req->res.content_length = g->range.length;
	g->generator.proceed = on_head_sent;
	h2o_start_response(c->req, &g->generator);
	h2o_send(c->req, NULL, 0,
		 g->range.length > 0 ? H2O_SEND_STATE_IN_PROGRESS
				     : H2O_SEND_STATE_FINAL);
}

/* A Range counts only for the representation the client has (RFC 9110,
 * 13.1.5); a blob has one, named by its digest. */
static bool range_counts(const struct kr_conn *c)
{
	const struct kr_bytes cond = kr_req_header(c, "if-range");
	char etag[KR_DIGEST_TEXT_MAX + 2];

	if (cond.len == 0)
		return true;
	print_etag(&c->route.digest, etag, sizeof(etag));
	return cond.len == strlen(etag) &&
	       memcmp(cond.ptr, etag, cond.len) == 0;
}

static void on_opened(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	const struct kr_reg_call *call = &ask->call;
	struct kr_bytes range = { NULL, 0 };
	char text[48];

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_BLOB_UNKNOWN);
		return;
	}
	c->get->blob = call->blob;
	if (range_counts(c))
		range = kr_req_header(c, "range");
	if (kr_range_parse(range, call->size, &c->get->range) == KR_OK) {
		start_body(c, call->size);
		return;
	}
	(void)snprintf(text, sizeof(text), "bytes */%" PRIu64, call->size);
	kr_reply_header(c, "Content-Range", text);
	kr_reply_error(c, KR_OCI_RANGE_INVALID, NULL, NULL);
}

void kr_h_blob_get(struct kr_conn *c)
{
	struct kr_blob_get *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		kr_reply_err(c, KR_E_NOMEM, "", KR_OCI_BLOB_UNKNOWN);
		return;
	}
	g->conn = c;
	c->get = g;
	(void)kr_req_call(c, KR_REG_BLOB_OPEN);
	kr_req_ask(c, on_opened);
}
