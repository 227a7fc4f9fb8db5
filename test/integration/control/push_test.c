/*
 * test/integration/control/push_test.c - when a push is acknowledged, and when
 * it is not: against origins that answer as told.
 */
#define _GNU_SOURCE
#include "control/push.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/origin_msg.h"
#include "control/origins.h"
#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"
#include "test/support/metainfo.h"
#include "test/support/test.h"
#include "uring/ring.h"

#define MS UINT64_C(1000000)

enum { ORIGINS_MAX = 3, HELD_MAX = 64 };

struct fake { /* an origin */
	struct world *w;
	struct kr_rpc_server *server;
	struct kr_addr addr;
	enum kr_err answer; /* to an ingest */
	bool holds;         /* ingests are not answered */
	bool hangs;         /* nor is anything else */
	struct kr_rpc_request *held[HELD_MAX];
	uint32_t held_count, ingests;
};

struct world {
	struct kr_io *io;
	struct kr_work_pool *pool;
	struct fake fakes[ORIGINS_MAX];
	uint32_t count;
	struct kr_origins *origins;
	struct kr_pusher *pusher;
	struct kr_metainfo meta;
	struct kr_push *push;
	uint32_t done;
	enum kr_err err;
	char text[KR_RPC_TEXT_MAX];
	struct kr_timer tick;
	int log_fd;
};

static void on_tick(struct kr_timer *t)
{
	struct world *w = KR_CONTAINER_OF(t, struct world, tick);

	kr_io_timer_set(w->io, t, kr_io_now_ns(w->io) + 5 * MS, on_tick);
}

static void turn_for(struct world *w, uint64_t ns)
{
	const uint64_t until = kr_clock_mono_ns() + ns;

	while (kr_clock_mono_ns() < until)
		kr_io_turn(w->io);
}

/* Turn until @cond, at most 30 s. */
#define turn_until(w, cond)                                                 \
	do {                                                                \
		const uint64_t until_ = kr_clock_mono_ns() + 30000 * MS;    \
		while (!(cond)) {                                           \
			if (kr_clock_mono_ns() > until_)                    \
				fail_msg("30 s passed without: %s", #cond); \
			kr_io_turn((w)->io);                                \
		}                                                           \
	} while (0)

/* ---- origins */

static void hold(struct fake *f, struct kr_rpc_request *req)
{
	assert_true(f->held_count < HELD_MAX);
	f->held[f->held_count++] = req;
}

static void on_info(void *ctx, struct kr_rpc_request *req,
		    struct kr_bytes params)
{
	struct fake *f = ctx;
	const struct kr_tracker_msg_peer self = { .port = 1,
						  .role = KR_PEER_ORIGIN };
	uint8_t buf[KR_ORIGIN_MSG_INFO_MAX];
	struct kr_mp_writer w;
	size_t len;

	(void)params;
	if (f->hangs) {
		hold(f, req);
		return;
	}
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_info_encode(&w, &self);
	assert_ok(kr_mp_w_done(&w, &len));
	kr_rpc_reply(req, (struct kr_bytes){ buf, len });
}

static void on_ingest(void *ctx, struct kr_rpc_request *req,
		      struct kr_bytes params)
{
	static struct kr_origin_msg_ingest msg;
	struct fake *f = ctx;

	assert_ok(kr_origin_msg_ingest_decode(params, &msg));
	assert_string_equal(msg.ref.ns, "team/app");
	assert_true(kr_digest_equal(&msg.ref.digest, &f->w->meta.digest));
	assert_int_equal(msg.metainfo.len, f->w->meta.encoded_len);
	assert_memory_equal(msg.metainfo.ptr, f->w->meta.encoded,
			    msg.metainfo.len);
	/* the pusher, and the other owners */
	assert_int_equal(msg.peer_count, f->w->count);
	assert_int_equal(msg.peers[0].role, KR_PEER_PROXY);
	f->ingests++;
	if (f->holds || f->hangs)
		hold(f, req);
	else if (f->answer == KR_OK)
		kr_rpc_reply(req, (struct kr_bytes){ NULL, 0 });
	else
		kr_rpc_fail(req, f->answer, "as told");
}

/* Answer what was held. */
static void let_go(struct fake *f)
{
	for (uint32_t i = 0; i < f->held_count; i++)
		kr_rpc_reply(f->held[i], (struct kr_bytes){ NULL, 0 });
	f->held_count = 0;
}

static void open_fake(struct fake *f)
{
	static const struct kr_rpc_method methods[] = {
		{ "origin.info", on_info },
		{ "origin.ingest", on_ingest },
	};
	struct kr_rpc_server_opts opts = { .methods = methods,
					   .method_count = 2,
					   .ctx = f };

	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &opts.listen));
	assert_ok(kr_rpc_server_open(f->w->io, &opts, &f->server));
	f->addr = kr_rpc_server_addr(f->server);
}

