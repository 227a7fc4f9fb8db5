/*
 * test/integration/registry_api/blob_test.c - blobs to clients: the hand-over
 * of the socket to the role and back.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/addr.h"
#include "registry_api/http.h"
#include "test/support/fake_registry.h"
#include "test/support/http_client.h"

enum { BLOB_LEN = 3 << 20, CONNECTIONS = 200 };

struct fixture {
	struct fake_registry fake;
	struct kr_http *http;
	uint16_t port;
	uint8_t *blob;
	char path[256];  /* of the blob */
	char empty[256]; /* of the empty blob */
};

static const char unknown[] =
	"/v2/a/b/blobs/sha256:"
	"0000000000000000000000000000000000000000000000000000000000000000";

static void blob_path(char *buf, size_t cap, const struct kr_digest *d)
{
	char text[KR_DIGEST_TEXT_MAX];

	(void)snprintf(buf, cap, "/v2/a/b/blobs/%s", kr_digest_print(d, text));
}

static int start(void **state, bool serves, uint64_t idle_timeout_ns)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct kr_http_opts opts = { .role = "test",
				     .pull = true,
				     .idle_timeout_ns = idle_timeout_ns,
				     .connections_max = CONNECTIONS + 16 };
	struct kr_digest d;

	assert_non_null(x);
	fake_registry_init(&x->fake);
	x->fake.serves = serves;
	x->blob = malloc(BLOB_LEN);
	assert_non_null(x->blob);
	for (size_t i = 0; i < BLOB_LEN; i++)
		x->blob[i] = (uint8_t)(i * 31 + (i >> 11));
	d = fake_registry_add_blob(&x->fake, x->blob, BLOB_LEN);
	blob_path(x->path, sizeof(x->path), &d);
	d = fake_registry_add_blob(&x->fake, "", 0);
	blob_path(x->empty, sizeof(x->empty), &d);
	opts.registry = &x->fake.registry;
	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &opts.listen), KR_OK);
	assert_int_equal(kr_http_start(&opts, &x->http), KR_OK);
	x->port = kr_http_addr(x->http).port;
	*state = x;
	return 0;
}

static int setup(void **state)
{
	return start(state, false, 0);
}

/* A role that answers by itself. */
static int setup_serving(void **state)
{
	return start(state, true, 0);
}

static int setup_hasty(void **state)
{
	return start(state, true, UINT64_C(300000000));
}

/* Whatever a test did: nothing may be left open. */
static int teardown(void **state)
{
	struct fixture *x = *state;

	kr_http_stop(x->http);
	const bool settled = fake_registry_settle(&x->fake);
	const unsigned open = fake_registry_open_blobs(&x->fake);
	fake_registry_fini(&x->fake);
	free(x->blob);
	free(x);
	return settled && open == 0 ? 0 : -1;
}

static void get(struct http_client *c, const char *path, const char *fields)
{
	assert_true(http_printf(c, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path,
				fields));
}

static void expect_blob(struct fixture *x, struct http_client *c)
{
	struct http_reply r;

	assert_true(http_read(c, &r, false));
	assert_int_equal(r.status, 200);
	assert_int_equal(r.len, BLOB_LEN);
	assert_memory_equal(r.body, x->blob, BLOB_LEN);
	http_reply_free(&r);
}

static void get_blob(struct fixture *x, struct http_client *c)
{
	get(c, x->path, "");
	expect_blob(x, c);
}

/* The response stops behind its first 1000 bytes; @c has all of those. */
static void get_stopped(struct fixture *x, struct http_client *c)
{
	struct http_reply r;

	x->fake.send_hold_at = 1000;
	http_open(c, x->port);
	get(c, x->path, "");
	assert_true(http_read_head(c, &r));
	while (c->len < 1000)
		assert_int_equal(http_fill(c), 1);
}

