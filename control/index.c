#include "control/index_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"

enum { CACHE_DEFAULT = 65536 };

struct cached {
	struct kr_list link; /* least recently used first */
	struct kr_digest key;
	struct kr_index_entry entry;
};

/* ---- grammar (OCI distribution-spec, "Pulling manifests") ---- */

static bool is_alnum(char c, bool upper)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (upper && c >= 'A' && c <= 'Z');
}

/* The separator at @s: ".", "_", "__" or dashes; 0: none. */
static size_t separator_len(const char *s, size_t len)
{
	size_t n = 0;

	if (len == 0)
		return 0;
	if (s[0] == '.')
		return 1;
	if (s[0] == '_')
		return len > 1 && s[1] == '_' ? 2 : 1;
	while (n < len && s[n] == '-')
		n++;
	return n;
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* between slashes */
bool kr_index_repo_valid(const char *repo, size_t len)
{
	size_t at = 0;

	if (len == 0 || len >= KR_INDEX_REPO_MAX)
		return false;
	for (;;) {
		const size_t start = at;

		while (at < len && is_alnum(repo[at], false))
			at++;
		if (at == start)
			return false;
		if (at == len)
			return true;
		const size_t sep = repo[at] == '/'
					   ? 1
					   : separator_len(repo + at, len - at);
		if (sep == 0)
			return false;
		at += sep;
	}
}

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool kr_index_tag_valid(const char *tag, size_t len)
{
	if (len == 0 || len >= KR_INDEX_TAG_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (is_alnum(tag[i], true) || tag[i] == '_')
			continue;
		if (i == 0 || (tag[i] != '.' && tag[i] != '-'))
			return false;
	}
	return true;
}

/* ---- the cache ---- */

static struct kr_digest key_of(const struct kr_index_entry *e)
{
	struct kr_digest key = { .alg = KR_SHA256 };
	char name[KR_INDEX_REPO_MAX + KR_INDEX_TAG_MAX];
	const size_t repo_len = strlen(e->repo), tag_len = strlen(e->tag);

	memcpy(name, e->repo, repo_len);
	name[repo_len] = ':';
	memcpy(name + repo_len + 1, e->tag, tag_len);
	kr_sha256(name, repo_len + 1 + tag_len, key.bytes);
	return key;
}

static void drop(struct kr_index *ix, struct cached *c)
{
	kr_list_del(&c->link);
	(void)kr_digest_map_del(&ix->cache, &c->key);
	free(c);
}

static struct cached *lookup(struct kr_index *ix,
			     const struct kr_index_entry *e)
{
	const struct kr_digest key = key_of(e);
	struct cached *c = kr_digest_map_get(&ix->cache, &key);

	if (c != NULL) {
		kr_list_del(&c->link);
		kr_list_add_tail(&ix->by_use, &c->link);
	}
	return c;
}

/* What was learned has the stamp of the deleted row that it is shown instead
 * of, or none; of two that were learned the second one counts. */
static bool replaces(const struct kr_index_entry *e,
		     const struct kr_index_entry *there)
{
	if (e->learned_ns != 0)
		return !kr_index_later(there->clock, there->node, e->clock,
				       e->node);
	return kr_index_later(e->clock, e->node, there->clock, there->node);
}

/* What was learned is not true any more. */
static void unlearn(struct kr_index *ix, const struct kr_index_entry *e)
{
	struct cached *c = lookup(ix, e);

	if (c != NULL && c->entry.learned_ns != 0)
		drop(ix, c);
}

/* Best effort: what is not here is in the database. */
void kr_index_keep(struct kr_index *ix, const struct kr_index_entry *e)
{
	struct cached *c = lookup(ix, e);

	if (c != NULL) {
		if (replaces(e, &c->entry))
			c->entry = *e;
		return;
	}
	if (kr_digest_map_count(&ix->cache) >= ix->opts.cache_max)
		drop(ix, KR_CONTAINER_OF(kr_list_first(&ix->by_use),
					 struct cached, link));
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return;
	c->key = key_of(e);
	c->entry = *e;
	kr_list_init(&c->link);
	if (kr_digest_map_put(&ix->cache, &c->key, c) != KR_OK) {
		free(c);
		return;
	}
	kr_list_add_tail(&ix->by_use, &c->link);
}

/* ---- requests ---- */

static struct kr_index_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_index_req, db);
}

static void on_post(struct kr_post *p)
{
	struct kr_index_req *r = KR_CONTAINER_OF(p, struct kr_index_req, post);

	r->done(r, r->err);
}

/* What is known already is told from the ring, too. */
static void answer(struct kr_index *ix, struct kr_index_req *r, enum kr_err err)
{
	r->err = err;
	kr_io_post(ix->io, &r->post, on_post);
}

static void on_done(struct kr_db_req *db, enum kr_err err)
{
	req_of(db)->done(req_of(db), err);
}

static void on_changed(struct kr_db_req *db, enum kr_err err)
{
	struct kr_index_req *r = req_of(db);

	if (err == KR_OK)
		kr_index_keep(r->ix, &r->entry);
	r->done(r, err);
}

