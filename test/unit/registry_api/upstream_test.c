#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/upstream.h"

#define TABLE(...)                                                    \
	((struct kr_upstreams){                                       \
		(const struct kr_upstream[]){ __VA_ARGS__ },          \
		sizeof((const struct kr_upstream[]){ __VA_ARGS__ }) / \
			sizeof(struct kr_upstream) })

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

/* The repository that a GET of @path is about; "!" where it has no name. */
static void expect(struct kr_upstreams table, const char *path,
		   const char *query, const char *repo)
{
	struct kr_route r;

	kr_route_parse(bytes(path), &r);
	kr_upstream_map(&table, bytes(query), &r);
	if (strcmp(repo, "!") == 0)
		assert_int_equal(r.fault, KR_ROUTE_BAD_NAME);
	else
		assert_int_equal(r.fault, KR_ROUTE_FINE);
	assert_string_equal(r.repo, strcmp(repo, "!") == 0 ? "" : repo);
}

#define HUB   "/v2/docker.io/library/x/manifests/1"
#define PLAIN "/v2/library/x/manifests/1"

static void test_without_a_table_nothing_is_mapped(void **state)
{
	const struct kr_upstreams none = { NULL, 0 };
	(void)state;

	expect(none, PLAIN, "ns=docker.io", "library/x");
	expect(none, HUB, "", "docker.io/library/x");
}

static void test_both_ways_lead_to_one_repository(void **state)
{
	struct kr_upstreams t =
		TABLE({ "docker.io", "{host}" }, { "quay.io", "" },
		      { "reg.corp", "mirror/{host}/all" });
	(void)state;

	expect(t, PLAIN, "ns=docker.io", "docker.io/library/x");
	expect(t, HUB, "", "docker.io/library/x");
	expect(t, "/v2/a/b/manifests/1", "ns=quay.io", "a/b");
	expect(t, "/v2/quay.io/a/b/manifests/1", "", "a/b");
	expect(t, "/v2/a/manifests/1", "x=1&ns=reg.corp",
	       "mirror/reg.corp/all/a");
	expect(t, "/v2/reg.corp/a/manifests/1", "", "mirror/reg.corp/all/a");
}

static void test_what_has_no_row_is_as_it_was(void **state)
{
	struct kr_upstreams t = TABLE({ "docker.io", "hub" });
	(void)state;

	expect(t, PLAIN, "ns=quay.io", "library/x");
	expect(t, "/v2/quay.io/a/manifests/1", "", "quay.io/a");
	expect(t, PLAIN, "", "library/x");
	expect(t, PLAIN, "ns=", "library/x");
	expect(t, "/v2/docker.io/manifests/1", "", "docker.io");
}

static void test_any_host_may_have_a_row(void **state)
{
	struct kr_upstreams t = TABLE({ "*", "{host}" }, { "quay.io", "q" });
	(void)state;

	expect(t, PLAIN, "ns=docker.io", "docker.io/library/x");
	expect(t, PLAIN, "ns=quay.io", "q/library/x");
	expect(t, PLAIN, "ns=Reg.corp%3A5000", "reg.corp-5000/library/x");
	expect(t, PLAIN, "", "library/x"); /* no host in sight */
	expect(t, "/v2/localhost/x/manifests/1", "", "localhost/x");
	t = TABLE({ "*", "" });
	expect(t, HUB, "", "library/x");
	expect(t, PLAIN, "", "library/x");
}

static void test_a_name_that_cannot_be_is_refused(void **state)
{
	struct kr_upstreams t = TABLE({ "*", "{host}" });
	char path[400], repo[KR_REPO_MAX + 1];
	(void)state;

	expect(t, PLAIN, "ns=[::1]:5000", "!");
	expect(t, PLAIN, "ns=a/../b", "!");
	expect(t, PLAIN, "ns=%zz", "!");
	memset(repo, 'a', 250);
	repo[250] = '\0';
	(void)snprintf(path, sizeof(path), "/v2/%s/manifests/1", repo);
	expect(t, path, "ns=docker.io", "!");
}

static void test_uploads_and_blobs_are_mapped_too(void **state)
{
	struct kr_upstreams t = TABLE({ "docker.io", "hub" });
	(void)state;

	expect(t, "/v2/docker.io/library/x/blobs/uploads/", "",
	       "hub/library/x");
	expect(t,
	       "/v2/docker.io/x/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb924"
	       "27ae41e4649b934ca495991b7852b855",
	       "", "hub/x");
	expect(t, "/v2/", "ns=docker.io", "");
}

static void test_a_useless_row_is_found(void **state)
{
	static const struct kr_upstream good[] = { { "a", "" },
						   { "*", "{host}" },
						   { "a.b:1", "x/{host}" } };
	static const struct kr_upstream bad[] = { { "", "a" },
						  { "a", "/a" },
						  { "a", "A" },
						  { "a", "a/" },
						  { "a", "{host}{host" } };
	(void)state;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(kr_upstream_is_valid(&good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(kr_upstream_is_valid(&bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_table_nothing_is_mapped),
		cmocka_unit_test(test_both_ways_lead_to_one_repository),
		cmocka_unit_test(test_what_has_no_row_is_as_it_was),
		cmocka_unit_test(test_any_host_may_have_a_row),
		cmocka_unit_test(test_a_name_that_cannot_be_is_refused),
		cmocka_unit_test(test_uploads_and_blobs_are_mapped_too),
		cmocka_unit_test(test_a_useless_row_is_found),
	};

	return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
