#include "control/db.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

struct kr_db {
	struct kr_io *io;
	sqlite3 *sql;
	char *path;
	struct kr_job job;
	struct kr_list waiting; /* reactor's */
	struct kr_list batch;   /* the job's, while it runs */
	uint32_t waiting_count;
	bool running;
	struct kr_list refused; /* beyond the bound: to be told */
	struct kr_post refuse;
	bool refusing;
};

enum kr_err kr_db_err(int sqlite_rc)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return KR_OK;
	case SQLITE_FULL:
		return KR_E_NOSPC;
	case SQLITE_NOMEM:
		return KR_E_NOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		return KR_E_CORRUPT;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return KR_E_DENIED;
	case SQLITE_CANTOPEN:
		return KR_E_NOTFOUND;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return KR_E_BUSY;
	case SQLITE_TOOBIG:
		return KR_E_TOOBIG;
	default:
		return KR_E_IO;
	}
}

static enum kr_err exec(struct kr_db *db, const char *statement)
{
	const int rc = sqlite3_exec(db->sql, statement, NULL, NULL, NULL);
	const enum kr_err err = kr_db_err(rc);

	if (err != KR_OK)
		kr_log_error("db", "SQLite refused", KR_STR("file", db->path),
			     KR_STR("why", sqlite3_errmsg(db->sql)),
			     KR_ERR("error", err));
	return err;
}

/* ---- on the pool ---- */

/* What one request does is undone as a whole where it fails.  An error: it
 * could not be, so all of the batch must. */
static enum kr_err run_one(struct kr_db *db, struct kr_db_req *r)
{
	enum kr_err err = exec(db, "SAVEPOINT one");

	if (err != KR_OK)
		return err;
	r->err = r->run(r, db->sql);
	/* A full disk may have rolled all of it back. */
	if (sqlite3_get_autocommit(db->sql) != 0)
		return r->err != KR_OK ? r->err : KR_E_IO;
	if (r->err != KR_OK)
		err = exec(db, "ROLLBACK TO one");
	return err == KR_OK ? exec(db, "RELEASE one") : err;
}

static enum kr_err run_all(struct kr_db *db)
{
	enum kr_err err = KR_OK;

	kr_list_for_each (it, &db->batch) {
		err = run_one(db, KR_CONTAINER_OF(it, struct kr_db_req, link));
		if (err != KR_OK)
			break;
	}
	return err;
}

static void blame(struct kr_db_req *r, enum kr_err err)
{
	if (r->err == KR_OK)
		r->err = err;
}

static void run_batch(struct kr_job *j)
{
	struct kr_db *db = KR_CONTAINER_OF(j, struct kr_db, job);
	enum kr_err err = exec(db, "BEGIN IMMEDIATE");

	if (err == KR_OK)
		err = run_all(db);
	if (err == KR_OK)
		err = exec(db, "COMMIT");
	if (err == KR_OK)
		return;
	/* Nothing of it happened. */
	if (sqlite3_get_autocommit(db->sql) == 0)
		(void)exec(db, "ROLLBACK");
	kr_list_for_each (it, &db->batch)
		blame(KR_CONTAINER_OF(it, struct kr_db_req, link), err);
}

/* ---- on the reactor ---- */

static void start(struct kr_db *db);

static void deliver(struct kr_list *list)
{
	struct kr_list *it;

	while ((it = kr_list_first(list)) != NULL) {
		struct kr_db_req *r =
			KR_CONTAINER_OF(it, struct kr_db_req, link);

		kr_list_del(it);
		r->done(r, r->err);
	}
}

static void batch_done(struct kr_job *j)
{
	struct kr_db *db = KR_CONTAINER_OF(j, struct kr_db, job);
	struct kr_list done;

	kr_list_init(&done);
	while (!kr_list_empty(&db->batch)) {
		struct kr_list *it = kr_list_first(&db->batch);
		kr_list_del(it);
		kr_list_add_tail(&done, it);
	}
	db->running = false;
	start(db); /* the next batch runs while these are told */
	deliver(&done);
}