static void test_get_says_what_the_blob_is(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	get(&c, x->path, "");
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 200);
	assert_memory_equal(r.body, x->blob, BLOB_LEN);
	assert_string_equal(http_field(&r, "Docker-Content-Digest"),
			    strrchr(x->path, '/') + 1);
	assert_string_equal(http_field(&r, "Content-Type"),
			    "application/octet-stream");
	assert_string_equal(http_field(&r, "Accept-Ranges"), "bytes");
	assert_string_equal(http_field(&r, "Connection"), "keep-alive");
	http_reply_free(&r);
	http_close(&c);
}

static void test_a_connection_is_kept_after_the_hand_over(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	for (int i = 0; i < 5; i++) {
		get_blob(x, &c);
	}
	http_close(&c);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	assert_true(http_printf(&c,
				"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
				"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"
				"HEAD %s HTTP/1.1\r\nHost: h\r\n\r\n"
				"GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->path, x->path, x->path));
	expect_blob(x, &c);
	assert_true(http_read(&c, &r, false));
	assert_string_equal((char *)r.body, "{}");
	http_reply_free(&r);
	assert_true(http_read(&c, &r, true));
	assert_int_equal(r.status, 200);
	http_reply_free(&r);
	expect_blob(x, &c);
	http_close(&c);
}

static void test_head_never_opens_the_blob(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	assert_true(http_printf(&c, "HEAD %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->path));
	assert_true(http_read(&c, &r, true));
	assert_int_equal(r.status, 200);
	assert_int_equal(atoi(http_field(&r, "Content-Length")), BLOB_LEN);
	http_reply_free(&r);
	get(&c, "/v2/", "");
	assert_true(http_read(&c, &r, false));
	assert_string_equal((char *)r.body, "{}");
	http_reply_free(&r);
	http_close(&c);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_OPEN), 0);
}

static void test_an_empty_blob_needs_no_hand_over(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	for (int i = 0; i < 3; i++) {
		get(&c, x->empty, "");
		assert_true(http_read(&c, &r, false));
		assert_int_equal(r.status, 200);
		assert_string_equal(http_field(&r, "Content-Length"), "0");
		http_reply_free(&r);
	}
	http_close(&c);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_SEND), 0);
}

static void test_a_role_that_cannot_serve_is_asked_once(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	for (int i = 0; i < 3; i++) {
		get_blob(x, &c);
	}
	http_close(&c);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_SERVE), 1);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_OPEN), 3);
}

static void test_a_connection_is_lent_once_for_many_blobs(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	for (int i = 0; i < 5; i++) {
		get_blob(x, &c);
	}
	http_close(&c);
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_SERVE), 1);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_OPEN), 0);
	assert_int_equal(x->fake.answered, 5);
}

static void expect_base(struct http_client *c)
{
	struct http_reply r;

	assert_true(http_read(c, &r, false));
	assert_string_equal((char *)r.body, "{}");
	http_reply_free(&r);
}

static void test_other_requests_come_back_from_the_role(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	for (int i = 0; i < 3; i++) {
		get_blob(x, &c);
		get(&c, "/v2/", "");
		expect_base(&c);
	}
	http_close(&c);
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(x->fake.answered, 3);
}

static void test_a_head_in_pieces_comes_back_from_the_role(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get_blob(x, &c);
	assert_true(http_printf(&c, "GET %s HTTP/1.1\r\nHo", x->path));
	(void)usleep(50000);
	assert_true(http_printf(&c, "st: h\r\n\r\n"));
	expect_blob(x, &c);
	http_close(&c);
}

/* Two at once, while the role listens: the second must not be forgotten. */
static void test_two_requests_at_once_come_back_from_the_role(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get_blob(x, &c);
	assert_true(http_printf(&c,
				"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
				"GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				x->path, x->path));
	expect_blob(x, &c);
	expect_blob(x, &c);
	http_close(&c);
}

static void test_a_blob_that_is_not_here_comes_back_from_the_role(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	get_blob(x, &c);
	get(&c, unknown, "");
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 404);
	http_reply_free(&r);
	get(&c, x->path, "Connection: close\r\n");
	expect_blob(x, &c);
	assert_true(http_is_over(&c));
	http_close(&c);
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(x->fake.answered, 1);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_OPEN), 2);
}

