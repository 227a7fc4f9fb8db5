/*
 * test/integration/uring/fixture.h - a ring, calls that record how they
 * ended, loopback connections whose other end is plain system calls.
 *
 * Nothing sleeps: turn_until() turns the ring until a condition holds, and
 * fails the test when it does not within the deadline.
 */
#ifndef KR_TEST_URING_FIXTURE_H
#define KR_TEST_URING_FIXTURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test/support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/io.h"
#include "uring/ring.h"

#define FIXTURE_DEADLINE_NS (UINT64_C(30) * 1000000000)

/* A request and how it ended.  The op is first, so done() finds the rest. */
struct call {
	struct kr_op op;
	int count; /* times done() was called */
	enum kr_err err;
	uint32_t n;
};

static bool in_start; /* a call that starts a request is on the stack */

static inline void call_done(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct call *c = (struct call *)op;

	assert_false(in_start);
	assert_false(kr_op_busy(op));
	c->count++;
	c->err = err;
	c->n = n;
}

/* Start a request, as in start(kr_io_send, io, &call, fd, ...): done() must not come from inside. */
#define start(f, io, c, ...)                               \
	do {                                               \
		in_start = true;                           \
		f((io), &(c)->op, __VA_ARGS__, call_done); \
		in_start = false;                          \
	} while (0)

static inline void deadline_passed(struct kr_timer *t)
{
	(void)t;
}

/* A turn that does not wait. */
static inline void turn_once(struct kr_io *io)
{
	struct kr_timer now = { 0 };

	kr_io_timer_set(io, &now, 1, deadline_passed);
	kr_io_turn(io);
	assert_int_equal(now.heap_index, 0);
}

typedef bool cond_fn(const void *ctx);

static inline void turn_until(struct kr_io *io, cond_fn *holds, const void *ctx)
{
	const uint64_t end_ns = kr_clock_mono_ns() + FIXTURE_DEADLINE_NS;
	struct kr_timer deadline = { 0 };

	kr_io_timer_set(io, &deadline, end_ns, deadline_passed);
	while (!holds(ctx)) {
		kr_io_turn(io);
		if (kr_clock_mono_ns() >= end_ns)
			fail_msg("the deadline passed");
	}
	kr_io_timer_stop(io, &deadline);
}

static inline bool is_done(const void *ctx)
{
	return ((const struct call *)ctx)->count > 0;
}

/* Turn until @c ended; exactly once. */
static inline enum kr_err finish(struct kr_io *io, struct call *c)
{
	turn_until(io, is_done, c);
	assert_int_equal(c->count, 1);
	c->count = 0;
	return c->err;
}

static inline struct kr_io *open_ring(const struct kr_ring_opts *opts)
{
	const struct kr_ring_opts none = { 0 };
	struct kr_io *io = NULL;

	assert_ok(kr_ring_open(opts != NULL ? opts : &none, &io));
	return io;
}

/* Loopback suffers from the default congestion control of some machines. */
static inline void use_reno(int fd)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

/* A TCP connection over loopback: fds[0] nonblocking, for the ring; fds[1]
 * blocking, for the test. */
static inline void tcp_pair(int fds[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(l >= 0);
	assert_int_equal(bind(l, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	use_reno(fds[1]);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&sa, len), 0);
	fds[0] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fds[0] >= 0);
	use_reno(fds[0]);
	close(l);
}

static inline void close_pair(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* close(2) that sends RST. */
static inline void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

static inline struct kr_addr loopback(uint16_t port)
{
	struct kr_addr a = { .port = port };

	a.ip[10] = a.ip[11] = 0xff;
	a.ip[12] = 127;
	a.ip[15] = 1;
	return a;
}

static inline uint8_t pattern(uint64_t offset)
{
	return (uint8_t)(offset * 131 + (offset >> 12) * 7 + (offset >> 20));
}

/* Fill the socket until it takes no more. */
static inline void stuff(int fd)
{
	static char zeros[65536];

	while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(errno, EAGAIN);
}

/* An unlinked file of @len bytes of pattern() in the working directory (a
 * disk, so that cold means cold). */
static inline int make_file(uint32_t len)
{
	char name[] = "uring_test_XXXXXX";
	uint8_t *bytes = malloc(len + 1);
	int fd = mkstemp(name);

	assert_true(fd >= 0 && bytes != NULL);
	unlink(name);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = pattern(i);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	free(bytes);
	return fd;
}

static inline void make_cold(int fd)
{
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

#endif
