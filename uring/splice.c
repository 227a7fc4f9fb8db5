/*
 * File to socket without a copy through user space.
 *
 *	step: resident? --yes--> sendfile(2), at most 4 MiB, never waiting
 *	        |                   | all        | some        | socket is full
 *	        no                  v            v             v
 *	        |                 finish     runnable     POLL_ADD POLLOUT -> step
 *	        v
 *	   pipe free? --no--> wait (FIFO) -> step
 *	        | yes
 *	        v
 *	   SPLICE file->pipe, in an io-wq worker, which may wait for the disk
 *	        | runnable
 *	        v
 *	   splice(2) pipe->socket, not waiting; what the socket does not take is
 *	   thrown away: it is in the page cache now, so the hot path sends it
 *
 * So a pipe and a worker are held for a disk read and never for a peer, the
 * reactor waits for neither, and pipes go back empty.  A linked chain
 * [SPLICE, POLL_ADD, SPLICE] would hold its pipe as long as its peer stalls,
 * and a few stalled peers would then stop all others.
 *
 * Who reads from a disk is served last in a turn, and 1 MiB: those who ask for
 * what is in memory are not to wait for more of his.  That holds too for what
 * the kernel has read ahead for him (KR_COLD_RUN_BYTES).
 *
 * sendfile(2) and splice(2) to a closed socket raise SIGPIPE; kr_ring_open
 * blocks it in this thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring/engine.h"

#define HOT_NS UINT64_C(100000000) /* the kernel drops pages, but not so soon */

enum stage {
	STAGE_SEND, /* nothing held */
	STAGE_FILL, /* op->pipe is ours, the disk is being read */
	STAGE_FULL, /* op->pipe is ours and holds op->pipe_bytes */
};

/* ---- the pipes */

static enum kr_err make_pipe(struct kr_pipe *p)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return kr_err_of(errno);
	/* Without privilege it may stay at 64 KiB: slower, still right. */
	(void)fcntl(fds[1], F_SETPIPE_SZ, KR_PIPE_BYTES);
	const int size = fcntl(fds[1], F_GETPIPE_SZ);

	p->read_fd = fds[0];
	p->write_fd = fds[1];
	p->size_bytes = size > 0 ? (uint32_t)size : 65536;
	return KR_OK;
}

static void close_pipe(struct kr_pipe *p)
{
	if (p->read_fd < 0)
		return;
	close(p->read_fd);
	close(p->write_fd);
	p->read_fd = -1;
	p->write_fd = -1;
}

enum kr_err kr_pipes_init(struct kr_pipes *ps, uint32_t count)
{
	kr_assert(count > 0 && count <= UINT16_MAX);
	*ps = (struct kr_pipes){ .null_fd = -1 };
	ps->table = calloc(count, sizeof(*ps->table));
	ps->free = calloc(count, sizeof(*ps->free));
	if (ps->table == NULL || ps->free == NULL)
		return KR_E_NOMEM;
	ps->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (ps->null_fd < 0)
		return kr_err_of(errno);
	for (uint32_t i = 0; i < count; i++) {
		const enum kr_err err = make_pipe(&ps->table[i]);

		if (err != KR_OK)
			return err;
		ps->count++;
		ps->free[ps->free_count++] = (uint16_t)i;
	}
	return KR_OK;
}

void kr_pipes_fini(struct kr_pipes *ps)
{
	for (uint32_t i = 0; i < ps->count; i++)
		close_pipe(&ps->table[i]);
	if (ps->null_fd >= 0)
		close(ps->null_fd);
	free(ps->table);
	free(ps->free);
	*ps = (struct kr_pipes){ .null_fd = -1 };
}

/*
 * Empty a pipe that holds @left bytes.  Pages of a file that was truncated
 * meanwhile can be neither spliced nor read: then the pipe is closed, and made
 * anew when it is taken next.
 */
static void empty_pipe(struct kr_pipes *ps, struct kr_pipe *p, uint32_t left)
{
	while (left > 0) {
		const ssize_t n = splice(p->read_fd, NULL, ps->null_fd, NULL,
					 left, SPLICE_F_NONBLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			close_pipe(p);
			return;
		}
		left -= (uint32_t)n;
	}
}

static void give_pipe(struct kr_io *io, struct kr_op *op, uint32_t left)
{
	struct kr_pipes *ps = &io->pipes;

	empty_pipe(ps, &ps->table[op->pipe], left);
	ps->free[ps->free_count++] = op->pipe;
	op->stage = STAGE_SEND;
}

bool kr_pipes_has_news(const struct kr_pipes *ps)
{
	return ps->free_count > 0 && ps->waiting.count > 0;
}

