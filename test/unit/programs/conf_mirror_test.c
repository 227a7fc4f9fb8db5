/* test/unit/programs/conf_mirror_test.c - the keys of a build-index that is a
 * mirror: what is taken, and how it is refused. */
#include <string.h>

#include "control/programs/conf.h"
#include "test/support/test.h"

static enum kr_err load(const char *yaml, struct kr_conf *ret,
			struct kr_config_error *ce)
{
	return kr_config_load_memory("c.yaml", yaml, strlen(yaml),
				     kr_conf_schema(KR_ROLE_BUILD_INDEX), ret,
				     ce);
}

static void a_mirror_is_taken_as_it_is_written(void **state)
{
	static const char yaml[] =
		"store: {dir: /x}\n"
		"backends:\n"
		"  - namespace: ^library/\n"
		"    backend: {file: {root_directory: /mnt/bucket}}\n"
		"  - namespace: ^raw/\n"
		"    backend: {file: {root_directory: /r, name_path: "
		"identity}}\n"
		"tags:\n"
		"  upstream_timeout: 500ms\n"
		"  freshness:\n"
		"    - repository: ^library/base\n"
		"      cache: 1m30s\n"
		"      stale: false\n"
		"    - repository: ^library/\n";
	struct kr_config_error ce;
	struct kr_conf c;

	(void)state;
	assert_ok(load(yaml, &c, &ce));
	const struct kr_conf_backend *b = c.backends.list;
	const struct kr_conf_freshness *f = c.freshness.list;
	assert_int_equal(c.backends.count, 2);
	assert_int_equal(b[0].name_path, KR_CONF_DOCKER_TAG);
	assert_int_equal(b[1].name_path, KR_CONF_IDENTITY);
	assert_int_equal(c.upstream_timeout_ns, 500000000);
	assert_int_equal(c.freshness.count, 2);
	assert_int_equal(f[0].cache_ns, UINT64_C(90000000000));
	assert_false(f[0].stale);
	assert_int_equal(f[1].cache_ns, 0); /* always ask */
	assert_true(f[1].stale);
	kr_conf_free(KR_ROLE_BUILD_INDEX, &c);
}

static void what_is_wrong_is_said_with_line_and_key(void **state)
{
	static const struct {
		const char *yaml, *where, *key;
	} rows[] = {
		{ "store: {dir: /x}\nbackends:\n  - namespace: a\n    "
		  "backend:\n"
		  "      file:\n        name_path: sharded_docker_blob\n",
		  "c.yaml:6:", "backend.file.name_path" },
		{ "store: {dir: /x}\nbackends:\n  - backend: {file: "
		  "{root_directory: /r}}\n",
		  "c.yaml:3:", "namespace" },
		{ "store: {dir: /x}\ntags:\n  freshness:\n    - repository: a\n"
		  "      cache: soon\n",
		  "c.yaml:5:", "cache" },
		{ "store: {dir: /x}\ntags:\n  freshness:\n    - cache: 1s\n",
		  "c.yaml:4:", "repository" },
		{ "store: {dir: /x}\ntags:\n  freshness:\n    - repository: a\n"
		  "      stale: maybe\n",
		  "c.yaml:5:", "stale" },
		{ "store: {dir: /x}\ntags:\n  freshness:\n    - repository: a\n"
		  "      fresh: 1s\n",
		  "c.yaml:5:", "fresh" },
	};
	struct kr_config_error ce;
	struct kr_conf c;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_err(load(rows[i].yaml, &c, &ce), KR_E_CONFIG);
		if (strstr(ce.text, rows[i].where) == NULL ||
		    strstr(ce.text, rows[i].key) == NULL)
			fail_msg("expected %s %s, got %s", rows[i].where,
				 rows[i].key, ce.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mirror_is_taken_as_it_is_written),
		cmocka_unit_test(what_is_wrong_is_said_with_line_and_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
