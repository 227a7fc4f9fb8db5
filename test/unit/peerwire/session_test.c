/* test/unit/peerwire/session_test.c - connections, frames, streams: a node
 * against a peer that is played by the test. */
#include "test/unit/peerwire/script.h"

static int setup_accepted(void **state)
{
	struct script *s = script_new(KR_PEER_AGENT);

	script_accept(s, 9);
	*state = s;
	return 0;
}

static int setup_open(void **state)
{
	setup_accepted(state);
	script_hello(*state, 60, KR_PEER_AGENT);
	return 0;
}

static int teardown(void **state)
{
	script_free(*state);
	return 0;
}

static void test_hello_goes_out_at_once(void **state)
{
	struct kr_frame_head h;

	assert_non_null(script_frame(*state, KR_FRAME_HELLO, 0, &h));
}

static void test_hello_opens_the_connection_at_every_cut(void **state)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	const size_t len =
		script_hello_bytes(buf, 60, "test", "", KR_PEER_ORIGIN);
	(void)state;

	for (size_t cut = 1; cut < len; cut++) {
		struct script *s = script_new(KR_PEER_AGENT);
		struct kr_peer_id id;
		enum kr_peer_role role;
		struct kr_addr addr;

		script_accept(s, 9);
		script_bytes(s, buf, cut);
		assert_false(
			kr_node_conn_peer(s->node, s->conn, &id, &role, &addr));
		script_bytes(s, buf + cut, len - cut);
		assert_true(
			kr_node_conn_peer(s->node, s->conn, &id, &role, &addr));
		assert_int_equal(role, KR_PEER_ORIGIN);
		assert_int_equal(addr.port, 9000);
		script_free(s);
	}
}

static void test_silence_before_hello_closes(void **state)
{
	struct script *s = *state;

	while (s->act_count == 0)
		script_wait(s, 10 * KR_POLICY_MS * 1000);
	assert_true(script_closed_for(s, KR_BYE_TIMEOUT));
	assert_true(s->now_ns <= 7000000000);
}

static void test_other_cluster_is_refused(void **state)
{
	uint8_t buf[KR_MSG_SMALL_MAX];

	script_bytes(*state, buf,
		     script_hello_bytes(buf, 60, "prod", "", KR_PEER_AGENT));
	assert_true(script_closed_for(*state, KR_BYE_CLUSTER));
}

static void test_ourselves_are_refused(void **state)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	struct script *s = *state;
	struct kr_msg_hello m = { .version = KR_PROTO_VERSION,
				  .id = { { 50 } },
				  .cluster = { (const uint8_t *)"test", 4 } };
	size_t len;

	assert_int_equal(kr_msg_hello_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	script_bytes(s, buf, len);
	assert_true(script_closed_for(s, KR_BYE_SELF));
}

/* The same host dialled twice: its newer connection is kept. */
static void test_second_connection_of_a_pair_replaces_the_first(void **state)
{
	struct script *s = *state;
	const uint32_t first = s->conn;

	script_accept(s, 9);
	script_hello(s, 60, KR_PEER_AGENT);
	const struct kr_action *a = script_find(s, KR_ACT_CLOSE);
	assert_non_null(a);
	assert_int_equal(a->conn, first);
	assert_int_equal(a->reason, KR_BYE_DUPLICATE);
}

static void test_ping_is_answered(void **state)
{
	struct kr_frame_head h;

	script_plain(*state, KR_FRAME_PING, 0, 77);
	assert_non_null(script_frame(*state, KR_FRAME_PONG, 0, &h));
	assert_int_equal(h.arg, 77);
}

static void test_ping_flood_closes(void **state)
{
	struct script *s = *state;

	for (uint64_t i = 0; i < s->policy.conn_replies_max; i++) {
		script_plain(s, KR_FRAME_PING, 0, 1);
		assert_int_equal(s->act_count, 0);
	}
	script_plain(s, KR_FRAME_PING, 0, 1);
	assert_true(script_closed_for(s, KR_BYE_PROTO));
}

static void test_idle_connection_is_pinged_then_closed(void **state)
{
	struct script *s = *state;

	script_plain(s, KR_FRAME_PONG, 0, 0); /* of the first ping */
	script_wait(s, 16 * UINT64_C(1000000000));
	assert_int_equal(script_frame_count(s, KR_FRAME_PING), 1);
	while (s->act_count == 0)
		script_wait(s, UINT64_C(1000000000));
	assert_true(s->now_ns < UINT64_C(33000000000));
	assert_non_null(script_find(s, KR_ACT_CLOSE));
}

static void test_frames_before_hello_close(void **state)
{
	script_plain(*state, KR_FRAME_PING, 0, 1);
	assert_true(script_closed_for(*state, KR_BYE_PROTO));
}

