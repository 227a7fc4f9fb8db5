/*
 * test/integration/registry_api/upload_test.c - uploads from clients: the
 * gate, what it lets through and what it refuses.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/addr.h"
#include "registry_api/http.h"
#include "test/support/fake_registry.h"
#include "test/support/http_client.h"

enum { BODY_LEN = 2 << 20 };

struct fixture {
	struct fake_registry fake;
	struct kr_http *http;
	struct http_client c;
	uint8_t *body;
	char location[512];
	struct kr_digest digest; /* of body */
	char digest_text[KR_DIGEST_TEXT_MAX];
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct kr_http_opts opts = { .role = "test",
				     .pull = true,
				     .push = true,
				     .manifest_bytes_max = 100000 };

	assert_non_null(x);
	fake_registry_init(&x->fake);
	x->body = malloc(BODY_LEN);
	assert_non_null(x->body);
	for (size_t i = 0; i < BODY_LEN; i++)
		x->body[i] = (uint8_t)(i * 17 + (i >> 9));
	x->digest = fake_sha256(x->body, BODY_LEN);
	kr_digest_print(&x->digest, x->digest_text);
	opts.registry = &x->fake.registry;
	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &opts.listen), KR_OK);
	assert_int_equal(kr_http_start(&opts, &x->http), KR_OK);
	http_open(&x->c, kr_http_addr(x->http).port);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	if (x->c.fd >= 0)
		http_close(&x->c);
	kr_http_stop(x->http);
	fake_registry_fini(&x->fake);
	free(x->body);
	free(x);
	return 0;
}

/* Read an answer with @status; the caller frees it. */
static void expect(struct fixture *x, struct http_reply *r, int status)
{
	assert_true(http_read(&x->c, r, false));
	assert_int_equal(r->status, status);
}

static void expect_only(struct fixture *x, int status)
{
	struct http_reply r;

	expect(x, &r, status);
	http_reply_free(&r);
}

static void expect_error(struct fixture *x, int status, const char *body)
{
	struct http_reply r;

	expect(x, &r, status);
	assert_string_equal((char *)r.body, body);
	assert_string_equal(http_field(&r, "Content-Type"), "application/json");
	http_reply_free(&r);
}

static void begin(struct fixture *x)
{
	struct http_reply r;

	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n"
				"Host: h\r\nContent-Length: 0\r\n\r\n"));
	expect(x, &r, 202);
	assert_string_equal(http_field(&r, "Range"), "0-0");
	assert_int_equal(strlen(http_field(&r, "Docker-Upload-UUID")), 36);
	(void)snprintf(x->location, sizeof(x->location), "%s",
		       http_field(&r, "Location"));
	assert_int_equal(strncmp(x->location, "/v2/a/b/blobs/uploads/", 22), 0);
	http_reply_free(&r);
}

static void patch_head(struct fixture *x, size_t len, const char *fields)
{
	assert_true(http_printf(&x->c,
				"PATCH %s HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: %zu\r\n%s\r\n",
				x->location, len, fields));
}

static void expect_range(struct fixture *x, int status, const char *range)
{
	struct http_reply r;

	expect(x, &r, status);
	assert_string_equal(http_field(&r, "Range"), range);
	assert_string_equal(http_field(&r, "Location"), x->location);
	http_reply_free(&r);
}

static void put_digest(struct fixture *x, const char *digest)
{
	assert_true(http_printf(&x->c,
				"PUT %s?digest=%s HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: 0\r\n\r\n",
				x->location, digest));
}

static void expect_created(struct fixture *x)
{
	struct http_reply r;
	char path[256];

	expect(x, &r, 201);
	(void)snprintf(path, sizeof(path), "/v2/a/b/blobs/%s", x->digest_text);
	assert_string_equal(http_field(&r, "Location"), path);
	assert_string_equal(http_field(&r, "Docker-Content-Digest"),
			    x->digest_text);
	http_reply_free(&r);
	assert_true(fake_registry_has(&x->fake, &x->digest));
}

static void write_chunk(struct fixture *x, const void *p, size_t len)
{
	assert_true(http_printf(&x->c, "%zx\r\n", len));
	assert_true(http_write(&x->c, p, len));
	assert_true(http_printf(&x->c, "\r\n"));
}

