#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/link.h"

static void expect(const struct kr_link_param *params, size_t count,
		   const char *want)
{
	struct kr_buf b;

	kr_buf_init(&b, 1024);
	assert_int_equal(kr_link_next(&b, "/v2/_catalog", params, count),
			 KR_OK);
	assert_int_equal(kr_buf_append(&b, "", 1), KR_OK);
	assert_string_equal((char *)b.ptr, want);
	kr_buf_fini(&b);
}

static void test_parameters_follow_each_other(void **state)
{
	const struct kr_link_param params[] = { { "n", "2" },
						{ "last", "a/b" } };
	(void)state;

	expect(params, 2, "</v2/_catalog?n=2&last=a/b>; rel=\"next\"");
	expect(params, 1, "</v2/_catalog?n=2>; rel=\"next\"");
	expect(params, 0, "</v2/_catalog>; rel=\"next\"");
}

static void test_empty_parameters_are_left_out(void **state)
{
	const struct kr_link_param params[] = { { "n", "" },
						{ "last", "x" },
						{ "artifactType", "" } };
	(void)state;

	expect(params, 3, "</v2/_catalog?last=x>; rel=\"next\"");
}

/* A plus sign is a space to some, and nothing may end the link. */
static void test_what_could_be_misread_is_encoded(void **state)
{
	const struct kr_link_param params[] = { { "last",
						  "a+b c>\"&=%?\r\n\xff" } };
	(void)state;

	expect(params, 1,
	       "</v2/_catalog?last=a%2Bb%20c%3E%22%26%3D%25%3F%0D%0A%FF>;"
	       " rel=\"next\"");
}

static void test_a_link_that_does_not_fit_is_an_error(void **state)
{
	const struct kr_link_param params[] = { { "n", "2" } };
	struct kr_buf b;
	(void)state;

	for (size_t max = 0; max < 30; max++) {
		kr_buf_init(&b, max);
		assert_int_equal(kr_link_next(&b, "/v2/_catalog", params, 1),
				 KR_E_TOOBIG);
		kr_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parameters_follow_each_other),
		cmocka_unit_test(test_empty_parameters_are_left_out),
		cmocka_unit_test(test_what_could_be_misread_is_encoded),
		cmocka_unit_test(test_a_link_that_does_not_fit_is_an_error),
	};
	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
