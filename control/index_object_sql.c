#include "control/index_object_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/index_internal.h"
#include "control/index_msg.h"
#include "control/index_object.h"
#include "control/queue.h"
#include "core/clock.h"

/* kind: 'm', 'b'.  Texts are "" where there is nothing. */
const char kr_index_object_schema[] =
	"CREATE TABLE IF NOT EXISTS object ("
	" repo TEXT NOT NULL COLLATE BINARY,"
	" kind TEXT NOT NULL,"
	" digest TEXT NOT NULL,"
	" deleted INTEGER NOT NULL,"
	" clock INTEGER NOT NULL,"
	" node INTEGER NOT NULL,"
	" subject TEXT NOT NULL,"
	" artifact_type TEXT NOT NULL,"
	" refs BLOB NOT NULL,"
	" descriptor BLOB NOT NULL,"
	" PRIMARY KEY (repo, kind, digest));"
	"CREATE INDEX IF NOT EXISTS object_subject"
	" ON object (repo, subject, digest)"
	" WHERE subject <> '' AND deleted = 0;";

static struct kr_index_object_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_index_object_req, db);
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	(void)sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_blob(sqlite3_stmt *st, int at, struct kr_bytes b)
{
	if (b.len == 0)
		(void)sqlite3_bind_zeroblob(st, at, 0);
	else
		(void)sqlite3_bind_blob64(st, at, b.ptr, b.len, SQLITE_STATIC);
}

static const char *kind_text(enum kr_index_kind kind)
{
	return kind == KR_INDEX_MANIFEST ? "m" : "b";
}

/* ?1 repo, ?2 kind, ?3 digest */
static void bind_name(sqlite3_stmt *st, const struct kr_index_object *o)
{
	char text[KR_DIGEST_TEXT_MAX];

	bind_text(st, 1, o->repo);
	bind_text(st, 2, kind_text(o->kind));
	bind_text(st, 3, kr_digest_print(&o->digest, text));
}

/* Run a statement that gives no rows. */
static enum kr_err step_done(sqlite3_stmt *st)
{
	const int rc = sqlite3_step(st);

	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

/* ---- rows ---- */

/* Fill in deleted, clock and node of @o. KR_E_NOTFOUND. */
static enum kr_err select_state(sqlite3 *sql, struct kr_index_object *o)
{
	sqlite3_stmt *st;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT deleted, clock, node FROM object"
		" WHERE repo = ?1 AND kind = ?2 AND digest = ?3",
		&st);
	int rc;

	if (err != KR_OK)
		return err;
	bind_name(st, o);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		o->deleted = sqlite3_column_int(st, 0) != 0;
		o->clock = (uint64_t)sqlite3_column_int64(st, 1);
		o->node = (uint64_t)sqlite3_column_int64(st, 2);
	} else {
		err = rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
	}
	(void)sqlite3_finalize(st);
	return err;
}

/* A deleted row keeps its name only. */
static enum kr_err write_row(sqlite3 *sql, const struct kr_index_object *o)
{
	const struct kr_bytes nothing = { NULL, 0 };
	char subject[KR_DIGEST_TEXT_MAX] = "";
	sqlite3_stmt *st;
	enum kr_err err = kr_index_prepare(
		sql,
		"INSERT OR REPLACE INTO object"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		&st);

	if (err != KR_OK)
		return err;
	if (o->has_subject && !o->deleted)
		kr_digest_print(&o->subject, subject);
	bind_name(st, o);
	(void)sqlite3_bind_int(st, 4, o->deleted);
	(void)sqlite3_bind_int64(st, 5, (sqlite3_int64)o->clock);
	(void)sqlite3_bind_int64(st, 6, (sqlite3_int64)o->node);
	bind_text(st, 7, subject);
	bind_text(st, 8, o->deleted ? "" : o->artifact_type);
	bind_blob(st, 9, o->deleted ? nothing : o->refs);
	bind_blob(st, 10, o->deleted ? nothing : o->descriptor);
	return step_done(st);
}

