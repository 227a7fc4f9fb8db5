/* test/unit/peerwire/tell_test.c - what a node tells of pieces it verifies. */
#include "test/unit/peerwire/script.h"

enum { PIECES = 64 };

struct telling {
	struct script *s;
	uint32_t blob;
	uint32_t source, watcher; /* connections */
};

/* A node that has @have pieces, a source of all, and one of @role who has
 * none. */
static struct telling *begin_beside(enum kr_peer_role role, uint64_t have)
{
	struct telling *f = calloc(1, sizeof(*f));
	const struct kr_blob_opts o = {
		.digest = script_digest(1),
		.ns = "lib/x",
		.metainfo_id = { 1 },
		.size_bytes = (uint64_t)PIECES * PIECE,
		.piece_bytes = PIECE,
		.have_words = &have,
	};

	assert_non_null(f);
	f->s = script_new(KR_PEER_AGENT);
	assert_int_equal(
		kr_node_blob_add(f->s->node, f->s->now_ns, &o, &f->blob),
		KR_OK);
	script_drain(f->s);
	script_accept(f->s, 60);
	script_hello(f->s, 60, role);
	f->watcher = f->s->conn;
	script_open(f->s, 2, 1, PIECES, KR_HAVE_NONE);
	script_accept(f->s, 61);
	script_hello(f->s, 61, KR_PEER_AGENT);
	f->source = f->s->conn;
	script_open(f->s, 2, 1, PIECES, KR_HAVE_ALL);
	return f;
}

static struct telling *begin(uint64_t have)
{
	return begin_beside(KR_PEER_AGENT, have);
}

static void end(struct telling *f)
{
	script_free(f->s);
	free(f);
}

/* The source sends @piece, which was asked for; what the watcher hears of it
 * is kept in the script. */
static void fetch_one(struct telling *f, uint32_t piece)
{
	struct script *s = f->s;

	s->conn = f->source;
	for (uint32_t b = 0; b < 2; b++) {
		script_block(s, 2, piece, b * KR_BLOCK_BYTES, KR_BLOCK_BYTES);
		script_body_done(s);
	}
	s->conn = f->watcher;
	kr_node_piece_verified(s->node, s->now_ns, f->blob, piece, true);
	script_drain(s);
}

static uint32_t asked_first(const struct script *s, uint32_t nth)
{
	struct kr_frame_head h;

	assert_non_null(script_frame(s, KR_FRAME_REQUEST, nth, &h));
	return h.arg;
}

static void test_the_first_pieces_are_told_at_once(void **state)
{
	struct telling *f = begin(0);
	(void)state;

	fetch_one(f, asked_first(f->s, 0));
	assert_int_equal(script_frame_count(f->s, KR_FRAME_HAVE), 1);
	end(f);
}

static void test_later_pieces_are_told_together(void **state)
{
	struct telling *f = begin(0xfffffff); /* 28: more than a few */
	const uint32_t one = asked_first(f->s, 0);
	const uint32_t two = asked_first(f->s, 1);
	struct kr_frame_head h;
	struct kr_msg_have m;
	struct kr_have_range r;
	uint64_t told = 0;
	(void)state;

	fetch_one(f, one);
	assert_int_equal(script_frame_count(f->s, KR_FRAME_HAVE), 0);
	fetch_one(f, two);
	assert_int_equal(script_frame_count(f->s, KR_FRAME_HAVE), 0);
	script_wait(f->s, f->s->policy.have_batch_ns);
	const uint8_t *body = script_frame(f->s, KR_FRAME_HAVE, 0, &h);
	assert_non_null(body);
	assert_int_equal(kr_msg_have_decode(&h, body, PIECES, &m), KR_OK);
	while (kr_have_iter_next(&m.ranges, &r))
		for (uint32_t i = 0; i < r.count; i++)
			told |= UINT64_C(1) << (r.first + i);
	assert_true(told == (UINT64_C(1) << one | UINT64_C(1) << two));
	end(f);
}

static void test_who_has_a_piece_is_not_told_of_it(void **state)
{
	struct telling *f = begin(0);
	const uint32_t piece = asked_first(f->s, 0);
	(void)state;

	f->s->conn = f->watcher;
	script_have(f->s, 2, piece, 1);
	fetch_one(f, piece);
	assert_int_equal(script_frame_count(f->s, KR_FRAME_HAVE), 0);
	end(f);
}

/* It reveals its pieces little by little, and goes by what it is told. */
static void test_a_seeder_is_told_of_its_own_pieces_if_alone(void **state)
{
	struct telling *f = begin_beside(KR_PEER_ORIGIN, 0);
	const uint32_t piece = asked_first(f->s, 0);
	(void)state;

	f->s->conn = f->watcher;
	script_have(f->s, 2, piece, 1);
	fetch_one(f, piece);
	assert_int_equal(script_frame_count(f->s, KR_FRAME_HAVE), 1);
	end(f);
}

static void test_the_last_piece_tells_of_all(void **state)
{
	struct telling *f = begin(UINT64_MAX >> 1); /* the last is missing */
	struct kr_frame_head h;
	struct kr_msg_have m;
	struct kr_have_range r;
	(void)state;

	fetch_one(f, PIECES - 1);
	const uint8_t *body = script_frame(f->s, KR_FRAME_HAVE, 0, &h);
	assert_non_null(body);
	assert_int_equal(kr_msg_have_decode(&h, body, PIECES, &m), KR_OK);
	assert_true(kr_have_iter_next(&m.ranges, &r));
	assert_int_equal(r.count, PIECES);
	assert_non_null(script_find(f->s, KR_ACT_DONE));
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_pieces_are_told_at_once),
		cmocka_unit_test(test_later_pieces_are_told_together),
		cmocka_unit_test(test_who_has_a_piece_is_not_told_of_it),
		cmocka_unit_test(
			test_a_seeder_is_told_of_its_own_pieces_if_alone),
		cmocka_unit_test(test_the_last_piece_tells_of_all),
	};
	return cmocka_run_group_tests_name("tell", tests, NULL, NULL);
}