/* ---- what works ----*/

static void test_one_patch_with_a_length(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, BODY_LEN, "");
	assert_true(http_write(&x->c, x->body, BODY_LEN));
	expect_range(x, 202, "0-2097151");
	put_digest(x, x->digest_text);
	expect_created(x);
}

static void test_a_chunked_patch(void **state)
{
	struct fixture *x = *state;
	size_t at = 0;

	begin(x);
	assert_true(http_printf(&x->c,
				"PATCH %s HTTP/1.1\r\nHost: h\r\n"
				"Transfer-Encoding: chunked\r\n\r\n",
				x->location));
	for (size_t n = 1; at < BODY_LEN; n = n * 3 + 1) {
		const size_t len = n < BODY_LEN - at ? n : BODY_LEN - at;
		write_chunk(x, x->body + at, len);
		at += len;
	}
	assert_true(http_printf(&x->c, "0\r\n\r\n"));
	expect_range(x, 202, "0-2097151");
	put_digest(x, x->digest_text);
	expect_created(x);
}

static void test_many_patches_on_one_connection(void **state)
{
	struct fixture *x = *state;
	char range[64], field[64];

	begin(x);
	for (size_t at = 0; at < BODY_LEN; at += BODY_LEN / 8) {
		(void)snprintf(field, sizeof(field),
			       "Content-Range: %zu-%zu\r\n", at,
			       at + BODY_LEN / 8 - 1);
		patch_head(x, BODY_LEN / 8, field);
		assert_true(http_write(&x->c, x->body + at, BODY_LEN / 8));
		(void)snprintf(range, sizeof(range), "0-%zu",
			       at + BODY_LEN / 8 - 1);
		expect_range(x, 202, range);
	}
	put_digest(x, x->digest_text);
	expect_created(x);
}

static void test_requests_may_be_pipelined_behind_a_body(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_true(http_printf(
		&x->c,
		"PATCH %s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
		"\r\nhello"
		"PATCH %s HTTP/1.1\r\nHost: h\r\n"
		"Transfer-Encoding: chunked\r\n\r\n"
		"6\r\n world\r\n0\r\n\r\n"
		"PATCH %s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
		"\r\n!"
		"GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
		x->location, x->location, x->location, x->location));
	expect_range(x, 202, "0-4");
	expect_range(x, 202, "0-10");
	expect_range(x, 202, "0-11");
	expect_range(x, 204, "0-11");
	put_digest(x, "sha256:7509e5bda0c762d2bac7f90d758b5b2263fa01ccbc542ab5e"
		      "3df163be08e6ca9");
	expect_only(x, 201);
}

static size_t resident_pages(void)
{
	unsigned long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &total, &resident), 2);
	fclose(f);
	return resident;
}

static void test_a_large_body_takes_no_memory(void **state)
{
	enum { LARGE = 256 << 20, ROOM = 16 << 20 };
	struct fixture *x = *state;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	x->fake.discard_uploads = true;
	begin(x);
	const size_t before = resident_pages();
	assert_true(http_printf(&x->c,
				"PATCH %s HTTP/1.1\r\nHost: h\r\n"
				"Transfer-Encoding: chunked\r\n\r\n",
				x->location));
	for (size_t at = 0; at < LARGE; at += BODY_LEN)
		write_chunk(x, x->body, BODY_LEN);
	assert_true(http_printf(&x->c, "0\r\n\r\n"));
	expect_range(x, 202, "0-268435455");
	assert_in_range(resident_pages(), 0, before + ROOM / page);
}

static void test_a_put_may_carry_the_body(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_true(http_printf(&x->c,
				"PUT %s?digest=%s HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: %d\r\n\r\n",
				x->location, x->digest_text, BODY_LEN));
	assert_true(http_write(&x->c, x->body, BODY_LEN));
	expect_created(x);
}

static void test_a_post_may_be_the_whole_upload(void **state)
{
	struct fixture *x = *state;

	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?digest=%s "
				"HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n"
				"Expect: 100-continue\r\n\r\n",
				x->digest_text, BODY_LEN));
	struct http_reply r;
	assert_true(http_read_head(&x->c, &r));
	assert_int_equal(r.status, 100);
	assert_true(http_write(&x->c, x->body, BODY_LEN));
	expect_created(x);
}

