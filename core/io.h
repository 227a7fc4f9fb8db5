/*
 * core/io.h - the only door to the outside world: sockets, files, timers,
 * other threads.
 *
 * Declared once, here; defined by uring/ for every program (and by a simulated
 * machine where a simulation wants the glue code too).  Folders above core
 * include this header and never uring's own, so control/ can be run without a
 * kernel.
 *
 * A request is a struct kr_op embedded in whatever is waiting for it.  The
 * caller owns it, zeroes it before first use, fills nothing in, and must not
 * touch it, nor the buffer it names, until done() is called.  done() is called exactly once per request,
 * never from inside the call that started it, always on the reactor thread.
 * From done() the op may be started again.
 *
 *	        start          submit             complete
 *	idle ----------> queued ------> in flight ----------> done() -> idle
 *	                    |  kr_io_cancel   |
 *	                    +-----------------+--> done(KR_E_CANCELED) or the
 *	                                           result that was faster
 *
 * Threads: everything here belongs to the reactor thread that runs the kr_io,
 * except kr_io_post and kr_io_stop, which any thread may call.
 *
 * Back-pressure is not re-arming: nothing is received or accepted unless the
 * owner asked for it.
 */
#ifndef KR_CORE_IO_H
#define KR_CORE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"

struct kr_io;
struct kr_op;
struct kr_op_list;

/* @n is what moved (bytes), or the descriptor for connect; it means something
 * only with KR_OK. */
typedef void kr_op_done_fn(struct kr_op *op, enum kr_err err, uint32_t n);

struct kr_op { /* fields are private to the implementation of kr_io */
	kr_op_done_fn *done;
	uint32_t slot;
	uint32_t generation;
	bool busy;
	bool canceled;
	uint8_t kind;
	uint8_t stage;
	uint16_t pipe;
	enum kr_err err;
	int fd;
	int file_fd;
	uint8_t *buf;
	uint64_t offset_bytes;
	uint32_t len_bytes;
	uint32_t moved_bytes;
	uint32_t head_bytes; /* of buf, that go before the file's */
	uint32_t hot_bytes;  /* up to there the file was in memory */
	uint64_t hot_ns;     /* then */
	uint32_t pipe_bytes; /* of the file, in the pipe */
	uint32_t cold_bytes; /* to be sent as from a disk */
	struct kr_op *next;
	struct kr_op *prev;
	struct kr_op_list *list; /* where it waits, NULL: nowhere */
	void *extra;
};

struct kr_timer;
typedef void kr_timer_fn(struct kr_timer *t);
struct kr_timer { /* private; zero it before first use; see "timers" below */
	uint64_t at_ns;
	kr_timer_fn *fn;
	uint32_t heap_index; /* 1-based; 0: not set */
};

/* ---- sockets ------------------------------------------------------------
 *
 * Every socket made here is nonblocking, close-on-exec, TCP_NODELAY.
 * Descriptors from elsewhere (h2o's) must be nonblocking.  Closing is the
 * owner's, with close(2), once no op is in flight on the descriptor.
 */
struct kr_listener;

/* A connection came.  @fd is moved to the callee. */
typedef void kr_accept_fn(struct kr_listener *l, int fd,
			  const struct kr_addr *from);

/* Several reactors may listen on one port: the kernel then deals connections
 * out by a hash of their addresses (SO_REUSEPORT, socket(7)). */
enum kr_listen_share {
	KR_LISTEN_ALONE,
	KR_LISTEN_FIRST, /* fails as if alone; lets KR_LISTEN_MORE join */
	KR_LISTEN_MORE,  /* of the same user, on the port of a first */
};

struct kr_listener { /* private but share; zero it before first use */
	struct kr_op op;
	kr_accept_fn *on_accept;
	struct kr_io *io;
	int fd;
	struct kr_addr at; /* with the port the kernel chose */
	bool paused;
	struct kr_timer pause;
	enum kr_listen_share share; /* set by its owner before kr_io_listen */
	void *extra;
};

/*
 * Bind to @at (port 0: the kernel chooses, see l->at), listen, and call
 * @on_accept for each connection until kr_io_unlisten.  When the process is
 * out of descriptors, accepting pauses for 100 ms and says so in the log.
 *
 * KR_E_EXISTS  the address is in use
 * KR_E_DENIED  not permitted to bind
 * others       as errno says; nothing was kept
 */