/* A copy is named here and read when it is sent: rows are large. */
static enum kr_err queue_copies(sqlite3 *sql, const struct kr_index_opts *o,
				const struct kr_index_object *obj)
{
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	char key[KR_INDEX_REPO_MAX + KR_DIGEST_TEXT_MAX + 8];
	char text[KR_DIGEST_TEXT_MAX];
	struct kr_mp_writer w;
	enum kr_err err = KR_OK;

	(void)snprintf(key, sizeof(key), "%c%s%s@%s", KR_INDEX_KEY_MARK,
		       kind_text(obj->kind), obj->repo,
		       kr_digest_print(&obj->digest, text));
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_object_name_encode(&w, obj->kind, obj->repo, &obj->digest,
					false);
	kr_assert(!w.overflow);
	for (uint32_t i = 0; err == KR_OK && i < o->copy_kind_count; i++)
		err = kr_queue_add_in(sql, o->copy_kinds[i], key,
				      (struct kr_bytes){ buf, w.len },
				      kr_clock_wall_ns());
	return err;
}

/* Write @o unless a later one is there. */
static enum kr_err write_later(sqlite3 *sql, const struct kr_index_object *o,
			       bool *ret_won)
{
	struct kr_index_object there = *o;
	enum kr_err err = select_state(sql, &there);

	*ret_won = false;
	if (err == KR_OK &&
	    !kr_index_later(o->clock, o->node, there.clock, there.node))
		return KR_OK;
	if (err == KR_OK || err == KR_E_NOTFOUND)
		err = write_row(sql, o);
	*ret_won = err == KR_OK;
	return err;
}

static enum kr_err write_own(struct kr_index_object_req *r, sqlite3 *sql)
{
	bool won;
	enum kr_err err = write_later(sql, &r->obj, &won);

	if (err == KR_OK && won)
		err = queue_copies(sql, &r->ix->opts, &r->obj);
	return err;
}

/* ---- tags of it ---- */

static enum kr_err add_changed(struct kr_index_object_req *r,
			       const struct kr_index_entry *e)
{
	struct kr_index_entry *list =
		realloc(r->changed_tags,
			(r->changed_count + 1) * sizeof(*r->changed_tags));

	if (list == NULL)
		return KR_E_NOMEM;
	r->changed_tags = list;
	list[r->changed_count++] = *e;
	return KR_OK;
}

static enum kr_err write_tag(struct kr_index_object_req *r, sqlite3 *sql,
			     const char *tag)
{
	struct kr_index_entry e = {
		.clock = r->obj.clock,
		.node = r->obj.node,
		.deleted = r->obj.deleted,
	};
	bool won;

	memcpy(e.repo, r->obj.repo, sizeof(e.repo));
	(void)snprintf(e.tag, sizeof(e.tag), "%s", tag);
	if (!e.deleted)
		e.digest = r->obj.digest;
	const enum kr_err err = kr_index_tag_write(sql, r->ix, &e, &won);
	return err == KR_OK ? add_changed(r, &e) : err;
}

/* Names of tags that point to the object, each with its NUL. */
static enum kr_err collect_tags(struct kr_index_object_req *r, sqlite3 *sql,
				struct kr_buf *names)
{
	char text[KR_DIGEST_TEXT_MAX];
	sqlite3_stmt *st;
	int rc = SQLITE_DONE;
	enum kr_err err = kr_index_prepare(
		sql, "SELECT tag FROM tag WHERE repo = ?1 AND digest = ?2",
		&st);

	if (err != KR_OK)
		return err;
	bind_text(st, 1, r->obj.repo);
	bind_text(st, 2, kr_digest_print(&r->obj.digest, text));
	while (err == KR_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *tag = (const char *)sqlite3_column_text(st, 0);

		err = tag == NULL ? KR_E_NOMEM
				  : kr_buf_append(names, tag, strlen(tag) + 1);
	}
	(void)sqlite3_finalize(st);
	return err != KR_OK ? err : kr_db_err(rc);
}

static enum kr_err write_tags(struct kr_index_object_req *r, sqlite3 *sql,
			      const char *names, size_t len)
{
	enum kr_err err = KR_OK;

	for (size_t at = 0; err == KR_OK && at < len;
	     at += strlen(names + at) + 1)
		err = write_tag(r, sql, names + at);
	return err;
}

/* ---- put, delete ---- */

