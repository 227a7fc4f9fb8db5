/* test/unit/peerwire/node_test.c - nodes that meet on a quiet network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/fault_alloc.h"
#include "test/support/swarm_world.h"

#define MIB  (UINT64_C(1) << 20)
#define FAST (300 * MIB)

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -1;
	world_init(w, 7);
	w->check_every = 1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_fini(*state);
	free(*state);
	return 0;
}

static void test_two_nodes_exchange_a_blob(void **state)
{
	struct world *w = *state;
	const uint32_t origin = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	const uint32_t blob = world_blob_add(w, 10 * MIB + 1, 1024 * 1024);

	world_seed(w, origin, blob);
	world_want(w, agent, blob);
	world_hint(w, agent, blob, origin);
	assert_true(world_run_until_done(w, w->now_ns + 5 * WORLD_S));
	assert_int_equal(w->hosts[agent].copies[blob].accepted, 11);
}

static void test_a_long_way_does_not_leave_the_window_empty(void **state)
{
	struct world *w = *state;
	uint32_t origin, agent, blob;

	w->latency_min_ns = w->latency_max_ns = 25 * WORLD_MS;
	w->policy.down_bytes_per_s = FAST;
	origin = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	blob = world_blob_add(w, 150 * MIB, 1024 * 1024);
	world_seed(w, origin, blob);
	world_want(w, agent, blob);
	/* 0.5 s at the rate; 8 s if each piece waited for the one before. */
	assert_true(world_run_until_done(w, w->now_ns + WORLD_S));
}

/* One host damages all it sends: the others find out and finish. */
static void test_a_liar_is_found_and_the_honest_finish(void **state)
{
	struct world *w = *state;
	uint32_t closes = 0, reports = 0, blob;

	for (uint32_t i = 0; i < 12; i++)
		(void)world_host_add(w, i < 2 ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     FAST, FAST);
	w->check_every = 100;
	w->hosts[5].lie_permille = 1000;
	blob = world_blob_add(w, 60 * MIB, 1024 * 1024);
	world_seed(w, 0, blob);
	world_seed(w, 1, blob);
	for (uint32_t i = 2; i < 12; i++)
		world_want(w, i, blob);
	assert_true(world_run_until_done(w, w->now_ns + 20 * WORLD_S));
	for (uint32_t i = 0; i < 12; i++) {
		closes += w->hosts[i].closes_corrupt;
		reports += w->hosts[i].bad_reports;
	}
	assert_true(closes > 0 && reports >= closes);
}

/* A seeder that only lies is no seeder: the other one is used. */
static void test_a_lying_seeder_costs_one_piece(void **state)
{
	struct world *w = *state;
	const uint32_t honest = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t liar = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	const uint32_t blob = world_blob_add(w, 30 * MIB, 1024 * 1024);
	struct kr_node_stats st;

	w->hosts[liar].lie_permille = 1000;
	world_seed(w, honest, blob);
	world_seed(w, liar, blob);
	world_want(w, agent, blob);
	assert_true(world_run_until_done(w, w->now_ns + 5 * WORLD_S));
	kr_node_stats(w->hosts[agent].node, &st);
	assert_int_equal(w->hosts[agent].bad_reports, 1);
	assert_in_range(st.pieces_failed, 1, 4); /* what was on its way */
}

static void test_a_blob_is_found_by_lookup_and_let_go(void **state)
{
	struct world *w = *state;
	const uint32_t origin = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	const uint32_t blob = world_blob_add(w, 5 * MIB, 1024 * 1024);

	world_store(w, origin, blob);
	world_want(w, agent, blob);
	assert_true(world_run_until_done(w, w->now_ns + 5 * WORLD_S));
	world_run(w, w->now_ns + WORLD_S);
	assert_int_equal(w->hosts[origin].copies[blob].idle_told, 1);
	assert_false(w->hosts[origin].copies[blob].added);
}

static void test_a_silent_death_costs_seconds_not_the_blob(void **state)
{
	struct world *w = *state;
	const uint32_t first = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t second = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	const uint32_t blob = world_blob_add(w, 200 * MIB, 1024 * 1024);
	const uint64_t begin_ns = w->now_ns;

	w->check_every = 50;
	world_seed(w, first, blob);
	world_seed(w, second, blob);
	world_want(w, agent, blob);
	world_run(w, w->now_ns + 200 * WORLD_MS);
	assert_false(world_done(w));
	world_silence(w, first);
	assert_true(world_run_until_done(w, begin_ns + 4 * WORLD_S));
}

/* Each seeder sees but its part of what the host gets; none may wait for it to
 * ask for the rest. */
