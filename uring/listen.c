/*
 * Listening: a poll of the ring, then accept4(2) until nobody waits.  It gives
 * the peer's address, which a multishot accept does not, and takes all that
 * wait in one go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "uring/engine.h"

enum {
	BACKLOG = 4096,
	ACCEPT_BATCH = 64, /* then the other connections go on */
	ACCEPT_PAUSE_MS = 100,
};

static struct kr_listener *listener_of_op(struct kr_op *op)
{
	return (struct kr_listener *)((char *)op -
				      offsetof(struct kr_listener, op));
}

static void step_accept(struct kr_io *io, struct kr_op *op)
{
	kr_op_poll(io, op, POLLIN);
}

static void resume_accept(struct kr_timer *t)
{
	struct kr_listener *l =
		(struct kr_listener *)((char *)t -
				       offsetof(struct kr_listener, pause));

	l->paused = false;
	kr_op_list_remove(&l->op);
	step_accept(l->io, &l->op);
}

/* While descriptors are short every pause would be a line. */
#define PAUSE_SAY_NS UINT64_C(1000000000)

static void pause_accept(struct kr_io *io, struct kr_listener *l, int errnum)
{
	if (io->stats.accept_pauses == 0 ||
	    io->now_ns - io->pause_said_ns >= PAUSE_SAY_NS) {
		kr_log_warn(
			"uring", "accepting pauses for 100 ms",
			KR_ADDR("listener", &l->at),
			KR_ERR("cause", kr_err_of(errnum)),
			KR_STR("do",
			       "raise the limit of open files, or lower the "
			       "number of connections"));
		io->pause_said_ns = io->now_ns;
	}
	io->stats.accept_pauses++;
	l->paused = true;
	kr_op_list_append(&io->paused, &l->op);
	kr_io_timer_set(io, &l->pause,
			io->now_ns + ACCEPT_PAUSE_MS * UINT64_C(1000000),
			resume_accept);
}

/* Is it this connection that is wrong (accept(2), "Error handling")? */
static bool is_one_connection(int errnum)
{
	switch (errnum) {
	case ECONNABORTED:
	case EINTR:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

/* 0, or the errno that ended it. */
static int accept_some(struct kr_listener *l)
{
	for (int i = 0; i < ACCEPT_BATCH && l->fd >= 0; i++) {
		struct sockaddr_storage sa;
		struct kr_addr from = { 0 };
		socklen_t len = sizeof(sa);
		int fd = accept4(l->fd, (struct sockaddr *)&sa, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && is_one_connection(errno))
			continue;
		if (fd < 0)
			return errno;
		kr_socket_set_nodelay(fd);
		if (kr_addr_from_sockaddr((struct sockaddr *)&sa, &from) ==
		    KR_OK)
			l->on_accept(l, fd, &from);
		else
			close(fd);
	}
	return 0;
}

static void complete_accept(struct kr_io *io, struct kr_op *op, int res,
			    uint32_t flags)
{
	struct kr_listener *l = listener_of_op(op);
	(void)flags;

	if (op->canceled) {
		kr_op_finish(io, op, KR_E_CANCELED);
		return;
	}
	const int errnum = res < 0 ? -res : accept_some(l);

	if (l->fd < 0)
		kr_op_finish(io, op, KR_E_CANCELED);
	else if (errnum == 0 || errnum == EAGAIN)
		step_accept(io, op);
	else
		pause_accept(io, l, errnum);
}

static int set(int fd, int option)
{
	const int one = 1;

	return setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one));
}

/* The first of several binds before it shares, so that a stranger's socket on
 * the port is an error as ever. */
static enum kr_err bind_and_listen(int fd, enum kr_listen_share share,
				   struct kr_addr *at)
{
	struct sockaddr_storage sa;
	socklen_t len = kr_addr_to_sockaddr(at, &sa);

	if (set(fd, SO_REUSEADDR) < 0 ||
	    (share == KR_LISTEN_MORE && set(fd, SO_REUSEPORT) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    (share == KR_LISTEN_FIRST && set(fd, SO_REUSEPORT) < 0) ||
	    listen(fd, BACKLOG) < 0)
		return errno == EADDRINUSE ? KR_E_EXISTS : kr_err_of(errno);
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return kr_err_of(errno);
	return kr_addr_from_sockaddr((struct sockaddr *)&sa, at);
}

enum kr_err kr_io_listen(struct kr_io *io, struct kr_listener *l,
			 const struct kr_addr *at, kr_accept_fn *on_accept)
{
	struct kr_addr bound = *at;
	int fd = kr_socket_open(at);

	kr_assert(!l->op.busy);
	if (fd < 0)
		return kr_err_of(errno);
	const enum kr_err err = bind_and_listen(fd, l->share, &bound);

	if (err != KR_OK) {
		close(fd);
		return err;
	}
	void *extra = l->extra;
	*l = (struct kr_listener){ .on_accept = on_accept,
				   .io = io,
				   .fd = fd,
				   .at = bound,
				   .share = l->share,
				   .extra = extra };
	l->op.fd = fd;
	kr_op_start(io, &l->op, KR_OP_ACCEPT, NULL);
	return KR_OK;
}

/* shutdown(2) ends listening at once; the descriptor alone would not, while
 * the poll of the ring still holds the socket. */
static void close_listener(struct kr_listener *l)
{
	kr_io_timer_stop(l->io, &l->pause);
	l->paused = false;
	if (l->fd < 0)
		return;
	shutdown(l->fd, SHUT_RDWR);
	close(l->fd);
	l->fd = -1;
	l->op.fd = -1;
}

void kr_io_unlisten(struct kr_io *io, struct kr_listener *l)
{
	close_listener(l);
	kr_io_cancel(io, &l->op);
}

/* The ring closes under it. */
static void undo_accept(struct kr_io *io, struct kr_op *op)
{
	(void)io;
	close_listener(listener_of_op(op));
}

const struct kr_op_kind kr_kind_accept = { .name = "accept",
					   .step = step_accept,
					   .complete = complete_accept,
					   .undo = undo_accept };