enum kr_err kr_index_run_object_put(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_object_req *r = req_of(db);
	enum kr_err err = write_own(r, sql);
	const char *tag = r->tags;

	for (uint32_t i = 0; err == KR_OK && i < r->tag_count; i++) {
		err = write_tag(r, sql, tag);
		tag += strlen(tag) + 1;
	}
	return err;
}

/* KR_OK: a manifest that is there refers to @o.  KR_E_NOTFOUND: none.  Looks
 * at all manifests of the repository; only what is deleted costs that. */
static enum kr_err find_referring(sqlite3 *sql, const struct kr_index_object *o)
{
	uint8_t ref[KR_INDEX_REF_MAX];
	char text[KR_DIGEST_TEXT_MAX];
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT 1 FROM object WHERE repo = ?1 AND kind = 'm'"
		" AND deleted = 0 AND digest <> ?2"
		" AND instr(refs, ?3) > 0 LIMIT 1",
		&st);

	if (err != KR_OK)
		return err;
	bind_text(st, 1, o->repo);
	bind_text(st, 2, kr_digest_print(&o->digest, text));
	bind_blob(st, 3,
		  (struct kr_bytes){ ref, kr_index_ref_pack(&o->digest, ref) });
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
}

enum kr_err kr_index_run_object_delete(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_object_req *r = req_of(db);
	struct kr_index_object there = r->obj;
	struct kr_buf tags;
	enum kr_err err = find_referring(sql, &r->obj);
	bool known;

	if (err != KR_E_NOTFOUND)
		return err == KR_OK ? KR_E_DENIED : err;
	err = select_state(sql, &there);
	if (err != KR_OK && err != KR_E_NOTFOUND)
		return err;
	known = err == KR_OK && !there.deleted;
	const bool deleted = err == KR_OK && there.deleted;
	kr_buf_init(&tags, KR_INDEX_NAMES_MAX);
	err = r->obj.kind == KR_INDEX_MANIFEST ? collect_tags(r, sql, &tags)
					       : KR_OK;
	known = known || tags.len > 0;
	if (err == KR_OK && !known && (deleted || !r->force))
		err = KR_E_NOTFOUND;
	if (err == KR_OK)
		err = write_own(r, sql);
	if (err == KR_OK)
		err = write_tags(r, sql, (const char *)tags.ptr, tags.len);
	kr_buf_fini(&tags);
	return err;
}

enum kr_err kr_index_run_object_merge(struct kr_db_req *db, sqlite3 *sql)
{
	bool won;

	return write_later(sql, &req_of(db)->obj, &won);
}

/* ---- find, read ---- */

/* Does a tag, written by who knows nothing of objects or learned of another
 * registry, name the manifest? */
static enum kr_err find_tag(sqlite3 *sql, const struct kr_index_object *o)
{
	char text[KR_DIGEST_TEXT_MAX];
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT 1 FROM tag WHERE repo = ?1 AND digest = ?2 UNION ALL"
		" SELECT 1 FROM learned WHERE repo = ?1 AND digest = ?2"
		" LIMIT 1",
		&st);

	if (err != KR_OK)
		return err;
	bind_text(st, 1, o->repo);
	bind_text(st, 2, kr_digest_print(&o->digest, text));
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	return rc == SQLITE_DONE ? KR_E_NOTFOUND : kr_db_err(rc);
}

enum kr_err kr_index_run_object_find(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_object_req *r = req_of(db);
	enum kr_err err = select_state(sql, &r->obj);

	if (err != KR_OK || !r->obj.deleted)
		return err;
	err = find_referring(sql, &r->obj);
	if (err == KR_E_NOTFOUND && r->obj.kind == KR_INDEX_MANIFEST)
		err = find_tag(sql, &r->obj);
	r->obj.deleted = err != KR_OK;
	return err == KR_E_NOTFOUND ? KR_OK : err;
}

/* Copy the blobs of columns 2 and 3. */
static enum kr_err read_bytes(struct kr_index_object_req *r, sqlite3_stmt *st)
{
	const void *refs = sqlite3_column_blob(st, 2);
	const size_t refs_len = (size_t)sqlite3_column_bytes(st, 2);
	const void *desc = sqlite3_column_blob(st, 3);
	const size_t desc_len = (size_t)sqlite3_column_bytes(st, 3);

