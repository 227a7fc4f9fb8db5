/* test/unit/peerwire/fetch_test.c - what a node asks of a peer that is played
 * by the test, and what it makes of the answers. */
#include "test/unit/peerwire/script.h"

struct fetching {
	struct script *s;
	uint32_t blob;
};

static struct fetching fx;

/* A node that wants 8 pieces, and a peer that has them all on stream 2. */
static int setup(void **state)
{
	struct script *s = script_new(KR_PEER_AGENT);

	*state = s;
	fx.s = s;
	script_accept(s, 9);
	script_hello(s, 60, KR_PEER_AGENT);
	if (script_add(s, 1, 8, false, 0, &fx.blob) != KR_OK)
		return -1;
	script_open(s, 2, 1, 8, KR_HAVE_ALL);
	return 0;
}

static int teardown(void **state)
{
	script_free(*state);
	return 0;
}

/* The peer sends block @block of @piece, the driver moves it. */
static void give_block(struct script *s, uint16_t stream, uint32_t piece,
		       uint32_t block)
{
	script_block(s, stream, piece, block * KR_BLOCK_BYTES, KR_BLOCK_BYTES);
	const struct kr_action *a = script_find(s, KR_ACT_BODY);
	assert_non_null(a);
	assert_false(a->discard);
	assert_int_equal(a->piece, piece);
	assert_int_equal(a->offset, block * KR_BLOCK_BYTES);
	assert_int_equal(a->len, KR_BLOCK_BYTES);
	script_body_done(s);
}

static void test_two_pieces_are_asked_of_a_peer(void **state)
{
	struct kr_msg_request a, b;
	struct script *s = *state;

	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 2);
	assert_int_not_equal(script_requested(s, 0, &a),
			     script_requested(s, 1, &b));
	assert_int_equal(a.block_count, 2);
}

static void test_a_piece_is_verified_then_announced(void **state)
{
	struct kr_msg_request m;
	struct script *s = *state;
	struct kr_blob_stats st;
	const uint32_t piece = script_requested(s, 0, &m);

	give_block(s, 2, piece, 1); /* in any order */
	assert_null(script_find(s, KR_ACT_VERIFY));
	give_block(s, 2, piece, 0);
	const struct kr_action *a = script_find(s, KR_ACT_VERIFY);
	assert_non_null(a);
	assert_int_equal(a->piece, piece);
	kr_node_piece_verified(s->node, s->now_ns, fx.blob, piece, true);
	script_drain(s);
	kr_node_blob_stats(s->node, fx.blob, &st);
	assert_int_equal(st.have_count, 1);
	assert_int_equal(st.bytes_from[KR_PEER_AGENT], PIECE);
	/* The peer has it: it is not told. */
	assert_int_equal(script_frame_count(s, KR_FRAME_HAVE), 0);
}

static void test_the_next_piece_is_asked_while_the_last_block_comes(
	void **state)
{
	struct kr_msg_request m;
	struct script *s = *state;
	const uint32_t piece = script_requested(s, 0, &m);

	give_block(s, 2, piece, 0);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	script_block(s, 2, piece, KR_BLOCK_BYTES, KR_BLOCK_BYTES);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 1);
	script_body_done(s);
}

static void test_a_liar_is_closed_and_reported(void **state)
{
	struct kr_msg_request m;
	struct script *s = *state;
	const uint32_t piece = script_requested(s, 0, &m);

	give_block(s, 2, piece, 0);
	give_block(s, 2, piece, 1);
	kr_node_piece_verified(s->node, s->now_ns, fx.blob, piece, false);
	script_drain(s);
	const struct kr_action *a = script_find(s, KR_ACT_BAD);
	assert_non_null(a);
	assert_int_equal(a->peer.bytes[0], 60);
	assert_true(script_closed_for(s, KR_BYE_CORRUPT));
	script_accept(s, 9); /* and stays out */
	script_hello(s, 60, KR_PEER_AGENT);
	assert_true(script_closed_for(s, KR_BYE_CORRUPT));
}

