/* test/unit/peerwire/rates_test.c - hosts that are held to a block every few
 * seconds, and hosts that serve nobody. */
#include "test/unit/peerwire/script.h"

#include "core/err.h"
#include "test/support/swarm_world.h"

#define KIB  UINT64_C(1024)
#define MIB  (KIB * KIB)
#define SLOW (64 * KIB)
#define FAST (1000 * MIB)

/* ---- whole swarms, in virtual time */

struct totals {
	uint64_t timeouts, duplicate, discarded, in, overdue;
};

static void add_totals(const struct world *w, uint32_t host, struct totals *t)
{
	struct kr_node_stats s;

	kr_node_stats(w->hosts[host].node, &s);
	t->timeouts += s.closes[KR_BYE_TIMEOUT];
	t->duplicate += s.duplicate_bytes;
	t->discarded += s.discarded_bytes;
	t->overdue += s.overdue_requests;
	for (int r = 0; r < KR_PEER_ROLE_COUNT; r++)
		t->in += s.block_bytes_in[r];
}

struct swarm {
	uint64_t up, down; /* limits; 0: none */
	bool untold;       /* the nodes do not know of them */
	uint32_t hosts;    /* the first seeds */
	uint64_t size_bytes;
	uint32_t piece_bytes;
};

/* Run it to its end, or untold for 100 s; returns how long it took. */
static uint64_t run(const struct swarm *o, uint64_t seed, struct totals *ret)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_init(w, seed);
	w->policy.up_bytes_per_s = o->untold ? 0 : o->up;
	w->policy.down_bytes_per_s = o->untold ? 0 : o->down;
	const uint32_t blob = world_blob_add(w, o->size_bytes, o->piece_bytes);
	for (uint32_t i = 0; i < o->hosts; i++)
		(void)world_host_add(w, i == 0 ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     o->up != 0 ? o->up : FAST,
				     o->down != 0 ? o->down : FAST);
	world_seed(w, 0, blob);
	for (uint32_t i = 1; i < o->hosts; i++)
		world_want(w, i, blob);
	const uint64_t start_ns = w->now_ns;

	const bool done = world_run_until_done(
		w, start_ns + (o->untold ? 100 : 3600) * WORLD_S);
	assert_true(done || o->untold);
	world_check(w);
	const uint64_t took_ns = w->now_ns - start_ns;
	*ret = (struct totals){ 0 };
	for (uint32_t i = 0; i < o->hosts; i++)
		add_totals(w, i, ret);
	world_fini(w);
	free(w);
	return took_ns;
}

/* A block takes 8 s, the blob 64: nobody is thought dead or late. */
static void test_two_hosts_at_64_kib_a_second_lose_nothing(void **state)
{
	static const uint64_t limits[][2] = { { SLOW, SLOW },
					      { SLOW, 0 },
					      { 0, SLOW } };
	(void)state;

	for (uint64_t i = 0; i < 3; i++) {
		const struct swarm o = { .up = limits[i][0],
					 .down = limits[i][1],
					 .hosts = 2,
					 .size_bytes = 4 * MIB,
					 .piece_bytes = MIB };
		struct totals t;
		const uint64_t ns = run(&o, i, &t);

		assert_in_range(ns, 64 * WORLD_S, 65 * WORLD_S);
		assert_int_equal(t.in, 4 * MIB);
		assert_int_equal(t.timeouts, 0);
		assert_int_equal(t.overdue, 0);
		assert_int_equal(t.discarded + t.duplicate, 0);
	}
}

static void test_a_crowd_at_64_kib_a_second_closes_nobody(void **state)
{
	static const uint64_t limits[][2] = { { SLOW, SLOW }, { 0, SLOW } };
	(void)state;

	for (uint64_t i = 0; i < 4; i++) {
		const struct swarm o = { .up = limits[i % 2][0],
					 .down = limits[i % 2][1],
					 .hosts = i < 2 ? 6 : 20,
					 .size_bytes = 4 * MIB,
					 .piece_bytes = MIB };
		struct totals t;

		(void)run(&o, i, &t);
		assert_int_equal(t.in, (o.hosts - 1) * 4 * MIB);
		assert_int_equal(t.timeouts, 0);
		assert_true(t.discarded + t.duplicate <= t.in / 100);
	}
}

