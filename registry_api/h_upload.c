/*
 * Upload sessions (distribution-spec, "Pushing blobs").  A body, if there was
 * one, has been taken by the gate: c->received says how that went.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "registry_api/content_range.h"
#include "registry_api/handlers.h"
#include "registry_api/query.h"
#include "registry_api/reply.h"

/* ---- answers ----*/

static void add_session_headers(struct kr_conn *c, const char *id,
				uint64_t size)
{
	char range[32];

	kr_upload_range_print(size, range, sizeof(range));
	kr_reply_location(c, "/v2/%s/blobs/uploads/%s", c->route.repo, id);
	kr_reply_header(c, "Range", range);
	kr_reply_header(c, "Docker-Upload-UUID", id);
}

static void reply_session(struct kr_conn *c, int status, const char *id,
			  uint64_t size)
{
	add_session_headers(c, id, size);
	kr_reply_empty(c, status);
}

static void reply_created(struct kr_conn *c, const struct kr_digest *d)
{
	char text[KR_DIGEST_TEXT_MAX];

	kr_reply_location(c, "/v2/%s/blobs/%s", c->route.repo,
			  kr_digest_print(d, text));
	kr_reply_digest(c, d);
	kr_reply_empty(c, 201);
}

/* The gate could not take the body.  How much of it is still to come is not
 * known, so the connection closes. */
static void reply_not_received(struct kr_conn *c)
{
	const struct kr_received *r = &c->received;

	kr_reply_closes(c);
	if (r->err == KR_E_RANGE) {
		add_session_headers(c, r->upload_id, r->size);
		kr_reply_error(c, KR_OCI_UPLOAD_OUT_OF_ORDER, r->text, NULL);
	} else if (r->err == KR_E_PROTO) {
		kr_reply_error(c, KR_OCI_BLOB_UPLOAD_INVALID,
			       "broken chunked body", NULL);
	} else {
		kr_reply_err(c, r->err, r->text, KR_OCI_BLOB_UPLOAD_UNKNOWN);
	}
}

/* ---- the end of an upload ----*/

static void free_ask(struct kr_ask *ask)
{
	free(ask);
}

void kr_upload_give_up(struct kr_conn *c)
{
	struct kr_ask *ask;

	if (c->method != KR_POST || c->received.upload_id[0] == '\0')
		return;
	ask = calloc(1, sizeof(*ask));
	if (ask == NULL)
		return; /* the role lets idle sessions expire */
	struct kr_reg_call *call = kr_ask_prepare(ask, KR_REG_UPLOAD_CANCEL);
	memcpy(call->repo, c->route.repo, sizeof(call->repo));
	memcpy(call->upload_id, c->received.upload_id, sizeof(call->upload_id));
	kr_ask_start(&c->srv->asks, ask, NULL, free_ask);
}

static void on_committed(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (call->err == KR_OK) {
		reply_created(c, &call->digest);
		return;
	}
	kr_reply_err(c, call->err, call->text, KR_OCI_BLOB_UPLOAD_UNKNOWN);
	kr_upload_give_up(c);
}

static void commit(struct kr_conn *c, const char *id, const struct kr_digest *d)
{
	char copy[KR_UPLOAD_ID_LEN + 1]; /* id may lie in the call */

	memcpy(copy, id, sizeof(copy));
	struct kr_reg_call *call = kr_req_call(c, KR_REG_UPLOAD_COMMIT);
	memcpy(call->upload_id, copy, sizeof(copy));
	call->digest = *d;
	kr_req_ask(c, on_committed);
}

/* The digest parameter.  False: answered, it is missing or malformed. */
static bool get_digest(struct kr_conn *c, const char *key,
		       struct kr_digest *ret)
{
	char text[KR_DIGEST_TEXT_MAX];

	if (kr_query_get(kr_req_query(c), key, text, sizeof(text)) == KR_OK &&
	    kr_digest_parse(text, strlen(text), ret) == KR_OK)
		return true;
	kr_reply_error(c, KR_OCI_DIGEST_INVALID,
		       "the digest parameter is missing or malformed", NULL);
	return false;
}

void kr_h_upload_put(struct kr_conn *c)
{
	struct kr_digest d;

	if (c->received.tried && c->received.err != KR_OK)
		reply_not_received(c);
	else if (get_digest(c, "digest", &d))
		commit(c, c->route.upload_id, &d);
}

/* ---- the middle ----*/

static void on_patch_stat(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		reply_session(c, 202, c->route.upload_id, ask->call.size);
	else
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_BLOB_UPLOAD_UNKNOWN);
}

