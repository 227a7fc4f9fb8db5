/*
 * test/unit/control/index_test.c - control/index on control/db, one behaviour
 * per test.  The ring is real: the database is used through its work pool.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/db.h"
#include "control/hlc.h"
#include "control/index.h"
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
	struct kr_index_req req;
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
	const struct kr_index_opts o = { .db = f->db,
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

	kr_buf_fini(&f->req.names);
	close_index(f);
	const int rc = close_loop(&f->loop);
	free(f);
	return rc;
}

static void on_done(struct kr_index_req *r, enum kr_err err)
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

static enum kr_err put(struct fixture *f, const char *repo, const char *tag,
		       uint8_t n)
{
	const struct kr_digest d = digest(n);

	kr_index_put(f->ix, &f->req, repo, tag, &d, on_done);
	return wait_done(f);
}

/* The first byte of the digest; -1: not found. */
static int get(struct fixture *f, const char *repo, const char *tag)
{
	kr_index_get(f->ix, &f->req, repo, tag, on_done);
	const enum kr_err err = wait_done(f);

	assert_true(err == KR_OK || err == KR_E_NOTFOUND);
	return err == KR_OK ? f->req.entry.digest.bytes[0] : -1;
}

static void merge(struct fixture *f, const char *tag, uint8_t n, uint64_t clock,
		  uint64_t node)
{
	struct kr_index_entry e = {
		.repo = "r", .digest = digest(n), .clock = clock, .node = node
	};

	strcpy(e.tag, tag);
	kr_index_merge(f->ix, &f->req, &e, on_done);
	assert_int_equal(wait_done(f), KR_OK);
}

static void assert_names(struct fixture *f, const char *const *want,
			 uint32_t count, bool more)
{
	const char *at = (const char *)f->req.names.ptr;

	assert_int_equal(f->req.name_count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_string_equal(at, want[i]);
		at += strlen(at) + 1;
	}
	assert_int_equal(f->req.more, more);
	kr_buf_fini(&f->req.names);
}

static void test_a_tag_is_what_was_put_last(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, "library/x", "v1"), -1);
	assert_int_equal(put(f, "library/x", "v1", 1), KR_OK);
	assert_int_equal(get(f, "library/x", "v1"), 1);
	assert_int_equal(put(f, "library/x", "v1", 2), KR_OK);
	assert_int_equal(get(f, "library/x", "v1"), 2);
	assert_int_equal(get(f, "library/x", "v2"), -1);
}

static void test_tags_survive_a_restart_and_a_clock_that_went_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, "r", "a", 1), KR_OK);
	const uint64_t clock = f->req.entry.clock;
	close_index(f);
	wall_now_ns -= 100000 * SEC;
	open_index(f);
	assert_int_equal(get(f, "r", "a"), 1);
	assert_int_equal(put(f, "r", "a", 2), KR_OK);
	assert_true(f->req.entry.clock > clock);
	close_index(f);
	open_index(f);
	assert_int_equal(get(f, "r", "a"), 2);
}

static void test_more_tags_than_the_cache_holds_are_found(void **state)
{
	struct fixture *f = *state;
	char tag[8];

	for (uint8_t i = 0; i < 20; i++) {
		(void)snprintf(tag, sizeof(tag), "t%u", i);
		assert_int_equal(put(f, "r", tag, i), KR_OK);
	}
	for (uint8_t i = 0; i < 20; i++) {
		(void)snprintf(tag, sizeof(tag), "t%u", i);
		assert_int_equal(get(f, "r", tag), i);
		assert_int_equal(get(f, "r", tag), i);
	}
}

static void test_the_later_clock_then_the_higher_node_wins(void **state)
{
	struct fixture *f = *state;

	merge(f, "t", 1, 100, 5);
	assert_true(f->req.changed);
	merge(f, "t", 2, 99, 9);
	assert_false(f->req.changed);
	assert_int_equal(f->req.entry.digest.bytes[0], 1);
	merge(f, "t", 3, 100, 6);
	assert_true(f->req.changed);
	merge(f, "t", 4, 100, 5);
	merge(f, "t", 3, 100, 6); /* again: nothing */
	assert_false(f->req.changed);
	assert_int_equal(get(f, "r", "t"), 3);
	close_index(f);
	open_index(f);
	assert_int_equal(get(f, "r", "t"), 3);
}

static void test_a_put_after_a_merge_wins_over_it(void **state)
{
	struct fixture *f = *state;
	const uint64_t ahead = (wall_now_ns / 1000000 + 60000) << 16;

	merge(f, "t", 1, ahead, 99);
	assert_int_equal(put(f, "r", "t", 2), KR_OK);
	assert_int_equal(get(f, "r", "t"), 2);
}

static void test_an_entry_from_the_far_future_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct kr_index_entry e = {
		.repo = "r", .tag = "t", .clock = UINT64_MAX, .node = 1
	};

	kr_index_merge(f->ix, &f->req, &e, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	assert_int_equal(get(f, "r", "t"), -1);
}

static uint32_t taken_count;

static void on_taken(struct kr_queue_req *r, enum kr_err err)
{
	assert_int_equal(err, KR_OK);
	taken_count = r->item_count;
}

