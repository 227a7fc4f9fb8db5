#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/grammar.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static char *repeat(char c, size_t n)
{
	char *s = malloc(n + 1);

	assert_non_null(s);
	memset(s, c, n);
	s[n] = '\0';
	return s;
}

static void test_names_of_the_specification_are_valid(void **state)
{
	static const char *const good[] = { "a",         "a/b",
					    "library/x", "a.b/c_d/e-f",
					    "a__b",      "a---b",
					    "0/1",       "a/b/c/d/e" };
	(void)state;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(kr_repo_is_valid(bytes(good[i])));
}

static void test_other_names_are_not(void **state)
{
	static const char *const bad[] = { "",     "A",     "/a",    "a/",
					   "a//b", "a..b",  "a___b", "-a",
					   "a-",   "a._b",  "a b",   "a:b",
					   "..",   "a/../b" };
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(kr_repo_is_valid(bytes(bad[i])));
}

static void test_a_name_ends_at_its_limit(void **state)
{
	char *s = repeat('a', KR_REPO_MAX + 1);
	(void)state;

	assert_false(kr_repo_is_valid(bytes(s)));
	s[KR_REPO_MAX] = '\0';
	assert_true(kr_repo_is_valid(bytes(s)));
	free(s);
}

static void test_tags_begin_with_a_word_character(void **state)
{
	char *s = repeat('x', KR_TAG_MAX + 1);
	(void)state;

	assert_true(kr_tag_is_valid(bytes("latest")));
	assert_true(kr_tag_is_valid(bytes("_A.b-c")));
	assert_false(kr_tag_is_valid(bytes("")));
	assert_false(kr_tag_is_valid(bytes(".a")));
	assert_false(kr_tag_is_valid(bytes("-a")));
	assert_false(kr_tag_is_valid(bytes("a/b")));
	assert_false(kr_tag_is_valid(bytes(s)));
	s[KR_TAG_MAX] = '\0';
	assert_true(kr_tag_is_valid(bytes(s)));
	free(s);
}

static void test_upload_ids_are_uuids(void **state)
{
	(void)state;
	assert_true(kr_upload_id_is_valid(
		bytes("01234567-89ab-4cde-8f01-23456789abcd")));
	assert_false(kr_upload_id_is_valid(
		bytes("01234567-89AB-4cde-8f01-23456789abcd")));
	assert_false(kr_upload_id_is_valid(
		bytes("01234567x89ab-4cde-8f01-23456789abcd")));
	assert_false(kr_upload_id_is_valid(
		bytes("01234567-89ab-4cde-8f01-23456789abc")));
	assert_false(kr_upload_id_is_valid(
		bytes("../../../../etc/passwd/aaaaaaaaaaaaa")));
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UUID  "01234567-89ab-4cde-8f01-23456789abcd"

static void test_each_endpoint_has_its_route(void **state)
{
	static const struct {
		const char *path;
		enum kr_route_kind kind;
		const char *repo;
	} cases[] = {
		{ "/v2/", KR_ROUTE_BASE, "" },
		{ "/v2", KR_ROUTE_BASE, "" },
		{ "/v2/a/b/blobs/sha256:" HEX64, KR_ROUTE_BLOB, "a/b" },
		{ "/v2/a/blobs/uploads/", KR_ROUTE_UPLOADS, "a" },
		{ "/v2/a/blobs/uploads", KR_ROUTE_UPLOADS, "a" },
		{ "/v2/a/blobs/uploads/" UUID, KR_ROUTE_UPLOAD, "a" },
		{ "/v2/a/manifests/latest", KR_ROUTE_MANIFEST, "a" },
		{ "/v2/a/manifests/sha256:" HEX64, KR_ROUTE_MANIFEST, "a" },
		{ "/v2/a/tags/list", KR_ROUTE_TAGS, "a" },
		{ "/v2/blobs/manifests/manifests/x", KR_ROUTE_MANIFEST,
		  "blobs/manifests" },
		{ "/health", KR_ROUTE_HEALTH, "" },
		{ "/readiness", KR_ROUTE_READINESS, "" },
		{ "/metrics", KR_ROUTE_METRICS, "" },
		{ "/", KR_ROUTE_UNKNOWN, "" },
		{ "", KR_ROUTE_UNKNOWN, "" },
		{ "/v2/a", KR_ROUTE_UNKNOWN, "" },
		{ "/v2/_catalog", KR_ROUTE_CATALOG, "" },
		{ "/v2/_catalog/", KR_ROUTE_UNKNOWN, "" },
		{ "/v2/a/b/referrers/sha256:" HEX64, KR_ROUTE_REFERRERS,
		  "a/b" },
		{ "/v2/a/tags/list/", KR_ROUTE_UNKNOWN, "" },
		{ "/healthy", KR_ROUTE_UNKNOWN, "" },
	};
	struct kr_route r;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kr_route_parse(bytes(cases[i].path), &r);
		assert_int_equal(r.kind, cases[i].kind);
		assert_int_equal(r.fault, KR_ROUTE_FINE);
		assert_string_equal(r.repo, cases[i].repo);
	}
}

