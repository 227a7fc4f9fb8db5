/*
 * uring/ring.h - open and close the io_uring implementation of core/io.h.
 *
 * One ring, one thread, one shard of state.  The ring is opened with
 * SINGLE_ISSUER | DEFER_TASKRUN | COOP_TASKRUN, so the thread that opens it
 * is the thread that runs it.
 */
#ifndef KR_URING_RING_H
#define KR_URING_RING_H

#include <stdint.h>

#include "core/err.h"
#include "core/io.h"

struct kr_work_pool;

struct kr_ring_opts {
	uint32_t ops_max;           /* requests in flight; 0: 16384 */
	uint32_t buffer_count;      /* block buffers; 0: 64 */
	uint32_t buffer_size_bytes; /* 0: 524288 */
	uint32_t recv_buffer_count; /* ring buffers of KR_IO_RECV_MAX; 0: 64 */
	uint32_t pipe_count;        /* pooled pipes for splice; 0: 16 */
	uint32_t iowq_workers_max;  /* kernel threads; 0: 8 */
	struct kr_work_pool *pool;  /* borrowed; may be shared by reactors */
};

/*
 * Open a ring for this thread.
 *
 * KR_E_UNSUPPORTED  the kernel lacks a required feature or forbids io_uring;
 *                   the log has said which, the likely cause (old kernel,
 *                   seccomp, kernel.io_uring_disabled) and what to do
 * KR_E_NOMEM, KR_E_NOFILE  nothing was kept
 */
KR_NODISCARD enum kr_err kr_ring_open(const struct kr_ring_opts *opts,
				      struct kr_io **ret);

/* Cancel what is in flight, deliver its done(), release everything. */
void kr_ring_close(struct kr_io *io);

/* The threads that run struct kr_job.  @threads 0: one per core, at least 2. */
KR_NODISCARD enum kr_err kr_work_pool_open(uint32_t threads,
					   struct kr_work_pool **ret);
/* Finish what is queued, join the threads. */
void kr_work_pool_close(struct kr_work_pool *pool);

#endif
