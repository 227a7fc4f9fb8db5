/* Tags in the database: runs on the pool. */
#include <string.h>

#include "control/index_internal.h"
#include "control/index_msg.h"
#include "control/queue.h"
#include "core/clock.h"

/* A tag that was deleted stays as a row without a digest: else a copy of an
 * older put would bring it back. */
const char kr_index_tag_schema[] = "CREATE TABLE IF NOT EXISTS tag ("
				   " repo TEXT NOT NULL COLLATE BINARY,"
				   " tag TEXT NOT NULL COLLATE BINARY,"
				   " digest TEXT NOT NULL,"
				   " clock INTEGER NOT NULL,"
				   " node INTEGER NOT NULL,"
				   " PRIMARY KEY (repo, tag)) WITHOUT ROWID;";

static struct kr_index_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_index_req, db);
}

enum kr_err kr_index_prepare(sqlite3 *sql, const char *text, sqlite3_stmt **ret)
{
	return kr_db_err(sqlite3_prepare_v2(sql, text, -1, ret, NULL));
}

static enum kr_err read_digest(sqlite3_stmt *st, struct kr_index_entry *e)
{
	const char *text = (const char *)sqlite3_column_text(st, 0);

	if (text == NULL)
		return KR_E_NOMEM;
	e->deleted = text[0] == '\0';
	memset(&e->digest, 0, sizeof(e->digest));
	if (e->deleted)
		return KR_OK;
	return kr_digest_parse(text, strlen(text), &e->digest) == KR_OK
		       ? KR_OK
		       : KR_E_CORRUPT;
}

enum kr_err kr_index_tag_select(sqlite3 *sql, struct kr_index_entry *e)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(sql,
					   "SELECT digest, clock, node FROM tag"
					   " WHERE repo = ?1 AND tag = ?2",
					   &st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, e->repo, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, e->tag, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		e->clock = (uint64_t)sqlite3_column_int64(st, 1);
		e->node = (uint64_t)sqlite3_column_int64(st, 2);
		err = read_digest(st, e);
	} else {
		err = rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
	}
	(void)sqlite3_finalize(st);
	return err;
}

static enum kr_err write_row(sqlite3 *sql, const struct kr_index_entry *e)
{
	char text[KR_DIGEST_TEXT_MAX] = "";
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql, "INSERT OR REPLACE INTO tag VALUES (?1, ?2, ?3, ?4, ?5)",
		&st);

	if (err != KR_OK)
		return err;
	if (!e->deleted)
		kr_digest_print(&e->digest, text);
	(void)sqlite3_bind_text(st, 1, e->repo, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, e->tag, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 3, text, -1, SQLITE_TRANSIENT);
	(void)sqlite3_bind_int64(st, 4, (sqlite3_int64)e->clock);
	(void)sqlite3_bind_int64(st, 5, (sqlite3_int64)e->node);
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

static enum kr_err queue_copies(const struct kr_index_opts *o, sqlite3 *sql,
				const struct kr_index_entry *e)
{
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	char key[KR_INDEX_REPO_MAX + KR_INDEX_TAG_MAX];
	struct kr_mp_writer w;
	enum kr_err err = KR_OK;
	const size_t repo_len = strlen(e->repo);

	memcpy(key, e->repo, repo_len);
	key[repo_len] = ':';
	memcpy(key + repo_len + 1, e->tag, strlen(e->tag) + 1);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_entry_encode(&w, e);
	kr_assert(!w.overflow);
	for (uint32_t i = 0; err == KR_OK && i < o->copy_kind_count; i++)
		err = kr_queue_add_in(sql, o->copy_kinds[i], key,
				      (struct kr_bytes){ buf, w.len },
				      kr_clock_wall_ns());
	return err;
}

/* Write @e where it is later than what is there; @rules is NULL for a copy. */
static enum kr_err write_later(sqlite3 *sql, const struct kr_index *rules,
			       struct kr_index_entry *e, bool *ret_won)
{
	struct kr_index_entry there = *e;
	bool was_learned;
	enum kr_err err = kr_index_tag_select(sql, &there);

	*ret_won = false;
	if (err == KR_OK && rules != NULL && !there.deleted &&
	    !kr_digest_equal(&there.digest, &e->digest) &&
	    kr_index_is_immutable(rules, e))
		return KR_E_EXISTS;
	if (err == KR_OK &&
	    !kr_index_later(e->clock, e->node, there.clock, there.node)) {
		*e = there;
		return KR_OK;
	}
	if (err == KR_OK || err == KR_E_NOTFOUND)
		err = write_row(sql, e);
	if (err == KR_OK && e->deleted)
		err = kr_index_learned_delete(sql, e, &was_learned);
	*ret_won = err == KR_OK;
	return err;
}

enum kr_err kr_index_tag_write(sqlite3 *sql, const struct kr_index *ix,
			       struct kr_index_entry *e, bool *ret_won)
{
	enum kr_err err = write_later(sql, ix, e, ret_won);

	if (err == KR_OK && *ret_won)
		err = queue_copies(&ix->opts, sql, e);
	return err;
}

/* A put was stamped before others that may have been merged since; where one
 * of them is later, that one stays. */
enum kr_err kr_index_run_put(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);

	return kr_index_tag_write(sql, r->ix, &r->entry, &r->changed);
}

/* What was not put may have been learned. */
static enum kr_err untag_learned(sqlite3 *sql, struct kr_index_entry *e)
{
	bool was_there;
	const enum kr_err err = kr_index_learned_delete(sql, e, &was_there);

