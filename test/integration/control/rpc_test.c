/*
 * test/integration/control/rpc_test.c - RPC server and client over TCP on the
 * real ring.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/rpc.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "core/mp.h"
#include "uring/ring.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { HELD_MAX = 8 };

struct fixture {
	struct kr_io *io;
	struct kr_rpc_server *server;
	struct kr_rpc_client *client;
	struct kr_rpc_request *held[HELD_MAX];
	uint32_t held_count;
	uint64_t conn;
	uint32_t notified;
};

static void method_echo(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	struct fixture *f = ctx;

	f->conn = kr_rpc_request_conn(req);
	kr_rpc_reply(req, params);
}

static void method_fail(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	(void)ctx;
	(void)params;
	kr_rpc_fail(req, KR_E_NOTFOUND, "no blob of that name");
}

static void method_hold(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	struct fixture *f = ctx;

	(void)params;
	assert_true(f->held_count < HELD_MAX);
	f->held[f->held_count++] = req;
}

static const struct kr_rpc_method methods[] = {
	{ "test.echo", method_echo },
	{ "test.fail", method_fail },
	{ "test.hold", method_hold },
};

static void on_notify(void *ctx, struct kr_bytes method, struct kr_bytes params)
{
	struct fixture *f = ctx;

	assert_int_equal(method.len, 9);
	assert_memory_equal(method.ptr, "test.news", 9);
	assert_int_equal(params.len, 1);
	f->notified++;
}

static struct kr_addr loopback(uint16_t port)
{
	struct kr_addr a;

	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &a), KR_OK);
	a.port = port;
	return a;
}

static void open_server(struct fixture *f, uint16_t port,
			uint64_t idle_timeout_ns)
{
	const struct kr_rpc_server_opts o = {
		.listen = loopback(port),
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.ctx = f,
		.requests_max = 4,
		.idle_timeout_ns = idle_timeout_ns,
		.request_len_max = 1024 * 1024,
	};
	assert_int_equal(kr_rpc_server_open(f->io, &o, &f->server), KR_OK);
}

static void open_client(struct fixture *f, struct kr_addr to)
{
	const struct kr_rpc_client_opts o = {
		.to = to, .on_notify = on_notify, .calls_max = 1000, .ctx = f
	};
	assert_int_equal(kr_rpc_client_open(f->io, &o, &f->client), KR_OK);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct kr_ring_opts opts = { .buffer_count = 1 };

	if (f == NULL || kr_ring_open(&opts, &f->io) != KR_OK)
		return -1;
	open_server(f, 0, 0);
	open_client(f, kr_rpc_server_addr(f->server));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_rpc_client_close(f->client);
	kr_rpc_server_close(f->server);
	kr_ring_close(f->io);
	free(f);
	return 0;
}

/* ---- calls whose end is remembered ---- */

struct seen {
	struct kr_rpc_call call;
	uint32_t count;
	enum kr_err err;
	size_t len;
	uint8_t first;
	char text[KR_RPC_TEXT_MAX + 1];
	struct kr_rpc_client *close;
};

static void on_done(struct kr_rpc_call *call, enum kr_err err,
		    struct kr_bytes result, const char *text)
{
	struct seen *s = (struct seen *)(void *)call;

	s->count++;
	s->err = err;
	s->len = result.len;
	s->first = result.len > 0 ? result.ptr[0] : 0;
	strncpy(s->text, text, sizeof(s->text) - 1);
	if (s->close != NULL)
		kr_rpc_client_close(s->close);
}

static void noop(struct kr_timer *t)
{
	(void)t;
}

/* Turn until *count reaches @want; ten seconds at most. */
static void turn_until(struct fixture *f, const uint32_t *count, uint32_t want)
{
	const uint64_t end_ns = kr_clock_mono_ns() + 10 * SEC;
	struct kr_timer tick = { 0 };

	while (*count < want && kr_clock_mono_ns() < end_ns) {
		kr_io_timer_set(f->io, &tick, kr_clock_mono_ns() + 20 * MS,
				noop);
		kr_io_turn(f->io);
	}
	kr_io_timer_stop(f->io, &tick);
	assert_int_equal(*count, want);
}

static void turn_for(struct fixture *f, uint64_t ns)
{
	const uint64_t end_ns = kr_clock_mono_ns() + ns;
	struct kr_timer tick = { 0 };

	while (kr_clock_mono_ns() < end_ns) {
		kr_io_timer_set(f->io, &tick, end_ns, noop);
		kr_io_turn(f->io);
	}
	kr_io_timer_stop(f->io, &tick);
}