/* Without a body there is nothing to append, but the session must exist. */
void kr_h_upload_patch(struct kr_conn *c)
{
	if (!c->received.tried) {
		(void)kr_req_call(c, KR_REG_UPLOAD_STAT);
		kr_req_ask(c, on_patch_stat);
	} else if (c->received.err != KR_OK) {
		reply_not_received(c);
	} else {
		reply_session(c, 202, c->route.upload_id, c->received.size);
	}
}

static void on_status(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		reply_session(c, 204, c->route.upload_id, ask->call.size);
	else
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_BLOB_UPLOAD_UNKNOWN);
}

void kr_h_upload_get(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_UPLOAD_STAT);
	kr_req_ask(c, on_status);
}

static void on_canceled(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		kr_reply_empty(c, 204);
	else
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_BLOB_UPLOAD_UNKNOWN);
}

void kr_h_upload_delete(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_UPLOAD_CANCEL);
	kr_req_ask(c, on_canceled);
}

/* ---- the beginning ----*/

static void on_opened(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		reply_session(c, 202, ask->call.upload_id, 0);
	else
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_NAME_UNKNOWN);
}

static void open_session(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_UPLOAD_OPEN);
	kr_req_ask(c, on_opened);
}

/* POST ?digest= without a body: the empty blob, or a client that is wrong. */
static void on_opened_empty(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_digest d;

	if (ask->call.err != KR_OK)
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_NAME_UNKNOWN);
	else if (get_digest(c, "digest", &d))
		commit(c, ask->call.upload_id, &d);
}

static void post_monolithic(struct kr_conn *c)
{
	struct kr_digest d;

	if (c->received.tried && c->received.err != KR_OK) {
		kr_upload_give_up(c);
		reply_not_received(c);
	} else if (!get_digest(c, "digest", &d)) {
		return;
	} else if (c->received.tried) {
		commit(c, c->received.upload_id, &d);
	} else {
		(void)kr_req_call(c, KR_REG_UPLOAD_OPEN);
		kr_req_ask(c, on_opened_empty);
	}
}

/* A mount that is not possible becomes an upload (distribution-spec end-11),
 * whatever the reason. */
static void on_mounted(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		reply_created(c, &ask->call.digest);
	else
		open_session(c);
}

static void post_mount(struct kr_conn *c)
{
	char from[KR_REPO_MAX + 1];
	struct kr_digest d;

	if (!get_digest(c, "mount", &d))
		return;
	const enum kr_err err =
		kr_query_get(kr_req_query(c), "from", from, sizeof(from));
	if (err == KR_E_NOTFOUND)
		from[0] = '\0'; /* from wherever it is */
	else if (err != KR_OK ||
		 !kr_repo_is_valid((struct kr_bytes){ (const uint8_t *)from,
						      strlen(from) })) {
		kr_reply_error(c, KR_OCI_NAME_INVALID,
			       "malformed \"from\" repository", NULL);
		return;
	}
	struct kr_reg_call *call = kr_req_call(c, KR_REG_BLOB_MOUNT);
	call->digest = d;
	memcpy(call->from_repo, from, strlen(from) + 1);
	kr_req_ask(c, on_mounted);
}

static bool has_key(struct kr_conn *c, const char *key)
{
	char text[KR_REPO_MAX + 1];

	return kr_query_get(kr_req_query(c), key, text, sizeof(text)) !=
	       KR_E_NOTFOUND;
}

/* Which digest the upload will be committed by, if the client says so.  It
 * changes nothing: sha256 is computed while the bytes come in, any other in a
 * second pass.  False: answered, it is none of ours. */
static bool judge_algorithm(struct kr_conn *c)
{
	char text[32];
	const enum kr_err err = kr_query_get(
		kr_req_query(c), "digest-algorithm", text, sizeof(text));

	if (err == KR_E_NOTFOUND)
		return true;
	for (int a = 0; err == KR_OK && a < KR_DIGEST_ALG_COUNT; a++)
		if (strcmp(text, kr_digest_alg_name((enum kr_digest_alg)a)) ==
		    0)
			return true;
	kr_reply_error(c, KR_OCI_DIGEST_INVALID,
		       "digest-algorithm is neither sha256 nor sha512", NULL);
	return false;
}

void kr_h_upload_post(struct kr_conn *c)
{
	if (!judge_algorithm(c))
		return;
	if (has_key(c, "digest"))
		post_monolithic(c);
	else if (c->body.len > 0)
		kr_reply_error(c, KR_OCI_BLOB_UPLOAD_INVALID,
			       "a body needs the digest parameter", NULL);
	else if (has_key(c, "mount"))
		post_mount(c);
	else
		open_session(c);
}
