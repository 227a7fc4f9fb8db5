#include "control/index_msg.h"

#include <string.h>

#include "control/msg_util.h"

static void w_bool(struct kr_mp_writer *w, const char *key, bool value)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_bool(w, value);
}

/* ---- entries ---- */

static void write_name(struct kr_mp_writer *w, const char *repo,
		       const char *tag)
{
	kr_msg_w_str(w, "repo", repo);
	kr_msg_w_str(w, "tag", tag);
}

void kr_index_msg_put_encode(struct kr_mp_writer *w, const char *repo,
			     const char *tag, const struct kr_digest *digest)
{
	kr_mp_w_map(w, 3);
	write_name(w, repo, tag);
	kr_msg_w_digest(w, "digest", digest);
}

void kr_index_msg_get_encode(struct kr_mp_writer *w, const char *repo,
			     const char *tag)
{
	kr_mp_w_map(w, 2);
	write_name(w, repo, tag);
}

void kr_index_msg_entry_encode(struct kr_mp_writer *w,
			       const struct kr_index_entry *e)
{
	kr_mp_w_map(w, 5);
	write_name(w, e->repo, e->tag);
	if (e->deleted)
		w_bool(w, "deleted", true);
	else
		kr_msg_w_digest(w, "digest", &e->digest);
	kr_msg_w_u64(w, "clock", e->clock);
	kr_msg_w_u64(w, "node", e->node);
}

void kr_index_msg_digest_encode(struct kr_mp_writer *w,
				const struct kr_digest *digest)
{
	kr_mp_w_map(w, 1);
	kr_msg_w_digest(w, "digest", digest);
}

void kr_index_msg_deleted_encode(struct kr_mp_writer *w, bool deleted)
{
	kr_mp_w_map(w, 1);
	w_bool(w, "deleted", deleted);
}

enum { HAS_CLOCK = 16, HAS_NODE = 32 };

struct entry_ctx {
	struct kr_index_entry *e;
	unsigned has;
};

static enum kr_err entry_field(void *ctx, struct kr_bytes key,
			       struct kr_mp_reader *r)
{
	struct entry_ctx *c = ctx;
	struct kr_index_entry *e = c->e;

	if (kr_msg_is(key, "repo")) {
		c->has |= KR_INDEX_MSG_REPO;
		return kr_msg_str(r, e->repo, sizeof(e->repo));
	}
	if (kr_msg_is(key, "tag")) {
		c->has |= KR_INDEX_MSG_TAG;
		return kr_msg_str(r, e->tag, sizeof(e->tag));
	}
	if (kr_msg_is(key, "digest")) {
		c->has |= KR_INDEX_MSG_DIGEST;
		return kr_msg_digest(r, &e->digest);
	}
	if (kr_msg_is(key, "deleted"))
		return kr_mp_r_bool(r, &e->deleted);
	if (kr_msg_is(key, "clock")) {
		c->has |= HAS_CLOCK;
		return kr_mp_r_u64(r, &e->clock);
	}
	if (kr_msg_is(key, "node")) {
		c->has |= HAS_NODE;
		return kr_mp_r_u64(r, &e->node);
	}
	return KR_OK;
}

enum kr_err kr_index_msg_entry_decode(struct kr_bytes params, unsigned need,
				      struct kr_index_entry *ret)
{
	struct entry_ctx c = { .e = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, entry_field, &c);
	if ((c.has & HAS_CLOCK) && (c.has & HAS_NODE))
		c.has |= KR_INDEX_MSG_STAMP;
	if (ret->deleted) {
		memset(&ret->digest, 0, sizeof(ret->digest));
		c.has |= KR_INDEX_MSG_DIGEST;
	}
	return err == KR_OK && (c.has & need) != need ? KR_E_PROTO : err;
}

enum kr_err kr_index_msg_digest_decode(struct kr_bytes result,
				       struct kr_digest *ret)
{
	struct kr_index_entry e;
	enum kr_err err =
		kr_index_msg_entry_decode(result, KR_INDEX_MSG_DIGEST, &e);

	if (err == KR_OK && e.deleted)
		return KR_E_NOTFOUND;
	if (err == KR_OK)
		*ret = e.digest;
	return err;
}

/* ---- lists ---- */

static void write_list(struct kr_mp_writer *w, const char *key,
		       const char *name, const char *last, uint32_t limit)
{
	kr_mp_w_map(w, 3);
	kr_msg_w_str(w, key, name);
	kr_msg_w_str(w, "last", last);
	kr_msg_w_u64(w, "limit", limit);
}

void kr_index_msg_list_encode(struct kr_mp_writer *w, const char *repo,
			      const char *last, uint32_t limit)
{
	write_list(w, "repo", repo, last, limit);
}

void kr_index_msg_repos_encode(struct kr_mp_writer *w, const char *prefix,
			       const char *last, uint32_t limit)
{
	write_list(w, "prefix", prefix, last, limit);
}

static enum kr_err list_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct kr_index_msg_list *l = ctx;

	if (kr_msg_is(key, "repo") || kr_msg_is(key, "prefix"))
		return kr_msg_str(r, l->name, sizeof(l->name));
	if (kr_msg_is(key, "last"))
		return kr_msg_str(r, l->last, sizeof(l->last));
	if (kr_msg_is(key, "limit"))
		return kr_msg_u32(r, UINT32_MAX, &l->limit);
	return KR_OK;
}

enum kr_err kr_index_msg_list_decode(struct kr_bytes params,
				     struct kr_index_msg_list *ret)
{
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, list_field, ret);
	if (ret->limit == 0 || ret->limit > KR_INDEX_LIST_MAX)
		ret->limit = KR_INDEX_LIST_MAX;
	return err;
}

void kr_index_msg_names_encode(struct kr_mp_writer *w, const char *key,
			       const char *names, uint32_t count, bool more)
{
	kr_mp_w_map(w, 2);
	kr_mp_w_cstr(w, key);
	kr_mp_w_array(w, count);
	for (uint32_t i = 0; i < count; i++) {
		kr_mp_w_cstr(w, names);
		names += strlen(names) + 1;
	}
	kr_mp_w_cstr(w, "more");
	kr_mp_w_bool(w, more);
}

struct names_ctx {
	struct kr_index_msg_names *names;
	const char *key;
};

static enum kr_err names_field(void *ctx, struct kr_bytes key,
			       struct kr_mp_reader *r)
{
	struct names_ctx *c = ctx;
	struct kr_bytes name;
	enum kr_err err;

	if (kr_msg_is(key, "more"))
		return kr_mp_r_bool(r, &c->names->more);
	if (!kr_msg_is(key, c->key))
		return KR_OK;
	err = kr_msg_array(r, KR_INDEX_LIST_MAX, &c->names->count);
	c->names->list = *r;
	for (uint32_t i = 0; err == KR_OK && i < c->names->count; i++)
		err = kr_mp_r_str(r, &name);
	return err;
}

enum kr_err kr_index_msg_names_decode(struct kr_bytes result, const char *key,
				      struct kr_index_msg_names *ret)
{
	struct names_ctx c = { .names = ret, .key = key };

	memset(ret, 0, sizeof(*ret));
	return kr_msg_map_whole(result, names_field, &c);
}

bool kr_index_msg_names_next(struct kr_index_msg_names *n, struct kr_bytes *ret)
{
	if (n->count == 0)
		return false;
	n->count--;
	const enum kr_err err = kr_mp_r_str(&n->list, ret);
	kr_assert(err == KR_OK);
	return true;
}
