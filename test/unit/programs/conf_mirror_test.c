/* test/unit/programs/conf_mirror_test.c - the keys of a build-index that is a
 * mirror: what is taken, and how it is refused. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* What is said on stderr, in @ret of 512 bytes. */
static enum kr_err load_file(const char *yaml, const char *set, char *ret)
{
	char path[] = "/tmp/kr-conf-XXXXXX", said[] = "/tmp/kr-said-XXXXXX";
	const int fd = mkstemp(path), out = mkstemp(said), saved = dup(2);
	char *argv[] = { "build-index",          "--config", path, "--set",
			 (char *)(uintptr_t)set, NULL };
	struct kr_conf c;

	assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
	(void)dup2(out, 2);
	const enum kr_err err = kr_conf_load(KR_ROLE_BUILD_INDEX, 5, argv, &c);
	(void)dup2(saved, 2);
	const ssize_t n = pread(out, ret, 511, 0);
	ret[n < 0 ? 0 : n] = '\0';
	if (err == KR_OK)
		kr_conf_free(KR_ROLE_BUILD_INDEX, &c);
	(void)close(fd);
	(void)close(out);
	(void)close(saved);
	(void)unlink(path);
	(void)unlink(said);
	return err;
}

static void upstreams_leave_threads_to_the_database(void **state)
{
	static const char none[] = "store: {dir: /x}\n";
	static const char mirror[] =
		"store: {dir: /x}\n"
		"backends: [{namespace: a, "
		"backend: {file: {root_directory: /r}}}]\n";
	char said[512];

	(void)state;
	assert_err(load_file(mirror, "limits.work_threads=8", said),
		   KR_E_CONFIG);
	assert_non_null(strstr(said, "limits.work_threads"));
	assert_ok(load_file(mirror, "limits.work_threads=9", said));
	assert_ok(load_file(mirror, "limits.work_threads=0", said));
	assert_ok(load_file(none, "limits.work_threads=1", said));
}

static void what_is_no_regular_expression_is_named(void **state)
{
	static const char rule[] = "store: {dir: /x}\n"
				   "tags: {freshness: [{repository: a}, "
				   "{repository: \"(b\"}]}\n";
	static const char backend[] = "store: {dir: /x}\n"
				      "backends: [{namespace: \"[c\"}]\n";
	static const char tag[] = "store: {dir: /x}\n"
				  "tags: {immutable: [\"^prod/\", \"d)(\"]}\n";
	char said[512];

	(void)state;
	assert_err(load_file(rule, "zone=z", said), KR_E_CONFIG);
	assert_non_null(strstr(said, "tags.freshness"));
	assert_non_null(strstr(said, "entry 2"));
	assert_non_null(strstr(said, "(b"));
	assert_err(load_file(backend, "zone=z", said), KR_E_CONFIG);
	assert_non_null(strstr(said, "backends"));
	assert_err(load_file(tag, "zone=z", said), KR_E_CONFIG);
	assert_non_null(strstr(said, "tags.immutable"));
	assert_non_null(strstr(said, "entry 2"));
	assert_non_null(strstr(said, "d)("));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mirror_is_taken_as_it_is_written),
		cmocka_unit_test(upstreams_leave_threads_to_the_database),
		cmocka_unit_test(what_is_no_regular_expression_is_named),
		cmocka_unit_test(what_is_wrong_is_said_with_line_and_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
