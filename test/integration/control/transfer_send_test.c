#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* A client of kr_blob_send: a socket pair, read by the test between turns. */
struct client {
	struct kr_blob_send send;
	int ours, theirs;
	uint8_t *got;
	size_t got_len;
	enum kr_err err;
	uint64_t moved;
	bool done;
};

static void open_client(struct client *c, size_t len)
{
	int fds[2];
	const int small = 64 * KIB;

	memset(c, 0, sizeof(*c));
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	c->ours = fds[0];
	c->theirs = fds[1];
	assert_int_equal(setsockopt(c->ours, SOL_SOCKET, SO_SNDBUF, &small,
				    sizeof(small)),
			 0);
	c->got = malloc(len + 1);
}

static void close_client(struct client *c)
{
	close(c->ours);
	if (c->theirs >= 0)
		close(c->theirs);
	free(c->got);
}

static void on_sent(struct kr_blob_send *s, enum kr_err err, uint64_t moved)
{
	struct client *c = KR_CONTAINER_OF(s, struct client, send);

	assert_false(c->done);
	c->done = true;
	c->err = err;
	c->moved = moved;
}

static void read_some(struct client *c, size_t max)
{
	const ssize_t n = read(c->theirs, c->got + c->got_len, max);

	if (n > 0)
		c->got_len += (size_t)n;
}

/* Read as fast as it comes until done. */
static void read_all(struct world *w, struct client *c, size_t len)
{
	turn_until(w, (read_some(c, len - c->got_len + 1),
		       c->done && c->got_len >= c->moved));
}

static void test_a_complete_blob_is_sent(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct client cl;
	struct content c;

	make_content(&c, 9 * MIB + 7, 256 * KIB, 31);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	kr_blob_put(b); /* it holds its own */
	read_all(w, &cl, c.len);
	assert_ok(cl.err);
	assert_int_equal(cl.moved, c.len);
	assert_memory_equal(cl.got, c.bytes, c.len);
	close_client(&cl);
	free_content(&c);
}

static void test_a_head_goes_before_the_bytes(void **state)
{
	static const size_t lens[] = { 1, 64 * KIB, 3 * MIB };
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob_part part = { .offset_bytes = 77 };
	uint8_t head[1000];
	struct kr_blob *b;
	struct content c;

	memset(head, 'h', sizeof(head));
	part.head = (struct kr_bytes){ head, sizeof(head) };
	make_content(&c, 4 * MIB, 256 * KIB, 51);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct client cl;

		part.len_bytes = lens[i];
		open_client(&cl, sizeof(head) + lens[i]);
		kr_blob_send(b, &cl.send, cl.ours, &part, on_sent);
		turn_until(w, (read_some(&cl, MIB),
			       cl.got_len == sizeof(head) + lens[i]));
		turn_until(w, cl.done);
		assert_ok(cl.err);
		assert_int_equal(cl.moved, lens[i]);
		assert_memory_equal(cl.got, head, sizeof(head));
		assert_memory_equal(cl.got + sizeof(head), c.bytes + 77,
				    lens[i]);
		close_client(&cl);
	}
	kr_blob_put(b);
	free_content(&c);
}

static bool is_corked(int fd)
{
	socklen_t len = sizeof(int);
	int value;

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, &len),
			 0);
	return value != 0;
}

/* A TCP connection in place of the socket pair. */
static void reopen_tcp(struct client *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	const int l = socket(AF_INET, SOCK_STREAM, 0);

	close(c->ours);
	close(c->theirs);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	c->theirs = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(c->theirs, (struct sockaddr *)&a, len), 0);
	c->ours = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(c->ours >= 0);
	assert_int_equal(fcntl(c->theirs, F_SETFL, O_NONBLOCK), 0);
	close(l);
}

/* What is left in a cork comes 200 ms late. */
static void test_a_connection_is_corked_no_longer_than_it_is_fed(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct client cl;
	struct content c;
	bool was_corked = false;

	make_content(&c, 32 * MIB + 5, 256 * KIB, 52);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	reopen_tcp(&cl);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	kr_blob_put(b);
	while (!cl.done) {
		kr_io_turn(w->io);
		was_corked |= is_corked(cl.ours);
		read_some(&cl, MIB);
	}
	assert_ok(cl.err);
	assert_true(was_corked);
	assert_false(is_corked(cl.ours));
	turn_until(w, (read_some(&cl, MIB), cl.got_len == c.len));
	assert_memory_equal(cl.got, c.bytes, c.len);
	close_client(&cl);
	free_content(&c);
}

