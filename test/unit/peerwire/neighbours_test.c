/* test/unit/peerwire/neighbours_test.c - whom a node dials, admits and drops. */
#include "test/unit/peerwire/script.h"

static int setup(void **state)
{
	*state = script_new(KR_PEER_AGENT);
	return 0;
}

static int teardown(void **state)
{
	script_free(*state);
	return 0;
}

static void hint(struct script *s, uint32_t blob, uint8_t host, bool complete)
{
	const struct kr_peer_hint h = { .addr = script_addr(host),
					.complete = complete };

	kr_node_blob_peers(s->node, s->now_ns, blob, &h, 1);
	script_drain(s);
}

/* A peer of id @id at host @host that has everything of blob @n. */
static uint32_t join(struct script *s, uint8_t id, uint8_t n,
		     enum kr_have_form form)
{
	script_join(s, id, KR_PEER_AGENT, n, 8, form);
	return s->conn;
}

static void test_a_blob_without_neighbours_asks_for_some(void **state)
{
	struct script *s = *state;
	uint32_t blob, asked = 0;

	assert_int_equal(script_add(s, 1, 8, false, 0, &blob), KR_OK);
	const struct kr_action *a = script_find(s, KR_ACT_PEERS);
	assert_non_null(a);
	assert_int_equal(a->blob, blob);
	for (int i = 0; i < 100; i++) { /* 10 s: not too often */
		script_wait(s, 100 * KR_POLICY_MS);
		asked += script_find(s, KR_ACT_PEERS) != NULL;
		s->act_count = 0;
	}
	assert_in_range(asked, 3, 8);
}

static void test_a_complete_blob_asks_for_none(void **state)
{
	struct script *s = *state;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 8, true, 0, &blob), KR_OK);
	hint(s, blob, 20, true);
	assert_int_equal(s->act_count, 0);
}

static void test_a_host_is_dialled_once(void **state)
{
	struct script *s = *state;
	uint32_t one, two;

	assert_int_equal(script_add(s, 1, 8, false, 0, &one), KR_OK);
	assert_int_equal(script_add(s, 2, 8, false, 0, &two), KR_OK);
	hint(s, one, 20, true);
	const struct kr_action *a = script_find(s, KR_ACT_DIAL);
	assert_non_null(a);
	assert_int_equal(a->addr.ip[15], 20);
	s->conn = a->conn;
	hint(s, one, 20, true);
	assert_null(script_find(s, KR_ACT_DIAL));
	hint(s, two, 20, true); /* for another blob neither */
	assert_null(script_find(s, KR_ACT_DIAL));
	kr_node_conn_connected(s->node, s->now_ns, s->conn);
	script_drain(s);
	script_hello(s, 20, KR_PEER_AGENT);
	assert_int_equal(script_frame_count(s, KR_FRAME_OPEN), 2);
}

static void test_a_host_that_failed_is_tried_later(void **state)
{
	struct script *s = *state;
	const struct kr_action *a;
	uint64_t gap_ns = 0;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 8, false, 0, &blob), KR_OK);
	hint(s, blob, 20, true);
	for (int i = 0; i < 3; i++) {
		const uint64_t failed_ns = s->now_ns;

		a = script_find(s, KR_ACT_DIAL);
		assert_non_null(a);
		kr_node_conn_closed(s->node, s->now_ns, a->conn, KR_E_REFUSED);
		script_drain(s);
		while (script_find(s, KR_ACT_DIAL) == NULL)
			script_wait(s, 50 * KR_POLICY_MS);
		assert_true(s->now_ns - failed_ns > gap_ns); /* doubling */
		gap_ns = s->now_ns - failed_ns;
		assert_true(gap_ns >= s->policy.dial_backoff_ns);
	}
}

static void test_a_silent_dial_is_given_up(void **state)
{
	struct script *s = *state;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 8, false, 0, &blob), KR_OK);
	hint(s, blob, 20, true);
	s->conn = script_find(s, KR_ACT_DIAL)->conn;
	while (!script_closed_for(s, KR_BYE_TIMEOUT))
		script_wait(s, 100 * KR_POLICY_MS);
	assert_true(s->now_ns <= 1000000000 + s->policy.dial_ns +
					 2 * s->policy.tick_idle_ns);
}

