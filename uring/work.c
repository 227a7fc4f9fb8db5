/*
 * The threads that run what blocks or burns a core: one queue under one
 * mutex, first in, first out.  Jobs are coarse (a piece to hash, an fsync), so
 * the mutex is not on the data path.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/thread.h"
#include "uring/engine.h"

struct kr_work_pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct kr_job *first;
	struct kr_job *last;
	bool closing;
	uint32_t thread_count;
	pthread_t threads[];
};

static void job_is_done(struct kr_post *p)
{
	struct kr_job *j =
		(struct kr_job *)((char *)p - offsetof(struct kr_job, post));

	j->io->jobs_count--;
	j->done(j);
}

/* NULL: the pool closes and nothing is left. */
static struct kr_job *take_job(struct kr_work_pool *pool)
{
	struct kr_job *j;

	pthread_mutex_lock(&pool->lock);
	while (pool->first == NULL && !pool->closing)
		pthread_cond_wait(&pool->more, &pool->lock);
	j = pool->first;
	if (j != NULL) {
		pool->first = j->next;
		if (pool->first == NULL)
			pool->last = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	return j;
}

static void *worker_main(void *arg)
{
	struct kr_work_pool *pool = arg;
	struct kr_job *j;

	while ((j = take_job(pool)) != NULL) {
		j->run(j);
		kr_io_post(j->io, &j->post, job_is_done);
	}
	return NULL;
}

static void join_all(struct kr_work_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->more);
	pthread_mutex_unlock(&pool->lock);
	for (uint32_t i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->more);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static uint32_t default_threads(void)
{
	const uint32_t cores = kr_thread_cores();

	return cores > 2 ? cores : 2;
}

/* The workers take no signals: handlers run on the threads that expect it. */
static bool start_threads(struct kr_work_pool *pool, uint32_t count)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool->thread_count < count &&
	       pthread_create(&pool->threads[pool->thread_count], NULL,
			      worker_main, pool) == 0)
		pool->thread_count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool->thread_count == count;
}

enum kr_err kr_work_pool_open(uint32_t threads, struct kr_work_pool **ret)
{
	if (threads == 0)
		threads = default_threads();
	struct kr_work_pool *pool =
		calloc(1, sizeof(*pool) + threads * sizeof(pthread_t));

	if (pool == NULL)
		return KR_E_NOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	if (!start_threads(pool, threads)) {
		join_all(pool);
		return KR_E_NOMEM;
	}
	*ret = pool;
	return KR_OK;
}

void kr_work_pool_close(struct kr_work_pool *pool)
{
	if (pool != NULL)
		join_all(pool);
}

void kr_io_work(struct kr_io *io, struct kr_job *j, kr_job_fn *run,
		kr_job_fn *done)
{
	struct kr_work_pool *pool = io->pool;

	kr_assert(pool != NULL);
	j->run = run;
	j->done = done;
	j->io = io;
	j->next = NULL;
	io->jobs_count++;
	pthread_mutex_lock(&pool->lock);
	kr_assert(!pool->closing);
	if (pool->last != NULL)
		pool->last->next = j;
	else
		pool->first = j;
	pool->last = j;
	pthread_cond_signal(&pool->more);
	pthread_mutex_unlock(&pool->lock);
}