static void test_seeders_keep_up_with_one_who_is_alone(void **state)
{
	struct world *w = *state;
	const uint32_t agent =
		world_host_add(w, KR_PEER_AGENT, 200 * MIB, 200 * MIB);
	const uint32_t blob = world_blob_add(w, 1024 * MIB, 1024 * 1024);

	w->check_every = 100;
	for (int i = 0; i < 2; i++)
		world_seed(
			w,
			world_host_add(w, KR_PEER_ORIGIN, 200 * MIB, 200 * MIB),
			blob);
	world_want(w, agent, blob);
	/* 5.1 s at the cap. */
	assert_true(world_run_until_done(w, w->now_ns + 6 * WORLD_S));
}

static void test_agents_serve_each_other(void **state)
{
	struct world *w = *state;
	struct kr_node_stats st;
	uint32_t blob;

	for (uint32_t i = 0; i < 10; i++)
		(void)world_host_add(w, i == 0 ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     100 * MIB, 100 * MIB);
	w->check_every = 100;
	blob = world_blob_add(w, 128 * MIB, 1024 * 1024);
	world_seed(w, 0, blob);
	for (uint32_t i = 1; i < 10; i++)
		world_want(w, i, blob);
	/* 1.28 s at the cap; the origin alone would need 11.5 s. */
	assert_true(world_run_until_done(w, w->now_ns + 3 * WORLD_S));
	assert_true(w->hosts[0].served_bytes < 4 * 128 * MIB);
	kr_node_stats(w->hosts[0].node, &st);
	assert_int_equal(st.block_bytes_out[KR_PEER_AGENT],
			 w->hosts[0].served_bytes);
}

/* The client that reads in order gets its first piece at once, in a crowd
 * whose seeders reveal pieces one by one. */
static void test_a_reader_gets_its_first_piece_early(void **state)
{
	struct world *w = *state;
	uint32_t blob;

	for (uint32_t i = 0; i < 14; i++)
		(void)world_host_add(w, i < 2 ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     100 * MIB, 100 * MIB);
	w->check_every = 100;
	blob = world_blob_add(w, 256 * MIB, 1024 * 1024);
	world_seed(w, 0, blob);
	world_seed(w, 1, blob);
	for (uint32_t i = 2; i < 14; i++) {
		world_want(w, i, blob);
		world_reader(w, i, blob, 0, 0);
	}
	world_run(w, w->now_ns + 260 * WORLD_MS); /* a tenth of the time */
	for (uint32_t i = 2; i < 14; i++)
		assert_true(w->hosts[i].copies[blob].have[0] & 1);
}

/* ---- memory ------------------------------------------------------------- */

/* A node, a blob, a connection that asks and is asked: with the @fail_at-th
 * allocation failing.  Whatever that does, it breaks nothing. */
static enum kr_err live_a_little(struct fault_alloc *fa)
{
	const struct kr_addr from = { .port = 7 };
	struct kr_policy p;
	struct kr_node_opts o = {
		.alloc = &fa->alloc, .policy = &p, .cluster = "test", .zone = ""
	};
	const struct kr_blob_opts b = { .digest = { .alg = KR_SHA256 },
					.ns = "x",
					.size_bytes = 100 * MIB,
					.piece_bytes = 1024 * 1024 };
	const struct kr_peer_hint hint = { .addr = { .port = 8 } };
	struct kr_node *n;
	uint32_t conn, blob;
	struct kr_action a;
	enum kr_err err;

	kr_policy_defaults(&p);
	err = kr_node_open(&o, &n);
	if (err != KR_OK)
		return err;
	err = kr_node_blob_add(n, 1, &b, &blob);
	if (err == KR_OK) {
		kr_node_blob_peers(n, 2, blob, &hint, 1);
		if (kr_node_conn_accepted(n, 3, &from, &conn) != KR_OK)
			err = KR_E_NOMEM;
	}
	while (kr_node_next_action(n, &a))
		if (a.type == KR_ACT_DIAL)
			kr_node_conn_connected(n, 4, a.conn);
	kr_node_check(n);
	kr_node_close(n);
	return fa->fired ? KR_E_NOMEM : err;
}

static void test_without_memory_nothing_leaks_or_breaks(void **state)
{
	struct fault_alloc fa;
	(void)state;

	FOR_EACH_ALLOC_FAILURE (&fa, live_a_little(&fa))
		;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_two_nodes_exchange_a_blob),
		T(test_a_long_way_does_not_leave_the_window_empty),
		T(test_a_liar_is_found_and_the_honest_finish),
		T(test_a_lying_seeder_costs_one_piece),
		T(test_a_blob_is_found_by_lookup_and_let_go),
		T(test_a_silent_death_costs_seconds_not_the_blob),
		T(test_seeders_keep_up_with_one_who_is_alone),
		T(test_agents_serve_each_other),
		T(test_a_reader_gets_its_first_piece_early),
		cmocka_unit_test(test_without_memory_nothing_leaks_or_breaks),
	};
	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
