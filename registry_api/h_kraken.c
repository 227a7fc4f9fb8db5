/*
 * Kraken's endpoints of agent, origin and build-index.  Blobs are sent by
 * h_blob.c and received by the upload gate, as the registry's are.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_api/handlers.h"
#include "registry_api/query.h"
#include "registry_api/reply.h"

enum { LIST_BODY_MAX = 4 << 20, TOKEN_MAX = KR_REPO_MAX + KR_TAG_MAX + 2 };

static bool failed(struct kr_ask *ask, enum kr_oci_code notfound)
{
	if (ask->call.err == KR_OK)
		return false;
	kr_reply_err(ask->owner, ask->call.err, ask->call.text, notfound);
	return true;
}

static void on_done(struct kr_ask *ask)
{
	if (!failed(ask, KR_OCI_BLOB_UNKNOWN))
		kr_reply_empty(ask->owner, 200);
}

static void on_accepted(struct kr_ask *ask)
{
	if (!failed(ask, KR_OCI_BLOB_UNKNOWN))
		kr_reply_empty(ask->owner, 202);
}

/* ---- tags ---------------------------------------------------------------*/

static void on_tag(struct kr_ask *ask)
{
	char text[KR_DIGEST_TEXT_MAX];

	if (failed(ask, KR_OCI_MANIFEST_UNKNOWN))
		return;
	kr_digest_print(&ask->call.digest, text);
	kr_reply(ask->owner, 200, "text/plain; charset=utf-8", text,
		 strlen(text));
}

void kr_h_kraken_tag(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_TAG_GET);
	kr_req_ask(c, on_tag);
}

void kr_h_kraken_tag_put(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_TAG_PUT);
	kr_req_ask(c, on_done);
}

static void on_replicated(struct kr_ask *ask)
{
	if (!failed(ask, KR_OCI_MANIFEST_UNKNOWN))
		kr_reply_empty(ask->owner, 200);
}

/* The tag must exist.  No rule sends it to another cluster, so there is
 * nothing else to be done; what the other build-indexes of this cluster are to
 * know was queued when it was put. */
void kr_h_kraken_replicate(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_TAG_GET);
	kr_req_ask(c, on_replicated);
}

/* ---- lists: {"Links": {"next", "self"}, "size", "result"} ----------------*/

/* Names are of the grammar: this is all that a query must not hold. */
static enum kr_err print_token(struct kr_buf *out, const char *s)
{
	enum kr_err err = KR_OK;

	for (; *s != '\0' && err == KR_OK; s++)
		err = *s == '/' || *s == ':' ? kr_buf_printf(out, "%%%02X", *s)
					     : kr_buf_append(out, s, 1);
	return err;
}

/* The request's own path, and with @next the query of the next page. */
static enum kr_err print_url(const struct kr_conn *c, struct kr_buf *out,
			     uint32_t limit, const char *next)
{
	const h2o_iovec_t path = c->req->input.path;
	const size_t at = c->req->input.query_at;
	struct kr_buf url;
	enum kr_err err;

	kr_buf_init(&url, LIST_BODY_MAX);
	err = kr_buf_append(&url, path.base, at < path.len ? at : path.len);
	if (err == KR_OK && next != NULL)
		err = kr_buf_printf(&url, "?limit=%" PRIu32 "&offset=", limit);
	if (err == KR_OK && next != NULL)
		err = print_token(&url, next);
	if (err == KR_OK)
		err = kr_buf_append(&url, "", 1);
	if (err == KR_OK)
		err = kr_json_string(out, (const char *)url.ptr);
	kr_buf_fini(&url);
	return err;
}