/* Who is woken may find its bytes in the page cache by now and leave the pipe
 * alone: so this looks at what is free each turn, instead of handing each pipe
 * that comes back to one waiter. */
void kr_pipes_wake(struct kr_io *io)
{
	struct kr_pipes *ps = &io->pipes;

	for (uint32_t n = ps->free_count; n > 0 && ps->waiting.count > 0; n--) {
		struct kr_op *op = ps->waiting.first;

		kr_op_list_remove(op);
		kr_op_run_later(io, op);
	}
}

/* ---- cold: the disk is asked, in a worker */

static void fill_pipe(struct kr_io *io, struct kr_op *op)
{
	struct kr_pipe *p = &io->pipes.table[op->pipe];
	struct io_uring_sqe *sqe = kr_sqe_get(io);
	uint32_t want = op->len_bytes - op->moved_bytes;

	if (want > p->size_bytes)
		want = p->size_bytes;
	io_uring_prep_splice(sqe, op->file_fd,
			     (int64_t)(op->offset_bytes + op->moved_bytes),
			     p->write_fd, -1, want, 0);
	kr_op_tag_sqe(op, sqe);
}

static void send_cold(struct kr_io *io, struct kr_op *op)
{
	struct kr_pipes *ps = &io->pipes;

	op->cold_bytes = KR_COLD_RUN_BYTES;
	if (ps->free_count == 0) {
		io->stats.pipe_waits++;
		kr_op_list_append(&ps->waiting, op);
		return;
	}
	op->pipe = ps->free[--ps->free_count];
	struct kr_pipe *p = &ps->table[op->pipe];

	if (p->read_fd < 0) {
		const enum kr_err err = make_pipe(p);

		if (err != KR_OK) {
			give_pipe(io, op, 0);
			kr_op_finish_later(io, op, err);
			return;
		}
	}
	op->stage = STAGE_FILL;
	io->stats.splice_cold++;
	fill_pipe(io, op);
}

static void account(struct kr_io *io, struct kr_op *op, uint32_t n)
{
	op->moved_bytes += n;
	op->cold_bytes -= n < op->cold_bytes ? n : op->cold_bytes;
	io->inline_bytes += n;
	io->stats.spliced_bytes += n;
}

/* After bytes moved, or none and the socket was full. */
static void go_on(struct kr_io *io, struct kr_op *op, bool is_full)
{
	if (op->moved_bytes == op->len_bytes)
		kr_op_finish_later(io, op, KR_OK);
	else if (op->canceled)
		kr_op_finish_later(io, op, KR_E_CANCELED);
	else if (is_full)
		kr_op_poll(io, op, POLLOUT);
	else
		kr_op_run_later(io, op);
}

static void pipe_to_socket(struct kr_io *io, struct kr_op *op)
{
	const struct kr_pipe *p = &io->pipes.table[op->pipe];
	uint32_t left = op->pipe_bytes;
	int errnum = 0;

	while (left > 0 && errnum == 0) {
		const ssize_t n = splice(p->read_fd, NULL, op->fd, NULL, left,
					 SPLICE_F_NONBLOCK);

		if (n > 0) {
			left -= (uint32_t)n;
			account(io, op, (uint32_t)n);
		} else if (n == 0) {
			errnum = ENODATA; /* truncated under us */
		} else if (errno != EINTR) {
			errnum = errno;
		}
	}
	give_pipe(io, op, left);
	if (errnum == 0 || errnum == EAGAIN)
		go_on(io, op, errnum == EAGAIN);
	else
		kr_op_finish_later(io, op, kr_err_of(errnum));
}

static void complete_fill(struct kr_io *io, struct kr_op *op, int res)
{
	if (res > 0 && !op->canceled) {
		op->stage = STAGE_FULL;
		op->pipe_bytes = (uint32_t)res;
		kr_op_run_later(io, op);
		return;
	}
	give_pipe(io, op, res > 0 ? (uint32_t)res : 0);
	if (op->canceled)
		kr_op_finish(io, op, KR_E_CANCELED);
	else
		kr_op_finish(io, op, res < 0 ? kr_op_err(op, res) : KR_E_IO);
}

/* ---- hot: from the page cache, now */

static void send_hot(struct kr_io *io, struct kr_op *op, uint32_t want)
{
	off_t at = (off_t)(op->offset_bytes + op->moved_bytes);
	const ssize_t n = sendfile(op->fd, op->file_fd, &at, want);

	if (n > 0) {
		io->stats.splice_hot++;
		account(io, op, (uint32_t)n);
		go_on(io, op, (uint32_t)n < want);
	} else if (n == 0) {
		kr_op_finish_later(io, op, KR_E_IO); /* the file ends here */
	} else if (errno == EAGAIN || errno == EINTR) {
		go_on(io, op, errno == EAGAIN);
	} else {
		kr_op_finish_later(io, op, kr_err_of(errno));
	}
}