/* Every frame that an open peer may not say. */
static void test_bad_frames_close(void **state)
{
	static const struct {
		uint8_t type;
		uint16_t stream;
		uint32_t len;
	} bad[] = {
		{ KR_FRAME_HELLO, 0, 40 },
		{ KR_FRAME_OPEN, 1, 20 },
		{ KR_FRAME_OPENED, 3, 20 },
		{ KR_FRAME_HAVE, 3, 9 },
		{ KR_FRAME_REQUEST, 3, 3 },
		{ KR_FRAME_CANCEL, 3, 3 },
		{ KR_FRAME_REJECT, 3, 5 },
		{ KR_FRAME_BLOCK, 3, 100 },
		{ 99, 0, 0 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t buf[256] = { 0 };
		void *fresh = NULL;

		setup_open(&fresh);
		kr_put_be32(buf, bad[i].len);
		buf[4] = bad[i].type;
		kr_put_be16(buf + 6, bad[i].stream);
		script_bytes(fresh, buf, KR_FRAME_HEAD_LEN + bad[i].len);
		assert_true(script_closed_for(fresh, KR_BYE_PROTO));
		teardown(&fresh);
	}
}

static void test_unknown_frames_with_the_flag_are_skipped(void **state)
{
	uint8_t buf[KR_FRAME_HEAD_LEN + 1000] = { 0,   0,  3,
						  232, 99, KR_FRAME_FLAG_SKIP };
	struct script *s = *state;

	script_bytes(s, buf, 500);
	script_bytes(s, buf + 500, sizeof(buf) - 500);
	assert_int_equal(s->act_count, 0);
	script_plain(s, KR_FRAME_PING, 0, 5);
	assert_int_equal(script_frame_count(s, KR_FRAME_PONG), 1);
}

/* ---- streams ------------------------------------------------------------ */

static void test_open_of_a_known_blob_is_answered(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 4, true, 0, &blob), KR_OK);
	script_open(s, 2, 1, 4, KR_HAVE_NONE);
	assert_non_null(script_frame(s, KR_FRAME_OPENED, 0, &h));
	assert_int_equal(h.stream, 2);
}

static void test_open_of_another_shape_is_rejected(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 4, true, 0, &blob), KR_OK);
	script_open(s, 2, 1, 5, KR_HAVE_NONE);
	assert_non_null(script_frame(s, KR_FRAME_REJECT, 0, &h));
	assert_int_equal(h.arg, KR_MSG_NO_PIECE);
}

static void test_open_with_our_parity_closes(void **state)
{
	script_open(*state, 1, 1, 4, KR_HAVE_NONE);
	assert_true(script_closed_for(*state, KR_BYE_PROTO));
}

static void test_open_of_an_unknown_blob_is_looked_up(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;
	uint32_t blob;

	script_open(s, 2, 1, 4, KR_HAVE_NONE);
	const struct kr_action *a = script_find(s, KR_ACT_LOOKUP);
	assert_non_null(a);
	assert_string_equal(a->ns, "lib/x");
	assert_int_equal(script_frame_count(s, KR_FRAME_OPENED), 0);
	assert_int_equal(script_add(s, 1, 4, true, a->lookup, &blob), KR_OK);
	assert_non_null(script_frame(s, KR_FRAME_OPENED, 0, &h));
	script_plain(s, KR_FRAME_CLOSE, 2, 0);
	a = script_find(s, KR_ACT_IDLE);
	assert_non_null(a);
	assert_int_equal(a->blob, blob);
}

static void test_lookup_without_a_blob_is_rejected(void **state)
{
	struct script *s = *state;

	script_open(s, 2, 1, 4, KR_HAVE_ALL);
	kr_node_blob_absent(s->node, s->now_ns, s->acts[0].lookup);
	script_drain(s);
	assert_int_equal(script_frame_count(s, KR_FRAME_REJECT), 1);
	script_open(s, 4, 1, 4, KR_HAVE_ALL); /* it may ask again */
	assert_non_null(script_find(s, KR_ACT_LOOKUP));
}

static void test_lookup_that_takes_too_long_is_rejected(void **state)
{
	struct script *s = *state;

	script_open(s, 2, 1, 4, KR_HAVE_NONE);
	for (int i = 0; i < 400; i++) {
		script_plain(s, KR_FRAME_PING, 0, 1);
		script_wait(s, 100 * KR_POLICY_MS);
		if (script_frame_count(s, KR_FRAME_REJECT) == 1)
			return;
	}
	fail();
}

static void test_lookups_are_bounded(void **state)
{
	struct script *s = *state;
	uint32_t lookups = 0;

	for (uint8_t i = 0; i < 40; i++) {
		script_open(s, (uint16_t)(2 + 2 * i), i, 4, KR_HAVE_NONE);
		lookups += script_find(s, KR_ACT_LOOKUP) != NULL;
	}
	assert_int_equal(lookups, s->policy.conn_lookups_max);
}

/* ---- requests of the peer ----------------------------------------------- */

static int setup_seeding(void **state)
{
	uint32_t blob;

	setup_open(state);
	assert_int_equal(script_add(*state, 1, 4, true, 0, &blob), KR_OK);
	script_open(*state, 2, 1, 4, KR_HAVE_NONE);
	return 0;
}

