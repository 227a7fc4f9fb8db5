/* The store as one process sees it; crashes are test/integration's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/hash.h"
#include "core/metrics.h"
#include "core/store.h"

enum { KIB = 1024 };

struct fixture {
	char dir[64];
	struct kr_store_opts opts;
	struct kr_store *s;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/kr_store_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->opts.dir = f->dir;
	f->opts.quota_bytes = 1024 * KIB;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_OK);
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

static const char *path_in(const struct fixture *f, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return path;
}

static bool exists(const struct fixture *f, const char *name)
{
	return access(path_in(f, name), F_OK) == 0;
}

static const char *blob_path(const struct kr_digest *d)
{
	static char path[256];
	char hex[KR_DIGEST_TEXT_MAX];

	kr_digest_print_hex(d, hex);
	snprintf(path, sizeof(path), "blobs/%s/%.2s/%s",
		 kr_digest_alg_name(d->alg), hex, hex);
	return path;
}

static const char *in_folder(const char *folder, const struct kr_digest *d,
			     const char *suffix)
{
	static char path[256];
	char hex[KR_DIGEST_TEXT_MAX];

	snprintf(path, sizeof(path), "%s/%s%s", folder,
		 kr_digest_print_hex(d, hex), suffix);
	return path;
}

static void write_file(const struct fixture *f, const char *name,
		       const void *buf, size_t len)
{
	FILE *out = fopen(path_in(f, name), "wb");

	assert_non_null(out);
	assert_int_equal(fwrite(buf, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

/* Bytes that depend on @seed, and their digest. */
static uint8_t *make_bytes(unsigned seed, size_t len, struct kr_digest *d)
{
	uint8_t *buf = malloc(len + 1);
	struct kr_hash h;

	assert_non_null(buf);
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed * 131 + i * 7 + i / 251);
	assert_int_equal(kr_hash_init(&h, KR_SHA256), KR_OK);
	kr_hash_update(&h, buf, len);
	kr_hash_final(&h, d);
	return buf;
}

static struct kr_digest put(struct fixture *f, unsigned seed, size_t len)
{
	struct kr_digest d;
	uint8_t *buf = make_bytes(seed, len, &d);

	assert_int_equal(kr_store_blob_put(f->s, &d, buf, len), KR_OK);
	free(buf);
	return d;
}

static bool has(struct fixture *f, const struct kr_digest *d)
{
	uint64_t size;

	return kr_store_stat(f->s, d, &size) == KR_OK;
}

static struct kr_store_usage usage(struct fixture *f)
{
	struct kr_store_usage use;

	kr_store_usage(f->s, &use);
	return use;
}

/* Use @d in a way that counts. */
static void touch(struct fixture *f, const struct kr_digest *d)
{
	struct kr_store_blob *b;

	assert_int_equal(kr_store_blob_open(f->s, d, &b), KR_OK);
	kr_store_blob_close(b);
}

/* ---- blobs --------------------------------------------------------------*/

static void test_what_was_put_can_be_read_also_after_reopening(void **state)
{
	struct fixture *f = *state;
	struct kr_store_blob *b;
	struct kr_digest d;
	uint8_t *buf = make_bytes(1, 5000, &d), got[5000];

	assert_int_equal(kr_store_blob_put(f->s, &d, buf, 5000), KR_OK);
	reopen(f);
	assert_int_equal(kr_store_blob_open(f->s, &d, &b), KR_OK);
	assert_int_equal(kr_store_blob_size(b), 5000);
	assert_int_equal(pread(kr_store_blob_fd(b), got, 5000, 0), 5000);
	assert_memory_equal(got, buf, 5000);
	kr_store_blob_close(b);
	assert_int_equal(usage(f).blob_bytes, 5000);
	assert_int_equal(usage(f).blob_count, 1);
	free(buf);
}

static void test_an_empty_blob_is_a_blob(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 0, 0);
	uint64_t size = 1;

	reopen(f);
	assert_int_equal(kr_store_stat(f->s, &d, &size), KR_OK);
	assert_int_equal(size, 0);
	touch(f, &d);
}

static void test_put_of_other_bytes_is_refused_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d;
	uint8_t *buf = make_bytes(1, 100, &d);

	buf[50] ^= 1;
	assert_int_equal(kr_store_blob_put(f->s, &d, buf, 100), KR_E_DIGEST);
	assert_false(has(f, &d));
	assert_int_equal(usage(f).blob_bytes, 0);
	assert_int_equal(usage(f).upload_bytes, 0);
	free(buf);
}

static void test_put_twice_is_ok_and_counts_once(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 100);
	put(f, 1, 100);
	assert_int_equal(usage(f).blob_bytes, 100);
}

