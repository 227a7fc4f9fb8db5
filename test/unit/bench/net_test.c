#include "test/support/test.h"

#include <string.h>

#include "bench/swarm_sim/net.h"

/* Four hosts at 1 MB/s: a block of 1,000 bytes takes a millisecond. */
enum { HOSTS = 4, BLOCK = 1000, LOG_MAX = 64 };
#define MS UINT64_C(1000000)

enum what { ACCEPT, CONNECTED, CLOSED, BYTES, HEAD, END, SERVED };

struct entry {
	enum what what;
	uint64_t at_ns;
	uint32_t link, value; /* a byte, or a block's piece */
	int end;
};

struct world {
	struct net net;
	struct sim_queue *queue;
	struct entry log[LOG_MAX];
	uint32_t count;
	bool refuses;
};

static void note(struct world *w, enum what what, uint32_t link, int end,
		 uint32_t value)
{
	assert_true(w->count < LOG_MAX);
	w->log[w->count++] = (struct entry){ .what = what,
					     .at_ns = w->net.now_ns,
					     .link = link,
					     .end = end,
					     .value = value };
}

static bool on_accept(void *ctx, uint32_t link)
{
	struct world *w = ctx;

	note(w, ACCEPT, link, 1, 0);
	return !w->refuses;
}

static void on_connected(void *ctx, uint32_t link)
{
	note(ctx, CONNECTED, link, 0, 0);
}

static void on_closed(void *ctx, uint32_t link, int end)
{
	note(ctx, CLOSED, link, end, 0);
}

static void on_bytes(void *ctx, uint32_t link, int end, const uint8_t *bytes,
		     uint32_t len)
{
	note(ctx, BYTES, link, end, bytes[len - 1]);
}

static void on_block(void *ctx, uint32_t link, int end, const uint8_t *head,
		     uint32_t head_len, const struct net_block *b)
{
	assert_int_equal(head_len, 1);
	assert_int_equal(head[0], 'h');
	note(ctx, HEAD, link, end, b->piece);
}

static void on_block_end(void *ctx, uint32_t link, int end,
			 const struct net_block *b)
{
	note(ctx, END, link, end, b->piece);
}

static void on_served(void *ctx, uint32_t link, int end)
{
	note(ctx, SERVED, link, end, 0);
}

static const struct net_ops ops = {
	.on_accept = on_accept,
	.on_connected = on_connected,
	.on_closed = on_closed,
	.on_bytes = on_bytes,
	.on_block = on_block,
	.on_block_end = on_block_end,
	.on_served = on_served,
};

static int setup(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.queue = sim_queue_open();
	net_init(&w.net, w.queue, HOSTS, 1);
	w.net.ops = &ops;
	w.net.ctx = &w;
	w.net.latency_min_ns = w.net.latency_max_ns = MS;
	w.net.socket_bytes = 1 << 20;
	for (uint32_t i = 0; i < HOSTS; i++)
		w.net.hosts[i] = (struct net_host){ .up = 1000000,
						    .down = 1000000,
						    .up_now = true };
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	net_fini(&w->net);
	sim_queue_close(w->queue);
	return 0;
}

static void run(struct world *w)
{
	struct sim_event ev;

	while (sim_queue_pop(w->queue, &ev)) {
		w->net.now_ns = ev.at_ns;
		net_happen(&w->net, &ev);
	}
}

/* A link that is up, at time 2 ms; the log is empty. */
static uint32_t connect(struct world *w, uint32_t from, uint32_t to)
{
	const uint32_t link = net_dial(&w->net, from, to, 1);

	run(w);
	w->count = 0;
	return link;
}

static void send_block(struct world *w, uint32_t link, int end, uint32_t piece)
{
	const struct net_block b = { .len = BLOCK, .piece = piece };

	net_send_block(&w->net, link, end, (const uint8_t *)"h", 1, &b);
}