static void call(struct fixture *f, struct seen *s, const char *method,
		 struct kr_bytes params, uint64_t timeout_ns)
{
	kr_rpc_call(f->client, &s->call, method, params, timeout_ns, on_done);
	assert_int_equal(s->count, 0);
}

static const uint8_t one_map[] = { 0x81, 0xa1, 'k', 0x07 };
static const struct kr_bytes params = { one_map, sizeof(one_map) };
static const struct kr_bytes nothing = { NULL, 0 };

/* ---- tests ---- */

static void test_answers_come_back(void **state)
{
	struct fixture *f = *state;
	struct seen a = { 0 }, b = { 0 }, c = { 0 };

	call(f, &a, "test.echo", params, SEC);
	call(f, &b, "test.fail", nothing, SEC);
	call(f, &c, "test.nonsense", nothing, SEC);
	turn_until(f, &c.count, 1);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.err, KR_OK);
	assert_int_equal(a.len, sizeof(one_map));
	assert_int_equal(b.err, KR_E_NOTFOUND);
	assert_string_equal(b.text, "no blob of that name");
	assert_int_equal(c.err, KR_E_UNSUPPORTED);
	assert_true(kr_rpc_client_healthy(f->client));
}

static void test_requests_are_counted_by_method(void **state)
{
	struct fixture *f = *state;
	struct kr_metric *echo = kr_metrics_counter("kraken_rpc_requests_total",
						    "", "method=\"test.echo\"");
	struct kr_metric *other = kr_metrics_counter(
		"kraken_rpc_requests_total", "", "method=\"other\"");
	struct kr_metric *open =
		kr_metrics_gauge("kraken_rpc_connections", "", NULL);
	const int64_t echo_was = kr_metric_value(echo);
	const int64_t other_was = kr_metric_value(other);
	struct seen a = { 0 }, b = { 0 };

	call(f, &a, "test.echo", params, SEC);
	call(f, &b, "test.nonsense", params, SEC);
	turn_until(f, &b.count, 1);
	assert_int_equal(kr_metric_value(echo) - echo_was, 1);
	assert_int_equal(kr_metric_value(other) - other_was, 1);
	assert_int_equal(kr_metric_value(open), 1);
}

static void test_a_thousand_calls_are_pipelined(void **state)
{
	struct fixture *f = *state;
	struct seen *all = calloc(1000, sizeof(*all));
	struct seen extra = { 0 };

	assert_non_null(all);
	for (uint32_t i = 0; i < 1000; i++)
		call(f, &all[i], "test.echo", params, 5 * SEC);
	call(f, &extra, "test.echo", params, 5 * SEC);
	for (uint32_t i = 0; i < 1000; i++)
		turn_until(f, &all[i].count, 1);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(all[i].err, KR_OK);
	turn_until(f, &extra.count, 1);
	assert_int_equal(extra.err, KR_E_BUSY); /* above calls_max */
	free(all);
}

static void test_a_large_value_passes_both_ways(void **state)
{
	struct fixture *f = *state;
	const size_t len = 900 * 1024;
	uint8_t *buf = malloc(len);
	struct seen s = { 0 };

	assert_non_null(buf);
	memset(buf, 0x5a, len);
	buf[0] = 0x91; /* an array of one bin 32 */
	buf[1] = 0xc6;
	buf[2] = 0;
	buf[3] = (uint8_t)((len - 6) >> 16);
	buf[4] = (uint8_t)((len - 6) >> 8);
	buf[5] = (uint8_t)(len - 6);
	call(f, &s, "test.echo", (struct kr_bytes){ buf, len }, 5 * SEC);
	turn_until(f, &s.count, 1);
	assert_int_equal(s.err, KR_OK);
	assert_int_equal(s.len, len);
	assert_int_equal(s.first, 0x91);
	free(buf);
}

static void test_an_oversize_request_closes_its_connection(void **state)
{
	struct fixture *f = *state;
	const size_t len = 2 * 1024 * 1024;
	uint8_t *buf = calloc(1, len);
	struct seen s = { 0 }, after = { 0 };

	assert_non_null(buf);
	memcpy(buf, (uint8_t[]){ 0x91, 0xc6, 0, 0x1f, 0xff, 0xfa }, 6);
	call(f, &s, "test.echo", (struct kr_bytes){ buf, len }, 5 * SEC);
	turn_until(f, &s.count, 1);
	assert_int_equal(kr_err_class_of(s.err), KR_ERR_CLASS_RETRY);
	call(f, &after, "test.echo", params, 5 * SEC);
	turn_until(f, &after.count, 1);
	assert_int_equal(after.err, KR_OK);
	free(buf);
}

