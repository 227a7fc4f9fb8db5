/*
 * test/unit/control/index_object_test.c - manifests, blobs and referrers in
 * the build-index, one behaviour per test.  The ring is real: the database is
 * used through its work pool.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/db.h"
#include "control/index_object.h"
#include "control/queue.h"
#include "test/support/loop.h"

#define SEC UINT64_C(1000000000)

static uint64_t wall_now_ns;

static uint64_t wall(void)
{
	return wall_now_ns;
}

struct fixture {
	struct loop loop;
	struct kr_db *db;
	struct kr_index *ix;
	struct kr_index_object_req req;
	struct kr_index_req tag;
	uint32_t done;
	enum kr_err err;
};

static struct fixture *fixture_now;

static void open_index(struct fixture *f)
{
	static const char *const kinds[] = { "one", "two" };
	struct kr_queue *q;

	assert_int_equal(kr_db_open(f->loop.io, f->loop.db, "", &f->db), KR_OK);
	const struct kr_queue_opts qo = { .db = f->db };
	assert_int_equal(kr_queue_open(&qo, &q), KR_OK);
	kr_queue_close(q);
	static const char *const rules[] = { "^prod/[^:]*:v[0-9.]+$" };
	const struct kr_index_opts o = { .db = f->db,
					 .immutable = rules,
					 .immutable_count = 1,
					 .node = 7,
					 .cache_max = 4,
					 .copy_kinds = kinds,
					 .copy_kind_count = 2,
					 .wall_ns = wall };
	assert_int_equal(kr_index_open(&o, &f->ix), KR_OK);
}

static void close_index(struct fixture *f)
{
	kr_index_close(f->ix);
	kr_db_close(f->db);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	open_loop(&f->loop, 2);
	wall_now_ns = 1000000 * SEC;
	fixture_now = f;
	open_index(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_index_object_fini(&f->req);
	kr_buf_fini(&f->tag.names);
	close_index(f);
	const int rc = close_loop(&f->loop);
	free(f);
	return rc;
}

static void on_tag(struct kr_index_req *r, enum kr_err err)
{
	(void)r;
	fixture_now->done++;
	fixture_now->err = err;
}

static void on_done(struct kr_index_object_req *r, enum kr_err err)
{
	(void)r;
	fixture_now->done++;
	fixture_now->err = err;
}

static enum kr_err wait_done(struct fixture *f)
{
	assert_int_equal(f->done, 0); /* never from inside */
	while (f->done == 0)
		kr_io_turn(f->loop.io);
	assert_int_equal(f->done, 1);
	f->done = 0;
	return f->err;
}

static struct kr_digest digest(uint8_t n)
{
	return (struct kr_digest){ .alg = KR_SHA256, .bytes = { n } };
}

/* ---- what tests say ---- */

/* A manifest @n of @repo that refers to @refs (up to a 0), with these tags. */
static enum kr_err put_manifest(struct fixture *f, const char *repo, uint8_t n,
				const uint8_t *refs, const char *tags,
				uint32_t tag_count)
{
	struct kr_index_object o = { .kind = KR_INDEX_MANIFEST,
				     .digest = digest(n) };
	uint8_t packed[4 * KR_INDEX_REF_MAX];

	strcpy(o.repo, repo);
	o.refs.ptr = packed;
	for (; refs != NULL && *refs != 0; refs++) {
		const struct kr_digest d = digest(*refs);

		o.refs.len += kr_index_ref_pack(&d, packed + o.refs.len);
	}
	kr_index_object_put(f->ix, &f->req, &o, tags, tag_count, on_done);
	return wait_done(f);
}

static enum kr_err put_blob(struct fixture *f, const char *repo, uint8_t n)
{
	struct kr_index_object o = { .kind = KR_INDEX_BLOB,
				     .digest = digest(n) };

	strcpy(o.repo, repo);
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	return wait_done(f);
}

static enum kr_err del(struct fixture *f, enum kr_index_kind kind,
		       const char *repo, uint8_t n, bool force)
{
	const struct kr_digest d = digest(n);

	kr_index_object_delete(f->ix, &f->req, kind, repo, &d, force, on_done);
	return wait_done(f);
}

