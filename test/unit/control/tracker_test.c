/* test/unit/control/tracker_test.c - control/tracker, one behaviour per
 * test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/tracker.h"
#include "test/support/fault_alloc.h"

#define SEC UINT64_C(1000000000)

enum { MAX = KR_TRACKER_WANT_MAX };

struct fixture {
	struct kr_tracker *t;
	uint64_t now_ns;
	struct kr_tracker_pick picks[MAX];
	uint32_t count;
};

static struct kr_tracker_peer peer(uint32_t n, const char *zone)
{
	struct kr_tracker_peer p = { .role = KR_PEER_AGENT };

	memcpy(p.id.bytes, &n, sizeof(n));
	p.addr.port = (uint16_t)(1000 + n);
	strncpy(p.zone, zone, sizeof(p.zone) - 1);
	return p;
}

static uint32_t number_of(const struct kr_tracker_pick *p)
{
	uint32_t n;

	memcpy(&n, p->id.bytes, sizeof(n));
	return n;
}

static struct kr_digest blob(uint8_t n)
{
	return (struct kr_digest){ .alg = KR_SHA256, .bytes = { n } };
}

struct say {
	const char *zone;
	uint8_t blob;
	bool complete;
	uint32_t degree, want;
};

static void announce(struct fixture *f, uint32_t n, struct say say)
{
	const struct kr_tracker_peer p =
		peer(n, say.zone == NULL ? "a" : say.zone);
	const struct kr_tracker_item item = { .digest = blob(say.blob),
					      .complete = say.complete,
					      .degree = say.degree,
					      .want = say.want };

	assert_int_equal(kr_tracker_announce(f->t, f->now_ns, &p, &item,
					     f->picks, MAX, &f->count),
			 KR_OK);
	kr_tracker_check(f->t);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct kr_tracker_opts opts = { .alloc = kr_alloc_heap(),
					      .seed = 7,
					      .ttl_ns = 100 * SEC,
					      .quarantine_ns = 50 * SEC,
					      .blobs_max = 4,
					      .peers_max = 200,
					      .members_max = 300 };

	if (f == NULL || kr_tracker_open(&opts, &f->t) != KR_OK)
		return -1;
	f->now_ns = SEC;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_tracker_close(f->t);
	free(f);
	return 0;
}

static struct kr_tracker_stats stats(struct fixture *f)
{
	struct kr_tracker_stats s;

	kr_tracker_stats_get(f->t, &s);
	return s;
}

static bool was_picked(const struct fixture *f, uint32_t n)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (number_of(&f->picks[i]) == n)
			return true;
	return false;
}

static void test_the_asker_is_never_its_own_neighbour(void **state)
{
	struct fixture *f = *state;

	announce(f, 1, (struct say){ .want = 50 });
	assert_int_equal(f->count, 0);
	announce(f, 2, (struct say){ .want = 50 });
	assert_int_equal(f->count, 1);
	assert_int_equal(number_of(&f->picks[0]), 1);
	assert_int_equal(f->picks[0].addr.port, 1001);
	announce(f, 1, (struct say){ .want = 50 });
	assert_false(was_picked(f, 1));
}

static void test_want_bounds_the_handout(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 100; n++)
		announce(f, n, (struct say){ 0 });
	announce(f, 1, (struct say){ .want = 7 });
	assert_int_equal(f->count, 7);
	announce(f, 1, (struct say){ .want = UINT32_MAX });
	assert_int_equal(f->count, KR_TRACKER_WANT_MAX);
	announce(f, 1, (struct say){ .want = 0 });
	assert_int_equal(f->count, 0);
}

static void test_two_complete_peers_are_always_named(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 100; n++)
		announce(f, n, (struct say){ 0 });
	announce(f, 100, (struct say){ .complete = true, .degree = 39 });
	announce(f, 101, (struct say){ .complete = true, .degree = 90 });
	for (int i = 0; i < 50; i++) {
		announce(f, 1, (struct say){ .want = 3 });
		assert_int_equal(f->count, 3);
		assert_true(was_picked(f, 100));
		assert_true(was_picked(f, 101)); /* full, but no other is */
	}
	announce(f, 102, (struct say){ .complete = true });
	for (int i = 0; i < 50; i++) {
		announce(f, 1, (struct say){ .want = 3 });
		assert_false(was_picked(f, 101));
	}
}

static void test_complete_askers_are_told_of_incomplete_peers(void **state)
{
	struct fixture *f = *state;

	announce(f, 1, (struct say){ .complete = true });
	announce(f, 2, (struct say){ 0 });
	announce(f, 3, (struct say){ .complete = true, .want = 50 });
	assert_int_equal(f->count, 1);
	assert_int_equal(number_of(&f->picks[0]), 2);
}