static void test_requests_beyond_the_bound_wait_unread(void **state)
{
	struct fixture *f = *state;
	struct seen held[6] = { 0 };

	for (uint32_t i = 0; i < 6; i++)
		call(f, &held[i], "test.hold", nothing, 5 * SEC);
	turn_until(f, &f->held_count, 4);
	turn_for(f, 50 * MS);
	assert_int_equal(f->held_count, 4); /* requests_max */
	kr_rpc_reply(f->held[0], nothing);
	kr_rpc_reply(f->held[1], params);
	turn_until(f, &f->held_count, 6);
	for (uint32_t i = 2; i < 6; i++)
		kr_rpc_fail(f->held[i], KR_E_BUSY, NULL);
	turn_until(f, &held[5].count, 1);
	assert_int_equal(held[0].err, KR_OK);
	assert_int_equal(held[0].first, 0xc0); /* nil */
	assert_int_equal(held[5].err, KR_E_BUSY);
}

static void test_a_deadline_ends_a_call_and_its_late_answer_is_ignored(
	void **state)
{
	struct fixture *f = *state;
	struct seen late = { 0 }, next = { 0 };
	const uint64_t start_ns = kr_clock_mono_ns();

	call(f, &late, "test.hold", nothing, 50 * MS);
	turn_until(f, &late.count, 1);
	assert_int_equal(late.err, KR_E_TIMEDOUT);
	assert_true(kr_clock_mono_ns() - start_ns >= 49 * MS);
	kr_rpc_reply(f->held[0], params);
	call(f, &next, "test.echo", params, SEC);
	turn_until(f, &next.count, 1);
	assert_int_equal(next.err, KR_OK);
	assert_int_equal(late.count, 1);
}

static void test_a_canceled_call_is_silent(void **state)
{
	struct fixture *f = *state;
	struct seen gone = { 0 }, unsent = { 0 }, next = { 0 };

	call(f, &gone, "test.hold", nothing, SEC);
	turn_until(f, &f->held_count, 1);
	kr_rpc_call_cancel(&gone.call);
	kr_rpc_reply(f->held[0], params);
	call(f, &unsent, "test.echo", params, SEC);
	kr_rpc_call_cancel(&unsent.call);
	kr_rpc_call_cancel(&unsent.call);
	call(f, &next, "test.echo", params, SEC);
	turn_until(f, &next.count, 1);
	assert_int_equal(gone.count, 0);
	assert_int_equal(unsent.count, 0);
}

static void test_closing_the_client_ends_its_calls(void **state)
{
	struct fixture *f = *state;
	struct seen sent = { 0 }, fresh = { 0 };

	call(f, &sent, "test.hold", nothing, SEC);
	turn_until(f, &f->held_count, 1);
	call(f, &fresh, "test.echo", nothing, SEC);
	kr_rpc_client_close(f->client);
	assert_int_equal(sent.count, 1);
	assert_int_equal(sent.err, KR_E_CANCELED);
	assert_int_equal(fresh.err, KR_E_CANCELED);
	turn_for(f, 20 * MS);
	kr_rpc_reply(f->held[0], params); /* into nothing */
	open_client(f, kr_rpc_server_addr(f->server));
}

static void test_a_client_may_be_closed_from_done(void **state)
{
	struct fixture *f = *state;
	struct seen closer = { .close = f->client }, other = { 0 };

	call(f, &closer, "test.echo", params, SEC);
	call(f, &other, "test.hold", params, SEC);
	turn_until(f, &closer.count, 1);
	assert_int_equal(other.count, 1);
	assert_int_equal(other.err, KR_E_CANCELED);
	turn_for(f, 20 * MS);
	if (f->held_count > 0)
		kr_rpc_reply(f->held[0], nothing);
	open_client(f, kr_rpc_server_addr(f->server));
}

