#include "control/index_object.h"

#include <stdlib.h>
#include <string.h>

#include "control/index_internal.h"
#include "control/index_object_sql.h"
#include "core/log.h"

size_t kr_index_ref_pack(const struct kr_digest *d,
			 uint8_t buf[KR_INDEX_REF_MAX])
{
	const size_t len = kr_digest_len((enum kr_digest_alg)d->alg);

	buf[0] = d->alg;
	memcpy(buf + 1, d->bytes, len);
	return 1 + len;
}

bool kr_index_refs_valid(struct kr_bytes refs)
{
	while (refs.len > 0) {
		if (refs.ptr[0] >= KR_DIGEST_ALG_COUNT)
			return false;
		const size_t len =
			1 + kr_digest_len((enum kr_digest_alg)refs.ptr[0]);
		if (refs.len < len)
			return false;
		refs.ptr += len;
		refs.len -= len;
	}
	return true;
}

static struct kr_index_object_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_index_object_req, db);
}

static void on_done(struct kr_db_req *db, enum kr_err err)
{
	struct kr_index_object_req *r = req_of(db);

	for (uint32_t i = 0; err == KR_OK && i < r->changed_count; i++)
		kr_index_keep(r->ix, &r->changed_tags[i]);
	r->done(r, err);
}

static void on_post(struct kr_post *p)
{
	struct kr_index_object_req *r =
		KR_CONTAINER_OF(p, struct kr_index_object_req, post);

	r->done(r, r->err);
}

static void begin(struct kr_index *ix, struct kr_index_object_req *r,
		  kr_index_object_done_fn *done)
{
	kr_index_object_fini(r);
	memset(r, 0, sizeof(*r));
	r->ix = ix;
	r->done = done;
	kr_buf_init(&r->page, KR_INDEX_PAGE_MAX);
}

void kr_index_object_fini(struct kr_index_object_req *r)
{
	free(r->copy);
	free(r->changed_tags);
	kr_buf_fini(&r->page);
	r->copy = NULL;
	r->changed_tags = NULL;
}

/* Run it, or say @err from the ring. */
static void submit(struct kr_index_object_req *r, enum kr_err err,
		   kr_db_run_fn *run)
{
	if (err == KR_OK) {
		kr_db_submit(r->ix->opts.db, &r->db, run, on_done);
		return;
	}
	r->err = err;
	kr_io_post(r->ix->io, &r->post, on_post);
}

static enum kr_err set_name(struct kr_index_object_req *r,
			    enum kr_index_kind kind, const char *repo,
			    const struct kr_digest *digest)
{
	const size_t len = strlen(repo);

	if (!kr_index_repo_valid(repo, len) || kind >= KR_INDEX_KIND_COUNT)
		return KR_E_INVALID;
	memcpy(r->obj.repo, repo, len + 1);
	r->obj.kind = kind;
	r->obj.digest = *digest;
	return KR_OK;
}

static void stamp(struct kr_index_object_req *r)
{
	r->obj.clock = kr_hlc_next(&r->ix->clock, r->ix->opts.wall_ns());
	r->obj.node = r->ix->opts.node;
}

static enum kr_err judge_tags(const char *tags, uint32_t count, size_t *ret_len)
{
	const char *p = tags;

	if (count > KR_INDEX_OBJECT_TAGS_MAX)
		return KR_E_TOOBIG;
	for (uint32_t i = 0; i < count; i++) {
		const size_t len = strlen(p);

		if (!kr_index_tag_valid(p, len))
			return KR_E_INVALID;
		p += len + 1;
	}
	*ret_len = count == 0 ? 0 : (size_t)(p - tags);
	return KR_OK;
}

static const uint8_t *copy_bytes(uint8_t **at, const void *ptr, size_t len)
{
	uint8_t *p = *at;

	if (len > 0)
		memcpy(p, ptr, len);
	*at += len;
	return p;
}