static void close_fake(struct fake *f)
{
	if (f->server != NULL)
		kr_rpc_server_close(f->server);
	f->server = NULL;
	let_go(f);
}

/* ---- the world */

static struct world *open_base(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	/* failures are the point here */
	w->log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	kr_log_set_fd(w->log_fd);
	assert_ok(kr_work_pool_open(1, &w->pool));
	const struct kr_ring_opts opts = { .buffer_count = 1, .pool = w->pool };
	assert_ok(kr_ring_open(&opts, &w->io));
	on_tick(&w->tick);
	return w;
}

static void make_meta(struct world *w)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { 7 } };
	const uint8_t hash[32] = { 1 };

	assert_ok(kr_metainfo_make(kr_alloc_heap(), &d, 1000, 256 * 1024, hash,
				   &w->meta));
	add_unknown_key(&w->meta); /* is pushed as it is */
}

/* @count origins that all own everything, and have said who they are. */
static struct world *open_world(uint32_t count, uint32_t quorum)
{
	static const char *const names[] = { "o1:1", "o2:1", "o3:1" };
	struct world *w = open_base();
	struct kr_addr addrs[ORIGINS_MAX];

	make_meta(w);
	w->count = count;
	for (uint32_t i = 0; i < count; i++) {
		w->fakes[i].w = w;
		open_fake(&w->fakes[i]);
		addrs[i] = w->fakes[i].addr;
	}
	const struct kr_origins_opts origins = { .io = w->io,
						 .names = names,
						 .addrs = addrs,
						 .count = count,
						 .replicas = count,
						 .rpc_timeout_ns = 1000 * MS,
						 .health_interval_ns =
							 50 * MS };
	assert_ok(kr_origins_open(&origins, &w->origins));
	const struct kr_pusher_opts pusher = {
		.io = w->io,
		.origins = w->origins,
		.self = { .port = 2, .role = KR_PEER_PROXY },
		.write_quorum = quorum,
		.ingest_timeout_ns = 20000 * MS
	};
	assert_ok(kr_pusher_open(&pusher, &w->pusher));
	turn_until(w, kr_origins_healthy_count(w->origins) == count);
	return w;
}

static void close_world(struct world *w)
{
	kr_pusher_close(w->pusher);
	kr_origins_close(w->origins);
	for (uint32_t i = 0; i < w->count; i++)
		close_fake(&w->fakes[i]);
	kr_metainfo_fini(kr_alloc_heap(), &w->meta);
	kr_io_timer_stop(w->io, &w->tick);
	kr_ring_close(w->io);
	kr_work_pool_close(w->pool);
	(void)close(w->log_fd);
	free(w);
}

static void on_pushed(void *ctx, enum kr_err err, const char *text)
{
	struct world *w = ctx;

	w->done++;
	w->err = err;
	(void)snprintf(w->text, sizeof(w->text), "%s", text);
}

static void start(struct world *w)
{
	assert_ok(kr_push_start(w->pusher, "team/app", &w->meta, w, on_pushed,
				&w->push));
	assert_int_equal(w->done, 0); /* not from inside */
}

/* Every owner was asked; the answers that will come are here. */
static void settle(struct world *w)
{
	turn_for(w, 100 * MS);
}

/* ---- tests */

static void a_quorum_is_enough_and_the_rest_follows(void **state)
{
	struct world *w = open_world(3, 2);

	(void)state;
	w->fakes[1].holds = true;
	start(w);
	turn_until(w, w->done == 1);
	assert_ok(w->err);
	turn_until(w, w->fakes[1].held_count == 1);
	let_go(&w->fakes[1]);
	settle(w);
	assert_int_equal(w->done, 1);
	close_world(w);
}

