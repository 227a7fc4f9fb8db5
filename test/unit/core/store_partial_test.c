/* Downloads: resume, claims, commit. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/store.h"

enum { SIZE = 1050, PIECE = 100, PIECES = 11 };

struct fixture {
	char dir[64];
	struct kr_store_opts opts;
	struct kr_store *s;
	uint8_t bytes[SIZE];
	struct kr_digest digest;
	char data_path[256], pieces_path[256];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char hex[KR_DIGEST_TEXT_MAX];
	struct kr_hash h;

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/kr_partial_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->opts.dir = f->dir;
	f->opts.quota_bytes = 1 << 20;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_OK);
	for (int i = 0; i < SIZE; i++)
		f->bytes[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(kr_hash_init(&h, KR_SHA256), KR_OK);
	kr_hash_update(&h, f->bytes, SIZE);
	kr_hash_final(&h, &f->digest);
	kr_digest_print_hex(&f->digest, hex);
	snprintf(f->data_path, sizeof(f->data_path), "%s/partial/%s", f->dir,
		 hex);
	snprintf(f->pieces_path, sizeof(f->pieces_path), "%s/partial/%s.pieces",
		 f->dir, hex);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	kr_store_close(f->s);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	kr_store_close(f->s);
	f->s = NULL;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_OK);
}

static struct kr_store_partial *open_partial(struct fixture *f)
{
	struct kr_store_partial *p = NULL;

	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE, PIECE, &p),
		KR_OK);
	return p;
}

static void write_piece(struct fixture *f, struct kr_store_partial *p,
			uint32_t piece)
{
	const size_t from = piece * PIECE;
	const size_t len = SIZE - from < PIECE ? SIZE - from : PIECE;

	assert_int_equal(pwrite(kr_store_partial_fd(p), f->bytes + from, len,
				(off_t)from),
			 len);
	kr_store_partial_mark(p, piece);
}

static uint32_t claimed(const struct kr_store_partial *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PIECES; i++)
		n += kr_store_partial_claims(p, i);
	return n;
}

static void test_a_whole_partial_becomes_a_blob(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);
	struct kr_store_blob *b;
	struct kr_store_usage use;
	uint8_t got[SIZE];

	assert_int_equal(claimed(p), 0);
	for (uint32_t i = 0; i < PIECES; i++)
		write_piece(f, p, i);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	reopen(f);
	assert_int_equal(kr_store_blob_open(f->s, &f->digest, &b), KR_OK);
	assert_int_equal(pread(kr_store_blob_fd(b), got, SIZE, 0), SIZE);
	assert_memory_equal(got, f->bytes, SIZE);
	kr_store_blob_close(b);
	kr_store_usage(f->s, &use);
	assert_int_equal(use.partial_bytes, 0);
	assert_int_equal(use.blob_bytes, SIZE);
	assert_int_not_equal(access(f->pieces_path, F_OK), 0);
}

static void test_a_partial_is_not_visible_as_a_blob(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);
	struct kr_store_blob *b;
	uint64_t size;

	assert_int_equal(kr_store_stat(f->s, &f->digest, &size), KR_E_NOTFOUND);
	assert_int_equal(kr_store_blob_open(f->s, &f->digest, &b),
			 KR_E_NOTFOUND);
	kr_store_partial_close(p, false);
}

static void test_it_is_open_once_only_and_not_beside_the_blob(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f), *second = NULL;

	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE, PIECE, &second),
		KR_E_EXISTS);
	for (uint32_t i = 0; i < PIECES; i++)
		write_piece(f, p, i);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE, PIECE, &second),
		KR_E_EXISTS);
}

/* Somebody removed our folder: not what "there is no such blob" means. */
static void test_a_store_that_is_gone_is_an_error_of_the_disk(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = NULL;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE, PIECE, &p),
		KR_E_IO);
}

static void test_claims_of_earlier_runs_survive_but_do_not_count(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);

	write_piece(f, p, 0);
	write_piece(f, p, 10);
	kr_store_partial_close(p, true);
	reopen(f);
	p = open_partial(f);
	assert_int_equal(claimed(p), 2);
	assert_true(kr_store_partial_claims(p, 0));
	assert_true(kr_store_partial_claims(p, 10));
	kr_store_partial_mark(p, 0);
	kr_store_partial_close(p, true);
	reopen(f); /* a second stop before all was looked at again */
	p = open_partial(f);
	assert_int_equal(claimed(p), 2);
	for (uint32_t i = 1; i < 10; i++)
		write_piece(f, p, i);
	kr_store_partial_mark(p, 0);
	kr_store_partial_mark(p, 10);
	kr_store_partial_mark(p, 10); /* twice is once */
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
}

static void test_other_sizes_start_over(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);
	struct kr_store_usage use;
	uint8_t got;

	write_piece(f, p, 3);
	kr_store_partial_close(p, true);
	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE, PIECE + 1, &p),
		KR_OK);
	assert_int_equal(claimed(p), 0);
	assert_int_equal(pread(kr_store_partial_fd(p), &got, 1, 3 * PIECE), 1);
	assert_int_equal(got, 0);
	kr_store_partial_close(p, true);
	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, SIZE + 9, PIECE, &p),
		KR_OK);
	kr_store_usage(f->s, &use);
	assert_int_equal(use.partial_bytes, SIZE + 9);
	assert_int_equal(use.partial_count, 1);
	kr_store_partial_close(p, false);
	kr_store_usage(f->s, &use);
	assert_int_equal(use.partial_bytes, 0);
	assert_int_equal(use.partial_count, 0);
}

