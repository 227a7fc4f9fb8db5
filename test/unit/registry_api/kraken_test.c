#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/kraken.h"

#define HEX                                                          \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b78" \
	"52b855"
#define DIGEST "sha256:" HEX
#define UUID   "0123abcd-0123-0123-0123-0123456789ab"

enum {
	ALL = KR_KRAKEN_AGENT | KR_KRAKEN_ORIGIN | KR_KRAKEN_PROXY |
	      KR_KRAKEN_INDEX
};

static struct kr_route parse(const char *path, unsigned sets)
{
	struct kr_route r;

	kr_kraken_route_parse(
		(struct kr_bytes){ (const uint8_t *)path, strlen(path) }, sets,
		&r);
	return r;
}

static void test_each_endpoint_is_known(void **state)
{
	static const struct {
		const char *path;
		enum kr_route_kind kind;
		const char *repo, *tag;
	} rows[] = {
		{ "/tags/team/app:v1", KR_ROUTE_KRAKEN_TAG, "team/app", "v1" },
		{ "/tags/a:v1/digest/" DIGEST, KR_ROUTE_KRAKEN_TAG_DIGEST, "a",
		  "v1" },
		{ "/remotes/tags/a:v1", KR_ROUTE_KRAKEN_REPLICATE, "a", "v1" },
		{ "/repositories/a/b/tags", KR_ROUTE_KRAKEN_REPO_TAGS, "a/b",
		  "" },
		{ "/list/", KR_ROUTE_KRAKEN_LIST, "", "" },
		{ "/list/a/B", KR_ROUTE_KRAKEN_LIST, "a/B", "" },
		{ "/namespace/a/b/blobs/" DIGEST, KR_ROUTE_KRAKEN_BLOB, "a/b",
		  "" },
		{ "/namespace/a/blobs/" HEX, KR_ROUTE_KRAKEN_BLOB, "a", "" },
		{ "/internal/namespace/a/blobs/" HEX, KR_ROUTE_KRAKEN_STAT, "a",
		  "" },
		{ "/namespace/a/blobs/" HEX "/uploads", KR_ROUTE_KRAKEN_UPLOADS,
		  "a", "" },
		{ "/namespace/a/blobs/" HEX "/uploads/" UUID,
		  KR_ROUTE_KRAKEN_UPLOAD, "a", "" },
		{ "/namespace/a/blobs/" HEX "/prefetch",
		  KR_ROUTE_KRAKEN_PREFETCH, "a", "" },
		{ "/blobs/" HEX, KR_ROUTE_KRAKEN_BLOB_HERE, "", "" },
		{ "/internal/blobs/" HEX, KR_ROUTE_KRAKEN_BLOB_HERE, "", "" },
		{ "/blobs/" DIGEST "/locations", KR_ROUTE_KRAKEN_LOCATIONS, "",
		  "" },
		{ "/preload/tags/a/b:c", KR_ROUTE_KRAKEN_PRELOAD, "a/b", "c" },
		{ "/registry/notifications", KR_ROUTE_KRAKEN_NOTIFY, "", "" },
		{ "/proxy/v1/registry/prefetch", KR_ROUTE_KRAKEN_PREFETCH_IMAGE,
		  "", "" },
		{ "/proxy/v2/registry/prefetch", KR_ROUTE_KRAKEN_PREFETCH_IMAGE,
		  "", "" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct kr_route r = parse(rows[i].path, ALL);

		assert_int_equal(r.kind, rows[i].kind);
		assert_int_equal(r.fault, KR_ROUTE_FINE);
		assert_string_equal(r.repo, rows[i].repo);
		assert_string_equal(r.tag, rows[i].tag);
		assert_int_equal(r.by_digest,
				 strstr(rows[i].path, HEX) != NULL);
	}
}

static void test_a_digest_may_lack_its_algorithm(void **state)
{
	const struct kr_route bare = parse("/blobs/" HEX, ALL);
	const struct kr_route full = parse("/blobs/" DIGEST, ALL);
	(void)state;

	assert_true(kr_digest_equal(&bare.digest, &full.digest));
}

static void test_a_malformed_name_is_still_the_endpoint(void **state)
{
	static const struct {
		const char *path;
		enum kr_route_fault fault;
	} rows[] = {
		{ "/tags/nothing", KR_ROUTE_BAD_TAG },
		{ "/tags/A:v1", KR_ROUTE_BAD_NAME },
		{ "/tags/a:", KR_ROUTE_BAD_TAG },
		{ "/tags/a:v1/digest/x", KR_ROUTE_BAD_DIGEST },
		{ "/namespace//blobs/" HEX, KR_ROUTE_BAD_NAME },
		{ "/namespace/a/blobs/", KR_ROUTE_BAD_DIGEST },
		{ "/namespace/a/blobs/" HEX "/uploads/x", KR_ROUTE_BAD_ID },
		{ "/blobs/abc", KR_ROUTE_BAD_DIGEST },
		{ "/repositories//tags", KR_ROUTE_BAD_NAME },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct kr_route r = parse(rows[i].path, ALL);

		assert_int_not_equal(r.kind, KR_ROUTE_UNKNOWN);
		assert_int_equal(r.fault, rows[i].fault);
	}
}

static void test_what_is_no_endpoint_is_unknown(void **state)
{
	static const char *const paths[] = { "",
					     "/",
					     "/tag/a:v1",
					     "/namespace/a",
					     "/namespace/a/blob/" HEX,
					     "/internal/namespace/a/blobs/" HEX
					     "/uploads",
					     "/repositories/a",
					     "/repositories/a/tags/b",
					     "/registry/notifications/x",
					     "/proxy/v3/registry/prefetch",
					     "/v2/a/tags/list" };
	(void)state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(parse(paths[i], ALL).kind, KR_ROUTE_UNKNOWN);
}

static void test_a_role_has_its_own_endpoints_only(void **state)
{
	(void)state;
	assert_int_equal(parse("/tags/a:b", KR_KRAKEN_AGENT).kind,
			 KR_ROUTE_KRAKEN_TAG);
	assert_int_equal(parse("/tags/a:b", KR_KRAKEN_INDEX).kind,
			 KR_ROUTE_KRAKEN_TAG);
	assert_int_equal(parse("/tags/a:b", KR_KRAKEN_ORIGIN).kind,
			 KR_ROUTE_UNKNOWN);
	assert_int_equal(
		parse("/tags/a:b/digest/" DIGEST, KR_KRAKEN_AGENT).kind,
		KR_ROUTE_UNKNOWN);
	assert_int_equal(
		parse("/namespace/a/blobs/" HEX "/uploads", KR_KRAKEN_AGENT)
			.kind,
		KR_ROUTE_UNKNOWN);
	assert_int_equal(parse("/registry/notifications", 0).kind,
			 KR_ROUTE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_endpoint_is_known),
		cmocka_unit_test(test_a_digest_may_lack_its_algorithm),
		cmocka_unit_test(test_a_malformed_name_is_still_the_endpoint),
		cmocka_unit_test(test_what_is_no_endpoint_is_unknown),
		cmocka_unit_test(test_a_role_has_its_own_endpoints_only),
	};

	return cmocka_run_group_tests_name("kraken", tests, NULL, NULL);
}
