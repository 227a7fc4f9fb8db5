/*
 * control/index_internal.h - what the files of the build-index's state share.
 * Private to index.c, index_tag.c, index_learned.c, index_object.c and
 * index_object_sql.c.
 *
 * Functions that take a struct sqlite3 run on the pool within a transaction
 * (db.h); the others on the reactor.
 */
#ifndef KR_CONTROL_INDEX_INTERNAL_H
#define KR_CONTROL_INDEX_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>

#include "control/hlc.h"
#include "control/index.h"
#include "core/list.h"
#include "core/map.h"
#include "core/pattern.h"

enum { KR_INDEX_NAMES_MAX = 512 * 1024 }; /* bytes of one list */

struct kr_index {
	struct kr_index_opts opts;
	struct kr_io *io;
	struct kr_hlc clock;
	struct kr_digest_map cache; /* of tags, by the hash of the name */
	struct kr_list by_use;
	struct kr_pattern immutable[KR_INDEX_IMMUTABLE_MAX];
	uint32_t immutable_count; /* compiled */
};

/* ---- index.c ---- */

/* Of two writes the one of the later clock wins, then of the higher node. */
static inline bool kr_index_later(uint64_t clock_a, uint64_t node_a,
				  uint64_t clock_b, uint64_t node_b)
{
	return clock_a != clock_b ? clock_a > clock_b : node_a > node_b;
}

/* What the database has now: remember it, if it is later than what is
 * remembered. */
void kr_index_keep(struct kr_index *ix, const struct kr_index_entry *e);

/* Does a rule keep the tag as it is?  On the pool. */
bool kr_index_is_immutable(const struct kr_index *ix,
			   const struct kr_index_entry *e);

/* ---- index_tag.c ---- */

/* Fill in the rest of @e.  KR_E_NOTFOUND: no such row, not even a deleted
 * one. */
KR_NODISCARD enum kr_err kr_index_tag_select(struct sqlite3 *sql,
					     struct kr_index_entry *e);

/* Write @e unless a later one is there, queue its copies, and say in @ret_won
 * whether it was written. @e is what is there afterwards.  KR_E_EXISTS: the
 * tag is immutable. */
KR_NODISCARD enum kr_err kr_index_tag_write(struct sqlite3 *sql,
					    const struct kr_index *ix,
					    struct kr_index_entry *e,
					    bool *ret_won);

kr_db_run_fn kr_index_run_put, kr_index_run_untag, kr_index_run_merge,
	kr_index_run_get, kr_index_run_list, kr_index_run_repos,
	kr_index_run_newest;

/* ---- index_learned.c ---- */

/* Make @e what was learned; its clock and node stay.  KR_E_NOTFOUND: nothing,
 * @e is as it was. */
KR_NODISCARD enum kr_err kr_index_learned_select(struct sqlite3 *sql,
						 struct kr_index_entry *e);
KR_NODISCARD enum kr_err kr_index_learned_delete(struct sqlite3 *sql,
						 const struct kr_index_entry *e,
						 bool *ret_was_there);

struct kr_index_unlearn_req {
	struct kr_db_req db;
	kr_index_is_mirror_fn *is_mirror;
	void *ctx;
	enum kr_err err;
};

kr_db_run_fn kr_index_run_learn, kr_index_run_forget, kr_index_run_unlearn;

KR_NODISCARD enum kr_err kr_index_prepare(struct sqlite3 *sql, const char *text,
					  struct sqlite3_stmt **ret);

extern const char kr_index_tag_schema[], kr_index_learned_schema[],
	kr_index_object_schema[];

#endif
