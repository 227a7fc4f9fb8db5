/*
 * test/integration/control/mirror_test.c - tags of an upstream that is slow,
 * broken, or gone: asked once for all who wait, answered in time, served stale.
 */
#define _GNU_SOURCE
#include "control/mirror.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/db.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "test/support/loop.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* Called on threads of the work pool. */
struct fake {
	struct kr_backend base;
	atomic_uint asked;
	atomic_uint value; /* first byte of every tag's digest */
	atomic_int err;    /* enum kr_err: what it answers */
	pthread_mutex_t gate;
	pthread_cond_t moved;
	uint32_t inside; /* questions that it holds */
	bool closed;     /* hold them */
};

struct world {
	struct loop loop;
	struct kr_db *db;
	struct kr_index *index;
	struct kr_mirror *mirror;
	struct kr_backends *backends;
	struct fake *slow, *other; /* of "slow/" and "strict/"; of "other/" */
	struct kr_timer tick;
	int log_fd;
};

static uint64_t wall_now_ns;

static uint64_t wall(void)
{
	return wall_now_ns;
}

/* ---- the backend */

static struct fake *fake_of(struct kr_backend *b)
{
	return (struct fake *)(void *)b;
}

static enum kr_err fake_tag(struct kr_backend *b, const char *name,
			    struct kr_digest *ret)
{
	struct fake *f = fake_of(b);

	atomic_fetch_add(&f->asked, 1);
	(void)name;
	(void)pthread_mutex_lock(&f->gate);
	f->inside++;
	(void)pthread_cond_broadcast(&f->moved);
	while (f->closed)
		(void)pthread_cond_wait(&f->moved, &f->gate);
	f->inside--;
	(void)pthread_mutex_unlock(&f->gate);
	*ret = (struct kr_digest){
		.alg = KR_SHA256, .bytes = { (uint8_t)atomic_load(&f->value) }
	};
	return (enum kr_err)atomic_load(&f->err);
}

static void fake_close(struct kr_backend *b)
{
	free(fake_of(b));
}

static struct fake *open_fake(void)
{
	static const struct kr_backend_ops ops = { .type = "fake",
						   .tag = fake_tag,
						   .close = fake_close };
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->base.ops = &ops;
	atomic_store(&f->value, 1);
	assert_int_equal(pthread_mutex_init(&f->gate, NULL), 0);
	assert_int_equal(pthread_cond_init(&f->moved, NULL), 0);
	return f;
}

static void set_closed(struct fake *f, bool closed)
{
	(void)pthread_mutex_lock(&f->gate);
	f->closed = closed;
	(void)pthread_cond_broadcast(&f->moved);
	(void)pthread_mutex_unlock(&f->gate);
}

static void wait_inside(struct fake *f, uint32_t count)
{
	(void)pthread_mutex_lock(&f->gate);
	while (f->inside < count)
		(void)pthread_cond_wait(&f->moved, &f->gate);
	(void)pthread_mutex_unlock(&f->gate);
}

/* ---- the world */

static void on_tick(struct kr_timer *t)
{
	struct world *w = KR_CONTAINER_OF(t, struct world, tick);

	kr_io_timer_set(w->loop.io, t, kr_io_now_ns(w->loop.io) + 5 * MS,
			on_tick);
}

static void open_mirror(struct world *w, uint64_t timeout_ns)
{
	static const struct kr_mirror_rule rules[] = {
		{ "^slow/cached", { .cache_ns = 10 * SEC, .stale = true } },
		{ "^strict/", { .cache_ns = 0, .stale = false } },
	};
	const struct kr_index_opts ix = { .db = w->db, .node = 1 };
	const struct kr_mirror_opts m = { .io = w->loop.io,
					  .backends = w->backends,
					  .rules = rules,
					  .rule_count = 2,
					  .timeout_ns = timeout_ns,
					  .wall_ns = wall };
	struct kr_mirror_opts opts = m;

	assert_ok(kr_index_open(&ix, &w->index));
	opts.index = w->index;
	assert_ok(kr_mirror_open(&opts, &w->mirror));
}