KR_NODISCARD enum kr_err kr_io_listen(struct kr_io *io, struct kr_listener *l,
				      const struct kr_addr *at,
				      kr_accept_fn *on_accept);

/* Stop accepting and close the socket.  @l may be freed after the next turn
 * of the ring: the caller keeps it until kr_io_close. */
void kr_io_unlisten(struct kr_io *io, struct kr_listener *l);

/* Connect to @to.  With KR_OK, n is the descriptor, moved to the callee. */
void kr_io_connect(struct kr_io *io, struct kr_op *op, const struct kr_addr *to,
		   kr_op_done_fn *done);

/*
 * Receive what there is, into a buffer of the ring's own (so an idle
 * connection holds no memory).  In done(), kr_io_data(op) is the bytes: n >=
 * 1, at most KR_IO_RECV_MAX, borrowed until done() returns.
 * KR_E_CLOSED: orderly end of stream.
 */
enum { KR_IO_RECV_MAX = 16384 };
void kr_io_recv(struct kr_io *io, struct kr_op *op, int fd,
		kr_op_done_fn *done);
const uint8_t *kr_io_data(const struct kr_op *op);

/* Receive at least 1, at most @len bytes into @buf. */
void kr_io_recv_into(struct kr_io *io, struct kr_op *op, int fd, void *buf,
		     uint32_t len_bytes, kr_op_done_fn *done);

/* Receive exactly @len bytes into @buf, or fail (KR_E_CLOSED: the stream
 * ended before them). */
void kr_io_recv_all(struct kr_io *io, struct kr_op *op, int fd, void *buf,
		    uint32_t len_bytes, kr_op_done_fn *done);

/* Send all of @buf, or fail. */
void kr_io_send(struct kr_io *io, struct kr_op *op, int fd, const void *buf,
		uint32_t len_bytes, kr_op_done_fn *done);

/*
 * Wait until the other end has closed its half of the stream, or the
 * connection broke: what a client that waits for us does when it leaves.
 * Nothing is read, so it may run beside any other op on @fd.
 * KR_E_CLOSED; KR_OK never comes.
 */
void kr_io_wait_gone(struct kr_io *io, struct kr_op *op, int fd,
		     kr_op_done_fn *done);

/*
 * Keep no more than about @bytes in the send buffer of @fd.  0: as the kernel
 * likes again.  What lies in the reader's own buffer is another matter, see
 * kr_io_lead.
 */
void kr_io_limit_lead(int fd, uint32_t bytes);

/*
 * While @on, only full segments leave @fd (TCP_CORK, tcp(7)); off, what is left
 * goes out.  *is_corked is the caller's, false at first; nothing is done where
 * it says so already.
 */
void kr_io_cork(int fd, bool *is_corked, bool on);

/*
 * How many bytes that were sent on @fd has its reader not read yet, wherever
 * they are?  True: *ret says.  False: that cannot be known, because the reader
 * is on another host or in another network namespace.
 */
bool kr_io_lead(struct kr_io *io, int fd, uint32_t *ret_bytes);

/*
 * Send @len bytes of file @file_fd from @offset, all or fail, without a copy
 * through user space: spliced inline where the page cache has the bytes, by
 * the ring through a pipe where the disk must be asked first (ENGINE.md, "Disk
 * to socket").  KR_E_IO: the file ended before @len bytes.
 */
void kr_io_send_file(struct kr_io *io, struct kr_op *op, int fd, int file_fd,
		     uint64_t offset_bytes, uint32_t len_bytes,
		     kr_op_done_fn *done);

/*
 * The same, with @head_len bytes of @head before them: in one go with the
 * file's where the socket takes them, without a completion of their own.
 * @head is lent until done(), whose n counts the file's bytes only.
 */
void kr_io_send_headed(struct kr_io *io, struct kr_op *op, int fd,
		       const void *head, uint32_t head_len, int file_fd,
		       uint64_t offset_bytes, uint32_t len_bytes,
		       kr_op_done_fn *done);

/*
 * @file_fd, of which bytes were sent, is about to be closed: what was found of
 * its file in memory must not be taken for the next one's of that number.
 */
void kr_io_file_closes(struct kr_io *io, int file_fd);

/* ---- files --------------------------------------------------------------*/

/* Read up to @len bytes at @offset; n may be less only at the end of file. */
void kr_io_read(struct kr_io *io, struct kr_op *op, int file_fd, void *buf,
		uint32_t len_bytes, uint64_t offset_bytes, kr_op_done_fn *done);

