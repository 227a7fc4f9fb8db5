#include <string.h>

#include "control/index_msg.h"
#include "control/msg_util.h"

static const char *const kind_names[KR_INDEX_KIND_COUNT] = {
	[KR_INDEX_MANIFEST] = "manifest",
	[KR_INDEX_BLOB] = "blob",
};

static void w_bool(struct kr_mp_writer *w, const char *key, bool value)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_bool(w, value);
}

static void w_bin(struct kr_mp_writer *w, const char *key, struct kr_bytes b)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_bin(w, b.ptr, b.len);
}

static enum kr_err read_kind(struct kr_mp_reader *r, enum kr_index_kind *ret)
{
	char text[16];
	const enum kr_err err = kr_msg_str(r, text, sizeof(text));

	if (err != KR_OK)
		return err;
	for (int k = 0; k < KR_INDEX_KIND_COUNT; k++) {
		if (strcmp(text, kind_names[k]) == 0) {
			*ret = (enum kr_index_kind)k;
			return KR_OK;
		}
	}
	return KR_E_PROTO;
}

/* ---- an object ---- */

static void write_name(struct kr_mp_writer *w, enum kr_index_kind kind,
		       const char *repo, const struct kr_digest *digest)
{
	kr_msg_w_str(w, "repo", repo);
	kr_msg_w_str(w, "kind", kind_names[kind]);
	kr_msg_w_digest(w, "digest", digest);
}

void kr_index_msg_object_name_encode(struct kr_mp_writer *w,
				     enum kr_index_kind kind, const char *repo,
				     const struct kr_digest *digest, bool force)
{
	kr_mp_w_map(w, 4);
	write_name(w, kind, repo, digest);
	w_bool(w, "force", force);
}

/* Length of @count strings, each with its NUL. */
static size_t strings_len(const char *s, uint32_t count)
{
	size_t len = 0;

	for (uint32_t i = 0; i < count; i++)
		len += strlen(s + len) + 1;
	return len;
}

size_t kr_index_msg_object_len(const struct kr_index_object *o,
			       const char *tags, uint32_t tag_count)
{
	/* A tag has at most 128 bytes: its head takes the NUL's room and one
	 * more. */
	return KR_INDEX_MSG_ENTRY_MAX + KR_DIGEST_TEXT_MAX + KR_INDEX_TYPE_MAX +
	       o->refs.len + o->descriptor.len + 256 +
	       strings_len(tags, tag_count) + tag_count;
}

void kr_index_msg_object_encode(struct kr_mp_writer *w,
				const struct kr_index_object *o,
				const char *tags, uint32_t tag_count,
				bool stamped)
{
	kr_mp_w_map(w, 6U + (o->has_subject ? 2U : 0U) + (stamped ? 3U : 0U));
	write_name(w, o->kind, o->repo, &o->digest);
	w_bin(w, "refs", o->refs);
	w_bin(w, "descriptor", o->descriptor);
	kr_mp_w_cstr(w, "tags");
	kr_mp_w_array(w, tag_count);
	for (uint32_t i = 0; i < tag_count; i++) {
		kr_mp_w_cstr(w, tags);
		tags += strlen(tags) + 1;
	}
	if (o->has_subject) {
		kr_msg_w_digest(w, "subject", &o->subject);
		kr_msg_w_str(w, "artifact_type", o->artifact_type);
	}
	if (stamped) {
		w_bool(w, "deleted", o->deleted);
		kr_msg_w_u64(w, "clock", o->clock);
		kr_msg_w_u64(w, "node", o->node);
	}
}

enum {
	HAS_REPO = 1,
	HAS_KIND = 2,
	HAS_DIGEST = 4,
	HAS_CLOCK = 8,
	HAS_NODE = 16
};

struct object_ctx {
	struct kr_index_msg_object *m;
	unsigned has;
};

