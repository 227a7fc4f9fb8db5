/*
 * control/index_object_sql.h - objects in the database: runs on the pool.
 * Private to index_object.c.
 */
#ifndef KR_CONTROL_INDEX_OBJECT_SQL_H
#define KR_CONTROL_INDEX_OBJECT_SQL_H

#include "control/db.h"

kr_db_run_fn kr_index_run_object_put, kr_index_run_object_delete,
	kr_index_run_object_find, kr_index_run_object_read,
	kr_index_run_object_merge, kr_index_run_referrers;

#endif