static void test_blocks_nobody_asked_for_close(void **state)
{
	static const struct {
		uint32_t piece_step, offset, len;
	} bad[] = {
		{ 1, 0, KR_BLOCK_BYTES },     /* another piece */
		{ 0, 1, KR_BLOCK_BYTES },     /* not on a block's edge */
		{ 0, 0, KR_BLOCK_BYTES - 1 }, /* too short */
		{ 0, PIECE, KR_BLOCK_BYTES }, /* behind the piece */
		{ 100, 0, KR_BLOCK_BYTES },   /* behind the blob */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kr_msg_request a, b;
		void *fresh = NULL;

		setup(&fresh);
		uint32_t piece = script_requested(fresh, 0, &a);
		script_requested(fresh, 1, &b);
		piece += bad[i].piece_step;
		while (bad[i].piece_step == 1 &&
		       (piece % 8 == a.piece || piece % 8 == b.piece))
			piece++;
		script_block(fresh, 2,
			     bad[i].piece_step == 1 ? piece % 8 : piece,
			     bad[i].offset, bad[i].len);
		assert_true(script_closed_for(fresh, KR_BYE_PROTO));
		teardown(&fresh);
	}
}

static void test_a_block_that_comes_twice_closes(void **state)
{
	struct kr_msg_request m;
	struct script *s = *state;
	const uint32_t piece = script_requested(s, 0, &m);

	give_block(s, 2, piece, 0);
	script_block(s, 2, piece, 0, KR_BLOCK_BYTES);
	assert_true(script_closed_for(s, KR_BYE_PROTO));
}

static void test_busy_is_asked_again_later(void **state)
{
	struct kr_msg_request a, b;
	struct script *s = *state;
	struct kr_msg_reject m = { .stream = 2,
				   .reason = KR_REJECT_BUSY,
				   .block_count = 2 };
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;

	script_requested(s, 0, &a);
	script_requested(s, 1, &b);
	m.piece = a.piece;
	assert_int_equal(kr_msg_reject_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	script_bytes(s, buf, len);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	for (int i = 0; i < 50 && script_frame_count(s, KR_FRAME_REQUEST) == 0;
	     i++)
		script_wait(s, 10 * KR_POLICY_MS);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 1);
	assert_true(s->now_ns >= 1000000000 + s->policy.reject_backoff_ns);
}

static void test_a_silent_peer_is_pinged_and_closed(void **state)
{
	struct script *s = *state;
	uint32_t pings = 0;

	script_plain(s, KR_FRAME_PONG, 0, 0);
	while (script_find(s, KR_ACT_CLOSE) == NULL) {
		script_wait(s, 50 * KR_POLICY_MS);
		pings += script_frame_count(s, KR_FRAME_PING);
		assert_true(s->now_ns < UINT64_C(5000000000));
	}
	assert_int_equal(pings, 1);
	assert_true(script_closed_for(s, KR_BYE_TIMEOUT));
	assert_in_range(s->now_ns / KR_POLICY_MS, 3000, 3200);
}

static void test_a_reset_gives_pieces_back(void **state)
{
	struct kr_msg_request m;
	struct kr_node_stats st;
	struct script *s = *state;

	give_block(s, 2, script_requested(s, 0, &m), 0);
	kr_node_conn_closed(s->node, s->now_ns, s->conn, KR_E_RESET);
	script_drain(s);
	kr_node_stats(s->node, &st);
	assert_int_equal(st.inflight_bytes, 0);
	script_join(s, 61, KR_PEER_AGENT, 1, 8, KR_HAVE_ALL);
	/* What is half there comes first, the missing block alone. */
	assert_int_equal(script_requested(s, 0, &m), m.piece);
	struct kr_msg_request rest;
	bool seen = false;
	for (uint32_t i = 0; i < script_frame_count(s, KR_FRAME_REQUEST); i++) {
		script_requested(s, i, &rest);
		seen |= rest.first_block == 1 && rest.block_count == 1;
	}
	assert_true(seen);
}