static void test_peers_at_the_degree_cap_are_spared(void **state)
{
	struct fixture *f = *state;

	announce(f, 1, (struct say){ .degree = 40 });
	announce(f, 2, (struct say){ .degree = 39 });
	announce(f, 3, (struct say){ .want = 50 });
	assert_int_equal(f->count, 1);
	assert_int_equal(number_of(&f->picks[0]), 2);
}

static void test_the_own_zone_is_preferred_but_not_alone(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 60; n++)
		announce(f, n, (struct say){ .zone = "a" });
	for (uint32_t n = 100; n < 160; n++)
		announce(f, n, (struct say){ .zone = "b" });
	for (int i = 0; i < 50; i++) {
		uint32_t far = 0;
		announce(f, 1, (struct say){ .zone = "a", .want = 20 });
		assert_int_equal(f->count, 20);
		for (uint32_t k = 0; k < f->count; k++)
			far += strcmp(f->picks[k].zone, "b") == 0;
		assert_int_equal(far, KR_TRACKER_FAR_MIN);
	}
	/* Nobody else is there: the others do. */
	announce(f, 200, (struct say){ .zone = "c", .want = 20 });
	assert_int_equal(f->count, 20);
}

static void test_picks_are_uniform(void **state)
{
	struct fixture *f = *state;
	uint32_t hits[101] = { 0 };

	for (uint32_t n = 0; n <= 100; n++)
		announce(f, n, (struct say){ 0 });
	for (int i = 0; i < 10000; i++) {
		const struct kr_tracker_peer p = peer(0, "a");
		const struct kr_tracker_item item = { .digest = blob(0),
						      .want = 10 };
		assert_int_equal(kr_tracker_announce(f->t, f->now_ns, &p, &item,
						     f->picks, MAX, &f->count),
				 KR_OK);
		for (uint32_t k = 0; k < f->count; k++)
			hits[number_of(&f->picks[k])]++;
	}
	for (uint32_t n = 1; n <= 100; n++)
		assert_in_range(hits[n], 840, 1160); /* 1000, 5 sigma */
}

static void test_silent_members_are_forgotten(void **state)
{
	struct fixture *f = *state;

	announce(f, 1, (struct say){ 0 });
	f->now_ns += 60 * SEC;
	announce(f, 2, (struct say){ .want = 50 });
	assert_int_equal(f->count, 1);
	f->now_ns += 60 * SEC;
	announce(f, 3, (struct say){ .want = 50 });
	assert_int_equal(f->count, 1);
	assert_int_equal(number_of(&f->picks[0]), 2);
	assert_int_equal(stats(f).members, 2);
	f->now_ns += 1000 * SEC;
	assert_int_equal(kr_tracker_expire(f->t, f->now_ns, 1), 1);
	kr_tracker_check(f->t);
	assert_int_equal(kr_tracker_expire(f->t, f->now_ns, 100), 1);
	assert_int_equal(stats(f).blobs, 0);
	assert_int_equal(stats(f).peers, 0);
	assert_int_equal(stats(f).expired, 3);
}

static void test_who_leaves_is_gone(void **state)
{
	struct fixture *f = *state;
	const struct kr_tracker_peer p = peer(1, "a");
	const struct kr_digest d = blob(0), other = blob(9);

	announce(f, 1, (struct say){ .complete = true });
	announce(f, 1, (struct say){ .blob = 1 });
	kr_tracker_leave(f->t, f->now_ns, &p.id, &other);
	kr_tracker_leave(f->t, f->now_ns, &p.id, &d);
	kr_tracker_check(f->t);
	announce(f, 2, (struct say){ .want = 50 });
	assert_int_equal(f->count, 0);
	announce(f, 2, (struct say){ .want = 50, .blob = 1 });
	assert_int_equal(f->count, 1);
}

static void test_a_liar_is_quarantined_for_that_blob(void **state)
{
	struct fixture *f = *state;
	const struct kr_tracker_peer p = peer(1, "a"), no = peer(9, "a");
	const struct kr_digest d = blob(0);

	announce(f, 1, (struct say){ .complete = true });
	announce(f, 1, (struct say){ .complete = true, .blob = 1 });
	assert_int_equal(kr_tracker_report(f->t, f->now_ns, &p.id, &d), KR_OK);
	assert_int_equal(kr_tracker_report(f->t, f->now_ns, &no.id, &d),
			 KR_E_NOTFOUND);
	kr_tracker_leave(f->t, f->now_ns, &p.id, &d); /* no way out */
	announce(f, 1, (struct say){ .complete = true });
	announce(f, 2, (struct say){ .want = 50 });
	assert_int_equal(f->count, 0);
	announce(f, 2, (struct say){ .want = 50, .blob = 1 });
	assert_int_equal(f->count, 1);
	f->now_ns += 50 * SEC;
	announce(f, 2, (struct say){ .want = 50 });
	assert_int_equal(f->count, 1);
}