/* Limits that nobody tells of are what the others die of: were they not told,
 * the tests above would see it. */
static void test_what_is_not_told_is_taken_for_silence(void **state)
{
	const struct swarm o = { .up = SLOW,
				 .down = SLOW,
				 .untold = true,
				 .hosts = 6,
				 .size_bytes = 4 * MIB,
				 .piece_bytes = MIB };
	struct totals t;

	(void)state;
	(void)run(&o, 1, &t);
	assert_true(t.timeouts > 0);
}

/* They find out: what the others send is why one of them is silent. */
static void test_slow_hosts_need_not_be_told(void **state)
{
	const struct swarm o = { .up = 8 * SLOW,
				 .down = 8 * SLOW,
				 .untold = true,
				 .hosts = 20,
				 .size_bytes = 8 * MIB,
				 .piece_bytes = 4 * SLOW };
	struct totals t;
	(void)state;

	assert_true(run(&o, 1, &t) < 48 * WORLD_S); /* 16 at best */
	assert_true(t.in >= (o.hosts - 1) * o.size_bytes);
}

/* With one source that tells its limit, the others pass pieces on instead of
 * all waiting for it. */
static void test_peers_share_what_a_slow_seeder_gives(void **state)
{
	const struct swarm o = { .up = SLOW,
				 .hosts = 6,
				 .size_bytes = 4 * MIB,
				 .piece_bytes = 256 * 1024 };
	struct totals t;
	const uint64_t ns = run(&o, 1, &t);

	(void)state;
	assert_true(ns < 4 * 64 * WORLD_S); /* alone it would take 5 * 64 */
	assert_int_equal(t.timeouts, 0);
}

static void test_slow_hosts_do_not_hold_up_fast_ones(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct totals t = { 0 };
	uint64_t fast_ns = 0;

	(void)state;
	assert_non_null(w);
	world_init(w, 1);
	const uint32_t blob = world_blob_add(w, 4 * MIB, 256 * KIB);

	for (uint32_t i = 0; i < 11; i++) {
		const uint64_t rate = i < 6 ? 0 : SLOW;

		w->policy.up_bytes_per_s = w->policy.down_bytes_per_s = rate;
		(void)world_host_add(w, i == 0 ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     rate != 0 ? rate : 10 * MIB,
				     rate != 0 ? rate : 10 * MIB);
	}
	world_seed(w, 0, blob);
	for (uint32_t i = 1; i < 11; i++)
		world_want(w, i, blob);
	const uint64_t start_ns = w->now_ns;

	assert_true(world_run_until_done(w, start_ns + 600 * WORLD_S));
	for (uint32_t i = 0; i < 11; i++) {
		const uint64_t ns = w->hosts[i].copies[blob].done_ns;

		add_totals(w, i, &t);
		if (i < 6 && ns > fast_ns)
			fast_ns = ns;
	}
	/* Some 0.5 s; a single block that waits for a slow host is 4. */
	assert_true(fast_ns - start_ns < 3 * WORLD_S);
	assert_int_equal(t.timeouts, 0);
	assert_int_equal(t.in, 10 * 4 * MIB);
	assert_true(t.discarded + t.duplicate <= t.in / 20);
	world_fini(w);
	free(w);
}

static void test_a_leech_gets_all_and_gives_nothing(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct kr_node_stats s;

	(void)state;
	assert_non_null(w);
	world_init(w, 1);
	const uint32_t blob = world_blob_add(w, 64 * MIB, MIB);

	(void)world_host_add(w, KR_PEER_ORIGIN, 100 * MIB, 100 * MIB);
	w->policy.leech_only = 1;
	for (uint32_t i = 1; i < 3; i++)
		(void)world_host_add(w, KR_PEER_AGENT, 100 * MIB, 100 * MIB);
	w->policy.leech_only = 0;
	for (uint32_t i = 3; i < 6; i++)
		(void)world_host_add(w, KR_PEER_AGENT, 100 * MIB, 100 * MIB);
	world_seed(w, 0, blob);
	for (uint32_t i = 1; i < 6; i++)
		world_want(w, i, blob);
	const uint64_t start_ns = w->now_ns;

	assert_true(world_run_until_done(w, start_ns + 60 * WORLD_S));
	for (uint32_t i = 1; i < 3; i++) {
		assert_int_equal(w->hosts[i].served_bytes, 0);
		/* Five copies from the origin alone would be 3.2 s. */
		assert_true(w->hosts[i].copies[blob].done_ns - start_ns <
			    3 * WORLD_S);
		kr_node_stats(w->hosts[i].node, &s);
		assert_int_equal(s.block_bytes_in[KR_PEER_ORIGIN] +
					 s.block_bytes_in[KR_PEER_AGENT],
				 64 * MIB);
	}
	world_fini(w);
	free(w);
}