static enum kr_err print_links(const struct kr_conn *c, struct kr_buf *out,
			       uint32_t limit, const char *next)
{
	enum kr_err err = kr_buf_append_str(out, "{\"Links\":{\"next\":");

	if (err == KR_OK)
		err = next != NULL ? print_url(c, out, limit, next)
				   : kr_buf_append_str(out, "\"\"");
	if (err == KR_OK)
		err = kr_buf_append_str(out, ",\"self\":");
	if (err == KR_OK)
		err = print_url(c, out, limit, NULL);
	return err != KR_OK ? err : kr_buf_append_str(out, "},");
}

static enum kr_err print_result(struct kr_buf *out,
				const struct kr_reg_call *call,
				uint32_t *ret_count, char last[TOKEN_MAX])
{
	const char *p = (const char *)call->bytes;
	const char *end = call->len > 0 ? p + call->len : p;
	enum kr_err err = KR_OK;

	*ret_count = 0;
	last[0] = '\0';
	while (err == KR_OK && p < end) {
		err = kr_buf_printf(out, "%s\"%s\"", *ret_count > 0 ? "," : "",
				    p);
		(void)snprintf(last, TOKEN_MAX, "%s", p);
		p += strlen(p) + 1;
		(*ret_count)++;
	}
	return err;
}

static void on_list(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	struct kr_buf names, body;
	char last[TOKEN_MAX];
	uint32_t count = 0;
	enum kr_err err;

	if (failed(ask, KR_OCI_NAME_UNKNOWN))
		return;
	kr_buf_init(&names, LIST_BODY_MAX);
	kr_buf_init(&body, LIST_BODY_MAX);
	err = print_result(&names, call, &count, last);
	if (err == KR_OK)
		err = print_links(c, &body, call->limit,
				  call->more ? last : NULL);
	if (err == KR_OK)
		err = kr_buf_printf(&body, "\"size\":%" PRIu32 ",\"result\":[",
				    count);
	if (err == KR_OK && names.len > 0)
		err = kr_buf_append(&body, names.ptr, names.len);
	if (err == KR_OK)
		err = kr_buf_append_str(&body, "]}\n");
	free(call->bytes);
	call->bytes = NULL;
	if (err == KR_OK)
		kr_reply(c, 200, "application/json", body.ptr, body.len);
	else
		kr_reply_err(c, err, "", KR_OCI_NAME_UNKNOWN);
	kr_buf_fini(&names);
	kr_buf_fini(&body);
}

static void ask_list(struct kr_conn *c, enum kr_reg_op op)
{
	struct kr_reg_call *call = kr_req_call(c, op);
	const struct kr_bytes query = kr_req_query(c);
	uint32_t limit = KR_REG_LIST_MAX;
	enum kr_err err = kr_query_get_u32(query, "limit", UINT32_MAX, &limit);

	if (err == KR_OK || err == KR_E_NOTFOUND)
		err = kr_query_get(query, "offset", call->last,
				   sizeof(call->last));
	if (limit == 0 || (err != KR_OK && err != KR_E_NOTFOUND)) {
		kr_reply_error(c, KR_OCI_BAD_REQUEST,
			       "malformed limit or offset", NULL);
		return;
	}
	call->limit = limit < KR_REG_LIST_MAX ? limit : KR_REG_LIST_MAX;
	kr_req_ask(c, on_list);
}

void kr_h_kraken_repo_tags(struct kr_conn *c)
{
	ask_list(c, KR_REG_TAGS_LIST);
}

void kr_h_kraken_list(struct kr_conn *c)
{
	ask_list(c, KR_REG_IMAGES_LIST);
}

/* ---- blobs of this host -------------------------------------------------*/

void kr_h_kraken_blob_forget(struct kr_conn *c)
{
	const bool agent = (c->srv->opts.kraken & KR_KRAKEN_AGENT) != 0;

	(void)kr_req_call(c, KR_REG_BLOB_FORGET);
	kr_req_ask(c, agent ? on_done : on_accepted); /* as each of Kraken's */
}

