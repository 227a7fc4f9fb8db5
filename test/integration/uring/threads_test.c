#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

/* ---- posts */

enum { SENDERS = 4, POSTS = 5000 };

struct message {
	struct kr_post post;
	int sender;
	int number;
};

struct sender {
	pthread_t thread;
	struct kr_io *io;
	int index;
	struct message messages[POSTS];
	int received; /* on the reactor */
};

static struct sender senders[SENDERS];

static void receive(struct kr_post *p)
{
	struct message *m = (struct message *)p;
	struct sender *s = &senders[m->sender];

	assert_int_equal(m->number, s->received); /* in order, exactly once */
	s->received++;
}

static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < POSTS; i++) {
		s->messages[i].sender = s->index;
		s->messages[i].number = i;
		kr_io_post(s->io, &s->messages[i].post, receive);
	}
	return NULL;
}

static bool all_received(const void *ctx)
{
	(void)ctx;
	for (int i = 0; i < SENDERS; i++)
		if (senders[i].received < POSTS)
			return false;
	return true;
}

static void test_posts_of_four_threads_arrive_once_and_in_order(void **state)
{
	struct kr_io *io = open_ring(NULL);
	(void)state;

	for (int i = 0; i < SENDERS; i++) {
		senders[i].io = io;
		senders[i].index = i;
		assert_int_equal(pthread_create(&senders[i].thread, NULL,
						send_all, &senders[i]),
				 0);
	}
	turn_until(io, all_received, NULL);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	kr_ring_close(io);
}

/* ---- work */

enum { JOBS = 200 };

struct work {
	struct kr_job job;
	int number;
	pthread_t ran_on;
	int runs;
	int dones;
};

static struct work works[JOBS];
static int run_order[JOBS], runs_so_far; /* of one worker thread */
static int dones_so_far;
static pthread_t reactor;

static void run_work(struct kr_job *j)
{
	struct work *w = (struct work *)j;

	w->ran_on = pthread_self();
	w->runs++;
	run_order[runs_so_far++] = w->number;
}

static void run_beside_others(struct kr_job *j)
{
	struct work *w = (struct work *)j;

	w->ran_on = pthread_self();
	w->runs++;
}

static void work_is_done(struct kr_job *j)
{
	struct work *w = (struct work *)j;

	assert_true(pthread_equal(pthread_self(), reactor));
	w->dones++;
	dones_so_far++;
}

static bool all_is_done(const void *ctx)
{
	(void)ctx;
	return dones_so_far == JOBS;
}

static void work_off(uint32_t threads, kr_job_fn *run)
{
	struct kr_work_pool *pool = NULL;
	struct kr_ring_opts opts = { 0 };

	assert_ok(kr_work_pool_open(threads, &pool));
	opts.pool = pool;
	struct kr_io *io = open_ring(&opts);

	memset(works, 0, sizeof(works));
	runs_so_far = dones_so_far = 0;
	reactor = pthread_self();
	for (int i = 0; i < JOBS; i++) {
		works[i].number = i;
		kr_io_work(io, &works[i].job, run, work_is_done);
	}
	assert_int_equal(dones_so_far, 0);
	turn_until(io, all_is_done, NULL);
	for (int i = 0; i < JOBS; i++) {
		assert_int_equal(works[i].runs, 1);
		assert_int_equal(works[i].dones, 1);
		assert_false(pthread_equal(works[i].ran_on, reactor));
	}
	kr_ring_close(io);
	kr_work_pool_close(pool);
}

static void test_one_worker_runs_jobs_in_order_off_the_reactor(void **state)
{
	(void)state;
	work_off(1, run_work);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(run_order[i], i);
}

static void test_many_workers_run_each_job_once(void **state)
{
	(void)state;
	work_off(0, run_beside_others);
}

/* Closing at once waits for the jobs, and for the workers to have left the
 * ring. */
static void test_a_ring_closes_while_jobs_run(void **state)
{
	struct kr_work_pool *pool = NULL;
	(void)state;

	assert_ok(kr_work_pool_open(3, &pool));
	for (int round = 0; round < 20; round++) {
		const struct kr_ring_opts opts = { .pool = pool };
		struct kr_io *io = open_ring(&opts);

		memset(works, 0, sizeof(works));
		dones_so_far = 0;
		for (int i = 0; i < JOBS; i++)
			kr_io_work(io, &works[i].job, run_beside_others,
				   work_is_done);
		kr_ring_close(io);
		assert_int_equal(dones_so_far, JOBS);
	}
	kr_work_pool_close(pool);
}

/* ---- stop */

static void *stop_it(void *arg)
{
	kr_io_stop(arg);
	return NULL;
}

static void test_stop_from_another_thread_ends_run(void **state)
{
	struct kr_io *io = open_ring(NULL);
	pthread_t thread;
	(void)state;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&thread, NULL, stop_it, io), 0);
		kr_io_run(io);
		pthread_join(thread, NULL);
	}
	kr_ring_close(io);
}

static void test_stop_before_run_is_not_lost(void **state)
{
	struct kr_io *io = open_ring(NULL);
	(void)state;

	kr_io_stop(io);
	kr_io_run(io);
	kr_ring_close(io);
}

static struct kr_io *signaled_io;

static void on_signal(int sig)
{
	(void)sig;
	kr_io_stop(signaled_io);
}

static void test_stop_from_a_signal_handler_ends_run(void **state)
{
	const struct sigaction stop = { .sa_handler = on_signal };
	const struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	struct sigaction before;
	(void)state;

	signaled_io = open_ring(NULL);
	assert_int_equal(sigaction(SIGALRM, &stop, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	kr_io_run(signaled_io);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	kr_ring_close(signaled_io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_posts_of_four_threads_arrive_once_and_in_order),
		cmocka_unit_test(
			test_one_worker_runs_jobs_in_order_off_the_reactor),
		cmocka_unit_test(test_many_workers_run_each_job_once),
		cmocka_unit_test(test_a_ring_closes_while_jobs_run),
		cmocka_unit_test(test_stop_from_another_thread_ends_run),
		cmocka_unit_test(test_stop_before_run_is_not_lost),
		cmocka_unit_test(test_stop_from_a_signal_handler_ends_run),
	};
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