/* Make @o and @tags ours. */
static enum kr_err copy_object(struct kr_index_object_req *r,
			       const struct kr_index_object *o,
			       const char *tags, uint32_t tag_count)
{
	size_t tags_len = 0;
	enum kr_err err = judge_tags(tags, tag_count, &tags_len);
	uint8_t *at;

	if (err != KR_OK)
		return err;
	if (o->refs.len > KR_INDEX_REFS_MAX ||
	    o->descriptor.len > KR_INDEX_DESC_MAX)
		return KR_E_TOOBIG;
	if (!kr_index_refs_valid(o->refs))
		return KR_E_INVALID;
	r->copy = malloc(o->refs.len + o->descriptor.len + tags_len + 1);
	if (r->copy == NULL)
		return KR_E_NOMEM;
	at = r->copy;
	r->obj = *o;
	r->obj.refs.ptr = copy_bytes(&at, o->refs.ptr, o->refs.len);
	r->obj.descriptor.ptr =
		copy_bytes(&at, o->descriptor.ptr, o->descriptor.len);
	r->tags = (const char *)copy_bytes(&at, tags, tags_len);
	r->tag_count = tag_count;
	return KR_OK;
}

void kr_index_object_put(struct kr_index *ix, struct kr_index_object_req *r,
			 const struct kr_index_object *o, const char *tags,
			 uint32_t tag_count, kr_index_object_done_fn *done)
{
	begin(ix, r, done);
	enum kr_err err = set_name(r, o->kind, o->repo, &o->digest);
	if (err == KR_OK)
		err = copy_object(r, o, tags, tag_count);
	r->obj.deleted = false;
	stamp(r);
	submit(r, err, kr_index_run_object_put);
}

void kr_index_object_delete(struct kr_index *ix, struct kr_index_object_req *r,
			    enum kr_index_kind kind, const char *repo,
			    const struct kr_digest *digest, bool force,
			    kr_index_object_done_fn *done)
{
	begin(ix, r, done);
	const enum kr_err err = set_name(r, kind, repo, digest);
	r->obj.deleted = true;
	r->force = force;
	stamp(r);
	submit(r, err, kr_index_run_object_delete);
}

void kr_index_object_find(struct kr_index *ix, struct kr_index_object_req *r,
			  enum kr_index_kind kind, const char *repo,
			  const struct kr_digest *digest,
			  kr_index_object_done_fn *done)
{
	begin(ix, r, done);
	submit(r, set_name(r, kind, repo, digest), kr_index_run_object_find);
}

void kr_index_object_read(struct kr_index *ix, struct kr_index_object_req *r,
			  enum kr_index_kind kind, const char *repo,
			  const struct kr_digest *digest,
			  kr_index_object_done_fn *done)
{
	begin(ix, r, done);
	submit(r, set_name(r, kind, repo, digest), kr_index_run_object_read);
}

void kr_index_object_merge(struct kr_index *ix, struct kr_index_object_req *r,
			   const struct kr_index_object *remote,
			   kr_index_object_done_fn *done)
{
	begin(ix, r, done);
	enum kr_err err =
		set_name(r, remote->kind, remote->repo, &remote->digest);
	if (err == KR_OK)
		err = copy_object(r, remote, NULL, 0);
	if (err == KR_OK &&
	    !kr_hlc_seen(&ix->clock, remote->clock, ix->opts.wall_ns())) {
		kr_log_warn("index",
			    "an object of another index is from the future; "
			    "are the clocks right?",
			    KR_STR("repo", remote->repo),
			    KR_U64("node", remote->node));
		err = KR_E_INVALID;
	}
	submit(r, err, kr_index_run_object_merge);
}

void kr_index_referrers(struct kr_index *ix, struct kr_index_object_req *r,
			const char *repo, const struct kr_digest *subject,
			const char *artifact_type, const char *last,
			uint32_t max, kr_index_object_done_fn *done)
{
	const size_t type_len = strlen(artifact_type), last_len = strlen(last);

	begin(ix, r, done);
	enum kr_err err = set_name(r, KR_INDEX_MANIFEST, repo, subject);
	if (type_len >= sizeof(r->obj.artifact_type) ||
	    last_len >= sizeof(r->last))
		err = KR_E_INVALID;
	if (err == KR_OK) {
		memcpy(r->obj.artifact_type, artifact_type, type_len + 1);
		memcpy(r->last, last, last_len + 1);
	}
	r->max = max == 0 || max > KR_INDEX_LIST_MAX ? KR_INDEX_LIST_MAX : max;
	submit(r, err, kr_index_run_referrers);
}
