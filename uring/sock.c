/*
 * Sockets: connecting, receiving, sending.
 *
 * Connecting is a system call and a poll: connect(2) on a nonblocking socket
 * never waits, and needs no memory for the address until the kernel has read
 * it.  Receiving and sending are SQEs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring/engine.h"

void kr_socket_set_nodelay(int fd)
{
	const int one = 1;

	/* Fails only on a socket that is dead already, and then says so. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void kr_io_cork(int fd, bool *is_corked, bool on)
{
	const int value = on;

	if (*is_corked == on)
		return;
	*is_corked = on;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

int kr_socket_open(const struct kr_addr *a)
{
	const int family = kr_addr_is_v4(a) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		kr_socket_set_nodelay(fd);
	return fd;
}

void kr_op_poll(struct kr_io *io, struct kr_op *op, unsigned events)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_poll_add(sqe, op->fd, events);
	kr_op_tag_sqe(op, sqe);
}

/* ---- connecting */

static void step_connect(struct kr_io *io, struct kr_op *op)
{
	kr_op_poll(io, op, POLLOUT);
}

static void complete_connect(struct kr_io *io, struct kr_op *op, int res,
			     uint32_t flags)
{
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	(void)flags;

	if (res < 0) {
		kr_op_finish(io, op, kr_op_err(op, res));
		return;
	}
	if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
		errnum = errno;
	op->moved_bytes = (uint32_t)op->fd;
	kr_op_finish(io, op, errnum == 0 ? KR_OK : kr_err_of(errnum));
}

static void undo_connect(struct kr_io *io, struct kr_op *op)
{
	(void)io;
	if (op->fd >= 0)
		close(op->fd);
	op->fd = -1;
}

void kr_io_connect(struct kr_io *io, struct kr_op *op, const struct kr_addr *to,
		   kr_op_done_fn *done)
{
	struct sockaddr_storage sa;
	const socklen_t len = kr_addr_to_sockaddr(to, &sa);

	kr_assert(!op->busy);
	op->fd = kr_socket_open(to);
	if (op->fd < 0) {
		kr_op_start_finished(io, op, KR_OP_CONNECT, done,
				     kr_err_of(errno));
		return;
	}
	if (connect(op->fd, (struct sockaddr *)&sa, len) < 0 &&
	    errno != EINPROGRESS)
		kr_op_start_finished(io, op, KR_OP_CONNECT, done,
				     kr_err_of(errno));
	else
		kr_op_start(io, op, KR_OP_CONNECT, done);
}

const struct kr_op_kind kr_kind_connect = { .name = "connect",
					    .step = step_connect,
					    .complete = complete_connect,
					    .undo = undo_connect };

/* ---- receiving into a buffer of the ring */

static uint8_t *recv_buffer(const struct kr_recv_ring *r, uint32_t id)
{
	return r->bytes + (size_t)id * KR_IO_RECV_MAX;
}

static void lend_buffer(struct kr_recv_ring *r, uint32_t id)
{
	io_uring_buf_ring_add(r->ring, recv_buffer(r, id), KR_IO_RECV_MAX,
			      (unsigned short)id,
			      io_uring_buf_ring_mask(r->count), 0);
	io_uring_buf_ring_advance(r->ring, 1);
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

enum kr_err kr_recv_ring_init(struct kr_io *io, uint32_t count)
{
	struct kr_recv_ring *r = &io->recv;

	kr_assert(count <= 32768); /* io_uring_register_buf_ring(3) */
	r->count = power_of_two(count);
	const size_t ring_bytes = r->count * sizeof(struct io_uring_buf);
	void *p = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return KR_E_NOMEM;
	r->ring = p;
	r->bytes = malloc((size_t)r->count * KR_IO_RECV_MAX);
	if (r->bytes == NULL)
		return KR_E_NOMEM;
	struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)p,
					.ring_entries = r->count,
					.bgid = KR_RECV_GROUP };

	io->features.row[KR_FEATURE_BUFFER_RING].have =
		io_uring_register_buf_ring(&io->ring, &reg, 0) == 0;
	io_uring_buf_ring_init(r->ring);
	for (uint32_t i = 0; i < r->count; i++)
		lend_buffer(r, i);
	return KR_OK;
}

void kr_recv_ring_fini(struct kr_io *io)
{
	struct kr_recv_ring *r = &io->recv;

	if (r->ring != NULL)
		munmap(r->ring, r->count * sizeof(struct io_uring_buf));
	free(r->bytes);
	*r = (struct kr_recv_ring){ 0 };
}

static void step_recv(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_recv(sqe, op->fd, NULL, KR_IO_RECV_MAX, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = KR_RECV_GROUP;
	kr_op_tag_sqe(op, sqe);
}

/*
 * A buffer is out only between its completion and the end of done(), so once
 * this turn's completions are delivered all buffers are back: a request that
 * found none (-ENOBUFS) is armed again then.
 */
static void complete_recv(struct kr_io *io, struct kr_op *op, int res,
			  uint32_t flags)
{
	const bool has_buffer = (flags & IORING_CQE_F_BUFFER) != 0;
	const uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;

	if (res == -ENOBUFS && !op->canceled) {
		io->stats.recv_starved++;
		kr_op_run_later(io, op);
		return;
	}
	if (res > 0) {
		kr_assert(has_buffer);
		op->buf = recv_buffer(&io->recv, id);
		op->moved_bytes = (uint32_t)res;
		io->stats.received_bytes += (uint32_t)res;
		kr_op_finish(io, op, KR_OK);
	} else {
		kr_op_finish(io, op,
			     res == 0 ? KR_E_CLOSED : kr_op_err(op, res));
	}
	if (has_buffer)
		lend_buffer(&io->recv, id);
}

const struct kr_op_kind kr_kind_recv = { .name = "recv",
					 .step = step_recv,
					 .complete = complete_recv };

void kr_io_recv(struct kr_io *io, struct kr_op *op, int fd, kr_op_done_fn *done)
{
	kr_assert(!op->busy);
	op->fd = fd;
	op->buf = NULL;
	kr_op_start(io, op, KR_OP_RECV, done);
}

const uint8_t *kr_io_data(const struct kr_op *op)
{
	return op->buf;
}

/* ---- receiving into the owner's memory, and sending from it */

static uint32_t next_len(const struct kr_op *op)
{
	const uint32_t left = op->len_bytes - op->moved_bytes;

	return left < KR_SQE_BYTES_MAX ? left : KR_SQE_BYTES_MAX;
}

static void prep_recv(struct kr_io *io, struct kr_op *op, int flags)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_recv(sqe, op->fd, op->buf + op->moved_bytes, next_len(op),
			   flags);
	kr_op_tag_sqe(op, sqe);
}

