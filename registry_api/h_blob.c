/*
 * A blob GET is h2o's until the head is out, then the role's until the last
 * byte is on the socket, then h2o's again for the end of the response:
 *
 *	BLOB_OPEN -> h2o sends the head -> proceed -> BLOB_SEND -> FINAL
 *	                  ^                               |  |
 *	                  +---- head of the next part ----+  |
 *	                                   error: the connection is dropped
 *
 * Several ranges are the parts of a multipart/byteranges body (RFC 9110,
 * 14.6).  What stands between them holds the blob's own digest, which the blob
 * cannot contain.
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

enum {
	BOUNDARY_LEN = 64, /* RFC 2046, 5.1.1: at most 70 */
	PART_HEAD_MAX = 256,
};

struct kr_blob_get {
	h2o_generator_t generator;
	struct kr_conn *conn;
	struct kr_reg_blob *blob; /* NULL: not open yet */
	uint64_t size;
	struct kr_ranges ranges;
	uint32_t at; /* the range that is sent */
	char boundary[BOUNDARY_LEN + 1];
	char part[PART_HEAD_MAX]; /* what h2o sends now */
	struct kr_ask close; /* made with the rest, so closing cannot fail */
};

static void print_etag(const struct kr_digest *d, char *buf, size_t cap)
{
	char text[KR_DIGEST_TEXT_MAX];

	(void)snprintf(buf, cap, "\"%s\"", kr_digest_print(d, text));
}

static void add_blob_headers(struct kr_conn *c, const char *type)
{
	char etag[KR_DIGEST_TEXT_MAX + 2];

	print_etag(&c->route.digest, etag, sizeof(etag));
	kr_reply_digest(c, &c->route.digest);
	kr_reply_header(c, "Content-Type", type);
	kr_reply_header(c, "Accept-Ranges", "bytes");
	kr_reply_header(c, "ETag", etag);
}

/* ---- HEAD ----*/