static void test_a_server_that_dies_mid_call_ends_it_and_comes_back(
	void **state)
{
	struct fixture *f = *state;
	const uint16_t port = kr_rpc_server_addr(f->server).port;
	struct seen lost = { 0 }, refused = { 0 }, patient = { 0 };

	call(f, &lost, "test.hold", nothing, 5 * SEC);
	turn_until(f, &f->held_count, 1);
	kr_rpc_server_close(f->server);
	turn_until(f, &lost.count, 1);
	assert_int_equal(kr_err_class_of(lost.err), KR_ERR_CLASS_RETRY);

	call(f, &refused, "test.echo", params, 10 * MS);
	turn_until(f, &refused.count, 1);
	assert_int_equal(kr_err_class_of(refused.err), KR_ERR_CLASS_RETRY);
	assert_false(kr_rpc_client_healthy(f->client));

	call(f, &patient, "test.echo", params, 5 * SEC);
	turn_for(f, 30 * MS);
	assert_int_equal(patient.count, 0); /* it can live to see it */
	open_server(f, port, 0);
	turn_until(f, &patient.count, 1);
	assert_int_equal(patient.err, KR_OK);
	assert_true(kr_rpc_client_healthy(f->client));
	kr_rpc_reply(f->held[0], params); /* of the old server */
}

static void test_health_returns_without_a_call(void **state)
{
	struct fixture *f = *state;
	const uint16_t port = kr_rpc_server_addr(f->server).port;
	const uint64_t end_ns = kr_clock_mono_ns() + 10 * SEC;
	struct seen refused = { 0 };

	kr_rpc_server_close(f->server);
	call(f, &refused, "test.echo", params, 10 * MS);
	turn_until(f, &refused.count, 1);
	assert_false(kr_rpc_client_healthy(f->client));

	open_server(f, port, 0);
	while (!kr_rpc_client_healthy(f->client) && kr_clock_mono_ns() < end_ns)
		turn_for(f, 10 * MS);
	assert_true(kr_rpc_client_healthy(f->client));
}

/* Connected by itself, never used, closed by the server: no failure. */
static void test_an_idle_end_is_no_ill_health(void **state)
{
	struct fixture *f = *state;
	const uint16_t port = kr_rpc_server_addr(f->server).port;
	struct seen refused = { 0 };

	kr_rpc_server_close(f->server);
	call(f, &refused, "test.echo", params, 10 * MS);
	turn_until(f, &refused.count, 1);
	open_server(f, port, 1100 * MS);
	for (int i = 0; i < 1000 && !kr_rpc_client_healthy(f->client); i++)
		turn_for(f, 10 * MS);
	for (int i = 0; i < 140; i++) {
		turn_for(f, 10 * MS);
		assert_true(kr_rpc_client_healthy(f->client));
	}
}

/* A process that accepts one connection, reads, and is then killed. */
static pid_t fork_deaf_server(int listen_fd)
{
	const pid_t pid = fork();

	if (pid == 0) {
		char buf[64];
		const int fd = accept(listen_fd, NULL, NULL);
		const ssize_t n = read(fd, buf, sizeof(buf));
		(void)n;
		pause();
		_exit(0);
	}
	return pid;
}

static void test_a_killed_process_ends_its_calls(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct seen s = { 0 };

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	const pid_t pid = fork_deaf_server(fd);
	close(fd);
	kr_rpc_client_close(f->client);
	open_client(f, loopback(ntohs(sa.sin_port)));
	call(f, &s, "test.echo", params, 8 * SEC);
	turn_for(f, 100 * MS);
	assert_int_equal(s.count, 0);
	kill(pid, SIGKILL);
	turn_until(f, &s.count, 1);
	assert_int_equal(kr_err_class_of(s.err), KR_ERR_CLASS_RETRY);
	assert_true(s.err != KR_E_TIMEDOUT);
	waitpid(pid, NULL, 0);
}

static int dial(struct fixture *f)
{
	const struct kr_addr to = kr_rpc_server_addr(f->server);
	struct sockaddr_storage sa;
	const socklen_t len = kr_addr_to_sockaddr(&to, &sa);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

/* Does the server end the connection? */
static bool is_closed(struct fixture *f, int fd)
{
	for (int i = 0; i < 50; i++) {
		char c;
		const ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		turn_for(f, 10 * MS);
	}
	return false;
}

static void test_garbage_closes_only_its_connection(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} garbage[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\xc1", 1 },
		{ "\x90", 1 },
		{ "\xdf\xff\xff\xff\xff", 5 },             /* 2^33 values */
		{ "\x94\x00\x01\xc6\xff\xff\xff\xff", 8 }, /* 4 GiB */
		{ "\x93\x01\x01\xc0", 4 },
		{ "\x94\x01\x01\xc0\xc0", 5 }, /* an answer to a server */
	};
	struct fixture *f = *state;
	struct seen s = { 0 };

	call(f, &s, "test.hold", params, 20 * SEC);
	turn_until(f, &f->held_count, 1);
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		const int fd = dial(f);
		assert_int_equal(send(fd, garbage[i].bytes, garbage[i].len, 0),
				 garbage[i].len);
		if (i == 5) /* the front of something */
			shutdown(fd, SHUT_WR);
		assert_true(is_closed(f, fd));
		close(fd);
	}
	kr_rpc_reply(f->held[0], params);
	turn_until(f, &s.count, 1);
	assert_int_equal(s.err, KR_OK);
}

