/*
 * The ring itself: slots, turns, cancelling, opening and closing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/thread.h"
#include "uring/engine.h"

enum {
	SQ_ENTRIES = 1024, /* a full one is submitted early */
	CQ_ENTRIES_MAX = 65536,
	BATCH = 128,
};
#define SLICE_NS UINT64_C(400000) /* of the reactor: ahead of hash workers */

static const struct kr_op_kind *const kinds[KR_OP_KIND_COUNT] = {
	[KR_OP_ACCEPT] = &kr_kind_accept,
	[KR_OP_CONNECT] = &kr_kind_connect,
	[KR_OP_RECV] = &kr_kind_recv,
	[KR_OP_RECV_INTO] = &kr_kind_recv_into,
	[KR_OP_RECV_ALL] = &kr_kind_recv_all,
	[KR_OP_SEND] = &kr_kind_send,
	[KR_OP_SEND_FILE] = &kr_kind_send_file,
	[KR_OP_WAIT_GONE] = &kr_kind_wait_gone,
	[KR_OP_READ] = &kr_kind_read,
	[KR_OP_WRITE] = &kr_kind_write,
	[KR_OP_FSYNC] = &kr_kind_fsync,
	[KR_OP_ALLOCATE] = &kr_kind_allocate,
};

/* ---- lists */

void kr_op_list_append(struct kr_op_list *list, struct kr_op *op)
{
	kr_assert(op->list == NULL);
	op->list = list;
	op->next = NULL;
	op->prev = list->last;
	if (list->last != NULL)
		list->last->next = op;
	else
		list->first = op;
	list->last = op;
	list->count++;
}

void kr_op_list_remove(struct kr_op *op)
{
	struct kr_op_list *list = op->list;

	kr_assert(list != NULL);
	if (op->prev != NULL)
		op->prev->next = op->next;
	else
		list->first = op->next;
	if (op->next != NULL)
		op->next->prev = op->prev;
	else
		list->last = op->prev;
	list->count--;
	op->list = NULL;
}

static struct kr_op *pop(struct kr_op_list *list)
{
	struct kr_op *op = list->first;

	kr_op_list_remove(op);
	return op;
}

/* ---- SQEs */

/* A full submission queue is no reason to fail: what is in it goes first. */
struct io_uring_sqe *kr_sqe_get(struct kr_io *io)
{
	struct io_uring_sqe *sqe;

	while ((sqe = io_uring_get_sqe(&io->ring)) == NULL) {
		const int rc = io_uring_submit(&io->ring);

		kr_assert(rc >= 0 || rc == -EINTR || rc == -EAGAIN ||
			  rc == -EBUSY);
		if (rc < 0) /* the kernel is short of memory */
			sched_yield();
	}
	return sqe;
}

void kr_op_tag_sqe(const struct kr_op *op, struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data64(sqe, kr_op_slots_tag(op));
}

enum kr_err kr_err_of(int errnum)
{
	const enum kr_err err = kr_err_from_errno(errnum);

	return err == KR_OK || err == KR_AGAIN ? KR_E_IO : err;
}

enum kr_err kr_op_err(const struct kr_op *op, int res)
{
	if (op->canceled &&
	    (res == -EINTR || res == -ECANCELED || res == -ENOBUFS))
		return KR_E_CANCELED;
	return kr_err_of(-res);
}

/* ---- the life of a request */

static void begin(struct kr_op *op, enum kr_op_kind_id kind,
		  kr_op_done_fn *done)
{
	kr_assert(!op->busy);
	op->busy = true;
	op->canceled = false;
	op->kind = (uint8_t)kind;
	op->stage = 0;
	op->moved_bytes = 0;
	op->err = KR_OK;
	op->done = done;
	op->list = NULL;
	op->slot = UINT32_MAX; /* has none */
}

void kr_op_start(struct kr_io *io, struct kr_op *op, enum kr_op_kind_id kind,
		 kr_op_done_fn *done)
{
	begin(op, kind, done);
	io->active_count++;
	if (io->closing) {
		kr_op_finish_later(io, op, KR_E_CANCELED);
	} else if (!kr_op_slots_take(&io->slots, op)) {
		io->stats.slot_waits++;
		kr_op_list_append(&io->waiting, op);
	} else if (kind == KR_OP_SEND_FILE) {
		kr_op_run_later(io, op); /* it works inline: by the budget */
	} else {
		kinds[kind]->step(io, op);
	}
}

