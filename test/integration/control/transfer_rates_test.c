/*
 * test/integration/control/transfer_rates_test.c - limits on real sockets.
 *
 * That nothing is faster than its limit is exact: bytes / rate is the least
 * time it can take.  How much slower it may be depends on what else the
 * machine does; the bounds above are ten times what it takes.
 */
#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

enum { KIB = 1024, MIB = 1024 * 1024 };
#define S UINT64_C(1000000000)

static void limit(struct world *w, uint64_t up, uint64_t down)
{
	w->policy.up_bytes_per_s = up;
	w->policy.down_bytes_per_s = down;
}

/* Turn until @cond, at most @limit_s seconds. */
#define turn_long(w, cond, limit_s)                                       \
	do {                                                              \
		const uint64_t until_ = kr_clock_mono_ns() + (limit_s)*S; \
		while (!(cond)) {                                         \
			if (kr_clock_mono_ns() > until_)                  \
				fail_msg("too long without: %s", #cond);  \
			kr_io_turn((w)->io);                              \
		}                                                         \
	} while (0)

/* The burst that an idle bucket holds, in time. */
static uint64_t least_ns(uint64_t bytes, uint64_t rate)
{
	uint64_t burst = rate / 50;

	if (burst < 2 * 4096)
		burst = 2 * 4096;
	return (bytes - burst) * 1000 / rate * (S / 1000);
}

static void assert_nothing_was_lost(const struct host *h)
{
	struct kr_node_stats s;

	kr_transfer_stats(h->t, &s);
	assert_int_equal(s.closes[KR_BYE_TIMEOUT], 0);
	assert_int_equal(s.discarded_bytes + s.duplicate_bytes, 0);
}

/* One host has @up, the other @down. */
static void exchange(struct world *w, size_t len, uint64_t up, uint64_t down)
{
	const uint64_t rate = down == 0 || (up != 0 && up < down) ? up : down;
	struct host *seeder, *leecher;
	struct content c;
	struct fetch f;

	limit(w, up, 0);
	seeder = open_host(w, 0, KR_PEER_ORIGIN);
	limit(w, 0, down);
	leecher = open_host(w, 1, KR_PEER_AGENT);
	make_content(&c, len, 256 * KIB, len);
	put_content(seeder, &c);
	const uint64_t start_ns = kr_clock_mono_ns();

	start_fetch(leecher, &c, &f);
	turn_long(w, f.done, 10 * (len / rate + 1));
	const uint64_t took_ns = kr_clock_mono_ns() - start_ns;

	assert_ok(f.err);
	assert_true(took_ns >= least_ns(len, rate));
	assert_int_equal(received_bytes(&f), len);
	assert_stored(leecher, &c);
	assert_nothing_was_lost(seeder);
	assert_nothing_was_lost(leecher);
	end_fetch(&f);
	free_content(&c);
}

static void test_uploads_keep_to_their_limit(void **state)
{
	exchange(*state, 6 * MIB, 4 * MIB, 0);
}

static void test_downloads_keep_to_their_limit(void **state)
{
	exchange(*state, 6 * MIB, 0, 4 * MIB);
}

/* Slices larger than a block. */
static void test_high_limits_are_limits(void **state)
{
	exchange(*state, 40 * MIB, 80 * MIB, 0);
}

/* Pieces that are smaller than what one receive brings are held to it too. */
static void test_many_small_blobs_keep_to_a_download_limit(void **state)
{
	enum { COUNT = 40, LEN = 8000 };
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct content c[COUNT];
	struct fetch f[COUNT];

	limit(w, 0, 256 * KIB);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	const uint64_t start_ns = kr_clock_mono_ns();

	for (uint32_t i = 0; i < COUNT; i++) {
		make_content(&c[i], LEN, 256 * KIB, 100 + i);
		put_content(seeder, &c[i]);
		start_fetch(h, &c[i], &f[i]);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		turn_until(w, f[i].done);
		assert_ok(f[i].err);
	}
	assert_true(kr_clock_mono_ns() - start_ns >=
		    least_ns(COUNT * LEN, 256 * KIB));
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_stored(h, &c[i]);
		end_fetch(&f[i]);
		free_content(&c[i]);
	}
}

