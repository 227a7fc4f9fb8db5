/* test/unit/peerwire/slots_test.c - whom a node serves, and what it tells. */
#include "test/unit/peerwire/script.h"

enum { PEERS = 8 };

struct seeding {
	struct script *s;
	uint32_t blob;
	uint32_t conns[PEERS];
};

static int setup_with(void **state, enum kr_peer_role role, uint32_t pieces)
{
	struct seeding *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	f->s = script_new(role);
	if (script_add(f->s, 1, pieces, true, 0, &f->blob) != KR_OK)
		return -1;
	for (uint8_t i = 0; i < PEERS; i++) {
		script_join(f->s, (uint8_t)(60 + i), KR_PEER_AGENT, 1, pieces,
			    KR_HAVE_NONE);
		f->conns[i] = f->s->conn;
	}
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, KR_PEER_AGENT, 64);
}

static int setup_origin(void **state)
{
	return setup_with(state, KR_PEER_ORIGIN, 64);
}

static int teardown(void **state)
{
	struct seeding *f = *state;

	script_free(f->s);
	free(f);
	return 0;
}

static void request(struct seeding *f, uint32_t peer, uint32_t piece)
{
	f->s->conn = f->conns[peer];
	script_request(f->s, KR_FRAME_REQUEST, 2, piece, 0, 2);
}

static void served(struct seeding *f, uint32_t peer)
{
	f->s->conn = f->conns[peer];
	kr_node_conn_served(f->s->node, f->s->now_ns, f->conns[peer]);
	script_drain(f->s);
}

/* Which peer the last SERVE is for; PEERS: none. */
static uint32_t who(const struct seeding *f)
{
	const struct kr_action *a = script_find(f->s, KR_ACT_SERVE);

	for (uint32_t i = 0; a != NULL && i < PEERS; i++)
		if (f->conns[i] == a->conn)
			return i;
	return PEERS;
}

static void test_few_transfers_go_at_once(void **state)
{
	struct seeding *f = *state;

	for (uint32_t i = 0; i < PEERS; i++) {
		request(f, i, i);
		assert_int_equal(who(f),
				 i < f->s->policy.upload_slots ? i : PEERS);
	}
}

/* Peers 0 to 3 hold the slots, these wait. */
static void request_of(struct seeding *f, uint32_t peer, uint32_t gets_kib_s)
{
	f->s->conn = f->conns[peer];
	script_request_of(f->s, KR_FRAME_REQUEST, 2, peer, 0, 2, gets_kib_s);
}

/* The slot of @peer frees. */
static void leaves(struct seeding *f, uint32_t peer)
{
	served(f, peer);
	assert_int_equal(who(f), peer); /* its second block */
	served(f, peer);
}

static void test_who_gets_least_is_next(void **state)
{
	static const uint32_t gets_kib_s[PEERS] = {
		0, 0, 0, 0, 300000, 200000, 1000, 250000
	};
	static const uint32_t order[] = { 6, 5, 7, 4 };
	struct seeding *f = *state;

	for (uint32_t i = 0; i < PEERS; i++)
		request_of(f, i, gets_kib_s[i]);
	for (uint32_t i = 0; i < 4; i++) {
		leaves(f, i);
		assert_int_equal(who(f), order[i]);
	}
}

static void test_who_waits_is_needier_than_it_said(void **state)
{
	struct seeding *f = *state;

	for (uint32_t i = 0; i < 4; i++)
		request_of(f, i, 0);
	request_of(f, 4, 100000);
	script_wait(f->s, 4 * f->s->policy.serve_patience_ns);
	request_of(f, 5, 60000);
	request_of(f, 6, 10000);
	leaves(f, 0);
	assert_int_equal(who(f), 6);
	leaves(f, 1);
	assert_int_equal(who(f), 4); /* a fifth of what it said */
	leaves(f, 2);
	assert_int_equal(who(f), 5);
}

static void test_who_understates_gets_what_we_send(void **state)
{
	struct seeding *f = *state;

	request_of(f, 4, 0);
	leaves(f, 4);
	for (uint32_t i = 0; i < 4; i++)
		request_of(f, i, 0);
	f->s->conn = f->conns[4];
	script_request_of(f->s, KR_FRAME_REQUEST, 2, 20, 0, 2, 0);
	request_of(f, 5, 100);
	leaves(f, 0);
	assert_int_equal(who(f), 5);
	leaves(f, 1);
	assert_int_equal(who(f), 4);
}

static void test_a_stalled_receiver_lends_its_slot(void **state)
{
	struct seeding *f = *state;

	for (uint32_t i = 0; i < 5; i++)
		request(f, i, i);
	assert_int_equal(who(f), PEERS);
	script_wait(f->s, f->s->policy.serve_stalled_ns - 50 * KR_POLICY_MS);
	assert_int_equal(who(f), PEERS);
	for (int i = 0; i < 10 && who(f) == PEERS; i++)
		script_wait(f->s, 20 * KR_POLICY_MS);
	assert_int_equal(who(f), 4);
}

static void test_the_queue_is_told_and_its_end_too(void **state)
{
	struct seeding *f = *state;
	struct kr_frame_head h;
	struct kr_block_head b;

	request(f, 0, 0);
	const struct kr_action *a = script_find(f->s, KR_ACT_SERVE);
	assert_int_equal(kr_frame_head_decode(a->head, a->head_len, &h), KR_OK);
	assert_int_equal(kr_block_head_decode(&h, a->head + KR_FRAME_HEAD_LEN,
					      KR_BLOCK_HEAD_LEN, &b),
			 KR_OK);
	assert_int_equal(b.queued_kib, KR_BLOCK_BYTES / 1024); /* the second */
	request(f, 1, 1);
	f->s->conn = f->conns[1];
	served(f, 0); /* the second of 0; one of 1 is left */
	assert_int_equal(script_frame_count(f->s, KR_FRAME_LOAD), 0);
	kr_node_conn_served(f->s->node, f->s->now_ns, f->conns[1]);
	f->s->conn = f->conns[0]; /* was told of a block */
	script_drain(f->s);
	assert_int_equal(script_frame_count(f->s, KR_FRAME_LOAD), 1);
}