static void on_untagged(struct kr_db_req *db, enum kr_err err)
{
	struct kr_index_req *r = req_of(db);

	if (err == KR_OK && r->entry.clock == 0)
		unlearn(r->ix, &r->entry);
	else if (err == KR_OK)
		kr_index_keep(r->ix, &r->entry);
	r->done(r, err);
}

static void on_forgot(struct kr_db_req *db, enum kr_err err)
{
	struct kr_index_req *r = req_of(db);

	if (err == KR_OK)
		unlearn(r->ix, &r->entry);
	r->done(r, err);
}

static void on_got(struct kr_db_req *db, enum kr_err err)
{
	struct kr_index_req *r = req_of(db);

	if (err == KR_OK)
		kr_index_keep(r->ix, &r->entry);
	r->done(r, err == KR_OK && r->entry.deleted ? KR_E_NOTFOUND : err);
}

static void begin(struct kr_index *ix, struct kr_index_req *r,
		  kr_index_done_fn *done)
{
	memset(r, 0, sizeof(*r));
	r->ix = ix;
	r->done = done;
	kr_buf_init(&r->names, KR_INDEX_NAMES_MAX);
}

static bool set_name(struct kr_index_req *r, const char *repo, const char *tag)
{
	const size_t repo_len = strlen(repo), tag_len = strlen(tag);

	if (!kr_index_repo_valid(repo, repo_len) ||
	    !kr_index_tag_valid(tag, tag_len))
		return false;
	memcpy(r->entry.repo, repo, repo_len + 1);
	memcpy(r->entry.tag, tag, tag_len + 1);
	return true;
}

/* ---- the operations ---- */

