/*
 * test/integration/registry_api/manifest_test.c - manifests, tags, and what a
 * malformed request is told.
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

#define OCI "application/vnd.oci.image.manifest.v1+json"

struct fixture {
	struct fake_registry fake;
	struct kr_http *http;
	struct http_client c;
	char config[KR_DIGEST_TEXT_MAX], layer[KR_DIGEST_TEXT_MAX];
	char json[1024];
	char digest[KR_DIGEST_TEXT_MAX]; /* of json */
};

static int start(void **state, bool push)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct kr_http_opts opts = { .role = "test",
				     .pull = true,
				     .push = push,
				     .advertise = "http://here:1",
				     .manifest_bytes_max = 100000 };
	struct kr_digest d;

	assert_non_null(x);
	fake_registry_init(&x->fake);
	d = fake_registry_add_blob(&x->fake, "{}", 2);
	kr_digest_print(&d, x->config);
	d = fake_registry_add_blob(&x->fake, "layer", 5);
	kr_digest_print(&d, x->layer);
	(void)snprintf(x->json, sizeof(x->json),
		       "{\"schemaVersion\":2,\"mediaType\":\"" OCI
		       "\",\"config\":{\"digest\":\"%s\",\"size\":2},"
		       "\"layers\":[{\"digest\":\"%s\",\"size\":5}]}",
		       x->config, x->layer);
	d = fake_sha256(x->json, strlen(x->json));
	kr_digest_print(&d, x->digest);
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

static void expect_error(struct fixture *x, const char *method,
			 const char *path, int status, const char *code)
{
	struct http_reply r;
	char start_of_body[64];

	ask(x, &r, method, path);
	assert_int_equal(r.status, status);
	(void)snprintf(start_of_body, sizeof(start_of_body),
		       "{\"errors\":[{\"code\":\"%s\",\"message\":\"", code);
	assert_int_equal(
		strncmp((char *)r.body, start_of_body, strlen(start_of_body)),
		0);
	http_reply_free(&r);
}

static void put(struct fixture *x, struct http_reply *r, const char *reference,
		const char *type, const char *json)
{
	assert_true(http_printf(&x->c,
				"PUT /v2/a/b/manifests/%s HTTP/1.1\r\n"
				"Host: h\r\nContent-Type: %s\r\n"
				"Content-Length: %zu\r\n\r\n%s",
				reference, type, strlen(json), json));
	assert_true(http_read(&x->c, r, false));
}

static void test_a_manifest_comes_back_by_tag_and_digest(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char path[256];

	put(x, &r, "v1", OCI, x->json);
	assert_int_equal(r.status, 201);
	(void)snprintf(path, sizeof(path), "http://here:1/v2/a/b/manifests/%s",
		       x->digest);
	assert_string_equal(http_field(&r, "Location"), path);
	assert_string_equal(http_field(&r, "Docker-Content-Digest"), x->digest);
	http_reply_free(&r);

	ask(x, &r, "GET", "/v2/a/b/manifests/v1?ns=example.com");
	assert_int_equal(r.status, 200);
	assert_string_equal((char *)r.body, x->json);
	assert_string_equal(http_field(&r, "Content-Type"), OCI);
	assert_string_equal(http_field(&r, "Docker-Content-Digest"), x->digest);
	http_reply_free(&r);

	(void)snprintf(path, sizeof(path), "/v2/a/b/manifests/%s", x->digest);
	ask(x, &r, "HEAD", path);
	assert_int_equal(r.status, 200);
	assert_int_equal(atoi(http_field(&r, "Content-Length")),
			 strlen(x->json));
	http_reply_free(&r);
	ask(x, &r, "GET", path);
	assert_string_equal((char *)r.body, x->json);
	http_reply_free(&r);
}

static void test_a_chunked_manifest_is_taken_too(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	assert_true(http_printf(&x->c,
				"PUT /v2/a/b/manifests/v1 HTTP/1.1\r\n"
				"Host: h\r\nContent-Type: " OCI "\r\n"
				"Transfer-Encoding: chunked\r\n\r\n"
				"10\r\n%.16s\r\n",
				x->json));
	assert_true(http_printf(&x->c,
				"%zx\r\n%s\r\n0\r\nTrailer: x\r\n\r\n"
				"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n",
				strlen(x->json) - 16, x->json + 16));
	assert_true(http_read(&x->c, &r, false));
	assert_int_equal(r.status, 201);
	assert_string_equal(http_field(&r, "Docker-Content-Digest"), x->digest);
	http_reply_free(&r);
	assert_true(http_read(&x->c, &r, false));
	assert_string_equal((char *)r.body, "{}");
	http_reply_free(&r);
}

