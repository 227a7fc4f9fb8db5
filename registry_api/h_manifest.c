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
#include "registry_api/query.h"
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

/* Every manifest is a JSON object; a layer or a text is not. */
static bool is_object(struct kr_bytes b)
{
	size_t i = 0;

	while (i < b.len && strchr(" \t\r\n", b.ptr[i]) != NULL &&
	       b.ptr[i] != '\0')
		i++;
	return i < b.len && b.ptr[i] == '{';
}

static void on_manifest(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	const struct kr_bytes json = { call->bytes, call->len };

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_MANIFEST_UNKNOWN);
		return;
	}
	if (is_object(json))
		reply_manifest(c, &call->digest, json);
	else
		kr_reply_err(c, KR_E_NOTFOUND, "a blob that is no manifest",
			     KR_OCI_MANIFEST_UNKNOWN);
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

/* What a PUT lends to its call. */
struct kr_manifest_put {
	struct kr_manifest manifest;
	struct kr_buf descriptor;
	struct kr_buf tags; /* each with its NUL */
	uint32_t tag_count;
	size_t asked_at; /* where in tags those of the query begin */
};

static void free_put(struct kr_manifest_put *put)
{
	kr_manifest_fini(&put->manifest);
	kr_buf_fini(&put->descriptor);
	kr_buf_fini(&put->tags);
	free(put);
}

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

static void reply_stored(struct kr_conn *c, const struct kr_reg_call *call,
			 const struct kr_manifest_put *put)
{
	char digest[KR_DIGEST_TEXT_MAX];

	kr_digest_print(&call->digest, digest);
	kr_reply_location(c, "/v2/%s/manifests/%s", c->route.repo, digest);
	kr_reply_digest(c, &call->digest);
	for (size_t at = put->asked_at; at < put->tags.len;) {
		const char *tag = (const char *)put->tags.ptr + at;

		kr_reply_header(c, "OCI-Tag", tag);
		at += strlen(tag) + 1;
	}
	if (call->has_subject)
		kr_reply_header(c, "OCI-Subject",
				kr_digest_print(&call->subject, digest));
	kr_reply_empty(c, 201);
}

static void on_put(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	struct kr_manifest_put *put = c->put;

	c->put = NULL;
	if (call->err == KR_E_NOTFOUND && call->ref_count > 0)
		reply_missing(c, call);
	else if (call->err != KR_OK)
		kr_reply_err(c, call->err, call->text, KR_OCI_NAME_UNKNOWN);
	else
		reply_stored(c, call, put);
	free_put(put);
}

static void put_manifest(struct kr_conn *c, const struct kr_digest *d,
			 struct kr_manifest_put *put)
{
	struct kr_reg_call *call = kr_req_call(c, KR_REG_MANIFEST_PUT);
	const struct kr_manifest *m = &put->manifest;

	call->digest = *d;
	call->bytes = c->body.ptr;
	call->len = c->body.len;
	call->refs = m->refs;
	call->ref_count = m->ref_count;
	call->tags = (const char *)put->tags.ptr;
	call->tag_count = put->tag_count;
	call->has_subject = m->has_subject;
	call->subject = m->subject;
	memcpy(call->artifact_type, m->artifact_type,
	       sizeof(call->artifact_type));
	call->descriptor = put->descriptor.ptr;
	call->descriptor_len = put->descriptor.len;
	c->put = put; /* until on_put */
	kr_req_ask(c, on_put);
}

static enum kr_err add_tag(struct kr_manifest_put *put, const char *tag)
{
	const enum kr_err err = kr_buf_append(&put->tags, tag, strlen(tag) + 1);

	put->tag_count += err == KR_OK;
	return err;
}

/* The tag of the path and those of the query (distribution-spec end-7b). */
static enum kr_err collect_tags(struct kr_conn *c, struct kr_manifest_put *put,
				const char **why)
{
	struct kr_bytes query = kr_req_query(c);
	char tag[KR_TAG_MAX + 1];
	enum kr_err err = KR_OK;

	if (c->route.tag[0] != '\0')
		err = add_tag(put, c->route.tag);
	put->asked_at = put->tags.len;
	while (err == KR_OK) {
		err = kr_query_take(&query, "tag", tag, sizeof(tag));
		if (err == KR_E_NOTFOUND)
			return KR_OK;
		*why = "malformed tag parameter";
		if (err != KR_OK ||
		    !kr_tag_is_valid((struct kr_bytes){ (const uint8_t *)tag,
							strlen(tag) }))
			return KR_E_INVALID;
		*why = "too many tag parameters";
		if (put->tag_count == KR_REG_TAGS_MAX)
			return KR_E_INVALID;
		err = add_tag(put, tag);
	}
	return err;
}

/* Everything that can be judged of the request.  KR_E_INVALID: @why says. */
static enum kr_err prepare(struct kr_conn *c, struct kr_bytes json,
			   struct kr_manifest_put *put, struct kr_digest *d,
			   const char **why)
{
	const enum kr_digest_alg alg =
		c->route.by_digest ? (enum kr_digest_alg)c->route.digest.alg
				   : KR_SHA256;
	enum kr_err err = kr_manifest_parse(
		json, kr_req_header(c, "content-type"), &put->manifest, why);

	if (err == KR_OK)
		err = collect_tags(c, put, why);
	if (err != KR_OK)
		return err == KR_E_NOMEM ? err : KR_E_INVALID;
	if (!hash(json, alg, d))
		return KR_E_NOMEM;
	if (c->route.by_digest && !kr_digest_equal(d, &c->route.digest))
		return KR_E_DIGEST;
	if (put->manifest.has_subject)
		err = kr_manifest_describe(&put->manifest, json, d,
					   &put->descriptor);
	*why = "artifact type and annotations are larger than the registry "
	       "accepts with a subject";
	return err;
}

static void reply_unfit(struct kr_conn *c, enum kr_err err, const char *why)
{
	if (err == KR_E_INVALID)
		kr_reply_error(c, KR_OCI_MANIFEST_INVALID, why, NULL);
	else if (err == KR_E_DIGEST)
		kr_reply_error(c, KR_OCI_DIGEST_INVALID, NULL, NULL);
	else
		kr_reply_err(c, err, err == KR_E_TOOBIG ? why : "",
			     KR_OCI_NAME_UNKNOWN);
}

void kr_h_manifest_put(struct kr_conn *c)
{
	const struct kr_bytes json = { c->body.ptr, c->body.len };
	struct kr_manifest_put *put = calloc(1, sizeof(*put));
	const char *why = "empty body";
	struct kr_digest d;
	enum kr_err err = KR_E_NOMEM;

	if (put != NULL) {
		kr_buf_init(&put->descriptor, KR_REG_DESCRIPTOR_MAX);
		kr_buf_init(&put->tags,
			    (KR_REG_TAGS_MAX + 1) * (size_t)(KR_TAG_MAX + 1));
		err = json.len == 0 ? KR_E_INVALID
				    : prepare(c, json, put, &d, &why);
	}
	if (err == KR_OK) {
		put_manifest(c, &d, put);
		return;
	}
	if (put != NULL)
		free_put(put);
	reply_unfit(c, err, why);
}