static enum kr_err read_tags(struct kr_mp_reader *r,
			     struct kr_index_msg_names *names)
{
	struct kr_bytes name;
	enum kr_err err =
		kr_msg_array(r, KR_INDEX_OBJECT_TAGS_MAX, &names->count);

	names->list = *r;
	for (uint32_t i = 0; err == KR_OK && i < names->count; i++)
		err = kr_mp_r_str(r, &name);
	return err;
}

static enum kr_err stamp_field(struct object_ctx *c, struct kr_bytes key,
			       struct kr_mp_reader *r)
{
	struct kr_index_object *o = &c->m->o;

	if (kr_msg_is(key, "deleted"))
		return kr_mp_r_bool(r, &o->deleted);
	if (kr_msg_is(key, "clock")) {
		c->has |= HAS_CLOCK;
		return kr_mp_r_u64(r, &o->clock);
	}
	if (kr_msg_is(key, "node")) {
		c->has |= HAS_NODE;
		return kr_mp_r_u64(r, &o->node);
	}
	return KR_OK;
}

static enum kr_err content_field(struct object_ctx *c, struct kr_bytes key,
				 struct kr_mp_reader *r)
{
	struct kr_index_object *o = &c->m->o;

	if (kr_msg_is(key, "subject")) {
		o->has_subject = true;
		return kr_msg_digest(r, &o->subject);
	}
	if (kr_msg_is(key, "artifact_type"))
		return kr_msg_str(r, o->artifact_type,
				  sizeof(o->artifact_type));
	if (kr_msg_is(key, "refs"))
		return kr_mp_r_bin(r, &o->refs);
	if (kr_msg_is(key, "descriptor"))
		return kr_mp_r_bin(r, &o->descriptor);
	if (kr_msg_is(key, "tags"))
		return read_tags(r, &c->m->tags);
	if (kr_msg_is(key, "force"))
		return kr_mp_r_bool(r, &c->m->force);
	return stamp_field(c, key, r);
}

static enum kr_err object_field(void *ctx, struct kr_bytes key,
				struct kr_mp_reader *r)
{
	struct object_ctx *c = ctx;
	struct kr_index_object *o = &c->m->o;

	if (kr_msg_is(key, "repo")) {
		c->has |= HAS_REPO;
		return kr_msg_str(r, o->repo, sizeof(o->repo));
	}
	if (kr_msg_is(key, "kind")) {
		c->has |= HAS_KIND;
		return read_kind(r, &o->kind);
	}
	if (kr_msg_is(key, "digest")) {
		c->has |= HAS_DIGEST;
		return kr_msg_digest(r, &o->digest);
	}
	return content_field(c, key, r);
}

enum kr_err kr_index_msg_object_decode(struct kr_bytes params,
				       struct kr_index_msg_object *ret)
{
	const unsigned name = HAS_REPO | HAS_KIND | HAS_DIGEST;
	const unsigned stamp = HAS_CLOCK | HAS_NODE;
	struct object_ctx c = { .m = ret };

	memset(ret, 0, sizeof(*ret));
	const enum kr_err err = kr_msg_map_whole(params, object_field, &c);
	ret->stamped = (c.has & stamp) == stamp;
	return err == KR_OK && (c.has & name) != name ? KR_E_PROTO : err;
}

/* ---- what find says ---- */

struct deleted_ctx {
	bool has, deleted;
};

static enum kr_err deleted_field(void *ctx, struct kr_bytes key,
				 struct kr_mp_reader *r)
{
	struct deleted_ctx *c = ctx;

	if (!kr_msg_is(key, "deleted"))
		return KR_OK;
	c->has = true;
	return kr_mp_r_bool(r, &c->deleted);
}

enum kr_err kr_index_msg_deleted_decode(struct kr_bytes result, bool *ret)
{
	struct deleted_ctx c = { false, false };
	const enum kr_err err = kr_msg_map_whole(result, deleted_field, &c);