static void test_the_oldest_member_makes_room(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 200; n++)
		announce(f, n, (struct say){ 0 });
	announce(f, 0, (struct say){ 0 }); /* no longer the oldest */
	announce(f, 500, (struct say){ 0 });
	assert_int_equal(stats(f).members, 200);
	assert_int_equal(stats(f).evicted, 1);
	const struct kr_tracker_peer first = peer(0, "a"),
				     second = peer(1, "a");
	const struct kr_digest d = blob(0);
	assert_int_equal(kr_tracker_report(f->t, f->now_ns, &first.id, &d),
			 KR_OK);
	assert_int_equal(kr_tracker_report(f->t, f->now_ns, &second.id, &d),
			 KR_E_NOTFOUND);
}

static void test_the_blob_announced_longest_ago_makes_room(void **state)
{
	struct fixture *f = *state;

	for (uint8_t b = 0; b < 4; b++)
		for (uint32_t n = 0; n < 5; n++)
			announce(f, n, (struct say){ .blob = b });
	announce(f, 1, (struct say){ .blob = 0 });
	announce(f, 1, (struct say){ .blob = 4 });
	assert_int_equal(stats(f).blobs, 4);
	announce(f, 9, (struct say){ .blob = 0, .want = 50 });
	assert_int_equal(f->count, 5);
	announce(f, 9, (struct say){ .blob = 1, .want = 50 });
	assert_int_equal(f->count, 0);
}

static void test_members_of_all_blobs_are_bounded(void **state)
{
	struct fixture *f = *state;

	for (uint8_t b = 0; b < 4; b++)
		for (uint32_t n = 0; n < 150; n++)
			announce(f, n, (struct say){ .blob = b });
	assert_int_equal(stats(f).members, 300);
}

static void test_what_a_peer_says_last_counts(void **state)
{
	struct fixture *f = *state;

	announce(f, 1, (struct say){ .zone = "a" });
	announce(f, 1, (struct say){ .zone = "z", .complete = true });
	announce(f, 2, (struct say){ .want = 1 });
	assert_int_equal(f->count, 1);
	assert_string_equal(f->picks[0].zone, "z");
	assert_true(f->picks[0].complete);
	announce(f, 1, (struct say){ .zone = "z" });
	announce(f, 2, (struct say){ .want = 1 });
	assert_false(f->picks[0].complete);
}

static enum kr_err live_a_life(const struct kr_alloc *alloc)
{
	const struct kr_tracker_opts opts = { .alloc = alloc, .peers_max = 64 };
	struct kr_tracker_pick picks[MAX];
	struct kr_tracker *t;
	uint32_t count;
	enum kr_err err = kr_tracker_open(&opts, &t);

	if (err != KR_OK)
		return err;
	for (uint32_t n = 0; n < 20 && err == KR_OK; n++) {
		const struct kr_tracker_peer p = peer(n, "a");
		const struct kr_tracker_item item = { .digest = blob(n % 2),
						      .want = 9 };
		err = kr_tracker_announce(t, n, &p, &item, picks, MAX, &count);
		kr_tracker_check(t);
	}
	kr_tracker_close(t);
	return err;
}

static void test_every_failing_allocation_is_survived(void **state)
{
	struct fault_alloc fa;
	(void)state;

	FOR_EACH_ALLOC_FAILURE (&fa, live_a_life(&fa.alloc))
		;
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_asker_is_never_its_own_neighbour),
		T(test_want_bounds_the_handout),
		T(test_two_complete_peers_are_always_named),
		T(test_complete_askers_are_told_of_incomplete_peers),
		T(test_peers_at_the_degree_cap_are_spared),
		T(test_the_own_zone_is_preferred_but_not_alone),
		T(test_picks_are_uniform),
		T(test_silent_members_are_forgotten),
		T(test_who_leaves_is_gone),
		T(test_a_liar_is_quarantined_for_that_blob),
		T(test_the_oldest_member_makes_room),
		T(test_the_blob_announced_longest_ago_makes_room),
		T(test_members_of_all_blobs_are_bounded),
		T(test_what_a_peer_says_last_counts),
		cmocka_unit_test(test_every_failing_allocation_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
