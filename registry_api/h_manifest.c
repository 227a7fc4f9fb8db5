/*
 * Manifests (distribution-spec, "Pulling manifests", "Pushing manifests").
 * A GET by tag is two calls: the tag's digest, then the manifest.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "registry_api/handlers.h"
#include "registry_api/manifest.h"
#include "registry_api/reply.h"

/* ---- GET, HEAD ----*/

static const char *media_type_of(struct kr_bytes json)
{
	struct kr_manifest m;
	const char *why;

	/* What another registry accepted is served even if we would not. */
	if (kr_manifest_parse(json, (struct kr_bytes){ NULL, 0 }, &m, &why) !=
	    KR_OK)
		return "application/octet-stream";
	kr_manifest_fini(&m);
	return kr_manifest_media_type(m.kind);
}

static void reply_manifest(struct kr_conn *c, const struct kr_digest *d,
			   struct kr_bytes json)
{
	char digest[KR_DIGEST_TEXT_MAX], etag[KR_DIGEST_TEXT_MAX + 2];

	(void)snprintf(etag, sizeof(etag), "\"%s\"",
		       kr_digest_print(d, digest));
	kr_reply_digest(c, d);
	kr_reply_header(c, "ETag", etag);
	kr_reply(c, 200, media_type_of(json), json.ptr, json.len);
}

static void on_manifest(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_MANIFEST_UNKNOWN);
		return;
	}
	reply_manifest(c, &call->digest,
		       (struct kr_bytes){ call->bytes, call->len });
	free(call->bytes);
	call->bytes = NULL;
}

static void get_manifest(struct kr_conn *c, struct kr_digest d)
{
	kr_req_call(c, KR_REG_MANIFEST_GET)->digest = d;
	kr_req_ask(c, on_manifest);
}

static void on_tag(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	if (ask->call.err == KR_OK)
		get_manifest(c, ask->call.digest);
	else
		kr_reply_err(c, ask->call.err, ask->call.text,
			     KR_OCI_MANIFEST_UNKNOWN);
}

void kr_h_manifest_get(struct kr_conn *c)
{
	if (c->route.by_digest) {
		get_manifest(c, c->route.digest);
		return;
	}
	(void)kr_req_call(c, KR_REG_TAG_GET);
	kr_req_ask(c, on_tag);
}

/* ---- PUT ----*/

static bool hash(struct kr_bytes b, enum kr_digest_alg alg,
		 struct kr_digest *ret)
{
	const EVP_MD *md = alg == KR_SHA256 ? EVP_sha256() : EVP_sha512();

	memset(ret, 0, sizeof(*ret));
	ret->alg = (uint8_t)alg;
	return EVP_Digest(b.ptr, b.len, ret->bytes, NULL, md, NULL) == 1;
}

static void reply_missing(struct kr_conn *c, const struct kr_reg_call *call)
{
	char digest[KR_DIGEST_TEXT_MAX], detail[KR_DIGEST_TEXT_MAX + 16];

	kr_assert(call->missing_ref < call->ref_count);
	(void)snprintf(
		detail, sizeof(detail), "{\"digest\":\"%s\"}",
		kr_digest_print(&call->refs[call->missing_ref].digest, digest));
	kr_reply_error(c, KR_OCI_MANIFEST_BLOB_UNKNOWN, call->text, detail);
}

static void on_put(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	struct kr_reg_ref *refs = (struct kr_reg_ref *)(uintptr_t)call->refs;
	char digest[KR_DIGEST_TEXT_MAX];

	if (call->err == KR_E_NOTFOUND && call->ref_count > 0) {
		reply_missing(c, call);
	} else if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_NAME_UNKNOWN);
	} else {
		kr_digest_print(&call->digest, digest);
		kr_reply_location(c, "/v2/%s/manifests/%s", c->route.repo,
				  digest);
		kr_reply_digest(c, &call->digest);
		kr_reply_empty(c, 201);
	}
	free(refs);
	call->refs = NULL;
}

static void put_manifest(struct kr_conn *c, const struct kr_digest *d,
			 struct kr_manifest *m)
{
	struct kr_reg_call *call = kr_req_call(c, KR_REG_MANIFEST_PUT);

	call->digest = *d;
	call->bytes = c->body.ptr;
	call->len = c->body.len;
	call->refs = m->refs; /* freed in on_put */
	call->ref_count = m->ref_count;
	kr_req_ask(c, on_put);
}

void kr_h_manifest_put(struct kr_conn *c)
{
	const struct kr_bytes json = { c->body.ptr, c->body.len };
	struct kr_digest d;
	struct kr_manifest m;
	const char *why = NULL;

	if (json.len == 0) {
		kr_reply_error(c, KR_OCI_MANIFEST_INVALID, "empty body", NULL);
		return;
	}
	const enum kr_err err = kr_manifest_parse(
		json, kr_req_header(c, "content-type"), &m, &why);
	if (err == KR_E_NOMEM) {
		kr_reply_err(c, err, "", KR_OCI_NAME_UNKNOWN);
		return;
	}
	if (err != KR_OK) {
		kr_reply_error(c, KR_OCI_MANIFEST_INVALID, why, NULL);
		return;
	}
	const enum kr_digest_alg alg =
		c->route.by_digest ? (enum kr_digest_alg)c->route.digest.alg
				   : KR_SHA256;
	if (!hash(json, alg, &d)) {
		kr_manifest_fini(&m);
		kr_reply_err(c, KR_E_NOMEM, "", KR_OCI_NAME_UNKNOWN);
	} else if (c->route.by_digest &&
		   !kr_digest_equal(&d, &c->route.digest)) {
		kr_manifest_fini(&m);
		kr_reply_error(c, KR_OCI_DIGEST_INVALID, NULL, NULL);
	} else {
		put_manifest(c, &d, &m);
	}
}