static void test_a_put_is_queued_for_every_peer_and_a_merge_is_not(void **state)
{
	static const char *const kinds[] = { "one", "two" };
	static struct kr_queue_item items[4];
	static struct kr_queue_req r;
	struct fixture *f = *state;
	const struct kr_queue_opts o = { .db = f->db };
	struct kr_queue *q;

	merge(f, "m", 1, 100, 5);
	assert_int_equal(put(f, "r", "t", 2), KR_OK);
	assert_int_equal(kr_queue_open(&o, &q), KR_OK);
	for (int i = 0; i < 2; i++) {
		kr_queue_take(q, &r, kinds[i], INT64_MAX, items, 4, on_taken);
		kr_db_drain(f->db);
		assert_int_equal(taken_count, 1);
		assert_string_equal(items[0].key, "r:t");
	}
	kr_queue_close(q);
}

static void test_lists_are_in_byte_order_and_in_pages(void **state)
{
	static const char *const first[] = { "B", "a" };
	static const char *const rest[] = { "b", "c" };
	struct fixture *f = *state;

	assert_int_equal(put(f, "r", "c", 1), KR_OK);
	assert_int_equal(put(f, "r", "a", 1), KR_OK);
	assert_int_equal(put(f, "r", "B", 1), KR_OK);
	assert_int_equal(put(f, "r", "b", 1), KR_OK);
	assert_int_equal(put(f, "r2", "z", 1), KR_OK);
	kr_index_list(f->ix, &f->req, "r", "", 2, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, first, 2, true);
	kr_index_list(f->ix, &f->req, "r", "a", 2, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, rest, 2, false);
	kr_index_list(f->ix, &f->req, "r", "zz", 2, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, NULL, 0, false);
	kr_index_list(f->ix, &f->req, "none", "", 2, on_done);
	assert_int_equal(wait_done(f), KR_E_NOTFOUND);
}

static void test_repositories_are_listed_by_prefix(void **state)
{
	static const char *const all[] = { "a/x", "a/y", "ab", "b" };
	static const char *const some[] = { "a/y" };
	struct fixture *f = *state;

	assert_int_equal(put(f, "b", "1", 1), KR_OK);
	assert_int_equal(put(f, "ab", "1", 1), KR_OK);
	assert_int_equal(put(f, "a/x", "1", 1), KR_OK);
	assert_int_equal(put(f, "a/x", "2", 1), KR_OK);
	assert_int_equal(put(f, "a/y", "1", 1), KR_OK);
	kr_index_repos(f->ix, &f->req, "", "", 0, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, all, 4, false);
	kr_index_repos(f->ix, &f->req, "a/", "a/x", 10, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, some, 1, false);
	kr_index_repos(f->ix, &f->req, "", "", 3, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_names(f, all, 3, true);
}

static void test_grammar_is_that_of_oci(void **state)
{
	static const char *const good_repos[] = { "a", "library/busybox",
						  "a.b/c_d/e__f/g-h/i---j",
						  "0/1" };
	static const char *const bad_repos[] = {
		"",   "A",    "/a",  "a/",   "a//b", "a..b", "a___b", "-a",
		"a-", "a._b", "a b", "../x", "a\n",  "a:b",  ".",     "a/.b"
	};
	static const char *const bad_tags[] = { "",    ".a",  "-a", "a/b",
						"a:b", "a b", "a\n" };
	char tag[130];
	(void)state;

	for (size_t i = 0; i < 4; i++)
		assert_true(kr_index_repo_valid(good_repos[i],
						strlen(good_repos[i])));
	for (size_t i = 0; i < sizeof(bad_repos) / sizeof(char *); i++)
		assert_false(kr_index_repo_valid(bad_repos[i],
						 strlen(bad_repos[i])));
	for (size_t i = 0; i < sizeof(bad_tags) / sizeof(char *); i++)
		assert_false(
			kr_index_tag_valid(bad_tags[i], strlen(bad_tags[i])));
	memset(tag, 'x', sizeof(tag));
	assert_true(kr_index_tag_valid(tag, 128));
	assert_false(kr_index_tag_valid(tag, 129));
	assert_true(kr_index_tag_valid("_A.b-9", 6));
	assert_false(kr_index_repo_valid("a\0b", 3));
}

static void test_malformed_names_are_refused_everywhere(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest(1);

	kr_index_put(f->ix, &f->req, "A", "t", &d, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	kr_index_get(f->ix, &f->req, "a", "-", on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
	kr_index_list(f->ix, &f->req, "a//b", "", 1, on_done);
	assert_int_equal(wait_done(f), KR_E_INVALID);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_tag_is_what_was_put_last),
		T(test_tags_survive_a_restart_and_a_clock_that_went_back),
		T(test_more_tags_than_the_cache_holds_are_found),
		T(test_the_later_clock_then_the_higher_node_wins),
		T(test_a_put_after_a_merge_wins_over_it),
		T(test_an_entry_from_the_far_future_is_refused),
		T(test_a_put_is_queued_for_every_peer_and_a_merge_is_not),
		T(test_lists_are_in_byte_order_and_in_pages),
		T(test_repositories_are_listed_by_prefix),
		cmocka_unit_test(test_grammar_is_that_of_oci),
		T(test_malformed_names_are_refused_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