static void start(struct kr_db *db)
{
	struct kr_list *it;
	uint32_t count = 0;

	if (db->running || db->waiting_count == 0)
		return;
	while (count < KR_DB_BATCH_MAX &&
	       (it = kr_list_first(&db->waiting)) != NULL) {
		kr_list_del(it);
		kr_list_add_tail(&db->batch, it);
		count++;
	}
	db->waiting_count -= count;
	db->running = true;
	kr_io_work(db->io, &db->job, run_batch, batch_done);
}

static void on_refuse(struct kr_post *p)
{
	struct kr_db *db = KR_CONTAINER_OF(p, struct kr_db, refuse);

	db->refusing = false;
	deliver(&db->refused);
}

void kr_db_submit(struct kr_db *db, struct kr_db_req *r, kr_db_run_fn *run,
		  kr_db_done_fn *done)
{
	*r = (struct kr_db_req){ .db = db, .run = run, .done = done };
	kr_list_init(&r->link);
	if (db->waiting_count >= KR_DB_WAITING_MAX) {
		r->err = KR_E_BUSY;
		kr_list_add_tail(&db->refused, &r->link);
		if (!db->refusing)
			kr_io_post(db->io, &db->refuse, on_refuse);
		db->refusing = true;
		return;
	}
	kr_list_add_tail(&db->waiting, &r->link);
	db->waiting_count++;
	start(db);
}

/* ---- life ---- */

static enum kr_err open_file(struct kr_db *db, const char *path)
{
	const int rc =
		sqlite3_open_v2(path, &db->sql,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					SQLITE_OPEN_NOMUTEX,
				NULL);
	enum kr_err err = kr_db_err(rc);

	if (err != KR_OK) {
		kr_log_error("db",
			     "cannot open the database; does its "
			     "directory exist?",
			     KR_STR("file", path), KR_ERR("error", err));
		return err;
	}
	(void)sqlite3_busy_timeout(db->sql, 5000);
	err = exec(db, "PRAGMA journal_mode=WAL");
	if (err == KR_OK)
		err = exec(db, "PRAGMA synchronous=FULL");
	if (err == KR_OK)
		err = exec(db, "PRAGMA cache_size=-8192");
	return err;
}

static void release(struct kr_db *db)
{
	/* SQLITE_BUSY: a statement was not finalized. */
	const int rc = sqlite3_close(db->sql);

	kr_assert(rc == SQLITE_OK);
	free(db->path);
	free(db);
}

enum kr_err kr_db_open(struct kr_io *io, const char *path, const char *schema,
		       struct kr_db **ret)
{
	struct kr_db *db = calloc(1, sizeof(*db));
	enum kr_err err;

	if (db == NULL)
		return KR_E_NOMEM;
	db->io = io;
	kr_list_init(&db->waiting);
	kr_list_init(&db->batch);
	kr_list_init(&db->refused);
	db->path = malloc(strlen(path) + 1);
	if (db->path == NULL) {
		release(db);
		return KR_E_NOMEM;
	}
	memcpy(db->path, path, strlen(path) + 1);
	err = open_file(db, path);
	if (err == KR_OK)
		err = kr_db_schema(db, schema);
	if (err != KR_OK) {
		release(db);
		return err;
	}
	*ret = db;
	return KR_OK;
}

enum kr_err kr_db_schema(struct kr_db *db, const char *schema)
{
	kr_assert(!db->running);
	return exec(db, schema);
}

struct kr_io *kr_db_io(const struct kr_db *db)
{
	return db->io;
}

void kr_db_drain(struct kr_db *db)
{
	while (db->running || db->refusing)
		kr_io_turn(db->io);
}

void kr_db_close(struct kr_db *db)
{
	if (db == NULL)
		return;
	kr_db_drain(db);
	release(db);
}
