/*
 * test/integration/registry_api/server_test.c - the server itself: limits,
 * time, admin endpoints, start and stop.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/addr.h"
#include "core/clock.h"
#include "core/rand.h"
#include "registry_api/http.h"
#include "test/support/fake_registry.h"
#include "test/support/http_client.h"

static struct fake_registry fake;
static struct kr_http *http;

static uint16_t start(struct kr_http_opts opts)
{
	opts.role = "test";
	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &opts.listen), KR_OK);
	assert_int_equal(kr_http_start(&opts, &http), KR_OK);
	return kr_http_addr(http).port;
}

static int setup(void **state)
{
	(void)state;
	fake_registry_init(&fake);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kr_http_stop(http);
	http = NULL;
	fake_registry_fini(&fake);
	return 0;
}

static void get(struct http_client *c, const char *path)
{
	assert_true(http_printf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path));
}

static void expect(struct http_client *c, int status, const char *body)
{
	struct http_reply r;

	assert_true(http_read(c, &r, false));
	assert_int_equal(r.status, status);
	if (body != NULL)
		assert_string_equal((char *)r.body, body);
	http_reply_free(&r);
}

static void test_admin_endpoints_need_no_role(void **state)
{
	const uint16_t port = start((struct kr_http_opts){ .registry = NULL });
	struct http_client c;
	struct http_reply r;
	(void)state;

	http_open(&c, port);
	get(&c, "/health");
	expect(&c, 200, "OK\n");
	get(&c, "/readiness");
	expect(&c, 200, "OK\n");
	get(&c, "/metrics");
	assert_true(http_read(&c, &r, false));
	assert_int_equal(r.status, 200);
	assert_non_null(strstr((char *)r.body,
			       "kraken_http_connections{role=\"test\"} 1\n"));
	http_reply_free(&r);
	get(&c, "/v2/");
	expect(&c, 404, NULL);
	http_close(&c);
}

static void test_readiness_says_why_not(void **state)
{
	const uint16_t port =
		start((struct kr_http_opts){ .registry = &fake.registry });
	struct http_client c;
	(void)state;

	http_open(&c, port);
	get(&c, "/readiness");
	expect(&c, 200, "OK\n");
	fake.fail[KR_REG_READY] = KR_E_UNAVAILABLE;
	fake.fail_text = "no tracker answers";
	get(&c, "/readiness");
	expect(&c, 503, "no tracker answers\n");
	fake.fail_text = NULL;
	get(&c, "/readiness");
	expect(&c, 503, "service cannot answer now\n");
	get(&c, "/health");
	expect(&c, 200, "OK\n");
	http_close(&c);
}

static void test_an_address_in_use_is_said(void **state)
{
	struct kr_http_opts opts = { .role = "test" };
	struct kr_http *second = NULL;
	(void)state;

	(void)start((struct kr_http_opts){ .registry = NULL });
	opts.listen = kr_http_addr(http);
	assert_int_equal(kr_http_start(&opts, &second), KR_E_EXISTS);
	assert_null(second);
}

static void test_connections_beyond_the_limit_are_turned_away(void **state)
{
	const uint16_t port =
		start((struct kr_http_opts){ .connections_max = 3 });
	struct http_client c[3], d;
	struct http_reply r;
	(void)state;

	for (int i = 0; i < 3; i++) {
		http_open(&c[i], port);
		get(&c[i], "/health");
		expect(&c[i], 200, "OK\n");
	}
	http_open(&d, port);
	get(&d, "/health");
	assert_true(http_read_head(&d, &r));
	assert_int_equal(r.status, 503);
	assert_true(http_is_over(&d));
	http_close(&d);
	http_close(&c[0]);
	for (int i = 0; i < 100; i++) { /* until the place is free */
		http_open(&d, port);
		get(&d, "/health");
		assert_true(http_read_head(&d, &r));
		http_close(&d);
		if (r.status == 200)
			break;
		(void)usleep(10000);
	}
	assert_int_equal(r.status, 200);
	http_close(&c[1]);
	http_close(&c[2]);
}

/* Neither silence nor a byte now and then keeps a connection. */
static void test_a_client_must_send_its_request_in_time(void **state)
{
	const uint16_t port =
		start((struct kr_http_opts){ .idle_timeout_ns = 300000000 });
	struct http_client silent, slow;
	(void)state;

	const uint64_t begun = kr_clock_mono_ns();
	http_open(&silent, port);
	http_open(&slow, port);
	for (int i = 0; i < 40 && http_write(&slow, "G", 1); i++)
		(void)usleep(50000);
	assert_true(http_is_over(&silent));
	assert_true(http_is_over(&slow));
	assert_in_range(kr_clock_mono_ns() - begun, 300000000, 4000000000);
	http_close(&silent);
	http_close(&slow);
}

