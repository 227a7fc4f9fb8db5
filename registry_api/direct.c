/*
 * Blob GETs that the role answers by itself, head and all, one after the other
 * on the same connection: neither h2o nor this thread has a part in it.
 *
 *	a head is read -> BLOB_SERVE -> answer -> next -> answer ...
 *	                      |                    |
 *	                      | not begun          | another request, or silence
 *	                      v                    v
 *	            h2o, which asks BLOB_OPEN    the gate reads again
 *
 * Only what is asked for most is answered here: HTTP/1.1, a connection that
 * stays, a blob that is complete, the whole of it or one range.  All else,
 * errors too, is h2o's, so there is one place that knows how to say it.
 *
 * answer() and next() run on the role's thread.  struct kr_direct is the
 * role's from kr_ask_start until on_served; of the server they read options.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/log.h"
#include "registry_api/range.h"
#include "registry_api/server.h"

enum {
	RANGE_MAX = 64, /* a longer one names several */
	HEAD_MAX = 1024,
	IN_MAX = 65536,
};
#define LISTEN_NS UINT64_C(5000000000)

struct kr_direct {
	const struct kr_http *http;
	struct kr_route route;
	char range[RANGE_MAX]; /* the request's, or "" */
	struct kr_ranges ranges;
	char head[HEAD_MAX]; /* the answer's */
	uint32_t answers;    /* begun */
	bool is_lost;        /* what came: out of memory */
	struct kr_buf in;    /* came after the last answer */
};

/* ---- which requests ----*/

static bool is_text(struct kr_bytes v, const char *text)
{
	return v.len == strlen(text) &&
	       strncasecmp((const char *)v.ptr, text, v.len) == 0;
}

static bool is_blob(const struct kr_http *h, const struct kr_route *r)
{
	return r->fault == KR_ROUTE_FINE &&
	       (r->kind == KR_ROUTE_KRAKEN_BLOB ||
		(r->kind == KR_ROUTE_BLOB && h->opts.pull));
}

static bool is_simple(const struct kr_head *head)
{
	const struct kr_bytes connection = kr_head_field(head, "connection");

	return head->method == KR_GET && head->minor_version == 1 &&
	       head->framing == KR_BODY_ABSENT && !head->unknown_expectation &&
	       (connection.len == 0 || is_text(connection, "keep-alive")) &&
	       kr_head_field(head, "if-range").len == 0 &&
	       kr_head_field(head, "range").len < RANGE_MAX;
}

static void take_request(struct kr_direct *d, struct kr_reg_call *call,
			 const struct kr_head *head,
			 const struct kr_route *route)
{
	const struct kr_bytes range = kr_head_field(head, "range");

	d->route = *route;
	memset(d->range, 0, sizeof(d->range));
	if (range.len > 0)
		memcpy(d->range, range.ptr, range.len);
	memcpy(call->repo, route->repo, sizeof(call->repo));
	call->digest = route->digest;
}

/* ---- the answer ----*/

static int status_of(const struct kr_direct *d)
{
	return d->ranges.count > 0 ? 206 : 200;
}

/* As h2o would: nobody can tell who answered. */
static size_t print_head(struct kr_direct *d, const struct kr_range *r,
			 uint64_t size)
{
	char digest[KR_DIGEST_TEXT_MAX], date[H2O_TIMESTR_RFC1123_LEN + 1];
	const bool v2 = d->route.kind == KR_ROUTE_BLOB;
	const int status = status_of(d);
	const time_t now = time(NULL);
	char range[96] = "";
	struct tm gmt;

	kr_digest_print(&d->route.digest, digest);
	h2o_time2str_rfc1123(date, gmtime_r(&now, &gmt));
	if (status == 206)
		(void)snprintf(range, sizeof(range),
			       "Content-Range: bytes %" PRIu64 "-%" PRIu64
			       "/%" PRIu64 "\r\n",
			       r->offset, r->offset + r->length - 1, size);
	const int n = snprintf(
		d->head, HEAD_MAX,
		"HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: keep-alive\r\n"
		"Content-Length: %" PRIu64 "\r\nServer: " KR_SERVER_NAME
		"\r\n%sDocker-Content-Digest: %s\r\n"
		"Content-Type: " KR_BLOB_TYPE "\r\n"
		"Accept-Ranges: bytes\r\nETag: \"%s\"\r\n%s\r\n",
		status, kr_http_reason(status), date, r->length,
		v2 ? KR_V2_FIELD ": " KR_V2_VALUE "\r\n" : "", digest, digest,
		range);

	kr_assert(n > 0 && n < HEAD_MAX);
	return (size_t)n;
}