/* When @what of @value happened, since @from_ns. */
static uint64_t when(const struct world *w, enum what what, uint32_t link,
		     uint32_t value, uint64_t from_ns)
{
	for (uint32_t i = 0; i < w->count; i++) {
		const struct entry *e = &w->log[i];

		if (e->what == what && e->link == link && e->value == value)
			return e->at_ns - from_ns;
	}
	fail_msg("it did not happen");
	return 0;
}

static uint32_t count_of(const struct world *w, enum what what)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w->count; i++)
		count += w->log[i].what == what;
	return count;
}

/* Control bytes are few and charged to the next block: within 1 %. */
static void assert_about(uint64_t ns, uint64_t wanted_ns)
{
	assert_in_range(ns, wanted_ns - wanted_ns / 100,
			wanted_ns + wanted_ns / 100);
}

static void test_a_dial_takes_a_round_trip(void **state)
{
	struct world *w = *state;
	const uint32_t link = net_dial(&w->net, 0, 1, 9);

	run(w);
	assert_int_equal(when(w, ACCEPT, link, 0, 0), MS);
	assert_int_equal(when(w, CONNECTED, link, 0, 0), 2 * MS);
	assert_int_equal(w->net.links[link].end[0].conn, 9);
}

static void test_who_is_refused_hears_of_it(void **state)
{
	struct world *w = *state;
	uint32_t link;

	w->refuses = true;
	link = net_dial(&w->net, 0, 1, 1);
	run(w);
	assert_int_equal(when(w, CLOSED, link, 0, 0), 2 * MS);
	assert_int_equal(w->net.links_used, 0);
}

static void test_bytes_come_in_order_after_the_latency(void **state)
{
	struct world *w = *state;
	const uint32_t link = connect(w, 0, 1);
	const uint64_t from_ns = w->net.now_ns;
	uint8_t long_one[300] = { 0 };

	long_one[299] = 'b';
	net_send(&w->net, link, 0, (const uint8_t *)"a", 1);
	net_send(&w->net, link, 0, long_one, sizeof(long_one));
	net_send(&w->net, link, 1, (const uint8_t *)"c", 1);
	run(w);
	assert_int_equal(w->count, 3);
	assert_int_equal(w->log[0].value, 'a');
	assert_int_equal(when(w, BYTES, link, 'a', from_ns), MS);
	assert_int_equal(when(w, BYTES, link, 'b', from_ns), MS);
	assert_int_equal(when(w, BYTES, link, 'c', from_ns), MS);
}

static void test_a_card_sends_one_block_after_another(void **state)
{
	struct world *w = *state;
	const uint32_t one = connect(w, 0, 1), two = connect(w, 0, 2);
	const uint64_t from_ns = w->net.now_ns;

	send_block(w, one, 0, 1);
	send_block(w, two, 0, 2);
	run(w);
	assert_about(when(w, HEAD, one, 1, from_ns), MS);
	assert_about(when(w, END, one, 1, from_ns), 2 * MS);
	assert_about(when(w, HEAD, two, 2, from_ns), 2 * MS);
	assert_about(when(w, END, two, 2, from_ns), 3 * MS);
	assert_int_equal(count_of(w, SERVED), 2);
	assert_int_equal(w->net.hosts[0].sent_bytes, 2 * BLOCK);
	assert_int_equal(w->net.hosts[1].got_bytes, BLOCK);
}

static void test_a_card_receives_one_block_after_another(void **state)
{
	struct world *w = *state;
	const uint32_t one = connect(w, 0, 2), two = connect(w, 1, 2);
	const uint64_t from_ns = w->net.now_ns;

	send_block(w, one, 0, 1);
	send_block(w, two, 0, 2);
	run(w);
	assert_about(when(w, END, one, 1, from_ns), 2 * MS);
	assert_about(when(w, END, two, 2, from_ns), 3 * MS);
}

static void test_bytes_wait_for_blocks_of_their_own_link_only(void **state)
{
	struct world *w = *state;
	const uint32_t one = connect(w, 0, 1), two = connect(w, 0, 2);
	const uint64_t from_ns = w->net.now_ns;

	send_block(w, one, 0, 1);
	net_send(&w->net, one, 0, (const uint8_t *)"a", 1);
	net_send(&w->net, two, 0, (const uint8_t *)"b", 1);
	run(w);
	assert_about(when(w, BYTES, one, 'a', from_ns), 2 * MS);
	assert_about(when(w, BYTES, two, 'b', from_ns), MS);
}