static void test_a_piece_is_served_block_by_block(void **state)
{
	struct script *s = *state;

	script_request(s, KR_FRAME_REQUEST, 2, 3, 0, 2);
	for (uint32_t i = 0; i < 2; i++) {
		const struct kr_action *a = script_find(s, KR_ACT_SERVE);

		assert_non_null(a);
		assert_int_equal(a->piece, 3);
		assert_int_equal(a->offset, i * KR_BLOCK_BYTES);
		assert_int_equal(a->len, KR_BLOCK_BYTES);
		kr_node_conn_served(s->node, s->now_ns, s->conn);
		script_drain(s);
	}
	assert_null(script_find(s, KR_ACT_SERVE));
}

static void test_canceled_blocks_are_not_served(void **state)
{
	struct script *s = *state;

	script_request(s, KR_FRAME_REQUEST, 2, 3, 0, 2);
	script_request(s, KR_FRAME_CANCEL, 2, 3, 0, 2);
	kr_node_conn_served(s->node, s->now_ns, s->conn);
	script_drain(s);
	assert_null(script_find(s, KR_ACT_SERVE));
}

static void test_requests_that_cannot_be_close(void **state)
{
	static const uint32_t bad[][3] = {
		{ 4, 0, 1 },
		{ 1u << 20, 0, 1 },
		{ 0, 2, 1 },
		{ 0, 1, 2 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *fresh = NULL;

		setup_seeding(&fresh);
		script_request(fresh, KR_FRAME_REQUEST, 2, bad[i][0], bad[i][1],
			       bad[i][2]);
		assert_true(script_closed_for(fresh, KR_BYE_PROTO));
		teardown(&fresh);
	}
}

static void test_a_full_queue_says_busy(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;
	const uint8_t *body = NULL;
	struct kr_msg_reject m;

	for (int i = 0; i < 100 && body == NULL; i++) {
		script_request(s, KR_FRAME_REQUEST, 2, (uint32_t)i % 4, 0, 2);
		body = script_frame(s, KR_FRAME_REJECT, 0, &h);
	}
	assert_non_null(body);
	assert_int_equal(kr_msg_reject_decode(&h, body, &m), KR_OK);
	assert_int_equal(m.reason, KR_REJECT_BUSY);
	assert_int_equal(m.block_count, 2);
}

static void test_leaving_a_swarm_closes_its_streams(void **state)
{
	struct script *s = *state;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 4, true, 0, &blob), KR_E_EXISTS);
	kr_node_blob_remove(s->node, s->now_ns, blob);
	script_drain(s);
	assert_int_equal(script_frame_count(s, KR_FRAME_CLOSE), 1);
	script_request(s, KR_FRAME_REQUEST, 2, 0, 0, 1); /* crossed it */
	assert_int_equal(s->act_count, 0);
	script_plain(s, KR_FRAME_CLOSE, 2, 0);
	script_request(s, KR_FRAME_REQUEST, 2, 0, 0, 1); /* did not */
	assert_true(script_closed_for(s, KR_BYE_PROTO));
}

static void test_shutdown_says_goodbye(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;

	kr_node_shutdown(s->node, s->now_ns);
	script_drain(s);
	assert_true(script_closed_for(s, KR_BYE_SHUTDOWN));
	assert_non_null(script_frame(s, KR_FRAME_BYE, 0, &h));
	assert_int_equal(h.arg, KR_BYE_SHUTDOWN);
}

int main(void)
{
#define A(fn) cmocka_unit_test_setup_teardown(fn, setup_accepted, teardown)
#define O(fn) cmocka_unit_test_setup_teardown(fn, setup_open, teardown)
#define S(fn) cmocka_unit_test_setup_teardown(fn, setup_seeding, teardown)
	const struct CMUnitTest tests[] = {
		A(test_hello_goes_out_at_once),
		cmocka_unit_test(test_hello_opens_the_connection_at_every_cut),
		A(test_silence_before_hello_closes),
		A(test_other_cluster_is_refused),
		A(test_ourselves_are_refused),
		A(test_frames_before_hello_close),
		O(test_second_connection_of_a_pair_replaces_the_first),
		O(test_ping_is_answered),
		O(test_ping_flood_closes),
		O(test_idle_connection_is_pinged_then_closed),
		cmocka_unit_test(test_bad_frames_close),
		O(test_unknown_frames_with_the_flag_are_skipped),
		O(test_open_of_a_known_blob_is_answered),
		O(test_open_of_another_shape_is_rejected),
		O(test_open_with_our_parity_closes),
		O(test_open_of_an_unknown_blob_is_looked_up),
		O(test_lookup_without_a_blob_is_rejected),
		O(test_lookup_that_takes_too_long_is_rejected),
		O(test_lookups_are_bounded),
		S(test_a_piece_is_served_block_by_block),
		S(test_canceled_blocks_are_not_served),
		cmocka_unit_test(test_requests_that_cannot_be_close),
		S(test_a_full_queue_says_busy),
		S(test_leaving_a_swarm_closes_its_streams),
		S(test_shutdown_says_goodbye),
	};
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