static void test_a_silent_connection_is_closed_when_idle(void **state)
{
	struct fixture *f = *state;
	struct seen s = { 0 }, again = { 0 };

	kr_rpc_server_close(f->server);
	kr_rpc_client_close(f->client);
	open_server(f, 0, 60 * MS);
	open_client(f, kr_rpc_server_addr(f->server));
	const int fd = dial(f);
	call(f, &s, "test.hold", nothing, 5 * SEC);
	assert_true(is_closed(f, fd));
	close(fd);
	turn_for(f, 100 * MS);
	assert_int_equal(s.count, 0); /* one who waits for us is not idle */
	kr_rpc_reply(f->held[0], nothing);
	turn_until(f, &s.count, 1);
	assert_int_equal(s.err, KR_OK);
	turn_for(f, 150 * MS);                         /* now it is */
	assert_true(kr_rpc_client_healthy(f->client)); /* no failure */
	call(f, &again, "test.echo", params, 5 * SEC);
	turn_until(f, &again.count, 1);
	assert_int_equal(again.err, KR_OK);
}

static void test_notifications_reach_the_client(void **state)
{
	struct fixture *f = *state;
	static const uint8_t empty_map = 0x80;
	struct seen s = { 0 };

	call(f, &s, "test.echo", params, SEC);
	turn_until(f, &s.count, 1);
	assert_int_equal(kr_rpc_notify(f->server, f->conn, "test.news",
				       (struct kr_bytes){ &empty_map, 1 }),
			 KR_OK);
	turn_until(f, &f->notified, 1);
	assert_int_equal(kr_rpc_notify(f->server, f->conn + 1, "test.news",
				       (struct kr_bytes){ &empty_map, 1 }),
			 KR_E_NOTFOUND);
}

/* An answer that nobody reads stops the reading of requests; when it is read,
 * all goes on. */
static void test_a_reader_that_stops_is_not_read(void **state)
{
	struct fixture *f = *state;
	enum { LEN = 512 * 1024, COUNT = 40 };
	const size_t len = LEN;
	uint8_t head[32], *body = calloc(1, len);
	struct kr_mp_writer w;
	const int fd = dial(f);
	size_t sent = 0;

	assert_non_null(body);
	kr_mp_w_init(&w, head, sizeof(head));
	kr_rpc_request_head(&w, 7, "test.echo");
	memcpy(head + w.len, (uint8_t[]){ 0x91, 0xc6, 0, 7, 0xff, 0xfa }, 6);
	memcpy(body, head, w.len + 6);
	const size_t whole = w.len + 6 + 0x7fffa;
	body = realloc(body, whole);
	assert_non_null(body);
	memset(body + len, 0, whole - len);
	for (int quiet = 0; quiet < 20; quiet++) {
		ssize_t n;
		while ((n = send(fd, body + sent % whole, whole - sent % whole,
				 MSG_DONTWAIT)) > 0) {
			sent += (size_t)n;
			quiet = 0;
		}
		turn_for(f, 5 * MS);
		if (sent > COUNT * whole)
			break;
	}
	assert_true(sent < COUNT * whole);
	size_t got = 0, asked = sent / whole;
	while (got < asked * (whole - 12)) {
		static char sink[65536];
		const ssize_t n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else
			turn_for(f, MS);
		assert_true(n != 0);
	}
	close(fd);
	free(body);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_answers_come_back),
		T(test_requests_are_counted_by_method),
		T(test_a_thousand_calls_are_pipelined),
		T(test_a_large_value_passes_both_ways),
		T(test_an_oversize_request_closes_its_connection),
		T(test_requests_beyond_the_bound_wait_unread),
		T(test_a_deadline_ends_a_call_and_its_late_answer_is_ignored),
		T(test_a_canceled_call_is_silent),
		T(test_closing_the_client_ends_its_calls),
		T(test_a_client_may_be_closed_from_done),
		T(test_a_server_that_dies_mid_call_ends_it_and_comes_back),
		T(test_health_returns_without_a_call),
		T(test_an_idle_end_is_no_ill_health),
		T(test_a_killed_process_ends_its_calls),
		T(test_garbage_closes_only_its_connection),
		T(test_a_silent_connection_is_closed_when_idle),
		T(test_notifications_reach_the_client),
		T(test_a_reader_that_stops_is_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