	if (err == KR_OK && !c.has)
		return KR_E_PROTO;
	if (err == KR_OK)
		*ret = c.deleted;
	return err;
}

/* ---- referrers ---- */

void kr_index_msg_referrers_encode(struct kr_mp_writer *w,
				   const struct kr_index_msg_referrers *m)
{
	kr_mp_w_map(w, 5);
	kr_msg_w_str(w, "repo", m->repo);
	kr_msg_w_digest(w, "digest", &m->subject);
	kr_msg_w_str(w, "artifact_type", m->artifact_type);
	kr_msg_w_str(w, "last", m->last);
	kr_msg_w_u64(w, "limit", m->limit);
}

struct referrers_ctx {
	struct kr_index_msg_referrers *m;
	unsigned has;
};

static enum kr_err referrers_field(void *ctx, struct kr_bytes key,
				   struct kr_mp_reader *r)
{
	struct referrers_ctx *c = ctx;
	struct kr_index_msg_referrers *m = c->m;

	if (kr_msg_is(key, "repo")) {
		c->has |= HAS_REPO;
		return kr_msg_str(r, m->repo, sizeof(m->repo));
	}
	if (kr_msg_is(key, "digest")) {
		c->has |= HAS_DIGEST;
		return kr_msg_digest(r, &m->subject);
	}
	if (kr_msg_is(key, "artifact_type"))
		return kr_msg_str(r, m->artifact_type,
				  sizeof(m->artifact_type));
	if (kr_msg_is(key, "last"))
		return kr_msg_str(r, m->last, sizeof(m->last));
	if (kr_msg_is(key, "limit"))
		return kr_msg_u32(r, UINT32_MAX, &m->limit);
	return KR_OK;
}

enum kr_err kr_index_msg_referrers_decode(struct kr_bytes params,
					  struct kr_index_msg_referrers *ret)
{
	struct referrers_ctx c = { .m = ret };

	memset(ret, 0, sizeof(*ret));
	const enum kr_err err = kr_msg_map_whole(params, referrers_field, &c);
	return err == KR_OK && c.has != (HAS_REPO | HAS_DIGEST) ? KR_E_PROTO
								: err;
}

void kr_index_msg_page_encode(struct kr_mp_writer *w, struct kr_bytes page,
			      uint32_t count, const char *last, bool more)
{
	kr_mp_w_map(w, 3);
	kr_mp_w_cstr(w, "referrers");
	kr_mp_w_array(w, count);
	for (uint32_t i = 0; i < count; i++) {
		const size_t len = kr_get_be32(page.ptr);

		kr_mp_w_bin(w, page.ptr + 4, len);
		page.ptr += 4 + len;
	}
	kr_msg_w_str(w, "last", last);
	w_bool(w, "more", more);
}

static enum kr_err page_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct kr_index_msg_page *p = ctx;
	struct kr_bytes descriptor;
	enum kr_err err;

	if (kr_msg_is(key, "more"))
		return kr_mp_r_bool(r, &p->more);
	if (kr_msg_is(key, "last"))
		return kr_msg_str(r, p->last, sizeof(p->last));
	if (!kr_msg_is(key, "referrers"))
		return KR_OK;
	err = kr_msg_array(r, KR_INDEX_LIST_MAX, &p->count);
	p->list = *r;
	for (uint32_t i = 0; err == KR_OK && i < p->count; i++)
		err = kr_mp_r_bin(r, &descriptor);
	return err;
}

enum kr_err kr_index_msg_page_decode(struct kr_bytes result,
				     struct kr_index_msg_page *ret)
{
	memset(ret, 0, sizeof(*ret));
	return kr_msg_map_whole(result, page_field, ret);
}

bool kr_index_msg_page_next(struct kr_index_msg_page *p, struct kr_bytes *ret)
{
	if (p->count == 0)
		return false;
	p->count--;
	const enum kr_err err = kr_mp_r_bin(&p->list, ret);
	kr_assert(err == KR_OK);
	return true;
}
