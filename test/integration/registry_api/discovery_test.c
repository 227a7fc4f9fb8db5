/*
 * test/integration/registry_api/discovery_test.c - tag parameters, subjects,
 * referrers, the catalogue, deletion, and who is asked to come back later.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/addr.h"
#include "registry_api/http.h"
#include "test/support/fake_registry.h"
#include "test/support/http_client.h"

#define INDEX "application/vnd.oci.image.index.v1+json"
#define ZERO64                             \
	"00000000000000000000000000000000" \
	"00000000000000000000000000000000"

struct fixture {
	struct fake_registry fake;
	struct kr_http *http;
	struct http_client c;
};

static int start(void **state, bool push)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct kr_http_opts opts = { .role = "test",
				     .pull = true,
				     .push = push,
				     .connections_max = 1,
				     .kraken = KR_KRAKEN_PROXY };

	assert_non_null(x);
	fake_registry_init(&x->fake);
	opts.registry = &x->fake.registry;
	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &opts.listen), KR_OK);
	assert_int_equal(kr_http_start(&opts, &x->http), KR_OK);
	http_open(&x->c, kr_http_addr(x->http).port);
	*state = x;
	return 0;
}

static int setup(void **state)
{
	return start(state, true);
}

static int setup_pull_only(void **state)
{
	return start(state, false);
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	http_close(&x->c);
	kr_http_stop(x->http);
	fake_registry_fini(&x->fake);
	free(x);
	return 0;
}

static void ask(struct fixture *x, struct http_reply *r, const char *method,
		const char *path)
{
	assert_true(http_printf(&x->c, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n",
				method, path));
	assert_true(http_read(&x->c, r, strcmp(method, "HEAD") == 0));
}

static void expect_status(struct fixture *x, const char *method,
			  const char *path, int status)
{
	struct http_reply r;

	ask(x, &r, method, path);
	assert_int_equal(r.status, status);
	http_reply_free(&r);
}

static void put(struct fixture *x, struct http_reply *r, const char *reference,
		const char *json)
{
	const size_t len = strlen(json);

	assert_true(http_printf(&x->c,
				"PUT /v2/a/b/manifests/%s HTTP/1.1\r\n"
				"Host: h\r\nContent-Type: " INDEX "\r\n"
				"Content-Length: %zu\r\n\r\n",
				reference, len));
	for (size_t at = 0; at < len; at += 4000)
		assert_true(http_printf(&x->c, "%.4000s", json + at));
	assert_true(http_read(&x->c, r, false));
}

/* An index of nothing whose subject is 0...0. */
static void put_referrer(struct fixture *x, const char *type, const char *note)
{
	char json[512];
	struct http_reply r;

	(void)snprintf(json, sizeof(json),
		       "{\"schemaVersion\":2,\"mediaType\":\"" INDEX
		       "\",\"artifactType\":\"%s\",\"manifests\":[],"
		       "\"annotations\":{\"n\":\"%s\"},\"subject\":{\"digest\":"
		       "\"sha256:" ZERO64 "\",\"size\":1}}",
		       type, note);
	put(x, &r, note, json);
	assert_int_equal(r.status, 201);
	assert_string_equal(http_field(&r, "OCI-Subject"), "sha256:" ZERO64);
	http_reply_free(&r);
}

static const char empty_index[] =
	"{\"schemaVersion\":2,\"mediaType\":\"" INDEX "\",\"manifests\":[]}";

static void test_tag_parameters_name_the_manifest_too(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	put(x, &r, "v1?tag=v2&x=y&tag=v%2e3", empty_index);
	assert_int_equal(r.status, 201);
	assert_non_null(http_field(&r, "OCI-Tag"));
	assert_null(http_field(&r, "OCI-Subject"));
	http_reply_free(&r);
	expect_status(x, "HEAD", "/v2/a/b/manifests/v1", 200);
	expect_status(x, "HEAD", "/v2/a/b/manifests/v2", 200);
	expect_status(x, "HEAD", "/v2/a/b/manifests/v.3", 200);
	put(x, &r, "v9?tag=-", empty_index);
	assert_int_equal(r.status, 400);
	http_reply_free(&r);
	expect_status(x, "HEAD", "/v2/a/b/manifests/v9", 404);
}

static void test_more_tag_parameters_than_a_push_may_set(void **state)
{
	char reference[2048] = "v1?x";
	struct fixture *x = *state;
	struct http_reply r;

	for (int i = 0; i < KR_REG_TAGS_MAX; i++)
		(void)snprintf(reference + strlen(reference), 16, "&tag=t%d",
			       i);
	put(x, &r, reference, empty_index);
	assert_int_equal(r.status, 400);
	http_reply_free(&r);
	memmove(reference, strchr(reference, '?'),
		strlen(strchr(reference, '?')) + 1);
	memmove(reference + 1, reference, strlen(reference) + 1);
	reference[0] = 't';
	*strrchr(reference, '&') = '\0'; /* one less */
	put(x, &r, reference, empty_index);
	assert_int_equal(r.status, 201);
	http_reply_free(&r);
}

