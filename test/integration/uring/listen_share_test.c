/* Several listeners on one port, as several reactors have them. */
#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

enum { CONNS = 64 };

struct door {
	struct kr_listener listener;
	int accepted;
};

static struct door doors[2];

static void on_accept(struct kr_listener *l, int fd, const struct kr_addr *from)
{
	(void)from;
	((struct door *)l)->accepted++;
	close(fd);
}

static enum kr_err open_door(struct kr_io *io, int i,
			     enum kr_listen_share share, struct kr_addr at)
{
	doors[i] = (struct door){ .listener = { .share = share } };
	return kr_io_listen(io, &doors[i].listener, &at, on_accept);
}

static struct kr_addr loopback_any(void)
{
	struct kr_addr a;

	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &a));
	return a;
}

static struct kr_addr at_door_0(void)
{
	return doors[0].listener.at;
}

static bool all_came(const void *ctx)
{
	(void)ctx;
	return doors[0].accepted + doors[1].accepted == CONNS;
}

static void test_the_kernel_deals_connections_out(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call calls[CONNS] = { 0 };
	(void)state;

	assert_ok(open_door(io, 0, KR_LISTEN_FIRST, loopback_any()));
	assert_ok(open_door(io, 1, KR_LISTEN_MORE, at_door_0()));
	assert_int_equal(doors[1].listener.at.port, at_door_0().port);
	for (int i = 0; i < CONNS; i++) {
		const struct kr_addr to = at_door_0();

		start(kr_io_connect, io, &calls[i], &to);
		assert_ok(finish(io, &calls[i]));
		close((int)calls[i].n);
	}
	turn_until(io, all_came, NULL);
	/* By chance none: once in 2^63 runs. */
	assert_true(doors[0].accepted > 0);
	assert_true(doors[1].accepted > 0);
	kr_ring_close(io);
}

static void test_a_strangers_port_is_not_shared(void **state)
{
	struct kr_io *io = open_ring(NULL);
	(void)state;

	assert_ok(open_door(io, 0, KR_LISTEN_FIRST, loopback_any()));
	assert_err(open_door(io, 1, KR_LISTEN_FIRST, at_door_0()), KR_E_EXISTS);
	assert_err(open_door(io, 1, KR_LISTEN_ALONE, at_door_0()), KR_E_EXISTS);
	kr_ring_close(io);
}

static void test_who_is_alone_is_not_joined(void **state)
{
	struct kr_io *io = open_ring(NULL);
	(void)state;

	assert_ok(open_door(io, 0, KR_LISTEN_ALONE, loopback_any()));
	assert_err(open_door(io, 1, KR_LISTEN_MORE, at_door_0()), KR_E_EXISTS);
	kr_ring_close(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_kernel_deals_connections_out),
		cmocka_unit_test(test_a_strangers_port_is_not_shared),
		cmocka_unit_test(test_who_is_alone_is_not_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