/* ---- one node against a script */

static void be_leech(struct kr_policy *p)
{
	p->leech_only = 1;
}

static void assert_rejected(const struct script *s, enum kr_reject_reason why)
{
	struct kr_frame_head h;
	struct kr_msg_reject m;
	const uint8_t *body = script_frame(s, KR_FRAME_REJECT, 0, &h);

	assert_non_null(body);
	assert_int_equal(kr_msg_reject_decode(&h, body, &m), KR_OK);
	assert_int_equal(m.reason, why);
}

static void test_a_leech_refuses_who_asks(void **state)
{
	struct script *s = script_new_with(KR_PEER_AGENT, be_leech);
	struct kr_frame_head h;
	struct kr_msg_opened opened;
	uint32_t blob;

	(void)state;
	assert_int_equal(script_add(s, 1, 4, true, 0, &blob), KR_OK);
	assert_int_equal(script_add(s, 2, 4, false, 0, &blob), KR_OK);
	script_accept(s, 60);
	script_hello(s, 60, KR_PEER_AGENT);
	/* What it has whole, and what it does not know: no. */
	script_open(s, 2, 1, 4, KR_HAVE_NONE);
	assert_rejected(s, KR_REJECT_LIMIT);
	script_open(s, 4, 3, 4, KR_HAVE_NONE);
	assert_rejected(s, KR_REJECT_LIMIT);
	assert_null(script_find(s, KR_ACT_LOOKUP));
	/* What it fetches: it may get it from there. */
	script_open(s, 6, 2, 4, KR_HAVE_ALL);
	const uint8_t *body = script_frame(s, KR_FRAME_OPENED, 0, &h);
	assert_non_null(body);
	assert_int_equal(kr_msg_opened_decode(&h, body, &opened), KR_OK);
	assert_int_equal(opened.have.len, 1);
	assert_int_equal(opened.have.ptr[0], KR_HAVE_NONE);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 2);
	script_request(s, KR_FRAME_REQUEST, 6, 0, 0, 1);
	assert_rejected(s, KR_REJECT_BUSY);
	assert_null(script_find(s, KR_ACT_SERVE));
	script_free(s);
}

static void limit_uploads(struct kr_policy *p)
{
	p->up_bytes_per_s = SLOW;
}

static void served(struct script *s, uint32_t conn)
{
	kr_node_conn_served(s->node, s->now_ns, conn);
	script_drain(s);
}

/* Two peers ask for pieces of two blocks, a third comes later: it is served
 * after a block, not after a piece. */
static void test_a_slot_is_a_block_where_a_piece_takes_long(void **state)
{
	struct script *s = script_new_with(KR_PEER_AGENT, limit_uploads);
	uint32_t blob, conns[3];

	(void)state;
	assert_int_equal(script_add(s, 1, 4, true, 0, &blob), KR_OK);
	for (uint8_t i = 0; i < 3; i++) {
		script_join(s, (uint8_t)(60 + i), KR_PEER_AGENT, 1, 4,
			    KR_HAVE_NONE);
		conns[i] = s->conn;
	}
	for (uint32_t i = 0; i < 3; i++) {
		s->conn = conns[i];
		script_request(s, KR_FRAME_REQUEST, 2, i, 0, 2);
		assert_int_equal(script_find(s, KR_ACT_SERVE) != NULL, i < 2);
	}
	served(s, conns[0]);
	assert_int_equal(script_find(s, KR_ACT_SERVE)->conn, conns[2]);
	script_free(s);
}

