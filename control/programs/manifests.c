#include "control/programs/manifests.h"

#include <stdlib.h>
#include <string.h>

#include "control/blob_hash.h"
#include "control/index_msg.h"
#include "core/list.h"
#include "peerwire/metainfo.h"

struct work {
	struct kr_desk_job job;
	struct kr_manifests *all;
	struct kr_reg_call *call;
	struct kr_origins_ask ask;
	struct kr_indexes_ask index;
	uint8_t *params; /* of index */
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
	free(w->params);
	free(w);
}

/* ---- MANIFEST_PUT, from the end to the beginning ------------------------*/

static void recorded(struct kr_indexes_ask *a, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	(void)result;
	end(KR_CONTAINER_OF(a, struct work, index), err, text);
}

static enum kr_err pack_refs(const struct kr_reg_call *call, uint8_t **ret,
			     size_t *ret_len)
{
	uint8_t *refs = malloc(call->ref_count * KR_INDEX_REF_MAX + 1);
	size_t at = 0;

	if (refs == NULL)
		return KR_E_NOMEM;
	for (size_t i = 0; i < call->ref_count; i++)
		at += kr_index_ref_pack(&call->refs[i].digest, refs + at);
	*ret = refs;
	*ret_len = at;
	return KR_OK;
}

/* The params of index.put_object, in w->params. */
static enum kr_err encode(struct work *w, struct kr_index_object *o,
			  size_t *ret_len)
{
	const struct kr_reg_call *call = w->call;
	const size_t cap =
		kr_index_msg_object_len(o, call->tags, call->tag_count);
	struct kr_mp_writer writer;

	w->params = malloc(cap);
	if (w->params == NULL)
		return KR_E_NOMEM;
	kr_mp_w_init(&writer, w->params, cap);
	kr_index_msg_object_encode(&writer, o, call->tags, call->tag_count,
				   false);
	return kr_mp_w_done(&writer, ret_len);
}

/* That the manifest is in the repository, and its tags. */
static void record(struct work *w)
{
	const struct kr_reg_call *call = w->call;
	struct kr_index_object o = {
		.kind = KR_INDEX_MANIFEST,
		.digest = call->digest,
		.has_subject = call->has_subject,
		.subject = call->subject,
		.descriptor = { call->descriptor, call->descriptor_len },
	};
	uint8_t *refs = NULL;
	size_t len = 0;
	enum kr_err err = pack_refs(call, &refs, &o.refs.len);

	_Static_assert(sizeof(o.artifact_type) >= sizeof(call->artifact_type) &&
			       sizeof(o.repo) >= sizeof(call->repo),
		       "an index keeps what HTTP lets in");
	memcpy(o.repo, call->repo, sizeof(call->repo));
	memcpy(o.artifact_type, call->artifact_type,
	       sizeof(call->artifact_type));
	o.refs.ptr = refs;
	if (err == KR_OK)
		err = encode(w, &o, &len);
	free(refs);
	if (err != KR_OK) {
		end(w, err, NULL);
		return;
	}
	kr_indexes_call(w->all->indexes, &w->index, "index.put_object",
			(struct kr_bytes){ w->params, len }, recorded);
}

static void pushed(void *ctx, enum kr_err err, const char *text)
{
	struct work *w = ctx;

	w->push = NULL;
	if (err != KR_OK)
		end(w, err, text);
	else
		record(w);
}

/* On the pool: the manifest into our store, its metainfo beside it. */
static enum kr_err keep(struct work *w)
{
	const struct kr_reg_call *call = w->call;
	struct kr_blob_hash h;
	struct kr_digest got;
	enum kr_err err;

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
	err = kr_store_meta_put(w->all->store, &got, w->meta.encoded,
				w->meta.encoded_len);
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

static enum kr_err push_ref(struct work *w, struct kr_bytes result,
			    const char **text)
{
	struct kr_metainfo m;
	enum kr_err err = kr_origins_metainfo_read(
		result, &w->call->refs[w->ref].digest, &m, text);

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

	if (w->canceled) {
		end(w, KR_E_CANCELED, NULL);
		return;
	}
	if (err == KR_E_NOTFOUND && w->all->sparse) {
		w->ref++;
		next_ref(w);
		return;
	}
	if (err != KR_OK)
		w->call->missing_ref = w->ref;
	if (err == KR_OK)
		err = push_ref(w, result, &text);
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
	struct work *w = kr_desk_work(call, sizeof(*w), cancel_work);

	if (w == NULL)
		return NULL;
	w->all = all;
	w->call = call;
	return w;
}

static void on_put(void *ctx, struct kr_reg_call *call)
{
	struct work *w = begin(ctx, call);

	if (w != NULL)
		next_ref(w);
}

void kr_manifests_attach(struct kr_manifests *m, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_MANIFEST_PUT, on_put, m);
}