static void test_a_silent_client_of_the_role_is_closed(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get_blob(x, &c);
	(void)usleep(400000); /* the gate has it again */
	assert_true(fake_registry_settle(&x->fake));
	get(&c, "/v2/", "");
	expect_base(&c);
	get_blob(x, &c);
	assert_int_equal(http_fill(&c), 0); /* after both have waited */
	http_close(&c);
}

static void test_a_client_of_the_role_may_leave(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	get(&c, x->path, "");
	assert_true(http_read_head(&c, &r));
	http_close(&c); /* with data unread: a reset */
	http_open(&c, x->port);
	get_blob(x, &c);
	http_close(&c); /* while the role listens */
	assert_true(fake_registry_settle(&x->fake));
	assert_int_equal(fake_registry_cancels(&x->fake), 0);
}

static void test_stop_cancels_listening(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get_blob(x, &c);
	kr_http_stop(x->http);
	x->http = NULL;
	assert_int_equal(http_fill(&c), 0);
	http_close(&c);
}

static void expect_part(struct fixture *x, const char *fields, size_t offset,
			size_t len)
{
	struct http_client c;
	struct http_reply r;
	char text[64];

	http_open(&c, x->port);
	get(&c, x->path, fields);
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 206);
	assert_int_equal(r.len, len);
	assert_memory_equal(r.body, x->blob + offset, len);
	(void)snprintf(text, sizeof(text), "bytes %zu-%zu/%d", offset,
		       offset + len - 1, BLOB_LEN);
	assert_string_equal(http_field(&r, "Content-Range"), text);
	http_reply_free(&r);
	http_close(&c);
}

static void test_ranges_are_served(void **state)
{
	struct fixture *x = *state;

	expect_part(x, "Range: bytes=0-0\r\n", 0, 1);
	expect_part(x, "Range: bytes=1000-1999\r\n", 1000, 1000);
	expect_part(x, "Range: bytes=3000000-\r\n", 3000000,
		    BLOB_LEN - 3000000);
	expect_part(x, "Range: bytes=-5\r\n", BLOB_LEN - 5, 5);
}

static void test_if_range_must_name_the_blob(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	char fields[256];

	(void)snprintf(fields, sizeof(fields),
		       "Range: bytes=7-8\r\nIf-Range: \"%s\"\r\n",
		       strrchr(x->path, '/') + 1);
	expect_part(x, fields, 7, 2);
	http_open(&c, x->port);
	get(&c, x->path, "Range: bytes=7-8\r\nIf-Range: \"other\"\r\n");
	expect_blob(x, &c);
	http_close(&c);
}

/* One part of a multipart body at @at: its head, its bytes; what follows. */
static const uint8_t *expect_body_part(struct fixture *x, const uint8_t *at,
				       const char *before, const char *boundary,
				       size_t offset, size_t len)
{
	char head[512];

	(void)snprintf(head, sizeof(head),
		       "%s--%s\r\nContent-Type: application/octet-stream\r\n"
		       "Content-Range: bytes %zu-%zu/%d\r\n\r\n",
		       before, boundary, offset, offset + len - 1, BLOB_LEN);
	assert_memory_equal(at, head, strlen(head));
	at += strlen(head);
	assert_memory_equal(at, x->blob + offset, len);
	return at + len;
}

