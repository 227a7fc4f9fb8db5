/* Tags that another registry has (index.h, "learned") in the database: runs on
 * the pool. */
#include <string.h>

#include "control/index_internal.h"

const char kr_index_learned_schema[] =
	"CREATE TABLE IF NOT EXISTS learned ("
	" repo TEXT NOT NULL COLLATE BINARY,"
	" tag TEXT NOT NULL COLLATE BINARY,"
	" digest TEXT NOT NULL,"
	" learned_ns INTEGER NOT NULL,"
	" PRIMARY KEY (repo, tag)) WITHOUT ROWID;";

static struct kr_index_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_index_req, db);
}

static void bind_name(sqlite3_stmt *st, const struct kr_index_entry *e)
{
	(void)sqlite3_bind_text(st, 1, e->repo, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, e->tag, -1, SQLITE_STATIC);
}

static enum kr_err read_row(sqlite3_stmt *st, struct kr_index_entry *e)
{
	const char *text = (const char *)sqlite3_column_text(st, 0);

	if (text == NULL)
		return KR_E_NOMEM;
	if (kr_digest_parse(text, strlen(text), &e->digest) != KR_OK)
		return KR_E_CORRUPT;
	e->deleted = false;
	e->learned_ns = (uint64_t)sqlite3_column_int64(st, 1);
	return KR_OK;
}

enum kr_err kr_index_learned_select(sqlite3 *sql, struct kr_index_entry *e)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err =
		kr_index_prepare(sql,
				 "SELECT digest, learned_ns FROM learned"
				 " WHERE repo = ?1 AND tag = ?2",
				 &st);

	if (err != KR_OK)
		return err;
	bind_name(st, e);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		err = read_row(st, e);
	else
		err = rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
	(void)sqlite3_finalize(st);
	return err;
}

enum kr_err kr_index_learned_delete(sqlite3 *sql,
				    const struct kr_index_entry *e,
				    bool *ret_was_there)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql, "DELETE FROM learned WHERE repo = ?1 AND tag = ?2", &st);

	if (err != KR_OK)
		return err;
	bind_name(st, e);
	rc = sqlite3_step(st);
	*ret_was_there = sqlite3_changes(sql) > 0;
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

static enum kr_err write_row(sqlite3 *sql, const struct kr_index_entry *e)
{
	char text[KR_DIGEST_TEXT_MAX];
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql, "INSERT OR REPLACE INTO learned VALUES (?1, ?2, ?3, ?4)",
		&st);

	if (err != KR_OK)
		return err;
	bind_name(st, e);
	(void)sqlite3_bind_text(st, 3, kr_digest_print(&e->digest, text), -1,
				SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 4, (sqlite3_int64)e->learned_ns);
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

/* A tag that was put stays what it is; one that was deleted keeps its stamp,
 * so that what is remembered of it is not older than the row. */
enum kr_err kr_index_run_learn(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);
	struct kr_index_entry there = r->entry;
	const enum kr_err err = kr_index_tag_select(sql, &there);

	if (err != KR_OK && err != KR_E_NOTFOUND)
		return err;
	if (err == KR_OK && !there.deleted) {
		r->entry = there;
		r->entry.learned_ns = 0;
		return KR_OK;
	}
	if (err == KR_OK) {
		r->entry.clock = there.clock;
		r->entry.node = there.node;
	}
	r->changed = true;
	return write_row(sql, &r->entry);
}

enum kr_err kr_index_run_forget(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_req *r = req_of(db);

	return kr_index_learned_delete(sql, &r->entry, &r->changed);
}

/* ---- at start ---- */

static enum kr_err delete_repo(sqlite3 *sql, const char *repo)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql, "DELETE FROM learned WHERE repo = ?1", &st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, repo, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

/* The first repository after @repo, into it; KR_E_NOTFOUND: none.  @st is
 * ready to be used again. */
static enum kr_err next_repo(sqlite3_stmt *st, char repo[KR_INDEX_REPO_MAX])
{
	const char *text = NULL;
	enum kr_err err;
	int rc;

	(void)sqlite3_bind_text(st, 1, repo, -1, SQLITE_TRANSIENT);
	rc = sqlite3_step(st);
	err = kr_db_err(rc);
	if (rc == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(st, 0);
	if (err == KR_OK && text == NULL)
		err = KR_E_NOTFOUND; /* min() of nothing */
	if (err == KR_OK && strlen(text) >= KR_INDEX_REPO_MAX)
		err = KR_E_CORRUPT;
	if (err == KR_OK)
		memcpy(repo, text, strlen(text) + 1);
	(void)sqlite3_reset(st);
	return err;
}

enum kr_err kr_index_run_unlearn(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_unlearn_req *r =
		KR_CONTAINER_OF(db, struct kr_index_unlearn_req, db);
	char repo[KR_INDEX_REPO_MAX] = "";
	sqlite3_stmt *st;
	enum kr_err err = kr_index_prepare(
		sql, "SELECT min(repo) FROM learned WHERE repo > ?1", &st);

	if (err != KR_OK)
		return err;
	while (err == KR_OK && (err = next_repo(st, repo)) == KR_OK)
		if (!r->is_mirror(r->ctx, repo))
			err = delete_repo(sql, repo);
	(void)sqlite3_finalize(st);
	return err == KR_E_NOTFOUND ? KR_OK : err;
}