static void test_a_missing_reference_is_named(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char want[512];

	memset(strstr(x->json, x->layer) + 7, '0', 64);
	put(x, &r, "v1", OCI, x->json);
	assert_int_equal(r.status, 404);
	(void)snprintf(want, sizeof(want),
		       "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\","
		       "\"message\":\"manifest references a manifest or blob "
		       "unknown to registry\",\"detail\":{\"digest\":\"sha256:"
		       "%064d\"}}]}\n",
		       0);
	assert_string_equal((char *)r.body, want);
	http_reply_free(&r);
}

static void test_what_is_no_manifest_is_refused(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	put(x, &r, "v1", OCI, "{\"schemaVersion\":2");
	assert_int_equal(r.status, 400);
	assert_string_equal((char *)r.body,
			    "{\"errors\":[{\"code\":\"MANIFEST_INVALID\","
			    "\"message\":\"not well-formed JSON\"}]}\n");
	http_reply_free(&r);
	put(x, &r, x->config, OCI, x->json); /* another digest */
	assert_int_equal(r.status, 400);
	assert_non_null(strstr((char *)r.body, "DIGEST_INVALID"));
	http_reply_free(&r);
	put(x, &r, ".bad", OCI, x->json);
	assert_int_equal(r.status, 400);
	http_reply_free(&r);
	put(x, &r, "v1", OCI, "");
	assert_int_equal(r.status, 400);
	http_reply_free(&r);
}

static void test_a_manifest_has_a_largest_size(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	assert_true(http_printf(&x->c,
				"PUT /v2/a/b/manifests/v1 HTTP/1.1\r\n"
				"Host: h\r\nContent-Length: 100001\r\n\r\n"));
	assert_true(http_read(&x->c, &r, false));
	assert_int_equal(r.status, 413);
	http_reply_free(&r);
	assert_true(http_is_over(&x->c));
}

static void test_a_chunked_body_is_cut_off_at_it(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	char spaces[4001];

	memset(spaces, ' ', 4000);
	spaces[4000] = '\0';
	assert_true(http_printf(&x->c, "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\n"
				       "Host: h\r\nTransfer-Encoding: chunked"
				       "\r\n\r\n"));
	for (int i = 0; i < 26; i++)
		if (!http_printf(&x->c, "fa0\r\n%s\r\n", spaces))
			break;
	assert_true(http_read(&x->c, &r, false));
	assert_int_equal(r.status, 413);
	http_reply_free(&r);
	assert_true(http_is_over(&x->c));
}