static void test_sha512_blobs_have_a_folder_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d;
	struct kr_hash h;
	struct kr_store_partial *p;

	assert_int_equal(kr_hash_init(&h, KR_SHA512), KR_OK);
	kr_hash_update(&h, "abc", 3);
	kr_hash_final(&h, &d);
	assert_int_equal(kr_store_meta_put(f->s, &d, "m", 1), KR_OK);
	assert_int_equal(kr_store_partial_open(f->s, &d, 3, 2, &p), KR_OK);
	kr_store_partial_close(p, true);
	reopen(f);
	assert_int_equal(usage(f).partial_count, 1);
	assert_int_equal(kr_store_partial_open(f->s, &d, 3, 2, &p), KR_OK);
	assert_int_equal(pwrite(kr_store_partial_fd(p), "abc", 3, 0), 3);
	kr_store_partial_mark(p, 0);
	kr_store_partial_mark(p, 1);
	assert_int_equal(kr_store_partial_commit(p), KR_OK);
	reopen(f);
	assert_true(has(f, &d));
	assert_memory_equal(blob_path(&d), "blobs/sha512/dd/", 16);
	assert_true(exists(f, blob_path(&d)));
}

static void test_a_file_removed_by_somebody_else_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 1, 100);
	struct kr_store_blob *b;

	assert_int_equal(unlink(path_in(f, blob_path(&d))), 0);
	assert_int_equal(kr_store_blob_open(f->s, &d, &b), KR_E_NOTFOUND);
	assert_int_equal(usage(f).blob_bytes, 0);
	put(f, 1, 100);
	touch(f, &d);
}

static void test_a_file_cut_by_somebody_else_is_not_served(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 1, 100);
	struct kr_store_blob *b;

	assert_int_equal(truncate(path_in(f, blob_path(&d)), 50), 0);
	assert_int_equal(kr_store_blob_open(f->s, &d, &b), KR_E_NOTFOUND);
	assert_false(exists(f, blob_path(&d)));
}

static void test_delete_spares_what_is_open_and_what_is_kept(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 1, 100), other;
	struct kr_store_blob *b;

	free(make_bytes(2, 1, &other));
	assert_int_equal(kr_store_delete(f->s, &other), KR_E_NOTFOUND);
	assert_int_equal(kr_store_blob_open(f->s, &d, &b), KR_OK);
	assert_int_equal(kr_store_delete(f->s, &d), KR_E_BUSY);
	kr_store_blob_close(b);
	assert_int_equal(kr_store_keep(f->s, &d, true), KR_OK);
	reopen(f);
	assert_int_equal(kr_store_delete(f->s, &d), KR_E_BUSY);
	assert_int_equal(kr_store_keep(f->s, &d, false), KR_OK);
	assert_int_equal(kr_store_meta_put(f->s, &d, "meta", 4), KR_OK);
	assert_int_equal(kr_store_delete(f->s, &d), KR_OK);
	assert_false(has(f, &d));
	assert_false(exists(f, blob_path(&d)));
	assert_false(exists(f, in_folder("meta", &d, "")));
	assert_int_equal(usage(f).blob_bytes, 0);
	assert_int_equal(kr_store_keep(f->s, &d, true), KR_E_NOTFOUND);
}

static void count_visit(void *ctx, const struct kr_digest *d, uint64_t size)
{
	uint64_t *sum = ctx;

	assert_int_equal(d->alg, KR_SHA256);
	*sum += size;
}

static void test_for_each_visits_all_complete_blobs(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p;
	struct kr_digest d;
	uint64_t sum = 0;

	put(f, 1, 1);
	put(f, 2, 20);
	put(f, 3, 300);
	free(make_bytes(4, 4000, &d));
	assert_int_equal(kr_store_partial_open(f->s, &d, 4000, 10, &p), KR_OK);
	kr_store_for_each(f->s, count_visit, &sum);
	assert_int_equal(sum, 321);
	kr_store_partial_close(p, false);
}

/* ---- metainfo -----------------------------------------------------------*/

static void test_metainfo_is_replaced_and_read_back(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 1, 100);
	uint8_t *buf = NULL;
	size_t len = 0;

	assert_int_equal(kr_store_meta_get(f->s, &d, &buf, &len),
			 KR_E_NOTFOUND);
	assert_int_equal(kr_store_meta_put(f->s, &d, "one", 3), KR_OK);
	assert_int_equal(kr_store_meta_put(f->s, &d, "second", 6), KR_OK);
	reopen(f);
	assert_int_equal(kr_store_meta_get(f->s, &d, &buf, &len), KR_OK);
	assert_int_equal(len, 6);
	assert_memory_equal(buf, "second", 6);
	free(buf);
}

static void test_metainfo_without_a_blob_goes_at_open(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d;

	free(make_bytes(1, 1, &d));
	assert_int_equal(kr_store_meta_put(f->s, &d, "m", 1), KR_OK);
	reopen(f);
	assert_false(exists(f, in_folder("meta", &d, "")));
}

