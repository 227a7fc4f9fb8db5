#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

enum { MIB = 1 << 20 };

/* ---- a reader at the other end, driven between turns */

struct reader {
	int fd;
	uint64_t offset; /* of the file, of the next byte to come */
	uint64_t got;
	uint64_t want;
	bool wrong;
};

/* Take what is there, compare it. */
static void read_some(struct reader *r, size_t max)
{
	static uint8_t bytes[256 * 1024];
	const size_t len = max < sizeof(bytes) ? max : sizeof(bytes);
	const ssize_t n = recv(r->fd, bytes, len, MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		r->wrong |= bytes[i] != pattern(r->offset + (uint64_t)i);
	if (n > 0) {
		r->offset += (uint64_t)n;
		r->got += (uint64_t)n;
	}
}

static void read_all(struct kr_io *io, struct reader *r)
{
	const uint64_t end_ns = kr_clock_mono_ns() + FIXTURE_DEADLINE_NS;

	while (r->got < r->want) {
		turn_once(io);
		read_some(r, SIZE_MAX);
		if (kr_clock_mono_ns() >= end_ns)
			fail_msg("the deadline passed");
	}
	assert_false(r->wrong);
}

static struct kr_ring_stats stats_of(const struct kr_io *io)
{
	struct kr_ring_stats s;

	kr_ring_stats_get(io, &s);
	return s;
}

/* Send and compare a range; the stats show by which way. */
static struct kr_ring_stats send_range(int file, uint64_t offset, uint32_t len)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	struct reader r = { .offset = offset, .want = len };
	int fds[2];

	tcp_pair(fds);
	r.fd = fds[1];
	start(kr_io_send_file, io, &c, fds[0], file, offset, len);
	read_all(io, &r);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, len);
	close_pair(fds);
	const struct kr_ring_stats s = stats_of(io);

	assert_int_equal(s.spliced_bytes, len);
	assert_int_equal(s.sent_bytes, 0);
	kr_ring_close(io);
	return s;
}

static void test_a_hot_file_arrives_without_asking_the_disk(void **state)
{
	int file = make_file(9 * MIB + 17);
	(void)state;

	const struct kr_ring_stats s = send_range(file, 0, 9 * MIB + 17);

	assert_true(s.splice_hot > 0);
	assert_int_equal(s.splice_cold, 0);
	close(file);
}

static void test_a_cold_file_arrives_through_a_pipe(void **state)
{
	int file = make_file(9 * MIB + 17);
	(void)state;

	make_cold(file);
	const struct kr_ring_stats s = send_range(file, 0, 9 * MIB + 17);

	assert_true(s.splice_cold > 0);
	close(file);
}

static void test_ranges_need_no_alignment(void **state)
{
	int file = make_file(5 * MIB);
	(void)state;

	send_range(file, 4095, 2 * MIB + 3);
	send_range(file, 5 * MIB - 1, 1);
	make_cold(file);
	send_range(file, 4095, 2 * MIB + 3);
	make_cold(file);
	send_range(file, 5 * MIB - 1, 1);
	close(file);
}

static void test_nothing_to_send_is_done_at_once(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	(void)state;

	start(kr_io_send_file, io, &c, -1, -1, 0, 0);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, 0);
	kr_ring_close(io);
}

/* ---- what goes before the file */

enum { HEAD_LEN = 6 * MIB }; /* more than a socket takes at once */