void kr_op_start_finished(struct kr_io *io, struct kr_op *op,
			  enum kr_op_kind_id kind, kr_op_done_fn *done,
			  enum kr_err err)
{
	begin(op, kind, done);
	io->active_count++;
	kr_op_finish_later(io, op, err);
}

void kr_op_run_later(struct kr_io *io, struct kr_op *op)
{
	kr_op_list_append(op->kind == KR_OP_SEND_FILE && op->cold_bytes > 0
				  ? &io->cold
				  : &io->runnable,
			  op);
}

void kr_op_finish_later(struct kr_io *io, struct kr_op *op, enum kr_err err)
{
	op->err = err;
	kr_op_list_append(&io->finished, op);
}

static void release_slot(struct kr_io *io, struct kr_op *op)
{
	if (op->slot == UINT32_MAX)
		return;
	kr_op_slots_give(&io->slots, op);
	op->slot = UINT32_MAX;
	if (io->waiting.count == 0)
		return;
	struct kr_op *next = pop(&io->waiting);

	kr_assert(kr_op_slots_take(&io->slots, next));
	kr_op_run_later(io, next);
}

void kr_op_finish(struct kr_io *io, struct kr_op *op, enum kr_err err)
{
	const struct kr_op_kind *kind = kinds[op->kind];

	kr_assert(op->busy && op->list == NULL && io->turning);
	release_slot(io, op);
	if (err != KR_OK && kind->undo != NULL)
		kind->undo(io, op);
	io->active_count--;
	op->busy = false;
	if (op->done != NULL)
		op->done(op, err, err == KR_OK ? op->moved_bytes : 0);
}

bool kr_op_busy(const struct kr_op *op)
{
	return op->busy;
}

/* On a list the kernel does not know it: it ends here.  In flight the kernel
 * is asked, and the completion, whatever it says, ends it. */
void kr_io_cancel(struct kr_io *io, struct kr_op *op)
{
	if (!op->busy || op->canceled || op->list == &io->finished)
		return;
	op->canceled = true;
	if (op->list != NULL) {
		kr_op_list_remove(op);
		kr_op_finish_later(io, op, KR_E_CANCELED);
		return;
	}
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_cancel64(sqe, kr_op_slots_tag(op), 0);
	io_uring_sqe_set_data64(sqe, KR_TAG_IGNORED);
}

/* ---- a turn */

struct completion {
	uint64_t tag;
	int res;
	uint32_t flags;
};

static void complete_op(struct kr_io *io, const struct completion *c)
{
	struct kr_op *op = kr_op_slots_find(&io->slots, c->tag);

	if (op == NULL) {
		io->stats.stale_completions++;
		return;
	}
	io->stats.completions++;
	if (c->res == -EINTR && !op->canceled)
		kinds[op->kind]->step(io, op);
	else
		kinds[op->kind]->complete(io, op, c->res, c->flags);
}

static void complete(struct kr_io *io, const struct completion *c)
{
	if (c->tag == KR_TAG_INBOX)
		kr_inbox_arm(io);
	else if (c->tag != KR_TAG_IGNORED)
		complete_op(io, c);
}

/* Copied out first, so that the ring's memory is free again before any done()
 * starts the next request. */
static unsigned take_batch(struct kr_io *io, struct completion *batch)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe (&io->ring, head, cqe) {
		batch[n++] = (struct completion){ .tag = cqe->user_data,
						  .res = cqe->res,
						  .flags = cqe->flags };
		if (n == BATCH)
			break;
	}
	io_uring_cq_advance(&io->ring, n);
	return n;
}

static void deliver_completions(struct kr_io *io)
{
	struct completion batch[BATCH];
	unsigned n;

	while ((n = take_batch(io, batch)) > 0)
		for (unsigned i = 0; i < n; i++)
			complete(io, &batch[i]);
}