enum { UNKNOWN, THERE, DELETED };

static int find(struct fixture *f, enum kr_index_kind kind, const char *repo,
		uint8_t n)
{
	const struct kr_digest d = digest(n);

	kr_index_object_find(f->ix, &f->req, kind, repo, &d, on_done);
	const enum kr_err err = wait_done(f);
	if (err == KR_E_NOTFOUND)
		return UNKNOWN;
	assert_int_equal(err, KR_OK);
	return f->req.obj.deleted ? DELETED : THERE;
}

/* The first byte of what the tag names; -1: there is none. */
static int tag_of(struct fixture *f, const char *repo, const char *tag)
{
	kr_index_get(f->ix, &f->tag, repo, tag, on_tag);
	const enum kr_err err = wait_done(f);

	assert_true(err == KR_OK || err == KR_E_NOTFOUND);
	return err == KR_OK ? f->tag.entry.digest.bytes[0] : -1;
}

static void merge(struct fixture *f, uint8_t n, bool deleted, uint64_t clock,
		  const uint8_t *ref)
{
	struct kr_index_object o = {
		.kind = ref != NULL ? KR_INDEX_MANIFEST : KR_INDEX_BLOB,
		.repo = "r",
		.digest = digest(n),
		.deleted = deleted,
		.clock = clock,
		.node = 9,
	};
	uint8_t packed[KR_INDEX_REF_MAX];

	if (ref != NULL) {
		const struct kr_digest d = digest(*ref);
		o.refs = (struct kr_bytes){ packed,
					    kr_index_ref_pack(&d, packed) };
	}
	kr_index_object_merge(f->ix, &f->req, &o, on_done);
	assert_int_equal(wait_done(f), KR_OK);
}

static uint64_t clock_at(uint64_t ns)
{
	return ns / 1000000 << 16;
}

/* ---- tests ---- */

static void test_what_was_never_heard_of_is_unknown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), UNKNOWN);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 1, false), KR_E_NOTFOUND);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 1, true), KR_OK);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), DELETED);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 1, true), KR_E_NOTFOUND);
}

static void test_a_blob_is_deleted_from_one_repository(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_blob(f, "r", 1), KR_OK);
	assert_int_equal(put_blob(f, "s", 1), KR_OK);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 1, false), KR_OK);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), DELETED);
	assert_int_equal(find(f, KR_INDEX_BLOB, "s", 1), THERE);
	assert_int_equal(put_blob(f, "r", 1), KR_OK);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), THERE);
}

static void test_a_manifest_and_its_tags_are_one_transaction(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "r", 1, NULL, "a\0b\0c", 3), KR_OK);
	assert_int_equal(tag_of(f, "r", "a"), 1);
	assert_int_equal(tag_of(f, "r", "c"), 1);
	assert_int_equal(put_manifest(f, "r", 2, NULL, "x\0-bad", 2),
			 KR_E_INVALID);
	assert_int_equal(tag_of(f, "r", "x"), -1);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "r", 2), UNKNOWN);
}

static void test_tags_go_with_their_manifest(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "r", 1, NULL, "a\0b", 2), KR_OK);
	assert_int_equal(put_manifest(f, "r", 2, NULL, "b\0c", 2), KR_OK);
	assert_int_equal(tag_of(f, "r", "b"), 2);
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "r", 1, false), KR_OK);
	assert_int_equal(tag_of(f, "r", "a"), -1);
	assert_true(f->tag.entry.deleted);
	assert_int_equal(tag_of(f, "r", "b"), 2);
	close_index(f);
	open_index(f);
	assert_int_equal(tag_of(f, "r", "a"), -1);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "r", 1), DELETED);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "r", 2), THERE);
}