static void test_a_route_carries_its_reference(void **state)
{
	struct kr_route r;
	char text[KR_DIGEST_TEXT_MAX];
	(void)state;

	kr_route_parse(bytes("/v2/a/manifests/v1.0"), &r);
	assert_false(r.by_digest);
	assert_string_equal(r.tag, "v1.0");
	kr_route_parse(bytes("/v2/a/manifests/sha256:" HEX64), &r);
	assert_true(r.by_digest);
	assert_string_equal(r.tag, "");
	assert_string_equal(kr_digest_print(&r.digest, text), "sha256:" HEX64);
	kr_route_parse(bytes("/v2/a/blobs/uploads/" UUID), &r);
	assert_string_equal(r.upload_id, UUID);
}

static void test_a_malformed_part_keeps_the_endpoint(void **state)
{
	static const struct {
		const char *path;
		enum kr_route_kind kind;
		enum kr_route_fault fault;
	} cases[] = {
		{ "/v2/A/manifests/x", KR_ROUTE_MANIFEST, KR_ROUTE_BAD_NAME },
		{ "/v2/a/../b/tags/list", KR_ROUTE_TAGS, KR_ROUTE_BAD_NAME },
		{ "/v2/a/blobs/sha256:12", KR_ROUTE_BLOB, KR_ROUTE_BAD_DIGEST },
		{ "/v2/a/blobs/latest", KR_ROUTE_BLOB, KR_ROUTE_BAD_DIGEST },
		{ "/v2/a/blobs/md5:" HEX64, KR_ROUTE_BLOB,
		  KR_ROUTE_BAD_DIGEST },
		{ "/v2/a/referrers/latest", KR_ROUTE_REFERRERS,
		  KR_ROUTE_BAD_DIGEST },
		{ "/v2/A/referrers/sha256:" HEX64, KR_ROUTE_REFERRERS,
		  KR_ROUTE_BAD_NAME },
		{ "/v2/a/manifests/.x", KR_ROUTE_MANIFEST, KR_ROUTE_BAD_TAG },
		{ "/v2/a/manifests/", KR_ROUTE_MANIFEST, KR_ROUTE_BAD_TAG },
		{ "/v2/a/blobs/uploads/xyz", KR_ROUTE_UPLOAD, KR_ROUTE_BAD_ID },
		{ "/v2/A/blobs/zz", KR_ROUTE_BLOB, KR_ROUTE_BAD_NAME },
		{ "/v2//blobs/uploads/", KR_ROUTE_UPLOADS, KR_ROUTE_BAD_NAME },
	};
	struct kr_route r;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kr_route_parse(bytes(cases[i].path), &r);
		assert_int_equal(r.kind, cases[i].kind);
		assert_int_equal(r.fault, cases[i].fault);
	}
}

static void test_methods_are_case_sensitive(void **state)
{
	(void)state;
	assert_int_equal(kr_method_parse(bytes("GET")), KR_GET);
	assert_int_equal(kr_method_parse(bytes("DELETE")), KR_DELETE);
	assert_int_equal(kr_method_parse(bytes("get")), KR_METHOD_OTHER);
	assert_int_equal(kr_method_parse(bytes("")), KR_METHOD_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_the_specification_are_valid),
		cmocka_unit_test(test_other_names_are_not),
		cmocka_unit_test(test_a_name_ends_at_its_limit),
		cmocka_unit_test(test_tags_begin_with_a_word_character),
		cmocka_unit_test(test_upload_ids_are_uuids),
		cmocka_unit_test(test_each_endpoint_has_its_route),
		cmocka_unit_test(test_a_route_carries_its_reference),
		cmocka_unit_test(test_a_malformed_part_keeps_the_endpoint),
		cmocka_unit_test(test_methods_are_case_sensitive),
	};
	return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
