/*
 * Kraken's endpoints of the proxy: an image is prefetched by asking for each
 * blob that its manifest names, one after the other.  The role sees to it that
 * the origins get it; it is not downloaded to us.
 *
 *	tag -> digest -> manifest -> [manifest ...] blob blob blob -> answer
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "registry_api/handlers.h"
#include "registry_api/manifest.h"
#include "registry_api/reply.h"

enum { BLOBS_MAX = 10000 };

struct kr_prefetch {
	char tag[KR_REPO_MAX + KR_TAG_MAX +
		 2];   /* "image:tag", for the answer */
	json_t *trace; /* the caller's string, or NULL */
	bool quiet;    /* a notification: 200 whatever comes of it */
	struct kr_reg_ref *refs;
	size_t count, at;
	json_t *events; /* still to be done, the first at event_at */
	size_t event_at;
};

static void next(struct kr_conn *c);

void kr_prefetch_end(struct kr_conn *c)
{
	struct kr_prefetch *p = c->prefetch;

	if (p == NULL)
		return;
	c->prefetch = NULL;
	json_decref(p->events);
	json_decref(p->trace);
	free(p->refs);
	free(p);
}

/* ---- the answer ---------------------------------------------------------*/

static void reply_json(struct kr_conn *c, int status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL)
		kr_reply_err(c, KR_E_NOMEM, "", KR_OCI_INTERNAL);
	else
		kr_reply(c, status, "application/json", text, strlen(text));
	free(text);
}

/* What the caller named the request, as it is; a new reference. */
static json_t *trace_of(const struct kr_prefetch *p)
{
	return p != NULL && p->trace != NULL ? json_incref(p->trace)
					     : json_string("");
}

static void succeed(struct kr_conn *c)
{
	const struct kr_prefetch *p = c->prefetch;

	if (p->quiet) {
		kr_reply_empty(c, 200);
		return;
	}
	reply_json(c, 200,
		   json_pack("{s:s, s:b, s:s, s:s, s:o}", "tag", p->tag,
			     "prefetched", 1, "status", "success", "message",
			     "prefetching initiated successfully", "trace_id",
			     trace_of(p)));
}

static void refuse(struct kr_conn *c, int status, const char *message)
{
	reply_json(c, status,
		   json_pack("{s:s, s:b, s:s, s:s, s:o}", "error",
			     kr_http_reason(status), "prefetched", 0, "status",
			     "failure", "message", message, "trace_id",
			     trace_of(c->prefetch)));
}

/* A notification goes on with its next event. */
static void fail(struct kr_conn *c, const struct kr_reg_call *call)
{
	struct kr_prefetch *p = c->prefetch;
	char text[sizeof(call->text) + 128];

	if (p->quiet) {
		p->count = p->at = 0;
		next(c);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s%s%s", kr_err_text(call->err),
		       call->text[0] != '\0' ? ": " : "", call->text);
	refuse(c, 500, text);
}

/* ---- one blob after the other -------------------------------------------*/

static bool add_refs(struct kr_prefetch *p, const struct kr_manifest *m)
{
	struct kr_reg_ref *refs;

	if (m->ref_count > BLOBS_MAX - p->count)
		return false;
	refs = realloc(p->refs, (p->count + m->ref_count + 1) * sizeof(*refs));
	if (refs == NULL)
		return false;
	p->refs = refs;
	if (m->ref_count > 0)
		memcpy(refs + p->count, m->refs, m->ref_count * sizeof(*refs));
	p->count += m->ref_count;
	return true;
}

static void on_manifest(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	struct kr_manifest m;
	const char *why = "";

	if (call->err == KR_OK) {
		const struct kr_bytes json = { call->bytes, call->len };

		call->err = kr_manifest_parse(
			json, (struct kr_bytes){ NULL, 0 }, &m, &why);
		(void)snprintf(call->text, sizeof(call->text), "%s", why);
		free(call->bytes);
		call->bytes = NULL;
		if (call->err == KR_OK) {
			if (!add_refs(c->prefetch, &m))
				call->err = KR_E_LIMIT;
			kr_manifest_fini(&m);
		}
	}
	if (call->err == KR_OK)
		next(c);
	else
		fail(c, call);
}

/* That an origin fetches it is what was wanted. */
static void on_blob(struct kr_ask *ask)
{
	if (ask->call.err == KR_OK || ask->call.err == KR_E_BUSY)
		next(ask->owner);
	else
		fail(ask->owner, &ask->call);
}

static bool next_event(struct kr_conn *c);