static void test_errors_name_what_is_wrong(void **state)
{
	static const struct {
		const char *method, *path;
		int status;
		const char *code;
	} cases[] = {
		{ "GET", "/v2/a/manifests/nope", 404, "MANIFEST_UNKNOWN" },
		{ "GET", "/v2/a/manifests/.nope", 404, "MANIFEST_UNKNOWN" },
		{ "GET", "/v2/A/manifests/x", 400, "NAME_INVALID" },
		{ "GET", "/v2/a/blobs/sha256:1", 400, "DIGEST_INVALID" },
		{ "GET", "/v2/a/manifests/sha256:1", 400, "DIGEST_INVALID" },
		{ "GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN" },
		{ "GET", "/v2/a/tags/list?n=x", 400, "UNSUPPORTED" },
		{ "GET", "/v2/nothing", 404, "UNSUPPORTED" },
		{ "GET", "/v2/%zz/tags/list", 404, "UNSUPPORTED" },
		{ "GET", "/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN" },
		{ "POST", "/v2/A/blobs/uploads/", 400, "NAME_INVALID" },
		{ "POST", "/v2/a/blobs/uploads/?mount=x&from=a", 400,
		  "DIGEST_INVALID" },
		{ "POST", "/v2/a/blobs/uploads/?digest=x", 400,
		  "DIGEST_INVALID" },
		{ "DELETE", "/v2/a/manifests/x", 404, "MANIFEST_UNKNOWN" },
		{ "DELETE", "/v2/a/tags/list", 405, "UNSUPPORTED" },
		{ "BREW", "/v2/", 405, "UNSUPPORTED" },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_error(x, cases[i].method, cases[i].path, cases[i].status,
			     cases[i].code);
}

static void test_failures_of_the_role_keep_their_reason(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	x->fake.fail[KR_REG_TAG_GET] = KR_E_UNAVAILABLE;
	x->fake.fail_text = "build-index 10.0.0.1:15004 does not answer";
	ask(x, &r, "GET", "/v2/a/manifests/v1");
	assert_int_equal(r.status, 503);
	assert_string_equal(
		(char *)r.body,
		"{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":"
		"\"build-index 10.0.0.1:15004 does not answer\"}]}"
		"\n");
	http_reply_free(&r);
}

static void test_tags_are_listed_in_pages(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;
	const struct kr_digest d = fake_sha256("x", 1);

	for (int i = 0; i < 3; i++)
		fake_registry_add_tag(&x->fake, "a/b",
				      (const char *[]){ "v1", "v3", "v2" }[i],
				      &d);
	ask(x, &r, "GET", "/v2/a/b/tags/list");
	assert_string_equal((char *)r.body, "{\"name\":\"a/b\",\"tags\":"
					    "[\"v1\",\"v2\",\"v3\"]}\n");
	assert_null(http_field(&r, "Link"));
	http_reply_free(&r);
	ask(x, &r, "GET", "/v2/a/b/tags/list?n=2");
	assert_string_equal((char *)r.body,
			    "{\"name\":\"a/b\",\"tags\":[\"v1\",\"v2\"]}\n");
	assert_string_equal(http_field(&r, "Link"),
			    "</v2/a/b/tags/list?n=2&last=v2>; rel=\"next\"");
	http_reply_free(&r);
	ask(x, &r, "GET", "/v2/a/b/tags/list?n=2&last=v2");
	assert_string_equal((char *)r.body,
			    "{\"name\":\"a/b\",\"tags\":[\"v3\"]}\n");
	assert_null(http_field(&r, "Link"));
	http_reply_free(&r);
	ask(x, &r, "GET", "/v2/a/b/tags/list?n=0");
	assert_string_equal((char *)r.body, "{\"name\":\"a/b\",\"tags\":[]}\n");
	http_reply_free(&r);
}

static void test_a_pull_only_role_takes_no_uploads(void **state)
{
	struct fixture *x = *state;
	struct http_reply r;

	expect_error(x, "POST", "/v2/a/blobs/uploads/", 405, "UNSUPPORTED");
	put(x, &r, "v1", OCI, x->json);
	assert_int_equal(r.status, 405);
	http_reply_free(&r);
	ask(x, &r, "GET", "/v2/");
	assert_int_equal(r.status, 200);
	assert_string_equal(http_field(&r, "Docker-Distribution-API-Version"),
			    "registry/2.0");
	http_reply_free(&r);
	assert_true(http_printf(&x->c,
				"PATCH /v2/a/blobs/uploads/01234567-89ab-4cde-"
				"8f01-23456789abcd HTTP/1.1\r\nHost: h\r\n"
				"Content-Length: 99999999\r\n\r\n"));
	assert_true(http_read(&x->c, &r, false));
	assert_int_equal(r.status, 405);
	http_reply_free(&r);
	assert_true(http_is_over(&x->c));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_manifest_comes_back_by_tag_and_digest),
		TEST(test_a_chunked_manifest_is_taken_too),
		TEST(test_a_missing_reference_is_named),
		TEST(test_what_is_no_manifest_is_refused),
		TEST(test_a_manifest_has_a_largest_size),
		TEST(test_a_chunked_body_is_cut_off_at_it),
		TEST(test_errors_name_what_is_wrong),
		TEST(test_failures_of_the_role_keep_their_reason),
		TEST(test_tags_are_listed_in_pages),
		cmocka_unit_test_setup_teardown(
			test_a_pull_only_role_takes_no_uploads, setup_pull_only,
			teardown),
	};
	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
