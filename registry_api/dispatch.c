#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "registry_api/handlers.h"
#include "registry_api/reply.h"

typedef void handler_fn(struct kr_conn *c);

/* clang-format off */
static handler_fn *const handlers[KR_ROUTE_COUNT][KR_METHOD_COUNT] = {
	[KR_ROUTE_BASE]      = { [KR_GET]    = kr_h_base,
				 [KR_HEAD]   = kr_h_base },
	[KR_ROUTE_BLOB]      = { [KR_GET]    = kr_h_blob_get,
				 [KR_HEAD]   = kr_h_blob_head,
				 [KR_DELETE] = kr_h_blob_delete },
	[KR_ROUTE_MANIFEST]  = { [KR_GET]    = kr_h_manifest_get,
				 [KR_HEAD]   = kr_h_manifest_get,
				 [KR_PUT]    = kr_h_manifest_put,
				 [KR_DELETE] = kr_h_manifest_delete },
	[KR_ROUTE_TAGS]      = { [KR_GET]    = kr_h_tags,
				 [KR_HEAD]   = kr_h_tags },
	[KR_ROUTE_REFERRERS] = { [KR_GET]    = kr_h_referrers,
				 [KR_HEAD]   = kr_h_referrers },
	[KR_ROUTE_CATALOG]   = { [KR_GET]    = kr_h_catalog,
				 [KR_HEAD]   = kr_h_catalog },
	[KR_ROUTE_UPLOADS]   = { [KR_POST]   = kr_h_upload_post },
	[KR_ROUTE_UPLOAD]    = { [KR_GET]    = kr_h_upload_get,
				 [KR_PATCH]  = kr_h_upload_patch,
				 [KR_PUT]    = kr_h_upload_put,
				 [KR_DELETE] = kr_h_upload_delete },
	[KR_ROUTE_HEALTH]    = { [KR_GET]    = kr_h_health,
				 [KR_HEAD]   = kr_h_health },
	[KR_ROUTE_READINESS] = { [KR_GET]    = kr_h_readiness,
				 [KR_HEAD]   = kr_h_readiness },
	[KR_ROUTE_METRICS]   = { [KR_GET]    = kr_h_metrics,
				 [KR_HEAD]   = kr_h_metrics },
	[KR_ROUTE_KRAKEN_TAG] = { [KR_GET] = kr_h_kraken_tag,
				  [KR_HEAD] = kr_h_kraken_tag },
	[KR_ROUTE_KRAKEN_TAG_DIGEST] = { [KR_PUT] = kr_h_kraken_tag_put },
	[KR_ROUTE_KRAKEN_REPLICATE] = { [KR_POST] = kr_h_kraken_replicate },
	[KR_ROUTE_KRAKEN_REPO_TAGS] = { [KR_GET] = kr_h_kraken_repo_tags },
	[KR_ROUTE_KRAKEN_LIST] = { [KR_GET] = kr_h_kraken_list },
	[KR_ROUTE_KRAKEN_BLOB] = { [KR_GET] = kr_h_blob_get },
	[KR_ROUTE_KRAKEN_STAT] = { [KR_HEAD] = kr_h_kraken_stat },
	[KR_ROUTE_KRAKEN_UPLOADS] = { [KR_POST] = kr_h_kraken_upload_post },
	[KR_ROUTE_KRAKEN_UPLOAD] = { [KR_PATCH] = kr_h_kraken_upload_patch,
				     [KR_PUT] = kr_h_kraken_upload_put },
	[KR_ROUTE_KRAKEN_PREFETCH] = { [KR_POST] = kr_h_kraken_prefetch },
	[KR_ROUTE_KRAKEN_BLOB_HERE] = { [KR_DELETE] = kr_h_kraken_blob_forget },
	[KR_ROUTE_KRAKEN_LOCATIONS] = { [KR_GET] = kr_h_kraken_locations },
	[KR_ROUTE_KRAKEN_PRELOAD] = { [KR_GET] = kr_h_kraken_preload },
	[KR_ROUTE_KRAKEN_PREFETCH_IMAGE] =
		{ [KR_POST] = kr_h_kraken_prefetch_image },
	[KR_ROUTE_KRAKEN_NOTIFY] = { [KR_POST] = kr_h_kraken_notify },
};
/* clang-format on */

struct kr_bytes kr_req_query(const struct kr_conn *c)
{
	const h2o_iovec_t path = c->req->input.path;
	const size_t at = c->req->input.query_at;

	if (at == SIZE_MAX || at >= path.len)
		return (struct kr_bytes){ (const uint8_t *)path.base, 0 };
	return (struct kr_bytes){ (const uint8_t *)path.base + at + 1,
				  path.len - at - 1 };
}

