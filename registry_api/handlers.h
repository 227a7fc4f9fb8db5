/*
 * registry_api/handlers.h - what answers a request, by endpoint and method.
 * Private to registry_api/.
 *
 * A handler has c->req and c->route; it ends in exactly one kr_reply*, at
 * once or from the done() of a call to the role.
 */
#ifndef KR_REGISTRY_API_HANDLERS_H
#define KR_REGISTRY_API_HANDLERS_H

#include "registry_api/server.h"

/* h_base.c, h_admin.c */
void kr_h_base(struct kr_conn *c);
void kr_h_health(struct kr_conn *c);
void kr_h_readiness(struct kr_conn *c);
void kr_h_metrics(struct kr_conn *c);

/* h_blob.c */
void kr_h_blob_head(struct kr_conn *c);
void kr_h_blob_get(struct kr_conn *c);
void kr_blob_end(struct kr_conn *c); /* the request is gone */

/* h_upload.c */
void kr_h_upload_post(struct kr_conn *c);
void kr_h_upload_patch(struct kr_conn *c);
void kr_h_upload_put(struct kr_conn *c);
void kr_h_upload_get(struct kr_conn *c);
void kr_h_upload_delete(struct kr_conn *c);

/* The upload of @c failed.  Where it was to be one request (POST ?digest=) no
 * client knows of its session, which is canceled; other sessions stay. */
void kr_upload_give_up(struct kr_conn *c);

/* h_manifest.c */
void kr_h_manifest_get(struct kr_conn *c); /* and HEAD */
void kr_h_manifest_put(struct kr_conn *c);

/* h_delete.c */
void kr_h_manifest_delete(struct kr_conn *c);
void kr_h_blob_delete(struct kr_conn *c);

/* h_list.c */
void kr_h_tags(struct kr_conn *c);
void kr_h_catalog(struct kr_conn *c);

/* h_referrers.c */
void kr_h_referrers(struct kr_conn *c);

/* h_kraken.c */
void kr_h_kraken_tag(struct kr_conn *c);
void kr_h_kraken_tag_put(struct kr_conn *c);
void kr_h_kraken_replicate(struct kr_conn *c);
void kr_h_kraken_repo_tags(struct kr_conn *c);
void kr_h_kraken_list(struct kr_conn *c);
void kr_h_kraken_stat(struct kr_conn *c);
void kr_h_kraken_upload_post(struct kr_conn *c);
void kr_h_kraken_upload_patch(struct kr_conn *c);
void kr_h_kraken_upload_put(struct kr_conn *c);
void kr_h_kraken_prefetch(struct kr_conn *c);
void kr_h_kraken_blob_forget(struct kr_conn *c);
void kr_h_kraken_locations(struct kr_conn *c);
void kr_h_kraken_preload(struct kr_conn *c);

/* h_kraken_proxy.c */
void kr_h_kraken_prefetch_image(struct kr_conn *c);
void kr_h_kraken_notify(struct kr_conn *c);
void kr_prefetch_end(struct kr_conn *c); /* the request is gone */

/* The parameter n, at most KR_REG_LIST_MAX, which is it if it is not there;
 * -1: it is malformed.  In h_list.c. */
int64_t kr_page_size(const struct kr_conn *c);

/* Add a Link to the next page, after @last, of the list at @path; "" leaves an
 * @artifact_type out.  In h_list.c. */
void kr_page_link(struct kr_conn *c, const char *path, uint32_t n,
		  const char *last, const char *artifact_type);

/* The request's raw query, without "?". */
struct kr_bytes kr_req_query(const struct kr_conn *c);

/* A request header's value, or len 0. */
struct kr_bytes kr_req_header(const struct kr_conn *c, const char *name);

/* Empty the connection's call for @op, with the repository filled in. */
struct kr_reg_call *kr_req_call(struct kr_conn *c, enum kr_reg_op op);

/* Lend that call to the role, and watch the client meanwhile: when it leaves,
 * the call is canceled.  Not for a call that lends the socket. */
void kr_req_ask(struct kr_conn *c, kr_ask_done_fn *done);

#endif