static void test_several_ranges_are_parts_of_one_body(void **state)
{
	static const char type[] = "multipart/byteranges; boundary=";
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;
	char boundary[128], end[160];
	const uint8_t *at;

	http_open(&c, x->port);
	get(&c, x->path, "Range: bytes=1000000-2999999,-5,1-1\r\n");
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 206);
	assert_null(http_field(&r, "Content-Range"));
	const char *got = http_field(&r, "Content-Type");
	assert_memory_equal(got, type, strlen(type));
	(void)snprintf(boundary, sizeof(boundary), "%s", got + strlen(type));
	at = expect_body_part(x, r.body, "", boundary, 1000000, 2000000);
	at = expect_body_part(x, at, "\r\n", boundary, BLOB_LEN - 5, 5);
	at = expect_body_part(x, at, "\r\n", boundary, 1, 1);
	(void)snprintf(end, sizeof(end), "\r\n--%s--\r\n", boundary);
	assert_int_equal(r.len - (size_t)(at - r.body), strlen(end));
	assert_memory_equal(at, end, strlen(end));
	http_reply_free(&r);
	get(&c, x->path, ""); /* the connection goes on */
	expect_blob(x, &c);
	http_close(&c);
}

static void test_ranges_that_become_one_are_no_multipart(void **state)
{
	expect_part(*state, "Range: bytes=10-19,15-29\r\n", 10, 20);
}

static void test_a_multipart_body_that_breaks_off_closes(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	x->fake.send_break_at = 100;
	http_open(&c, x->port);
	get(&c, x->path, "Range: bytes=0-9,20-29,1000-1999\r\n");
	assert_false(http_read(&c, &r, false));
	http_reply_free(&r);
	http_close(&c);
}

static void test_too_many_ranges_get_the_whole(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get(&c, x->path,
	    "Range: bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,"
	    "20-20,22-22,24-24,26-26,28-28,30-30,32-32\r\n");
	expect_blob(x, &c);
	http_close(&c);
}

static void test_a_range_behind_the_end_is_416(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;
	char text[64];

	http_open(&c, x->port);
	get(&c, x->path, "Range: bytes=9999999-\r\n");
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 416);
	(void)snprintf(text, sizeof(text), "bytes */%d", BLOB_LEN);
	assert_string_equal(http_field(&r, "Content-Range"), text);
	http_reply_free(&r);
	get_blob(x, &c); /* and the connection goes on */
	http_close(&c);
}

static void test_an_unknown_blob_is_404(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	http_open(&c, x->port);
	get(&c, unknown, "");
	assert_true(http_read(&c, &r, false));
	http_close(&c);
	assert_int_equal(r.status, 404);
	assert_string_equal((char *)r.body,
			    "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\","
			    "\"message\":\"blob unknown to registry\"}]}\n");
	http_reply_free(&r);
}

static void test_a_failure_mid_body_closes_the_connection(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	x->fake.send_break_at = 1 << 20;
	http_open(&c, x->port);
	get(&c, x->path, "");
	assert_true(http_read_head(&c, &r));
	assert_int_equal(r.status, 200);
	while (http_fill(&c) > 0)
		;
	assert_int_equal(c.len, 1 << 20);
	assert_memory_equal(c.buf, x->blob, 1 << 20);
	http_close(&c);
}

/* A blob is closed last of all: its GET is over then. */
static void wait_closes(struct fixture *x, unsigned want)
{
	for (int i = 0; i < 5000 &&
			fake_registry_calls(&x->fake, KR_REG_BLOB_CLOSE) < want;
	     i++)
		(void)usleep(1000);
	assert_int_equal(fake_registry_calls(&x->fake, KR_REG_BLOB_CLOSE),
			 want);
	assert_true(fake_registry_settle(&x->fake));
}

static void test_a_client_that_leaves_is_cleaned_up(void **state)
{
	struct fixture *x = *state;
	struct http_client c;
	struct http_reply r;

	for (int i = 0; i < 3; i++) {
		http_open(&c, x->port);
		get(&c, x->path, "");
		assert_true(http_read_head(&c, &r));
		http_close(&c); /* with data unread: a reset */
	}
	wait_closes(x, 3);
	get_stopped(x, &c);
	http_close(&c);
	wait_closes(x, 4);
}