/* A block that our own limit holds for 20 s, and the PING behind it. */
static void test_our_own_limit_is_no_silence_of_the_peer(void **state)
{
	struct script *s = script_new_with(KR_PEER_AGENT, limit_uploads);
	uint32_t seeded, wanted;

	(void)state;
	assert_int_equal(script_add(s, 1, 4, true, 0, &seeded), KR_OK);
	assert_int_equal(script_add(s, 2, 4, false, 0, &wanted), KR_OK);
	script_join(s, 60, KR_PEER_AGENT, 1, 4, KR_HAVE_NONE);
	script_open(s, 4, 2, 4, KR_HAVE_ALL); /* it owes us from now on */
	script_request(s, KR_FRAME_REQUEST, 2, 0, 0, 1);
	const uint32_t conn = s->conn;
	const uint64_t until_ns = s->now_ns + 20 * WORLD_S;

	while (s->now_ns < until_ns) {
		script_wait(s, until_ns - s->now_ns);
		assert_null(script_find(s, KR_ACT_CLOSE));
	}
	served(s, conn);
	/* Now it is owed nothing more than others are. */
	const uint64_t free_ns = s->now_ns;
	while (script_find(s, KR_ACT_CLOSE) == NULL) {
		assert_true(s->now_ns < free_ns + 5 * WORLD_S);
		script_wait(s, WORLD_S);
	}
	assert_true(script_closed_for(s, KR_BYE_TIMEOUT));
	assert_true(s->now_ns > free_ns + WORLD_S / 2);
	script_free(s);
}

static void ask_for_eight(struct kr_policy *p)
{
	p->window_min_bytes = p->window_max_bytes = 8 * PIECE;
}

/* A block of what conn @from was asked for, and nothing for @ns. */
static bool block_then_silence(struct script *s, uint32_t from, uint32_t piece,
			       uint32_t block, uint64_t ns)
{
	const uint32_t conn = s->conn;
	const uint64_t until_ns = s->now_ns + ns;
	bool closed = false;

	s->conn = from;
	script_block(s, 2, piece, block * KR_BLOCK_BYTES, KR_BLOCK_BYTES);
	script_body_done(s);
	s->conn = conn;
	while (!closed && s->now_ns < until_ns) {
		script_wait(s, until_ns - s->now_ns);
		closed = script_closed_for(s, KR_BYE_TIMEOUT);
	}
	return closed;
}

/* Is a peer that sent one block closed for 3 s of silence, in which nobody, or
 * another one (@others), sent three? */
static bool is_closed(bool others)
{
	struct script *s = script_new_with(KR_PEER_AGENT, ask_for_eight);
	struct kr_msg_request m;
	uint32_t blob, other = 0;
	bool closed;

	assert_int_equal(script_add(s, 1, 60, false, 0, &blob), KR_OK);
	if (others) {
		script_join(s, 60, KR_PEER_AGENT, 1, 60, KR_HAVE_NONE);
		script_have(s, 2, 0, 3);
		other = s->conn;
	}
	script_join(s, 61, KR_PEER_AGENT, 1, 60, KR_HAVE_ALL);
	closed = block_then_silence(s, s->conn, script_requested(s, 0, &m), 0,
				    others ? WORLD_S / 10 : 3 * WORLD_S);
	for (uint32_t i = 0; others && i < 3 && !closed; i++)
		closed = block_then_silence(s, other, i, 0, WORLD_S);
	script_free(s);
	return closed;
}

/* What it owes may stand behind what others send.  Who is asked alone has no
 * such excuse. */
static void test_what_others_send_explains_silence(void **state)
{
	(void)state;
	assert_true(is_closed(false));
	assert_false(is_closed(true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_two_hosts_at_64_kib_a_second_lose_nothing),
		cmocka_unit_test(test_a_crowd_at_64_kib_a_second_closes_nobody),
		cmocka_unit_test(test_what_is_not_told_is_taken_for_silence),
		cmocka_unit_test(test_slow_hosts_need_not_be_told),
		cmocka_unit_test(test_peers_share_what_a_slow_seeder_gives),
		cmocka_unit_test(test_slow_hosts_do_not_hold_up_fast_ones),
		cmocka_unit_test(test_a_leech_gets_all_and_gives_nothing),
		cmocka_unit_test(test_a_leech_refuses_who_asks),
		cmocka_unit_test(
			test_a_slot_is_a_block_where_a_piece_takes_long),
		cmocka_unit_test(test_our_own_limit_is_no_silence_of_the_peer),
		cmocka_unit_test(test_what_others_send_explains_silence),
	};

	return cmocka_run_group_tests_name("rates", tests, NULL, NULL);
}