static void test_a_range_is_sent_and_one_beyond_is_refused(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct client cl;
	struct content c;

	make_content(&c, MIB, 256 * KIB, 32);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .offset_bytes = 300000,
					     .len_bytes = 1234 },
		     on_sent);
	read_all(w, &cl, c.len);
	assert_ok(cl.err);
	assert_int_equal(cl.got_len, 1234);
	assert_memory_equal(cl.got, c.bytes + 300000, 1234);

	cl.done = false;
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .offset_bytes = MIB - 1,
					     .len_bytes = 2 },
		     on_sent);
	assert_false(cl.done);
	turn_until(w, cl.done);
	assert_int_equal(cl.err, KR_E_RANGE);
	assert_int_equal(cl.moved, 0);

	cl.done = false;
	kr_blob_send(
		b, &cl.send, cl.ours,
		&(struct kr_blob_part){ .offset_bytes = MIB, .len_bytes = 0 },
		on_sent);
	assert_false(cl.done);
	turn_until(w, cl.done);
	assert_ok(cl.err);
	kr_blob_put(b);
	close_client(&cl);
	free_content(&c);
}

static void test_bytes_come_while_the_blob_is_downloaded(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct client early, late;
	struct content c;
	struct fetch f;

	/* A window ahead of the reader makes it come about in order. */
	stop_transfer(h);
	w->policy.stream_window_bytes = 4 * MIB;
	w->policy.stream_ahead_bytes = MIB;
	open_transfer(h);
	make_content(&c, 64 * MIB, 256 * KIB, 33);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	open_client(&early, c.len);
	kr_blob_send(f.b, &early.send, early.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_until(w, (read_some(&early, c.len), early.got_len > 0));
	assert_false(f.done);
	assert_true(progress_of(&f).verified_bytes < c.len / 4);
	/* A second one in the middle of it, of a range. */
	open_client(&late, c.len);
	kr_blob_send(f.b, &late.send, late.ours,
		     &(struct kr_blob_part){ .offset_bytes = 32 * MIB + 5,
					     .len_bytes = 16 * MIB },
		     on_sent);
	turn_until(w, (read_some(&early, c.len - early.got_len + 1),
		       read_some(&late, c.len - late.got_len + 1),
		       early.done && late.done && late.got_len == late.moved &&
			       early.got_len == early.moved));
	assert_ok(early.err);
	assert_ok(late.err);
	assert_int_equal(early.got_len, c.len);
	assert_memory_equal(early.got, c.bytes, c.len);
	assert_int_equal(late.got_len, 16 * MIB);
	assert_memory_equal(late.got, c.bytes + 32 * MIB + 5, 16 * MIB);
	turn_until(w, f.done);
	assert_ok(f.err);
	close_client(&early);
	close_client(&late);
	end_fetch(&f);
	free_content(&c);
}

/* It outlives the commit: the file is renamed under it. */
static void test_a_slow_reader_gets_all_of_it(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct client cl;
	struct content c;
	struct fetch f;

	make_content(&c, 4 * MIB, 256 * KIB, 34);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	open_client(&cl, c.len);
	kr_blob_send(f.b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_until(w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	assert_false(cl.done);
	for (int i = 0; i < 20; i++) {
		read_some(&cl, 10 * KIB);
		turn_for(w, 2 * MS);
	}
	assert_false(cl.done);
	read_all(w, &cl, c.len);
	assert_ok(cl.err);
	assert_memory_equal(cl.got, c.bytes, c.len);
	close_client(&cl);
	free_content(&c);
}

static void test_a_client_that_leaves_while_it_waits_is_noticed(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct client cl;
	struct content c;
	struct fetch f;

	make_content(&c, MIB, 256 * KIB, 35);
	start_fetch(h, &c, &f); /* nobody has it */
	open_client(&cl, c.len);
	kr_blob_send(f.b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_for(w, 20 * MS);
	assert_false(cl.done);
	close(cl.theirs);
	cl.theirs = -1;
	turn_until(w, cl.done);
	assert_int_equal(cl.err, KR_E_CLOSED);
	assert_int_equal(cl.moved, 0);
	close_client(&cl);
	kr_blob_wait_cancel(&f.wait);
	end_fetch(&f);
	free_content(&c);
}

static void test_a_client_that_leaves_mid_body_ends_it(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct client cl;
	struct content c;

	make_content(&c, 8 * MIB, 256 * KIB, 36);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_until(w, (read_some(&cl, 100 * KIB), cl.got_len > 0));
	close(cl.theirs);
	cl.theirs = -1;
	turn_until(w, cl.done);
	assert_int_not_equal(cl.err, KR_OK);
	assert_true(cl.moved < c.len);
	close_client(&cl);
	kr_blob_put(b);
	free_content(&c);
}

static void test_an_open_ended_reader_has_little_sent_ahead(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_blob *b;
	struct client cl;
	struct content c;

	make_content(&c, 8 * MIB, 256 * KIB, 41);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len,
					     .open_ended = true },
		     on_sent);
	turn_for(w, 20 * MS);
	assert_true(cl.send.moved_bytes > 0);
	assert_true(cl.send.moved_bytes <= 256 * KIB);
	read_all(w, &cl, c.len);
	assert_ok(cl.err);
	assert_memory_equal(cl.got, c.bytes, c.len);
	close_client(&cl);
	kr_blob_put(b);
	free_content(&c);
}

static void test_cancel_while_waiting_and_while_sending(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct content c, missing;
	struct client cl, waits;
	struct kr_blob *b;
	struct fetch f;

	make_content(&c, 8 * MIB, 256 * KIB, 37);
	make_content(&missing, MIB, 256 * KIB, 38);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	start_fetch(h, &missing, &f);
	open_client(&cl, c.len);
	open_client(&waits, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	kr_blob_send(f.b, &waits.send, waits.ours,
		     &(struct kr_blob_part){ .len_bytes = 10 }, on_sent);
	turn_for(w, 10 * MS);
	kr_blob_send_cancel(&cl.send);
	kr_blob_send_cancel(&waits.send);
	assert_false(cl.done || waits.done);
	turn_until(w, cl.done && waits.done);
	assert_int_equal(cl.err, KR_E_CANCELED);
	assert_int_equal(waits.err, KR_E_CANCELED);
	close_client(&cl);
	close_client(&waits);
	kr_blob_put(b);
	kr_blob_abort(f.b, KR_E_UNAVAILABLE);
	turn_until(w, f.done);
	end_fetch(&f);
	free_content(&c);
	free_content(&missing);
}

static void test_a_failed_download_ends_its_readers(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct client cl;
	struct content c;
	struct fetch f;

	make_content(&c, MIB, 256 * KIB, 39);
	start_fetch(h, &c, &f);
	open_client(&cl, c.len);
	kr_blob_send(f.b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_until(w, h->asked_for_peers > 0);
	kr_blob_abort(f.b, KR_E_UNAVAILABLE);
	assert_false(cl.done);
	turn_until(w, cl.done && f.done);
	assert_int_equal(cl.err, KR_E_UNAVAILABLE);
	close_client(&cl);
	end_fetch(&f);
	free_content(&c);
}

static void test_close_ends_readers(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct client cl;
	struct kr_blob *b;
	struct content c;

	make_content(&c, 8 * MIB, 256 * KIB, 40);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	open_client(&cl, c.len);
	kr_blob_send(b, &cl.send, cl.ours,
		     &(struct kr_blob_part){ .len_bytes = c.len }, on_sent);
	turn_for(w, 10 * MS);
	stop_transfer(h);
	assert_true(cl.done);
	assert_int_equal(cl.err, KR_E_CANCELED);
	kr_blob_put(b);
	close_client(&cl);
	free_content(&c);
}

static void on_read(struct kr_op *op, enum kr_err err, uint32_t n)
{
	(void)op;
	assert_ok(err);
	assert_int_equal(n, 1000);
}

static void test_a_complete_blob_is_read_into_memory(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_op op = { 0 };
	uint8_t buf[1000];
	struct kr_blob *b;
	struct content c;

	make_content(&c, 5000, 256 * KIB, 41);
	put_content(h, &c);
	assert_ok(kr_transfer_open_blob(h->t, &c.meta.digest, &b));
	kr_blob_read(b, &op, buf, sizeof(buf), 2000, on_read);
	turn_until(w, !kr_op_busy(&op));
	assert_memory_equal(buf, c.bytes + 2000, sizeof(buf));
	kr_blob_put(b);
	free_content(&c);
}

#define WORLD(f) \
	cmocka_unit_test_setup_teardown(f, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(test_a_complete_blob_is_sent),
		WORLD(test_a_head_goes_before_the_bytes),
		WORLD(test_a_connection_is_corked_no_longer_than_it_is_fed),
		WORLD(test_a_range_is_sent_and_one_beyond_is_refused),
		WORLD(test_bytes_come_while_the_blob_is_downloaded),
		WORLD(test_a_slow_reader_gets_all_of_it),
		WORLD(test_a_client_that_leaves_while_it_waits_is_noticed),
		WORLD(test_a_client_that_leaves_mid_body_ends_it),
		WORLD(test_cancel_while_waiting_and_while_sending),
		WORLD(test_an_open_ended_reader_has_little_sent_ahead),
		WORLD(test_a_failed_download_ends_its_readers),
		WORLD(test_close_ends_readers),
		WORLD(test_a_complete_blob_is_read_into_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