/* A role may take longer than any client may. */
static void test_the_role_may_take_its_time(void **state)
{
	const uint16_t port =
		start((struct kr_http_opts){ .idle_timeout_ns = 200000000,
					     .pull = true,
					     .registry = &fake.registry });
	struct http_client c;
	(void)state;

	fake.delay_ms[KR_REG_TAG_GET] = 1200;
	http_open(&c, port);
	get(&c, "/v2/a/manifests/x");
	expect(&c, 404, NULL);
	http_close(&c);
}

static void test_an_endless_head_is_431(void **state)
{
	const uint16_t port = start((struct kr_http_opts){ .registry = NULL });
	struct http_client c;
	struct http_reply r;
	char line[1024];
	(void)state;

	memset(line, 'a', sizeof(line));
	line[0] = 'X';
	line[500] = ':';
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	http_open(&c, port);
	assert_true(http_printf(&c, "GET / HTTP/1.1\r\nHost: h\r\n"));
	for (int i = 0; i < 40; i++)
		if (!http_write(&c, line, sizeof(line)))
			break;
	assert_true(http_read_head(&c, &r));
	assert_int_equal(r.status, 431);
	assert_true(http_is_over(&c));
	http_close(&c);
}

static void test_a_client_that_leaves_early_cancels_the_call(void **state)
{
	const uint16_t port = start((struct kr_http_opts){
		.pull = true, .registry = &fake.registry });
	const uint64_t begun = kr_clock_mono_ns();
	struct http_client c;
	(void)state;

	fake.delay_ms[KR_REG_TAG_GET] = 60000;
	http_open(&c, port);
	get(&c, "/v2/a/manifests/x");
	while (fake_registry_calls(&fake, KR_REG_TAG_GET) == 0)
		(void)usleep(1000);
	assert_int_equal(fake_registry_cancels(&fake), 0);
	http_close(&c);
	assert_true(fake_registry_settle(&fake));
	assert_int_equal(fake_registry_cancels(&fake), 1);
	assert_in_range(kr_clock_mono_ns() - begun, 0, 5000000000);
}

static void test_a_request_sent_early_waits_its_turn(void **state)
{
	const uint16_t port = start((struct kr_http_opts){
		.pull = true, .registry = &fake.registry });
	struct http_client c;
	(void)state;

	fake.delay_ms[KR_REG_TAG_GET] = 200;
	http_open(&c, port);
	get(&c, "/v2/a/manifests/x");
	while (fake_registry_calls(&fake, KR_REG_TAG_GET) == 0)
		(void)usleep(1000);
	get(&c, "/health");
	expect(&c, 404, NULL);
	expect(&c, 200, "OK\n");
	assert_int_equal(fake_registry_cancels(&fake), 0);
	http_close(&c);
}

static void test_small_bodies_have_a_common_budget(void **state)
{
	enum { MANIFEST = 20 << 20 };
	const uint16_t port =
		start((struct kr_http_opts){ .push = true,
					     .manifest_bytes_max = MANIFEST,
					     .registry = &fake.registry });
	struct http_client c[4];
	struct http_reply r;
	(void)state;

	for (int i = 0; i < 4; i++) {
		http_open(&c[i], port);
		assert_true(http_printf(&c[i],
					"PUT /v2/a/manifests/x HTTP/1.1\r\n"
					"Host: h\r\nContent-Length: %d\r\n"
					"Expect: 100-continue\r\n\r\n",
					MANIFEST));
		assert_true(http_read_head(&c[i], &r));
		assert_int_equal(r.status, i < 3 ? 100 : 429);
	}
	for (int i = 0; i < 4; i++)
		http_close(&c[i]);
	for (int i = 0; i < 100; i++) { /* until they are noticed */
		http_open(&c[0], port);
		assert_true(http_printf(&c[0],
					"PUT /v2/a/manifests/x HTTP/1.1\r\n"
					"Host: h\r\nContent-Length: %d\r\n"
					"Expect: 100-continue\r\n\r\n",
					MANIFEST));
		assert_true(http_read_head(&c[0], &r));
		http_close(&c[0]);
		if (r.status == 100)
			break;
		(void)usleep(10000);
	}
	assert_int_equal(r.status, 100);
}

