#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#include <sys/resource.h>

/* ---- an echo server and its clients, both on the ring */

struct echo { /* one accepted connection */
	struct kr_op op;
	struct server *server;
	int fd;
	uint8_t copy[KR_IO_RECV_MAX];
};

struct server {
	struct kr_listener listener;
	struct kr_io *io;
	struct echo *conns;
	int accepted_count;
	int open_count;
};

static struct server server;

static void echo_again(struct kr_op *op, enum kr_err err, uint32_t n);

static void echo_close(struct echo *e)
{
	close(e->fd);
	e->server->open_count--;
}

static void echo_send(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct echo *e = (struct echo *)op;

	if (err != KR_OK) {
		echo_close(e);
		return;
	}
	memcpy(e->copy, kr_io_data(op), n);
	kr_io_send(e->server->io, op, e->fd, e->copy, n, echo_again);
}

static void echo_again(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct echo *e = (struct echo *)op;
	(void)n;

	if (err != KR_OK)
		echo_close(e);
	else
		kr_io_recv(e->server->io, op, e->fd, echo_send);
}

static void on_accept(struct kr_listener *l, int fd, const struct kr_addr *from)
{
	struct server *s = (struct server *)l;
	struct echo *e = &s->conns[s->accepted_count++];

	assert_int_not_equal(from->port, 0);
	assert_memory_equal(from->ip, l->at.ip, sizeof(from->ip));
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	s->open_count++;
	*e = (struct echo){ .server = s, .fd = fd };
	kr_io_recv(s->io, &e->op, fd, echo_send);
}

static void serve_at(struct kr_io *io, const struct kr_addr *at, int conns_max)
{
	server = (struct server){ .io = io };
	server.conns = calloc((size_t)conns_max, sizeof(*server.conns));
	assert_ok(kr_io_listen(io, &server.listener, at, on_accept));
	assert_int_not_equal(server.listener.at.port, 0);
}

static void serve(struct kr_io *io, int conns_max)
{
	const struct kr_addr at = loopback(0);

	serve_at(io, &at, conns_max);
}

static bool nothing_is_open(const void *ctx)
{
	return ((const struct server *)ctx)->open_count == 0;
}

static void unserve(struct kr_io *io)
{
	turn_until(io, nothing_is_open, &server);
	kr_io_unlisten(io, &server.listener);
	kr_ring_close(io);
	free(server.conns);
}

static void echo_once(const struct kr_addr *at)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	char back[6] = "";

	serve_at(io, at, 1);
	start(kr_io_connect, io, &c, &server.listener.at);
	assert_ok(finish(io, &c));
	const int fd = (int)c.n;

	start(kr_io_send, io, &c, fd, "hello", 6);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, 6);
	start(kr_io_recv_all, io, &c, fd, back, 6);
	assert_ok(finish(io, &c));
	assert_string_equal(back, "hello");
	close(fd);
	unserve(io);
}

static void test_echo_through_accept_connect_send_and_recv(void **state)
{
	const struct kr_addr at = loopback(0);
	(void)state;

	echo_once(&at);
}

