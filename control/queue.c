#include "control/queue.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/rand.h"

#define BACKOFF_MIN_NS UINT64_C(1000000000)
#define BACKOFF_MAX_NS UINT64_C(300000000000)

/* What was at work when a process died is due again: the last line. */
static const char schema[] = "CREATE TABLE IF NOT EXISTS queue ("
			     " id INTEGER PRIMARY KEY,"
			     " kind TEXT NOT NULL,"
			     " key TEXT NOT NULL,"
			     " payload BLOB NOT NULL,"
			     " version INTEGER NOT NULL,"
			     " attempts INTEGER NOT NULL,"
			     " next_at INTEGER NOT NULL,"
			     " at_work INTEGER NOT NULL,"
			     " UNIQUE (kind, key));"
			     "CREATE INDEX IF NOT EXISTS queue_due ON queue "
			     "(kind, at_work, next_at);"
			     "UPDATE queue SET at_work = 0 WHERE at_work != 0;";

struct kr_queue {
	struct kr_db *db;
	struct kr_rand rand;
	uint64_t backoff_min_ns, backoff_max_ns;
};

static struct kr_queue_req *req_of(struct kr_db_req *r)
{
	return KR_CONTAINER_OF(r, struct kr_queue_req, db);
}

static void on_done(struct kr_db_req *r, enum kr_err err)
{
	req_of(r)->done(req_of(r), err);
}

