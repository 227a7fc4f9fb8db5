#include "control/programs/manifests.h"

#include <stdlib.h>
#include <string.h>

#include "control/blob_hash.h"
#include "control/index_msg.h"
#include "control/origin_msg.h"
#include "core/list.h"
#include "peerwire/metainfo.h"

struct work {
	struct kr_desk_job job;
	struct kr_manifests *all;
	struct kr_reg_call *call;
	struct kr_origins_ask ask;
	struct kr_indexes_ask tag;
	struct kr_job store_job;
	struct kr_push *push; /* while it waits for one */
	struct kr_metainfo meta;
	bool has_meta;
	size_t ref; /* being pushed */
	enum kr_err err;
	bool canceled;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	if (w->has_meta)
		kr_metainfo_fini(kr_alloc_heap(), &w->meta);
	kr_desk_end(&w->job, err, text);
	free(w);
}

/* ---- MANIFEST_PUT, from the end to the beginning ------------------------*/

static void tagged(struct kr_indexes_ask *a, enum kr_err err,
		   struct kr_bytes result, const char *text)
{
	(void)result;
	end(KR_CONTAINER_OF(a, struct work, tag), err, text);
}

static void pushed(void *ctx, enum kr_err err, const char *text)
{
	struct work *w = ctx;

	w->push = NULL;
	if (err != KR_OK || w->call->tag[0] == '\0') {
		end(w, err, text);
		return;
	}
	kr_indexes_put(w->all->indexes, &w->tag, w->call->repo, w->call->tag,
		       &w->call->digest, tagged);
}

/* On the pool: the manifest into our store, its metainfo beside it. */
static enum kr_err keep(struct work *w)
{
	const struct kr_reg_call *call = w->call;
	struct kr_blob_hash h;
	struct kr_digest got;
	uint8_t buf[4096];
	enum kr_err err;
	size_t len;

	err = kr_blob_hash_init(&h, (enum kr_digest_alg)call->digest.alg,
				kr_metainfo_piece_bytes_for(call->len));
	if (err != KR_OK)
		return err;
	err = kr_blob_hash_update(&h, call->bytes, call->len);
	if (err != KR_OK) {
		kr_blob_hash_fini(&h);
		return err;
	}
	err = kr_blob_hash_final(&h, &got, &w->meta);
	if (err != KR_OK)
		return err;
	w->has_meta = true;
	if (!kr_digest_equal(&got, &call->digest))
		return KR_E_DIGEST;
	err = kr_metainfo_encode(&w->meta, buf, sizeof(buf), &len);
	if (err == KR_OK)
		err = kr_store_meta_put(w->all->store, &got, buf, len);
	if (err == KR_OK)
		err = kr_store_blob_put(w->all->store, &got, call->bytes,
					call->len);
	return err;
}

static void keep_run(struct kr_job *j)
{
	struct work *w = KR_CONTAINER_OF(j, struct work, store_job);

	w->err = keep(w);
}

static void kept(struct kr_job *j)
{
	struct work *w = KR_CONTAINER_OF(j, struct work, store_job);
	enum kr_err err = w->canceled ? KR_E_CANCELED : w->err;

	if (err == KR_OK)
		err = kr_push_start(w->all->pusher, w->call->repo, &w->meta, w,
				    pushed, &w->push);
	if (err != KR_OK)
		end(w, err, NULL);
}

static void next_ref(struct work *w);

static void ref_pushed(void *ctx, enum kr_err err, const char *text)
{
	struct work *w = ctx;

	w->push = NULL;
	if (err != KR_OK) {
		end(w, err, text);
		return;
	}
	w->ref++;
	next_ref(w);
}

static enum kr_err push_ref(struct work *w, struct kr_bytes metainfo)
{
	struct kr_metainfo m;
	enum kr_err err = kr_metainfo_decode(kr_alloc_heap(), metainfo.ptr,
					     metainfo.len, &m);

	if (err != KR_OK)
		return err;
	err = kr_push_start(w->all->pusher, w->call->repo, &m, w, ref_pushed,
			    &w->push);
	kr_metainfo_fini(kr_alloc_heap(), &m);
	return err;
}

static void ref_found(struct kr_origins_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);
	struct kr_bytes metainfo;

	if (w->canceled) {
		end(w, KR_E_CANCELED, NULL);
		return;
	}
	if (err != KR_OK)
		w->call->missing_ref = w->ref;
	if (err == KR_OK)
		err = kr_origin_msg_metainfo_decode(result, &metainfo);
	if (err == KR_OK)
		err = push_ref(w, metainfo);
	if (err != KR_OK)
		end(w, err, text);
}

/*
 * A layer that the client skipped, because somebody said that it is there, or
 * mounted from another repository, may be on fewer origins than a write
 * quorum, and unknown to the backend of this repository.  So each reference is
 * pushed like an upload; owners that have it answer at once.
 */
static void next_ref(struct work *w)
{
	if (w->ref < w->call->ref_count) {
		kr_origins_metainfo(w->all->origins, &w->ask, w->call->repo,
				    &w->call->refs[w->ref].digest, ref_found);
		return;
	}
	kr_io_work(w->all->io, &w->store_job, keep_run, kept);
}

/* A step under way ends by itself in seconds, and no other begins; a push is
 * not waited for.  Without an answer from the origins there is no tag. */
static void cancel_work(struct kr_desk_job *job)
{
	struct work *w = KR_CONTAINER_OF(job, struct work, job);

	w->canceled = true;
	if (w->push == NULL)
		return;
	kr_push_abandon(w->push);
	end(w, KR_E_CANCELED, NULL);
}

static struct work *begin(struct kr_manifests *all, struct kr_reg_call *call)
{
	struct work *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		kr_desk_refuse(call, KR_E_NOMEM, NULL);
		return NULL;
	}
	w->all = all;
	w->call = call;
	if (kr_desk_begin(call->role, &w->job, call, cancel_work) != KR_OK) {
		free(w);
		return NULL;
	}
	return w;
}

static void on_put(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		next_ref(w);
}

/* ---- TAGS_LIST ----------------------------------------------------------*/

/* Copy the names, each with its NUL. */
static enum kr_err copy_names(struct kr_reg_call *call, struct kr_bytes result)
{
	struct kr_index_msg_names names;
	struct kr_bytes name;
	enum kr_err err = kr_index_msg_names_decode(result, "tags", &names);
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
	struct work *w = KR_CONTAINER_OF(a, struct work, tag);

	if (err == KR_OK)
		err = copy_names(w->call, result);
	end(w, err, text);
}

static void on_list(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		kr_indexes_list(w->all->indexes, &w->tag, call->repo, call->tag,
				call->limit, listed);
}

void kr_manifests_attach(struct kr_manifests *m, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_MANIFEST_PUT, on_put, m);
	kr_desk_handle(desk, KR_REG_TAGS_LIST, on_list, m);
}