static void test_the_empty_blob_can_be_uploaded(void **state)
{
	static const char empty[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427"
				    "ae41e4649b934ca495991b7852b855";
	struct fixture *x = *state;

	begin(x);
	put_digest(x, empty);
	expect_only(x, 201);
	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?digest=%s "
				"HTTP/1.1\r\nHost: h\r\n\r\n",
				empty));
	expect_only(x, 201);
}

static void test_a_client_may_wait_for_100_continue(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	begin(x);
	patch_head(x, 5, "Expect: 100-continue\r\nContent-Range: 0-4\r\n");
	assert_true(http_read_head(&x->c, &r));
	assert_int_equal(r.status, 100);
	assert_true(http_printf(&x->c, "hello"));
	expect_range(x, 202, "0-4");
}

static void test_a_session_can_be_asked_and_canceled(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, 10, "");
	assert_true(http_write(&x->c, x->body, 10));
	expect_range(x, 202, "0-9");
	assert_true(http_printf(&x->c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->location));
	expect_range(x, 204, "0-9");
	assert_true(http_printf(&x->c, "DELETE %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->location));
	expect_only(x, 204);
	assert_int_equal(fake_registry_live_uploads(&x->fake), 0);
	assert_true(http_printf(&x->c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->location));
	expect_error(x, 404,
		     "{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\","
		     "\"message\":\"blob upload unknown to registry\"}]}\n");
}

static void test_a_mount_succeeds_or_becomes_an_upload(void **state)
{
	struct fixture *x = *state;

	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?mount=%s&from=c "
				"HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: 0\r\n\r\n",
				x->digest_text));
	expect_only(x, 202);
	(void)fake_registry_add_blob(&x->fake, x->body, BODY_LEN);
	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?mount=%s&from=c "
				"HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: 0\r\n\r\n",
				x->digest_text));
	expect_created(x);
}

/* ---- what is refused ----*/

static void test_the_wrong_digest_is_refused(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, 5, "");
	assert_true(http_printf(&x->c, "hello"));
	expect_range(x, 202, "0-4");
	put_digest(x, x->digest_text);
	expect_error(x, 400,
		     "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":"
		     "\"bytes do not match their digest\"}]}\n");
	assert_false(fake_registry_has(&x->fake, &x->digest));
}

/* The answer arrives although the client goes on sending, and then the
 * connection ends. */
static void expect_refusal(struct fixture *x, int status)
{
	struct http_reply r;

	for (int i = 0; i < 16; i++)
		if (!http_write(&x->c, x->body, 65536))
			break;
	expect(x, &r, status);
	assert_string_equal(http_field(&r, "Connection"), "close");
	http_reply_free(&r);
	assert_true(http_is_over(&x->c));
}

static void test_a_body_for_no_session_is_refused_at_once(void **state)
{
	struct fixture *x = *state;

	(void)snprintf(x->location, sizeof(x->location),
		       "/v2/a/blobs/uploads/"
		       "01234567-89ab-4cde-8f01-23456789abcd");
	patch_head(x, 1 << 20, "");
	expect_refusal(x, 404);
}

static void test_a_client_that_waits_is_not_invited_in_vain(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	(void)snprintf(x->location, sizeof(x->location),
		       "/v2/a/blobs/uploads/"
		       "01234567-89ab-4cde-8f01-23456789abcd");
	patch_head(x, 1 << 20, "Expect: 100-continue\r\n");
	assert_true(http_read_head(&x->c, &r));
	assert_int_equal(r.status, 404);
}

static void test_a_chunk_out_of_order_is_416(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	begin(x);
	patch_head(x, 5, "Content-Range: 0-4\r\n");
	assert_true(http_printf(&x->c, "hello"));
	expect_range(x, 202, "0-4");
	patch_head(x, 5, "Content-Range: 7-11\r\n");
	assert_true(http_printf(&x->c, "hello"));
	expect(x, &r, 416);
	assert_string_equal(http_field(&r, "Range"), "0-4");
	assert_string_equal(http_field(&r, "Location"), x->location);
	http_reply_free(&r);
	assert_true(http_is_over(&x->c));
}