static void read_head(struct kr_io *io, int fd, const uint8_t *head, size_t len)
{
	static uint8_t bytes[HEAD_LEN];
	const uint64_t end_ns = kr_clock_mono_ns() + FIXTURE_DEADLINE_NS;
	size_t got = 0;

	while (got < len) {
		const ssize_t n =
			recv(fd, bytes + got, len - got, MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		turn_once(io);
		if (kr_clock_mono_ns() >= end_ns)
			fail_msg("the deadline passed");
	}
	assert_memory_equal(bytes, head, len);
}

static void send_after_head(size_t head_len, bool cold)
{
	static uint8_t head[HEAD_LEN];
	struct kr_io *io = open_ring(NULL);
	int file = make_file(2 * MIB), fds[2];
	struct call c = { 0 };
	struct reader r = { .offset = MIB, .want = MIB };

	for (size_t i = 0; i < head_len; i++)
		head[i] = (uint8_t)(i * 7 + i / 251);
	if (cold)
		make_cold(file);
	tcp_pair(fds);
	r.fd = fds[1];
	start(kr_io_send_headed, io, &c, fds[0], head, (uint32_t)head_len, file,
	      MIB, MIB);
	read_head(io, r.fd, head, head_len);
	read_all(io, &r);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, MIB);
	assert_int_equal(stats_of(io).sent_bytes, head_len);
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

static void test_a_head_goes_before_the_file(void **state)
{
	(void)state;
	send_after_head(20, false);
	send_after_head(20, true);
}

static void test_a_head_larger_than_the_socket_takes(void **state)
{
	(void)state;
	send_after_head(HEAD_LEN, false);
}

static void test_a_reset_before_the_head_is_an_error(void **state)
{
	const struct linger hard = { .l_onoff = 1 };
	struct kr_io *io = open_ring(NULL);
	int file = make_file(MIB), fds[2];
	struct call c = { 0 };
	(void)state;

	tcp_pair(fds);
	assert_int_equal(
		setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)),
		0);
	close(fds[1]);
	start(kr_io_send_headed, io, &c, fds[0], "head", 4, file, 0, MIB);
	assert_err(finish(io, &c), KR_E_RESET);
	close(fds[0]);
	close(file);
	kr_ring_close(io);
}

/* ---- one after the other */

enum { CHAIN = 8, LINK_BYTES = 4096 };

struct chain {
	struct kr_op op;
	struct kr_io *io;
	int fd, file;
	int left;
};

static void next_link(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct chain *c = (struct chain *)op;
	(void)n;

	assert_ok(err);
	if (--c->left > 0)
		kr_io_send_headed(c->io, &c->op, c->fd, "head", 4, c->file, 0,
				  LINK_BYTES, next_link);
}

static void test_what_follows_goes_in_the_same_turn(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct chain c = { .io = io, .left = CHAIN };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	c.fd = fds[0];
	c.file = make_file(LINK_BYTES);
	kr_io_send_headed(io, &c.op, c.fd, "head", 4, c.file, 0, LINK_BYTES,
			  next_link);
	turn_once(io);
	assert_int_equal(c.left, 0);
	assert_int_equal(stats_of(io).spliced_bytes, CHAIN * LINK_BYTES);
	close_pair(fds);
	close(c.file);
	kr_ring_close(io);
}