/* Are the next @want bytes in memory?  What a full socket left over was asked
 * about before; the answer is good for a while. */
static bool is_hot(struct kr_io *io, struct kr_op *op, uint32_t want)
{
	const bool cachestat = io->features.row[KR_FEATURE_CACHESTAT].have;
	const uint32_t end = op->moved_bytes + want;
	uint32_t from = op->moved_bytes;

	if (op->hot_bytes > from && io->now_ns - op->hot_ns < HOT_NS)
		from = op->hot_bytes;
	if (from < end &&
	    !kr_warm_check(&io->warm, io->now_ns, op->file_fd,
			   op->offset_bytes + from, end - from, cachestat))
		return false;
	if (from < end) {
		op->hot_bytes = end;
		op->hot_ns = io->now_ns;
	}
	return true;
}

/* What goes before the file's bytes, and is not pushed out without them.
 * False: it has not all gone, or failed. */
static bool send_head(struct kr_io *io, struct kr_op *op)
{
	while (op->head_bytes > 0) {
		const ssize_t n = send(op->fd, op->buf, op->head_bytes,
				       MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);

		if (n > 0) {
			op->buf += n;
			op->head_bytes -= (uint32_t)n;
			io->stats.sent_bytes += (uint64_t)n;
		} else if (errno == EAGAIN) {
			kr_op_poll(io, op, POLLOUT);
			return false;
		} else if (errno != EINTR) {
			kr_op_finish_later(io, op, kr_err_of(errno));
			return false;
		}
	}
	return true;
}

static void step_send_file(struct kr_io *io, struct kr_op *op)
{
	uint32_t want = op->len_bytes - op->moved_bytes;

	if (op->stage == STAGE_FILL) { /* interrupted, once more */
		fill_pipe(io, op);
		return;
	}
	if (op->stage == STAGE_FULL) {
		pipe_to_socket(io, op);
		return;
	}
	if (!send_head(io, op))
		return;
	/* As much as a turn may send: the last bytes of each sendfile(2) are
	 * pushed out, and wake the reader, who is better left to read. */
	const uint32_t max =
		op->cold_bytes > 0 ? KR_TURN_COLD_BYTES : KR_TURN_INLINE_BYTES;

	if (want > max)
		want = max;
	if (is_hot(io, op, want))
		send_hot(io, op, want);
	else
		send_cold(io, op);
}

static void complete_send_file(struct kr_io *io, struct kr_op *op, int res,
			       uint32_t flags)
{
	(void)flags;
	if (op->stage == STAGE_FILL)
		complete_fill(io, op, res);
	else if (res < 0 || op->canceled)
		kr_op_finish(io, op,
			     op->canceled ? KR_E_CANCELED : kr_op_err(op, res));
	else
		kr_op_run_later(io, op); /* the turn's budget decides when */
}

/* Canceled while its bytes were in the pipe. */
static void undo_send_file(struct kr_io *io, struct kr_op *op)
{
	if (op->stage == STAGE_FULL)
		give_pipe(io, op, op->pipe_bytes);
}

const struct kr_op_kind kr_kind_send_file = { .name = "send_file",
					      .step = step_send_file,
					      .complete = complete_send_file,
					      .undo = undo_send_file };

void kr_io_send_file(struct kr_io *io, struct kr_op *op, int fd, int file_fd,
		     uint64_t offset_bytes, uint32_t len_bytes,
		     kr_op_done_fn *done)
{
	kr_io_send_headed(io, op, fd, NULL, 0, file_fd, offset_bytes, len_bytes,
			  done);
}

void kr_io_send_headed(struct kr_io *io, struct kr_op *op, int fd,
		       const void *head, uint32_t head_len, int file_fd,
		       uint64_t offset_bytes, uint32_t len_bytes,
		       kr_op_done_fn *done)
{
	kr_assert(!op->busy && (head_len == 0 || len_bytes > 0));
	op->fd = fd;
	/* Only read from: struct kr_op has one pointer for both ways. */
	op->buf = (void *)(uintptr_t)head;
	op->head_bytes = head_len;
	if (op->file_fd != file_fd)
		op->cold_bytes = 0;
	op->file_fd = file_fd;
	op->offset_bytes = offset_bytes;
	op->len_bytes = len_bytes;
	op->hot_bytes = 0;
	if (len_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_SEND_FILE, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_SEND_FILE, done);
}

void kr_io_file_closes(struct kr_io *io, int file_fd)
{
	kr_warm_forget(&io->warm, file_fd);
}