static void test_a_link_between_zones_is_shared(void **state)
{
	struct world *w = *state;
	const uint32_t one = connect(w, 0, 2), two = connect(w, 1, 3);
	const uint64_t from_ns = w->net.now_ns;

	w->net.uplink = 1000000; /* of one host */
	w->net.hosts[2].zone = w->net.hosts[3].zone = 1;
	send_block(w, one, 0, 1);
	send_block(w, two, 0, 2);
	run(w);
	assert_about(when(w, END, one, 1, from_ns), 2 * MS);
	assert_about(when(w, END, two, 2, from_ns), 3 * MS);
	assert_int_equal(w->net.cross_bytes[1], 2 * BLOCK);
	assert_int_equal(w->net.cross_bytes[0], 0);
}

static void test_a_slow_receiver_holds_its_transfer_up(void **state)
{
	struct world *w = *state;
	const uint32_t link = connect(w, 0, 1);
	const uint64_t from_ns = w->net.now_ns;

	w->net.socket_bytes = BLOCK / 2;
	w->net.hosts[1].down = 100000; /* 10 ms a block */
	send_block(w, link, 0, 1);
	run(w);
	assert_about(when(w, END, link, 1, from_ns), 11 * MS);
	assert_true(when(w, SERVED, link, 0, from_ns) > 5 * MS);
}

static void test_a_close_comes_after_what_was_sent(void **state)
{
	struct world *w = *state;
	const uint32_t link = connect(w, 0, 1);
	const uint64_t from_ns = w->net.now_ns;

	net_send(&w->net, link, 0, (const uint8_t *)"a", 1);
	net_close(&w->net, link, 0);
	run(w);
	assert_int_equal(w->count, 2);
	assert_int_equal(w->log[0].what, BYTES);
	assert_int_equal(w->log[1].what, CLOSED);
	assert_int_equal(w->log[1].end, 1);
	assert_int_equal(w->log[1].at_ns - from_ns, MS);
	assert_int_equal(w->net.links_used, 0);
}

static void test_a_reset_is_seen_at_both_ends(void **state)
{
	struct world *w = *state;
	const uint32_t link = connect(w, 0, 1);

	send_block(w, link, 0, 1);
	net_reset(&w->net, link);
	run(w);
	assert_int_equal(count_of(w, CLOSED), 2);
	assert_int_equal(count_of(w, END), 0);
	assert_int_equal(w->net.links_used, 0);
}

static void test_a_host_that_dies_is_missed_unless_mute(void **state)
{
	struct world *w = *state;
	const uint32_t one = connect(w, 0, 1), two = connect(w, 0, 2);

	net_kill(&w->net, 1, false);
	net_kill(&w->net, 2, true);
	run(w);
	assert_int_equal(w->count, 1);
	assert_int_equal(w->log[0].what, CLOSED);
	assert_int_equal(w->log[0].link, one);
	assert_int_equal(w->log[0].end, 0);
	net_send(&w->net, two, 0, (const uint8_t *)"a", 1); /* to nobody */
	net_close(&w->net, two, 0);
	run(w);
	assert_int_equal(w->count, 1);
	assert_int_equal(w->net.links_used, 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_dial_takes_a_round_trip),
		T(test_who_is_refused_hears_of_it),
		T(test_bytes_come_in_order_after_the_latency),
		T(test_a_card_sends_one_block_after_another),
		T(test_a_card_receives_one_block_after_another),
		T(test_bytes_wait_for_blocks_of_their_own_link_only),
		T(test_a_link_between_zones_is_shared),
		T(test_a_slow_receiver_holds_its_transfer_up),
		T(test_a_close_comes_after_what_was_sent),
		T(test_a_reset_is_seen_at_both_ends),
		T(test_a_host_that_dies_is_missed_unless_mute),
	};

	return cmocka_run_group_tests_name("bench net", tests, NULL, NULL);
}
