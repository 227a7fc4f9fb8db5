/*
 * test/integration/control/writeback_test.c - a blob stays pinned in the store
 * until its backend has it, whatever happens between.
 */
#define _GNU_SOURCE
#include "control/writeback.h"

#include "control/db.h"
#include "test/integration/control/backend_world.h"

struct part { /* what an origin has of this */
	struct world *w;
	struct kr_db *db;
	struct kr_writeback *wb;
	struct kr_writeback_add add;
	bool added;
	enum kr_err err;
};

static void open_part(struct part *p, struct world *w)
{
	char path[96];

	*p = (struct part){ .w = w };
	(void)snprintf(path, sizeof(path), "%s/queue.db", w->dir);
	assert_ok(kr_db_open(w->io, path, "PRAGMA user_version = 1;", &p->db));
	const struct kr_writeback_opts opts = { .io = w->io,
						.store = w->store,
						.backends = w->backends,
						.db = p->db,
						.seed = 1 };
	assert_ok(kr_writeback_open(&opts, &p->wb));
}

static void close_part(struct part *p)
{
	kr_writeback_close(p->wb);
	kr_db_close(p->db);
}

static void on_added(struct kr_writeback_add *a, enum kr_err err)
{
	struct part *p = KR_CONTAINER_OF(a, struct part, add);

	p->added = true;
	p->err = err;
}

/* A blob in the store, handed to its backend. */
static struct kr_digest add_blob(struct part *p, const char *ns)
{
	static uint8_t bytes[OBJECT_BYTES];
	const struct kr_digest d = make_object('x', bytes);

	assert_ok(kr_store_blob_put(p->w->store, &d, bytes, sizeof(bytes)));
	p->added = false;
	kr_writeback_add(p->wb, &p->add, ns, &d, on_added);
	turn_until(p->w, p->added);
	return d;
}

static bool is_pinned(struct world *w, const struct kr_digest *d)
{
	return kr_store_delete(w->store, d) == KR_E_BUSY;
}

static void a_blob_goes_to_its_backend_and_is_unpinned(void **state)
{
	struct world *w = *state;
	struct part p;

	open_part(&p, w);
	const struct kr_digest d = add_blob(&p, "team/app");
	assert_ok(p.err);
	turn_until(w, atomic_load(&w->fake->puts) == 1);
	turn_until(w, !is_pinned(w, &d));
	close_part(&p);
	assert_int_equal(w->fake->object[0], 'x');
}

static void a_failed_put_is_tried_again_and_the_pin_holds(void **state)
{
	struct world *w = *state;
	struct part p;

	/* "Not found" of a backend is not "gone" of our store. */
	atomic_store(&w->fake->put_err, KR_E_NOTFOUND);
	open_part(&p, w);
	const struct kr_digest d = add_blob(&p, "team/app");
	assert_ok(p.err);
	turn_until(w, atomic_load(&w->fake->failed_puts) == 1);
	assert_true(is_pinned(w, &d));
	turn_until(w, atomic_load(&w->fake->failed_puts) == 2);
	assert_true(is_pinned(w, &d));
	atomic_store(&w->fake->put_err, KR_OK);
	turn_until(w, atomic_load(&w->fake->puts) == 1);
	turn_until(w, !is_pinned(w, &d));
	close_part(&p);
}

/* One item for each: the pin holds until the last; what the backend has by
 * then is not sent again. */
static void each_namespace_has_its_own_way_to_a_backend(void **state)
{
	struct world *w = *state;
	struct part p;

	atomic_store(&w->fake->put_err, KR_E_UNAVAILABLE);
	open_part(&p, w);
	const struct kr_digest d = add_blob(&p, "team/app");
	assert_ok(p.err);
	(void)add_blob(&p, "team/other");
	assert_ok(p.err);
	turn_until(w, atomic_load(&w->fake->failed_puts) == 2);
	assert_true(is_pinned(w, &d));
	atomic_store(&w->fake->put_err, KR_OK);
	turn_until(w, !is_pinned(w, &d));
	close_part(&p);
	assert_int_equal(atomic_load(&w->fake->puts), 1);
}

static void a_restart_keeps_pin_and_work(void **state)
{
	struct world *w = *state;
	struct part p;

	atomic_store(&w->fake->put_err, KR_E_UNAVAILABLE);
	open_part(&p, w);
	const struct kr_digest d = add_blob(&p, "team/app");
	turn_until(w, atomic_load(&w->fake->failed_puts) == 1);
	close_part(&p);
	kr_store_close(w->store);

	open_store(w);
	assert_true(is_pinned(w, &d));
	atomic_store(&w->fake->put_err, KR_OK);
	open_part(&p, w);
	turn_until(w, atomic_load(&w->fake->puts) == 1);
	turn_until(w, !is_pinned(w, &d));
	close_part(&p);
}

static void without_a_backend_the_store_is_where_a_blob_lives(void **state)
{
	struct world *w = *state;
	struct part p;

	open_part(&p, w);
	const struct kr_digest d = add_blob(&p, "other/app");
	assert_ok(p.err);
	close_part(&p);
	kr_store_close(w->store);
	open_store(w);
	assert_true(is_pinned(w, &d));
	assert_int_equal(atomic_load(&w->fake->puts), 0);
}

static void what_the_store_lacks_cannot_be_added(void **state)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { 1 } };
	struct world *w = *state;
	struct part p;

	open_part(&p, w);
	kr_writeback_add(p.wb, &p.add, "team/app", &d, on_added);
	turn_until(w, p.added);
	assert_err(p.err, KR_E_NOTFOUND);
	close_part(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)
		T(a_blob_goes_to_its_backend_and_is_unpinned),
		T(a_failed_put_is_tried_again_and_the_pin_holds),
		T(each_namespace_has_its_own_way_to_a_backend),
		T(a_restart_keeps_pin_and_work),
		T(without_a_backend_the_store_is_where_a_blob_lives),
		T(what_the_store_lacks_cannot_be_added),
#undef T
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