static void test_a_content_range_that_lies_is_refused(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, 1 << 20, "Content-Range: 0-4\r\n");
	expect_refusal(x, 400);
}

static void test_a_put_with_a_malformed_digest_is_refused(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_true(
		http_printf(&x->c,
			    "PUT %s?digest=sha256:12 HTTP/1.1\r\nHost: h\r\n"
			    "Content-Length: 1048576\r\n\r\n",
			    x->location));
	expect_refusal(x, 400);
}

static void test_a_broken_chunk_is_refused(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_true(http_printf(&x->c,
				"PATCH %s HTTP/1.1\r\nHost: h\r\n"
				"Transfer-Encoding: chunked\r\n\r\n"
				"5\r\nhello\r\nxyz\r\n",
				x->location));
	expect_error(x, 400,
		     "{\"errors\":[{\"code\":\"BLOB_UPLOAD_INVALID\","
		     "\"message\":\"broken chunked body\"}]}\n");
	assert_true(http_is_over(&x->c));
}

static void test_no_space_is_507(void **state)
{
	struct fixture *x = *state;

	begin(x);
	x->fake.fail[KR_REG_UPLOAD_RECV] = KR_E_NOSPC;
	patch_head(x, 1 << 20, "");
	expect_refusal(x, 507);
}

static void test_no_quorum_is_503_and_may_be_tried_again(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	begin(x);
	patch_head(x, BODY_LEN, "");
	assert_true(http_write(&x->c, x->body, BODY_LEN));
	expect_only(x, 202);
	x->fake.fail[KR_REG_UPLOAD_COMMIT] = KR_E_UNAVAILABLE;
	x->fake.fail_text = "1 of 2 origins have it";
	put_digest(x, x->digest_text);
	expect(x, &r, 503);
	assert_string_equal(http_field(&r, "Retry-After"), "1");
	assert_string_equal(
		(char *)r.body,
		"{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":"
		"\"1 of 2 origins have it\"}]}\n");
	http_reply_free(&r);
	x->fake.fail[KR_REG_UPLOAD_COMMIT] = KR_OK;
	put_digest(x, x->digest_text);
	expect_created(x);
}

/* ---- clients that misbehave ----*/

static void test_a_body_longer_than_announced_is_no_request(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, 5, "");
	assert_true(http_printf(&x->c, "hello and much more of it\r\n\r\n"));
	expect_range(x, 202, "0-4");
	struct http_reply r;
	assert_true(http_read_head(&x->c, &r));
	assert_int_equal(r.status, 400);
	assert_true(http_is_over(&x->c));
}

static void test_a_client_that_leaves_mid_body_keeps_the_session(void **state)
{
	struct fixture *x = *state;
	const uint16_t port = kr_http_addr(x->http).port;

	begin(x);
	patch_head(x, BODY_LEN, "");
	assert_true(http_write(&x->c, x->body, BODY_LEN / 2));
	assert_int_equal(shutdown(x->c.fd, SHUT_WR), 0);
	assert_true(http_is_over(&x->c)); /* no answer to half a body */
	http_close(&x->c);
	http_open(&x->c, port);
	assert_true(http_printf(&x->c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->location));
	expect_range(x, 204, "0-1048575");
	patch_head(x, BODY_LEN / 2, "Content-Range: 1048576-2097151\r\n");
	assert_true(http_write(&x->c, x->body + BODY_LEN / 2, BODY_LEN / 2));
	expect_range(x, 202, "0-2097151");
	put_digest(x, x->digest_text);
	expect_created(x);
}

/* Nobody was told the id of that session. */
static void test_a_client_that_leaves_a_post_leaves_no_session(void **state)
{
	struct fixture *x = *state;

	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?digest=%s "
				"HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: %d\r\n\r\n",
				x->digest_text, BODY_LEN));
	assert_true(http_write(&x->c, x->body, BODY_LEN / 2));
	assert_int_equal(shutdown(x->c.fd, SHUT_WR), 0);
	assert_true(http_is_over(&x->c));
	while (fake_registry_calls(&x->fake, KR_REG_UPLOAD_CANCEL) == 0)
		(void)usleep(1000);
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(fake_registry_live_uploads(&x->fake), 0);
}