/* Run a statement that answers nothing. */
static enum kr_err finish(sqlite3_stmt *st)
{
	const int rc = sqlite3_step(st);

	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

static enum kr_err prepare(sqlite3 *sql, const char *text, sqlite3_stmt **ret)
{
	return kr_db_err(sqlite3_prepare_v2(sql, text, -1, ret, NULL));
}

/* ---- add ---- */

enum kr_err kr_queue_add_in(struct sqlite3 *sql, const char *kind,
			    const char *key, struct kr_bytes payload,
			    uint64_t now_ns)
{
	static const char text[] =
		"INSERT INTO queue"
		" (kind, key, payload, version, attempts, next_at, at_work)"
		" VALUES (?1, ?2, ?3, 1, 0, ?4, 0)"
		" ON CONFLICT (kind, key) DO UPDATE SET payload = ?3,"
		" version = version + 1, attempts = 0, next_at = ?4";
	static const uint8_t nothing = 0;
	sqlite3_stmt *st;
	enum kr_err err = prepare(sql, text, &st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	/* A NULL pointer would bind NULL, which is no payload. */
	(void)sqlite3_bind_blob64(st, 3,
				  payload.len > 0 ? payload.ptr : &nothing,
				  payload.len, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 4, (sqlite3_int64)now_ns);
	return finish(st);
}

static enum kr_err run_add(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct kr_queue_req *r = req_of(db);
	const struct kr_bytes payload = { r->item.payload,
					  r->item.payload_len };

	if (r->too_big)
		return KR_E_TOOBIG;
	return kr_queue_add_in(sql, r->kind, r->item.key, payload, r->now_ns);
}

static bool copy_text(char *to, size_t cap, const char *from)
{
	const size_t len = strlen(from);

	if (len >= cap)
		return false;
	memcpy(to, from, len + 1);
	return true;
}

void kr_queue_add(struct kr_queue *q, struct kr_queue_req *r, const char *kind,
		  const char *key, struct kr_bytes payload, uint64_t now_ns,
		  kr_queue_done_fn *done)
{
	r->q = q;
	r->done = done;
	r->now_ns = now_ns;
	r->too_big = !copy_text(r->kind, sizeof(r->kind), kind) ||
		     !copy_text(r->item.key, sizeof(r->item.key), key) ||
		     payload.len > sizeof(r->item.payload);
	if (!r->too_big && payload.len > 0)
		memcpy(r->item.payload, payload.ptr, payload.len);
	r->item.payload_len = r->too_big ? 0 : payload.len;
	kr_db_submit(q->db, &r->db, run_add, on_done);
}

/* ---- take ---- */

static enum kr_err read_item(sqlite3_stmt *st, struct kr_queue_item *item)
{
	const char *key = (const char *)sqlite3_column_text(st, 2);
	const void *payload = sqlite3_column_blob(st, 3);
	const size_t len = (size_t)sqlite3_column_bytes(st, 3);

	if (key == NULL || !copy_text(item->key, sizeof(item->key), key) ||
	    len > sizeof(item->payload))
		return KR_E_CORRUPT;
	item->id = sqlite3_column_int64(st, 0);
	item->version = sqlite3_column_int64(st, 1);
	if (len > 0)
		memcpy(item->payload, payload, len);
	item->payload_len = len;
	item->attempts = (uint32_t)sqlite3_column_int64(st, 4);
	return KR_OK;
}

static enum kr_err select_due(struct kr_queue_req *r, sqlite3 *sql)
{
	sqlite3_stmt *st;
	int rc = SQLITE_DONE;
	enum kr_err err =
		prepare(sql,
			"SELECT id, version, key, payload, attempts"
			" FROM queue WHERE kind = ?1 AND at_work = 0"
			" AND next_at <= ?2 ORDER BY next_at LIMIT ?3",
			&st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, r->kind, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(st, 2, (sqlite3_int64)r->now_ns);
	(void)sqlite3_bind_int64(st, 3, r->max);
	while (err == KR_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		err = read_item(st, &r->items[r->item_count]);
		r->item_count += err == KR_OK;
	}
	(void)sqlite3_finalize(st);
	return err == KR_OK ? kr_db_err(rc) : err;
}

static enum kr_err mark_taken(struct kr_queue_req *r, sqlite3 *sql)
{
	enum kr_err err = KR_OK;

	for (uint32_t i = 0; err == KR_OK && i < r->item_count; i++) {
		sqlite3_stmt *st;
		err = prepare(sql, "UPDATE queue SET at_work = 1 WHERE id = ?1",
			      &st);
		if (err != KR_OK)
			break;
		(void)sqlite3_bind_int64(st, 1, r->items[i].id);
		err = finish(st);
	}
	return err;
}

/* When to ask again, and how much there is. */
static enum kr_err select_figures(struct kr_queue_req *r, sqlite3 *sql)
{
	sqlite3_stmt *st;
	int rc;
	enum kr_err err =
		prepare(sql,
			"SELECT (SELECT min(next_at) FROM queue"
			" WHERE kind = ?1 AND at_work = 0),"
			" (SELECT count(*) FROM queue WHERE kind = ?1)",
			&st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_text(st, 1, r->kind, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		r->next_due_ns =
			sqlite3_column_type(st, 0) == SQLITE_NULL
				? UINT64_MAX
				: (uint64_t)sqlite3_column_int64(st, 0);
		r->depth = (uint64_t)sqlite3_column_int64(st, 1);
	}
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

static enum kr_err run_take(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct kr_queue_req *r = req_of(db);
	enum kr_err err;

	r->item_count = 0;
	err = select_due(r, sql);
	if (err == KR_OK)
		err = mark_taken(r, sql);
	if (err == KR_OK)
		err = select_figures(r, sql);
	if (err != KR_OK)
		r->item_count = 0;
	return err;
}

void kr_queue_take(struct kr_queue *q, struct kr_queue_req *r, const char *kind,
		   uint64_t now_ns, struct kr_queue_item *items, uint32_t max,
		   kr_queue_done_fn *done)
{
	kr_assert(max > 0 && max <= KR_QUEUE_TAKE_MAX);
	const bool fits = copy_text(r->kind, sizeof(r->kind), kind);
	kr_assert(fits);
	r->q = q;
	r->done = done;
	r->now_ns = now_ns;
	r->items = items;
	r->max = max;
	r->item_count = 0;
	r->next_due_ns = UINT64_MAX;
	r->depth = 0;
	kr_db_submit(q->db, &r->db, run_take, on_done);
}

/* ---- count ---- */

/* Keys that begin with @key lie below what comes behind all of them. */
static enum kr_err run_count(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct kr_queue_req *r = req_of(db);
	char above[KR_QUEUE_KEY_MAX];
	const size_t len = strlen(r->item.key);
	sqlite3_stmt *st;
	enum kr_err err = prepare(sql,
				  "SELECT count(*) FROM queue"
				  " WHERE kind = ?1 AND key >= ?2 AND key < ?3",
				  &st);

	if (err != KR_OK)
		return err;
	memcpy(above, r->item.key, len + 1);
	above[len - 1]++;
	(void)sqlite3_bind_text(st, 1, r->kind, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 2, r->item.key, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(st, 3, above, -1, SQLITE_STATIC);
	const int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r->depth = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

void kr_queue_count(struct kr_queue *q, struct kr_queue_req *r,
		    const char *kind, const char *prefix,
		    kr_queue_done_fn *done)
{
	const bool fits = copy_text(r->kind, sizeof(r->kind), kind) &&
			  copy_text(r->item.key, sizeof(r->item.key), prefix);

	kr_assert(fits && prefix[0] != '\0');
	r->q = q;
	r->done = done;
	r->depth = 0;
	kr_db_submit(q->db, &r->db, run_count, on_done);
}

/* ---- done, fail ---- */

static enum kr_err run_done(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct kr_queue_req *r = req_of(db);
	sqlite3_stmt *st;
	enum kr_err err = prepare(
		sql, "DELETE FROM queue WHERE id = ?1 AND version = ?2", &st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_int64(st, 1, r->item.id);
	(void)sqlite3_bind_int64(st, 2, r->item.version);
	err = finish(st);
	if (err != KR_OK || sqlite3_changes(sql) > 0)
		return err;
	/* It was added again meanwhile: now it is due. */
	err = prepare(sql, "UPDATE queue SET at_work = 0 WHERE id = ?1", &st);
	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_int64(st, 1, r->item.id);
	return finish(st);
}

static enum kr_err run_fail(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct kr_queue_req *r = req_of(db);
	sqlite3_stmt *st;
	enum kr_err err = prepare(
		sql,
		"UPDATE queue SET at_work = 0,"
		" attempts = CASE version WHEN ?2 THEN attempts + 1"
		"  ELSE attempts END,"
		" next_at = CASE version WHEN ?2 THEN ?3 ELSE next_at END"
		" WHERE id = ?1",
		&st);

	if (err != KR_OK)
		return err;
	(void)sqlite3_bind_int64(st, 1, r->item.id);
	(void)sqlite3_bind_int64(st, 2, r->item.version);
	(void)sqlite3_bind_int64(st, 3, (sqlite3_int64)r->next_ns);
	return finish(st);
}

static uint64_t backoff_ns(struct kr_queue *q, uint32_t attempts)
{
	uint64_t ns = q->backoff_min_ns;

	for (uint32_t i = 0; i < attempts && ns < q->backoff_max_ns; i++)
		ns *= 2;
	if (ns > q->backoff_max_ns)
		ns = q->backoff_max_ns;
	return ns / 2 + kr_rand_u64(&q->rand) % (ns / 2 + 1);
}

void kr_queue_done(struct kr_queue *q, struct kr_queue_req *r,
		   const struct kr_queue_item *item, kr_queue_done_fn *done)
{
	r->q = q;
	r->done = done;
	r->item.id = item->id;
	r->item.version = item->version;
	kr_db_submit(q->db, &r->db, run_done, on_done);
}

void kr_queue_fail(struct kr_queue *q, struct kr_queue_req *r,
		   const struct kr_queue_item *item, uint64_t now_ns,
		   kr_queue_done_fn *done)
{
	r->q = q;
	r->done = done;
	r->now_ns = now_ns;
	r->next_ns = now_ns + backoff_ns(q, item->attempts);
	r->item.id = item->id;
	r->item.version = item->version;
	kr_db_submit(q->db, &r->db, run_fail, on_done);
}

/* ---- life ---- */

enum kr_err kr_queue_open(const struct kr_queue_opts *opts,
			  struct kr_queue **ret)
{
	struct kr_queue *q;
	enum kr_err err = kr_db_schema(opts->db, schema);

	if (err != KR_OK)
		return err;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return KR_E_NOMEM;
	q->db = opts->db;
	q->backoff_min_ns = opts->backoff_min_ns == 0 ? BACKOFF_MIN_NS
						      : opts->backoff_min_ns;
	q->backoff_max_ns = opts->backoff_max_ns == 0 ? BACKOFF_MAX_NS
						      : opts->backoff_max_ns;
	kr_rand_init(&q->rand, opts->seed);
	*ret = q;
	return KR_OK;
}

void kr_queue_close(struct kr_queue *q)
{
	free(q);
}
