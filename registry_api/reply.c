#define _GNU_SOURCE
#include "registry_api/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"

enum {
	ERROR_BODY_MAX = 4096,
	LOCATION_MAX = 1024,
};

void kr_reply_header(struct kr_conn *c, const char *name, const char *value)
{
	const h2o_iovec_t v = h2o_strdup(&c->req->pool, value, SIZE_MAX);

	h2o_add_header_by_str(&c->req->pool, &c->req->res.headers, name,
			      strlen(name), 0, NULL, v.base, v.len);
}

void kr_reply_digest(struct kr_conn *c, const struct kr_digest *d)
{
	char text[KR_DIGEST_TEXT_MAX];

	kr_reply_header(c, "Docker-Content-Digest", kr_digest_print(d, text));
}

void kr_reply_location(struct kr_conn *c, const char *fmt, ...)
{
	const char *base = c->srv->opts.advertise;
	char text[LOCATION_MAX];
	va_list ap;
	int n = snprintf(text, sizeof(text), "%s", base ? base : "");

	kr_assert(n >= 0 && n < LOCATION_MAX / 2);
	va_start(ap, fmt);
	n = vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	kr_assert(n >= 0 && n < LOCATION_MAX / 2);
	kr_reply_header(c, "Location", text);
}

void kr_reply_closes(struct kr_conn *c)
{
	c->req->http1_is_persistent = 0;
	c->linger = true;
}

void kr_reply_begin(struct kr_conn *c, int status)
{
	c->req->res.status = status;
	c->req->res.reason = kr_http_reason(status);
	if (c->route.kind < KR_ROUTE_HEALTH)
		kr_reply_header(c, KR_V2_FIELD, KR_V2_VALUE);
	kr_metric_add(c->srv->requests[c->route.kind][status / 100], 1);
	kr_log_debug("http", "answer", KR_U64("status", (uint64_t)status),
		     KR_STR("route", kr_route_name(c->route.kind)),
		     KR_STR("repository", c->route.repo));
}

static void send_all(struct kr_conn *c, const void *body, size_t len)
{
	static h2o_generator_t nothing_more = { NULL, NULL };
	h2o_iovec_t buf = { NULL, 0 };
	const bool with_body = len > 0 && c->method != KR_HEAD;

	if (with_body)
		buf = h2o_strdup(&c->req->pool, body, len);
	h2o_start_response(c->req, &nothing_more);
	h2o_send(c->req, &buf, with_body ? 1 : 0, H2O_SEND_STATE_FINAL);
}

void kr_reply(struct kr_conn *c, int status, const char *content_type,
	      const void *body, size_t len)
{
	kr_reply_begin(c, status);
	kr_reply_header(c, "Content-Type", content_type);
	c->req->res.content_length = len;
	send_all(c, body, len);
}

void kr_reply_empty(struct kr_conn *c, int status)
{
	kr_reply_begin(c, status);
	if (status != 204) /* RFC 9110, 8.6: no Content-Length in a 204 */
		c->req->res.content_length = 0;
	send_all(c, NULL, 0);
}

void kr_reply_length(struct kr_conn *c, int status, uint64_t size)
{
	kr_reply_begin(c, status);
	c->req->res.content_length = size;
	send_all(c, NULL, 0);
}

/* Kraken's endpoints say what is wrong in a line of text. */
static enum kr_err print_error(const struct kr_conn *c, struct kr_buf *body,
			       enum kr_oci_code code, const char *message,
			       const char *detail)
{
	if (!kr_route_is_kraken(c->route.kind))
		return kr_oci_body(body, code, message, detail);
	return kr_buf_printf(body, "%s\n",
			     message != NULL ? message : kr_oci_text(code));
}

void kr_reply_error(struct kr_conn *c, enum kr_oci_code code,
		    const char *message, const char *detail)
{
	struct kr_buf body;
	const int status = kr_oci_status(code);

	kr_buf_init(&body, ERROR_BODY_MAX);
	if (message != NULL && message[0] == '\0')
		message = NULL;
	if (print_error(c, &body, code, message, detail) != KR_OK)
		kr_buf_reset(&body); /* the status says it, too */
	if (status == 503 || status == 429)
		kr_reply_header(c, "Retry-After", "1");
	if (status >= 500 && !c->ask.canceled) /* else nobody is told */
		kr_log_warn(
			"http", "request failed",
			KR_U64("status", (uint64_t)status),
			KR_STR("route", kr_route_name(c->route.kind)),
			KR_STR("repository", c->route.repo),
			KR_STR("why", message ? message : kr_oci_text(code)));
	kr_reply(c, status,
		 kr_route_is_kraken(c->route.kind) ? "text/plain; charset=utf-8"
						   : "application/json",
		 body.ptr, body.len);
	kr_buf_fini(&body);
}

void kr_reply_err(struct kr_conn *c, enum kr_err err, const char *text,
		  enum kr_oci_code notfound)
{
	enum kr_oci_code code = kr_oci_from_err(err, notfound);

	if (err == KR_E_BUSY && kr_route_is_kraken(c->route.kind)) {
		kr_reply_empty(c, 202); /* an origin fetches it: come again */
		return;
	}
	/* An uploader is asked to wait; who pulls must not be: a 429 makes
	 * containerd wait where a 503 makes it go to the next mirror. */
	if (err == KR_E_LIMIT && c->srv->opts.push)
		code = KR_OCI_TOOMANYREQUESTS;
	if (text[0] == '\0' && err != KR_E_NOTFOUND)
		text = kr_err_text(err);
	kr_reply_error(c, code, text, NULL);
}
