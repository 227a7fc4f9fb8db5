#include "control/programs/index_desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/list.h"

enum { NAMES_BYTES_MAX = 4 << 20 };

struct work {
	struct kr_desk_job job;
	struct kr_index_service *service;
	struct kr_index *ix;
	struct kr_reg_call *call;
	struct kr_index_req req;
	struct kr_mirror_ask ask; /* TAG_GET */
	/* IMAGES_LIST */
	struct kr_buf out;
	uint32_t count;
	char repo[KR_INDEX_REPO_MAX]; /* whose tags are listed; "": none yet */
};

static void end(struct work *w, enum kr_err err)
{
	kr_buf_fini(&w->out);
	kr_desk_end(&w->job, err, NULL);
	free(w);
}

/* What the database is asked is answered soon, an upstream within its
 * deadline: it is not canceled. */
static struct work *begin(struct kr_index_service *s, struct kr_reg_call *call)
{
	struct work *w = kr_desk_work(call, sizeof(*w), NULL);

	if (w == NULL)
		return NULL;
	w->service = s;
	w->ix = kr_index_service_index(s);
	w->call = call;
	kr_buf_init(&w->out, NAMES_BYTES_MAX);
	return w;
}

/* ---- one tag ------------------------------------------------------------*/

static void got(struct kr_mirror_ask *a, enum kr_err err, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);

	if (err == KR_OK)
		w->call->digest = a->req.entry.digest;
	kr_desk_end(&w->job, err, text[0] == '\0' ? NULL : text);
	free(w); /* out is empty */
}

static void on_get(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_mirror_get(kr_index_service_mirror(w->service), &w->ask,
			      call->repo, call->tag, got);
}

static void put(struct kr_index_req *r, enum kr_err err)
{
	end(KR_CONTAINER_OF(r, struct work, req), err);
}

static void on_put(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_index_put(w->ix, &w->req, call->repo, call->tag,
			     &call->digest, put);
}

/* ---- the tags of a repository -------------------------------------------*/

static void listed(struct kr_index_req *r, enum kr_err err)
{
	struct work *w = KR_CONTAINER_OF(r, struct work, req);
	struct kr_reg_call *call = w->call;

	if (err == KR_OK) {
		call->bytes = r->names.ptr; /* moved */
		call->len = r->names.len;
		call->more = r->more;
		r->names.ptr = NULL;
		r->names.len = r->names.cap = 0;
	}
	kr_buf_fini(&r->names);
	end(w, err);
}

static void on_list(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_index_list(w->ix, &w->req, call->repo, call->last,
			      call->limit, listed);
}

/* ---- images: the tags of one repository after the other -----------------*/

static void next_repo(struct work *w);

static void finish_images(struct work *w, bool more)
{
	struct kr_reg_call *call = w->call;

	call->bytes = w->out.ptr; /* moved */
	call->len = w->out.len;
	call->more = more;
	kr_buf_init(&w->out, NAMES_BYTES_MAX);
	end(w, KR_OK);
}

static enum kr_err add_images(struct work *w, const struct kr_index_req *r)
{
	const char *p = (const char *)r->names.ptr;
	enum kr_err err = KR_OK;

	for (uint32_t i = 0; i < r->name_count && err == KR_OK; i++) {
		err = kr_buf_printf(&w->out, "%s:%s", w->repo, p);
		if (err == KR_OK)
			err = kr_buf_append(&w->out, "", 1);
		p += strlen(p) + 1;
		w->count++;
	}
	return err;
}

static void tags_listed(struct kr_index_req *r, enum kr_err err)
{
	struct work *w = KR_CONTAINER_OF(r, struct work, req);
	const bool more = r->more;

	if (err == KR_OK)
		err = add_images(w, r);
	kr_buf_fini(&r->names);
	if (err != KR_OK && err != KR_E_NOTFOUND)
		end(w, err);
	else if (w->count >= w->call->limit)
		finish_images(w, true);
	else if (err == KR_OK && more) /* fewer came than were asked for */
		finish_images(w, true);
	else
		next_repo(w);
}

static void list_tags(struct work *w, const char *after)
{
	w->req = (struct kr_index_req){ 0 };
	kr_index_list(w->ix, &w->req, w->repo, after, w->call->limit - w->count,
		      tags_listed);
}

static void repo_found(struct kr_index_req *r, enum kr_err err)
{
	struct work *w = KR_CONTAINER_OF(r, struct work, req);
	const bool any = err == KR_OK && r->name_count > 0;

	if (any)
		(void)snprintf(w->repo, sizeof(w->repo), "%s",
			       (const char *)r->names.ptr);
	kr_buf_fini(&r->names);
	if (any)
		list_tags(w, "");
	else if (err == KR_OK || err == KR_E_NOTFOUND)
		finish_images(w, false);
	else
		end(w, err);
}

static void next_repo(struct work *w)
{
	w->req = (struct kr_index_req){ 0 };
	kr_index_repos(w->ix, &w->req, w->call->repo, w->repo, 1, repo_found);
}

/* From behind "repo:tag" on, or from the start. */
static void on_images(void *ctx, struct kr_reg_call *call)
{
	const char *colon = strrchr(call->last, ':');
	struct work *w = begin(ctx, call);

	if (w == NULL)
		return;
	if (call->last[0] == '\0') {
		next_repo(w);
	} else if (colon == NULL ||
		   (size_t)(colon - call->last) >= sizeof(w->repo)) {
		end(w, KR_E_INVALID);
	} else {
		memcpy(w->repo, call->last, (size_t)(colon - call->last));
		list_tags(w, colon + 1);
	}
}

/* ---- */

static void on_ready(void *ctx, struct kr_reg_call *call)
{
	(void)ctx;
	kr_desk_refuse(call, KR_OK, NULL);
}

void kr_index_desk_attach(struct kr_index_service *s, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_TAG_GET, on_get, s);
	kr_desk_handle(desk, KR_REG_TAG_PUT, on_put, s);
	kr_desk_handle(desk, KR_REG_TAGS_LIST, on_list, s);
	kr_desk_handle(desk, KR_REG_IMAGES_LIST, on_images, s);
	kr_desk_handle(desk, KR_REG_READY, on_ready, s);
}