/* Those that go on the list meanwhile are for the next round. */
static void run_steps(struct kr_io *io)
{
	for (uint32_t n = io->runnable.count; n > 0; n--) {
		if (io->runnable.count == 0 ||
		    io->inline_bytes >= KR_TURN_INLINE_BYTES)
			return;
		struct kr_op *op = pop(&io->runnable);

		kinds[op->kind]->step(io, op);
	}
}

static void deliver_finished(struct kr_io *io)
{
	for (uint32_t n = io->finished.count; n > 0; n--) {
		struct kr_op *op = pop(&io->finished);

		kr_op_finish(io, op, op->err);
	}
}

/* Round after round, while what ended starts more that goes inline: between
 * two blocks of a connection the kernel need not be asked for news. */
static void send_inline(struct kr_io *io)
{
	io->inline_bytes = 0;
	do {
		run_steps(io);
		deliver_finished(io);
	} while (io->runnable.count > 0 &&
		 io->inline_bytes < KR_TURN_INLINE_BYTES);
}

/* Last, and little: who came meanwhile and wants what is in memory waits for
 * this.  Steps that only ask the disk count nothing. */
static void serve_cold(struct kr_io *io)
{
	io->inline_bytes = 0;
	for (uint32_t n = io->cold.count; n > 0; n--) {
		if (io->cold.count == 0 ||
		    io->inline_bytes >= KR_TURN_COLD_BYTES)
			break;
		struct kr_op *op = pop(&io->cold);

		kinds[op->kind]->step(io, op);
	}
	deliver_finished(io);
}

static bool has_work(const struct kr_io *io)
{
	return io->runnable.count > 0 || io->cold.count > 0 ||
	       io->finished.count > 0 || kr_pipes_has_news(&io->pipes) ||
	       kr_arena_has_news(&io->arena);
}

static int wait_until(struct kr_io *io, uint64_t at_ns)
{
	const uint64_t now_ns = kr_clock_mono_ns();
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts;

	if (at_ns <= now_ns)
		return io_uring_submit_and_get_events(&io->ring);
	ts.tv_sec = (int64_t)((at_ns - now_ns) / 1000000000);
	ts.tv_nsec = (int64_t)((at_ns - now_ns) % 1000000000);
	return io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &ts, NULL);
}

static void submit_and_wait(struct kr_io *io)
{
	const uint64_t next_ns = kr_timers_next_ns(&io->timers);
	int rc;

	if (has_work(io) || !kr_inbox_may_sleep(&io->inbox))
		rc = io_uring_submit_and_get_events(&io->ring);
	else if (next_ns == UINT64_MAX)
		rc = io_uring_submit_and_wait(&io->ring, 1);
	else
		rc = wait_until(io, next_ns);
	/* EAGAIN and EBUSY: the kernel wants completions taken first. */
	kr_assert(rc >= 0 || rc == -EINTR || rc == -ETIME || rc == -EAGAIN ||
		  rc == -EBUSY);
}

void kr_io_turn(struct kr_io *io)
{
	kr_assert(!io->turning);
	submit_and_wait(io);
	io->turning = true;
	io->now_ns = kr_clock_mono_ns();
	io->stats.turns++;
	deliver_completions(io);
	kr_inbox_deliver(io);
	kr_timers_fire(&io->timers, io->now_ns);
	kr_arena_wake(io);
	kr_pipes_wake(io);
	send_inline(io);
	serve_cold(io);
	kr_ring_stats_flush(io);
	io->turning = false;
}

uint64_t kr_io_now_ns(const struct kr_io *io)
{
	return io->now_ns;
}

/* ---- opening and closing */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value != 0 ? value : otherwise;
}

static void block_sigpipe(struct kr_io *io)
{
	sigset_t set, before;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	io->sigpipe_was_blocked = sigismember(&before, SIGPIPE) == 1;
}

/* One that came meanwhile must not strike now. */
static void unblock_sigpipe(const struct kr_io *io)
{
	const struct timespec now = { 0 };
	sigset_t set;

	if (io->sigpipe_was_blocked)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	while (sigtimedwait(&set, NULL, &now) == SIGPIPE || errno == EINTR)
		;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static enum kr_err open_queues(struct kr_io *io, uint32_t ops_max,
			       uint32_t sq_entries)
{
	const uint32_t sq = ops_max < sq_entries ? ops_max : sq_entries;
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.cq_entries = 2 * sq,
	};

	while (params.cq_entries < ops_max &&
	       params.cq_entries < CQ_ENTRIES_MAX)
		params.cq_entries *= 2;
	return kr_probe_setup(&io->features, &io->ring, sq, &params);
}

