#define _GNU_SOURCE
#include "test/support/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/log.h"

static int log_pipe[2];
static char text[8192];

static const char *logged(void)
{
	const ssize_t n = read(log_pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int open_log(void **state)
{
	(void)state;
	if (pipe2(log_pipe, O_NONBLOCK | O_CLOEXEC) != 0)
		return -1;
	kr_log_set_fd(log_pipe[1]);
	return 0;
}

static int close_log(void **state)
{
	(void)state;
	kr_log_set_fd(2);
	close(log_pipe[0]);
	close(log_pipe[1]);
	return 0;
}

static void test_the_soft_descriptor_limit_is_raised_to_the_hard(void **state)
{
	struct rlimit before, after;
	struct kr_limits l;
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	const struct rlimit low = { 64, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_ok(kr_limits_init(&l, 1000));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_true(after.rlim_cur == before.rlim_max);
	assert_true(l.nofile == before.rlim_max || l.nofile == UINT32_MAX);
	assert_int_equal(l.memory_bytes, 1000);
	assert_int_equal(l.row_count, 0);
}

static void test_only_memory_is_summed_and_the_sum_saturates(void **state)
{
	struct kr_limits l;
	(void)state;

	assert_ok(kr_limits_init(&l, 0));
	kr_limits_row(&l, "a", 100, KR_LIMIT_MEMORY_BYTES, NULL);
	kr_limits_row(&l, "b", 1000, KR_LIMIT_BYTES, NULL);
	kr_limits_row(&l, "c", 1000, KR_LIMIT_COUNT, NULL);
	kr_limits_row(&l, "d", 23, KR_LIMIT_MEMORY_BYTES, NULL);
	assert_int_equal(kr_limits_memory_sum(&l), 123);
	kr_limits_row(&l, "e", UINT64_MAX, KR_LIMIT_MEMORY_BYTES, NULL);
	assert_true(kr_limits_memory_sum(&l) == UINT64_MAX);
}

static void test_a_plan_within_the_budget_passes_in_silence(void **state)
{
	struct kr_limits l;
	(void)state;

	assert_ok(kr_limits_init(&l, 100));
	kr_limits_row(&l, "a", 100, KR_LIMIT_MEMORY_BYTES, NULL);
	assert_ok(kr_limits_check(&l));
	l.memory_bytes = 0; /* no budget, no bound */
	kr_limits_row(&l, "b", 100, KR_LIMIT_MEMORY_BYTES, NULL);
	assert_ok(kr_limits_check(&l));
	assert_string_equal(logged(), "");
}

static void test_a_plan_above_the_budget_names_the_largest_row(void **state)
{
	struct kr_limits l;
	(void)state;

	assert_ok(kr_limits_init(&l, 100));
	kr_limits_row(&l, "small", 50, KR_LIMIT_MEMORY_BYTES, "limits.small");
	kr_limits_row(&l, "large", 51, KR_LIMIT_MEMORY_BYTES, "limits.large");
	assert_err(kr_limits_check(&l), KR_E_CONFIG);
	logged();
	assert_non_null(strstr(text, "needed_bytes=101 budget_bytes=100 "
				     "largest=large largest_bytes=51 "
				     "config_key=limits.large\n"));
}

static void test_the_table_prints_a_line_per_row(void **state)
{
	struct kr_limits l;
	(void)state;

	assert_ok(kr_limits_init(&l, 0));
	kr_limits_row(&l, "peers", 12, KR_LIMIT_COUNT, "limits.peers");
	kr_limits_row(&l, "pieces", 3 << 20, KR_LIMIT_MEMORY_BYTES, NULL);
	kr_limits_row(&l, "manifest", 1025, KR_LIMIT_BYTES, NULL);
	kr_limits_row(&l, "reply", 2500000000, KR_LIMIT_NS, NULL);
	kr_limits_log(&l);
	logged();
	assert_non_null(strstr(text, "info limits host nofile="));
	assert_non_null(strstr(text, "limits peers value=12 memory=false "
				     "config_key=limits.peers\n"));
	assert_non_null(strstr(text, "limits pieces value=3MiB memory=true "
				     "config_key=fixed\n"));
	assert_non_null(strstr(text, "limits manifest value=1025B "));
	assert_non_null(strstr(text, "limits reply value=2500ms "));
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_log, close_log)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_soft_descriptor_limit_is_raised_to_the_hard),
		cmocka_unit_test(
			test_only_memory_is_summed_and_the_sum_saturates),
		LOG_TEST(test_a_plan_within_the_budget_passes_in_silence),
		LOG_TEST(test_a_plan_above_the_budget_names_the_largest_row),
		LOG_TEST(test_the_table_prints_a_line_per_row),
	};
	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
