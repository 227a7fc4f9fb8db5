#define _GNU_SOURCE
#include "test/support/test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_every_error_has_a_name_and_a_text(void **state)
{
	(void)state;

	for (int i = 0; i < KR_ERR_COUNT; i++) {
		assert_memory_equal(kr_err_name((enum kr_err)i), "KR_", 3);
		assert_true(strlen(kr_err_text((enum kr_err)i)) > 0);
	}
}

static void test_classes_say_what_to_do(void **state)
{
	(void)state;

	assert_int_equal(kr_err_class_of(KR_OK), KR_ERR_CLASS_NONE);
	assert_int_equal(kr_err_class_of(KR_E_PROTO), KR_ERR_CLASS_PEER);
	assert_int_equal(kr_err_class_of(KR_E_RESET), KR_ERR_CLASS_RETRY);
	assert_int_equal(kr_err_class_of(KR_E_NOSPC), KR_ERR_CLASS_RESOURCE);
	assert_int_equal(kr_err_class_of(KR_E_NOTFOUND), KR_ERR_CLASS_REQUEST);
	assert_int_equal(kr_err_class_of(KR_E_IO), KR_ERR_CLASS_LOCAL);
}

static void test_errno_becomes_what_it_means(void **state)
{
	(void)state;

	assert_err(kr_err_from_errno(0), KR_OK);
	assert_err(kr_err_from_errno(EAGAIN), KR_AGAIN);
	assert_err(kr_err_from_errno(ENOSPC), KR_E_NOSPC);
	assert_err(kr_err_from_errno(EMFILE), KR_E_NOFILE);
	assert_err(kr_err_from_errno(ECONNRESET), KR_E_RESET);
	assert_err(kr_err_from_errno(ENOENT), KR_E_NOTFOUND);
	assert_err(kr_err_from_errno(EIO), KR_E_IO);
	assert_err(kr_err_from_errno(99999), KR_E_IO);
}

static void test_a_failed_assertion_says_where_and_aborts(void **state)
{
	char said[256] = "";
	int fds[2], status = 0;
	(void)state;

	assert_int_equal(pipe(fds), 0);
	const pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		kr_assert(fds[0] < 0);
		_exit(0);
	}
	close(fds[1]);
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, "err_test.c:"));
	assert_non_null(strstr(said, "kr_assert(fds[0] < 0) failed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_has_a_name_and_a_text),
		cmocka_unit_test(test_classes_say_what_to_do),
		cmocka_unit_test(test_errno_becomes_what_it_means),
		cmocka_unit_test(test_a_failed_assertion_says_where_and_aborts),
	};
	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
