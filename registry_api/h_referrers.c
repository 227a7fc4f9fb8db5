/*
 * What refers to a manifest (distribution-spec end-12): an image index, also
 * where nothing does.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_api/handlers.h"
#include "registry_api/manifest.h"
#include "registry_api/query.h"
#include "registry_api/reply.h"

enum { BODY_MAX = 4 << 20 };

static const char before[] =
	"{\"schemaVersion\":2,\"mediaType\":"
	"\"application/vnd.oci.image.index.v1+json\",\"manifests\":[";

static enum kr_err print_index(struct kr_buf *out, struct kr_bytes descriptors)
{
	enum kr_err err = kr_buf_append_str(out, before);

	if (err == KR_OK && descriptors.len > 0)
		err = kr_buf_append(out, descriptors.ptr, descriptors.len);
	return err != KR_OK ? err : kr_buf_append_str(out, "]}");
}

static void add_headers(struct kr_conn *c, const struct kr_reg_call *call)
{
	char path[KR_REPO_MAX + KR_DIGEST_TEXT_MAX + 32];
	char digest[KR_DIGEST_TEXT_MAX];

	if (call->artifact_type[0] != '\0')
		kr_reply_header(c, "OCI-Filters-Applied", "artifactType");
	if (!call->more)
		return;
	(void)snprintf(path, sizeof(path), "/v2/%s/referrers/%s", c->route.repo,
		       kr_digest_print(&c->route.digest, digest));
	kr_page_link(c, path, call->limit, call->last, call->artifact_type);
}

static void on_referrers(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;
	struct kr_buf body;

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_NAME_UNKNOWN);
		return;
	}
	kr_buf_init(&body, BODY_MAX);
	const enum kr_err err =
		print_index(&body, (struct kr_bytes){ call->bytes, call->len });
	free(call->bytes);
	call->bytes = NULL;
	if (err != KR_OK) {
		kr_reply_err(c, err, "", KR_OCI_NAME_UNKNOWN);
	} else {
		add_headers(c, call);
		kr_reply(c, 200, kr_manifest_media_type(KR_MANIFEST_OCI_INDEX),
			 body.ptr, body.len);
	}
	kr_buf_fini(&body);
}

/* An optional parameter.  False: answered, it is too long or malformed. */
static bool get_text(struct kr_conn *c, const char *key, char *out, size_t cap)
{
	const enum kr_err err = kr_query_get(kr_req_query(c), key, out, cap);

	if (err == KR_OK || err == KR_E_NOTFOUND)
		return true;
	kr_reply_error(c, KR_OCI_BAD_REQUEST,
		       "a parameter is too long or malformed", NULL);
	return false;
}

void kr_h_referrers(struct kr_conn *c)
{
	const int64_t n = kr_page_size(c);
	struct kr_reg_call *call = kr_req_call(c, KR_REG_REFERRERS);

	if (!get_text(c, "artifactType", call->artifact_type,
		      sizeof(call->artifact_type)) ||
	    !get_text(c, "last", call->last, sizeof(call->last)))
		return;
	call->limit = n > 0 ? (uint32_t)n : KR_REG_LIST_MAX;
	kr_req_ask(c, on_referrers);
}