static void less_than_a_quorum_is_not_acknowledged(void **state)
{
	struct world *w = open_world(3, 2);

	(void)state;
	w->fakes[0].holds = w->fakes[1].holds = true;
	start(w);
	turn_until(w, w->fakes[0].held_count + w->fakes[1].held_count == 2);
	settle(w);
	assert_int_equal(w->fakes[2].ingests, 1);
	assert_int_equal(w->done, 0);
	let_go(&w->fakes[0]);
	turn_until(w, w->done == 1);
	assert_ok(w->err);
	close_world(w);
}

static void an_owner_that_dies_is_not_waited_for(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	w->fakes[0].holds = true;
	start(w);
	turn_until(w, w->fakes[0].held_count == 1 && w->fakes[1].ingests == 1);
	settle(w);
	assert_int_equal(w->done, 0);
	close_fake(&w->fakes[0]);
	turn_until(w, w->done == 1);
	assert_ok(w->err);
	close_world(w);
}

static void an_owner_that_hangs_is_given_up(void **state)
{
	struct world *w = open_world(2, 2);
	const uint64_t begin_ns = kr_clock_mono_ns();

	(void)state;
	w->fakes[0].hangs = true;
	start(w);
	turn_until(w, w->done == 1);
	assert_ok(w->err);
	/* long before origin.ingest_timeout */
	assert_true(kr_clock_mono_ns() - begin_ns < 10000 * MS);
	close_world(w);
}

static void a_refusal_that_costs_the_quorum_is_the_answer(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	w->fakes[1].answer = KR_E_NOSPC;
	start(w);
	turn_until(w, w->done == 1);
	assert_err(w->err, KR_E_NOSPC);
	assert_non_null(strstr(w->text, "o2:1"));
	close_world(w);
}

static void who_could_not_fetch_refuses_but_is_healthy(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	w->fakes[1].answer = KR_E_TIMEDOUT; /* no byte came from the pusher */
	for (uint32_t i = 0; i < 4; i++) {
		w->done = 0;
		start(w);
		turn_until(w, w->done == 1);
		assert_err(w->err, KR_E_TIMEDOUT);
	}
	assert_int_equal(kr_origins_healthy_count(w->origins), 2);
	close_world(w);
}

static void a_refusal_beside_a_quorum_does_no_harm(void **state)
{
	struct world *w = open_world(3, 2);

	(void)state;
	w->fakes[1].answer = KR_E_NOSPC;
	start(w);
	turn_until(w, w->done == 1);
	assert_ok(w->err);
	close_world(w);
}

static void without_a_single_copy_nothing_is_acknowledged(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	w->fakes[0].answer = w->fakes[1].answer = KR_E_UNAVAILABLE;
	start(w);
	turn_until(w, w->done == 1);
	assert_err(w->err, KR_E_UNAVAILABLE);
	close_world(w);
}

static void nobody_healthy_is_unavailable(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	close_fake(&w->fakes[0]);
	close_fake(&w->fakes[1]);
	turn_until(w, kr_origins_healthy_count(w->origins) == 0);
	start(w);
	turn_until(w, w->done == 1);
	assert_err(w->err, KR_E_UNAVAILABLE);
	assert_non_null(strstr(w->text, "no origin is healthy"));
	close_world(w);
}

static void who_abandons_is_not_told(void **state)
{
	struct world *w = open_world(2, 2);

	(void)state;
	w->fakes[0].holds = w->fakes[1].holds = true;
	start(w);
	turn_until(w, w->fakes[0].held_count + w->fakes[1].held_count == 2);
	kr_push_abandon(w->push);
	let_go(&w->fakes[0]);
	settle(w);
	assert_int_equal(w->done, 0);
	close_world(w); /* while one owner has not answered */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quorum_is_enough_and_the_rest_follows),
		cmocka_unit_test(less_than_a_quorum_is_not_acknowledged),
		cmocka_unit_test(an_owner_that_dies_is_not_waited_for),
		cmocka_unit_test(an_owner_that_hangs_is_given_up),
		cmocka_unit_test(a_refusal_that_costs_the_quorum_is_the_answer),
		cmocka_unit_test(who_could_not_fetch_refuses_but_is_healthy),
		cmocka_unit_test(a_refusal_beside_a_quorum_does_no_harm),
		cmocka_unit_test(without_a_single_copy_nothing_is_acknowledged),
		cmocka_unit_test(nobody_healthy_is_unavailable),
		cmocka_unit_test(who_abandons_is_not_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
