/*
 * test/unit/control/index_learned_test.c - tags of upstreams in control/index:
 * what was learned, beside what was put and deleted.  One behaviour per test.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/index.h"
#include "control/index_object.h"
#include "test/support/loop.h"

#define SEC UINT64_C(1000000000)

struct fixture {
	struct loop loop;
	struct kr_db *db;
	struct kr_index *ix;
	struct kr_index_req req;
	struct kr_index_object_req object;
	bool done;
	enum kr_err err;
};

static struct fixture *fixture_now;

static void open_index(struct fixture *f)
{
	assert_ok(kr_db_open(f->loop.io, f->loop.db, "", &f->db));
	const struct kr_index_opts o = { .db = f->db, .node = 7 };
	assert_ok(kr_index_open(&o, &f->ix));
}

static void close_index(struct fixture *f)
{
	kr_index_close(f->ix);
	kr_db_close(f->db);
}

/* The cache in memory is empty. */
static void reopen(struct fixture *f)
{
	close_index(f);
	open_index(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	open_loop(&f->loop, 2);
	fixture_now = f;
	open_index(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_index_object_fini(&f->object);
	close_index(f);
	const int rc = close_loop(&f->loop);
	free(f);
	return rc;
}

static void on_done(struct kr_index_req *r, enum kr_err err)
{
	(void)r;
	fixture_now->done = true;
	fixture_now->err = err;
}

static enum kr_err wait_done(struct fixture *f)
{
	assert_false(f->done); /* never from inside */
	while (!f->done)
		kr_io_turn(f->loop.io);
	f->done = false;
	return f->err;
}

static struct kr_digest digest(uint8_t n)
{
	return (struct kr_digest){ .alg = KR_SHA256, .bytes = { n } };
}

static void put(struct fixture *f, const char *tag, uint8_t n)
{
	const struct kr_digest d = digest(n);

	kr_index_put(f->ix, &f->req, "r", tag, &d, on_done);
	assert_ok(wait_done(f));
}

static enum kr_err untag(struct fixture *f, const char *tag)
{
	kr_index_untag(f->ix, &f->req, "r", tag, on_done);
	return wait_done(f);
}

static void learn(struct fixture *f, const char *tag, uint8_t n, uint64_t at_ns)
{
	const struct kr_digest d = digest(n);

	kr_index_learn(f->ix, &f->req, "r", tag, &d, at_ns, on_done);
	assert_ok(wait_done(f));
}

static void forget(struct fixture *f, const char *tag)
{
	kr_index_forget(f->ix, &f->req, "r", tag, on_done);
	assert_ok(wait_done(f));
}

static void merge(struct fixture *f, const char *tag, uint64_t clock,
		  bool deleted)
{
	struct kr_index_entry e = {
		.repo = "r", .digest = digest(9), .clock = clock, .node = 1
	};

	e.deleted = deleted;
	strcpy(e.tag, tag);
	kr_index_merge(f->ix, &f->req, &e, on_done);
	assert_ok(wait_done(f));
}

/* From memory and from the database: the first byte of the digest, -1: not
 * found.  The time at which it was learned is @learned_ns. */
static void assert_tag(struct fixture *f, const char *tag, int want,
		       uint64_t learned_ns)
{
	for (int i = 0; i < 3; i++) {
		kr_index_get(f->ix, &f->req, "r", tag, on_done);
		const enum kr_err err = wait_done(f);

		assert_err(err, want < 0 ? KR_E_NOTFOUND : KR_OK);
		if (want >= 0) {
			assert_int_equal(f->req.entry.digest.bytes[0], want);
			assert_int_equal(f->req.entry.learned_ns, learned_ns);
			assert_false(f->req.entry.deleted);
		}
		if (i == 1)
			reopen(f);
	}
}

static void what_was_learned_is_known_after_a_restart(void **state)
{
	struct fixture *f = *state;

	learn(f, "v1", 1, 5 * SEC);
	assert_tag(f, "v1", 1, 5 * SEC);
	learn(f, "v1", 1, 6 * SEC); /* the same, later */
	assert_tag(f, "v1", 1, 6 * SEC);
	learn(f, "v1", 2, 7 * SEC);
	assert_tag(f, "v1", 2, 7 * SEC);
	assert_tag(f, "v2", -1, 0);
}

static void what_upstream_has_no_more_is_forgotten(void **state)
{
	struct fixture *f = *state;

	learn(f, "v1", 1, SEC);
	forget(f, "v1");
	assert_true(f->req.changed);
	assert_tag(f, "v1", -1, 0);
	forget(f, "v1");
	assert_false(f->req.changed);
}

static void a_put_hides_what_was_learned_until_it_is_deleted(void **state)
{
	struct fixture *f = *state;

	learn(f, "v1", 1, SEC);
	put(f, "v1", 2);
	assert_tag(f, "v1", 2, 0);
	learn(f, "v1", 3, 2 * SEC); /* what was put stays */
	assert_int_equal(f->req.entry.digest.bytes[0], 2);
	assert_int_equal(f->req.entry.learned_ns, 0);
	assert_tag(f, "v1", 2, 0);
	forget(f, "v1"); /* likewise */
	assert_tag(f, "v1", 2, 0);

	assert_ok(untag(f, "v1"));
	assert_tag(f, "v1", -1, 0);
	learn(f, "v1", 4, 3 * SEC); /* upstream's is to be seen again */
	assert_tag(f, "v1", 4, 3 * SEC);
	put(f, "v1", 5);
	assert_tag(f, "v1", 5, 0);
}

static void deleting_what_was_learned_forgets_it(void **state)
{
	struct fixture *f = *state;

	learn(f, "v1", 1, SEC);
	assert_ok(untag(f, "v1"));
	assert_tag(f, "v1", -1, 0);
	assert_err(untag(f, "v1"), KR_E_NOTFOUND);
	learn(f, "v1", 1, 2 * SEC);
	assert_tag(f, "v1", 1, 2 * SEC);
}

/* A copy that comes late, of a put before the deletion, changes nothing. */
static void an_old_copy_does_not_hide_what_was_learned(void **state)
{
	struct fixture *f = *state;

	put(f, "v1", 1);
	assert_ok(untag(f, "v1"));
	learn(f, "v1", 2, SEC);
	merge(f, "v1", 1, false);
	assert_false(f->req.changed);
	assert_tag(f, "v1", 2, SEC);
}

static void a_deletion_at_another_index_forgets_it_too(void **state)
{
	struct fixture *f = *state;

	learn(f, "v1", 1, SEC);
	merge(f, "v1", 77, true);
	assert_tag(f, "v1", -1, 0);
}

static void assert_names(struct fixture *f, const char *const *want,
			 uint32_t count)
{
	const char *at = (const char *)f->req.names.ptr;

	assert_int_equal(f->req.name_count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_string_equal(at, want[i]);
		at += strlen(at) + 1;
	}
	kr_buf_fini(&f->req.names);
}

static void lists_name_both_once_and_in_order(void **state)
{
	static const char *const tags[] = { "a", "b", "c" };
	static const char *const repos[] = { "other", "r" };
	struct fixture *f = *state;
	const struct kr_digest d = digest(1);

	learn(f, "b", 1, SEC);
	learn(f, "c", 1, SEC);
	put(f, "a", 1);
	put(f, "c", 1);
	kr_index_learn(f->ix, &f->req, "other", "x", &d, SEC, on_done);
	assert_ok(wait_done(f));
	kr_index_list(f->ix, &f->req, "r", "", 10, on_done);
	assert_ok(wait_done(f));
	assert_names(f, tags, 3);
	kr_index_list(f->ix, &f->req, "r", "a", 1, on_done);
	assert_ok(wait_done(f));
	assert_true(f->req.more);
	assert_names(f, &tags[1], 1);
	kr_index_repos(f->ix, &f->req, "", "", 10, on_done);
	assert_ok(wait_done(f));
	assert_names(f, repos, 2);
	kr_index_list(f->ix, &f->req, "other", "", 10, on_done);
	assert_ok(wait_done(f)); /* it exists by what was learned */
	assert_names(f, (const char *const[]){ "x" }, 1);
}

static void on_object(struct kr_index_object_req *r, enum kr_err err)
{
	(void)r;
	fixture_now->done = true;
	fixture_now->err = err;
}

static bool is_hidden(struct fixture *f, uint8_t n)
{
	const struct kr_digest d = digest(n);

	kr_index_object_find(f->ix, &f->object, KR_INDEX_MANIFEST, "r", &d,
			     on_object);
	assert_ok(wait_done(f));
	return f->object.obj.deleted;
}

/* It was deleted here, but upstream's tag leads to it. */
static void what_a_learned_tag_names_is_served(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest(1);

	kr_index_object_delete(f->ix, &f->object, KR_INDEX_MANIFEST, "r", &d,
			       true, on_object);
	assert_ok(wait_done(f));
	assert_true(is_hidden(f, 1));
	learn(f, "v1", 1, SEC);
	assert_false(is_hidden(f, 1));
	learn(f, "v1", 2, SEC);
	assert_true(is_hidden(f, 1));
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_was_learned_is_known_after_a_restart),
		T(what_upstream_has_no_more_is_forgotten),
		T(a_put_hides_what_was_learned_until_it_is_deleted),
		T(deleting_what_was_learned_forgets_it),
		T(an_old_copy_does_not_hide_what_was_learned),
		T(a_deletion_at_another_index_forgets_it_too),
		T(lists_name_both_once_and_in_order),
		T(what_a_learned_tag_names_is_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
