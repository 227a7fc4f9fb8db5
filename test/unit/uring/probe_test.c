#include "test/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "uring/probe.h"

static const char *explain(int errnum, int disabled)
{
	static char text[KR_PROBE_TEXT_MAX];

	return kr_probe_explain(errnum, disabled, "5.10.0-test", text);
}

static void test_a_refusal_names_its_likely_cause(void **state)
{
	(void)state;
	assert_non_null(strstr(explain(EPERM, 2), "io_uring_disabled is 2"));
	assert_non_null(strstr(explain(EPERM, 1), "io_uring_group"));
	assert_non_null(strstr(explain(EPERM, 0), "seccomp"));
	assert_non_null(strstr(explain(EPERM, -1), "seccomp"));
	assert_non_null(strstr(explain(ENOSYS, -1), "no io_uring"));
	assert_non_null(strstr(explain(EINVAL, 0), "too old"));
}

static void test_a_refusal_names_the_kernel(void **state)
{
	(void)state;
	assert_non_null(strstr(explain(EINVAL, 0), "Linux 5.10.0-test"));
	assert_non_null(strstr(explain(EIO, 0), "errno 5"));
}

static void test_only_required_features_refuse(void **state)
{
	struct kr_features f;
	(void)state;

	const int null_fd = open("/dev/null", O_WRONLY);

	kr_log_set_fd(null_fd);
	kr_probe_init(&f);
	for (int i = 0; i < KR_FEATURE_COUNT; i++)
		f.row[i].have = true;
	assert_int_equal(kr_probe_judge(&f), KR_OK);
	for (int i = 0; i < KR_FEATURE_COUNT; i++) {
		f.row[i].have = false;
		assert_int_equal(kr_probe_judge(&f),
				 f.row[i].required ? KR_E_UNSUPPORTED : KR_OK);
		f.row[i].have = true;
	}
	kr_log_set_fd(2);
	close(null_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refusal_names_its_likely_cause),
		cmocka_unit_test(test_a_refusal_names_the_kernel),
		cmocka_unit_test(test_only_required_features_refuse),
	};
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