/* ---- quota --------------------------------------------------------------*/

static void test_eviction_takes_the_least_recently_used_first(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d[12];

	for (unsigned i = 0; i < 9; i++)
		d[i] = put(f, i, 100 * KIB);
	touch(f, &d[0]);
	d[9] = put(f, 9, 100 * KIB); /* 1000 of 1024 KiB: above 95 % */
	assert_true(has(f, &d[0]));
	assert_false(has(f, &d[1]));
	assert_false(has(f, &d[2]));
	assert_true(has(f, &d[3]));
	assert_true(has(f, &d[9]));
	assert_false(exists(f, blob_path(&d[1])));
	assert_int_equal(usage(f).evicted_count, 2);
	assert_true(usage(f).blob_bytes <= 1024 * KIB / 100 * 85);
}

static void age(struct fixture *f, const struct kr_digest *d, long seconds)
{
	const struct timespec times[2] = {
		{ .tv_sec = time(NULL) - seconds },
		{ .tv_sec = time(NULL) - seconds },
	};

	assert_int_equal(
		utimensat(AT_FDCWD, path_in(f, blob_path(d)), times, 0), 0);
}

static void test_recency_survives_a_restart(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d[10];

	for (unsigned i = 0; i < 9; i++) {
		d[i] = put(f, i, 100 * KIB);
		age(f, &d[i], 1000 - (long)i);
	}
	reopen(f);
	touch(f, &d[0]); /* older than a minute on disk: written down */
	reopen(f);
	d[9] = put(f, 9, 100 * KIB);
	assert_true(has(f, &d[0]));
	assert_false(has(f, &d[1]));
	assert_false(has(f, &d[2]));
	assert_true(has(f, &d[3]));
}

static void test_open_and_kept_blobs_are_never_evicted(void **state)
{
	struct fixture *f = *state;
	struct kr_digest kept = put(f, 0, 100 * KIB);
	struct kr_digest open = put(f, 1, 100 * KIB);
	struct kr_store_blob *b;

	assert_int_equal(kr_store_keep(f->s, &kept, true), KR_OK);
	reopen(f);
	assert_int_equal(kr_store_blob_open(f->s, &open, &b), KR_OK);
	for (unsigned i = 2; i < 30; i++)
		put(f, i, 100 * KIB);
	assert_true(has(f, &kept));
	assert_true(has(f, &open));
	assert_true(usage(f).blob_bytes <= 1024 * KIB);
	kr_store_blob_close(b);
}

static void test_what_cannot_fit_is_refused_and_nothing_evicted(void **state)
{
	struct fixture *f = *state;
	struct kr_digest kept = put(f, 0, 500 * KIB), d, small;
	struct kr_store_partial *p;
	struct kr_store_upload *u;
	uint8_t *buf = make_bytes(9, 600 * KIB, &d);

	assert_int_equal(kr_store_keep(f->s, &kept, true), KR_OK);
	small = put(f, 1, 100 * KIB);
	assert_int_equal(kr_store_blob_put(f->s, &d, buf, 600 * KIB),
			 KR_E_NOSPC);
	assert_int_equal(kr_store_partial_open(f->s, &d, 600 * KIB, 4096, &p),
			 KR_E_NOSPC);
	assert_int_equal(kr_store_upload_create(f->s, &u), KR_OK);
	assert_int_equal(kr_store_upload_reserve(u, 600 * KIB), KR_E_NOSPC);
	kr_store_upload_close(u, false);
	assert_true(has(f, &small));
	assert_int_equal(usage(f).evicted_count, 0);
	assert_int_equal(usage(f).partial_bytes, 0);
	assert_int_equal(usage(f).partial_count, 0);
	assert_int_equal(usage(f).upload_bytes, 0);
	assert_false(exists(f, in_folder("partial", &d, "")));
	assert_false(exists(f, in_folder("partial", &d, ".pieces")));
	free(buf);
}

static void test_partials_left_behind_make_way_too(void **state)
{
	struct fixture *f = *state;
	struct kr_store_partial *p;
	struct kr_digest d;

	free(make_bytes(1, 1, &d));
	assert_int_equal(kr_store_partial_open(f->s, &d, 900 * KIB, 4096, &p),
			 KR_OK);
	kr_store_partial_close(p, true);
	assert_int_equal(usage(f).partial_bytes, 900 * KIB);
	put(f, 2, 200 * KIB);
	assert_int_equal(usage(f).partial_bytes, 0);
	assert_false(exists(f, in_folder("partial", &d, "")));
}

static void test_a_smaller_quota_is_enforced_at_open(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 8; i++)
		put(f, i, 100 * KIB);
	f->opts.quota_bytes = 400 * KIB;
	reopen(f);
	assert_int_equal(usage(f).blob_count, 3); /* 340 KiB are 85 % */
}