/* Write all of @buf at @offset, or fail (KR_E_NOSPC: disk full). */
void kr_io_write(struct kr_io *io, struct kr_op *op, int file_fd,
		 const void *buf, uint32_t len_bytes, uint64_t offset_bytes,
		 kr_op_done_fn *done);

/* fdatasync(2) */
void kr_io_fsync(struct kr_io *io, struct kr_op *op, int file_fd,
		 kr_op_done_fn *done);

/*
 * Reserve space for the first @size bytes of the file, which grows to them
 * where it is shorter (fallocate(2)); what is in it stays.
 *
 * KR_E_NOSPC        the disk has no such space
 * KR_E_UNSUPPORTED  nor has its file system the means
 */
void kr_io_allocate(struct kr_io *io, struct kr_op *op, int file_fd,
		    uint64_t size_bytes, kr_op_done_fn *done);

/* Ask for @op to end early.  Its done() still comes, maybe with KR_OK.  Of an
 * idle op: nothing. */
void kr_io_cancel(struct kr_io *io, struct kr_op *op);

/* Is @op in flight? */
bool kr_op_busy(const struct kr_op *op);

/* ---- timers ---------------------------------------------------------------
 */

/* Call @fn once at @at_ns (monotonic) or soon after; replaces the last. */
void kr_io_timer_set(struct kr_io *io, struct kr_timer *t, uint64_t at_ns,
		     kr_timer_fn *fn);
void kr_io_timer_stop(struct kr_io *io, struct kr_timer *t);

/* Monotonic, refreshed once a turn. */
uint64_t kr_io_now_ns(const struct kr_io *io);

/* ---- other threads ------------------------------------------------------
 */
struct kr_post;
typedef void kr_post_fn(struct kr_post *p);
struct kr_post { /* private; embedded in the message */
	struct kr_post *next;
	kr_post_fn *fn;
};

/* From any thread: have @fn(@p) called on the reactor.  @p is lent until then.
 * Needs no memory, so it cannot fail; the number of messages is bounded by
 * their owners. */
void kr_io_post(struct kr_io *io, struct kr_post *p, kr_post_fn *fn);

/* Work that blocks or burns a core: hashing, fsync, rename, SQLite. */
struct kr_job;
typedef void kr_job_fn(struct kr_job *j);
struct kr_job { /* private; embedded in what the work is about */
	struct kr_post post;
	kr_job_fn *run;
	kr_job_fn *done;
	struct kr_io *io;
	struct kr_job *next;
};

/* Call @run(@j) on a thread of the work pool, then @done(@j) on the reactor.
 * @j is lent until done().  First in, first out over all workers. */
void kr_io_work(struct kr_io *io, struct kr_job *j, kr_job_fn *run,
		kr_job_fn *done);

/* ---- block buffers ------------------------------------------------------
 *
 * A fixed number of equal, page-aligned, where possible ring-registered
 * buffers for bulk bytes.  Running out is a normal answer: the caller stops
 * reading until kr_io_buffer_give; @wake is called on the reactor after a
 * buffer came back while somebody had been refused.
 */
uint32_t kr_io_buffer_size_bytes(const struct kr_io *io);
uint32_t kr_io_buffer_free_count(const struct kr_io *io);
uint8_t *kr_io_buffer_take(struct kr_io *io); /* NULL: all are out */
void kr_io_buffer_give(struct kr_io *io, uint8_t *buf);

struct kr_waiter;
typedef void kr_waiter_fn(struct kr_waiter *w);
struct kr_waiter { /* private; zero it before first use */
	struct kr_waiter *next;
	kr_waiter_fn *fn;
	bool waiting;
};
/* Call @fn once, on the reactor, when a buffer is free (first come first
 * served).  Of a waiter that waits already: nothing. */
void kr_io_buffer_wait(struct kr_io *io, struct kr_waiter *w, kr_waiter_fn *fn);
void kr_io_buffer_unwait(struct kr_io *io, struct kr_waiter *w);

/* ---- the loop -----------------------------------------------------------
 */

/* Submit what was started, wait for at least one completion, deliver all. */
void kr_io_turn(struct kr_io *io);

/* Turn until kr_io_stop. */
void kr_io_run(struct kr_io *io);

/* From any thread, or a signal handler: let kr_io_run return. */
void kr_io_stop(struct kr_io *io);

#endif