static void test_a_post_that_no_quorum_took_leaves_no_session(void **state)
{
	struct fixture *x = *state;

	x->fake.fail[KR_REG_UPLOAD_COMMIT] = KR_E_UNAVAILABLE;
	assert_true(http_printf(&x->c,
				"POST /v2/a/b/blobs/uploads/?digest=%s "
				"HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: %d\r\n\r\n",
				x->digest_text, BODY_LEN));
	assert_true(http_write(&x->c, x->body, BODY_LEN));
	expect_only(x, 503);
	while (fake_registry_calls(&x->fake, KR_REG_UPLOAD_CANCEL) == 0)
		(void)usleep(1000);
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(fake_registry_live_uploads(&x->fake), 0);
}

static void test_a_reset_mid_body_harms_nobody(void **state)
{
	struct fixture *x = *state;
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	const uint16_t port = kr_http_addr(x->http).port;

	begin(x);
	patch_head(x, BODY_LEN, "");
	assert_true(http_write(&x->c, x->body, 1000));
	(void)usleep(20000);
	(void)setsockopt(x->c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	http_close(&x->c);
	http_open(&x->c, port);
	begin(x);
}

static void test_smuggled_requests_are_refused(void **state)
{
	static const char *const fields[] = {
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"Content-Length: 5\r\nContent-Length: 6\r\n",
		"Content-Length: 5x\r\n",
		"Transfer-Encoding: chunked, identity\r\n",
		"X: a\r\n b\r\n",
	};
	struct fixture *x = *state;
	const uint16_t port = kr_http_addr(x->http).port;
	struct http_reply r;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		http_close(&x->c);
		http_open(&x->c, port);
		assert_true(http_printf(&x->c,
					"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n"
					"Host: h\r\n%s\r\nhello"
					"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n",
					fields[i]));
		assert_true(http_read_head(&x->c, &r));
		assert_int_equal(r.status, 400);
		assert_true(http_is_over(&x->c));
	}
}

static void test_stop_cancels_what_is_being_received(void **state)
{
	struct fixture *x = *state;

	begin(x);
	patch_head(x, BODY_LEN, "");
	assert_true(http_write(&x->c, x->body, 1000));
	while (fake_registry_calls(&x->fake, KR_REG_UPLOAD_RECV) == 0)
		(void)usleep(1000);
	kr_http_stop(x->http);
	x->http = NULL;
	assert_int_equal(x->fake.cancels, 1);
	assert_true(http_is_over(&x->c));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_patch_with_a_length),
		TEST(test_a_chunked_patch),
		TEST(test_many_patches_on_one_connection),
		TEST(test_requests_may_be_pipelined_behind_a_body),
		TEST(test_a_large_body_takes_no_memory),
		TEST(test_a_put_may_carry_the_body),
		TEST(test_a_post_may_be_the_whole_upload),
		TEST(test_the_empty_blob_can_be_uploaded),
		TEST(test_a_client_may_wait_for_100_continue),
		TEST(test_a_session_can_be_asked_and_canceled),
		TEST(test_a_mount_succeeds_or_becomes_an_upload),
		TEST(test_the_wrong_digest_is_refused),
		TEST(test_a_body_for_no_session_is_refused_at_once),
		TEST(test_a_client_that_waits_is_not_invited_in_vain),
		TEST(test_a_chunk_out_of_order_is_416),
		TEST(test_a_content_range_that_lies_is_refused),
		TEST(test_a_put_with_a_malformed_digest_is_refused),
		TEST(test_a_broken_chunk_is_refused),
		TEST(test_no_space_is_507),
		TEST(test_no_quorum_is_503_and_may_be_tried_again),
		TEST(test_a_body_longer_than_announced_is_no_request),
		TEST(test_a_client_that_leaves_mid_body_keeps_the_session),
		TEST(test_a_client_that_leaves_a_post_leaves_no_session),
		TEST(test_a_post_that_no_quorum_took_leaves_no_session),
		TEST(test_a_reset_mid_body_harms_nobody),
		TEST(test_smuggled_requests_are_refused),
		TEST(test_stop_cancels_what_is_being_received),
	};
	return cmocka_run_group_tests_name("upload", tests, NULL, NULL);
}