static void step_recv_into(struct kr_io *io, struct kr_op *op)
{
	prep_recv(io, op, 0);
}

static void step_recv_all(struct kr_io *io, struct kr_op *op)
{
	prep_recv(io, op, MSG_WAITALL);
}

static void complete_recv_into(struct kr_io *io, struct kr_op *op, int res,
			       uint32_t flags)
{
	(void)flags;
	if (res <= 0) {
		kr_op_finish(io, op,
			     res == 0 ? KR_E_CLOSED : kr_op_err(op, res));
		return;
	}
	op->moved_bytes += (uint32_t)res;
	io->stats.received_bytes += (uint32_t)res;
	kr_op_finish(io, op, KR_OK);
}

static void complete_recv_all(struct kr_io *io, struct kr_op *op, int res,
			      uint32_t flags)
{
	(void)flags;
	if (res <= 0) {
		kr_op_finish(io, op,
			     res == 0 ? KR_E_CLOSED : kr_op_err(op, res));
		return;
	}
	op->moved_bytes += (uint32_t)res;
	io->stats.received_bytes += (uint32_t)res;
	if (op->moved_bytes == op->len_bytes)
		kr_op_finish(io, op, KR_OK);
	else if (op->canceled)
		kr_op_finish(io, op, KR_E_CANCELED);
	else
		step_recv_all(io, op);
}

static void step_send(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_send(sqe, op->fd, op->buf + op->moved_bytes, next_len(op),
			   MSG_NOSIGNAL | MSG_WAITALL);
	kr_op_tag_sqe(op, sqe);
}

static void complete_send(struct kr_io *io, struct kr_op *op, int res,
			  uint32_t flags)
{
	(void)flags;
	if (res < 0) {
		kr_op_finish(io, op, kr_op_err(op, res));
		return;
	}
	op->moved_bytes += (uint32_t)res;
	io->stats.sent_bytes += (uint32_t)res;
	if (op->moved_bytes == op->len_bytes)
		kr_op_finish(io, op, KR_OK);
	else if (op->canceled)
		kr_op_finish(io, op, KR_E_CANCELED);
	else
		step_send(io, op);
}

const struct kr_op_kind kr_kind_recv_into = { .name = "recv_into",
					      .step = step_recv_into,
					      .complete = complete_recv_into };
const struct kr_op_kind kr_kind_recv_all = { .name = "recv_all",
					     .step = step_recv_all,
					     .complete = complete_recv_all };
const struct kr_op_kind kr_kind_send = { .name = "send",
					 .step = step_send,
					 .complete = complete_send };

static void set_buffer(struct kr_op *op, int fd, void *buf, uint32_t len_bytes)
{
	kr_assert(!op->busy);
	op->fd = fd;
	op->buf = buf;
	op->len_bytes = len_bytes;
}

void kr_io_recv_into(struct kr_io *io, struct kr_op *op, int fd, void *buf,
		     uint32_t len_bytes, kr_op_done_fn *done)
{
	kr_assert(len_bytes > 0);
	set_buffer(op, fd, buf, len_bytes);
	kr_op_start(io, op, KR_OP_RECV_INTO, done);
}

void kr_io_recv_all(struct kr_io *io, struct kr_op *op, int fd, void *buf,
		    uint32_t len_bytes, kr_op_done_fn *done)
{
	set_buffer(op, fd, buf, len_bytes);
	if (len_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_RECV_ALL, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_RECV_ALL, done);
}

void kr_io_send(struct kr_io *io, struct kr_op *op, int fd, const void *buf,
		uint32_t len_bytes, kr_op_done_fn *done)
{
	/* Only read from: struct kr_op has one pointer for both ways. */
	set_buffer(op, fd, (void *)(uintptr_t)buf, len_bytes);
	if (len_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_SEND, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_SEND, done);
}

/* ---- a reader that leaves */

static void step_wait_gone(struct kr_io *io, struct kr_op *op)
{
	kr_op_poll(io, op, POLLRDHUP);
}

static void complete_wait_gone(struct kr_io *io, struct kr_op *op, int res,
			       uint32_t flags)
{
	(void)flags;
	kr_op_finish(io, op, res < 0 ? kr_op_err(op, res) : KR_E_CLOSED);
}

const struct kr_op_kind kr_kind_wait_gone = { .name = "wait_gone",
					      .step = step_wait_gone,
					      .complete = complete_wait_gone };

void kr_io_wait_gone(struct kr_io *io, struct kr_op *op, int fd,
		     kr_op_done_fn *done)
{
	kr_assert(!op->busy);
	op->fd = fd;
	kr_op_start(io, op, KR_OP_WAIT_GONE, done);
}