static void test_what_a_manifest_refers_to_is_not_deleted(void **state)
{
	static const uint8_t refs[] = { 5, 6, 0 };
	struct fixture *f = *state;

	assert_int_equal(put_blob(f, "r", 5), KR_OK);
	assert_int_equal(put_manifest(f, "r", 1, refs, NULL, 0), KR_OK);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 5, true), KR_E_DENIED);
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "r", 6, true), KR_E_DENIED);
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "r", 1, false), KR_OK);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", 5, false), KR_OK);
}

/* The manifest was pushed at another index while the blob was deleted here. */
static void test_no_order_of_copies_breaks_an_image(void **state)
{
	static const uint8_t blob = 5;
	struct fixture *f = *state;

	assert_int_equal(put_blob(f, "r", blob), KR_OK);
	assert_int_equal(del(f, KR_INDEX_BLOB, "r", blob, false), KR_OK);
	merge(f, 1, false, clock_at(wall_now_ns - SEC), &blob);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", blob), THERE);
	merge(f, 1, true, clock_at(wall_now_ns), &blob);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", blob), DELETED);
}

static void test_a_tag_keeps_a_deleted_manifest_visible(void **state)
{
	const struct kr_digest d = digest(1);
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "r", 1, NULL, "a", 1), KR_OK);
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "r", 1, false), KR_OK);
	kr_index_put(f->ix, &f->tag, "r", "again", &d, on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "r", 1), THERE);
}

static void test_the_later_write_wins(void **state)
{
	struct fixture *f = *state;

	merge(f, 1, false, 100, NULL);
	merge(f, 1, true, 99, NULL);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), THERE);
	merge(f, 1, true, 101, NULL);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), DELETED);
	merge(f, 1, false, 100, NULL);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), DELETED);
	assert_int_equal(put_blob(f, "r", 1), KR_OK);
	assert_int_equal(find(f, KR_INDEX_BLOB, "r", 1), THERE);
}

static void test_a_tag_that_was_deleted_stays_so(void **state)
{
	struct kr_index_entry old = { .repo = "r",
				      .tag = "a",
				      .digest = digest(7),
				      .clock = 100,
				      .node = 9 };
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "r", 1, NULL, "a", 1), KR_OK);
	kr_index_untag(f->ix, &f->tag, "r", "a", on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(tag_of(f, "r", "a"), -1);
	kr_index_merge(f->ix, &f->tag, &old, on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(tag_of(f, "r", "a"), -1);
	kr_index_untag(f->ix, &f->tag, "r", "a", on_tag);
	assert_int_equal(wait_done(f), KR_E_NOTFOUND);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "r", 1), THERE);
}

static enum kr_err put_tag(struct fixture *f, const char *repo, const char *tag,
			   uint8_t n)
{
	const struct kr_digest d = digest(n);

	kr_index_put(f->ix, &f->tag, repo, tag, &d, on_tag);
	return wait_done(f);
}

static void test_an_immutable_tag_neither_moves_nor_goes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "prod/x", 1, NULL, "v1", 1), KR_OK);
	assert_int_equal(put_manifest(f, "prod/x", 1, NULL, "v1", 1), KR_OK);
	assert_int_equal(put_manifest(f, "prod/x", 2, NULL, "a\0v1", 2),
			 KR_E_EXISTS);
	assert_int_equal(tag_of(f, "prod/x", "a"), -1);
	assert_int_equal(put_tag(f, "prod/x", "v1", 2), KR_E_EXISTS);
	kr_index_untag(f->ix, &f->tag, "prod/x", "v1", on_tag);
	assert_int_equal(wait_done(f), KR_E_EXISTS);
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "prod/x", 1, false),
			 KR_E_EXISTS);
	assert_int_equal(find(f, KR_INDEX_MANIFEST, "prod/x", 1), THERE);
	assert_int_equal(tag_of(f, "prod/x", "v1"), 1);
	/* Others are as ever. */
	assert_int_equal(put_tag(f, "prod/x", "latest", 1), KR_OK);
	assert_int_equal(put_tag(f, "prod/x", "latest", 2), KR_OK);
	assert_int_equal(put_tag(f, "dev/x", "v1", 1), KR_OK);
	assert_int_equal(put_tag(f, "dev/x", "v1", 2), KR_OK);
}