/* ---- two peers ---------------------------------------------------------- */

static uint32_t second_peer(struct script *s, enum kr_peer_role role)
{
	script_join(s, 61, role, 1, 8, KR_HAVE_ALL);
	return s->conn;
}

/* The first peer lives and sends nothing: the second gets its pieces. */
static void test_an_overdue_block_is_asked_elsewhere(void **state)
{
	struct script *s = *state;
	const uint32_t first = s->conn;
	const uint32_t second = second_peer(s, KR_PEER_ORIGIN);
	struct kr_node_stats st;

	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	for (int i = 0; i < 60; i++) {
		s->conn = first;
		script_plain(s, KR_FRAME_LOAD, 0, 0);
		s->conn = second;
		script_wait(s, 20 * KR_POLICY_MS);
		if (script_frame_count(s, KR_FRAME_REQUEST) > 0)
			break;
	}
	assert_true(script_frame_count(s, KR_FRAME_REQUEST) > 0);
	assert_in_range(s->now_ns / KR_POLICY_MS, 1200, 1700);
	kr_node_stats(s->node, &st);
	assert_true(st.overdue_requests > 0);
	assert_true(st.cancels_sent > 0);
}

/* Whether the last thing said asks for @block. */
static bool asks_for(const struct script *s, uint32_t block)
{
	struct kr_msg_request m;

	for (uint32_t i = 0; i < script_frame_count(s, KR_FRAME_REQUEST); i++) {
		script_requested(s, i, &m);
		if (m.first_block <= block &&
		    block - m.first_block < m.block_count)
			return true;
	}
	return false;
}

/* The first peer begins a block of the last piece and does not end it: the
 * second is asked for it, and its block puts an end to the first. */
static void test_a_block_that_stalls_is_taken_from_another(void **state)
{
	struct script *s = *state;
	const uint32_t first = s->conn;
	const uint64_t begun_ns = s->now_ns;
	uint32_t blob;
	int i;

	kr_node_blob_remove(s->node, s->now_ns, fx.blob);
	script_drain(s);
	assert_int_equal(script_add(s, 2, 1, false, 0, &blob), KR_OK);
	script_open(s, 4, 2, 1, KR_HAVE_ALL);
	assert_true(asks_for(s, 0));
	script_block(s, 4, 0, 0, KR_BLOCK_BYTES);
	assert_non_null(script_find(s, KR_ACT_BODY));

	script_join(s, 61, KR_PEER_AGENT, 2, 1, KR_HAVE_ALL);
	for (i = 0; i < 1000 && !asks_for(s, 0); i++) {
		script_plain(s, KR_FRAME_LOAD, 0, 0); /* it is there */
		if (!asks_for(s, 0))
			script_wait(s, 20 * KR_POLICY_MS);
	}
	assert_true(asks_for(s, 0));
	assert_in_range((s->now_ns - begun_ns) / KR_POLICY_MS, 1900, 2500);

	script_block(s, 2, 0, 0, KR_BLOCK_BYTES);
	const struct kr_action *a = script_find(s, KR_ACT_CLOSE);
	assert_non_null(a);
	assert_int_equal(a->conn, first);
	assert_int_equal(a->reason, KR_BYE_TIMEOUT);
	a = script_find(s, KR_ACT_BODY);
	assert_non_null(a);
	assert_int_equal(a->conn, s->conn);
	assert_false(a->discard);
	script_body_done(s);
}