static void test_echo_over_ipv6(void **state)
{
	const struct kr_addr at = { .ip = { [15] = 1 } }; /* ::1 */
	const struct sockaddr_in6 sa = { .sin6_family = AF_INET6,
					 .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const int fd = socket(AF_INET6, SOCK_STREAM, 0);
	const bool have = fd >= 0 && bind(fd, (const struct sockaddr *)&sa,
					  sizeof(sa)) == 0;
	(void)state;

	if (fd >= 0)
		close(fd);
	if (!have) {
		print_message("skipped: this machine has no ::1\n");
		skip();
	}
	echo_once(&at);
}

enum { MANY = 1000 };
struct client {
	struct kr_op op;
	struct kr_io *io;
	int fd;
	uint32_t sent, back;
};
static int clients_done;

static void client_got(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct client *c = (struct client *)op;
	(void)n;

	assert_ok(err);
	assert_int_equal(c->back, c->sent);
	close(c->fd);
	clients_done++;
}

static void client_sent(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct client *c = (struct client *)op;
	(void)n;

	assert_ok(err);
	kr_io_recv_all(c->io, op, c->fd, &c->back, 4, client_got);
}

static void client_up(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct client *c = (struct client *)op;

	assert_ok(err);
	c->fd = (int)n;
	kr_io_send(c->io, op, c->fd, &c->sent, 4, client_sent);
}

static bool all_clients_are_done(const void *ctx)
{
	(void)ctx;
	return clients_done == MANY;
}

static void echo_with_many(const struct kr_ring_opts *opts)
{
	static struct client clients[MANY];
	struct kr_io *io = open_ring(opts);

	clients_done = 0;
	serve(io, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		clients[i] = (struct client){ .io = io, .sent = i * 7919 };
		kr_io_connect(io, &clients[i].op, &server.listener.at,
			      client_up);
	}
	turn_until(io, all_clients_are_done, NULL);
	assert_int_equal(server.accepted_count, MANY);
	unserve(io);
}

static void test_a_thousand_connections_echo(void **state)
{
	(void)state;
	echo_with_many(NULL);
}

static void test_they_echo_with_few_slots_and_few_buffers(void **state)
{
	const struct kr_ring_opts opts = { .ops_max = 1100,
					   .recv_buffer_count = 2 };
	(void)state;
	echo_with_many(&opts);
}

static void test_idle_receives_share_two_buffers(void **state)
{
	enum { N = 40 };
	const struct kr_ring_opts opts = { .recv_buffer_count = 2 };
	struct kr_io *io = open_ring(&opts);
	struct kr_ring_stats stats;
	struct call calls[N] = { 0 };
	int fds[N][2];
	(void)state;

	for (int i = 0; i < N; i++) {
		tcp_pair(fds[i]);
		start(kr_io_recv, io, &calls[i], fds[i][0]);
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(send(fds[i][1], "x", 1, 0), 1);
	for (int i = 0; i < N; i++) {
		assert_ok(finish(io, &calls[i]));
		assert_int_equal(calls[i].n, 1);
		close_pair(fds[i]);
	}
	kr_ring_stats_get(io, &stats);
	assert_true(stats.recv_starved > 0);
	assert_int_equal(stats.received_bytes, N);
	kr_ring_close(io);
}

/* ---- how connections end */

static void test_connect_to_nobody_is_refused(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	(void)state;

	serve(io, 1); /* a port that was just free */
	const struct kr_addr nobody = server.listener.at;

	kr_io_unlisten(io, &server.listener);
	start(kr_io_connect, io, &c, &nobody);
	assert_err(finish(io, &c), KR_E_REFUSED);
	unserve(io);
}

static void test_listening_twice_on_an_address_is_refused(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct kr_listener second = { 0 };
	(void)state;

	serve(io, 1);
	assert_err(kr_io_listen(io, &second, &server.listener.at, on_accept),
		   KR_E_EXISTS);
	unserve(io);
}

static void test_a_listener_left_open_is_closed_with_the_ring(void **state)
{
	struct kr_io *io = open_ring(NULL);
	(void)state;

	serve(io, 1);
	const int fd = server.listener.fd;

	kr_ring_close(io);
	free(server.conns);
	assert_int_equal(server.listener.fd, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_end_of_stream_is_closed_and_the_other_half_works(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	char byte = 0;
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv, io, &c, fds[0]);
	shutdown(fds[1], SHUT_WR);
	assert_err(finish(io, &c), KR_E_CLOSED);
	start(kr_io_send, io, &c, fds[0], "y", 1);
	assert_ok(finish(io, &c));
	assert_int_equal(recv(fds[1], &byte, 1, 0), 1);
	assert_int_equal(byte, 'y');
	close_pair(fds);
	kr_ring_close(io);
}

static void test_who_leaves_is_noticed_beside_a_stream(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call gone = { 0 }, c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_wait_gone, io, &gone, fds[0]);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	start(kr_io_recv, io, &c, fds[0]);
	assert_ok(finish(io, &c));
	start(kr_io_send, io, &c, fds[0], "y", 1);
	assert_ok(finish(io, &c));
	assert_true(kr_op_busy(&gone.op)); /* bytes are no leaving */
	close(fds[1]);
	assert_err(finish(io, &gone), KR_E_CLOSED);
	close(fds[0]);
	kr_ring_close(io);
}

static void test_waiting_for_who_leaves_can_be_canceled(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call gone = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_wait_gone, io, &gone, fds[0]);
	turn_once(io);
	kr_io_cancel(io, &gone.op);
	assert_err(finish(io, &gone), KR_E_CANCELED);
	close_pair(fds);
	kr_ring_close(io);
}

/* What a socket takes from a sender that nobody reads. */
static size_t taken(int fd)
{
	static const uint8_t bytes[65536];
	size_t sum = 0;
	ssize_t n;

	while ((n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		sum += (size_t)n;
	return sum;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void test_the_lead_of_a_local_sender_is_known(void **state)
{
	struct kr_io *io = open_ring(NULL);
	uint8_t bytes[5000] = { 0 };
	uint32_t lead = 1;
	int fds[2], local[2];
	(void)state;

	tcp_pair(fds);
	assert_true(kr_io_lead(io, fds[0], &lead));
	assert_int_equal(lead, 0);
	assert_int_equal(send(fds[0], bytes, 5000, 0), 5000);
	assert_true(kr_io_lead(io, fds[0], &lead));
	assert_int_equal(lead, 5000);
	assert_int_equal(recv(fds[1], bytes, 1000, 0), 1000);
	assert_true(kr_io_lead(io, fds[0], &lead));
	assert_int_equal(lead, 4000);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, local), 0);
	assert_false(kr_io_lead(io, local[0], &lead));
	close_pair(local);
	close_pair(fds);
	kr_ring_close(io);
}

static void test_a_limited_lead_is_given_back(void **state)
{
	int fds[2];
	(void)state;

	tcp_pair(fds);
	kr_io_limit_lead(fds[0], 65536);
	assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT), 65536);
	const size_t limited = taken(fds[0]);
	assert_true(limited > 0 && limited <= 256 << 10);
	kr_io_limit_lead(fds[0], 0);
	assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
	assert_int_equal(option(fds[0], SOL_SOCKET, SO_BUF_LOCK) & 1, 0);
	close_pair(fds);
}