static void tune(struct kr_io *io, uint32_t workers)
{
	unsigned max[2] = { workers, workers }; /* bounded, unbounded */

	io->features.row[KR_FEATURE_WORKERS_MAX].have =
		io_uring_register_iowq_max_workers(&io->ring, max) == 0;
	io->features.row[KR_FEATURE_RING_FD].have =
		io_uring_register_ring_fd(&io->ring) == 1;
	/* A child of fork(2) has no use for the rings. */
	(void)io_uring_ring_dontfork(&io->ring);
}

static enum kr_err open_parts(struct kr_io *io, const struct kr_ring_opts *opts)
{
	const uint32_t ops_max = or_default(opts->ops_max, 16384);
	enum kr_err err;

	if ((err = kr_op_slots_init(&io->slots, ops_max)) != KR_OK ||
	    (err = kr_timers_init(&io->timers, or_default(opts->timers_max,
							  262144))) != KR_OK ||
	    (err = kr_pipes_init(&io->pipes,
				 or_default(opts->pipe_count, 16))) != KR_OK ||
	    (err = kr_inbox_init(&io->inbox)) != KR_OK ||
	    (err = open_queues(io, ops_max,
			       or_default(opts->sq_entries, SQ_ENTRIES))) !=
		    KR_OK)
		return err;
	io->ring_is_open = true;
	tune(io, or_default(opts->iowq_workers_max, 8));
	if ((err = kr_recv_ring_init(
		     io, or_default(opts->recv_buffer_count, 64))) != KR_OK ||
	    (err = kr_arena_init(
		     io, or_default(opts->buffer_count, 32),
		     or_default(opts->buffer_size_bytes, 1 << 20))) != KR_OK)
		return err;
	return kr_probe_judge(&io->features);
}

static void release(struct kr_io *io)
{
	if (io->ring_is_open)
		io_uring_queue_exit(&io->ring);
	kr_inbox_fini(&io->inbox);
	kr_lead_fini(io);
	kr_arena_fini(io);
	kr_recv_ring_fini(io);
	kr_pipes_fini(&io->pipes);
	kr_timers_fini(&io->timers);
	kr_op_slots_fini(&io->slots);
	unblock_sigpipe(io);
	free(io);
}

enum kr_err kr_ring_open(const struct kr_ring_opts *opts, struct kr_io **ret)
{
	struct kr_io *io = calloc(1, sizeof(*io));

	if (io == NULL)
		return KR_E_NOMEM;
	io->pool = opts->pool;
	io->inbox.event_fd = -1;
	io->pipes.null_fd = -1;
	block_sigpipe(io);
	kr_thread_set_slice(SLICE_NS);
	kr_lead_init(io);
	kr_probe_init(&io->features);
	kr_ring_stats_init(io);
	const enum kr_err err = open_parts(io, opts);

	if (err != KR_OK) {
		release(io);
		return err;
	}
	io->now_ns = kr_clock_mono_ns();
	kr_inbox_arm(io);
	*ret = io;
	return KR_OK;
}

static void cancel_all(struct kr_io *io)
{
	while (io->waiting.count > 0)
		kr_io_cancel(io, io->waiting.first);
	for (uint32_t i = 0; i < io->slots.max_count; i++)
		if (io->slots.table[i].op != NULL)
			kr_io_cancel(io, io->slots.table[i].op);
}

void kr_ring_close(struct kr_io *io)
{
	if (io == NULL)
		return;
	kr_assert(!io->turning);
	io->closing = true;
	cancel_all(io);
	while (io->active_count > 0 || io->jobs_count > 0)
		kr_io_turn(io);
	io->turning = true;
	kr_inbox_deliver(io); /* may start, and so cancel, more */
	while (io->active_count > 0)
		deliver_finished(io);
	kr_ring_stats_flush(io);
	release(io);
}
