/*
 * test/unit/control/queue_test.c - control/queue on control/db, one behaviour
 * per test.  The ring is real: the database is used through its work pool.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/db.h"
#include "control/queue.h"
#include "test/support/loop.h"

#define SEC UINT64_C(1000000000)

struct fixture {
	struct loop loop;
	struct kr_db *db;
	struct kr_queue *q;
	uint64_t now_ns;
	enum kr_err err;
	struct kr_queue_req req;
	struct kr_queue_item items[KR_QUEUE_TAKE_MAX];
};

static void open_queue(struct fixture *f)
{
	assert_int_equal(kr_db_open(f->loop.io, f->loop.db, "", &f->db), KR_OK);
	const struct kr_queue_opts o = { .db = f->db,
					 .seed = 1,
					 .backoff_min_ns = 4 * SEC,
					 .backoff_max_ns = 60 * SEC };
	assert_int_equal(kr_queue_open(&o, &f->q), KR_OK);
}

static void close_queue(struct fixture *f)
{
	kr_queue_close(f->q);
	kr_db_close(f->db);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	open_loop(&f->loop, 2);
	f->now_ns = 1000 * SEC;
	open_queue(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_queue(f);
	const int rc = close_loop(&f->loop);
	free(f);
	return rc;
}

static struct fixture *fixture_now;

static void on_done(struct kr_queue_req *r, enum kr_err err)
{
	(void)r;
	fixture_now->err = err;
}

/* End the request that was begun. */
static enum kr_err wait_done(struct fixture *f)
{
	fixture_now = f;
	f->err = KR_AGAIN;
	kr_db_drain(f->db);
	assert_int_not_equal(f->err, KR_AGAIN);
	return f->err;
}

static void add(struct fixture *f, const char *key, const char *payload)
{
	kr_queue_add(
		f->q, &f->req, "copy", key,
		(struct kr_bytes){ (const uint8_t *)payload, strlen(payload) },
		f->now_ns, on_done);
	assert_int_equal(wait_done(f), KR_OK);
}