/* Damaged requests, cut into random pieces, many behind one another. */
static size_t make_noise(struct kr_rand *r, char *out, size_t cap)
{
	static const char *const requests[] = {
		"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"HEAD /v2/a/manifests/x HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET "
		"/v2/a/blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c"
		"1fa7425e73043362938b9824 HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: h\r\n"
		"Content-Length: 0\r\n\r\n",
		"PATCH "
		"/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000001 "
		"HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		"5\r\nhello\r\n0\r\n\r\n",
		"PUT /v2/a/blobs/uploads/00000000-0000-4000-8000-000000000001"
		"?digest=sha256:"
		"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e"
		"73043362938b9824 HTTP/1.1\r\nHost: h\r\nContent-Length: 5"
		"\r\n\r\nhello",
		"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: h\r\n"
		"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	};
	size_t len = 0;

	for (uint32_t n = 1 + kr_rand_below(r, 6); n > 0; n--) {
		const char *text = requests[kr_rand_below(
			r, sizeof(requests) / sizeof(requests[0]))];
		const size_t more = strlen(text);
		if (len + more > cap)
			break;
		memcpy(out + len, text, more);
		len += more;
	}
	for (uint32_t n = kr_rand_below(r, 4); n > 0; n--)
		out[kr_rand_below(r, (uint32_t)len)] = (char)kr_rand_u64(r);
	return len;
}

static void test_damaged_requests_harm_nobody(void **state)
{
	enum { CLIENTS = 400 };
	const uint16_t port = start((struct kr_http_opts){
		.pull = true, .push = true, .registry = &fake.registry });
	struct kr_rand r;
	struct http_client c;
	char noise[4096];
	(void)state;

	(void)fake_registry_add_blob(&fake, "hello", 5);
	kr_rand_init(&r, 20260131);
	for (int i = 0; i < CLIENTS; i++) {
		const size_t len = make_noise(&r, noise, sizeof(noise));
		const size_t cut = kr_rand_below(&r, (uint32_t)len);
		http_open(&c, port);
		(void)(http_write(&c, noise, cut) &&
		       http_write(&c, noise + cut, len - cut));
		const uint32_t manner = kr_rand_below(&r, 3);
		if (manner > 0)
			(void)shutdown(c.fd, SHUT_WR);
		while (manner > 1 && http_fill(&c) > 0)
			; /* read to the end; else leave at once */
		http_close(&c);
	}
	http_open(&c, port);
	get(&c, "/health");
	expect(&c, 200, "OK\n");
	http_close(&c);
	assert_true(fake_registry_settle(&fake));
}

static void test_stop_waits_for_the_role(void **state)
{
	const uint16_t port = start((struct kr_http_opts){
		.pull = true, .registry = &fake.registry });
	struct http_client idle, busy;
	(void)state;

	fake.delay_ms[KR_REG_TAG_GET] = 500;
	http_open(&idle, port);
	http_open(&busy, port);
	get(&busy, "/v2/a/manifests/x");
	while (fake_registry_calls(&fake, KR_REG_TAG_GET) == 0)
		(void)usleep(1000);
	kr_http_stop(http);
	http = NULL;
	assert_true(http_is_over(&idle));
	expect(&busy, 503, NULL); /* canceled, and told so */
	assert_true(http_is_over(&busy));
	http_close(&idle);
	http_close(&busy);
}

/*
 * For the thread sanitizer: what one server freed the other must not get.  The
 * second is stopped by a thread that nothing orders behind the end of the
 * first, as far as the sanitizer sees.
 */
static atomic_bool may_stop;

static void *stop_when_told(void *arg)
{
	while (!atomic_load_explicit(&may_stop, memory_order_relaxed))
		(void)usleep(1000);
	kr_http_stop(arg);
	return NULL;
}

static void test_two_servers_share_nothing(void **state)
{
	const struct kr_http_opts opts = { .registry = &fake.registry };
	struct http_client c;
	pthread_t stopper;
	(void)state;

	(void)start(opts);
	assert_int_equal(pthread_create(&stopper, NULL, stop_when_told, http),
			 0);
	http_open(&c, start(opts));
	get(&c, "/readiness");
	expect(&c, 200, "OK\n");
	http_close(&c);
	kr_http_stop(http);
	http = NULL;
	atomic_store_explicit(&may_stop, true, memory_order_relaxed);
	assert_int_equal(pthread_join(stopper, NULL), 0);
}

static void test_a_body_that_nobody_needs_is_swallowed(void **state)
{
	const uint16_t port = start((struct kr_http_opts){ .registry = NULL });
	struct http_client c;
	(void)state;

	http_open(&c, port);
	assert_true(http_printf(&c, "GET /health HTTP/1.1\r\nHost: h\r\n"
				    "Content-Length: 30\r\n\r\n"
				    "GET /metrics HTTP/1.1\r\nHost: h"));
	expect(&c, 200, "OK\n");
	get(&c, "/health");
	expect(&c, 200, "OK\n"); /* not the metrics */
	http_close(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_admin_endpoints_need_no_role),
		TEST(test_readiness_says_why_not),
		TEST(test_an_address_in_use_is_said),
		TEST(test_connections_beyond_the_limit_are_turned_away),
		TEST(test_a_client_must_send_its_request_in_time),
		TEST(test_the_role_may_take_its_time),
		TEST(test_an_endless_head_is_431),
		TEST(test_a_client_that_leaves_early_cancels_the_call),
		TEST(test_a_request_sent_early_waits_its_turn),
		TEST(test_small_bodies_have_a_common_budget),
		TEST(test_damaged_requests_harm_nobody),
		TEST(test_stop_waits_for_the_role),
		TEST(test_two_servers_share_nothing),
		TEST(test_a_body_that_nobody_needs_is_swallowed),
	};
	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
