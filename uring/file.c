/*
 * Reads, writes and flushes of files, by the ring: what the page cache cannot
 * answer at once waits in an io-wq worker or for the page, never here.  Short
 * results are continued.
 */
#define _GNU_SOURCE
#include "uring/engine.h"

static uint32_t next_len(const struct kr_op *op)
{
	const uint32_t left = op->len_bytes - op->moved_bytes;

	return left < KR_SQE_BYTES_MAX ? left : KR_SQE_BYTES_MAX;
}

static void step_read(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);
	uint8_t *to = op->buf + op->moved_bytes;
	const uint64_t at = op->offset_bytes + op->moved_bytes;
	const uint32_t len = next_len(op);

	if (kr_arena_is_registered(&io->arena, to, len))
		io_uring_prep_read_fixed(sqe, op->file_fd, to, len, at, 0);
	else
		io_uring_prep_read(sqe, op->file_fd, to, len, at);
	kr_op_tag_sqe(op, sqe);
}

static void complete_read(struct kr_io *io, struct kr_op *op, int res,
			  uint32_t flags)
{
	(void)flags;
	if (res < 0) {
		kr_op_finish(io, op, kr_op_err(op, res));
		return;
	}
	op->moved_bytes += (uint32_t)res;
	io->stats.read_bytes += (uint32_t)res;
	if (res == 0 || op->moved_bytes == op->len_bytes)
		kr_op_finish(io, op, KR_OK);
	else if (op->canceled)
		kr_op_finish(io, op, KR_E_CANCELED);
	else
		step_read(io, op);
}

static void step_write(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);
	const uint8_t *from = op->buf + op->moved_bytes;
	const uint64_t at = op->offset_bytes + op->moved_bytes;
	const uint32_t len = next_len(op);

	if (kr_arena_is_registered(&io->arena, from, len))
		io_uring_prep_write_fixed(sqe, op->file_fd, from, len, at, 0);
	else
		io_uring_prep_write(sqe, op->file_fd, from, len, at);
	kr_op_tag_sqe(op, sqe);
}

static void complete_write(struct kr_io *io, struct kr_op *op, int res,
			   uint32_t flags)
{
	(void)flags;
	if (res <= 0) {
		kr_op_finish(io, op, res < 0 ? kr_op_err(op, res) : KR_E_IO);
		return;
	}
	op->moved_bytes += (uint32_t)res;
	io->stats.written_bytes += (uint32_t)res;
	if (op->moved_bytes == op->len_bytes)
		kr_op_finish(io, op, KR_OK);
	else if (op->canceled)
		kr_op_finish(io, op, KR_E_CANCELED);
	else
		step_write(io, op);
}

static void step_fsync(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_fsync(sqe, op->file_fd, IORING_FSYNC_DATASYNC);
	kr_op_tag_sqe(op, sqe);
}

static void step_allocate(struct kr_io *io, struct kr_op *op)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_fallocate(sqe, op->file_fd, 0, 0,
				(off_t)op->offset_bytes);
	kr_op_tag_sqe(op, sqe);
}

static void complete_once(struct kr_io *io, struct kr_op *op, int res,
			  uint32_t flags)
{
	(void)flags;
	kr_op_finish(io, op, res < 0 ? kr_op_err(op, res) : KR_OK);
}

const struct kr_op_kind kr_kind_read = { .name = "read",
					 .step = step_read,
					 .complete = complete_read };
const struct kr_op_kind kr_kind_write = { .name = "write",
					  .step = step_write,
					  .complete = complete_write };
const struct kr_op_kind kr_kind_fsync = { .name = "fsync",
					  .step = step_fsync,
					  .complete = complete_once };
const struct kr_op_kind kr_kind_allocate = { .name = "allocate",
					     .step = step_allocate,
					     .complete = complete_once };

static void set_range(struct kr_op *op, int file_fd, void *buf,
		      uint32_t len_bytes, uint64_t offset_bytes)
{
	kr_assert(!op->busy);
	op->fd = -1;
	op->file_fd = file_fd;
	op->buf = buf;
	op->len_bytes = len_bytes;
	op->offset_bytes = offset_bytes;
}

void kr_io_read(struct kr_io *io, struct kr_op *op, int file_fd, void *buf,
		uint32_t len_bytes, uint64_t offset_bytes, kr_op_done_fn *done)
{
	set_range(op, file_fd, buf, len_bytes, offset_bytes);
	if (len_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_READ, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_READ, done);
}

void kr_io_write(struct kr_io *io, struct kr_op *op, int file_fd,
		 const void *buf, uint32_t len_bytes, uint64_t offset_bytes,
		 kr_op_done_fn *done)
{
	/* Only read from: struct kr_op has one pointer for both ways. */
	set_range(op, file_fd, (void *)(uintptr_t)buf, len_bytes, offset_bytes);
	if (len_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_WRITE, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_WRITE, done);
}

void kr_io_fsync(struct kr_io *io, struct kr_op *op, int file_fd,
		 kr_op_done_fn *done)
{
	set_range(op, file_fd, NULL, 0, 0);
	kr_op_start(io, op, KR_OP_FSYNC, done);
}

void kr_io_allocate(struct kr_io *io, struct kr_op *op, int file_fd,
		    uint64_t size_bytes, kr_op_done_fn *done)
{
	set_range(op, file_fd, NULL, 0, size_bytes);
	if (size_bytes == 0)
		kr_op_start_finished(io, op, KR_OP_ALLOCATE, done, KR_OK);
	else
		kr_op_start(io, op, KR_OP_ALLOCATE, done);
}