/* The answer to our OPEN that is frame @h. */
static void refuse(struct script *s, enum kr_reject_reason reason)
{
	struct kr_frame_head h;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;

	assert_non_null(script_frame(s, KR_FRAME_OPEN, 0, &h));
	const struct kr_msg_reject m = { .stream = h.stream,
					 .piece = KR_MSG_NO_PIECE,
					 .reason = reason };

	assert_int_equal(kr_msg_reject_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	script_bytes(s, buf, len);
}

/* A blob that is opened at a peer of @role, as the tracker says. */
static uint32_t open_at(struct script *s, enum kr_peer_role role)
{
	const struct kr_peer_hint h = { .addr = script_addr(20),
					.id = script_id(20),
					.role = role };
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 8, false, 0, &blob), KR_OK);
	kr_node_blob_peers(s->node, s->now_ns, blob, &h, 1);
	script_drain(s);
	s->conn = script_find(s, KR_ACT_DIAL)->conn;
	kr_node_conn_connected(s->node, s->now_ns, s->conn);
	script_drain(s);
	script_hello(s, 20, role);
	return blob;
}

/* How long until it asks the peer that refused again; at most @max_ns. */
static uint64_t asked_again_after(struct script *s, uint64_t max_ns)
{
	const uint64_t since_ns = s->now_ns;

	while (script_frame_count(s, KR_FRAME_OPEN) == 0 &&
	       s->now_ns - since_ns < max_ns)
		script_wait(s, 50 * KR_POLICY_MS);
	return s->now_ns - since_ns;
}

static void asks_again_soon(struct script *s, enum kr_peer_role role)
{
	uint64_t want_ns = s->policy.absent_retry_ns;

	open_at(s, role);
	for (int i = 0; i < 5; i++) { /* doubling, up to the longest wait */
		refuse(s, KR_REJECT_NOT_FOUND);
		assert_null(script_find(s, KR_ACT_DISPUTE));
		const uint64_t got_ns = asked_again_after(s, 20 * want_ns);

		assert_in_range(got_ns, want_ns,
				want_ns + 2 * s->policy.tick_idle_ns);
		want_ns *= 2;
		if (want_ns > s->policy.absent_retry_max_ns)
			want_ns = s->policy.absent_retry_max_ns;
	}
	assert_int_equal(want_ns, s->policy.absent_retry_max_ns);
}

static void test_an_origin_that_has_it_not_yet_is_asked_again_soon(void **state)
{
	asks_again_soon(*state, KR_PEER_ORIGIN);
}

static void test_a_proxy_that_has_it_not_yet_is_asked_again_soon(void **state)
{
	asks_again_soon(*state, KR_PEER_PROXY);
}

static void test_an_agent_that_has_it_not_is_left_alone(void **state)
{
	struct script *s = *state;

	open_at(s, KR_PEER_AGENT);
	refuse(s, KR_REJECT_NOT_FOUND);
	/* It may well be useless by then, too. */
	assert_true(asked_again_after(s, 25000 * KR_POLICY_MS) >=
		    25000 * KR_POLICY_MS);
}

static void test_another_metainfo_is_told(void **state)
{
	struct script *s = *state;
	const uint32_t blob = open_at(s, KR_PEER_ORIGIN);

	refuse(s, KR_REJECT_METAINFO);
	const struct kr_action *a = script_find(s, KR_ACT_DISPUTE);

	assert_non_null(a);
	assert_int_equal(a->blob, blob);
	assert_true(asked_again_after(s, 25000 * KR_POLICY_MS) >=
		    25000 * KR_POLICY_MS);
}