static void test_the_default_quota_is_a_share_of_the_disk(void **state)
{
	struct fixture *f = *state;

	f->opts.quota_bytes = 0;
	reopen(f);
	assert_true(usage(f).quota_bytes > 1024 * KIB);
	f->opts.low_percent = 90;
	f->opts.high_percent = 80;
	kr_store_close(f->s);
	f->s = NULL;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_E_INVALID);
}

static void test_metrics_follow_the_usage(void **state)
{
	struct fixture *f = *state;
	struct kr_metric *m =
		kr_metrics_gauge("kraken_store_bytes", "", "kind=\"blob\"");
	const int64_t before = kr_metric_value(m);

	put(f, 1, 700);
	assert_int_equal(kr_metric_value(m) - before, 700);
	kr_store_close(f->s);
	f->s = NULL;
	assert_int_equal(kr_metric_value(m), before);
}

/* ---- opening ------------------------------------------------------------*/

static void test_a_second_open_of_the_folder_is_refused(void **state)
{
	struct fixture *f = *state;
	struct kr_store *second = NULL;

	assert_int_equal(kr_store_open(&f->opts, &second), KR_E_EXISTS);
	assert_null(second);
}

static void test_broken_things_go_to_trash_and_foreign_ones_stay(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d = put(f, 1, 100);
	char name[256];

	write_file(f, "README", "mine", 4);
	write_file(f, "blobs/sha256/stray", "x", 1);
	write_file(f, "partial/stray", "x", 1);
	write_file(f, "uploads/not-a-uuid", "x", 1);
	write_file(f, "meta/stray.keep", "x", 1);
	snprintf(name, sizeof(name), "%.15s/%s", blob_path(&d), "abc");
	write_file(f, name, "x", 1);
	reopen(f);
	assert_true(exists(f, "README"));
	assert_false(exists(f, "blobs/sha256/stray"));
	assert_false(exists(f, "partial/stray"));
	assert_false(exists(f, "uploads/not-a-uuid"));
	assert_false(exists(f, "meta/stray.keep"));
	assert_false(exists(f, name));
	assert_true(exists(f, "trash/0"));
	assert_int_equal(usage(f).blob_count, 1);
	assert_int_equal(usage(f).upload_count, 0);
	reopen(f);
	assert_false(exists(f, "trash/0"));
}

static void *put_and_delete(void *arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; i < 150; i++) {
		struct kr_digest d;
		uint8_t *buf = make_bytes(i % 5, 2000, &d);
		struct kr_store_blob *b;

		if (kr_store_blob_put(f->s, &d, buf, 2000) != KR_OK)
			abort();
		if (kr_store_blob_open(f->s, &d, &b) == KR_OK) {
			if (kr_store_delete(f->s, &d) != KR_E_BUSY)
				abort();
			kr_store_blob_close(b);
		}
		(void)!kr_store_delete(f->s, &d);
		free(buf);
	}
	return NULL;
}

static void test_threads_that_put_and_delete_the_same_blobs_agree(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[3];
	uint64_t index_bytes = 0;

	for (int i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, put_and_delete, f),
			0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	kr_store_for_each(f->s, count_visit, &index_bytes);
	assert_int_equal(usage(f).blob_bytes, index_bytes);
	reopen(f); /* the disk agrees with the index */
	assert_int_equal(usage(f).blob_bytes, index_bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_put_can_be_read_also_after_reopening),
		TEST(test_an_empty_blob_is_a_blob),
		TEST(test_put_of_other_bytes_is_refused_and_leaves_nothing),
		TEST(test_put_twice_is_ok_and_counts_once),
		TEST(test_sha512_blobs_have_a_folder_of_their_own),
		TEST(test_a_file_removed_by_somebody_else_is_not_found),
		TEST(test_a_file_cut_by_somebody_else_is_not_served),
		TEST(test_delete_spares_what_is_open_and_what_is_kept),
		TEST(test_for_each_visits_all_complete_blobs),
		TEST(test_metainfo_is_replaced_and_read_back),
		TEST(test_metainfo_without_a_blob_goes_at_open),
		TEST(test_eviction_takes_the_least_recently_used_first),
		TEST(test_recency_survives_a_restart),
		TEST(test_open_and_kept_blobs_are_never_evicted),
		TEST(test_what_cannot_fit_is_refused_and_nothing_evicted),
		TEST(test_partials_left_behind_make_way_too),
		TEST(test_a_smaller_quota_is_enforced_at_open),
		TEST(test_the_default_quota_is_a_share_of_the_disk),
		TEST(test_metrics_follow_the_usage),
		TEST(test_a_second_open_of_the_folder_is_refused),
		TEST(test_broken_things_go_to_trash_and_foreign_ones_stay),
		TEST(test_threads_that_put_and_delete_the_same_blobs_agree),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