static uint32_t take(struct fixture *f)
{
	kr_queue_take(f->q, &f->req, "copy", f->now_ns, f->items,
		      KR_QUEUE_TAKE_MAX, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	return f->req.item_count;
}

static void settle(struct fixture *f, const struct kr_queue_item *item, bool ok)
{
	if (ok)
		kr_queue_done(f->q, &f->req, item, on_done);
	else
		kr_queue_fail(f->q, &f->req, item, f->now_ns, on_done);
	assert_int_equal(wait_done(f), KR_OK);
}

static void test_items_come_back_in_order_and_once(void **state)
{
	struct fixture *f = *state;

	add(f, "a", "one");
	f->now_ns++;
	add(f, "b", "");
	assert_int_equal(take(f), 2);
	assert_string_equal(f->items[0].key, "a");
	assert_int_equal(f->items[0].payload_len, 3);
	assert_memory_equal(f->items[0].payload, "one", 3);
	assert_string_equal(f->items[1].key, "b");
	assert_int_equal(f->items[1].payload_len, 0);
	assert_int_equal(f->req.depth, 2);
	assert_int_equal(take(f), 0); /* at work */
	settle(f, &f->items[0], true);
	settle(f, &f->items[1], true);
	assert_int_equal(take(f), 0);
	assert_int_equal(f->req.depth, 0);
	assert_true(f->req.next_due_ns == UINT64_MAX);
}

static void test_adding_again_is_one_item_with_the_new_payload(void **state)
{
	struct fixture *f = *state;

	add(f, "a", "old");
	add(f, "a", "new");
	assert_int_equal(take(f), 1);
	assert_memory_equal(f->items[0].payload, "new", 3);
}

static void test_added_again_while_at_work_is_due_again(void **state)
{
	struct fixture *f = *state;

	add(f, "a", "old");
	assert_int_equal(take(f), 1);
	add(f, "a", "new");
	settle(f, &f->items[0], true);
	assert_int_equal(take(f), 1);
	assert_memory_equal(f->items[0].payload, "new", 3);
	/* And a failure of the old does not put off the new. */
	const struct kr_queue_item old = f->items[0];
	add(f, "a", "newest");
	settle(f, &old, false);
	assert_int_equal(take(f), 1);
	assert_memory_equal(f->items[0].payload, "newest", 6);
	assert_int_equal(f->items[0].attempts, 0);
}

static void test_failures_are_put_off_for_longer_and_longer(void **state)
{
	static const uint64_t at_most_s[] = { 4, 8, 16, 32, 60, 60, 60 };
	struct fixture *f = *state;

	add(f, "a", "x");
	for (uint32_t i = 0; i < 7; i++) {
		assert_int_equal(take(f), 1);
		assert_int_equal(f->items[0].attempts, i);
		settle(f, &f->items[0], false);
		assert_int_equal(take(f), 0);
		const uint64_t wait_ns = f->req.next_due_ns - f->now_ns;
		assert_in_range(wait_ns, at_most_s[i] * SEC / 2,
				at_most_s[i] * SEC);
		f->now_ns = f->req.next_due_ns - 1;
		assert_int_equal(take(f), 0);
		f->now_ns++;
	}
}

static void test_kinds_do_not_mix(void **state)
{
	struct fixture *f = *state;

	add(f, "a", "x");
	kr_queue_take(f->q, &f->req, "other", f->now_ns, f->items, 1, on_done);
	assert_int_equal(wait_done(f), KR_OK);
	assert_int_equal(f->req.item_count, 0);
}

static void test_what_was_at_work_survives_a_restart(void **state)
{
	struct fixture *f = *state;

	add(f, "a", "x");
	assert_int_equal(take(f), 1);
	close_queue(f);
	open_queue(f);
	assert_int_equal(take(f), 1);
	assert_string_equal(f->items[0].key, "a");
}

static void test_what_is_too_long_is_refused(void **state)
{
	static uint8_t big[KR_QUEUE_PAYLOAD_MAX + 1];
	static char key[KR_QUEUE_KEY_MAX + 1];
	struct fixture *f = *state;

	kr_queue_add(f->q, &f->req, "copy", "a",
		     (struct kr_bytes){ big, sizeof(big) }, 1, on_done);
	assert_int_equal(wait_done(f), KR_E_TOOBIG);
	memset(key, 'k', KR_QUEUE_KEY_MAX);
	kr_queue_add(f->q, &f->req, "copy", key, (struct kr_bytes){ 0 }, 1,
		     on_done);
	assert_int_equal(wait_done(f), KR_E_TOOBIG);
	assert_int_equal(take(f), 0);
}

static void test_a_file_that_is_no_database_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct kr_db *db;

	(void)snprintf(path, sizeof(path), "%s/no.db", f->loop.dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database. ", file);
	fclose(file);
	assert_int_equal(kr_db_open(f->loop.io, path, "", &db), KR_E_CORRUPT);
	(void)snprintf(path, sizeof(path), "%s/none/x.db", f->loop.dir);
	assert_int_equal(kr_db_open(f->loop.io, path, "", &db), KR_E_NOTFOUND);
}

/* One request that fails leaves the others of its batch alone. */
struct raw {
	struct kr_db_req db;
	struct fixture *f;
	enum kr_err err;
	bool bad;
};

static enum kr_err run_raw(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct raw *r = (struct raw *)(void *)db;
	char key[32];

	(void)snprintf(key, sizeof(key), "k%d", (int)r->bad);
	enum kr_err err =
		kr_queue_add_in(sql, "copy", key, (struct kr_bytes){ 0 }, 1);
	return r->bad ? KR_E_RANGE : err;
}

static void raw_done(struct kr_db_req *db, enum kr_err err)
{
	((struct raw *)(void *)db)->err = err;
}

static void test_a_failing_request_undoes_only_itself(void **state)
{
	struct fixture *f = *state;
	struct raw r[3] = { { .bad = false },
			    { .bad = true },
			    { .bad = false } };

	for (int i = 0; i < 3; i++) {
		r[i].err = KR_AGAIN;
		kr_db_submit(f->db, &r[i].db, run_raw, raw_done);
	}
	kr_db_drain(f->db);
	assert_int_equal(r[0].err, KR_OK);
	assert_int_equal(r[1].err, KR_E_RANGE);
	assert_int_equal(r[2].err, KR_OK);
	assert_int_equal(take(f), 1);
	assert_string_equal(f->items[0].key, "k0");
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_items_come_back_in_order_and_once),
		T(test_adding_again_is_one_item_with_the_new_payload),
		T(test_added_again_while_at_work_is_due_again),
		T(test_failures_are_put_off_for_longer_and_longer),
		T(test_kinds_do_not_mix),
		T(test_what_was_at_work_survives_a_restart),
		T(test_what_is_too_long_is_refused),
		T(test_a_file_that_is_no_database_is_refused),
		T(test_a_failing_request_undoes_only_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
