#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/head.h"

static enum kr_err parse(const char *text, struct kr_head *h)
{
	return kr_head_parse((const uint8_t *)text, strlen(text), 0, h);
}

static char *rewrite(const char *text)
{
	struct kr_head h;
	struct kr_buf b;

	assert_int_equal(parse(text, &h), KR_OK);
	kr_buf_init(&b, 4096);
	assert_int_equal(kr_head_rewrite(&h, &b), KR_OK);
	assert_int_equal(kr_buf_append(&b, "", 1), KR_OK);
	return (char *)b.ptr;
}

#define LINE "PATCH /v2/a?x=1 HTTP/1.1\r\nHost: h\r\n"

static void test_a_head_says_what_the_gate_needs(void **state)
{
	struct kr_head h;
	(void)state;

	assert_int_equal(parse(LINE "Content-Length: 12\r\n"
				    "Expect: 100-Continue\r\n\r\nBODY",
			       &h),
			 KR_OK);
	assert_int_equal(h.method, KR_PATCH);
	assert_int_equal(h.path.len, 5);
	assert_memory_equal(h.path.ptr, "/v2/a", 5);
	assert_int_equal(h.query.len, 3);
	assert_int_equal(h.framing, KR_BODY_LENGTH);
	assert_true(h.body_len == 12);
	assert_true(h.wants_continue);
	assert_int_equal(h.minor_version, 1);
	assert_int_equal(kr_head_field(&h, "host").len, 1);
	assert_int_equal(kr_head_field(&h, "cookie").len, 0);
}

static void test_a_head_may_come_in_any_pieces(void **state)
{
	static const char text[] = LINE "Transfer-Encoding: chunked\r\n\r\n";
	struct kr_head h;
	(void)state;

	for (size_t n = 0; n + 1 < sizeof(text) - 1; n++)
		assert_int_equal(kr_head_parse((const uint8_t *)text, n,
					       n > 0 ? n - 1 : 0, &h),
				 KR_AGAIN);
	assert_int_equal(parse(text, &h), KR_OK);
	assert_int_equal(h.head_len, sizeof(text) - 1);
	assert_int_equal(h.framing, KR_BODY_CHUNKED);
}

static void test_ambiguous_heads_are_refused(void **state)
{
	static const char *const bad[] = {
		LINE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		LINE "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		LINE "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
		LINE "Content-Length: 1, 1\r\n\r\n",
		LINE "Content-Length: +1\r\n\r\n",
		LINE "Content-Length: 0x10\r\n\r\n",
		LINE "Content-Length:\r\n\r\n",
		LINE "Content-Length: 99999999999999999999999\r\n\r\n",
		LINE "Transfer-Encoding: gzip\r\n\r\n",
		LINE "Transfer-Encoding: gzip, chunked\r\n\r\n",
		LINE "Transfer-Encoding: chunked\r\n"
		     "Transfer-Encoding: identity\r\n\r\n",
		LINE "X: a\r\n b\r\n\r\n",
		LINE "Host: other\r\n\r\n",
		LINE "X : a\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		" / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"\x16\x03\x01\x02 hello\r\n\r\n",
	};
	struct kr_head h;
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], &h), KR_E_PROTO);
}

static void test_an_endless_head_is_refused(void **state)
{
	char *text = malloc(KR_HEAD_BYTES_MAX + 1);
	struct kr_head h;
	(void)state;

	assert_non_null(text);
	memset(text, 'a', KR_HEAD_BYTES_MAX + 1);
	memcpy(text, "GET /", 5);
	assert_int_equal(
		kr_head_parse((uint8_t *)text, KR_HEAD_BYTES_MAX - 1, 0, &h),
		KR_AGAIN);
	assert_int_equal(
		kr_head_parse((uint8_t *)text, KR_HEAD_BYTES_MAX, 0, &h),
		KR_E_TOOBIG);
	free(text);
}

static void test_what_frames_a_body_is_not_passed_on(void **state)
{
	char *text = rewrite(LINE "content-LENGTH: 5\r\nX-A:  b \r\n"
				  "Expect: 100-continue\r\nUpgrade: h2c\r\n"
				  "Connection: close\r\n\r\n");
	(void)state;

	assert_string_equal(text, "PATCH /v2/a?x=1 HTTP/1.1\r\nHost: h\r\n"
				  "X-A: b\r\nConnection: close\r\n\r\n");
	free(text);
}

static void test_the_version_and_an_empty_query_are_kept(void **state)
{
	char *text = rewrite("GET /a? HTTP/1.0\r\n\r\n");
	(void)state;

	assert_string_equal(text, "GET /a? HTTP/1.0\r\n\r\n");
	free(text);
	text = rewrite("GET /a HTTP/1.0\r\n\r\n");
	assert_string_equal(text, "GET /a HTTP/1.0\r\n\r\n");
	free(text);
}

static void test_a_later_minor_version_is_treated_as_ours(void **state)
{
	char *text = rewrite("GET /a HTTP/1.7\r\nHost: h\r\n\r\n");
	(void)state;

	assert_string_equal(text, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	free(text);
}

static void test_an_unknown_expectation_is_noted(void **state)
{
	struct kr_head h;
	(void)state;

	assert_int_equal(parse(LINE "Expect: gold\r\n\r\n", &h), KR_OK);
	assert_true(h.unknown_expectation);
	assert_false(h.wants_continue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_head_says_what_the_gate_needs),
		cmocka_unit_test(test_a_head_may_come_in_any_pieces),
		cmocka_unit_test(test_ambiguous_heads_are_refused),
		cmocka_unit_test(test_an_endless_head_is_refused),
		cmocka_unit_test(test_what_frames_a_body_is_not_passed_on),
		cmocka_unit_test(test_the_version_and_an_empty_query_are_kept),
		cmocka_unit_test(test_a_later_minor_version_is_treated_as_ours),
		cmocka_unit_test(test_an_unknown_expectation_is_noted),
	};
	return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