static void test_recv_all_of_a_short_stream_is_closed(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	char got[8];
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv_all, io, &c, fds[0], got, sizeof(got));
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	shutdown(fds[1], SHUT_WR);
	assert_err(finish(io, &c), KR_E_CLOSED);
	close_pair(fds);
	kr_ring_close(io);
}

static bool has_received_three(const void *ctx)
{
	struct kr_ring_stats s;

	kr_ring_stats_get(ctx, &s);
	return s.received_bytes == 3;
}

static void test_recv_all_joins_what_comes_in_parts(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 }, first = { 0 };
	char got[7] = "", one[3];
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv_into, io, &first, fds[0], one, sizeof(one));
	assert_int_equal(send(fds[1], "abcdef", 6, 0), 6);
	assert_ok(finish(io, &first));
	assert_int_equal(first.n, 3);
	assert_true(has_received_three(io));
	start(kr_io_recv_all, io, &c, fds[0], got, 6);
	turn_once(io);
	assert_int_equal(c.count, 0);
	assert_int_equal(send(fds[1], "ghi", 3, 0), 3);
	assert_ok(finish(io, &c));
	assert_string_equal(got, "defghi");
	close_pair(fds);
	kr_ring_close(io);
}

static void test_a_reset_ends_a_receive(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv, io, &c, fds[0]);
	reset(fds[1]);
	assert_err(finish(io, &c), KR_E_RESET);
	close(fds[0]);
	kr_ring_close(io);
}

static void test_a_reset_ends_a_send_in_the_middle(void **state)
{
	enum { LEN = 32 << 20 };
	struct kr_io *io = open_ring(NULL);
	uint8_t *bytes = calloc(1, LEN);
	struct call c = { 0 };
	char some[4096];
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_send, io, &c, fds[0], bytes, LEN);
	turn_once(io);
	assert_true(recv(fds[1], some, sizeof(some), 0) > 0);
	assert_int_equal(c.count, 0);
	reset(fds[1]);
	assert_err(finish(io, &c), KR_E_RESET);
	close(fds[0]);
	free(bytes);
	kr_ring_close(io);
}