static void test_a_rule_that_is_none_is_said_at_start(void **state)
{
	static const char *const rules[] = { "fine", "(" };
	struct fixture *f = *state;
	struct kr_index *ix;
	const struct kr_index_opts o = {
		.db = f->db, .node = 8, .immutable = rules, .immutable_count = 2
	};

	assert_int_equal(kr_index_open(&o, &ix), KR_E_CONFIG);
}

/* The names of a list, joined by blanks. */
static void assert_list(struct fixture *f, const char *want)
{
	char got[256] = "";
	const char *at = (const char *)f->tag.names.ptr;

	for (uint32_t i = 0; i < f->tag.name_count; i++) {
		strcat(strcat(got, i > 0 ? " " : ""), at);
		at += strlen(at) + 1;
	}
	assert_string_equal(got, want);
	kr_buf_fini(&f->tag.names);
}

static void test_a_repository_is_there_while_something_is_in_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "b", 1, NULL, "x\0y", 2), KR_OK);
	assert_int_equal(put_manifest(f, "a", 1, NULL, NULL, 0), KR_OK);
	assert_int_equal(put_blob(f, "c", 1), KR_OK);
	kr_index_repos(f->ix, &f->tag, "", "", 0, on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_list(f, "a b");
	kr_index_list(f->ix, &f->tag, "a", "", 0, on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_list(f, "");
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "b", 1, false), KR_OK);
	kr_index_list(f->ix, &f->tag, "b", "", 0, on_tag);
	assert_int_equal(wait_done(f), KR_E_NOTFOUND);
	kr_index_repos(f->ix, &f->tag, "", "", 0, on_tag);
	assert_int_equal(wait_done(f), KR_OK);
	assert_list(f, "a");
}

/* ---- referrers ---- */

static void put_referrer(struct fixture *f, uint8_t n, uint8_t subject,
			 const char *type, const char *descriptor)
{
	struct kr_index_object o = {
		.kind = KR_INDEX_MANIFEST,
		.repo = "r",
		.digest = digest(n),
		.has_subject = true,
		.subject = digest(subject),
		.descriptor = { (const uint8_t *)descriptor,
				strlen(descriptor) },
	};

	strcpy(o.artifact_type, type);
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_OK);
}

