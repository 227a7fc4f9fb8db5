#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

/*
 * Random requests, random cancels, few of everything: each request must end
 * exactly once, and nothing may be left behind.  A seed on the command line
 * repeats a run (as far as the kernel's timing repeats).
 */

enum {
	PAIRS = 12,
	PER_PAIR = 4,
	CALLS = PAIRS * PER_PAIR,
	FILE_BYTES = 3 << 20
};

struct soak {
	struct kr_io *io;
	int fds[PAIRS][2];
	int file;
	struct call calls[CALLS];
	bool pending[CALLS];
	uint8_t bytes[CALLS][65536];
	uint64_t started, ended, canceled;
};

static unsigned seed = 1;
static struct soak soak;

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static void start_something(struct soak *s, uint32_t i)
{
	struct call *c = &s->calls[i];
	const int fd = s->fds[i % PAIRS][0];
	uint8_t *bytes = s->bytes[i];
	const uint32_t len = below(65536) + 1;

	switch (below(7)) {
	case 0:
		start(kr_io_recv, s->io, c, fd);
		break;
	case 1:
		start(kr_io_recv_into, s->io, c, fd, bytes, len);
		break;
	case 2:
		start(kr_io_recv_all, s->io, c, fd, bytes, len);
		break;
	case 3:
		start(kr_io_send, s->io, c, fd, bytes, len);
		break;
	case 4:
		start(kr_io_read, s->io, c, s->file, bytes, len,
		      below(FILE_BYTES));
		break;
	case 5:
		start(kr_io_fsync, s->io, c, s->file);
		break;
	default:
		start(kr_io_send_file, s->io, c, fd, s->file,
		      below(FILE_BYTES / 2), below(FILE_BYTES / 2));
		break;
	}
	s->pending[i] = true;
	s->started++;
}

/* The other end: echoes, swallows, or does nothing. */
static void play_peer(struct soak *s, uint32_t pair)
{
	static uint8_t bytes[65536];
	const int fd = s->fds[pair][1];

	if (below(2) == 0)
		(void)!recv(fd, bytes, below(sizeof(bytes)) + 1, MSG_DONTWAIT);
	if (below(3) == 0)
		(void)!send(fd, bytes, below(sizeof(bytes)),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void collect(struct soak *s)
{
	for (uint32_t i = 0; i < CALLS; i++) {
		struct call *c = &s->calls[i];

		if (c->count == 0)
			continue;
		assert_true(s->pending[i]);
		assert_int_equal(c->count, 1);
		assert_true(c->err == KR_OK || c->err == KR_E_CANCELED);
		s->canceled += c->err == KR_E_CANCELED;
		s->ended++;
		s->pending[i] = false;
		c->count = 0;
	}
}

static void one_turn(struct soak *s)
{
	for (uint32_t n = below(6); n > 0; n--) {
		const uint32_t i = below(CALLS);

		if (!s->pending[i])
			start_something(s, i);
		else if (below(3) == 0)
			kr_io_cancel(s->io, &s->calls[i].op);
	}
	play_peer(s, below(PAIRS));
	if (below(64) == 0) {
		(void)posix_fadvise(s->file, 0, 0, POSIX_FADV_DONTNEED);
		kr_io_file_closes(s->io, s->file); /* or it passes for hot */
	}
	turn_once(s->io);
	collect(s);
}

static void test_every_request_ends_exactly_once(void **state)
{
	const struct kr_ring_opts opts = { .ops_max = CALLS / 2,
					   .recv_buffer_count = 1,
					   .pipe_count = 1,
					   .buffer_count = 1 };
	struct kr_ring_stats stats;
	struct soak *s = &soak;
	(void)state;

	srand(seed);
	s->io = open_ring(&opts);
	s->file = make_file(FILE_BYTES);
	for (int i = 0; i < PAIRS; i++)
		tcp_pair(s->fds[i]);
	for (int turn = 0; turn < 20000; turn++)
		one_turn(s);
	kr_ring_stats_get(s->io, &stats);
	kr_ring_close(s->io);
	collect(s);
	assert_int_equal(s->started, s->ended);
	assert_true(s->canceled > 0 && s->canceled < s->ended);
	assert_true(stats.splice_hot > 0 && stats.splice_cold > 0);
	assert_true(stats.slot_waits > 0 && stats.pipe_waits > 0);
	assert_int_equal(stats.stale_completions, 0);
	for (int i = 0; i < PAIRS; i++)
		close_pair(s->fds[i]);
	close(s->file);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_request_ends_exactly_once),
	};
	if (argc > 1)
		seed = (unsigned)strtoul(argv[1], NULL, 10);
	print_message("seed %u\n", seed);
	return cmocka_run_group_tests_name("soak", tests, NULL, NULL);
}