static void test_a_mixed_corrupt_piece_blames_nobody_yet(void **state)
{
	struct script *s = *state;
	const uint32_t first = s->conn;
	struct kr_msg_request a, b;
	struct kr_node_stats st;

	script_requested(s, 0, &a);
	give_block(s, 2, a.piece, 0);
	kr_node_conn_closed(s->node, s->now_ns, first, KR_E_RESET);
	script_drain(s);
	second_peer(s, KR_PEER_AGENT);
	for (uint32_t i = 0; i < script_frame_count(s, KR_FRAME_REQUEST); i++)
		if (script_requested(s, i, &b) == a.piece)
			break;
	assert_int_equal(b.piece, a.piece);
	give_block(s, 2, a.piece, 1);
	assert_non_null(script_find(s, KR_ACT_VERIFY));
	kr_node_piece_verified(s->node, s->now_ns, fx.blob, a.piece, false);
	script_drain(s);
	assert_null(script_find(s, KR_ACT_BAD));
	assert_null(script_find(s, KR_ACT_CLOSE));
	kr_node_stats(s->node, &st);
	assert_int_equal(st.pieces_failed, 1);
}

static void test_have_lets_a_piece_be_asked(void **state)
{
	struct script *s = *state;
	uint32_t blob;
	struct kr_msg_request m;

	kr_node_blob_remove(s->node, s->now_ns, fx.blob);
	assert_int_equal(script_add(s, 2, 8, false, 0, &blob), KR_OK);
	script_join(s, 62, KR_PEER_AGENT, 2, 8, KR_HAVE_NONE);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	script_have(s, 2, 5, 1);
	assert_int_equal(script_requested(s, 0, &m), 5);
	script_have(s, 2, 7, 2); /* there is no piece 8 */
	assert_true(script_closed_for(s, KR_BYE_PROTO));
}

/* Pieces asked for, in the order of the requests. */
struct asked {
	uint32_t pieces[16];
	uint32_t count;
};

static void note_requests(const struct script *s, struct asked *a)
{
	struct kr_msg_request m;

	for (uint32_t i = 0; i < script_frame_count(s, KR_FRAME_REQUEST); i++)
		a->pieces[a->count++] = script_requested(s, i, &m);
}

static void test_the_end_closes_the_stream_of_a_complete_peer(void **state)
{
	struct script *s = *state;
	struct asked a = { .count = 0 };

	note_requests(s, &a);
	for (uint32_t i = 0; i < 8; i++) {
		assert_true(i < a.count);
		assert_null(script_find(s, KR_ACT_DONE));
		give_block(s, 2, a.pieces[i], 0);
		note_requests(s, &a);
		script_block(s, 2, a.pieces[i], KR_BLOCK_BYTES, KR_BLOCK_BYTES);
		note_requests(s, &a);
		script_body_done(s);
		kr_node_piece_verified(s->node, s->now_ns, fx.blob, a.pieces[i],
				       true);
		script_drain(s);
	}
	assert_int_equal(a.count, 8); /* each was asked for once */
	assert_non_null(script_find(s, KR_ACT_DONE));
	assert_int_equal(script_frame_count(s, KR_FRAME_CLOSE), 1);
}

static void test_a_reader_is_served_first(void **state)
{
	struct script *s = *state;
	struct kr_msg_request m;
	uint32_t blob;

	kr_node_blob_remove(s->node, s->now_ns, fx.blob);
	assert_int_equal(script_add(s, 3, 500, false, 0, &blob), KR_OK);
	kr_node_blob_reader(s->node, s->now_ns, blob, 0, 100);
	script_drain(s);
	script_join(s, 63, KR_PEER_AGENT, 3, 500, KR_HAVE_ALL);
	assert_int_equal(script_requested(s, 0, &m), 100);
	assert_int_equal(script_requested(s, 1, &m), 101);
}

static void ask_for_twelve(struct kr_policy *p)
{
	p->window_min_bytes = p->window_max_bytes = 12 * PIECE;
}

static void ask_for_sixteen(struct kr_policy *p)
{
	p->window_min_bytes = p->window_max_bytes = 16 * PIECE;
}

