/*
 * Many threads on one store that is always too small: downloads, uploads,
 * puts, readers, keep markers and deletes of the same few blobs.  Whatever
 * the order, readers see whole blobs, nobody waits for ever, and the index is
 * what the disk says.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/log.h"
#include "core/rand.h"
#include "core/store.h"

enum { THREADS = 4, STEPS = 400, BLOBS = 10, PIECE = 1024, SIZE = 8 * PIECE };

struct world {
	char dir[64];
	struct kr_store_opts opts;
	struct kr_store *s;
	uint8_t bytes[BLOBS][SIZE];
	struct kr_digest digest[BLOBS];
};

struct worker {
	struct world *w;
	uint64_t seed;
};

static void try_partial(struct world *w, uint32_t i, struct kr_rand *rand)
{
	struct kr_store_partial *p;
	const enum kr_err err =
		kr_store_partial_open(w->s, &w->digest[i], SIZE, PIECE, &p);

	if (err != KR_OK) {
		kr_assert(err == KR_E_EXISTS || err == KR_E_NOSPC);
		return;
	}
	for (uint32_t piece = 0; piece < SIZE / PIECE; piece++) {
		const off_t at = (off_t)piece * PIECE;
		if (kr_rand_below(rand, 40) == 0) {
			kr_store_partial_close(p, kr_rand_below(rand, 2) == 0);
			return;
		}
		kr_assert(pwrite(kr_store_partial_fd(p), w->bytes[i] + at,
				 PIECE, at) == PIECE);
		kr_store_partial_mark(p, piece);
	}
	kr_assert(kr_store_partial_commit(p) == KR_OK);
}

static void try_upload(struct world *w, uint32_t i, struct kr_rand *rand)
{
	struct kr_store_upload *u;
	enum kr_err err = kr_store_upload_create(w->s, &u);

	if (err == KR_OK)
		err = kr_store_upload_reserve(u, SIZE);
	else
		u = NULL;
	if (err != KR_OK) {
		kr_assert(err == KR_E_NOSPC);
		kr_store_upload_close(u, false);
		return;
	}
	kr_assert(pwrite(kr_store_upload_fd(u), w->bytes[i], SIZE, 0) == SIZE);
	kr_assert(kr_store_upload_save(u, SIZE, NULL, 0) == KR_OK);
	if (kr_rand_below(rand, 5) == 0)
		kr_store_upload_close(u, false);
	else
		kr_assert(kr_store_upload_commit(u, &w->digest[i]) == KR_OK);
}

static void try_read(struct world *w, uint32_t i)
{
	uint8_t buf[SIZE];
	struct kr_store_blob *b;
	const enum kr_err err = kr_store_blob_open(w->s, &w->digest[i], &b);

	if (err != KR_OK) {
		kr_assert(err == KR_E_NOTFOUND);
		return;
	}
	kr_assert(pread(kr_store_blob_fd(b), buf, SIZE, 0) == SIZE);
	kr_assert(memcmp(buf, w->bytes[i], SIZE) == 0);
	kr_store_blob_close(b);
}

static void try_put(struct world *w, uint32_t i)
{
	const enum kr_err err =
		kr_store_blob_put(w->s, &w->digest[i], w->bytes[i], SIZE);

	kr_assert(err == KR_OK || err == KR_E_NOSPC);
}

static void try_keep(struct world *w, uint32_t i, struct kr_rand *rand)
{
	const enum kr_err err =
		kr_store_keep(w->s, &w->digest[i], kr_rand_below(rand, 3) == 0);

	kr_assert(err == KR_OK || err == KR_E_NOTFOUND);
}

static void try_delete(struct world *w, uint32_t i)
{
	const enum kr_err err = kr_store_delete(w->s, &w->digest[i]);

	kr_assert(err == KR_OK || err == KR_E_NOTFOUND || err == KR_E_BUSY);
}

static void *work(void *arg)
{
	const struct worker *me = arg;
	struct kr_rand rand;

	kr_rand_init(&rand, me->seed);
	for (int step = 0; step < STEPS; step++) {
		const uint32_t i = kr_rand_below(&rand, BLOBS);
		switch (kr_rand_below(&rand, 7)) {
		case 0:
		case 1:
			try_partial(me->w, i, &rand);
			break;
		case 2:
			try_upload(me->w, i, &rand);
			break;
		case 3:
			try_put(me->w, i);
			break;
		case 4:
			try_keep(me->w, i, &rand);
			break;
		case 5:
			try_delete(me->w, i);
			break;
		default:
			try_read(me->w, i);
		}
	}
	return NULL;
}

static void open_world(struct world *w)
{
	snprintf(w->dir, sizeof(w->dir), "/tmp/kr_threads_test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->opts.dir = w->dir;
	w->opts.quota_bytes = 6 * SIZE; /* of ten blobs */
	assert_int_equal(kr_store_open(&w->opts, &w->s), KR_OK);
	for (uint32_t i = 0; i < BLOBS; i++) {
		struct kr_hash h;
		for (size_t j = 0; j < SIZE; j++)
			w->bytes[i][j] = (uint8_t)(i * 31 + j * 7 + j / 256);
		assert_int_equal(kr_hash_init(&h, KR_SHA256), KR_OK);
		kr_hash_update(&h, w->bytes[i], SIZE);
		kr_hash_final(&h, &w->digest[i]);
	}
}

static void test_threads_on_a_small_store_agree(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct kr_store_usage before, after;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	char command[128];
	(void)state;

	assert_non_null(w);
	open_world(w);
	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .w = w, .seed = 7 + i };
		assert_int_equal(
			pthread_create(&threads[i], NULL, work, &workers[i]),
			0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (uint32_t i = 0; i < BLOBS; i++)
		try_read(w, i);
	kr_store_usage(w->s, &before);
	assert_true(before.evicted_count > 0);
	assert_int_equal(before.upload_count, 0);
	assert_int_equal(before.upload_bytes, 0);
	assert_true(before.blob_bytes + before.partial_bytes <=
		    w->opts.quota_bytes);
	kr_store_close(w->s);
	w->opts.quota_bytes = 1 << 20; /* so that the open evicts nothing */
	assert_int_equal(kr_store_open(&w->opts, &w->s), KR_OK);
	kr_store_usage(w->s, &after);
	assert_int_equal(after.blob_count, before.blob_count);
	assert_int_equal(after.blob_bytes, before.blob_bytes);
	assert_true(after.partial_bytes <= before.partial_bytes);
	kr_store_close(w->s);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_on_a_small_store_agree),
	};

	kr_log_set_level(KR_LOG_ERROR); /* evictions and refusals abound */
	return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}