static void test_a_slow_reader_gets_all(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	get(&c, x->path, "");
	(void)usleep(300000);
	expect_blob(x, &c);
	get_blob(x, &c);
	http_close(&c);
}

static void test_two_hundred_connections_at_once(void **state)
{
	struct fixture *x = *state;
	struct http_client *c = calloc(CONNECTIONS, sizeof(*c));
	struct http_reply r;

	assert_non_null(c);
	for (int i = 0; i < CONNECTIONS; i++)
		http_open(&c[i], x->port);
	for (int i = 0; i < CONNECTIONS; i++)
		get(&c[i], x->path, "Range: bytes=100-50099\r\n");
	for (int i = CONNECTIONS - 1; i >= 0; i--) {
		assert_true(http_read(&c[i], &r, false));
		assert_int_equal(r.status, 206);
		assert_memory_equal(r.body, x->blob + 100, 50000);
		http_reply_free(&r);
		http_close(&c[i]);
	}
	free(c);
}

static void test_http_1_0_closes_behind_the_body(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	http_open(&c, x->port);
	assert_true(http_printf(&c, "GET %s HTTP/1.0\r\n\r\n", x->path));
	expect_blob(x, &c);
	assert_true(http_is_over(&c));
	http_close(&c);
}

/* Stopping while a body is on its way: the role is told, the client sees a
 * broken body, nothing hangs (teardown stops the server). */
static void test_stop_cancels_what_is_being_sent(void **state)
{
	struct fixture *x = *state;
	struct http_client c;

	get_stopped(x, &c);
	kr_http_stop(x->http);
	x->http = NULL;
	assert_int_equal(fake_registry_cancels(&x->fake), 1);
	assert_int_equal(http_fill(&c), 0);
	http_close(&c);
}

#define TEST(f)    cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SERVING(f) cmocka_unit_test_setup_teardown(f, setup_serving, teardown)
#define HASTY(f)   cmocka_unit_test_setup_teardown(f, setup_hasty, teardown)
#define BOTH(f)    TEST(f), SERVING(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_get_says_what_the_blob_is),
		BOTH(test_a_connection_is_kept_after_the_hand_over),
		BOTH(test_pipelined_requests_are_answered_in_order),
		TEST(test_head_never_opens_the_blob),
		BOTH(test_an_empty_blob_needs_no_hand_over),
		TEST(test_a_role_that_cannot_serve_is_asked_once),
		SERVING(test_a_connection_is_lent_once_for_many_blobs),
		SERVING(test_other_requests_come_back_from_the_role),
		SERVING(test_a_head_in_pieces_comes_back_from_the_role),
		SERVING(test_two_requests_at_once_come_back_from_the_role),
		SERVING(test_a_blob_that_is_not_here_comes_back_from_the_role),
		SERVING(test_a_client_of_the_role_may_leave),
		SERVING(test_stop_cancels_listening),
		HASTY(test_a_silent_client_of_the_role_is_closed),
		BOTH(test_ranges_are_served),
		BOTH(test_if_range_must_name_the_blob),
		BOTH(test_several_ranges_are_parts_of_one_body),
		BOTH(test_ranges_that_become_one_are_no_multipart),
		BOTH(test_a_multipart_body_that_breaks_off_closes),
		BOTH(test_too_many_ranges_get_the_whole),
		BOTH(test_a_range_behind_the_end_is_416),
		BOTH(test_an_unknown_blob_is_404),
		BOTH(test_a_failure_mid_body_closes_the_connection),
		TEST(test_a_client_that_leaves_is_cleaned_up),
		BOTH(test_a_slow_reader_gets_all),
		BOTH(test_two_hundred_connections_at_once),
		BOTH(test_http_1_0_closes_behind_the_body),
		BOTH(test_stop_cancels_what_is_being_sent),
	};
	return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