static void test_what_is_canceled_frees_its_slot(void **state)
{
	struct seeding *f = *state;

	for (uint32_t i = 0; i < 5; i++)
		request(f, i, i);
	f->s->conn = f->conns[0];
	script_request(f->s, KR_FRAME_CANCEL, 2, 0, 0, 2);
	assert_int_equal(who(f), PEERS); /* its first block is under way */
	served(f, 0);
	assert_int_equal(who(f), 4);
}

/* The have-set of the last OPENED, of 64 pieces. */
static uint64_t opened_set(const struct script *s)
{
	struct kr_frame_head h;
	struct kr_msg_opened m;
	struct kr_bitset set;
	uint64_t words;
	const uint8_t *body = script_frame(s, KR_FRAME_OPENED, 0, &h);

	assert_non_null(body);
	assert_int_equal(kr_msg_opened_decode(&h, body, &m), KR_OK);
	kr_bitset_init(&set, &words, 64);
	assert_int_equal(kr_have_decode(&set, m.have), KR_OK);
	return words;
}

/* None is told what another is. */
static void test_a_seeder_in_a_crowd_reveals_distinct_pieces(void **state)
{
	struct script *s = script_new(KR_PEER_ORIGIN);
	uint64_t seen = 0, told = 0;
	uint32_t blob, last, other = 0;
	(void)state;

	assert_int_equal(script_add(s, 1, 64, true, 0, &blob), KR_OK);
	for (uint8_t i = 0; i < PEERS; i++) {
		other = s->conn;
		script_join(s, (uint8_t)(60 + i), KR_PEER_AGENT, 1, 64,
			    KR_HAVE_NONE);
		told = opened_set(s);
		assert_int_equal(__builtin_popcountll(told),
				 s->policy.reveal_pieces);
		assert_true((told & seen) == 0);
		seen |= told;
	}
	/* Another announces a piece of the last: the last is told of one. */
	last = s->conn;
	s->conn = other;
	const struct kr_have_range r = { (uint32_t)__builtin_ctzll(told), 1 };
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len, taken;

	assert_int_equal(kr_msg_have_encode(2, &r, 1, buf, sizeof(buf), &len),
			 KR_OK);
	kr_node_conn_bytes(s->node, s->now_ns, other, buf, len, &taken);
	s->conn = last;
	script_drain(s);
	assert_int_equal(script_frame_count(s, KR_FRAME_HAVE), 1);
	script_free(s);
}

/* The first, alone for a while, was told of everything.  Once a crowd is there,
 * what it did not ask for is for others. */
static void test_what_the_first_left_is_for_the_crowd(void **state)
{
	struct script *s = script_new(KR_PEER_ORIGIN);
	const uint64_t alone_ns = s->now_ns + 2000 * KR_POLICY_MS;
	uint32_t blob;
	(void)state;

	assert_int_equal(script_add(s, 1, 64, true, 0, &blob), KR_OK);
	script_join(s, 60, KR_PEER_AGENT, 1, 64, KR_HAVE_NONE);
	while (s->now_ns < alone_ns)
		script_wait(s, 100 * KR_POLICY_MS);
	for (uint32_t piece = 0; piece < 4; piece++)
		script_request(s, KR_FRAME_REQUEST, 2, piece, 0, 2);
	for (uint8_t i = 1; i < s->policy.reveal_neighbours_min; i++) {
		script_join(s, (uint8_t)(60 + i), KR_PEER_AGENT, 1, 64,
			    KR_HAVE_NONE);
		assert_true(opened_set(s) == 0); /* nothing is left */
	}
	script_wait(s, s->policy.tick_ns);
	script_join(s, 90, KR_PEER_AGENT, 1, 64, KR_HAVE_NONE);
	const uint64_t last = opened_set(s);
	assert_int_equal(__builtin_popcountll(last), s->policy.reveal_pieces);
	assert_true((last & 0xf) == 0); /* those are on their way */
	script_free(s);
}

static void test_a_hidden_neighbour_that_waits_is_told_more(void **state)
{
	struct seeding *f = *state;

	f->s->conn = f->conns[PEERS - 1];
	for (int i = 0; i < 30; i++) {
		script_wait(f->s, 100 * KR_POLICY_MS);
		if (script_frame_count(f->s, KR_FRAME_HAVE) > 0)
			return;
	}
	fail();
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define O(fn) cmocka_unit_test_setup_teardown(fn, setup_origin, teardown)
	const struct CMUnitTest tests[] = {
		T(test_few_transfers_go_at_once),
		T(test_who_gets_least_is_next),
		T(test_who_waits_is_needier_than_it_said),
		T(test_who_understates_gets_what_we_send),
		T(test_a_stalled_receiver_lends_its_slot),
		T(test_the_queue_is_told_and_its_end_too),
		T(test_what_is_canceled_frees_its_slot),
		cmocka_unit_test(
			test_a_seeder_in_a_crowd_reveals_distinct_pieces),
		cmocka_unit_test(test_what_the_first_left_is_for_the_crowd),
		O(test_a_hidden_neighbour_that_waits_is_told_more),
	};
	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
