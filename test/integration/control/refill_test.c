/*
 * test/integration/control/refill_test.c - blobs from a storage backend into
 * the store: once for all who ask, and only what their name says.
 */
#define _GNU_SOURCE
#include "control/refill.h"

#include "test/integration/control/backend_world.h"

struct question {
	struct kr_refill_wait wait;
	bool done;
	enum kr_err err;
};

static void on_refilled(struct kr_refill_wait *wait, enum kr_err err)
{
	struct question *q = KR_CONTAINER_OF(wait, struct question, wait);

	assert_false(q->done);
	q->done = true;
	q->err = err;
}

static struct kr_refill *open_refill(struct world *w)
{
	struct kr_refill *r;

	assert_ok(kr_refill_open(w->io, w->store, w->backends, &r));
	return r;
}

static void want(struct kr_refill *r, struct question *q, const char *ns,
		 const struct kr_digest *d)
{
	*q = (struct question){ .done = false };
	assert_ok(kr_refill_want(r, &q->wait, ns, d, on_refilled));
	assert_false(q->done); /* not from inside */
}

/* The backend has the blob of bytes @value. */
static struct kr_digest have_object(struct world *w, uint8_t value)
{
	const struct kr_digest d = make_object(value, w->fake->object);

	kr_digest_print_hex(&d, w->fake->name);
	return d;
}

static void equal_questions_are_one_fetch(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct question first, second;
	uint8_t *meta;
	uint64_t size;
	size_t len;

	atomic_store(&w->fake->get_delay_ms, 50);
	want(r, &first, "team/app", &d);
	want(r, &second, "team/app", &d);
	turn_until(w, first.done && second.done);
	assert_ok(first.err);
	assert_ok(second.err);
	assert_int_equal(atomic_load(&w->fake->gets), 1);
	assert_ok(kr_store_stat(w->store, &d, &size));
	assert_int_equal(size, OBJECT_BYTES);
	assert_ok(kr_store_meta_get(w->store, &d, &meta, &len));
	free(meta);
	kr_refill_close(r);
}

static void bytes_that_are_another_blob_are_not_used(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct kr_store_usage usage;
	struct question q;
	uint64_t size;

	w->fake->object[OBJECT_BYTES - 1] ^= 1;
	want(r, &q, "team/app", &d);
	turn_until(w, q.done);
	assert_err(q.err, KR_E_DIGEST);
	assert_err(kr_store_stat(w->store, &d, &size), KR_E_NOTFOUND);
	kr_store_usage(w->store, &usage);
	assert_int_equal(usage.upload_count, 0); /* nothing is left behind */
	assert_int_equal(usage.upload_bytes, 0);

	/* The next question is asked anew. */
	w->fake->object[OBJECT_BYTES - 1] ^= 1;
	want(r, &q, "team/app", &d);
	turn_until(w, q.done);
	assert_ok(q.err);
	kr_refill_close(r);
}

static void what_no_backend_has_is_not_found(void **state)
{
	const struct kr_digest absent = { .alg = KR_SHA256, .bytes = { 1 } };
	struct kr_digest long_one = { .alg = KR_SHA512, .bytes = { 1 } };
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct question q;

	want(r, &q, "team/app", &absent);
	turn_until(w, q.done);
	assert_err(q.err, KR_E_NOTFOUND);
	want(r, &q, "other/app", &d); /* a namespace without a backend */
	turn_until(w, q.done);
	assert_err(q.err, KR_E_NOTFOUND);
	want(r, &q, "team/app", &long_one); /* no name in the layouts */
	turn_until(w, q.done);
	assert_err(q.err, KR_E_NOTFOUND);
	assert_int_equal(atomic_load(&w->fake->gets), 0);
	kr_refill_close(r);
}

static void what_one_namespace_lacks_is_not_said_of_another(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct question without, with;

	want(r, &without, "other/app", &d); /* has no backend */
	want(r, &with, "team/app", &d);
	turn_until(w, without.done && with.done);
	assert_err(without.err, KR_E_NOTFOUND);
	assert_err(with.err, KR_E_BUSY);
	want(r, &with, "team/app", &d);
	want(r, &without, "other/app", &d);
	turn_until(w, without.done && with.done);
	assert_ok(with.err);
	assert_ok(without.err); /* it is here now */
	kr_refill_close(r);
}

static void closing_answers_everybody(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct question running, others[KR_REFILL_MAX];

	atomic_store(&w->fake->get_delay_ms, 50);
	want(r, &running, "team/app", &d);
	for (uint8_t i = 0; i < KR_REFILL_MAX; i++) {
		const struct kr_digest absent = { .alg = KR_SHA256,
						  .bytes = { i } };

		want(r, &others[i], "team/app", &absent);
	}
	kr_refill_close(r);
	assert_true(running.done);
	assert_ok(running.err);
	for (uint32_t i = 0; i + 1 < KR_REFILL_MAX; i++)
		assert_err(others[i].err, KR_E_NOTFOUND);
	assert_err(others[KR_REFILL_MAX - 1].err, KR_E_CANCELED);
}

static void whoever_stops_waiting_hears_nothing(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w, 'a');
	struct kr_refill *r = open_refill(w);
	struct question gone, stays;

	atomic_store(&w->fake->get_delay_ms, 50);
	want(r, &gone, "team/app", &d);
	want(r, &stays, "team/app", &d);
	kr_refill_unwant(&gone.wait);
	turn_until(w, stays.done);
	assert_ok(stays.err);
	assert_false(gone.done);
	kr_refill_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)
		T(equal_questions_are_one_fetch),
		T(bytes_that_are_another_blob_are_not_used),
		T(what_no_backend_has_is_not_found),
		T(what_one_namespace_lacks_is_not_said_of_another),
		T(closing_answers_everybody),
		T(whoever_stops_waiting_hears_nothing),
#undef T
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