static void close_mirror(struct world *w)
{
	kr_mirror_close(w->mirror);
	kr_index_close(w->index);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	kr_log_set_fd(w->log_fd); /* failures are the point here */
	open_loop(&w->loop, KR_MIRROR_MAX + 2);
	assert_ok(kr_db_open(w->loop.io, w->loop.db, "", &w->db));
	w->slow = open_fake();
	w->other = open_fake();
	assert_ok(kr_backends_open(&w->backends));
	assert_ok(kr_backends_add(w->backends, "^(slow|strict)/",
				  &w->slow->base, NULL));
	assert_ok(
		kr_backends_add(w->backends, "^other/", &w->other->base, NULL));
	wall_now_ns = 1000 * SEC;
	open_mirror(w, 30 * SEC);
	on_tick(&w->tick);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	set_closed(w->slow, false);
	close_mirror(w);
	kr_io_timer_stop(w->loop.io, &w->tick);
	kr_db_close(w->db);
	kr_backends_close(w->backends);
	const int rc = close_loop(&w->loop);
	(void)close(w->log_fd);
	free(w);
	return rc;
}

/* ---- questions */

struct question {
	struct kr_mirror_ask ask;
	bool done;
	enum kr_err err;
	char text[KR_MIRROR_TEXT_MAX];
};

static void on_answer(struct kr_mirror_ask *a, enum kr_err err,
		      const char *text)
{
	struct question *q = KR_CONTAINER_OF(a, struct question, ask);

	assert_false(q->done);
	q->done = true;
	q->err = err;
	assert_true(strlen(text) < sizeof(q->text));
	strcpy(q->text, text);
}

static void begin(struct world *w, struct question *q, const char *repo,
		  const char *tag)
{
	*q = (struct question){ .done = false };
	kr_mirror_get(w->mirror, &q->ask, repo, tag, on_answer);
	assert_false(q->done); /* not from inside */
}

static void wait_all(struct world *w, const struct question *q, uint32_t count)
{
	const uint64_t until = kr_clock_mono_ns() + 30 * SEC;

	for (uint32_t i = 0; i < count; i++) {
		while (!q[i].done) {
			assert_true(kr_clock_mono_ns() < until);
			kr_io_turn(w->loop.io);
		}
	}
}

/* The first byte of the digest. */
static int value_of(const struct question *q)
{
	assert_ok(q->err);
	return q->ask.req.entry.digest.bytes[0];
}

static int get(struct world *w, const char *repo, const char *tag)
{
	struct question q;

	begin(w, &q, repo, tag);
	wait_all(w, &q, 1);
	return value_of(&q);
}

static enum kr_err fail_get(struct world *w, const char *repo, const char *tag)
{
	struct question q;

	begin(w, &q, repo, tag);
	wait_all(w, &q, 1);
	assert_int_not_equal(q.err, KR_OK);
	return q.err;
}

static void on_put(struct kr_index_req *r, enum kr_err err)
{
	assert_ok(err);
	r->done = NULL;
}

static void put(struct world *w, const char *repo, const char *tag, uint8_t n)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { n } };
	struct kr_index_req r;

	kr_index_put(w->index, &r, repo, tag, &d, on_put);
	while (r.done != NULL)
		kr_io_turn(w->loop.io);
}

static int64_t answers(const char *label)
{
	return kr_metric_value(kr_metrics_counter(
		"kraken_mirror_answers_total",
		"tags of upstreams as they were answered", label));
}

static int64_t errors_so_far(void)
{
	return kr_metric_value(
		kr_metrics_counter("kraken_mirror_errors_total",
				   "of those, without answer in time", NULL));
}

/* ---- tests */