static void test_referrers_are_an_index(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	ask(x, &r, "GET", "/v2/a/b/referrers/sha256:" ZERO64);
	assert_int_equal(r.status, 200);
	assert_string_equal(http_field(&r, "Content-Type"), INDEX);
	assert_string_equal((char *)r.body, empty_index);
	http_reply_free(&r);

	put_referrer(x, "t/a", "one");
	put_referrer(x, "t/b", "two");
	ask(x, &r, "GET", "/v2/a/b/referrers/sha256:" ZERO64);
	assert_non_null(strstr((char *)r.body, "\"n\":\"one\""));
	assert_non_null(strstr((char *)r.body, "},{"));
	assert_non_null(strstr((char *)r.body, "\"artifactType\":\"t/b\""));
	assert_null(http_field(&r, "OCI-Filters-Applied"));
	assert_null(http_field(&r, "Link"));
	http_reply_free(&r);
}

static void test_referrers_are_filtered_and_paged(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char path[512];

	for (int i = 0; i < 3; i++)
		put_referrer(x, "t/a+b", (const char *[]){ "x", "y", "z" }[i]);
	put_referrer(x, "t/c", "other");
	(void)snprintf(path, sizeof(path),
		       "/v2/a/b/referrers/sha256:" ZERO64
		       "?artifactType=t/a%%2Bb&n=2");
	ask(x, &r, "GET", path);
	assert_int_equal(r.status, 200);
	assert_string_equal(http_field(&r, "OCI-Filters-Applied"),
			    "artifactType");
	const char *link = http_field(&r, "Link");
	assert_non_null(link);
	assert_non_null(strstr(link, "artifactType=t/a%2Bb"));
	const char *end = strstr(link, ">; rel=\"next\"");
	assert_non_null(end);
	(void)snprintf(path, sizeof(path), "%.*s", (int)(end - link - 1),
		       link + 1);
	http_reply_free(&r);
	ask(x, &r, "GET", path);
	assert_int_equal(r.status, 200);
	assert_null(http_field(&r, "Link"));
	assert_null(strstr((char *)r.body, "},{")); /* one is left */
	assert_non_null(strstr((char *)r.body, "t/a+b"));
	http_reply_free(&r);
}

static void test_a_subject_with_more_to_say_than_is_kept(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char *json = malloc(KR_REG_DESCRIPTOR_MAX + 1024);
	int n;

	assert_non_null(json);
	n = snprintf(json, 512,
		     "{\"schemaVersion\":2,\"manifests\":[],\"subject\":"
		     "{\"digest\":\"sha256:" ZERO64
		     "\",\"size\":1},\"annotations\":{\"a\":\"");
	memset(json + n, 'x', KR_REG_DESCRIPTOR_MAX);
	strcpy(json + n + KR_REG_DESCRIPTOR_MAX, "\"}}");
	put(x, &r, "big", json);
	assert_int_equal(r.status, 413);
	http_reply_free(&r);
	free(json);
}

static void test_the_catalogue_comes_in_pages(void **state)
{
	const struct kr_digest d = fake_sha256("x", 1);
	struct fixture *x = *state;
	struct http_reply r;

	fake_registry_add_tag(&x->fake, "c", "1", &d);
	fake_registry_add_tag(&x->fake, "a/b", "1", &d);
	fake_registry_add_tag(&x->fake, "a/b", "2", &d);
	fake_registry_add_tag(&x->fake, "b", "1", &d);
	ask(x, &r, "GET", "/v2/_catalog?n=2");
	assert_string_equal((char *)r.body,
			    "{\"repositories\":[\"a/b\",\"b\"]}\n");
	assert_string_equal(http_field(&r, "Link"),
			    "</v2/_catalog?n=2&last=b>; rel=\"next\"");
	http_reply_free(&r);
	ask(x, &r, "GET", "/v2/_catalog?n=2&last=b");
	assert_string_equal((char *)r.body, "{\"repositories\":[\"c\"]}\n");
	assert_null(http_field(&r, "Link"));
	http_reply_free(&r);
	expect_status(x, "GET", "/v2/_catalog?n=-1", 400);
	ask(x, &r, "HEAD", "/v2/_catalog");
	assert_int_equal(r.status, 200);
	assert_int_equal(atoi(http_field(&r, "Content-Length")),
			 strlen("{\"repositories\":[\"a/b\",\"b\",\"c\"]}\n"));
	http_reply_free(&r);
	expect_status(x, "HEAD", "/v2/a/b/tags/list", 200);
	expect_status(x, "HEAD", "/v2/a/b/referrers/sha256:" ZERO64, 200);
}

static void test_tags_manifests_and_blobs_are_deleted(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char blob[128], text[KR_DIGEST_TEXT_MAX];
	const struct kr_digest d = fake_registry_add_blob(&x->fake, "y", 1);

	put(x, &r, "v1", empty_index);
	http_reply_free(&r);
	ask(x, &r, "DELETE", "/v2/a/b/manifests/v1");
	assert_int_equal(r.status, 202);
	assert_string_equal(http_field(&r, "Content-Length"), "0");
	http_reply_free(&r);
	expect_status(x, "DELETE", "/v2/a/b/manifests/v1", 404);
	(void)snprintf(blob, sizeof(blob), "/v2/a/b/blobs/%s",
		       kr_digest_print(&d, text));
	expect_status(x, "DELETE", blob, 202);
	expect_status(x, "HEAD", blob, 404);
	expect_status(x, "DELETE", blob, 404);
}

