#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/log.h"
#include "core/metrics.h"

/* ---- cancelling: queued, in flight, over */

static void test_cancel_of_what_is_in_flight(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call calls[3] = { 0 };
	uint8_t bytes[64];
	int fds[3][2];
	(void)state;

	for (int i = 0; i < 3; i++)
		tcp_pair(fds[i]);
	start(kr_io_recv, io, &calls[0], fds[0][0]);
	start(kr_io_recv_into, io, &calls[1], fds[1][0], bytes, 64);
	start(kr_io_recv_all, io, &calls[2], fds[2][0], bytes, 64);
	turn_once(io);
	for (int i = 0; i < 3; i++) {
		kr_io_cancel(io, &calls[i].op);
		kr_io_cancel(io, &calls[i].op);
		assert_int_equal(calls[i].count, 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_err(finish(io, &calls[i]), KR_E_CANCELED);
		close_pair(fds[i]);
	}
	kr_ring_close(io);
}

static void test_cancel_before_the_kernel_has_seen_it(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv, io, &c, fds[0]);
	kr_io_cancel(io, &c.op);
	assert_err(finish(io, &c), KR_E_CANCELED);
	close_pair(fds);
	kr_ring_close(io);
}

static void test_cancel_of_a_receive_that_has_a_part(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	uint8_t bytes[64];
	int fds[2];
	(void)state;

	tcp_pair(fds);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	start(kr_io_recv_all, io, &c, fds[0], bytes, 64);
	turn_once(io);
	kr_io_cancel(io, &c.op);
	assert_err(finish(io, &c), KR_E_CANCELED);
	close_pair(fds);
	kr_ring_close(io);
}

static void test_cancel_of_a_send_that_stalls(void **state)
{
	enum { LEN = 32 << 20 };
	struct kr_io *io = open_ring(NULL);
	uint8_t *bytes = calloc(1, LEN);
	struct call c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_send, io, &c, fds[0], bytes, LEN);
	turn_once(io);
	kr_io_cancel(io, &c.op);
	assert_err(finish(io, &c), KR_E_CANCELED);
	close_pair(fds);
	free(bytes);
	kr_ring_close(io);
}

static void test_cancel_of_an_idle_request_is_nothing(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	(void)state;

	kr_io_cancel(io, &c.op);
	turn_once(io);
	assert_int_equal(c.count, 0);
	kr_ring_close(io);
}

