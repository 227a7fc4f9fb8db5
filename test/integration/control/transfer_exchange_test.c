#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "core/metrics.h"
#include "test/support/metainfo.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

static void exchange(struct world *w, size_t len, uint32_t piece_bytes)
{
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *leecher = open_host(w, 1, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, len, piece_bytes, len);
	put_content(seeder, &c);
	start_fetch(leecher, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_true(kr_blob_complete(f.b));
	assert_int_equal(received_bytes(&f), len);
	assert_int_equal(progress_of(&f).from_bytes[KR_PEER_ORIGIN], len);
	assert_int_equal(progress_of(&f).verified_bytes, len);
	turn_until(w, leecher->completed == 1);
	assert_stored(leecher, &c);
	end_fetch(&f);
	free_content(&c);
}

/* @h fetches @c from whoever has it, and keeps the metainfo as it came. */
static void fetch_and_keep(struct world *w, struct host *h,
			   const struct content *c)
{
	struct fetch f;
	uint8_t *kept;
	size_t len;

	start_fetch(h, c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	assert_stored(h, c);
	assert_ok(kr_store_meta_get(h->store, &c->meta.digest, &kept, &len));
	assert_int_equal(len, c->meta.encoded_len);
	assert_memory_equal(kept, c->meta.encoded, len);
	free(kept);
}

static void test_a_metainfo_keeps_its_id_from_host_to_host(void **state)
{
	struct world *w = *state;
	struct host *origin = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *agents[] = { open_host(w, 1, KR_PEER_AGENT),
				  open_host(w, 2, KR_PEER_AGENT) };
	uint8_t id[KR_SHA256_LEN];
	struct content c;

	make_content(&c, 3 * MIB, 256 * KIB, 440);
	memcpy(id, c.meta.id, sizeof(id));
	add_unknown_key(&c.meta);
	assert_memory_not_equal(c.meta.id, id, sizeof(id));
	put_content(origin, &c);
	fetch_and_keep(w, agents[0], &c);
	stop_transfer(origin);
	restart_host(agents[0]); /* what it knows now is what it has on disk */
	fetch_and_keep(w, agents[1], &c);
	free_content(&c);
}

/* A cork that is left in holds the last segment back for 200 ms (tcp(7)). */
static void test_no_connection_stays_corked(void **state)
{
	struct world *w = *state;
	int sockets = 0;

	exchange(w, 5 * MIB, MIB);
	for (int fd = 0; fd < 1024; fd++) {
		int on = 0;
		socklen_t len = sizeof(on);

		if (getsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, &len) != 0)
			continue;
		sockets++;
		assert_int_equal(on, 0);
	}
	assert_true(sockets >= 2);
}

static void test_one_byte(void **state)
{
	exchange(*state, 1, 256 * KIB);
}

static void test_exactly_one_piece(void **state)
{
	exchange(*state, 256 * KIB, 256 * KIB);
}

static void test_one_piece_and_a_byte(void **state)
{
	exchange(*state, 256 * KIB + 1, 256 * KIB);
}

static void test_five_mib(void **state)
{
	exchange(*state, 5 * MIB, 256 * KIB);
}

static void test_sixty_four_mib(void **state)
{
	exchange(*state, 64 * MIB, 256 * KIB);
}

static void test_pieces_of_many_blocks(void **state)
{
	exchange(*state, 40 * MIB + 12345, 8 * MIB);
}

static void test_verify_full_hashes_the_whole_blob(void **state)
{
	struct world *w = *state;

	w->verify_full = true;
	exchange(w, 40 * MIB + 1, MIB);
}

static void test_empty_blob_needs_no_peer(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, 0, MIB, 1);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

/* Pieces that are larger than all block buffers together get through. */
static void test_buffers_fewer_than_a_piece_has_blocks(void **state)
{
	struct world *w = open_world_with(4);

	(void)state;
	exchange(w, 24 * MIB, 8 * MIB);
	close_world(w);
}

static void test_two_leechers_exchange_with_each_other(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *a = open_host(w, 1, KR_PEER_AGENT);
	struct host *b = open_host(w, 2, KR_PEER_AGENT);
	struct content c;
	struct fetch fa, fb;

	make_content(&c, 64 * MIB, 256 * KIB, 5);
	put_content(seeder, &c);
	start_fetch(a, &c, &fa);
	start_fetch(b, &c, &fb);
	turn_until(w, fa.done && fb.done);
	assert_ok(fa.err);
	assert_ok(fb.err);
	const struct kr_blob_progress pa = progress_of(&fa);
	const struct kr_blob_progress pb = progress_of(&fb);

	assert_true(pa.from_bytes[KR_PEER_AGENT] > 0);
	assert_true(pb.from_bytes[KR_PEER_AGENT] > 0);
	struct kr_node_stats s;

	kr_transfer_stats(a->t, &s);
	assert_int_equal(s.block_bytes_out[KR_PEER_AGENT],
			 pb.from_bytes[KR_PEER_AGENT]);
	assert_stored(a, &c);
	assert_stored(b, &c);
	end_fetch(&fa);
	end_fetch(&fb);
	free_content(&c);
}

static void test_a_finished_leecher_seeds(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *a = open_host(w, 1, KR_PEER_AGENT);
	struct content c;
	struct fetch fa, fb;

	make_content(&c, 3 * MIB, 256 * KIB, 6);
	put_content(seeder, &c);
	start_fetch(a, &c, &fa);
	turn_until(w, fa.done);
	assert_ok(fa.err);
	end_fetch(&fa);
	close_host(seeder);
	restart_host(a); /* its metainfo is on disk */
	struct host *b = open_host(w, 2, KR_PEER_AGENT);

	start_fetch(b, &c, &fb);
	turn_until(w, fb.done);
	assert_ok(fb.err);
	assert_int_equal(progress_of(&fb).from_bytes[KR_PEER_AGENT], c.len);
	end_fetch(&fb);
	free_content(&c);
}

static void test_what_is_complete_is_not_fetched_again(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct content c;
	struct fetch f;

	make_content(&c, 100, 256 * KIB, 7);
	assert_int_equal(kr_transfer_open_blob(h->t, &c.meta.digest, &b),
			 KR_E_NOTFOUND);
	put_content(h, &c);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_int_equal(received_bytes(&f), 0);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	assert_ptr_equal(b, f.b);
	kr_blob_put(b);
	end_fetch(&f);
	free_content(&c);
}

static void test_many_small_blobs_at_once(void **state)
{
	enum { COUNT = 150 };
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content c[COUNT];
	struct fetch f[COUNT];
	uint32_t done = 0;

	for (uint32_t i = 0; i < COUNT; i++) {
		make_content(&c[i], 1 + i * 311, 256 * KIB, 100 + i);
		put_content(seeder, &c[i]);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		start_fetch(h, &c[i], &f[i]);
	while (done < COUNT) {
		turn_until(w, f[done].done);
		assert_ok(f[done].err);
		done++;
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_stored(h, &c[i]);
		end_fetch(&f[i]);
		free_content(&c[i]);
	}
}

/* More blobs than the node holds: those that nobody needs make way. */
static void test_idle_blobs_make_way_for_others(void **state)
{
	struct world *w = *state;
	struct content c;
	struct fetch f;

	w->policy.blobs_max = 3;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);

	for (uint64_t i = 0; i < 10; i++) {
		make_content(&c, 300 * KIB, 256 * KIB, 300 + i);
		put_content(seeder, &c);
		start_fetch(h, &c, &f);
		turn_until(w, f.done);
		assert_ok(f.err);
		end_fetch(&f);
		free_content(&c);
	}
}

/* Peers may ask for a blob that a user of ours has open already: known by its
 * digest alone, or with its metainfo. */
static void test_a_blob_that_is_open_here_is_seeded(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content plain, known;
	struct fetch here, f;
	struct kr_blob *b;

	make_content(&plain, 3 * MIB, 256 * KIB, 400);
	make_content(&known, 3 * MIB, 256 * KIB, 401);
	put_content(seeder, &plain);
	put_content(seeder, &known);
	assert_ok(kr_transfer_open_blob(seeder->t, &plain.meta.digest, &b));
	start_fetch(seeder, &known, &here);
	start_fetch(h, &plain, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	start_fetch(h, &known, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	kr_blob_put(b);
	end_fetch(&here);
	free_content(&plain);
	free_content(&known);
}

struct visit {
	uint32_t count;
	uint64_t bytes;
};

static void visit(void *ctx, struct kr_blob *b)
{
	struct visit *v = ctx;

	assert_string_equal(kr_blob_ns(b), "test/repo");
	v->count++;
	v->bytes += kr_blob_size_bytes(b);
}

static void test_blobs_are_visited_until_they_are_let_go(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct visit all = { 0 }, none = { 0 };
	struct content c[3];
	struct fetch f[3];

	for (uint32_t i = 0; i < 3; i++) {
		make_content(&c[i], 100 + i, 256 * KIB, 410 + i);
		start_fetch(h, &c[i], &f[i]);
		assert_true(kr_digest_equal(kr_blob_digest(f[i].b),
					    &c[i].meta.digest));
	}
	kr_transfer_for_each(h->t, visit, &all);
	assert_int_equal(all.count, 3);
	assert_int_equal(all.bytes, 303);
	for (uint32_t i = 0; i < 3; i++)
		kr_blob_abort(f[i].b, KR_E_UNAVAILABLE);
	kr_transfer_for_each(h->t, visit, &none);
	assert_int_equal(none.count, 0);
	turn_until(w, h->let_go == 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(f[i].err, KR_E_UNAVAILABLE);
		end_fetch(&f[i]);
		free_content(&c[i]);
	}
}

/* Room is there long before the bytes are. */
static void test_waiting_for_room_does_not_wait_for_bytes(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct fetch f, room = { 0 };
	struct content c;

	make_content(&c, MIB, 256 * KIB, 420);
	start_fetch(h, &c, &f);
	kr_blob_wait_room(f.b, &room.wait, on_fetched);
	assert_false(room.done);
	turn_until(w, room.done);
	assert_ok(room.err);
	assert_false(f.done);
	kr_blob_wait_cancel(&f.wait);
	end_fetch(&f);
	free_content(&c);
}

static void test_open_refuses_what_cannot_work(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_transfer_opts o = {
		.io = w->io,
		.store = h->store,
		.policy = &w->policy,
		.cluster = "test",
		.listen = h->addr,
	};
	struct kr_transfer *t;
	struct kr_blob *b;
	struct content c;

	expect_errors();
	o.id.bytes[0] = 9;
	assert_err(kr_transfer_open(&o, &t), KR_E_EXISTS);
	o.listen.port = 0;
	w->policy.block_bytes = 2 * MIB; /* buffers have half of it */
	assert_err(kr_transfer_open(&o, &t), KR_E_CONFIG);
	make_content(&c, 10, 256 * KIB, 430);
	assert_err(kr_transfer_fetch(h->t, "", &c.meta, 0, &b), KR_E_INVALID);
	assert_err(kr_transfer_fetch(h->t, "a b", &c.meta, 0, &b),
		   KR_E_INVALID); /* an OPEN cannot say it */
	assert_err(kr_transfer_fetch(h->t, "a\xff", &c.meta, 0, &b),
		   KR_E_INVALID);
	free_content(&c);
}

static void on_alarm(struct kr_timer *t)
{
	t->fn = NULL;
}

static void test_an_idle_transfer_wakes_for_its_node_only(void **state)
{
	struct world *w = *state;
	struct kr_ring_stats before, after;
	struct kr_timer alarm = { 0 };

	exchange(w, 3 * MIB, 256 * KIB);
	turn_for(w, 1000 * MS);
	kr_io_timer_stop(w->io, &w->tick);
	kr_io_timer_set(w->io, &alarm, kr_clock_mono_ns() + 1500 * MS,
			on_alarm);
	kr_ring_stats_get(w->io, &before);
	while (alarm.fn != NULL)
		kr_io_turn(w->io);
	kr_ring_stats_get(w->io, &after);
	/* Three ticks or four of each node, and the alarm. */
	assert_true(after.turns - before.turns <= 9);
}

/* The value of a metric as printed; 0 if it is not there. */
static uint64_t metric(const char *line_start)
{
	struct kr_buf buf;
	uint64_t v = 0;

	kr_buf_init(&buf, 1 << 20);
	assert_ok(kr_metrics_print(&buf));
	assert_ok(kr_buf_append(&buf, "", 1));
	const char *p = strstr((const char *)buf.ptr, line_start);

	if (p != NULL)
		v = strtoull(p + strlen(line_start), NULL, 10);
	kr_buf_fini(&buf);
	return v;
}

static void test_metrics_are_exact(void **state)
{
	static const char in[] = "kraken_transfer_bytes_total{direction=\"in\","
				 "peer=\"origin\"} ";
	static const char out[] =
		"kraken_transfer_bytes_total{direction=\"out\","
		"peer=\"agent\"} ";
	static const char pieces[] =
		"kraken_transfer_pieces_total{verdict=\"verified\"} ";
	struct world *w = *state;
	const uint64_t in_before = metric(in), out_before = metric(out);
	const uint64_t pieces_before = metric(pieces);

	exchange(w, 5 * MIB + 17, 256 * KIB);
	turn_for(w, 600 * MS);
	assert_int_equal(metric(in) - in_before, 5 * MIB + 17);
	assert_int_equal(metric(out) - out_before, 5 * MIB + 17);
	assert_int_equal(metric(pieces) - pieces_before, 21);
	assert_int_equal(metric("\nkraken_blob_verified_bytes "), 0);
	assert_int_equal(metric("\nkraken_blob_downloads "), 0);
	assert_int_equal(metric("\nkraken_transfer_inflight_bytes "), 0);
}

#define WORLD(f) \
	cmocka_unit_test_setup_teardown(f, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(test_no_connection_stays_corked),
		WORLD(test_a_metainfo_keeps_its_id_from_host_to_host),
		WORLD(test_one_byte),
		WORLD(test_exactly_one_piece),
		WORLD(test_one_piece_and_a_byte),
		WORLD(test_five_mib),
		WORLD(test_sixty_four_mib),
		WORLD(test_pieces_of_many_blocks),
		WORLD(test_verify_full_hashes_the_whole_blob),
		WORLD(test_empty_blob_needs_no_peer),
		cmocka_unit_test(test_buffers_fewer_than_a_piece_has_blocks),
		WORLD(test_two_leechers_exchange_with_each_other),
		WORLD(test_a_finished_leecher_seeds),
		WORLD(test_what_is_complete_is_not_fetched_again),
		WORLD(test_many_small_blobs_at_once),
		WORLD(test_idle_blobs_make_way_for_others),
		WORLD(test_a_blob_that_is_open_here_is_seeded),
		WORLD(test_blobs_are_visited_until_they_are_let_go),
		WORLD(test_waiting_for_room_does_not_wait_for_bytes),
		WORLD(test_open_refuses_what_cannot_work),
		WORLD(test_an_idle_transfer_wakes_for_its_node_only),
		WORLD(test_metrics_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
