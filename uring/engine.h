/*
 * uring/engine.h - what the files of this folder share; included by nobody
 * else.
 *
 * A request (struct kr_op) is of a kind, and a kind is a row of functions:
 *
 *	         start            step            complete
 *	kr_io_x() ---> [slot?] ---------> SQE ----------------> finish -> done()
 *	                 | none             ^                     ^
 *	                 v                  | more to do          |
 *	              waiting         runnable, cold          finished (result
 *	              (FIFO)             (FIFO)               known early, FIFO)
 *
 * A request holds its slot from start to finish and has at most one SQE in
 * flight, so its tag names that SQE.  Wherever it is not in flight it is on
 * exactly one list, op->list, and that is all kr_io_cancel needs to know.
 */
#ifndef KR_URING_ENGINE_H
#define KR_URING_ENGINE_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/io.h"
#include "core/metrics.h"
#include "uring/probe.h"
#include "uring/ring.h"
#include "uring/slots.h"
#include "uring/timer.h"
#include "uring/warm.h"

enum {
	KR_TURN_INLINE_BYTES = 4 << 20, /* sent inline before others go on */
	KR_TURN_COLD_BYTES = 1 << 20, /* the same, of what a disk is read for */
	KR_COLD_RUN_BYTES = 256 << 20, /* so long after the disk was asked */
	KR_PIPE_BYTES = 1 << 20,       /* read from a disk in one go */
	KR_SQE_BYTES_MAX = 1 << 30,    /* a completion's result is an int */
	KR_RECV_GROUP = 0,             /* id of the receive buffer ring */
};

struct kr_op_list {
	struct kr_op *first;
	struct kr_op *last;
	uint32_t count;
};

struct kr_op_kind {
	const char *name;
	/* Prepare the next SQE, or finish, or go on a list. */
	void (*step)(struct kr_io *io, struct kr_op *op);
	/* The SQE ended with @res. */
	void (*complete)(struct kr_io *io, struct kr_op *op, int res,
			 uint32_t flags);
	/* Release what a request holds that ends in an error; may be NULL. */
	void (*undo)(struct kr_io *io, struct kr_op *op);
};

/* Index of the table in ring.c. */
enum kr_op_kind_id {
	KR_OP_NONE,
	KR_OP_ACCEPT,
	KR_OP_CONNECT,
	KR_OP_RECV,
	KR_OP_RECV_INTO,
	KR_OP_RECV_ALL,
	KR_OP_SEND,
	KR_OP_SEND_FILE,
	KR_OP_WAIT_GONE,
	KR_OP_READ,
	KR_OP_WRITE,
	KR_OP_FSYNC,
	KR_OP_ALLOCATE,
	KR_OP_KIND_COUNT
};

extern const struct kr_op_kind kr_kind_accept, kr_kind_connect, kr_kind_recv,
	kr_kind_recv_into, kr_kind_recv_all, kr_kind_send, kr_kind_send_file,
	kr_kind_wait_gone, kr_kind_read, kr_kind_write, kr_kind_fsync,
	kr_kind_allocate;

/* The receive buffers, lent to the kernel (io_uring_register_buf_ring(3)). */
struct kr_recv_ring {
	struct io_uring_buf_ring *ring;
	uint8_t *bytes;
	uint32_t count; /* a power of two */
};

struct kr_pipe {
	int read_fd; /* -1: to be made when taken */
	int write_fd;
	uint32_t size_bytes;
};

struct kr_pipes {
	struct kr_pipe *table;
	uint16_t *free;
	uint32_t count;
	uint32_t free_count;
	struct kr_op_list waiting;
	int null_fd;
};

struct kr_arena {
	uint8_t *bytes;
	uint32_t *free;
	bool *out;
	uint32_t count;
	uint32_t size_bytes;
	uint32_t free_count;
	bool registered;
	bool serving; /* a waiter's call-back runs */
	struct kr_waiter *first;
	struct kr_waiter *last;
	uint32_t waiting_count;
};

/* What other threads may touch, and nothing else of the ring. */
struct kr_inbox {
	_Atomic(struct kr_post *) newest;
	atomic_bool asleep;  /* the reactor, or it is about to */
	atomic_uint posting; /* threads inside kr_io_post or kr_io_stop */
	atomic_bool stop;
	int event_fd;
	uint64_t event_value; /* written by the kernel */
};

enum { KR_RING_METRICS = 14 };