static void send_head_only(struct kr_conn *c, uint64_t size)
{
	static h2o_generator_t nothing_more = { NULL, NULL };

	kr_reply_begin(c, 200);
	add_blob_headers(c, KR_BLOB_TYPE);
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

/* ---- the parts of a multipart body ----*/

static bool is_multipart(const struct kr_blob_get *g)
{
	return g->ranges.count > 1;
}

/* What stands before range @at, or behind the last; its length. */
static size_t print_part(const struct kr_blob_get *g, uint32_t at,
			 char buf[PART_HEAD_MAX])
{
	const struct kr_range *r = &g->ranges.range[at];
	const char *line = at > 0 ? "\r\n" : "";
	int n;

	if (at == g->ranges.count)
		n = snprintf(buf, PART_HEAD_MAX, "\r\n--%s--\r\n", g->boundary);
	else
		n = snprintf(buf, PART_HEAD_MAX,
			     "%s--%s\r\nContent-Type: " KR_BLOB_TYPE "\r\n"
			     "Content-Range: bytes %" PRIu64 "-%" PRIu64
			     "/%" PRIu64 "\r\n\r\n",
			     line, g->boundary, r->offset,
			     r->offset + r->length - 1, g->size);
	kr_assert(n > 0 && n < PART_HEAD_MAX);
	return (size_t)n;
}

static uint64_t multipart_length(const struct kr_blob_get *g)
{
	char buf[PART_HEAD_MAX];
	uint64_t sum = 0;

	for (uint32_t i = 0; i <= g->ranges.count; i++) {
		sum += print_part(g, i, buf);
		if (i < g->ranges.count)
			sum += g->ranges.range[i].length;
	}
	return sum;
}

static void send_part(struct kr_conn *c, h2o_send_state_t state)
{
	struct kr_blob_get *g = c->get;
	h2o_iovec_t buf = { g->part, print_part(g, g->at, g->part) };

	h2o_send(c->req, &buf, 1, state);
}

/* ---- the ranges, one after the other ----*/

static void break_off(struct kr_conn *c, const struct kr_reg_call *call)
{
	const struct kr_blob_get *g = c->get;

	kr_log_info("http", "blob response broken off",
		    KR_DIGEST("blob", &c->route.digest),
		    KR_ERR("why", call->err), KR_U64("sent", call->moved),
		    KR_U64("of", g->ranges.range[g->at].length));
	/* The length was promised: only closing tells the client. */
	c->req->http1_is_persistent = 0;
	h2o_send(c->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

static void on_sent(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_blob_get *g = c->get;
	const struct kr_reg_call *call = &ask->call;

	if (call->err != KR_OK ||
	    call->moved != g->ranges.range[g->at].length) {
		break_off(c, call);
		return;
	}
	g->at++;
	if (!is_multipart(g))
		h2o_send(c->req, NULL, 0, H2O_SEND_STATE_FINAL);
	else
		send_part(c, g->at < g->ranges.count
				     ? H2O_SEND_STATE_IN_PROGRESS
				     : H2O_SEND_STATE_FINAL);
}

/* A head is out: the socket is the role's until on_sent. */
static void on_head_sent(h2o_generator_t *generator, h2o_req_t *req)
{
	struct kr_blob_get *g =
		KR_CONTAINER_OF(generator, struct kr_blob_get, generator);
	struct kr_conn *c = g->conn;
	struct kr_reg_call *call = kr_req_call(c, KR_REG_BLOB_SEND);

	(void)req;
	call->blob = g->blob;
	call->offset = g->ranges.range[g->at].offset;
	call->length = g->ranges.range[g->at].length;
	call->open_ended = g->ranges.open_ended;
	call->fd = kr_conn_fd(c);
	kr_ask_start(&c->srv->asks, &c->ask, c, on_sent);
}

static void add_multipart_head(struct kr_conn *c)
{
	struct kr_blob_get *g = c->get;
	char digest[KR_DIGEST_TEXT_MAX], type[128];

	kr_digest_print(&c->route.digest, digest);
	(void)snprintf(g->boundary, sizeof(g->boundary), "%.*s", BOUNDARY_LEN,
		       strchr(digest, ':') + 1);
	(void)snprintf(type, sizeof(type), "multipart/byteranges; boundary=%s",
		       g->boundary);
	add_blob_headers(c, type);
	c->req->res.content_length = multipart_length(g);
}

static void add_single_head(struct kr_conn *c)
{
	const struct kr_blob_get *g = c->get;
	const struct kr_range *r = &g->ranges.range[0];
	char text[96];

	add_blob_headers(c, KR_BLOB_TYPE);
	(void)snprintf(text, sizeof(text),
		       "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, r->offset,
		       r->offset + r->length - 1, g->size);
	kr_reply_header(c, "Content-Range", text);
	c->req->res.content_length = r->length;
}

static void add_whole_head(struct kr_conn *c)
{
	struct kr_blob_get *g = c->get;

	add_blob_headers(c, KR_BLOB_TYPE);
	c->req->res.content_length = g->size;
	g->ranges.range[0] = (struct kr_range){ 0, g->size };
}

static void start_body(struct kr_conn *c)
{
	struct kr_blob_get *g = c->get;

	kr_reply_begin(c, g->ranges.count > 0 ? 206 : 200);
	if (is_multipart(g))
		add_multipart_head(c);
	else if (g->ranges.count == 1)
		add_single_head(c);
	else
		add_whole_head(c);
	g->generator.proceed = on_head_sent;
	h2o_start_response(c->req, &g->generator);
	if (is_multipart(g))
		send_part(c, H2O_SEND_STATE_IN_PROGRESS);
	else
		h2o_send(c->req, NULL, 0,
			 g->size > 0 ? H2O_SEND_STATE_IN_PROGRESS
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
	c->get->size = call->size;
	if (range_counts(c))
		range = kr_req_header(c, "range");
	if (kr_ranges_parse(range, call->size, &c->get->ranges) == KR_OK) {
		start_body(c);
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
