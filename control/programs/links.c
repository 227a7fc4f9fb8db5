#include "control/programs/links.h"

#include <stdlib.h>

#include "control/index_msg.h"
#include "core/list.h"

struct work {
	struct kr_desk_job job;
	struct kr_links *all;
	struct kr_reg_call *call;
	struct kr_indexes_ask ask;
	struct kr_origins_ask stat;
	bool canceled;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	kr_desk_end(&w->job, err, text);
	free(w);
}

/* Asks have deadlines of seconds: they end by themselves. */
static void cancel_work(struct kr_desk_job *job)
{
	KR_CONTAINER_OF(job, struct work, job)->canceled = true;
}

static struct work *begin(struct kr_links *all, struct kr_reg_call *call)
{
	struct work *w = kr_desk_work(call, sizeof(*w), cancel_work);

	if (w == NULL)
		return NULL;
	w->all = all;
	w->call = call;
	return w;
}

static enum kr_index_kind kind_of(const struct kr_reg_call *call)
{
	return call->op == KR_REG_MANIFEST_GET ||
			       call->op == KR_REG_MANIFEST_DELETE
		       ? KR_INDEX_MANIFEST
		       : KR_INDEX_BLOB;
}

/* ---- serve, unless it was deleted ---- */

static void serve(struct kr_links *l, struct kr_reg_call *call)
{
	l->serve[call->op].fn(l->serve[call->op].ctx, call);
}

static void found(struct kr_indexes_ask *a, enum kr_err err,
		  struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);
	struct kr_links *l = w->all;
	struct kr_reg_call *call = w->call;
	bool deleted = false;

	(void)text;
	if (err == KR_OK &&
	    kr_index_msg_deleted_decode(result, &deleted) != KR_OK)
		deleted = false;
	if (w->canceled) {
		end(w, KR_E_CANCELED, NULL);
	} else if (deleted) {
		end(w, KR_E_NOTFOUND, "it was deleted from this repository");
	} else {
		kr_desk_pass(&w->job);
		free(w);
		serve(l, call);
	}
}

/* What a tag names was not deleted: its tags go with a manifest. */
static void on_read(void *ctx, struct kr_reg_call *call)
{
	struct kr_links *l = ctx;
	struct work *w;

	if ((call->op == KR_REG_MANIFEST_GET && call->tag[0] != '\0') ||
	    kr_io_now_ns(l->io) < l->silent_until_ns) {
		serve(l, call);
		return;
	}
	w = begin(l, call);
	if (w != NULL)
		kr_indexes_find_object(l->indexes, &w->ask, kind_of(call),
				       call->repo, &call->digest, found);
}

/* ---- MANIFEST_DELETE, BLOB_DELETE ---- */

static void deleted(struct kr_indexes_ask *a, enum kr_err err,
		    struct kr_bytes result, const char *text)
{
	(void)result;
	end(KR_CONTAINER_OF(a, struct work, ask), err, text);
}

static void stat_done(struct kr_origins_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, stat);

	(void)result;
	if (err != KR_OK)
		end(w, err, text);
	else
		kr_indexes_delete_object(w->all->indexes, &w->ask,
					 kind_of(w->call), w->call->repo,
					 &w->call->digest, true, deleted);
}

/* No index knows it; if the origins have it, it is served all the same, and so
 * can be deleted. */
static void looked_up(struct kr_indexes_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);
	bool is_deleted = false;

	if (err == KR_E_NOTFOUND) {
		kr_origins_stat(w->all->origins, &w->stat, w->call->repo,
				&w->call->digest, stat_done);
		return;
	}
	if (err == KR_OK)
		err = kr_index_msg_deleted_decode(result, &is_deleted);
	if (err != KR_OK || is_deleted)
		end(w, err == KR_OK ? KR_E_NOTFOUND : err, text);
	else
		kr_indexes_delete_object(w->all->indexes, &w->ask,
					 kind_of(w->call), w->call->repo,
					 &w->call->digest, true, deleted);
}

static void on_delete(void *ctx, struct kr_reg_call *call)
{
	struct kr_links *l = ctx;
	struct work *w = begin(l, call);

	if (w == NULL)
		return;
	if (call->op == KR_REG_MANIFEST_DELETE && call->tag[0] != '\0')
		kr_indexes_untag(l->indexes, &w->ask, call->repo, call->tag,
				 deleted);
	else
		kr_indexes_find_object(l->indexes, &w->ask, kind_of(call),
				       call->repo, &call->digest, looked_up);
}

/* ---- life ---- */

void kr_links_attach(struct kr_links *l, struct kr_desk *desk)
{
	static const enum kr_reg_op reads[] = { KR_REG_MANIFEST_GET,
						KR_REG_BLOB_OPEN,
						KR_REG_BLOB_STAT };

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		const enum kr_reg_op op = reads[i];

		l->serve[op].fn = desk->handlers[op].fn;
		l->serve[op].ctx = desk->handlers[op].ctx;
		kr_assert(l->serve[op].fn != NULL);
		kr_desk_handle(desk, op, on_read, l);
	}
	kr_desk_handle(desk, KR_REG_MANIFEST_DELETE, on_delete, l);
	kr_desk_handle(desk, KR_REG_BLOB_DELETE, on_delete, l);
}
