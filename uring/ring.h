/*
 * uring/ring.h - open and close the io_uring implementation of core/io.h.
 *
 * One ring, one thread, one shard of state.  The ring is opened with
 * SINGLE_ISSUER | DEFER_TASKRUN | COOP_TASKRUN, so the thread that opens it
 * is the thread that runs it.
 *
 * SIGPIPE is blocked in that thread from kr_ring_open to kr_ring_close,
 * because sendfile(2) and splice(2) to a closed socket raise it and have no
 * MSG_NOSIGNAL.  A child that is exec'd from this thread inherits the mask.
 *
 * At the limits: more requests than ops_max wait for a free slot, first come
 * first served, before the kernel sees them; more cold file sends than
 * pipe_count wait for a pipe; timers_max is a fault of the program.
 */
#ifndef KR_URING_RING_H
#define KR_URING_RING_H

#include <stdint.h>

#include "core/err.h"
#include "core/io.h"

struct kr_work_pool;

struct kr_ring_opts {
	uint32_t ops_max;           /* requests in flight; 0: 16384 */
	uint32_t sq_entries;        /* submitted at a time; 0: 1024 */
	uint32_t buffer_count;      /* block buffers; 0: 32 */
	uint32_t buffer_size_bytes; /* 0: 1 MiB */
	uint32_t recv_buffer_count; /* ring buffers of KR_IO_RECV_MAX; 0: 64 */
	uint32_t pipe_count;        /* pooled pipes for splice; 0: 16 */
	uint32_t iowq_workers_max;  /* kernel threads; 0: 8 */
	uint32_t timers_max;        /* set at a time; 0: 262144 */
	struct kr_work_pool *pool;  /* borrowed; may be shared by reactors;
				     * NULL: kr_io_work must not be called */
};

/* What a ring did since it was opened; the same as the metrics kraken_io_*. */
struct kr_ring_stats {
	uint64_t turns;
	uint64_t completions;       /* of requests of ours */
	uint64_t stale_completions; /* of requests already over */
	uint64_t received_bytes;
	uint64_t sent_bytes;    /* copied from user memory */
	uint64_t spliced_bytes; /* file to socket, no copy by us */
	uint64_t splice_hot;    /* slices sent from the page cache */
	uint64_t splice_cold;   /* slices the disk was asked for */
	uint64_t accept_pauses; /* out of descriptors */
	uint64_t recv_starved;  /* no receive buffer: armed again */
	uint64_t slot_waits;    /* requests that found all slots used */
	uint64_t pipe_waits;    /* cold slices that found all pipes used */
	uint64_t read_bytes;    /* kr_io_read */
	uint64_t written_bytes; /* kr_io_write */
};

/*
 * Open a ring for this thread.
 *
 * @ret  owned by the caller; release it with kr_ring_close
 *
 * KR_E_UNSUPPORTED  the kernel lacks a required feature or forbids io_uring;
 *                   the log has said which, the likely cause (old kernel,
 *                   seccomp, kernel.io_uring_disabled) and what to do
 * KR_E_NOMEM, KR_E_NOFILE  nothing was kept
 */
KR_NODISCARD enum kr_err kr_ring_open(const struct kr_ring_opts *opts,
				      struct kr_io **ret);

/*
 * Cancel what is in flight, deliver its done(), wait for and deliver the jobs
 * of kr_io_work, release everything; listeners still open are closed.  Not
 * from inside a call-back.  What is started meanwhile ends with
 * KR_E_CANCELED.  Timers still set are unset.  Other threads must have
 * stopped to call kr_io_post and kr_io_stop.  NULL is fine.
 */
void kr_ring_close(struct kr_io *io);

void kr_ring_stats_get(const struct kr_io *io, struct kr_ring_stats *ret);

/* The threads that run struct kr_job.  @threads 0: one per core, at least 2. */
KR_NODISCARD enum kr_err kr_work_pool_open(uint32_t threads,
					   struct kr_work_pool **ret);
/* Finish what is queued, join the threads. */
void kr_work_pool_close(struct kr_work_pool *pool);

#endif
