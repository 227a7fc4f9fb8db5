/*
 * Upload bodies: the role takes them from the socket (KR_REG_UPLOAD_RECV), so
 * they pass neither h2o nor this thread.
 *
 *	POST ?digest=   UPLOAD_OPEN --> UPLOAD_RECV --> handler commits
 *	PATCH, PUT      [UPLOAD_STAT, 100] --> UPLOAD_RECV --> handler
 *
 * What can be judged from the head is judged before a byte is taken.  Where
 * the client waits for 100 (Continue) the session is looked up first, so that
 * it is not invited to send what will be refused.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "registry_api/content_range.h"
#include "registry_api/handlers.h"
#include "registry_api/query.h"
#include "registry_api/server.h"

bool kr_upload_gate_wants(const struct kr_conn *c, const struct kr_head *head)
{
	char digest[KR_DIGEST_TEXT_MAX];

	if (c->route.kind == KR_ROUTE_UPLOAD)
		return c->method == KR_PATCH || c->method == KR_PUT;
	if (c->route.kind == KR_ROUTE_KRAKEN_UPLOAD)
		return c->method == KR_PATCH;
	return c->route.kind == KR_ROUTE_UPLOADS && c->method == KR_POST &&
	       kr_query_get(head->query, "digest", digest, sizeof(digest)) !=
		       KR_E_NOTFOUND;
}

static bool judge_digest(struct kr_conn *c, const struct kr_head *head)
{
	char text[KR_DIGEST_TEXT_MAX];
	struct kr_digest d;

	if (c->method == KR_PATCH)
		return true;
	if (kr_query_get(head->query, "digest", text, sizeof(text)) == KR_OK &&
	    kr_digest_parse(text, strlen(text), &d) == KR_OK)
		return true;
	c->refused_code = KR_OCI_DIGEST_INVALID;
	c->refused_why = "the digest parameter is missing or malformed";
	return false;
}

/* Kraken's clients say where a chunk begins and where it has ended. */
static bool judge_kraken_range(struct kr_conn *c, const struct kr_head *head,
			       struct kr_bytes text, uint64_t *offset)
{
	uint64_t first, end;

	if (kr_content_range_parse_half_open(text, &first, &end) == KR_OK &&
	    (head->framing != KR_BODY_LENGTH ||
	     end - first == head->body_len)) {
		*offset = first;
		return true;
	}
	c->refused_code = KR_OCI_BAD_REQUEST;
	c->refused_why =
		"Content-Range is missing, malformed, or not the "
		"length of the body; expected start-end, end exclusive";
	return false;
}

static bool judge_content_range(struct kr_conn *c, const struct kr_head *head,
				uint64_t *offset)
{
	const struct kr_bytes text = kr_head_field(head, "content-range");
	uint64_t first, last;

	*offset = UINT64_MAX;
	if (c->route.kind == KR_ROUTE_KRAKEN_UPLOAD)
		return judge_kraken_range(c, head, text, offset);
	if (text.len == 0)
		return true;
	if (kr_content_range_parse(text, &first, &last) != KR_OK) {
		c->refused_code = KR_OCI_BLOB_UPLOAD_INVALID;
		c->refused_why = "malformed Content-Range";
		return false;
	}
	if (head->framing == KR_BODY_LENGTH &&
	    last - first + 1 != head->body_len) {
		c->refused_code = KR_OCI_SIZE_INVALID;
		c->refused_why = "Content-Range and Content-Length disagree";
		return false;
	}
	*offset = first;
	return true;
}

/* May the body be taken?  What is wrong is left in refused_*. */
static bool judge(struct kr_conn *c, const struct kr_head *head,
		  uint64_t *offset)
{
	const bool kraken = c->route.kind == KR_ROUTE_KRAKEN_UPLOAD;

	if ((!c->srv->opts.push && !kraken) || c->srv->opts.registry == NULL)
		c->refused_code = KR_OCI_UNSUPPORTED;
	else if (c->route.fault == KR_ROUTE_BAD_NAME)
		c->refused_code = KR_OCI_NAME_INVALID;
	else if (c->route.fault != KR_ROUTE_FINE)
		c->refused_code = KR_OCI_BLOB_UPLOAD_UNKNOWN;
	else
		return judge_digest(c, head) &&
		       judge_content_range(c, head, offset);
	return false;
}