/* The descriptors of a page, joined by blanks. */
static void assert_referrers(struct fixture *f, uint8_t subject,
			     const char *type, const char *last, uint32_t max,
			     const char *want)
{
	const struct kr_digest d = digest(subject);
	char got[256] = "";

	kr_index_referrers(f->ix, &f->req, "r", &d, type, last, max, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	const uint8_t *at = f->req.page.ptr;
	for (uint32_t i = 0; i < f->req.page_count; i++) {
		const uint32_t len = kr_get_be32(at);

		strcat(got, i > 0 ? " " : "");
		strncat(got, (const char *)at + 4, len);
		at += 4 + len;
	}
	assert_string_equal(got, want);
}

static void test_referrers_are_listed_by_subject_and_type(void **state)
{
	struct fixture *f = *state;

	put_referrer(f, 3, 1, "t/a", "three");
	put_referrer(f, 2, 1, "t/b", "two");
	put_referrer(f, 4, 9, "t/a", "four");
	assert_referrers(f, 1, "", "", 0, "two three");
	assert_false(f->req.more);
	assert_referrers(f, 1, "t/a", "", 0, "three");
	assert_referrers(f, 1, "t/c", "", 0, "");
	assert_referrers(f, 7, "", "", 0, "");
	assert_int_equal(del(f, KR_INDEX_MANIFEST, "r", 2, false), KR_OK);
	assert_referrers(f, 1, "", "", 0, "three");
}

static void test_referrers_come_in_pages(void **state)
{
	struct fixture *f = *state;
	char last[KR_DIGEST_TEXT_MAX];

	put_referrer(f, 2, 1, "", "two");
	put_referrer(f, 3, 1, "", "three");
	put_referrer(f, 4, 1, "", "four");
	assert_referrers(f, 1, "", "", 2, "two three");
	assert_true(f->req.more);
	strcpy(last, f->req.last);
	assert_referrers(f, 1, "", last, 2, "four");
	assert_false(f->req.more);
}

static void test_a_page_has_a_largest_size(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest(1);
	char *text = malloc(KR_INDEX_DESC_MAX + 1);

	assert_non_null(text);
	memset(text, 'x', KR_INDEX_DESC_MAX);
	text[KR_INDEX_DESC_MAX] = '\0';
	for (uint8_t i = 2; i < 7; i++)
		put_referrer(f, i, 1, "", text);
	free(text);
	kr_index_referrers(f->ix, &f->req, "r", &d, "", "", 0, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(f->req.page_count, 3);
	assert_true(f->req.more);
}

/* ---- limits, rows ---- */

static void test_more_than_is_kept_of_a_manifest_is_refused(void **state)
{
	struct fixture *f = *state;
	struct kr_index_object o = { .kind = KR_INDEX_MANIFEST,
				     .repo = "r",
				     .digest = digest(1) };
	uint8_t *big = calloc(1, KR_INDEX_REFS_MAX + 1);

	assert_non_null(big);
	o.descriptor = (struct kr_bytes){ big, KR_INDEX_DESC_MAX + 1 };
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_E_TOOBIG);
	o.descriptor.len = 0;
	o.refs = (struct kr_bytes){ big, KR_INDEX_REFS_MAX + 1 };
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_E_TOOBIG);
	o.refs.len = 32; /* half a digest */
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	big[0] = KR_DIGEST_ALG_COUNT;
	o.refs.len = 33;
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	strcpy(o.repo, "Not");
	o.refs.len = 0;
	kr_index_object_put(f->ix, &f->req, &o, NULL, 0, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	free(big);
}

static void test_a_row_is_read_as_it_was_written(void **state)
{
	static const uint8_t refs[] = { 5, 6, 0 };
	const struct kr_digest one = digest(1), three = digest(3);
	struct fixture *f = *state;

	assert_int_equal(put_manifest(f, "r", 1, refs, NULL, 0), KR_OK);
	kr_index_object_read(f->ix, &f->req, KR_INDEX_MANIFEST, "r", &one,
			     on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(f->req.obj.refs.len, 66);
	assert_int_equal(f->req.obj.refs.ptr[34], 6);
	assert_false(f->req.obj.has_subject);
	assert_int_equal(f->req.obj.node, 7);
	put_referrer(f, 3, 1, "a/b", "text");
	kr_index_object_read(f->ix, &f->req, KR_INDEX_MANIFEST, "r", &three,
			     on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_true(f->req.obj.has_subject);
	assert_true(kr_digest_equal(&f->req.obj.subject, &one));
	assert_string_equal(f->req.obj.artifact_type, "a/b");
	assert_int_equal(f->req.obj.descriptor.len, 4);
	kr_index_object_read(f->ix, &f->req, KR_INDEX_BLOB, "r", &one, on_done);
	assert_int_equal(wait_done(f), KR_E_NOTFOUND);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_what_was_never_heard_of_is_unknown),
		T(test_a_blob_is_deleted_from_one_repository),
		T(test_a_manifest_and_its_tags_are_one_transaction),
		T(test_tags_go_with_their_manifest),
		T(test_what_a_manifest_refers_to_is_not_deleted),
		T(test_no_order_of_copies_breaks_an_image),
		T(test_a_tag_keeps_a_deleted_manifest_visible),
		T(test_the_later_write_wins),
		T(test_a_tag_that_was_deleted_stays_so),
		T(test_an_immutable_tag_neither_moves_nor_goes),
		T(test_a_rule_that_is_none_is_said_at_start),
		T(test_a_repository_is_there_while_something_is_in_it),
		T(test_referrers_are_listed_by_subject_and_type),
		T(test_referrers_come_in_pages),
		T(test_a_page_has_a_largest_size),
		T(test_more_than_is_kept_of_a_manifest_is_refused),
		T(test_a_row_is_read_as_it_was_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
