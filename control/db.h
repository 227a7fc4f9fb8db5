/*
 * control/db.h - one SQLite database of a process, used from the reactor
 * through the work pool, with group commit.
 *
 * Requests queue on the reactor.  One job at a time takes all that wait (at
 * most KR_DB_BATCH_MAX) to the pool and runs them in one transaction, each in
 * a savepoint of its own, so a thousand writes that come together cost one
 * fsync.  done() says KR_OK after the commit is on disk (WAL,
 * synchronous=FULL: sqlite.org/pragma.html), never before.
 *
 *	submit -> waiting -> run() on the pool -> commit -> done()
 *
 * Threads: reactor; run() on a thread of the pool, one at a time.
 */
#ifndef KR_CONTROL_DB_H
#define KR_CONTROL_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/io.h"
#include "core/list.h"

struct kr_db;
struct kr_db_req;
struct sqlite3;

enum { KR_DB_BATCH_MAX = 256, KR_DB_WAITING_MAX = 65536 };

/* Not KR_OK undoes what this request did, and is what done() gets. */
typedef enum kr_err kr_db_run_fn(struct kr_db_req *r, struct sqlite3 *sql);
typedef void kr_db_done_fn(struct kr_db_req *r, enum kr_err err);

struct kr_db_req { /* embedded; private */
	struct kr_list link;
	struct kr_db *db;
	kr_db_run_fn *run;
	kr_db_done_fn *done;
	enum kr_err err;
};

/*
 * Open (make) the database file @path and run @schema (idempotent SQL).
 * BLOCKS: at start only.
 *
 * KR_E_CORRUPT  not a database of SQLite
 * KR_E_NOTFOUND, KR_E_DENIED, KR_E_NOSPC, KR_E_IO  the log says what of @path
 */
KR_NODISCARD enum kr_err kr_db_open(struct kr_io *io, const char *path,
				    const char *schema, struct kr_db **ret);

/* Run more idempotent SQL.  BLOCKS: at start only, while no request runs. */
KR_NODISCARD enum kr_err kr_db_schema(struct kr_db *db, const char *schema);

/* Finish what was submitted, delivering every done(), then close.  Turns the
 * ring; not from inside a call-back. */
void kr_db_close(struct kr_db *db);

/* @r is lent until done().  Beyond KR_DB_WAITING_MAX requests done() comes
 * with KR_E_BUSY, from the ring as always. */
void kr_db_submit(struct kr_db *db, struct kr_db_req *r, kr_db_run_fn *run,
		  kr_db_done_fn *done);

/* Turn the ring until nothing is waiting or running.  Not from inside a
 * call-back. */
void kr_db_drain(struct kr_db *db);

struct kr_io *kr_db_io(const struct kr_db *db);

/* The error that a result code of SQLite means to us. */
enum kr_err kr_db_err(int sqlite_rc);

#endif