/* The role gave the socket back: what it said is for the handler. */
static void finish(struct kr_conn *c)
{
	const struct kr_reg_call *call = &c->ask.call;

	c->received.err = call->err;
	c->received.size = call->size;
	memcpy(c->received.text, call->text, sizeof(c->received.text));
	switch (call->err) {
	case KR_E_CLOSED:
	case KR_E_RESET:
	case KR_E_CANCELED:
	case KR_E_TIMEDOUT:
		kr_upload_give_up(c);
		kr_gate_drop(c); /* nobody is there to be answered */
		return;
	default:
		kr_gate_pass(c);
		return;
	}
}

static void on_received(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	enum kr_err err = KR_OK;

	kr_buf_consume(&c->in, call->prefix_len);
	if (call->err == KR_OK && call->surplus_len > 0)
		err = kr_buf_append(&c->in, call->surplus, call->surplus_len);
	free(call->surplus);
	call->surplus = NULL;
	if (err != KR_OK)
		kr_gate_drop(c);
	else
		finish(c);
}

static void receive(struct kr_conn *c, uint64_t offset, uint64_t length)
{
	struct kr_reg_call *call = kr_ask_prepare(&c->ask, KR_REG_UPLOAD_RECV);

	memcpy(call->repo, c->route.repo, sizeof(call->repo));
	memcpy(call->upload_id, c->received.upload_id, sizeof(call->upload_id));
	call->offset = offset;
	call->fd = kr_conn_fd(c);
	call->chunked = c->framing == KR_BODY_CHUNKED;
	call->length = length;
	call->prefix = c->in.ptr;
	call->prefix_len = c->in.len;
	if (!call->chunked && call->prefix_len > length)
		call->prefix_len = (size_t)length; /* the rest is a request */
	kr_ask_start(&c->srv->asks, &c->ask, c, on_received);
}

/* Invite the body, if the client waits for that, and take it. */
static void go(struct kr_conn *c, uint64_t offset, uint64_t length)
{
	if (c->wants_continue && c->in.len == 0 && !kr_gate_continue(c))
		kr_gate_drop(c);
	else
		receive(c, offset, length);
}

static void on_opened(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err != KR_OK) {
		finish(c);
		return;
	}
	memcpy(c->received.upload_id, ask->call.upload_id,
	       sizeof(c->received.upload_id));
	go(c, ask->call.offset, ask->call.length);
}

static void on_stat(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (call->err == KR_OK && call->offset != UINT64_MAX &&
	    call->offset != call->size)
		call->err = KR_E_RANGE;
	if (call->err != KR_OK)
		finish(c);
	else
		go(c, call->offset, call->length);
}

/* Ask something before the body; offset and length ride along. */
static void ask_first(struct kr_conn *c, enum kr_reg_op op, uint64_t offset,
		      uint64_t length, kr_ask_done_fn *then)
{
	struct kr_reg_call *call = kr_ask_prepare(&c->ask, op);

	memcpy(call->repo, c->route.repo, sizeof(call->repo));
	memcpy(call->upload_id, c->received.upload_id, sizeof(call->upload_id));
	call->offset = offset;
	call->length = length;
	kr_ask_start(&c->srv->asks, &c->ask, c, then);
}

void kr_upload_gate_begin(struct kr_conn *c, const struct kr_head *head)
{
	const uint64_t length = head->body_len;
	uint64_t offset = UINT64_MAX;

	c->refused = !judge(c, head, &offset);
	kr_buf_consume(&c->in, head->head_len);
	if (c->refused) {
		kr_gate_pass(c);
		return;
	}
	h2o_socket_read_stop(c->sock);
	kr_conn_touch(c, KR_CONN_LENT);
	c->received.tried = true;
	memcpy(c->received.upload_id, c->route.upload_id,
	       sizeof(c->received.upload_id));
	if (c->method == KR_POST)
		ask_first(c, KR_REG_UPLOAD_OPEN, offset, length, on_opened);
	else if (c->wants_continue)
		ask_first(c, KR_REG_UPLOAD_STAT, offset, length, on_stat);
	else
		receive(c, offset, length);
}
