/* Slices are asked for as sched_setattr(2) has it, and change nothing else. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/thread.h"

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static struct attr get(void)
{
	struct attr a;

	memset(&a, 0, sizeof(a));
	assert_return_code(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	return a;
}

static void *set_and_get(void *arg)
{
	struct attr *ret = arg;

	kr_thread_set_slice(UINT64_C(200000));
	ret[1] = get();
	return NULL;
}

/* What the kernel reports before tells whether it knows slices. */
static void a_thread_has_the_slice_it_asked_for_and_its_old_nice(void **state)
{
	struct attr a[2] = { get() };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, set_and_get, a), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(a[1].policy, a[0].policy);
	assert_int_equal(a[1].nice, a[0].nice);
	assert_int_equal(get().runtime, a[0].runtime); /* of this thread */
	if (a[0].runtime == 0) {
		print_message("this kernel has no slices (Linux 6.12)\n");
		skip();
	}
	assert_int_equal(a[1].runtime, 200000);
}

static void *count_on_one(void *arg)
{
	uint32_t *ret = arg;
	const size_t cpu = (size_t)sched_getcpu();
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	*ret = kr_thread_cores();
	return NULL;
}

static void test_cores_are_those_the_thread_may_run_on(void **state)
{
	const uint32_t all = kr_thread_cores();
	uint32_t one = 0;
	pthread_t thread;
	cpu_set_t set;
	(void)state;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(all, CPU_COUNT(&set));
	assert_int_equal(pthread_create(&thread, NULL, count_on_one, &one), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(one, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cores_are_those_the_thread_may_run_on),
		cmocka_unit_test(
			a_thread_has_the_slice_it_asked_for_and_its_old_nice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
