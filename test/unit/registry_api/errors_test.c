#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/errors.h"

static char *body(enum kr_oci_code code, const char *message,
		  const char *detail)
{
	struct kr_buf b;

	kr_buf_init(&b, 4096);
	assert_int_equal(kr_oci_body(&b, code, message, detail), KR_OK);
	assert_int_equal(kr_buf_append(&b, "", 1), KR_OK);
	return (char *)b.ptr;
}

static void test_a_body_has_the_form_of_the_specification(void **state)
{
	char *text = body(KR_OCI_MANIFEST_UNKNOWN, NULL, NULL);
	(void)state;

	assert_string_equal(
		text, "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\","
		      "\"message\":\"manifest unknown to registry\"}]}\n");
	free(text);
	text = body(KR_OCI_MANIFEST_BLOB_UNKNOWN, "gone", "{\"a\":1}");
	assert_string_equal(text,
			    "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\","
			    "\"message\":\"gone\",\"detail\":{\"a\":1}}]}\n");
	free(text);
}

static void test_messages_are_escaped(void **state)
{
	char *text = body(KR_OCI_DENIED, "a\"b\\c\n\x80", NULL);
	(void)state;

	assert_string_equal(text, "{\"errors\":[{\"code\":\"DENIED\","
				  "\"message\":\"a\\\"b\\\\c??\"}]}\n");
	free(text);
}

static void test_every_code_has_name_status_and_text(void **state)
{
	(void)state;
	for (int i = 0; i < KR_OCI_COUNT; i++) {
		const enum kr_oci_code c = (enum kr_oci_code)i;
		assert_non_null(kr_oci_name(c));
		assert_true(kr_oci_text(c)[0] != '\0');
		assert_in_range(kr_oci_status(c), 400, 599);
		assert_string_not_equal(kr_http_reason(kr_oci_status(c)),
					"Unknown");
	}
}

static void test_no_error_of_ours_says_too_many_requests(void **state)
{
	(void)state;
	for (int e = KR_OK + 1; e < KR_ERR_COUNT; e++) {
		const enum kr_oci_code c =
			kr_oci_from_err((enum kr_err)e, KR_OCI_BLOB_UNKNOWN);
		assert_int_not_equal(kr_oci_status(c), 429);
	}
}

static void test_errors_map_to_what_a_client_can_act_on(void **state)
{
	static const struct {
		enum kr_err err;
		int status;
	} cases[] = {
		{ KR_E_NOTFOUND, 404 }, { KR_E_UNAVAILABLE, 503 },
		{ KR_E_TIMEDOUT, 503 }, { KR_E_BUSY, 503 },
		{ KR_E_NOSPC, 507 },    { KR_E_DIGEST, 400 },
		{ KR_E_TOOBIG, 413 },   { KR_E_RANGE, 416 },
		{ KR_E_DENIED, 403 },   { KR_E_UNSUPPORTED, 405 },
		{ KR_E_IO, 500 },       { KR_E_CORRUPT, 500 },
		{ KR_E_NOMEM, 503 },    { KR_E_CANCELED, 503 },
		{ KR_E_INVALID, 400 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(kr_oci_status(kr_oci_from_err(
					 cases[i].err, KR_OCI_NAME_UNKNOWN)),
				 cases[i].status);
}

static void test_a_body_that_does_not_fit_is_an_error(void **state)
{
	struct kr_buf b;
	(void)state;

	for (size_t max = 0; max < 60; max++) {
		kr_buf_init(&b, max);
		assert_int_equal(kr_oci_body(&b, KR_OCI_DENIED, "x\"y", "{}"),
				 KR_E_TOOBIG);
		kr_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_body_has_the_form_of_the_specification),
		cmocka_unit_test(test_messages_are_escaped),
		cmocka_unit_test(test_every_code_has_name_status_and_text),
		cmocka_unit_test(test_no_error_of_ours_says_too_many_requests),
		cmocka_unit_test(test_errors_map_to_what_a_client_can_act_on),
		cmocka_unit_test(test_a_body_that_does_not_fit_is_an_error),
	};
	return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