void kr_h_kraken_preload(struct kr_conn *c)
{
	struct kr_reg_call *call = kr_req_call(c, KR_REG_PRELOAD);
	char runtime[16] = "docker";
	const enum kr_err err = kr_query_get(kr_req_query(c), "runtime",
					     runtime, sizeof(runtime));
	const enum kr_err ns_err =
		kr_query_get(kr_req_query(c), "namespace", call->from_repo,
			     sizeof(call->from_repo));

	if ((err != KR_OK && err != KR_E_NOTFOUND) ||
	    (ns_err != KR_OK && ns_err != KR_E_NOTFOUND) ||
	    (strcmp(runtime, "docker") != 0 &&
	     strcmp(runtime, "containerd") != 0)) {
		kr_reply_error(c, KR_OCI_BAD_REQUEST,
			       "runtime is docker or containerd", NULL);
		return;
	}
	call->runtime = strcmp(runtime, "docker") == 0 ? KR_REG_DOCKER
						       : KR_REG_CONTAINERD;
	kr_req_ask(c, on_done);
}

/* ---- origin -------------------------------------------------------------*/

static void on_stat(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (failed(ask, KR_OCI_BLOB_UNKNOWN))
		return;
	kr_reply_length(c, 200, ask->call.size);
}

void kr_h_kraken_stat(struct kr_conn *c)
{
	struct kr_reg_call *call = kr_req_call(c, KR_REG_BLOB_STAT);
	char local[8] = "false";

	if (kr_query_get(kr_req_query(c), "local", local, sizeof(local)) ==
		    KR_OK &&
	    strcmp(local, "true") == 0)
		call->local = true;
	kr_req_ask(c, on_stat);
}

static void on_locations(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (failed(ask, KR_OCI_BLOB_UNKNOWN))
		return;
	kr_reply_header(c, "Origin-Locations", (const char *)call->bytes);
	free(call->bytes);
	call->bytes = NULL;
	kr_reply_empty(c, 200);
}

void kr_h_kraken_locations(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_BLOB_LOCATE);
	kr_req_ask(c, on_locations);
}

void kr_h_kraken_prefetch(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_BLOB_PREFETCH);
	kr_req_ask(c, on_done);
}

static void on_upload(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (failed(ask, KR_OCI_BLOB_UNKNOWN))
		return;
	kr_reply_header(c, "Location",
			ask->call.upload_id); /* bare, as there */
	kr_reply_empty(c, 200);
}

/* A blob that the owners have is pushed into this namespace, so that it is
 * written back there, too. */
static void on_mounted(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_E_NOTFOUND) {
		(void)kr_req_call(c, KR_REG_UPLOAD_OPEN);
		kr_req_ask(c, on_upload);
	} else if (!failed(ask, KR_OCI_BLOB_UNKNOWN)) {
		kr_reply_empty(c, 409);
	}
}

void kr_h_kraken_upload_post(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_BLOB_MOUNT);
	kr_req_ask(c, on_mounted);
}

void kr_h_kraken_upload_patch(struct kr_conn *c)
{
	const struct kr_received *got = &c->received;

	if (!got->tried) /* no body: nothing to append */
		kr_reply_error(c, KR_OCI_BAD_REQUEST, "a chunk has a body",
			       NULL);
	else if (got->err == KR_E_RANGE)
		kr_reply_error(c, KR_OCI_UPLOAD_OUT_OF_ORDER, got->text, NULL);
	else if (got->err != KR_OK)
		kr_reply_err(c, got->err, got->text,
			     KR_OCI_BLOB_UPLOAD_UNKNOWN);
	else
		kr_reply_empty(c, 200);
}

static void on_committed(struct kr_ask *ask)
{
	if (!failed(ask, KR_OCI_BLOB_UPLOAD_UNKNOWN))
		kr_reply_empty(ask->owner, 200);
}

void kr_h_kraken_upload_put(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_UPLOAD_COMMIT);
	kr_req_ask(c, on_committed);
}