void kr_index_put(struct kr_index *ix, struct kr_index_req *r, const char *repo,
		  const char *tag, const struct kr_digest *digest,
		  kr_index_done_fn *done)
{
	begin(ix, r, done);
	if (!set_name(r, repo, tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	r->entry.digest = *digest;
	r->entry.clock = kr_hlc_next(&ix->clock, ix->opts.wall_ns());
	r->entry.node = ix->opts.node;
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_put, on_changed);
}

void kr_index_untag(struct kr_index *ix, struct kr_index_req *r,
		    const char *repo, const char *tag, kr_index_done_fn *done)
{
	begin(ix, r, done);
	if (!set_name(r, repo, tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	r->entry.deleted = true;
	r->entry.clock = kr_hlc_next(&ix->clock, ix->opts.wall_ns());
	r->entry.node = ix->opts.node;
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_untag, on_untagged);
}

void kr_index_get(struct kr_index *ix, struct kr_index_req *r, const char *repo,
		  const char *tag, kr_index_done_fn *done)
{
	const struct cached *c;

	begin(ix, r, done);
	if (!set_name(r, repo, tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	c = lookup(ix, &r->entry);
	if (c == NULL) {
		kr_db_submit(ix->opts.db, &r->db, kr_index_run_get, on_got);
		return;
	}
	r->entry = c->entry;
	answer(ix, r, c->entry.deleted ? KR_E_NOTFOUND : KR_OK);
}

void kr_index_merge(struct kr_index *ix, struct kr_index_req *r,
		    const struct kr_index_entry *remote, kr_index_done_fn *done)
{
	begin(ix, r, done);
	if (!set_name(r, remote->repo, remote->tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	r->entry = *remote;
	if (!kr_hlc_seen(&ix->clock, remote->clock, ix->opts.wall_ns())) {
		kr_log_warn("index",
			    "an entry of another index is from the "
			    "future; are the clocks right?",
			    KR_STR("repo", remote->repo),
			    KR_STR("tag", remote->tag),
			    KR_U64("node", remote->node));
		answer(ix, r, KR_E_INVALID);
		return;
	}
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_merge, on_changed);
}

void kr_index_learn(struct kr_index *ix, struct kr_index_req *r,
		    const char *repo, const char *tag,
		    const struct kr_digest *digest, uint64_t learned_ns,
		    kr_index_done_fn *done)
{
	kr_assert(learned_ns != 0);
	begin(ix, r, done);
	if (!set_name(r, repo, tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	r->entry.digest = *digest;
	r->entry.learned_ns = learned_ns;
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_learn, on_changed);
}

void kr_index_forget(struct kr_index *ix, struct kr_index_req *r,
		     const char *repo, const char *tag, kr_index_done_fn *done)
{
	begin(ix, r, done);
	if (!set_name(r, repo, tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_forget, on_forgot);
}

static void on_unlearned(struct kr_db_req *db, enum kr_err err)
{
	KR_CONTAINER_OF(db, struct kr_index_unlearn_req, db)->err = err;
}

enum kr_err kr_index_unlearn(struct kr_index *ix,
			     kr_index_is_mirror_fn *is_mirror, void *ctx)
{
	struct kr_index_unlearn_req r = { .is_mirror = is_mirror, .ctx = ctx };

	kr_assert(kr_digest_map_count(&ix->cache) == 0);
	kr_db_submit(ix->opts.db, &r.db, kr_index_run_unlearn, on_unlearned);
	kr_db_drain(ix->opts.db);
	return r.err;
}

static void set_max(struct kr_index_req *r, uint32_t max)
{
	r->max = max == 0 || max > KR_INDEX_LIST_MAX ? KR_INDEX_LIST_MAX : max;
}

void kr_index_list(struct kr_index *ix, struct kr_index_req *r,
		   const char *repo, const char *last, uint32_t max,
		   kr_index_done_fn *done)
{
	const size_t repo_len = strlen(repo), last_len = strlen(last);

	begin(ix, r, done);
	set_max(r, max);
	if (!kr_index_repo_valid(repo, repo_len) ||
	    last_len >= sizeof(r->entry.tag)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	memcpy(r->entry.repo, repo, repo_len + 1);
	memcpy(r->entry.tag, last, last_len + 1);
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_list, on_done);
}

void kr_index_repos(struct kr_index *ix, struct kr_index_req *r,
		    const char *prefix, const char *last, uint32_t max,
		    kr_index_done_fn *done)
{
	const size_t prefix_len = strlen(prefix), last_len = strlen(last);

	begin(ix, r, done);
	set_max(r, max);
	if (prefix_len >= sizeof(r->entry.repo) ||
	    last_len >= sizeof(r->last)) {
		answer(ix, r, KR_E_INVALID);
		return;
	}
	memcpy(r->entry.repo, prefix, prefix_len + 1);
	memcpy(r->last, last, last_len + 1);
	kr_db_submit(ix->opts.db, &r->db, kr_index_run_repos, on_done);
}

/* ---- immutable tags ---- */

bool kr_index_is_immutable(const struct kr_index *ix,
			   const struct kr_index_entry *e)
{
	char name[KR_INDEX_REPO_MAX + KR_INDEX_TAG_MAX];

	(void)snprintf(name, sizeof(name), "%s:%s", e->repo, e->tag);
	for (uint32_t i = 0; i < ix->immutable_count; i++)
		if (kr_pattern_matches(&ix->immutable[i], name))
			return true;
	return false;
}

static enum kr_err compile_rules(struct kr_index *ix)
{
	const struct kr_index_opts *o = &ix->opts;

	for (uint32_t i = 0; i < o->immutable_count; i++) {
		char why[KR_PATTERN_ERROR_MAX] = "";
		const enum kr_err err =
			kr_pattern_init(&ix->immutable[i], "tags.immutable", i,
					o->immutable[i], why);

		if (err != KR_OK) {
			kr_log_error("index", "rule cannot be used",
				     KR_ERR("err", err), KR_STR("text", why));
			return err;
		}
		ix->immutable_count++;
	}
	return KR_OK;
}

/* ---- life ---- */

static void on_newest(struct kr_index_req *r, enum kr_err err)
{
	r->err = err;
}

enum kr_err kr_index_open(const struct kr_index_opts *opts,
			  struct kr_index **ret)
{
	struct kr_index_req r;
	struct kr_index *ix;
	enum kr_err err = kr_db_schema(opts->db, kr_index_tag_schema);

	kr_assert(opts->node != 0 &&
		  opts->copy_kind_count <= KR_INDEX_PEERS_MAX &&
		  opts->immutable_count <= KR_INDEX_IMMUTABLE_MAX);
	if (err == KR_OK)
		err = kr_db_schema(opts->db, kr_index_learned_schema);
	if (err == KR_OK)
		err = kr_db_schema(opts->db, kr_index_object_schema);
	if (err != KR_OK)
		return err;
	ix = calloc(1, sizeof(*ix));
	if (ix == NULL)
		return KR_E_NOMEM;
	ix->opts = *opts;
	ix->io = kr_db_io(opts->db);
	if (ix->opts.cache_max == 0)
		ix->opts.cache_max = CACHE_DEFAULT;
	if (ix->opts.wall_ns == NULL)
		ix->opts.wall_ns = kr_clock_wall_ns;
	kr_digest_map_open(&ix->cache, kr_alloc_heap());
	kr_list_init(&ix->by_use);

	err = compile_rules(ix);
	if (err == KR_OK) {
		begin(ix, &r, on_newest);
		kr_db_submit(opts->db, &r.db, kr_index_run_newest, on_done);
		kr_db_drain(opts->db);
		err = r.err;
	}
	if (err != KR_OK) {
		kr_index_close(ix);
		return err;
	}
	ix->clock.last = r.entry.clock;
	*ret = ix;
	return KR_OK;
}

void kr_index_close(struct kr_index *ix)
{
	struct kr_list *it;

	if (ix == NULL)
		return;
	while ((it = kr_list_first(&ix->by_use)) != NULL)
		drop(ix, KR_CONTAINER_OF(it, struct cached, link));
	kr_digest_map_close(&ix->cache);
	for (uint32_t i = 0; i < ix->immutable_count; i++)
		kr_pattern_fini(&ix->immutable[i]);
	free(ix);
}
