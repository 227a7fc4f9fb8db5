#include "control/programs/lists.h"

#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "core/list.h"

struct work {
	struct kr_desk_job job;
	struct kr_lists *all;
	struct kr_reg_call *call;
	struct kr_indexes_ask ask;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	kr_desk_end(&w->job, err, text);
	free(w);
}

/* An ask has a deadline of seconds: it is not canceled. */
static struct work *begin(struct kr_lists *all, struct kr_reg_call *call)
{
	struct work *w = kr_desk_work(call, sizeof(*w), NULL);

	if (w == NULL)
		return NULL;
	w->all = all;
	w->call = call;
	return w;
}

/* ---- names ---- */

/* Copy the names, each with its NUL. */
static enum kr_err copy_names(struct kr_reg_call *call, struct kr_bytes result,
			      const char *key)
{
	struct kr_index_msg_names names;
	struct kr_bytes name;
	enum kr_err err = kr_index_msg_names_decode(result, key, &names);
	size_t at = 0;

	if (err != KR_OK)
		return err;
	call->more = names.more;
	call->bytes = malloc(result.len + 1); /* a name has a head byte: its
						 NUL takes that room */
	if (call->bytes == NULL)
		return KR_E_NOMEM;
	while (kr_index_msg_names_next(&names, &name)) {
		memcpy(call->bytes + at, name.ptr, name.len);
		at += name.len;
		call->bytes[at++] = '\0';
	}
	call->len = at;
	return KR_OK;
}

static void listed(struct kr_indexes_ask *a, enum kr_err err,
		   struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);

	if (err == KR_OK)
		err = copy_names(w->call, result,
				 w->call->op == KR_REG_CATALOG ? "repos"
							       : "tags");
	end(w, err, text);
}

static void on_tags(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_indexes_list(w->all->indexes, &w->ask, call->repo, call->tag,
				call->limit, listed);
}

static void on_catalog(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_indexes_repos(w->all->indexes, &w->ask, call->last,
				 call->limit, listed);
}

/* ---- referrers ---- */

/* The descriptors, with commas between them. */
static enum kr_err copy_page(struct kr_reg_call *call, struct kr_bytes result)
{
	struct kr_index_msg_page page;
	struct kr_bytes descriptor;
	enum kr_err err = kr_index_msg_page_decode(result, &page);
	size_t at = 0;

	if (err != KR_OK)
		return err;
	call->more = page.more;
	memcpy(call->last, page.last, sizeof(page.last));
	call->bytes = malloc(result.len + 1); /* a comma takes the room of a
						 head byte */
	if (call->bytes == NULL)
		return KR_E_NOMEM;
	while (kr_index_msg_page_next(&page, &descriptor)) {
		if (at > 0)
			call->bytes[at++] = ',';
		memcpy(call->bytes + at, descriptor.ptr, descriptor.len);
		at += descriptor.len;
	}
	call->len = at;
	return KR_OK;
}

static void got_referrers(struct kr_indexes_ask *a, enum kr_err err,
			  struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);

	if (err == KR_OK)
		err = copy_page(w->call, result);
	end(w, err, text);
}

static void on_referrers(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);
	struct kr_index_msg_referrers m = { .limit = call->limit };

	if (w == NULL)
		return;
	if (strlen(call->last) >= sizeof(m.last) ||
	    strlen(call->artifact_type) >= sizeof(m.artifact_type)) {
		end(w, KR_E_INVALID, "last is not a digest");
		return;
	}
	m.subject = call->digest;
	memcpy(m.repo, call->repo, strlen(call->repo) + 1);
	memcpy(m.artifact_type, call->artifact_type,
	       strlen(call->artifact_type) + 1);
	memcpy(m.last, call->last, strlen(call->last) + 1);
	kr_indexes_referrers(w->all->indexes, &w->ask, &m, got_referrers);
}

void kr_lists_attach(struct kr_lists *l, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_TAGS_LIST, on_tags, l);
	kr_desk_handle(desk, KR_REG_CATALOG, on_catalog, l);
	kr_desk_handle(desk, KR_REG_REFERRERS, on_referrers, l);
}