/* Each damage, done to a closed partial, starts the download over. */
static void damage_and_expect_fresh(struct fixture *f,
				    void (*damage)(struct fixture *))
{
	struct kr_store_partial *p = open_partial(f);

	write_piece(f, p, 3);
	kr_store_partial_close(p, true);
	damage(f);
	p = open_partial(f);
	assert_int_equal(claimed(p), 0);
	kr_store_partial_close(p, false);
	assert_int_not_equal(access(f->data_path, F_OK), 0);
}

static void cut_pieces(struct fixture *f)
{
	assert_int_equal(truncate(f->pieces_path, 30), 0);
}

static void cut_data(struct fixture *f)
{
	assert_int_equal(truncate(f->data_path, SIZE / 2), 0);
}

static void remove_pieces(struct fixture *f)
{
	assert_int_equal(unlink(f->pieces_path), 0);
}

static void remove_data(struct fixture *f)
{
	assert_int_equal(unlink(f->data_path), 0);
}

static void overwrite_header(struct fixture *f)
{
	const int fd = open(f->pieces_path, O_WRONLY);

	assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
	close(fd);
}

static void test_damage_starts_over(void **state)
{
	struct fixture *f = *state;

	damage_and_expect_fresh(f, cut_pieces);
	damage_and_expect_fresh(f, cut_data);
	damage_and_expect_fresh(f, remove_pieces);
	damage_and_expect_fresh(f, remove_data);
	damage_and_expect_fresh(f, overwrite_header);
}

static void test_damage_is_cleared_away_when_the_store_opens(void **state)
{
	static void (*const damages[])(struct fixture *) = {
		cut_pieces,  cut_data,         remove_pieces,
		remove_data, overwrite_header,
	};
	struct fixture *f = *state;
	struct kr_store_usage use;

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		kr_store_partial_close(open_partial(f), true);
		damages[i](f);
		reopen(f);
		kr_store_usage(f->s, &use);
		assert_int_equal(use.partial_count, 0);
		assert_int_equal(use.partial_bytes, 0);
		assert_int_not_equal(access(f->data_path, F_OK), 0);
		assert_int_not_equal(access(f->pieces_path, F_OK), 0);
	}
}

static void test_a_blob_of_no_bytes_needs_no_piece(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p;
	uint64_t size = 1;

	assert_int_equal(kr_store_partial_open(f->s, &f->digest, 0, PIECE, &p),
			 KR_OK);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	assert_int_equal(kr_store_stat(f->s, &f->digest, &size), KR_OK);
	assert_int_equal(size, 0);
}

static void test_absurd_sizes_are_refused(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p;

	assert_int_equal(kr_store_partial_open(f->s, &f->digest, SIZE, 0, &p),
			 KR_E_INVALID);
	assert_int_equal(kr_store_partial_open(f->s, &f->digest, UINT64_MAX,
					       1 << 20, &p),
			 KR_E_INVALID);
	assert_int_equal(
		kr_store_partial_open(f->s, &f->digest, INT64_MAX, 1, &p),
		KR_E_INVALID);
	assert_int_equal(kr_store_partial_open(f->s, &f->digest, INT64_MAX,
					       UINT32_MAX, &p),
			 KR_E_INVALID);
}

static void test_a_kept_partial_becomes_a_kept_blob(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);

	assert_int_equal(kr_store_keep(f->s, &f->digest, true), KR_OK);
	for (uint32_t i = 0; i < PIECES; i++)
		write_piece(f, p, i);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	assert_int_equal(kr_store_delete(f->s, &f->digest), KR_E_BUSY);
	reopen(f);
	assert_int_equal(kr_store_delete(f->s, &f->digest), KR_E_BUSY);
	assert_int_equal(kr_store_keep(f->s, &f->digest, false), KR_OK);
	assert_int_equal(kr_store_delete(f->s, &f->digest), KR_OK);
}

static void test_a_blob_that_came_another_way_wins(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p = open_partial(f);
	struct kr_store_usage use;

	assert_int_equal(kr_store_keep(f->s, &f->digest, true), KR_OK);
	assert_int_equal(kr_store_meta_put(f->s, &f->digest, "m", 1), KR_OK);
	assert_int_equal(kr_store_blob_put(f->s, &f->digest, f->bytes, SIZE),
			 KR_OK);
	for (uint32_t i = 0; i < PIECES; i++)
		write_piece(f, p, i);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	kr_store_usage(f->s, &use);
	assert_int_equal(use.partial_count, 0);
	assert_int_equal(use.blob_bytes, SIZE);
	assert_int_equal(kr_store_delete(f->s, &f->digest), KR_E_BUSY);
	reopen(f);
	assert_int_equal(kr_store_delete(f->s, &f->digest), KR_E_BUSY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_whole_partial_becomes_a_blob),
		TEST(test_a_partial_is_not_visible_as_a_blob),
		TEST(test_it_is_open_once_only_and_not_beside_the_blob),
		TEST(test_a_store_that_is_gone_is_an_error_of_the_disk),
		TEST(test_claims_of_earlier_runs_survive_but_do_not_count),
		TEST(test_other_sizes_start_over),
		TEST(test_damage_starts_over),
		TEST(test_damage_is_cleared_away_when_the_store_opens),
		TEST(test_a_blob_of_no_bytes_needs_no_piece),
		TEST(test_absurd_sizes_are_refused),
		TEST(test_a_kept_partial_becomes_a_kept_blob),
		TEST(test_a_blob_that_came_another_way_wins),
	};
	return cmocka_run_group_tests_name("store_partial", tests, NULL, NULL);
}
