#include <stdio.h>
#include <string.h>

#include "control/upload_chunked.h"
#include "test/support/test.h"

/* Decode @text cut into runs of @step bytes; what follows the end goes to
 * @rest. */
static enum kr_err decode(const char *text, size_t step, char *body, char *rest)
{
	const size_t len = strlen(text);
	struct kr_chunked c;
	uint8_t buf[16384];
	size_t used, data;

	kr_chunked_init(&c);
	*body = *rest = '\0';
	for (size_t at = 0; at < len; at += step) {
		const size_t n = len - at < step ? len - at : step;

		if (kr_chunked_ended(&c)) {
			strncat(rest, text + at, n);
			continue;
		}
		memcpy(buf, text + at, n);
		const enum kr_err err =
			kr_chunked_decode(&c, buf, n, &used, &data);

		strncat(body, (const char *)buf, data);
		if (err != KR_OK)
			return err;
		assert_true(used == n || kr_chunked_ended(&c));
		strncat(rest, (const char *)buf + used, n - used);
	}
	return kr_chunked_ended(&c) ? KR_OK : KR_AGAIN;
}

static void assert_decodes(const char *text, const char *body, const char *rest)
{
	char got[16384], left[16384];

	for (size_t step = 1; step <= strlen(text); step++) {
		assert_ok(decode(text, step, got, left));
		assert_string_equal(got, body);
		assert_string_equal(left, rest);
	}
}

static void assert_refused(const char *text)
{
	char got[16384], left[16384];

	for (size_t step = 1; step <= strlen(text); step++)
		assert_err(decode(text, step, got, left), KR_E_PROTO);
}

static void test_chunks_become_a_body_at_every_cut(void **state)
{
	(void)state;
	assert_decodes("4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n", "Wikipedia", "");
	assert_decodes("0\r\n\r\n", "", "");
	assert_decodes("1\nx\n0\n\n", "x", "");
	assert_decodes("00a\r\n0123456789\r\n000\r\n\r\n", "0123456789", "");
	assert_decodes("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "");
}

static void test_what_follows_the_end_is_left(void **state)
{
	(void)state;
	assert_decodes("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "x",
		       "GET / HTTP/1.1\r\n");
}

static void test_extensions_and_trailers_are_passed_over(void **state)
{
	(void)state;
	assert_decodes("2;a=b;c=\"d\"\r\nhi\r\n0;last\r\nX-Y: z\r\nQ: "
		       "\r\n\r\nrest",
		       "hi", "rest");
}

static void test_what_is_not_the_coding_is_refused(void **state)
{
	(void)state;
	assert_refused("\r\n");
	assert_refused("x\r\n");
	assert_refused(";a\r\n");
	assert_refused("-1\r\n");
	assert_refused("2\r\nhix\r\n");
	assert_refused("2\r\nhi\rx");
	assert_refused("1 \r\nx0");
	assert_refused("0\r\n\rx");
	assert_refused("1000000000000000\r\n");
}

static void test_heads_and_trailers_are_bounded(void **state)
{
	char text[KR_CHUNK_TRAILER_MAX + 64], got[16384], left[16384];
	(void)state;

	memset(text, 'x', sizeof(text));
	memcpy(text, "1;", 2);
	text[KR_CHUNK_HEAD_MAX + 1] = '\0';
	assert_err(decode(text, 100, got, left), KR_E_PROTO);
	text[KR_CHUNK_HEAD_MAX] = '\0';
	assert_err(decode(text, 100, got, left), KR_AGAIN);
	memset(text, 'x', sizeof(text));
	memcpy(text, "0\r\n", 3);
	text[KR_CHUNK_TRAILER_MAX + 4] = '\0';
	assert_err(decode(text, 100, got, left), KR_E_PROTO);
	text[KR_CHUNK_TRAILER_MAX + 3] = '\0';
	assert_err(decode(text, 100, got, left), KR_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunks_become_a_body_at_every_cut),
		cmocka_unit_test(test_what_follows_the_end_is_left),
		cmocka_unit_test(test_extensions_and_trailers_are_passed_over),
		cmocka_unit_test(test_what_is_not_the_coding_is_refused),
		cmocka_unit_test(test_heads_and_trailers_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