/* One REQUEST for each piece that comes would wake the peer as often. */
static void test_a_full_window_is_filled_again_in_one_go(void **state)
{
	struct script *s = script_new_with(KR_PEER_AGENT, ask_for_sixteen);
	struct kr_msg_request m[16];
	uint32_t blob;
	(void)state;

	assert_int_equal(script_add(s, 1, 60, false, 0, &blob), KR_OK);
	script_join(s, 60, KR_PEER_AGENT, 1, 60, KR_HAVE_ALL);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 16);
	for (uint32_t i = 0; i < 16; i++)
		script_requested(s, i, &m[i]);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST),
				 i == 0 ? 16 : 0);
		give_block(s, 2, m[i / 2].piece, i % 2);
	}
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 2);
	script_free(s);
}

static void order_strictly(struct kr_policy *p)
{
	p->blob_rank_permille = 1000;
	p->blob_rank_scarce_permille = 0;
	p->window_min_bytes = p->window_max_bytes = PIECE;
}

/* Two blobs of 60 pieces, and a peer that has all of the second and @count
 * pieces of the first: is the first asked for first? */
static bool first_is_first(uint32_t count)
{
	struct script *s = script_new_with(KR_PEER_AGENT, order_strictly);
	struct kr_msg_request m;
	uint32_t blob;

	assert_int_equal(script_add(s, 3, 60, false, 0, &blob), KR_OK);
	assert_int_equal(script_add(s, 4, 60, false, 0, &blob), KR_OK);
	script_join(s, 62, KR_PEER_AGENT, 3, 60, KR_HAVE_NONE);
	script_open(s, 4, 4, 60, KR_HAVE_ALL);
	script_requested(s, 0, &m); /* it fills the window */
	assert_int_equal(m.stream, 4);
	script_have(s, 2, 0, count);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	give_block(s, 4, m.piece, 0);
	script_requested(s, 0, &m);
	script_free(s);
	return m.stream == 2;
}

static void test_a_scarce_blob_lets_the_next_go_first(void **state)
{
	struct kr_policy p;
	(void)state;

	kr_policy_defaults(&p);
	assert_true(first_is_first((uint32_t)p.scarce_pieces + 1));
	assert_false(first_is_first((uint32_t)p.scarce_pieces));
}

/* The first REQUESTs of a node with a reader at piece 10 of 60, while a seeder
 * has everything and @role, if it is not KR_PEER_ROLE_COUNT, has what @form
 * says: are they in order? */
static bool reads_in_order(enum kr_peer_role role, enum kr_have_form form,
			   const struct kr_peer_hint *hint)
{
	struct script *s = script_new_with(KR_PEER_AGENT, ask_for_twelve);
	struct kr_msg_request m;
	uint32_t blob, in_order = 0;

	assert_int_equal(script_add(s, 3, 60, false, 0, &blob), KR_OK);
	kr_node_blob_reader(s->node, s->now_ns, blob, 0, 10);
	script_drain(s);
	if (hint != NULL)
		kr_node_blob_peers(s->node, s->now_ns, blob, hint, 1);
	script_drain(s);
	if (role != KR_PEER_ROLE_COUNT) {
		script_join(s, 62, role, 3, 60, form);
	}
	script_join(s, 63, KR_PEER_ORIGIN, 3, 60, KR_HAVE_ALL);
	const uint32_t count = script_frame_count(s, KR_FRAME_REQUEST);

	assert_true(count >= 4); /* by chance: one in a hundred thousand */
	while (in_order < count &&
	       script_requested(s, in_order, &m) == 10 + in_order)
		in_order++;
	script_free(s);
	return in_order == count;
}