/* A listener with a full backlog does not answer. */
static void test_cancel_of_a_connect_closes_its_socket(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 0);
	int filler[8], before;
	(void)state;

	assert_int_equal(bind(l, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(l, 0), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
	for (int i = 0; i < 8; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(filler[i], (struct sockaddr *)&sa, len);
	}
	before = dup(l);
	close(before);
	const struct kr_addr to = loopback(ntohs(sa.sin_port));

	start(kr_io_connect, io, &c, &to);
	turn_once(io);
	assert_int_equal(c.count, 0);
	assert_int_equal(fcntl(before, F_GETFD), 0 | FD_CLOEXEC);
	kr_io_cancel(io, &c.op);
	assert_err(finish(io, &c), KR_E_CANCELED);
	assert_int_equal(fcntl(before, F_GETFD), -1);
	for (int i = 0; i < 8; i++)
		close(filler[i]);
	close(l);
	kr_ring_close(io);
}

/* ---- limits */

static void test_requests_beyond_the_slots_wait_in_order(void **state)
{
	enum { N = 6, SLOTS = 2 };
	const struct kr_ring_opts opts = { .ops_max = SLOTS };
	struct kr_io *io = open_ring(&opts);
	struct kr_ring_stats stats;
	struct call calls[N] = { 0 };
	int fds[N][2];
	(void)state;

	for (int i = 0; i < N; i++) {
		tcp_pair(fds[i]);
		start(kr_io_recv, io, &calls[i], fds[i][0]);
		assert_int_equal(send(fds[i][1], "x", 1, 0),
				 1); /* ready, but unknown to the kernel */
	}
	kr_ring_stats_get(io, &stats);
	assert_int_equal(stats.slot_waits, N - SLOTS);
	kr_io_cancel(io, &calls[N - 1].op);
	for (int i = 0; i < N - 1; i++) {
		assert_ok(finish(io, &calls[i]));
		if (i + SLOTS < N - 1)
			assert_int_equal(calls[N - 2].count, 0);
	}
	assert_err(finish(io, &calls[N - 1]), KR_E_CANCELED);
	for (int i = 0; i < N; i++)
		close_pair(fds[i]);
	kr_ring_close(io);
}

static void test_more_starts_than_the_submission_queue_holds(void **state)
{
	enum { N = 3000 };
	static struct call calls[N];
	static uint8_t bytes[N];
	struct kr_io *io = open_ring(NULL);
	int file = make_file(N);
	(void)state;

	for (uint32_t i = 0; i < N; i++)
		start(kr_io_read, io, &calls[i], file, &bytes[i], 1, i);
	for (uint32_t i = 0; i < N; i++) {
		assert_ok(finish(io, &calls[i]));
		assert_int_equal(bytes[i], pattern(i));
	}
	close(file);
	kr_ring_close(io);
}

/* ---- closing */

static void job_run(struct kr_job *j)
{
	(void)j;
}

static int jobs_done;

static void job_done(struct kr_job *j)
{
	(void)j;
	jobs_done++;
}

static struct kr_io *restarting_io;
static int restart_fd;

static void start_again(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct call *c = (struct call *)op;
	(void)n;

	assert_err(err, KR_E_CANCELED);
	if (c->count++ == 0)
		kr_io_recv(restarting_io, op, restart_fd, start_again);
}

static void test_close_ends_everything_in_flight(void **state)
{
	struct kr_work_pool *pool = NULL;
	struct kr_ring_opts opts = { .pipe_count = 1 };
	struct kr_job job = { 0 };
	struct call recv_call = { 0 }, all = { 0 }, out = { 0 }, file = { 0 },
		    cold = { 0 }, again = { 0 };
	struct kr_timer timer = { 0 };
	static uint8_t bytes[32 << 20];
	int fds[2], fd = make_file(8 << 20);
	(void)state;

	assert_ok(kr_work_pool_open(1, &pool));
	opts.pool = pool;
	struct kr_io *io = open_ring(&opts);

	jobs_done = 0;
	tcp_pair(fds);
	make_cold(fd);
	restarting_io = io;
	restart_fd = fds[0];
	start(kr_io_recv, io, &recv_call, fds[0]);
	start(kr_io_recv_all, io, &all, fds[0], bytes, 64);
	start(kr_io_send, io, &out, fds[0], bytes, sizeof(bytes));
	start(kr_io_send_file, io, &file, fds[0], fd, 0, 8 << 20);
	start(kr_io_send_file, io, &cold, fds[0], fd, 4 << 20, 4 << 20);
	kr_io_recv(io, &again.op, fds[0], start_again);
	kr_io_timer_set(io, &timer, UINT64_MAX - 1, deadline_passed);
	turn_once(io);
	kr_io_work(io, &job, job_run, job_done);
	kr_ring_close(io);
	assert_int_equal(recv_call.count, 1);
	assert_err(recv_call.err, KR_E_CANCELED);
	assert_int_equal(all.count, 1);
	assert_err(all.err, KR_E_CANCELED);
	assert_int_equal(out.count, 1);
	assert_int_equal(file.count, 1);
	assert_int_equal(cold.count, 1);
	assert_int_equal(again.count, 2);
	assert_int_equal(jobs_done, 1);
	assert_int_equal(timer.heap_index, 0);
	close_pair(fds);
	close(fd);
	kr_work_pool_close(pool);
}

static void test_close_without_a_turn(void **state)
{
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	start(kr_io_recv, io, &c, fds[0]);
	kr_ring_close(io);
	assert_int_equal(c.count, 1);
	assert_err(c.err, KR_E_CANCELED);
	kr_ring_close(NULL);
	close_pair(fds);
}

static void test_descriptors_are_all_closed(void **state)
{
	int before = dup(0), after;
	(void)state;

	close(before);
	for (int i = 0; i < 20; i++)
		kr_ring_close(open_ring(NULL));
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void test_a_pending_sigpipe_does_not_outlive_the_ring(void **state)
{
	struct kr_io *io = open_ring(NULL);
	sigset_t set;
	(void)state;

	raise(SIGPIPE);
	sigpending(&set);
	assert_int_equal(sigismember(&set, SIGPIPE), 1);
	kr_ring_close(io);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGPIPE), 0);
}