static void equal_questions_are_one_look_up(void **state)
{
	enum { COUNT = 20 };
	struct world *w = *state;
	struct question q[COUNT];

	set_closed(w->slow, true);
	for (int i = 0; i < COUNT; i++) {
		begin(w, &q[i], "slow/app", "v1");
		kr_io_turn(w->loop.io);
	}
	wait_inside(w->slow, 1);
	set_closed(w->slow, false);
	wait_all(w, q, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(value_of(&q[i]), 1);
	assert_int_equal(atomic_load(&w->slow->asked), 1);
}

/* However the look-up's end and the questions' reads of the index fall. */
static void a_first_question_is_asked_once_where_it_is_cached(void **state)
{
	enum { COUNT = 200 };
	static struct question q[COUNT];
	struct world *w = *state;

	for (int i = 0; i < COUNT; i++) {
		begin(w, &q[i], "slow/cached", "v1");
		if (i % 7 == 0)
			kr_io_turn(w->loop.io);
	}
	wait_all(w, q, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(value_of(&q[i]), 1);
	assert_int_equal(atomic_load(&w->slow->asked), 1);
}

static void always_gives_what_is_new_at_once(void **state)
{
	struct world *w = *state;

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	atomic_store(&w->slow->value, 2);
	assert_int_equal(get(w, "slow/app", "v1"), 2);
	assert_int_equal(get(w, "slow/app", "v1"), 2);
	assert_int_equal(atomic_load(&w->slow->asked), 3);
}

static void a_cache_is_asked_again_when_its_time_is_over(void **state)
{
	struct world *w = *state;

	assert_int_equal(get(w, "slow/cached", "v1"), 1);
	atomic_store(&w->slow->value, 2);
	wall_now_ns += 10 * SEC - 1;
	assert_int_equal(get(w, "slow/cached", "v1"), 1);
	wall_now_ns += 1;
	assert_int_equal(get(w, "slow/cached", "v1"), 2);
	/* unchanged, but young again */
	wall_now_ns += 10 * SEC;
	assert_int_equal(get(w, "slow/cached", "v1"), 2);
	wall_now_ns += 9 * SEC;
	assert_int_equal(get(w, "slow/cached", "v1"), 2);
	assert_int_equal(atomic_load(&w->slow->asked), 3);
}

static void what_is_known_is_served_while_upstream_is_down(void **state)
{
	struct world *w = *state;
	const int64_t before = answers("answer=\"stale\"");

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	atomic_store(&w->slow->err, KR_E_UNAVAILABLE);
	assert_int_equal(get(w, "slow/app", "v1"), 1);
	assert_err(fail_get(w, "slow/app", "v2"), KR_E_UNAVAILABLE);
	close_mirror(w); /* also after a restart */
	open_mirror(w, 30 * SEC);
	assert_int_equal(get(w, "slow/app", "v1"), 1);
	assert_int_equal(answers("answer=\"stale\""), before + 2);
	atomic_store(&w->slow->err, KR_OK);
	atomic_store(&w->slow->value, 3);
	assert_int_equal(get(w, "slow/app", "v1"), 3);
}

static void where_stale_is_off_it_says_why(void **state)
{
	struct world *w = *state;
	struct question q;

	assert_int_equal(get(w, "strict/app", "v1"), 1);
	atomic_store(&w->slow->err, KR_E_DENIED);
	begin(w, &q, "strict/app", "v1");
	wait_all(w, &q, 1);
	assert_err(q.err, KR_E_UNAVAILABLE);
	assert_non_null(strstr(q.text, "strict/app"));
	assert_non_null(strstr(q.text, kr_err_text(KR_E_DENIED)));
	assert_non_null(strstr(q.text, "stale"));
}

static void what_upstream_removed_is_not_found(void **state)
{
	struct world *w = *state;

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	atomic_store(&w->slow->err, KR_E_NOTFOUND);
	assert_err(fail_get(w, "slow/app", "v1"), KR_E_NOTFOUND);
	/* nor is it served when upstream is down */
	atomic_store(&w->slow->err, KR_E_UNAVAILABLE);
	assert_err(fail_get(w, "slow/app", "v1"), KR_E_UNAVAILABLE);
}

static void what_was_put_is_not_asked_for(void **state)
{
	struct world *w = *state;

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	put(w, "slow/app", "v1", 7);
	assert_int_equal(get(w, "slow/app", "v1"), 7);
	assert_int_equal(atomic_load(&w->slow->asked), 1);
	put(w, "none/app", "v1", 8); /* a repository without upstream */
	assert_int_equal(get(w, "none/app", "v1"), 8);
	assert_err(fail_get(w, "none/app", "v2"), KR_E_NOTFOUND);
	assert_err(fail_get(w, "NO", "v2"), KR_E_INVALID);
}

/* The put wins over what upstream says a moment later. */
static void a_put_during_a_look_up_is_what_is_served(void **state)
{
	struct world *w = *state;
	struct question q;

	set_closed(w->slow, true);
	begin(w, &q, "slow/app", "v1");
	while (atomic_load(&w->slow->asked) == 0)
		kr_io_turn(w->loop.io);
	put(w, "slow/app", "v1", 7);
	set_closed(w->slow, false);
	wait_all(w, &q, 1);
	assert_int_equal(value_of(&q), 7);
	assert_int_equal(get(w, "slow/app", "v1"), 7);
}

static void a_question_is_answered_in_time(void **state)
{
	struct world *w = *state;
	struct question q;

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	close_mirror(w);
	open_mirror(w, 100 * MS);
	set_closed(w->slow, true);
	assert_int_equal(get(w, "slow/app", "v1"), 1); /* stale */
	assert_err(fail_get(w, "slow/app", "v2"), KR_E_UNAVAILABLE);
	/* who asks for what is overdue is answered at once, as often as he
	 * likes, and nothing is asked again */
	for (int i = 0; i < 50; i++)
		assert_int_equal(get(w, "slow/app", "v1"), 1);
	assert_int_equal(atomic_load(&w->slow->asked), 3);
	/* what comes late is learned all the same */
	atomic_store(&w->slow->value, 2);
	set_closed(w->slow, false);
	do {
		begin(w, &q, "slow/app", "v1");
		wait_all(w, &q, 1);
	} while (value_of(&q) != 2);
}

static void a_backend_that_hangs_does_not_stop_the_others(void **state)
{
	enum { COUNT = 3 * KR_MIRROR_SOURCE_MAX };
	struct world *w = *state;
	struct question q[COUNT];
	char tag[8];

	close_mirror(w);
	open_mirror(w, 100 * MS);
	set_closed(w->slow, true);
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(tag, sizeof(tag), "t%d", i);
		begin(w, &q[i], "slow/app", tag);
	}
	wait_all(w, q, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_err(q[i].err, KR_E_UNAVAILABLE);
	assert_int_equal(atomic_load(&w->slow->asked), KR_MIRROR_SOURCE_MAX);
	assert_int_equal(get(w, "other/app", "v1"), 1);
	/* others of it are refused at once: no thread could ask */
	const int64_t errors = errors_so_far();
	assert_err(fail_get(w, "slow/app", "x"), KR_E_UNAVAILABLE);
	assert_int_equal(errors_so_far(), errors); /* no deadline passed */
	assert_int_equal(atomic_load(&w->slow->asked), KR_MIRROR_SOURCE_MAX);
	set_closed(w->slow, false);
	for (int i = 0; i < 3000 && q[0].err != KR_OK; i++) {
		begin(w, &q[0], "slow/app", "x");
		wait_all(w, q, 1);
	}
	assert_int_equal(value_of(&q[0]), 1);
}

static void on_list(struct kr_index_req *r, enum kr_err err)
{
	assert_ok(err);
	r->done = NULL;
}

static void a_repository_without_upstream_is_forgotten_at_start(void **state)
{
	struct world *w = *state;
	struct kr_backends *all = w->backends, *none;
	struct kr_index_req r = { 0 };

	assert_int_equal(get(w, "slow/app", "v1"), 1);
	assert_int_equal(get(w, "slow/bpp", "v1"), 1);
	put(w, "own/app", "v1", 2);
	close_mirror(w);
	assert_ok(kr_backends_open(&none));
	w->backends = none;
	open_mirror(w, 30 * SEC);
	kr_index_repos(w->index, &r, "", "", 0, on_list);
	while (r.done != NULL)
		kr_io_turn(w->loop.io);
	assert_int_equal(r.name_count, 1);
	assert_string_equal((const char *)r.names.ptr, "own/app");
	kr_buf_fini(&r.names);
	close_mirror(w);
	kr_backends_close(none);
	w->backends = all;
	atomic_store(&w->slow->err, KR_E_UNAVAILABLE);
	open_mirror(w, 30 * SEC);
	assert_err(fail_get(w, "slow/app", "v1"), KR_E_UNAVAILABLE);
}

static void closing_answers_everybody(void **state)
{
	enum { COUNT = KR_MIRROR_SOURCE_MAX + 2 };
	struct world *w = *state;
	struct question q[COUNT];
	char tag[8];

	set_closed(w->slow, true);
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(tag, sizeof(tag), "t%d", i);
		begin(w, &q[i], "slow/app", tag);
	}
	while (atomic_load(&w->slow->asked) < KR_MIRROR_SOURCE_MAX)
		kr_io_turn(w->loop.io);
	set_closed(w->slow, false);
	close_mirror(w);
	for (int i = 0; i < COUNT; i++) {
		assert_true(q[i].done);
		assert_err(q[i].err,
			   i < KR_MIRROR_SOURCE_MAX ? KR_OK : KR_E_UNAVAILABLE);
	}
	open_mirror(w, 30 * SEC);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(equal_questions_are_one_look_up),
		T(a_first_question_is_asked_once_where_it_is_cached),
		T(always_gives_what_is_new_at_once),
		T(a_cache_is_asked_again_when_its_time_is_over),
		T(what_is_known_is_served_while_upstream_is_down),
		T(where_stale_is_off_it_says_why),
		T(what_upstream_removed_is_not_found),
		T(what_was_put_is_not_asked_for),
		T(a_put_during_a_look_up_is_what_is_served),
		T(a_question_is_answered_in_time),
		T(a_backend_that_hangs_does_not_stop_the_others),
		T(a_repository_without_upstream_is_forgotten_at_start),
		T(closing_answers_everybody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