static void test_a_newcomer_is_let_in_where_others_are_not(void **state)
{
	struct script *s = *state;
	struct kr_frame_head h;
	struct kr_msg_reject m;
	uint32_t blob, first = 0;

	assert_int_equal(script_add(s, 1, 8, true, 0, &blob), KR_OK);
	for (uint8_t i = 0; i < s->policy.degree_max; i++) {
		const uint32_t conn =
			join(s, (uint8_t)(60 + i), 1, KR_HAVE_NONE);

		script_have(s, 2, 0, i == 0 ? 5 : 2);
		first = i == 0 ? conn : first;
	}
	/* One more, with pieces: full. */
	const uint8_t have[] = { KR_HAVE_BITMAP, 0x80 };
	const struct kr_msg_open open = {
		.stream = 2,
		.ns = { (const uint8_t *)"lib/x", 5 },
		.digest = script_digest(1),
		.metainfo_id = { 1 },
		.size_bytes = 8ull * PIECE,
		.piece_bytes = PIECE,
		.block_bytes = KR_BLOCK_BYTES,
		.have = { have, sizeof(have) },
	};
	uint8_t buf[KR_MSG_OPEN_FIXED_MAX + 8];
	size_t len;

	script_accept(s, 200);
	script_hello(s, 200, KR_PEER_AGENT);
	assert_int_equal(kr_msg_open_encode(&open, buf, sizeof(buf), &len),
			 KR_OK);
	script_bytes(s, buf, len);
	const uint8_t *body = script_frame(s, KR_FRAME_REJECT, 0, &h);
	assert_non_null(body);
	assert_int_equal(kr_msg_reject_decode(&h, body, &m), KR_OK);
	assert_int_equal(m.reason, KR_REJECT_FULL);
	assert_true(m.retry_ms > 0);
	/* One without: in, and the one with the most pieces has to go. */
	join(s, 201, 1, KR_HAVE_NONE);
	assert_int_equal(script_frame_count(s, KR_FRAME_OPENED), 1);
	s->conn = first;
	script_request(s, KR_FRAME_REQUEST, 2, 7, 0, 1);
	assert_null(script_find(s, KR_ACT_SERVE));
}

static void test_a_useless_connection_is_closed(void **state)
{
	struct script *s = *state;
	uint32_t blob;

	assert_int_equal(script_add(s, 1, 8, true, 0, &blob), KR_OK);
	join(s, 60, 1, KR_HAVE_ALL); /* both have all: the stream goes */
	assert_int_equal(script_frame_count(s, KR_FRAME_CLOSE), 1);
	script_plain(s, KR_FRAME_CLOSE, 2, 0);
	for (int i = 0; i < 700; i++) {
		script_wait(s, 50 * KR_POLICY_MS);
		if (s->act_count > 0)
			break;
		script_plain(s, KR_FRAME_PONG, 0, 0);
	}
	assert_true(script_closed_for(s, KR_BYE_USELESS));
	assert_in_range(s->now_ns / KR_POLICY_MS, 31000, 33000);
}

static void test_too_many_connections_are_refused(void **state)
{
	struct script *s = *state;
	const struct kr_addr from = script_addr(1);
	uint32_t conn;

	for (uint64_t i = 0; i < s->policy.conns_max; i++)
		assert_int_equal(
			kr_node_conn_accepted(s->node, s->now_ns, &from, &conn),
			KR_OK);
	assert_int_equal(
		kr_node_conn_accepted(s->node, s->now_ns, &from, &conn),
		KR_E_LIMIT);
	kr_node_conn_closed(s->node, s->now_ns, conn, KR_E_RESET);
	assert_int_equal(
		kr_node_conn_accepted(s->node, s->now_ns, &from, &conn), KR_OK);
	script_drain(s);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_blob_without_neighbours_asks_for_some),
		T(test_a_complete_blob_asks_for_none),
		T(test_a_host_is_dialled_once),
		T(test_a_host_that_failed_is_tried_later),
		T(test_a_silent_dial_is_given_up),
		T(test_an_origin_that_has_it_not_yet_is_asked_again_soon),
		T(test_a_proxy_that_has_it_not_yet_is_asked_again_soon),
		T(test_an_agent_that_has_it_not_is_left_alone),
		T(test_another_metainfo_is_told),
		T(test_a_newcomer_is_let_in_where_others_are_not),
		T(test_a_useless_connection_is_closed),
		T(test_too_many_connections_are_refused),
	};
	return cmocka_run_group_tests_name("neighbours", tests, NULL, NULL);
}