static void test_a_long_send_is_complete(void **state)
{
	enum { LEN = 24 << 20 };
	struct kr_io *io = open_ring(NULL);
	uint8_t *bytes = malloc(LEN), *back = malloc(LEN);
	struct call out = { 0 }, in = { 0 };
	int fds[2];
	(void)state;

	for (uint32_t i = 0; i < LEN; i++)
		bytes[i] = pattern(i);
	tcp_pair(fds);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	start(kr_io_send, io, &out, fds[0], bytes, LEN);
	start(kr_io_recv_all, io, &in, fds[1], back, LEN);
	assert_ok(finish(io, &in));
	assert_ok(finish(io, &out));
	assert_int_equal(out.n, LEN);
	assert_int_equal(in.n, LEN);
	assert_memory_equal(bytes, back, LEN);
	close_pair(fds);
	free(bytes);
	free(back);
	kr_ring_close(io);
}

/* ---- out of descriptors */

static bool accepting_has_paused(const void *ctx)
{
	struct kr_ring_stats s;

	kr_ring_stats_get(ctx, &s);
	return s.accept_pauses > 0;
}

static bool one_is_accepted(const void *ctx)
{
	return ((const struct server *)ctx)->accepted_count == 1;
}

/* A client that is connected but cannot be accepted. */
static int starve_accept(struct kr_io *io, struct rlimit *before)
{
	struct sockaddr_storage sa;
	const socklen_t len = kr_addr_to_sockaddr(&server.listener.at, &sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct rlimit tight;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
	tight = *before;
	tight.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	turn_until(io, accepting_has_paused, io);
	assert_int_equal(server.accepted_count, 0);
	return fd;
}

static void test_accepting_pauses_and_resumes_without_descriptors(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct rlimit before;
	(void)state;

	serve(io, 1);
	const int fd = starve_accept(io, &before);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	turn_until(io, one_is_accepted, &server);
	close(fd);
	unserve(io);
}

static void test_a_paused_listener_can_be_closed(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct rlimit before;
	(void)state;

	serve(io, 1);
	const int fd = starve_accept(io, &before);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	kr_ring_close(io);
	assert_int_equal(server.listener.fd, -1);
	close(fd);
	free(server.conns);
}

static void test_connect_without_descriptors_says_so(void **state)
{
	struct kr_io *io = open_ring(NULL);
	const struct kr_addr to = loopback(9);
	struct rlimit before, none;
	struct call c = { 0 };
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	start(kr_io_connect, io, &c, &to);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_err(finish(io, &c), KR_E_NOFILE);
	kr_ring_close(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_echo_through_accept_connect_send_and_recv),
		cmocka_unit_test(test_echo_over_ipv6),
		cmocka_unit_test(test_a_thousand_connections_echo),
		cmocka_unit_test(test_they_echo_with_few_slots_and_few_buffers),
		cmocka_unit_test(test_idle_receives_share_two_buffers),
		cmocka_unit_test(test_connect_to_nobody_is_refused),
		cmocka_unit_test(test_listening_twice_on_an_address_is_refused),
		cmocka_unit_test(
			test_a_listener_left_open_is_closed_with_the_ring),
		cmocka_unit_test(
			test_end_of_stream_is_closed_and_the_other_half_works),
		cmocka_unit_test(test_who_leaves_is_noticed_beside_a_stream),
		cmocka_unit_test(test_waiting_for_who_leaves_can_be_canceled),
		cmocka_unit_test(test_the_lead_of_a_local_sender_is_known),
		cmocka_unit_test(test_a_limited_lead_is_given_back),
		cmocka_unit_test(test_recv_all_of_a_short_stream_is_closed),
		cmocka_unit_test(test_recv_all_joins_what_comes_in_parts),
		cmocka_unit_test(test_a_reset_ends_a_receive),
		cmocka_unit_test(test_a_reset_ends_a_send_in_the_middle),
		cmocka_unit_test(test_a_long_send_is_complete),
		cmocka_unit_test(
			test_accepting_pauses_and_resumes_without_descriptors),
		cmocka_unit_test(test_a_paused_listener_can_be_closed),
		cmocka_unit_test(test_connect_without_descriptors_says_so),
	};
	return cmocka_run_group_tests_name("sock", tests, NULL, NULL);
}