	e->clock = e->node = 0; /* nothing was written */
	return err == KR_OK && !was_there ? KR_E_NOTFOUND : err;
}

enum kr_err kr_index_run_untag(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);
	struct kr_index_entry there = r->entry;
	const enum kr_err err = kr_index_tag_select(sql, &there);

	if (err == KR_E_NOTFOUND || (err == KR_OK && there.deleted))
		return untag_learned(sql, &r->entry);
	if (err != KR_OK)
		return err;
	return kr_index_tag_write(sql, r->ix, &r->entry, &r->changed);
}

enum kr_err kr_index_run_merge(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);

	return write_later(sql, NULL, &r->entry, &r->changed);
}

enum kr_err kr_index_run_get(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_entry *e = &req_of(db)->entry;
	const enum kr_err err = kr_index_tag_select(sql, e);

	if (err != KR_E_NOTFOUND && (err != KR_OK || !e->deleted))
		return err;
	const enum kr_err learned = kr_index_learned_select(sql, e);
	return learned == KR_E_NOTFOUND ? err : learned;
}

/* ---- lists ---- */

static enum kr_err add_name(struct kr_index_req *r, const char *name)
{
	enum kr_err err;

	if (name == NULL)
		return KR_E_NOMEM;
	err = kr_buf_append(&r->names, name, strlen(name) + 1);
	r->name_count += err == KR_OK;
	return err;
}

/* Collect a list of names from @st, which asks for one more than max. */
static enum kr_err collect(struct kr_index_req *r, sqlite3_stmt *st)
{
	enum kr_err err = KR_OK;
	int rc = SQLITE_DONE;

	while (err == KR_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (r->name_count == r->max) {
			r->more = true;
			break;
		}
		err = add_name(r, (const char *)sqlite3_column_text(st, 0));
	}
	(void)sqlite3_finalize(st);
	return err != KR_OK ? err : kr_db_err(rc);
}

/* Nothing but what was deleted makes no repository. */
static enum kr_err repo_exists(sqlite3 *sql, const char *repo)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT 1 WHERE EXISTS (SELECT 1 FROM tag"
		" WHERE repo = ?1 AND digest <> '') OR EXISTS"
		" (SELECT 1 FROM learned WHERE repo = ?1) OR EXISTS"
		" (SELECT 1 FROM object WHERE repo = ?1 AND kind = 'm'"
		" AND deleted = 0)",
		&st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, repo, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
}

/* entry.repo is the repository, entry.tag what comes before the first. */
enum kr_err kr_index_run_list(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);
	sqlite3_stmt *st;
	enum kr_err err = repo_exists(sql, r->entry.repo);

	if (err == KR_OK)
		err = kr_index_prepare(
			sql,
			"SELECT tag FROM tag WHERE repo = ?1 AND tag > ?2"
			" AND digest <> '' UNION"
			" SELECT tag FROM learned WHERE repo = ?1 AND tag > ?2"
			" ORDER BY tag LIMIT ?3",
			&st);
	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, r->entry.repo, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, r->entry.tag, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 3, (sqlite3_int64)r->max + 1);
	return collect(r, st);
}

/* The first repository after @last in any table: three seeks, however many
 * rows a repository has. */
static const char next_repo[] =
	"SELECT min(repo) FROM ("
	" SELECT * FROM (SELECT repo FROM tag WHERE repo > ?1 AND repo >= ?2"
	"  AND digest <> '' ORDER BY repo LIMIT 1)"
	" UNION ALL"
	" SELECT * FROM (SELECT repo FROM learned WHERE repo > ?1"
	"  AND repo >= ?2 ORDER BY repo LIMIT 1)"
	" UNION ALL"
	" SELECT * FROM (SELECT repo FROM object WHERE repo > ?1 AND repo >= ?2"
	"  AND kind = 'm' AND deleted = 0 ORDER BY repo LIMIT 1))"
	" WHERE substr(repo, 1, length(?2)) = ?2";

/* r->last is what comes before the first; entry.repo the prefix. */
enum kr_err kr_index_run_repos(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);
	char last[KR_INDEX_REPO_MAX];
	sqlite3_stmt *st;
	int rc = SQLITE_ROW;
	enum kr_err err = kr_index_prepare(sql, next_repo, &st);

	if (err != KR_OK)
		return err;
	memcpy(last, r->last, sizeof(last));
	while (err == KR_OK) {
		(void)sqlite3_reset(st);
		(void)sqlite3_bind_text(st, 1, last, -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(st, 2, r->entry.repo, -1,
					SQLITE_STATIC);
		rc = sqlite3_step(st);
		const char *name =
			rc == SQLITE_ROW
				? (const char *)sqlite3_column_text(st, 0)
				: NULL;
		if (name == NULL)
			break; /* min() of nothing */
		if (r->name_count == r->max) {
			r->more = true;
			break;
		}
		if (strlen(name) >= sizeof(last))
			err = KR_E_CORRUPT;
		else
			memcpy(last, name, strlen(name) + 1);
		if (err == KR_OK)
			err = add_name(r, last);
	}
	(void)sqlite3_finalize(st);
	return err != KR_OK ? err : kr_db_err(rc);
}

/* The clock goes on where the newest entry left it. */
enum kr_err kr_index_run_newest(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);
	sqlite3_stmt *st;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT max(coalesce((SELECT max(clock) FROM tag), 0),"
		" coalesce((SELECT max(clock) FROM object), 0))",
		&st);

	if (err != KR_OK)
		return err;
	const int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r->entry.clock = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}