struct kr_io {
	struct io_uring ring;
	struct kr_op_slots slots;
	struct kr_op_list waiting;  /* for a slot */
	struct kr_op_list runnable; /* have a step to take */
	struct kr_op_list cold;     /* the same, after them */
	struct kr_op_list finished; /* op->err is known, done() is due */
	struct kr_op_list paused;   /* listeners: out of descriptors */
	uint32_t active_count;      /* started and not done */
	uint32_t jobs_count;        /* in the work pool */
	uint32_t inline_bytes;      /* sent inline this turn */
	bool turning;
	bool closing;
	bool ring_is_open;
	bool sigpipe_was_blocked;
	uint64_t now_ns;
	uint64_t pause_said_ns; /* the log's last line about a pause */
	struct kr_timers timers;
	struct kr_recv_ring recv;
	struct kr_pipes pipes;
	struct kr_warm warm;
	struct kr_arena arena;
	struct kr_inbox inbox;
	int diag_fd; /* sock_diag(7), from the first kr_io_lead on; -1 */
	struct kr_work_pool *pool;
	struct kr_features features;
	struct kr_ring_stats stats;
	struct kr_ring_stats flushed; /* given to the metrics so far */
	struct kr_metric *metrics[KR_RING_METRICS];
};

/* ---- ring.c: requests */

/* Mark @op as started; the kind's step follows, now or when a slot is free.
 * The caller has filled in what the kind reads. */
void kr_op_start(struct kr_io *io, struct kr_op *op, enum kr_op_kind_id kind,
		 kr_op_done_fn *done);

/* The same for a request that is over before the kernel has seen it. */
void kr_op_start_finished(struct kr_io *io, struct kr_op *op,
			  enum kr_op_kind_id kind, kr_op_done_fn *done,
			  enum kr_err err);

/* Release the slot and call done(); only from a complete function. */
void kr_op_finish(struct kr_io *io, struct kr_op *op, enum kr_err err);

/* Finish before the turn ends; from anywhere. */
void kr_op_finish_later(struct kr_io *io, struct kr_op *op, enum kr_err err);

/* Have the kind's step called before the turn ends. */
void kr_op_run_later(struct kr_io *io, struct kr_op *op);

/* An SQE with the tag of @op; the caller prepares it with a prep function and
 * calls kr_op_tag_sqe after that. */
struct io_uring_sqe *kr_sqe_get(struct kr_io *io);
void kr_op_tag_sqe(const struct kr_op *op, struct io_uring_sqe *sqe);

/* Step: wait until op->fd is ready for @events (poll(2)). */
void kr_op_poll(struct kr_io *io, struct kr_op *op, unsigned events);

/* What a failed completion means: KR_E_CANCELED if the owner wanted that. */
enum kr_err kr_op_err(const struct kr_op *op, int res);
/* The same for -@errnum; never KR_AGAIN or KR_OK. */
enum kr_err kr_err_of(int errnum);

void kr_op_list_append(struct kr_op_list *list, struct kr_op *op);
void kr_op_list_remove(struct kr_op *op);

/* ---- the others: parts of struct kr_io */

/* A nonblocking TCP socket for @a, with TCP_NODELAY; -1 and errno. */
int kr_socket_open(const struct kr_addr *a);
void kr_socket_set_nodelay(int fd);

KR_NODISCARD enum kr_err kr_recv_ring_init(struct kr_io *io, uint32_t count);
void kr_recv_ring_fini(struct kr_io *io);

KR_NODISCARD enum kr_err kr_pipes_init(struct kr_pipes *ps, uint32_t count);
void kr_pipes_fini(struct kr_pipes *ps);
/* Is there a waiter that could be served now? */
bool kr_pipes_has_news(const struct kr_pipes *ps);
void kr_pipes_wake(struct kr_io *io);

KR_NODISCARD enum kr_err kr_arena_init(struct kr_io *io, uint32_t count,
				       uint32_t size_bytes);
void kr_arena_fini(struct kr_io *io);
/* Is all of @buf in the ring-registered arena? */
bool kr_arena_is_registered(const struct kr_arena *a, const uint8_t *buf,
			    uint32_t len_bytes);
/* Is there a waiter that could be served now? */
bool kr_arena_has_news(const struct kr_arena *a);
void kr_arena_wake(struct kr_io *io);

KR_NODISCARD enum kr_err kr_inbox_init(struct kr_inbox *in);
void kr_inbox_fini(struct kr_inbox *in);
void kr_inbox_arm(struct kr_io *io);
/* From now on a message wakes the reactor, until the next delivery.  False:
 * one is here already. */
bool kr_inbox_may_sleep(struct kr_inbox *in);
void kr_inbox_deliver(struct kr_io *io);

void kr_lead_init(struct kr_io *io);
void kr_lead_fini(struct kr_io *io);

/* Register the metrics; give them what was counted since. */
void kr_ring_stats_init(struct kr_io *io);
void kr_ring_stats_flush(struct kr_io *io);

/* user_data of SQEs that are no request's. */
#define KR_TAG_IGNORED UINT64_C(0xfffffffe)
#define KR_TAG_INBOX   UINT64_C(0xfffffffd)

#endif