struct kr_bytes kr_req_header(const struct kr_conn *c, const char *name)
{
	const h2o_headers_t *h = &c->req->headers;

	for (size_t i = 0; i < h->size; i++)
		if (h2o_memis(h->entries[i].name->base, h->entries[i].name->len,
			      name, strlen(name)))
			return (struct kr_bytes){
				(const uint8_t *)h->entries[i].value.base,
				h->entries[i].value.len
			};
	return (struct kr_bytes){ NULL, 0 };
}

struct kr_reg_call *kr_req_call(struct kr_conn *c, enum kr_reg_op op)
{
	struct kr_reg_call *call = kr_ask_prepare(&c->ask, op);

	memcpy(call->repo, c->route.repo, sizeof(call->repo));
	memcpy(call->tag, c->route.tag, sizeof(call->tag));
	memcpy(call->upload_id, c->route.upload_id, sizeof(call->upload_id));
	call->digest = c->route.digest;
	return call;
}

/* Something came while the role works: the next request, which waits, or the
 * end of the client, who then needs no answer. */
static void on_early_read(h2o_socket_t *sock, const char *err)
{
	struct kr_conn *c = sock->on_close.data;
	char byte;
	const ssize_t n =
		recv(kr_conn_fd(c), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	(void)err;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	h2o_socket_read_stop(sock);
	if (n <= 0)
		kr_ask_cancel(&c->ask);
}

static void on_answer(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;

	h2o_socket_read_stop(c->sock);
	c->answer(ask);
}

void kr_req_ask(struct kr_conn *c, kr_ask_done_fn *done)
{
	c->answer = done;
	kr_ask_start(&c->srv->asks, &c->ask, c, on_answer);
	h2o_socket_read_start(c->sock, on_early_read);
}

/* Is the endpoint switched on for this role? */
static bool is_served(const struct kr_conn *c)
{
	const struct kr_http_opts *o = &c->srv->opts;
	const bool reads = c->method == KR_GET || c->method == KR_HEAD;
	const bool upload = c->route.kind == KR_ROUTE_UPLOAD ||
			    c->route.kind == KR_ROUTE_UPLOADS;

	if (c->route.kind >= KR_ROUTE_HEALTH &&
	    !kr_route_is_kraken(c->route.kind))
		return true;
	if (o->registry == NULL)
		return false;
	if (kr_route_is_kraken(c->route.kind)) /* else it is unknown */
		return true;
	if (c->route.kind == KR_ROUTE_BASE)
		return o->pull || o->push;
	return reads && !upload ? o->pull : o->push;
}

/* Answer a malformed name or reference.  False: there is none. */
static bool reply_fault(struct kr_conn *c)
{
	switch (c->route.fault) {
	case KR_ROUTE_FINE:
		return false;
	case KR_ROUTE_BAD_NAME:
		kr_reply_error(c, KR_OCI_NAME_INVALID, NULL, NULL);
		return true;
	case KR_ROUTE_BAD_DIGEST:
		kr_reply_error(c, KR_OCI_DIGEST_INVALID,
			       "malformed or unsupported digest", NULL);
		return true;
	case KR_ROUTE_BAD_TAG:
		/* No such tag can exist, which is all that a reader asks. */
		kr_reply_error(c,
			       c->method == KR_PUT ? KR_OCI_MANIFEST_INVALID
						   : KR_OCI_MANIFEST_UNKNOWN,
			       "malformed tag", NULL);
		return true;
	case KR_ROUTE_BAD_ID:
		kr_reply_error(c, KR_OCI_BLOB_UPLOAD_UNKNOWN, NULL, NULL);
		return true;
	}
	return false;
}

static void reply_unserved(struct kr_conn *c)
{
	if (c->route.kind == KR_ROUTE_UNKNOWN || c->srv->opts.registry == NULL)
		kr_reply_error(c, KR_OCI_NOT_FOUND, NULL, NULL);
	else
		kr_reply_error(c, KR_OCI_UNSUPPORTED, NULL, NULL);
}

int kr_dispatch(h2o_handler_t *self, h2o_req_t *req)
{
	h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);
	struct kr_conn *c = sock->on_close.data;
	handler_fn *fn = handlers[c->route.kind][c->method];

	(void)self;
	kr_gate_request_begun(c, req);
	if (c->refused) {
		kr_reply_closes(c);
		kr_reply_error(c, c->refused_code, c->refused_why, NULL);
	} else if (fn == NULL || !is_served(c)) {
		reply_unserved(c);
	} else if (!reply_fault(c)) {
		fn(c);
	}
	return 0;
}