/* All peers together have the limit, not each. */
static void test_the_limit_is_of_the_host(void **state)
{
	struct world *w = *state;
	struct content c;
	struct fetch f[2];

	limit(w, 4 * MIB, 0);
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	limit(w, 0, 0);
	struct host *h[2] = { open_host(w, 1, KR_PEER_AGENT),
			      open_host(w, 2, KR_PEER_AGENT) };
	struct kr_node_stats s;

	make_content(&c, 4 * MIB, 256 * KIB, 3);
	put_content(seeder, &c);
	const uint64_t start_ns = kr_clock_mono_ns();

	start_fetch(h[0], &c, &f[0]);
	start_fetch(h[1], &c, &f[1]);
	turn_until(w, f[0].done && f[1].done);
	const uint64_t took_ns = kr_clock_mono_ns() - start_ns;

	kr_transfer_stats(seeder->t, &s);
	assert_true(took_ns >=
		    least_ns(s.block_bytes_out[KR_PEER_AGENT], 4 * MIB));
	for (int i = 0; i < 2; i++) {
		assert_ok(f[i].err);
		end_fetch(&f[i]);
	}
	free_content(&c);
}

/* Both sides at the least limit there is: a block takes 8 s, the blob 16.
 * Meanwhile another host gets a small blob from the same seeder: neither its
 * control frames nor its block wait for the bulk of the first. */
static void test_64_kib_a_second_and_a_small_blob_beside(void **state)
{
	struct world *w = *state;
	struct content bulk, small;
	struct fetch fb, fs;

	limit(w, 64 * KIB, 64 * KIB);
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *a = open_host(w, 1, KR_PEER_AGENT);
	struct host *b = open_host(w, 2, KR_PEER_AGENT);

	make_content(&bulk, MIB, MIB, 1);
	make_content(&small, 2000, 256 * KIB, 2);
	put_content(seeder, &bulk);
	put_content(seeder, &small);
	const uint64_t start_ns = kr_clock_mono_ns();

	start_fetch(a, &bulk, &fb);
	turn_for(w, S);
	start_fetch(b, &small, &fs);
	turn_until(w, fs.done);
	assert_ok(fs.err);
	assert_false(fb.done); /* it takes 16 s */
	turn_long(w, fb.done, 100);
	assert_ok(fb.err);
	assert_true(kr_clock_mono_ns() - start_ns >= least_ns(MIB, 64 * KIB));
	assert_int_equal(received_bytes(&fb), MIB);
	assert_stored(a, &bulk);
	assert_stored(b, &small);
	assert_nothing_was_lost(seeder);
	assert_nothing_was_lost(a);
	end_fetch(&fb);
	end_fetch(&fs);
	free_content(&bulk);
	free_content(&small);
}

/* Transfers that wait for their turn, on both sides, are let go at once. */
static void test_closing_does_not_wait_for_turns(void **state)
{
	struct world *w = *state;
	struct content c;
	struct fetch f;

	limit(w, 64 * KIB, 64 * KIB);
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);

	make_content(&c, 4 * MIB, MIB, 4);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	turn_for(w, S);
	stop_transfer(seeder);
	stop_transfer(h);
	turn_until(w, f.done);
	assert_int_equal(f.err, KR_E_CANCELED);
	end_fetch(&f);
	free_content(&c);
}

static void test_a_leech_downloads_and_serves_nobody(void **state)
{
	struct world *w = *state;
	struct content c;
	struct fetch fl, fo;
	struct kr_node_stats s;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);

	w->policy.leech_only = 1;
	struct host *leech = open_host(w, 1, KR_PEER_AGENT);
	w->policy.leech_only = 0;
	struct host *other = open_host(w, 2, KR_PEER_AGENT);

	make_content(&c, 8 * MIB, 256 * KIB, 5);
	put_content(seeder, &c);
	start_fetch(leech, &c, &fl);
	turn_until(w, fl.done);
	assert_ok(fl.err);
	assert_stored(leech, &c);
	/* The only host that the other one knows is the leech. */
	leech->has_all = true;
	seeder->hidden = true;
	start_fetch(other, &c, &fo);
	kr_transfer_stats(leech->t, &s);
	const uint64_t before = s.rejects_sent;
	turn_until(w,
		   (kr_transfer_stats(leech->t, &s), s.rejects_sent > before));
	assert_int_equal(received_bytes(&fo), 0);
	assert_false(fo.done);
	seeder->hidden = false;
	turn_until(w, fo.done);
	assert_ok(fo.err);
	kr_transfer_stats(leech->t, &s);
	assert_int_equal(s.block_bytes_out[KR_PEER_AGENT], 0);
	assert_int_equal(progress_of(&fo).from_bytes[KR_PEER_ORIGIN], c.len);
	end_fetch(&fl);
	end_fetch(&fo);
	free_content(&c);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_uploads_keep_to_their_limit),
		T(test_downloads_keep_to_their_limit),
		T(test_high_limits_are_limits),
		T(test_many_small_blobs_keep_to_a_download_limit),
		T(test_the_limit_is_of_the_host),
		T(test_64_kib_a_second_and_a_small_blob_beside),
		T(test_closing_does_not_wait_for_turns),
		T(test_a_leech_downloads_and_serves_nobody),
	};

	return cmocka_run_group_tests_name("transfer_rates", tests, NULL, NULL);
}