/* ---- refusals */

static void test_opening_without_descriptors_says_so(void **state)
{
	const struct kr_ring_opts opts = { 0 };
	struct rlimit before, none;
	struct kr_io *io = NULL;
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	const int first_free = dup(0);

	close(first_free);
	for (int more = 0; more < 34; more++) {
		none = before;
		none.rlim_cur = (rlim_t)(first_free + more);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		assert_err(kr_ring_open(&opts, &io), KR_E_NOFILE);
		assert_null(io);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	kr_ring_close(open_ring(NULL));
}

static void forbid_io_uring(void)
{
	struct sock_filter rules[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0,
		  offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	const struct sock_fprog prog = { .len = 4, .filter = rules };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(90);
}

static void test_a_seccomp_profile_is_named_in_the_refusal(void **state)
{
	char text[KR_LOG_LINE_MAX] = "";
	int fds[2], status = 0;
	(void)state;

	assert_int_equal(pipe(fds), 0);
	const pid_t child = fork();

	if (child == 0) {
		const struct kr_ring_opts opts = { 0 };
		struct kr_io *io = NULL;

		kr_log_set_fd(fds[1]);
		forbid_io_uring();
		_exit((int)kr_ring_open(&opts, &io));
	}
	close(fds[1]);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), KR_E_UNSUPPORTED);
	assert_non_null(strstr(text, "seccomp"));
	close(fds[0]);
}

static void test_the_metrics_count_what_the_stats_count(void **state)
{
	struct kr_metric *m =
		kr_metrics_counter("kraken_io_received_bytes_total", "", NULL);
	const int64_t before = kr_metric_value(m);
	struct kr_io *io = open_ring(NULL);
	struct call c = { 0 };
	int fds[2];
	(void)state;

	tcp_pair(fds);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	start(kr_io_recv, io, &c, fds[0]);
	assert_ok(finish(io, &c));
	assert_int_equal(kr_metric_value(m) - before, 3);
	close_pair(fds);
	kr_ring_close(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancel_of_what_is_in_flight),
		cmocka_unit_test(test_cancel_before_the_kernel_has_seen_it),
		cmocka_unit_test(test_cancel_of_a_receive_that_has_a_part),
		cmocka_unit_test(test_cancel_of_a_send_that_stalls),
		cmocka_unit_test(test_cancel_of_an_idle_request_is_nothing),
		cmocka_unit_test(test_cancel_of_a_connect_closes_its_socket),
		cmocka_unit_test(test_requests_beyond_the_slots_wait_in_order),
		cmocka_unit_test(
			test_more_starts_than_the_submission_queue_holds),
		cmocka_unit_test(test_close_ends_everything_in_flight),
		cmocka_unit_test(test_close_without_a_turn),
		cmocka_unit_test(test_descriptors_are_all_closed),
		cmocka_unit_test(
			test_a_pending_sigpipe_does_not_outlive_the_ring),
		cmocka_unit_test(test_opening_without_descriptors_says_so),
		cmocka_unit_test(
			test_a_seccomp_profile_is_named_in_the_refusal),
		cmocka_unit_test(test_the_metrics_count_what_the_stats_count),
	};
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
