/*
 * DELETE of tags, manifests and blobs (distribution-spec end-9, end-10).
 */
#define _GNU_SOURCE
#include "registry_api/handlers.h"
#include "registry_api/reply.h"

/* What a manifest refers to is kept: an image must not lose a layer because
 * somebody cleans up. */
static void reply_deleted(struct kr_ask *ask, enum kr_oci_code notfound)
{
	struct kr_conn *c = ask->owner;
	const struct kr_reg_call *call = &ask->call;

	if (call->err == KR_OK)
		kr_reply_empty(c, 202);
	else if (call->err == KR_E_DENIED)
		kr_reply_error(c, KR_OCI_REFERENCED, NULL, NULL);
	else
		kr_reply_err(c, call->err, call->text, notfound);
}

static void on_manifest(struct kr_ask *ask)
{
	reply_deleted(ask, KR_OCI_MANIFEST_UNKNOWN);
}

static void on_blob(struct kr_ask *ask)
{
	reply_deleted(ask, KR_OCI_BLOB_UNKNOWN);
}

void kr_h_manifest_delete(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_MANIFEST_DELETE);
	kr_req_ask(c, on_manifest);
}

void kr_h_blob_delete(struct kr_conn *c)
{
	(void)kr_req_call(c, KR_REG_BLOB_DELETE);
	kr_req_ask(c, on_blob);
}