static void next(struct kr_conn *c)
{
	struct kr_prefetch *p = c->prefetch;

	if (p->at == p->count) {
		if (!next_event(c))
			succeed(c);
		return;
	}
	const struct kr_reg_ref *ref = &p->refs[p->at++];

	kr_req_call(c, ref->is_manifest ? KR_REG_MANIFEST_GET
					: KR_REG_BLOB_PREFETCH)
		->digest = ref->digest;
	kr_req_ask(c, ref->is_manifest ? on_manifest : on_blob);
}

/* By value: the call that the digest may be in is made anew. */
static void begin_manifest(struct kr_conn *c, struct kr_digest d)
{
	kr_req_call(c, KR_REG_MANIFEST_GET)->digest = d;
	kr_req_ask(c, on_manifest);
}

/* ---- an image by its tag ------------------------------------------------*/

static void on_tag(struct kr_ask *ask)
{
	if (ask->call.err == KR_OK)
		begin_manifest(ask->owner, ask->call.digest);
	else
		fail(ask->owner, &ask->call);
}

/* "registry/namespace/image:tag": what is behind the registry is ours. */
static bool set_image(struct kr_conn *c, const char *text)
{
	const char *slash = strchr(text, '/');
	const char *colon = strrchr(text, ':');
	struct kr_bytes repo, tag;

	if (slash == NULL || colon == NULL || colon < slash)
		return false;
	repo = (struct kr_bytes){ (const uint8_t *)slash + 1,
				  (size_t)(colon - slash - 1) };
	tag = (struct kr_bytes){ (const uint8_t *)colon + 1,
				 strlen(colon + 1) };
	if (!kr_repo_is_valid(repo) || !kr_tag_is_valid(tag))
		return false;
	memcpy(c->route.repo, repo.ptr, repo.len);
	c->route.repo[repo.len] = '\0';
	memcpy(c->route.tag, tag.ptr, tag.len);
	c->route.tag[tag.len] = '\0';
	(void)snprintf(c->prefetch->tag, sizeof(c->prefetch->tag), "%s",
		       slash + 1);
	return true;
}

static struct kr_prefetch *begin(struct kr_conn *c, json_t **ret_body)
{
	struct kr_prefetch *p = calloc(1, sizeof(*p));

	c->prefetch = p;
	*ret_body = p == NULL ? NULL
			      : json_loadb((const char *)c->body.ptr,
					   c->body.len, 0, NULL);
	if (p == NULL)
		kr_reply_err(c, KR_E_NOMEM, "", KR_OCI_INTERNAL);
	else if (!json_is_object(*ret_body))
		refuse(c, 400, "failed to decode the request body");
	else
		return p;
	json_decref(*ret_body);
	return NULL;
}

void kr_h_kraken_prefetch_image(struct kr_conn *c)
{
	json_t *body;
	struct kr_prefetch *p = begin(c, &body);

	if (p == NULL)
		return;
	const char *tag = json_string_value(json_object_get(body, "tag"));
	json_t *trace = json_object_get(body, "trace_id");

	if (json_is_string(trace))
		p->trace = json_incref(trace);
	if (tag == NULL || !set_image(c, tag)) {
		refuse(c, 400, "expected a tag: registry/repository:tag");
	} else {
		(void)kr_req_call(c, KR_REG_TAG_GET);
		kr_req_ask(c, on_tag);
	}
	json_decref(body);
}

/* ---- notifications of a registry ----------------------------------------*/

static const char *text_at(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

static bool is_manifest_type(const char *type)
{
	static const char *const types[] = {
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.oci.image.index.v1+json",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/* Begin with the next pushed manifest; false: there is none. */
static bool next_event(struct kr_conn *c)
{
	struct kr_prefetch *p = c->prefetch;

	while (p->event_at < json_array_size(p->events)) {
		json_t *event = json_array_get(p->events, p->event_at++);
		json_t *target = json_object_get(event, "target");
		const char *repo = text_at(target, "repository");
		const char *digest = text_at(target, "digest");
		const struct kr_bytes name = { (const uint8_t *)repo,
					       strlen(repo) };
		struct kr_digest d;

		if (strcmp(text_at(event, "action"), "push") != 0 ||
		    !is_manifest_type(text_at(target, "mediaType")) ||
		    !kr_repo_is_valid(name) ||
		    kr_digest_parse(digest, strlen(digest), &d) != KR_OK)
			continue;
		memcpy(c->route.repo, repo, name.len + 1);
		p->count = p->at = 0;
		begin_manifest(c, d);
		return true;
	}
	return false;
}

void kr_h_kraken_notify(struct kr_conn *c)
{
	json_t *body;
	struct kr_prefetch *p = begin(c, &body);

	if (p == NULL)
		return;
	p->quiet = true;
	p->events = json_incref(json_object_get(body, "events"));
	json_decref(body);
	next(c);
}