static void test_what_something_refers_to_is_not_deleted(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	x->fake.fail[KR_REG_BLOB_DELETE] = KR_E_DENIED;
	ask(x, &r, "DELETE", "/v2/a/b/blobs/sha256:" ZERO64);
	assert_int_equal(r.status, 405);
	assert_non_null(strstr((char *)r.body, "\"code\":\"UNSUPPORTED\""));
	assert_non_null(strstr((char *)r.body, "refers to it"));
	http_reply_free(&r);
}

static void test_an_uploader_is_asked_to_come_back_later(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	x->fake.fail[KR_REG_UPLOAD_OPEN] = KR_E_LIMIT;
	ask(x, &r, "POST", "/v2/a/blobs/uploads/");
	assert_int_equal(r.status, 429);
	assert_string_equal(http_field(&r, "Retry-After"), "1");
	assert_non_null(strstr((char *)r.body, "\"code\":\"TOOMANYREQUESTS\""));
	http_reply_free(&r);
}

/* A client that pulls goes to its next mirror after a 503, and waits after a
 * 429. */
static void expect_turned_away(struct fixture *x, int status)
{
	struct http_client late;
	struct http_reply r;

	expect_status(x, "GET", "/health", 200); /* it has been let in */
	http_open(&late, kr_http_addr(x->http).port);
	assert_true(http_read_head(&late, &r));
	assert_int_equal(r.status, status);
	assert_true(http_is_over(&late));
	http_close(&late);
}

static void test_one_uploader_too_many_is_told_429(void **state)
{
	expect_turned_away(*state, 429);
}

static void test_one_puller_too_many_is_told_503(void **state)
{
	struct fixture *x = *state;

	expect_turned_away(x, 503);
	x->fake.fail[KR_REG_BLOB_OPEN] = KR_E_LIMIT;
	expect_status(x, "GET", "/v2/a/blobs/sha256:" ZERO64, 503);
}

static void test_a_pull_only_role_lists_and_does_not_delete(void **state)
{
	struct fixture *x = *state;

	expect_status(x, "GET", "/v2/_catalog", 200);
	expect_status(x, "GET", "/v2/a/referrers/sha256:" ZERO64, 200);
	expect_status(x, "DELETE", "/v2/a/manifests/x", 405);
	expect_status(x, "DELETE", "/v2/a/blobs/sha256:" ZERO64, 405);
}

static void test_an_unknown_digest_algorithm_is_refused(void **state)
{
	struct fixture *x = *state;

	expect_status(x, "POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512",
		      202);
	expect_status(x, "POST", "/v2/a/blobs/uploads/?digest-algorithm=md5",
		      400);
}

/* Every letter takes two bytes: nowhere may one be cut. */
static void test_a_long_trace_of_a_prefetch_comes_back_whole(void **state)
{
	struct fixture *x = *state;
	char trace[601] = "", want[700];
	struct http_reply r;

	for (size_t i = 0; i < 600; i += 2)
		memcpy(trace + i, "\xc3\xa9", 3);
	assert_true(http_printf(&x->c,
				"POST /proxy/v2/registry/prefetch HTTP/1.1\r\n"
				"Host: h\r\nContent-Length: %zu\r\n\r\n"
				"{\"tag\":\"none\",\"trace_id\":\"%s\"}",
				strlen(trace) + 28, trace));
	assert_true(http_read(&x->c, &r, false));
	assert_int_equal(r.status, 400);
	(void)snprintf(want, sizeof(want), "\"trace_id\":\"%s\"", trace);
	assert_non_null(strstr((const char *)r.body, want));
	http_reply_free(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define PULL(f) cmocka_unit_test_setup_teardown(f, setup_pull_only, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_tag_parameters_name_the_manifest_too),
		TEST(test_more_tag_parameters_than_a_push_may_set),
		TEST(test_referrers_are_an_index),
		TEST(test_referrers_are_filtered_and_paged),
		TEST(test_a_subject_with_more_to_say_than_is_kept),
		TEST(test_the_catalogue_comes_in_pages),
		TEST(test_tags_manifests_and_blobs_are_deleted),
		TEST(test_what_something_refers_to_is_not_deleted),
		TEST(test_an_uploader_is_asked_to_come_back_later),
		TEST(test_one_uploader_too_many_is_told_429),
		PULL(test_one_puller_too_many_is_told_503),
		PULL(test_a_pull_only_role_lists_and_does_not_delete),
		TEST(test_an_unknown_digest_algorithm_is_refused),
		TEST(test_a_long_trace_of_a_prefetch_comes_back_whole),
	};
	return cmocka_run_group_tests_name("discovery", tests, NULL, NULL);
}
