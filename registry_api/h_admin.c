#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "core/metrics.h"
#include "registry_api/handlers.h"
#include "registry_api/reply.h"

enum { METRICS_BYTES_MAX = 4 << 20 };

static void reply_text(struct kr_conn *c, int status, const char *text)
{
	kr_reply(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* That the loop runs is what it says. */
void kr_h_health(struct kr_conn *c)
{
	reply_text(c, 200, "OK\n");
}

static void on_ready(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	char text[sizeof(ask->call.text) + 2];

	if (ask->call.err == KR_OK) {
		reply_text(c, 200, "OK\n");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s\n",
		       ask->call.text[0] ? ask->call.text
					 : kr_err_text(ask->call.err));
	kr_reply_header(c, "Retry-After", "1");
	reply_text(c, 503, text);
}

void kr_h_readiness(struct kr_conn *c)
{
	if (c->srv->opts.registry == NULL) {
		reply_text(c, 200, "OK\n");
		return;
	}
	(void)kr_req_call(c, KR_REG_READY);
	kr_req_ask(c, on_ready);
}

void kr_h_metrics(struct kr_conn *c)
{
	struct kr_buf out;

	kr_buf_init(&out, METRICS_BYTES_MAX);
	if (kr_metrics_print(&out) == KR_OK)
		kr_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8",
			 out.ptr, out.len);
	else
		reply_text(c, 500, "too many metrics\n");
	kr_buf_fini(&out);
}