	r->copy = malloc(refs_len + desc_len + 1);
	if (r->copy == NULL)
		return KR_E_NOMEM;
	if (refs_len > 0)
		memcpy(r->copy, refs, refs_len);
	if (desc_len > 0)
		memcpy(r->copy + refs_len, desc, desc_len);
	r->obj.refs = (struct kr_bytes){ r->copy, refs_len };
	r->obj.descriptor = (struct kr_bytes){ r->copy + refs_len, desc_len };
	return KR_OK;
}

static enum kr_err read_rest(struct kr_index_object_req *r, sqlite3_stmt *st)
{
	struct kr_index_object *o = &r->obj;
	const char *subject = (const char *)sqlite3_column_text(st, 0);
	const char *type = (const char *)sqlite3_column_text(st, 1);

	if (subject == NULL || type == NULL)
		return KR_E_NOMEM;
	o->has_subject = subject[0] != '\0';
	if (strlen(type) >= sizeof(o->artifact_type) ||
	    (o->has_subject &&
	     kr_digest_parse(subject, strlen(subject), &o->subject) != KR_OK))
		return KR_E_CORRUPT;
	memcpy(o->artifact_type, type, strlen(type) + 1);
	return read_bytes(r, st);
}

enum kr_err kr_index_run_object_read(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_object_req *r = req_of(db);
	sqlite3_stmt *st;
	int rc;
	enum kr_err err = select_state(sql, &r->obj);

	if (err == KR_OK)
		err = kr_index_prepare(
			sql,
			"SELECT subject, artifact_type, refs, descriptor"
			" FROM object"
			" WHERE repo = ?1 AND kind = ?2 AND digest = ?3",
			&st);
	if (err != KR_OK)
		return err;
	bind_name(st, &r->obj);
	rc = sqlite3_step(st);
	err = rc == SQLITE_ROW ? read_rest(r, st) : kr_db_err(rc);
	(void)sqlite3_finalize(st);
	return err;
}

/* ---- referrers ---- */

/* KR_AGAIN: the page is full. */
static enum kr_err add_referrer(struct kr_index_object_req *r, sqlite3_stmt *st)
{
	const char *digest = (const char *)sqlite3_column_text(st, 0);
	const void *desc = sqlite3_column_blob(st, 1);
	const size_t len = (size_t)sqlite3_column_bytes(st, 1);
	uint8_t head[4];

	if (r->page_count == r->max ||
	    r->page.len + sizeof(head) + len > KR_INDEX_PAGE_MAX)
		return KR_AGAIN;
	if (digest == NULL || desc == NULL)
		return KR_E_NOMEM;
	if (strlen(digest) >= sizeof(r->last))
		return KR_E_CORRUPT;
	kr_put_be32(head, (uint32_t)len);
	enum kr_err err = kr_buf_append(&r->page, head, sizeof(head));
	if (err == KR_OK)
		err = kr_buf_append(&r->page, desc, len);
	if (err != KR_OK)
		return err;
	r->page_count++;
	memcpy(r->last, digest, strlen(digest) + 1);
	return KR_OK;
}

enum kr_err kr_index_run_referrers(struct kr_db_req *db, sqlite3 *sql)
{
	struct kr_index_object_req *r = req_of(db);
	char subject[KR_DIGEST_TEXT_MAX];
	sqlite3_stmt *st;
	int rc = SQLITE_DONE;
	enum kr_err err = kr_index_prepare(
		sql,
		"SELECT digest, descriptor FROM object"
		" WHERE repo = ?1 AND subject = ?2 AND subject <> ''"
		" AND deleted = 0 AND digest > ?3"
		" AND (?4 = '' OR artifact_type = ?4) ORDER BY digest",
		&st);

	if (err != KR_OK)
		return err;
	bind_text(st, 1, r->obj.repo);
	bind_text(st, 2, kr_digest_print(&r->obj.digest, subject));
	bind_text(st, 3, r->last);
	bind_text(st, 4, r->obj.artifact_type);
	while (err == KR_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		err = add_referrer(r, st);
	(void)sqlite3_finalize(st);
	if (err == KR_AGAIN) {
		r->more = true;
		return KR_OK;
	}
	return err != KR_OK ? err : kr_db_err(rc);
}