static struct kr_direct *direct_of(const struct kr_reg_call *call)
{
	const struct kr_ask *ask = call->http;

	return ((const struct kr_conn *)ask->owner)->direct;
}

static void count(const struct kr_direct *d)
{
	const int status = status_of(d);

	kr_metric_add(d->http->requests[d->route.kind][status / 100], 1);
	kr_log_debug("http", "answer", KR_U64("status", (uint64_t)status),
		     KR_STR("route", kr_route_name(d->route.kind)),
		     KR_STR("repository", d->route.repo));
}

static bool answer(struct kr_reg_call *call, uint64_t size)
{
	struct kr_direct *d = direct_of(call);
	const struct kr_bytes text = { (const uint8_t *)d->range,
				       strlen(d->range) };
	struct kr_range r = { 0, size };

	if (size == 0 || kr_ranges_parse(text, size, &d->ranges) != KR_OK ||
	    d->ranges.count > 1)
		return false;
	if (d->ranges.count == 1)
		r = d->ranges.range[0];
	call->offset = r.offset;
	call->length = r.length;
	call->open_ended = d->ranges.open_ended;
	call->prefix = (const uint8_t *)d->head;
	call->prefix_len = print_head(d, &r, size);
	kr_buf_reset(&d->in); /* that request is answered */
	d->answers++;
	count(d);
	return true;
}

/* Not so when a part of a head came, or more than one: that is the gate's. */
static bool next(struct kr_reg_call *call, const uint8_t *ptr, size_t len)
{
	struct kr_direct *d = direct_of(call);
	struct kr_route route;
	struct kr_head head;

	d->is_lost = kr_buf_append(&d->in, ptr, len) != KR_OK;
	if (d->is_lost || kr_head_parse(ptr, len, 0, &head) != KR_OK ||
	    head.head_len != len || !is_simple(&head))
		return false;
	kr_gate_route(d->http, &head, &route);
	if (!is_blob(d->http, &route))
		return false;
	take_request(d, call, &head, &route);
	return true;
}

/* ---- there and back ----*/

static void log_break(const struct kr_direct *d, const struct kr_reg_call *call)
{
	kr_log_info("http", "blob response broken off",
		    KR_DIGEST("blob", &d->route.digest),
		    KR_ERR("why", call->err), KR_U64("sent", call->moved),
		    KR_U64("of", call->length));
}

/* False: only closing tells the client. */
static bool is_well(struct kr_conn *c, const struct kr_direct *d,
		    const struct kr_reg_call *call)
{
	if (call->begun) {
		log_break(d, call);
		return false;
	}
	return !d->is_lost &&
	       (d->in.len == 0 ||
		kr_buf_append(&c->in, d->in.ptr, d->in.len) == KR_OK);
}

static void on_served(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	const struct kr_reg_call *call = &ask->call;
	struct kr_direct *d = c->direct;
	const bool well = is_well(c, d, call);
	const uint32_t answers = d->answers;

	c->direct = NULL;
	kr_buf_fini(&d->in);
	free(d);
	if (call->err == KR_E_UNSUPPORTED)
		c->srv->no_direct = true;
	if (!well)
		kr_gate_drop(c);
	else if (answers == 0)
		kr_gate_pass(c);
	else
		kr_gate_answered(c);
}

static void start(struct kr_conn *c, const struct kr_head *head)
{
	struct kr_reg_call *call = kr_ask_prepare(&c->ask, KR_REG_BLOB_SERVE);
	const uint64_t idle_ns = c->srv->opts.idle_timeout_ns;

	take_request(c->direct, call, head, &c->route);
	call->answer = answer;
	call->next = next;
	call->fd = kr_conn_fd(c);
	/* What the gate has read already is to be answered next. */
	if (c->in.len == head->head_len)
		call->listen_ns = idle_ns < LISTEN_NS ? idle_ns : LISTEN_NS;
	h2o_socket_read_stop(c->sock);
	kr_conn_touch(c, KR_CONN_LENT);
	kr_ask_start(&c->srv->asks, &c->ask, c, on_served);
}

bool kr_direct_begin(struct kr_conn *c, const struct kr_head *head)
{
	const struct kr_http *h = c->srv;

	if (h->opts.registry == NULL || h->no_direct || h->stop_begun_ns != 0 ||
	    !is_simple(head) || !is_blob(h, &c->route))
		return false;
	c->direct = calloc(1, sizeof(*c->direct));
	if (c->direct == NULL)
		return false;
	c->direct->http = h;
	kr_buf_init(&c->direct->in, IN_MAX);
	start(c, head);
	return true;
}
