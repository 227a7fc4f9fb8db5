/*
 * test/support/loop.h - what code of a reactor runs on: the real ring with its
 * work pool, and a directory for what it keeps.
 */
#ifndef KR_TEST_LOOP_H
#define KR_TEST_LOOP_H

#include <stdio.h>

#include "test/support/dir.h"
#include "test/support/test.h"
#include "uring/ring.h"

struct loop {
	struct kr_work_pool *pool;
	struct kr_io *io;
	char dir[DIR_LEN_MAX];
	char db[DIR_LEN_MAX + 8]; /* path of a database that is not there yet */
};

static inline void open_loop(struct loop *l, uint32_t threads)
{
	make_dir(l->dir);
	(void)snprintf(l->db, sizeof(l->db), "%s/t.db", l->dir);
	assert_ok(kr_work_pool_open(threads, &l->pool));
	const struct kr_ring_opts opts = { .buffer_count = 1, .pool = l->pool };
	assert_ok(kr_ring_open(&opts, &l->io));
}

/* 0, or -1 if the directory cannot be removed: what a teardown returns. */
static inline int close_loop(struct loop *l)
{
	kr_ring_close(l->io);
	kr_work_pool_close(l->pool);
	return remove_dir(l->dir);
}

#endif