static void test_a_reader_that_is_alone_is_fed_in_order(void **state)
{
	const struct kr_peer_hint origin = { .addr = script_addr(20),
					     .role = KR_PEER_ORIGIN };
	const struct kr_peer_hint seeder = { .addr = script_addr(20),
					     .complete = true };
	(void)state;

	assert_true(reads_in_order(KR_PEER_ROLE_COUNT, 0, NULL));
	assert_true(reads_in_order(KR_PEER_ROLE_COUNT, 0, &origin));
	assert_true(reads_in_order(KR_PEER_ROLE_COUNT, 0, &seeder));
	assert_true(reads_in_order(KR_PEER_ORIGIN, KR_HAVE_NONE, NULL));
	assert_true(reads_in_order(KR_PEER_PROXY, KR_HAVE_NONE, NULL));
}

static void test_a_reader_in_a_crowd_is_not(void **state)
{
	const struct kr_peer_hint leecher = { .addr = script_addr(20) };
	(void)state;

	assert_false(reads_in_order(KR_PEER_AGENT, KR_HAVE_NONE, NULL));
	assert_false(reads_in_order(KR_PEER_ROLE_COUNT, 0, &leecher));
}

/* How long until something is asked, in ms; 10,000: nothing was. */
static uint32_t asked_after_ms(struct script *s)
{
	const uint64_t from_ns = s->now_ns;

	while (script_frame_count(s, KR_FRAME_REQUEST) == 0 &&
	       s->now_ns - from_ns < UINT64_C(10000000000))
		script_wait(s, 1000000);
	return (uint32_t)((s->now_ns - from_ns) / 1000000);
}

/* A node of zone "z" that wants 8 pieces; who has them is in zone "y". */
static struct script *want_of_far(bool with_near)
{
	struct script *s = script_new(KR_PEER_AGENT);
	uint32_t blob;

	if (with_near) {
		script_accept(s, 10);
		script_hello_from(s, 61, "z");
	}
	script_accept(s, 9);
	script_hello_from(s, 60, "y");
	assert_int_equal(script_add(s, 1, 8, false, 0, &blob), KR_OK);
	script_open(s, 2, 1, 8, KR_HAVE_ALL);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 0);
	return s;
}

static void test_other_zones_are_asked_late_and_little(void **state)
{
	struct script *s = want_of_far(true);
	const uint32_t ms = asked_after_ms(s);

	(void)state;
	assert_in_range(ms, 500, 600);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 1);
	script_free(s);
}

static void test_who_is_alone_in_its_zone_waits_less(void **state)
{
	struct script *s = want_of_far(false);
	const uint32_t ms = asked_after_ms(s);

	(void)state;
	assert_in_range(ms, 125, 200);
	assert_int_equal(script_frame_count(s, KR_FRAME_REQUEST), 2);
	script_free(s);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_two_pieces_are_asked_of_a_peer),
		T(test_a_piece_is_verified_then_announced),
		T(test_the_next_piece_is_asked_while_the_last_block_comes),
		T(test_a_liar_is_closed_and_reported),
		cmocka_unit_test(test_blocks_nobody_asked_for_close),
		T(test_a_block_that_comes_twice_closes),
		T(test_busy_is_asked_again_later),
		T(test_a_silent_peer_is_pinged_and_closed),
		T(test_a_reset_gives_pieces_back),
		T(test_an_overdue_block_is_asked_elsewhere),
		T(test_a_block_that_stalls_is_taken_from_another),
		T(test_a_mixed_corrupt_piece_blames_nobody_yet),
		T(test_have_lets_a_piece_be_asked),
		T(test_the_end_closes_the_stream_of_a_complete_peer),
		T(test_a_reader_is_served_first),
		cmocka_unit_test(test_a_full_window_is_filled_again_in_one_go),
		T(test_a_scarce_blob_lets_the_next_go_first),
		T(test_a_reader_that_is_alone_is_fed_in_order),
		T(test_a_reader_in_a_crowd_is_not),
		cmocka_unit_test(test_other_zones_are_asked_late_and_little),
		cmocka_unit_test(test_who_is_alone_in_its_zone_waits_less),
	};
	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
