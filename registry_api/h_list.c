/*
 * Lists in pages: tags of a repository (distribution-spec end-8) and
 * repositories (/v2/_catalog, which the specification reserves).
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_api/handlers.h"
#include "registry_api/link.h"
#include "registry_api/query.h"
#include "registry_api/reply.h"

enum {
	BODY_MAX = 4 << 20,
	LINK_MAX = 4096,
};

int64_t kr_page_size(const struct kr_conn *c)
{
	uint32_t n = KR_REG_LIST_MAX;

	if (kr_query_get_u32(kr_req_query(c), "n", UINT32_MAX, &n) ==
	    KR_E_INVALID)
		return -1;
	return n < KR_REG_LIST_MAX ? n : KR_REG_LIST_MAX;
}

void kr_page_link(struct kr_conn *c, const char *path, uint32_t n,
		  const char *last, const char *artifact_type)
{
	char count[16];
	const struct kr_link_param params[] = {
		{ "n", count },
		{ "last", last },
		{ "artifactType", artifact_type },
	};
	struct kr_buf link;

	(void)snprintf(count, sizeof(count), "%" PRIu32, n);
	kr_buf_init(&link, LINK_MAX);
	enum kr_err err = kr_link_next(&link, path, params,
				       sizeof(params) / sizeof(params[0]));
	if (err == KR_OK)
		err = kr_buf_append(&link, "", 1);
	/* Without memory for it the client takes the page for the last. */
	if (err == KR_OK)
		kr_reply_header(c, "Link", (const char *)link.ptr);
	kr_buf_fini(&link);
}

/* Append the NUL-separated @names; *ret_last is the last of them or NULL. */
static enum kr_err print_names(struct kr_buf *out, struct kr_bytes names,
			       const char **ret_last)
{
	const char *p = (const char *)names.ptr;
	const char *end = names.len > 0 ? p + names.len : p;
	enum kr_err err = KR_OK;

	*ret_last = NULL;
	while (err == KR_OK && p < end) {
		const size_t len = strnlen(p, (size_t)(end - p));
		if (*ret_last != NULL)
			err = kr_buf_append_str(out, ",");
		if (err == KR_OK)
			err = kr_buf_printf(out, "\"%.*s\"", (int)len, p);
		*ret_last = p;
		p += len + 1;
	}
	return err;
}

/* Where the next page of the list is. */
static void print_path(const struct kr_conn *c, char *buf, size_t cap)
{
	if (c->route.kind == KR_ROUTE_CATALOG)
		(void)snprintf(buf, cap, "/v2/_catalog");
	else
		(void)snprintf(buf, cap, "/v2/%s/tags/list", c->route.repo);
}

static enum kr_err print_body(struct kr_conn *c, struct kr_buf *body,
			      struct kr_bytes names, const char **ret_last)
{
	enum kr_err err =
		c->route.kind == KR_ROUTE_CATALOG
			? kr_buf_append_str(body, "{\"repositories\":[")
			: kr_buf_printf(body, "{\"name\":\"%s\",\"tags\":[",
					c->route.repo);

	if (err == KR_OK)
		err = print_names(body, names, ret_last);
	return err != KR_OK ? err : kr_buf_append_str(body, "]}\n");
}

/* @names: each with its NUL */
static void reply_names(struct kr_conn *c, struct kr_bytes names, uint32_t n,
			bool more)
{
	char path[KR_REPO_MAX + 32];
	const char *last = NULL;
	struct kr_buf body;

	kr_buf_init(&body, BODY_MAX);
	const enum kr_err err = print_body(c, &body, names, &last);
	if (err != KR_OK) {
		kr_reply_err(c, err, "", KR_OCI_NAME_UNKNOWN);
	} else {
		print_path(c, path, sizeof(path));
		if (more && last != NULL)
			kr_page_link(c, path, n, last, "");
		kr_reply(c, 200, "application/json", body.ptr, body.len);
	}
	kr_buf_fini(&body);
}

static void on_list(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_NAME_UNKNOWN);
		return;
	}
	struct kr_bytes names = { call->bytes, call->len };
	const bool none = kr_page_size(c) == 0;
	if (none)
		names.len = 0;
	uint8_t *bytes = call->bytes; /* the call is gone after the reply */
	call->bytes = NULL;
	reply_names(c, names, call->limit, call->more && !none);
	free(bytes);
}

/* Fill in @last of @cap bytes from the query.  False: answered. */
static bool get_last(struct kr_conn *c, char *last, size_t cap)
{
	const enum kr_err err =
		kr_query_get(kr_req_query(c), "last", last, cap);

	if (err == KR_OK)
		return true;
	last[0] = '\0';
	if (err == KR_E_NOTFOUND)
		return true;
	kr_reply_error(c, KR_OCI_BAD_REQUEST, "last is not a name", NULL);
	return false;
}

static void ask_list(struct kr_conn *c, enum kr_reg_op op, const char *last)
{
	const int64_t n = kr_page_size(c);

	if (n < 0) {
		kr_reply_error(c, KR_OCI_BAD_REQUEST,
			       "n is not a number of names", NULL);
		return;
	}
	struct kr_reg_call *call = kr_req_call(c, op);
	if (op == KR_REG_TAGS_LIST)
		memcpy(call->tag, last, strlen(last) + 1);
	else
		memcpy(call->last, last, strlen(last) + 1);
	/* None: still, is there such a repository? */
	call->limit = n > 0 ? (uint32_t)n : 1;
	kr_req_ask(c, on_list);
}

void kr_h_tags(struct kr_conn *c)
{
	char last[KR_TAG_MAX + 1];

	if (get_last(c, last, sizeof(last)))
		ask_list(c, KR_REG_TAGS_LIST, last);
}

void kr_h_catalog(struct kr_conn *c)
{
	char last[KR_REPO_MAX + 1];

	if (get_last(c, last, sizeof(last)))
		ask_list(c, KR_REG_CATALOG, last);
}
