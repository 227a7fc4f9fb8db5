/* test/unit/peerwire/picker_test.c - peerwire/picker. */
#include "test/support/fault_alloc.h"
#include "test/support/test.h"

#include <stdlib.h>

#include "peerwire/picker.h"

enum { PIECES = 200 };

struct fixture {
	struct fault_alloc fa;
	struct kr_picker p;
	struct kr_rand rand;
	uint64_t words[4];
	struct kr_bitset peer;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	fault_alloc_init(&f->fa, UINT32_MAX);
	kr_rand_init(&f->rand, 5);
	kr_bitset_init(&f->peer, f->words, PIECES);
	*state = f;
	return kr_picker_open(&f->p, &f->fa.alloc, PIECES, false, NULL) !=
	       KR_OK;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_picker_check(&f->p);
	kr_picker_close(&f->p, &f->fa.alloc);
	const int leaked = f->fa.live != 0;
	free(f);
	return leaked;
}

static void test_the_rarest_piece_is_chosen(void **state)
{
	struct fixture *f = *state;
	uint32_t piece;

	for (uint32_t i = 0; i < PIECES; i++)
		if (i != 77)
			kr_picker_gain(&f->p, i);
	assert_true(kr_picker_rarest(&f->p, &f->rand, NULL, 0, PIECES, &piece));
	assert_int_equal(piece, 77);
}

/* The worst mistake there is: everybody after the same piece. */
static void test_ties_are_broken_evenly(void **state)
{
	struct fixture *f = *state;
	uint32_t hits[PIECES] = { 0 };

	for (uint32_t i = 0; i < 100; i++) /* the second half is rarer */
		kr_picker_gain(&f->p, i);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t piece;

		assert_true(kr_picker_rarest(&f->p, &f->rand, NULL, 0, PIECES,
					     &piece));
		hits[piece]++;
	}
	for (uint32_t i = 0; i < PIECES; i++)
		assert_in_range(hits[i], i < 100 ? 0 : 120, i < 100 ? 0 : 290);
}

static void test_only_what_the_peer_has_is_chosen(void **state)
{
	struct fixture *f = *state;
	uint32_t piece;

	assert_false(
		kr_picker_rarest(&f->p, &f->rand, &f->peer, 0, PIECES, &piece));
	kr_bitset_set(&f->peer, 130);
	assert_int_equal(kr_picker_wanted(&f->p, &f->peer), 1);
	assert_true(
		kr_picker_rarest(&f->p, &f->rand, &f->peer, 0, PIECES, &piece));
	assert_int_equal(piece, 130);
	kr_picker_take(&f->p, 130);
	assert_int_equal(kr_picker_wanted(&f->p, &f->peer), 0);
	assert_false(
		kr_picker_rarest(&f->p, &f->rand, &f->peer, 0, PIECES, &piece));
}

static void test_a_window_bounds_the_choice(void **state)
{
	static const uint32_t windows[][2] = {
		{ 0, 1 },   { 63, 65 },   { 64, 128 },
		{ 5, 199 }, { 199, 200 }, { 190, 100000 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
		for (int k = 0; k < 200; k++) {
			uint32_t piece;

			assert_true(kr_picker_rarest(&f->p, &f->rand, NULL,
						     windows[i][0],
						     windows[i][1], &piece));
			assert_true(piece >= windows[i][0]);
			assert_true(piece < windows[i][1] && piece < PIECES);
		}
}

static void test_pieces_go_from_need_to_have(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(kr_picker_first(&f->p, NULL, 0, PIECES), 0);
	for (uint32_t i = 0; i < PIECES; i++) {
		kr_picker_take(&f->p, i);
		kr_picker_drop(&f->p, i);
		kr_picker_take(&f->p, i);
		assert_false(kr_picker_complete(&f->p));
		assert_int_equal(kr_picker_first(&f->p, NULL, 0, PIECES),
				 i + 1);
		kr_picker_done(&f->p, i);
		kr_picker_check(&f->p);
	}
	assert_true(kr_picker_complete(&f->p));
}

static void test_a_peer_that_goes_counts_no_more(void **state)
{
	struct fixture *f = *state;
	uint32_t piece;

	for (uint32_t i = 0; i < PIECES; i++)
		kr_picker_gain(&f->p, i);
	kr_bitset_set(&f->peer, 3);
	kr_picker_lose(&f->p, &f->peer);
	assert_true(kr_picker_rarest(&f->p, &f->rand, NULL, 0, PIECES, &piece));
	assert_int_equal(piece, 3);
}

static void test_what_is_there_already_is_not_needed(void **state)
{
	struct fixture *f = *state;
	uint64_t have[4] = { UINT64_MAX, 1, 0, UINT64_MAX };
	struct kr_picker p;

	assert_int_equal(kr_picker_open(&p, &f->fa.alloc, PIECES, false, have),
			 KR_OK);
	assert_int_equal(p.have_count, 64 + 1 + 8); /* no spare bits */
	assert_int_equal(kr_picker_first(&p, NULL, 0, PIECES), 65);
	kr_picker_check(&p);
	kr_picker_close(&p, &f->fa.alloc);
	assert_int_equal(kr_picker_open(&p, &f->fa.alloc, PIECES, true, NULL),
			 KR_OK);
	assert_true(kr_picker_complete(&p));
	kr_picker_close(&p, &f->fa.alloc);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_rarest_piece_is_chosen),
		T(test_ties_are_broken_evenly),
		T(test_only_what_the_peer_has_is_chosen),
		T(test_a_window_bounds_the_choice),
		T(test_pieces_go_from_need_to_have),
		T(test_a_peer_that_goes_counts_no_more),
		T(test_what_is_there_already_is_not_needed),
	};
	return cmocka_run_group_tests_name("picker", tests, NULL, NULL);
}
