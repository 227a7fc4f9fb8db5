/*
 * Listing tags (distribution-spec end-8), in pages when asked for.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_api/handlers.h"
#include "registry_api/query.h"
#include "registry_api/reply.h"

enum {
	PAGE_MAX = 10000, /* names in one answer, asked for or not */
	BODY_MAX = 4 << 20,
};

static void add_link(struct kr_conn *c, uint32_t n, const char *last)
{
	char text[KR_REPO_MAX + KR_TAG_MAX + 64];

	(void)snprintf(text, sizeof(text),
		       "</v2/%s/tags/list?n=%" PRIu32 "&last=%s>; rel=\"next\"",
		       c->route.repo, n, last);
	kr_reply_header(c, "Link", text);
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

static void reply_names(struct kr_conn *c, struct kr_bytes names, uint32_t n,
			bool more)
{
	struct kr_buf body;
	char last_tag[KR_TAG_MAX + 1];
	const char *last = NULL;

	kr_buf_init(&body, BODY_MAX);
	enum kr_err err = kr_buf_printf(&body, "{\"name\":\"%s\",\"tags\":[",
					c->route.repo);
	if (err == KR_OK)
		err = print_names(&body, names, &last);
	if (err == KR_OK)
		err = kr_buf_append_str(&body, "]}\n");
	if (err != KR_OK) {
		kr_reply_err(c, err, "", KR_OCI_NAME_UNKNOWN);
	} else {
		if (more && last != NULL) {
			(void)snprintf(
				last_tag, sizeof(last_tag), "%.*s",
				(int)strnlen(last,
					     (size_t)((const char *)names.ptr +
						      names.len - last)),
				last);
			add_link(c, n, last_tag);
		}
		kr_reply(c, 200, "application/json", body.ptr, body.len);
	}
	kr_buf_fini(&body);
}

/* How many names are asked for; -1: that is malformed. */
static int64_t page_size(const struct kr_conn *c)
{
	uint32_t n = PAGE_MAX;

	if (kr_query_get_u32(kr_req_query(c), "n", UINT32_MAX, &n) ==
	    KR_E_INVALID)
		return -1;
	return n < PAGE_MAX ? n : PAGE_MAX;
}

static void on_list(struct kr_ask *ask)
{
	struct kr_conn *c = ask->owner;
	struct kr_reg_call *call = &ask->call;

	if (call->err != KR_OK) {
		kr_reply_err(c, call->err, call->text, KR_OCI_NAME_UNKNOWN);
		return;
	}
	if (page_size(c) == 0)
		reply_names(c, (struct kr_bytes){ NULL, 0 }, 0, false);
	else
		reply_names(c, (struct kr_bytes){ call->bytes, call->len },
			    call->limit, call->more);
	free(call->bytes);
	call->bytes = NULL;
}

void kr_h_tags(struct kr_conn *c)
{
	const struct kr_bytes query = kr_req_query(c);
	char last[KR_TAG_MAX + 1] = "";
	const int64_t n = page_size(c);

	if (n < 0) {
		kr_reply_error(c, KR_OCI_BAD_REQUEST,
			       "n is not a number of tags", NULL);
		return;
	}
	const enum kr_err err = kr_query_get(query, "last", last, sizeof(last));
	if (err != KR_OK && err != KR_E_NOTFOUND) {
		kr_reply_error(c, KR_OCI_BAD_REQUEST, "last is not a tag",
			       NULL);
		return;
	}
	struct kr_reg_call *call = kr_req_call(c, KR_REG_TAGS_LIST);
	memcpy(call->tag, last, strlen(last) + 1);
	/* None: still, is there such a repository? */
	call->limit = n > 0 ? (uint32_t)n : 1;
	kr_req_ask(c, on_list);
}