static void send_past_the_end(bool cold)
{
	struct kr_io *io = open_ring(NULL);
	int file = make_file(300000), fds[2];
	struct call c = { 0 };
	struct reader r = { .want = 300000 };

	if (cold)
		make_cold(file);
	tcp_pair(fds);
	r.fd = fds[1];
	start(kr_io_send_file, io, &c, fds[0], file, 0, 300001);
	read_all(io, &r);
	assert_err(finish(io, &c), KR_E_IO);
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

static void test_the_end_of_the_file_is_an_error(void **state)
{
	(void)state;
	send_past_the_end(false);
	send_past_the_end(true);
}

/* ---- peers that stall or go */

static bool is_full(const void *ctx)
{
	int unsent = 0;

	/* The socket's own buffer holds something the peer has no room for. */
	return ioctl(*(const int *)ctx, TIOCOUTQ, &unsent) == 0 && unsent > 0;
}

static void wait_full(struct kr_io *io, const struct call *c, int fd)
{
	uint64_t before;

	turn_until(io, is_full, &fd);
	do {
		before = stats_of(io).spliced_bytes;
		for (int i = 0; i < 8; i++)
			turn_once(io);
	} while (stats_of(io).spliced_bytes != before);
	assert_int_equal(c->count, 0);
}

static void test_a_reset_ends_it_and_raises_no_signal(void **state)
{
	struct kr_io *io = open_ring(NULL);
	int file = make_file(32 * MIB), fds[2];
	struct call c = { 0 };
	(void)state;

	tcp_pair(fds);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	wait_full(io, &c, fds[0]);
	reset(fds[1]);
	assert_err(finish(io, &c), KR_E_RESET);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	assert_err(finish(io, &c), KR_E_RESET); /* EPIPE, SIGPIPE */
	make_cold(file);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	assert_err(finish(io, &c), KR_E_RESET);
	close(fds[0]);
	close(file);
	kr_ring_close(io);
}

static void test_a_file_that_shrinks_meanwhile_is_an_error(void **state)
{
	const uint64_t end_ns = kr_clock_mono_ns() + FIXTURE_DEADLINE_NS;
	struct kr_io *io = open_ring(NULL);
	int file = make_file(32 * MIB), fds[2];
	struct reader r = { .want = 32 * MIB };
	struct call c = { 0 };
	(void)state;

	tcp_pair(fds);
	r.fd = fds[1];
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	wait_full(io, &c, fds[0]);
	assert_int_equal(ftruncate(file, MIB), 0);
	while (c.count == 0 && kr_clock_mono_ns() < end_ns) {
		read_some(&r, SIZE_MAX);
		turn_once(io);
	}
	assert_int_equal(c.count, 1);
	assert_err(c.err, KR_E_IO);
	assert_true(r.got < 32 * MIB);
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

/* More stalled cold sends than pipes must not stop a healthy one. */
static void test_stalled_readers_stop_nobody(void **state)
{
	enum { STALLED = 6 };
	const struct kr_ring_opts opts = { .pipe_count = 2,
					   .iowq_workers_max = 2 };
	struct kr_io *io = open_ring(&opts);
	int file = make_file(32 * MIB), fds[STALLED + 1][2];
	struct call calls[STALLED + 1] = { 0 };
	struct reader r = { .want = 32 * MIB };
	(void)state;

	make_cold(file);
	for (int i = 0; i < STALLED; i++) {
		tcp_pair(fds[i]);
		start(kr_io_send_file, io, &calls[i], fds[i][0], file, 0,
		      32 * MIB);
	}
	for (int i = 0; i < STALLED; i++)
		wait_full(io, &calls[i], fds[i][0]);
	make_cold(file);
	tcp_pair(fds[STALLED]);
	r.fd = fds[STALLED][1];
	start(kr_io_send_file, io, &calls[STALLED], fds[STALLED][0], file, 0,
	      32 * MIB);
	read_all(io, &r);
	assert_ok(finish(io, &calls[STALLED]));
	assert_true(stats_of(io).pipe_waits > 0);
	for (int i = 0; i < STALLED; i++) {
		r = (struct reader){ .want = 32 * MIB, .fd = fds[i][1] };
		read_all(io, &r);
		assert_ok(finish(io, &calls[i]));
	}
	for (int i = 0; i <= STALLED; i++)
		close_pair(fds[i]);
	close(file);
	kr_ring_close(io);
}

/* The first reads the disk for all: the second is woken, finds its bytes in
 * memory, needs no pipe, and must not keep the third waiting. */
static void test_waiting_for_a_pipe_that_is_not_needed_any_more(void **state)
{
	const struct kr_ring_opts opts = { .pipe_count = 1 };
	struct kr_io *io = open_ring(&opts);
	int file = make_file(100000), fds[3][2];
	struct call calls[3] = { 0 };
	(void)state;

	make_cold(file);
	for (int i = 0; i < 3; i++) {
		tcp_pair(fds[i]);
		start(kr_io_send_file, io, &calls[i], fds[i][0], file, 0,
		      100000);
	}
	for (int i = 0; i < 3; i++) {
		struct reader r = { .fd = fds[i][1], .want = 100000 };

		assert_ok(finish(io, &calls[i]));
		read_all(io, &r);
		close_pair(fds[i]);
	}
	assert_int_equal(stats_of(io).pipe_waits, 2);
	assert_int_equal(stats_of(io).splice_cold, 1);
	close(file);
	kr_ring_close(io);
}

static void test_a_slow_reader_costs_no_memory(void **state)
{
	struct kr_io *io = open_ring(NULL);
	int file = make_file(32 * MIB), fds[2];
	struct call c = { 0 };
	struct rusage before, after;
	struct reader r = { .want = 32 * MIB };
	(void)state;

	tcp_pair(fds);
	r.fd = fds[1];
	getrusage(RUSAGE_SELF, &before);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	wait_full(io, &c, fds[0]);
	for (int i = 0; i < 200; i++) {
		read_some(&r, 1000);
		turn_once(io);
	}
	getrusage(RUSAGE_SELF, &after);
	assert_int_equal(c.count, 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB */
	read_all(io, &r);
	assert_ok(finish(io, &c));
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

/* ---- one who reads from a disk, and others beside him */

enum { SMALL = 64 * 1024 };

/* A request for what is in memory, and what the ring had sent by its end. */
struct beside {
	struct call call;
	struct kr_io *io;
	uint64_t spliced, completions; /* before, then at the end */
	struct call *victim;           /* canceled once the disk has answered */
};

static void beside_done(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct beside *b = (struct beside *)op;
	const struct kr_ring_stats s = stats_of(b->io);

	assert_ok(err);
	b->call.count++;
	b->call.n = n;
	b->spliced = s.spliced_bytes - b->spliced;
	b->completions = s.completions - b->completions;
	if (b->victim != NULL && b->completions > 0)
		kr_io_cancel(b->io, &b->victim->op);
}

/* A turn with such a request; it ends within. */
static void turn_beside(struct beside *b, int fd, int file)
{
	const struct kr_ring_stats s = stats_of(b->io);

	b->spliced = s.spliced_bytes;
	b->completions = s.completions;
	b->call.count = 0;
	kr_io_send_file(b->io, &b->call.op, fd, file, 0, SMALL, beside_done);
	turn_once(b->io);
	assert_int_equal(b->call.count, 1);
}

static void drain_socket(struct reader *r)
{
	uint64_t before;

	do {
		before = r->got;
		read_some(r, SIZE_MAX);
	} while (r->got != before);
}

/* The rest of the turn, and little of it, is the cold reader's. */
static void test_a_cold_reader_is_last_and_gets_little(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct beside b = { .io = io };
	int cold = make_file(48 * MIB), hot = make_file(SMALL);
	struct reader slow = { .want = 48 * MIB }, quick = { 0 };
	int cold_fds[2], hot_fds[2], both = 0;
	struct call c = { 0 };
	(void)state;

	make_cold(cold);
	tcp_pair(cold_fds);
	tcp_pair(hot_fds);
	slow.fd = cold_fds[1];
	quick.fd = hot_fds[1];
	start(kr_io_send_file, io, &c, cold_fds[0], cold, 0, 48 * MIB);
	while (slow.got < slow.want) {
		const uint64_t before = stats_of(io).spliced_bytes;

		turn_beside(&b, hot_fds[0], hot);
		const uint64_t sent = stats_of(io).spliced_bytes - before;

		assert_int_equal(b.spliced, SMALL); /* nobody before it */
		assert_true(sent <= SMALL + MIB);
		both += sent > SMALL;
		drain_socket(&slow);
		quick.offset = 0;
		drain_socket(&quick);
	}
	assert_true(both >= 48);
	assert_false(slow.wrong || quick.wrong);
	assert_ok(finish(io, &c));
	assert_true(stats_of(io).splice_cold > 0);
	close_pair(cold_fds);
	close_pair(hot_fds);
	close(cold);
	close(hot);
	kr_ring_close(io);
}

/* The one pipe holds bytes then, and must come back empty. */
static void test_cancel_when_the_disk_has_answered(void **state)
{
	const struct kr_ring_opts opts = { .pipe_count = 1 };
	struct kr_io *io = open_ring(&opts);
	int cold = make_file(4 * MIB), hot = make_file(SMALL);
	struct reader r = { .offset = MIB, .want = 3 * MIB }, quick = { 0 };
	int fds[2], hot_fds[2];
	struct call c = { 0 };
	struct beside b = { .io = io, .victim = &c };
	(void)state;

	make_cold(cold);
	tcp_pair(fds);
	tcp_pair(hot_fds);
	r.fd = fds[1];
	quick.fd = hot_fds[1];
	start(kr_io_send_file, io, &c, fds[0], cold, 0, MIB);
	turn_once(io); /* the disk is asked */
	assert_int_equal(stats_of(io).splice_cold, 1);
	while (c.count == 0) {
		turn_beside(&b, hot_fds[0], hot);
		quick.offset = 0;
		drain_socket(&quick);
	}
	assert_err(finish(io, &c), KR_E_CANCELED);
	start(kr_io_send_file, io, &c, fds[0], cold, MIB, 3 * MIB);
	read_all(io, &r);
	assert_ok(finish(io, &c));
	close_pair(fds);
	close_pair(hot_fds);
	close(cold);
	close(hot);
	kr_ring_close(io);
}

/* ---- cancelling at each stage */

static void test_cancel_before_the_first_step(void **state)
{
	struct kr_io *io = open_ring(NULL);
	int file = make_file(4 * MIB), fds[2];
	struct call c = { 0 };
	(void)state;

	tcp_pair(fds);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 4 * MIB);
	kr_io_cancel(io, &c.op);
	kr_io_cancel(io, &c.op);
	assert_int_equal(c.count, 0);
	assert_err(finish(io, &c), KR_E_CANCELED);
	assert_int_equal(stats_of(io).spliced_bytes, 0);
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

static void test_cancel_while_the_peer_stalls(void **state)
{
	struct kr_io *io = open_ring(NULL);
	int file = make_file(32 * MIB), fds[2];
	struct call c = { 0 };
	(void)state;

	tcp_pair(fds);
	start(kr_io_send_file, io, &c, fds[0], file, 0, 32 * MIB);
	wait_full(io, &c, fds[0]);
	kr_io_cancel(io, &c.op);
	assert_int_equal(c.count, 0);
	assert_err(finish(io, &c), KR_E_CANCELED);
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

/* The one pipe must come back clean, whatever the disk had put in it. */
static void test_cancel_while_the_disk_is_read_and_while_waiting(void **state)
{
	const struct kr_ring_opts opts = { .pipe_count = 1 };
	struct kr_io *io = open_ring(&opts);
	int file = make_file(8 * MIB), fds[2];
	struct call c = { 0 }, waits = { 0 };
	struct reader r = { .offset = MIB, .want = 7 * MIB };
	(void)state;

	make_cold(file);
	tcp_pair(fds);
	r.fd = fds[1];
	start(kr_io_send_file, io, &c, fds[0], file, 0, 4 * MIB);
	start(kr_io_send_file, io, &waits, fds[0], file, 4 * MIB, 4 * MIB);
	kr_io_turn(io); /* one step each: SQE prepared, pipe waited for */
	assert_int_equal(stats_of(io).splice_cold, 1);
	assert_int_equal(stats_of(io).pipe_waits, 1);
	kr_io_cancel(io, &waits.op);
	kr_io_cancel(io, &c.op);
	assert_err(finish(io, &c), KR_E_CANCELED);
	assert_err(finish(io, &waits), KR_E_CANCELED);
	assert_int_equal(stats_of(io).spliced_bytes, 0);

	make_cold(file);
	start(kr_io_send_file, io, &c, fds[0], file, MIB, 7 * MIB);
	read_all(io, &r);
	assert_ok(finish(io, &c));
	close_pair(fds);
	close(file);
	kr_ring_close(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_hot_file_arrives_without_asking_the_disk),
		cmocka_unit_test(test_a_cold_file_arrives_through_a_pipe),
		cmocka_unit_test(test_ranges_need_no_alignment),
		cmocka_unit_test(test_nothing_to_send_is_done_at_once),
		cmocka_unit_test(test_a_head_goes_before_the_file),
		cmocka_unit_test(test_a_head_larger_than_the_socket_takes),
		cmocka_unit_test(test_a_reset_before_the_head_is_an_error),
		cmocka_unit_test(test_what_follows_goes_in_the_same_turn),
		cmocka_unit_test(test_the_end_of_the_file_is_an_error),
		cmocka_unit_test(test_a_reset_ends_it_and_raises_no_signal),
		cmocka_unit_test(
			test_a_file_that_shrinks_meanwhile_is_an_error),
		cmocka_unit_test(test_stalled_readers_stop_nobody),
		cmocka_unit_test(
			test_waiting_for_a_pipe_that_is_not_needed_any_more),
		cmocka_unit_test(test_a_slow_reader_costs_no_memory),
		cmocka_unit_test(test_a_cold_reader_is_last_and_gets_little),
		cmocka_unit_test(test_cancel_when_the_disk_has_answered),
		cmocka_unit_test(test_cancel_before_the_first_step),
		cmocka_unit_test(test_cancel_while_the_peer_stalls),
		cmocka_unit_test(
			test_cancel_while_the_disk_is_read_and_while_waiting),
	};
	return cmocka_run_group_tests_name("send_file", tests, NULL, NULL);
}
