#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/config.h"

struct backend {
	char *name;
	uint64_t timeout_ns;
	struct kr_config_strings paths;
};

struct conf {
	bool verify;
	uint64_t workers;
	uint64_t quota_bytes;
	uint64_t ttl_ns;
	char *cluster;
	char *password;
	char *listen;
	char *metrics;
	uint32_t level;
	struct kr_config_strings hosts;
	struct kr_config_objects backends;
};

static const char *const levels[] = { "debug", "info", "warn", NULL };

static const struct kr_config_row backend_rows[] = {
	KR_CONFIG_STRING(struct backend, name, "name", NULL, "its name"),
	KR_CONFIG_DURATION(struct backend, timeout_ns, "net.timeout", "5s", 1,
			   UINT64_MAX, "give up after"),
	KR_CONFIG_STRINGS(struct backend, paths, "paths", "a,b", 0, 9, "where"),
};
static const struct kr_config_schema backend_schema =
	KR_CONFIG_SCHEMA(struct backend, backend_rows);

static const struct kr_config_row rows[] = {
	KR_CONFIG_BOOL(struct conf, verify, "store.verify", "true",
		       "hash what is there"),
	KR_CONFIG_BYTES(struct conf, quota_bytes, "store.quota", "10GB", 1024,
			UINT64_MAX, "bytes kept"),
	KR_CONFIG_DURATION(struct conf, ttl_ns, "store.upload.ttl", "24h", 0,
			   UINT64_C(604800000000000), "idle uploads"),
	KR_CONFIG_U64(struct conf, workers, "workers", "4", 1, 64, "threads"),
	KR_CONFIG_STRING(struct conf, cluster, "cluster", "", "its name"),
	KR_CONFIG_SECRET(struct conf, password, "password", "", "secret"),
	KR_CONFIG_ADDRESS(struct conf, listen, "listen", ":5000", "listen on"),
	KR_CONFIG_ADDRESS(struct conf, metrics, "metrics", "", "metrics on"),
	KR_CONFIG_ENUM(struct conf, level, "log.level", "info", levels,
		       "how much is said"),
	KR_CONFIG_STRINGS(struct conf, hosts, "hosts", "", 0, 3, "who"),
	KR_CONFIG_OBJECTS(struct conf, backends, "backends", &backend_schema, 0,
			  8, "where blobs live"),
};
static const struct kr_config_schema schema =
	KR_CONFIG_SCHEMA(struct conf, rows);

static struct kr_config_error err;

static struct conf load(const char *yaml)
{
	struct conf c;
	const enum kr_err code = kr_config_load_memory(
		"t.yaml", yaml, strlen(yaml), &schema, &c, &err);

	if (code != KR_OK)
		fail_msg("%s", err.text);
	return c;
}

static void expect_refused(const char *yaml, const char *text)
{
	struct conf c;

	memset(&c, 0x5a, sizeof(c));
	assert_int_equal(kr_config_load_memory("t.yaml", yaml, strlen(yaml),
					       &schema, &c, &err),
			 KR_E_CONFIG);
	assert_string_equal(err.text, text);
	assert_int_equal(((unsigned char *)&c)[0], 0x5a); /* untouched */
}

static void test_nothing_gives_the_defaults(void **state)
{
	static const char *const nothings[] = { "",  "---\n", "# only this\n",
						"~", "{}",    "store:\n" };
	(void)state;

	for (size_t i = 0; i < sizeof(nothings) / sizeof(nothings[0]); i++) {
		struct conf c = load(nothings[i]);
		assert_true(c.verify);
		assert_int_equal(c.workers, 4);
		assert_int_equal(c.quota_bytes, 10000000000);
		assert_int_equal(c.ttl_ns, UINT64_C(86400000000000));
		assert_string_equal(c.cluster, "");
		assert_string_equal(c.listen, ":5000");
		assert_string_equal(c.metrics, "");
		assert_int_equal(c.level, 1);
		assert_int_equal(c.hosts.count, 0);
		assert_int_equal(c.backends.count, 0);
		kr_config_free(&schema, &c);
	}
}

static void test_every_type_is_read(void **state)
{
	struct conf c =
		load("store:\n"
		     "  verify: off\n"
		     "  quota: 64MiB\n"
		     "  upload: {ttl: 1h30m}\n"
		     "workers: 8\n"
		     "cluster: \"a: b\"\n"
		     "listen: '[::1]:80'\n"
		     "metrics: localhost:9100\n"
		     "log:\n"
		     "  level: warn\n"
		     "hosts: [a, b]\n"
		     "backends:\n"
		     "- name: one\n"
		     "- {name: two, net: {timeout: 1.5s}, paths: []}\n");
	const struct backend *b = c.backends.list;
	(void)state;

	assert_false(c.verify);
	assert_int_equal(c.quota_bytes, 64 << 20);
	assert_int_equal(c.ttl_ns, UINT64_C(5400000000000));
	assert_int_equal(c.workers, 8);
	assert_string_equal(c.cluster, "a: b");
	assert_string_equal(c.listen, "[::1]:80");
	assert_string_equal(c.metrics, "localhost:9100");
	assert_int_equal(c.level, 2);
	assert_int_equal(c.hosts.count, 2);
	assert_string_equal(c.hosts.list[1], "b");
	assert_int_equal(c.backends.count, 2);
	assert_string_equal(b[0].name, "one");
	assert_int_equal(b[0].timeout_ns, UINT64_C(5000000000));
	assert_int_equal(b[0].paths.count, 2);
	assert_int_equal(b[1].timeout_ns, UINT64_C(1500000000));
	assert_int_equal(b[1].paths.count, 0);
	kr_config_free(&schema, &c);
	assert_null(c.cluster);
	kr_config_free(&schema, &c); /* zeroed memory is fine */
}

static void test_an_unknown_key_is_placed_and_a_near_one_named(void **state)
{
	(void)state;
	expect_refused("store:\n  verify: yes\n  qouta: 1GB\n",
		       "t.yaml:3:3: key `store.qouta`: expected a known key, "
		       "got an unknown one; did you mean `store.quota`?");
	expect_refused("stor: {quota: 1GB}\n",
		       "t.yaml:1:1: key `stor`: expected a known key, got an "
		       "unknown one; did you mean `store`?");
	expect_refused("zebra: 1\n",
		       "t.yaml:1:1: key `zebra`: expected a known key, got an "
		       "unknown one");
}

static void test_bad_values_say_what_was_expected_and_found(void **state)
{
	static const struct {
		const char *yaml, *text;
	} cases[] = {
		{ "workers: 0", "1:10: key `workers`: expected a whole "
				"number, from 1 to 64, got \"0\"" },
		{ "workers: 65", "1:10: key `workers`: expected a whole "
				 "number, from 1 to 64, got \"65\"" },
		{ "workers: -1", "1:10: key `workers`: expected a whole "
				 "number, from 1 to 64, got \"-1\"" },
		{ "workers: 99999999999999999999",
		  "1:10: key `workers`: expected a whole number, from 1 to "
		  "64, got \"99999999999999999999\"" },
		{ "workers:", "1:9: key `workers`: expected a whole number, "
			      "from 1 to 64, got nothing" },
		{ "workers: [4]", "1:10: key `workers`: expected a whole "
				  "number, from 1 to 64, got a list of 1" },
		{ "store: {verify: maybe}",
		  "1:17: key `store.verify`: expected true or false, got "
		  "\"maybe\"" },
		{ "store: {quota: 5 apples}",
		  "1:16: key `store.quota`: expected a size such as 64MiB or "
		  "10GB, 1KiB or more, got \"5 apples\"" },
		{ "store: {quota: 1B}",
		  "1:16: key `store.quota`: expected a size such as 64MiB or "
		  "10GB, 1KiB or more, got \"1B\"" },
		{ "store: {upload: {ttl: 5}}",
		  "1:23: key `store.upload.ttl`: expected a duration such as "
		  "300ms, 5s or 2h, from 0 to 7d, got \"5\"" },
		{ "store: 5", "1:8: key `store`: expected a map of keys, got "
			      "text" },
		{ "log: {level: loud}", "1:14: key `log.level`: expected one "
					"of debug, info, warn, got \"loud\"" },
		{ "listen: {a: b}", "1:9: key `listen`: expected an address "
				    "such as host:port, got a map" },
		{ "listen: ''", "1:9: key `listen`: expected an address such "
				"as host:port, got \"\"" },
		{ "listen: a:70000", "1:9: key `listen`: expected an address "
				     "such as host:port, got \"a:70000\"" },
		{ "listen: a b:70", "1:9: key `listen`: expected an address "
				    "such as host:port, got \"a b:70\"" },
		{ "hosts: [a, [b]]", "1:12: key `hosts`: expected a list of "
				     "strings, 0 to 3 of them, got a list of "
				     "1" },
		{ "hosts: [a, b, c, d]", "1:8: key `hosts`: expected a list "
					 "of strings, 0 to 3 of them, got a "
					 "list of 4" },
		{ "password: [hunter2]", "1:11: key `password`: expected "
					 "text, got a list of 1" },
		{ "backends: 7", "1:11: key `backends`: expected a list of "
				 "maps, 0 to 8 of them, got \"7\"" },
		{ "backends: [a]", "1:12: key `backends`: expected a list of "
				   "maps, 0 to 8 of them, got \"a\"" },
		{ "backends:\n- {name: a}\n- {paths: b}",
		  "3:3: key `backends[1].name`: expected text, got nothing: "
		  "it must be given" },
		{ "backends:\n- {name: a, nett: {}}",
		  "2:13: key `backends[0].nett`: expected a known key, got "
		  "an unknown one; did you mean `backends[0].net`?" },
		{ "backends:\n- {name: a, net: {timeout: x}}",
		  "2:28: key `backends[0].net.timeout`: expected a duration "
		  "such as 300ms, 5s or 2h, 1ns or more, got \"x\"" },
		{ "extends: a.yaml", "1:1: key `extends`: expected it in a "
				     "file only, got it here" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), "t.yaml:%s", cases[i].text);
		expect_refused(cases[i].yaml, text);
	}
}

static void test_what_yaml_offers_beyond_data_is_refused(void **state)
{
	char deep[64];
	(void)state;

	expect_refused("workers: 4\nworkers: 5\n",
		       "t.yaml:2:1: key `workers`: expected it once, got it "
		       "again (first in line 1)");
	expect_refused("workers: &a 4\n",
		       "t.yaml:1:10: key `workers`: expected a plain value, "
		       "got an anchor, an alias or a tag");
	expect_refused("hosts: *a\n",
		       "t.yaml:1:8: key `hosts`: expected a plain value, got "
		       "an anchor, an alias or a tag");
	expect_refused("hosts: !!set {a}\n",
		       "t.yaml:1:8: key `hosts`: expected a plain value, got "
		       "an anchor, an alias or a tag");
	expect_refused("workers: 4\n---\nworkers: 5\n",
		       "t.yaml:2:1: expected one document, got a second");
	expect_refused("[a]", "t.yaml:1:1: expected a map of keys, got a "
			      "list");
	expect_refused("text", "t.yaml:1:1: expected a map of keys, got "
			       "text");
	expect_refused("? [a]\n: b\n", "t.yaml:1:3: expected a key, got a "
				       "collection");
	expect_refused("cluster: \"a\\0b\"\n",
		       "t.yaml:1:10: key `cluster`: expected text, got a NUL "
		       "byte");
	snprintf(deep, sizeof(deep), "a: %.20s", "[[[[[[[[[[[[[[[[[[[[");
	expect_refused(deep, "t.yaml:1:19: expected at most 16 levels, got "
			     "more");
}

static void test_broken_yaml_is_placed(void **state)
{
	struct conf c;
	const char yaml[] = "workers: 4\n  cluster: x\n";
	(void)state;

	assert_int_equal(kr_config_load_memory("t.yaml", yaml, strlen(yaml),
					       &schema, &c, &err),
			 KR_E_CONFIG);
	assert_memory_equal(err.text, "t.yaml:2:10: expected YAML, got a ", 34);
}

static void test_sizes_of_files_maps_and_lists_are_bounded(void **state)
{
	char *big = malloc(KR_CONFIG_FILE_MAX + 2);
	size_t len = 0;
	(void)state;

	assert_non_null(big);
	memset(big, '#', KR_CONFIG_FILE_MAX + 1);
	big[KR_CONFIG_FILE_MAX + 1] = '\0';
	expect_refused(big, "t.yaml:1:1: expected at most 1MiB, got 1048577 "
			    "bytes");
	for (int i = 0; i <= KR_CONFIG_ROWS_MAX; i++)
		len += (size_t)sprintf(big + len, "k%d: 1\n", i);
	expect_refused(big, "t.yaml:257:1: key `k256`: expected at most 256 "
			    "keys, got more");
	len = (size_t)sprintf(big, "hosts: [");
	for (int i = 0; i <= KR_CONFIG_LIST_MAX; i++)
		len += (size_t)sprintf(big + len, "a,\n");
	sprintf(big + len, "]\n");
	expect_refused(big, "t.yaml:4097:1: expected at most 4096 elements, "
			    "got more");
	sprintf(big, "%.200s: 1\n",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	expect_refused(big, "t.yaml:1:1: expected a key, got one of more than "
			    "127 bytes");
	free(big);
}

/* ---- text to numbers ----------------------------------------------------*/

static void test_sizes_and_durations_as_text(void **state)
{
	static const struct {
		const char *key, *text;
		uint64_t value; /* 0: refused */
	} cases[] = {
		{ "store.quota", "2000", 2000 },
		{ "store.quota", "2000B", 2000 },
		{ "store.quota", "4KiB", 4096 },
		{ "store.quota", "4kib", 4096 },
		{ "store.quota", "4kb", 4000 },
		{ "store.quota", "1.5MiB", 1572864 },
		{ "store.quota", "2TB", UINT64_C(2000000000000) },
		{ "store.quota", "1TiB", UINT64_C(1) << 40 },
		{ "store.quota", "18446744073709551615", UINT64_MAX },
		{ "store.quota", "18446744073709551616", 0 },
		{ "store.quota", "99999999TiB", 0 },
		{ "store.quota", "4 KiB", 0 },
		{ "store.quota", "4K", 0 },
		{ "store.quota", "4.KiB", 0 },
		{ "store.quota", "4.1234KiB", 0 },
		{ "store.quota", "-4KiB", 0 },
		{ "store.quota", "4KiB4KiB", 0 },
		{ "store.quota", "0x4000", 0 },
		{ "store.quota", "", 0 },
		{ "store.upload.ttl", "300ms", 300000000 },
		{ "store.upload.ttl", "7us", 7000 },
		{ "store.upload.ttl", "7ns", 7 },
		{ "store.upload.ttl", "2d", UINT64_C(172800000000000) },
		{ "store.upload.ttl", "1h1m1s", UINT64_C(3661000000000) },
		{ "store.upload.ttl", "8d", 0 },
		{ "store.upload.ttl", "7", 0 },
		{ "store.upload.ttl", "7S", 0 },
		{ "store.upload.ttl", "s", 0 },
		{ "store.upload.ttl", "99999999999999999d", 0 },
	};
	struct conf c;
	(void)state;

	assert_int_equal(kr_config_defaults(&schema, &c), KR_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const bool quota = strcmp(cases[i].key, "store.quota") == 0;
		const uint64_t before = quota ? c.quota_bytes : c.ttl_ns;
		const enum kr_err code = kr_config_set(
			&schema, &c, cases[i].key, cases[i].text, &err);
		if (code != (cases[i].value ? KR_OK : KR_E_CONFIG))
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_int_equal(quota ? c.quota_bytes : c.ttl_ns,
				 cases[i].value ? cases[i].value : before);
	}
	assert_int_equal(
		kr_config_set(&schema, &c, "store.upload.ttl", "0", &err),
		KR_OK);
	assert_int_equal(c.ttl_ns, 0);
	kr_config_free(&schema, &c);
}

static void test_addresses_are_split(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: refused */
		uint16_t port;
	} cases[] = {
		{ "a.example:80", "a.example", 80 },
		{ "[fe80::1%eth0]:65535", "fe80::1%eth0", 65535 },
		{ ":0", "", 0 },
		{ "a", NULL, 0 },
		{ "a:", NULL, 0 },
		{ ":", NULL, 0 },
		{ ":x", NULL, 0 },
		{ ":65536", NULL, 0 },
		{ "a/b:80", NULL, 0 },
		{ "", NULL, 0 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char host[KR_CONFIG_HOST_MAX];
		uint16_t port = 1;
		const enum kr_err code =
			kr_config_address_split(cases[i].text, host, &port);
		assert_int_equal(code, cases[i].host ? KR_OK : KR_E_INVALID);
		if (cases[i].host != NULL) {
			assert_string_equal(host, cases[i].host);
			assert_int_equal(port, cases[i].port);
		}
	}
}

/* ---- flags --------------------------------------------------------------*/

static void test_flags_set_single_keys(void **state)
{
	struct conf c = load("hosts: [x]\ncluster: old\n");
	(void)state;

	assert_int_equal(kr_config_set(&schema, &c, "cluster", "new", &err),
			 KR_OK);
	assert_string_equal(c.cluster, "new");
	assert_int_equal(kr_config_set(&schema, &c, "hosts", "a, b ,c", &err),
			 KR_OK);
	assert_int_equal(c.hosts.count, 3);
	assert_string_equal(c.hosts.list[1], "b");
	assert_int_equal(kr_config_set(&schema, &c, "hosts", "", &err), KR_OK);
	assert_int_equal(c.hosts.count, 0);
	assert_int_equal(kr_config_set(&schema, &c, "hosts", "a,b,c,d", &err),
			 KR_E_CONFIG);
	assert_int_equal(kr_config_set(&schema, &c, "log.level", "debug", &err),
			 KR_OK);
	assert_int_equal(c.level, 0);
	assert_int_equal(kr_config_set(&schema, &c, "workers", "100", &err),
			 KR_E_CONFIG);
	assert_string_equal(err.text,
			    "command line: key `workers`: expected a whole "
			    "number, from 1 to 64, got \"100\"");
	assert_int_equal(kr_config_set(&schema, &c, "backends", "x", &err),
			 KR_E_CONFIG);
	assert_int_equal(kr_config_set(&schema, &c, "worker", "1", &err),
			 KR_E_CONFIG);
	assert_string_equal(err.text,
			    "command line: key `worker`: expected a known "
			    "key, got an unknown one; did you mean "
			    "`workers`?");
	kr_config_free(&schema, &c);
}

/* ---- print --------------------------------------------------------------*/

static void test_print_shows_values_defaults_and_no_secret(void **state)
{
	struct conf c = load("store: {quota: 3MiB}\n"
			     "password: hunter2\n"
			     "cluster: 'say \"hi\"'\n"
			     "hosts: [a, b]\n"
			     "backends: [{name: one}]\n");
	struct kr_buf out;
	(void)state;

	kr_buf_init(&out, 1 << 16);
	assert_int_equal(kr_config_print(&schema, &c, &out), KR_OK);
	assert_int_equal(kr_buf_append(&out, "", 1), KR_OK);
	assert_string_equal(
		(const char *)out.ptr,
		"store.verify = true  # hash what is there\n"
		"store.quota = 3MiB (default 10GB)  # bytes kept\n"
		"store.upload.ttl = 1d  # idle uploads\n"
		"workers = 4  # threads\n"
		"cluster = \"say \\\"hi\\\"\" (default \"\")  # its name\n"
		"password = \"***\" (default \"\")  # secret\n"
		"listen = \":5000\"  # listen on\n"
		"metrics = \"\"  # metrics on\n"
		"log.level = info  # how much is said\n"
		"hosts = [\"a\", \"b\"] (default [])  # who\n"
		"backends = 1 of them  # where blobs live\n"
		"backends[0].name = \"one\"  # its name\n"
		"backends[0].net.timeout = 5s  # give up after\n"
		"backends[0].paths = [\"a\", \"b\"]  # where\n");
	kr_buf_fini(&out);
	kr_config_free(&schema, &c);
}

/* ---- files --------------------------------------------------------------*/

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/kr_config_test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];
	(void)state;

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_later_sources_win_key_by_key(void **state)
{
	struct conf c;
	(void)state;

	write_file("base.yaml", "workers: 1\ncluster: base\n"
				"store: {quota: 1GB, verify: false}\n"
				"hosts: [a, b]\n"
				"backends: [{name: x}, {name: y}]\n");
	write_file("middle.yaml", "extends: base.yaml\nworkers: 2\n");
	write_file("agent.yaml", "extends: middle.yaml\n"
				 "cluster: agent\n"
				 "store: {quota: 2GB}\n"
				 "hosts: [c]\n"
				 "backends: [{name: z}]\n");
	write_file("secrets.yaml", "password: hunter2\nworkers: 3\n");
	assert_int_equal(kr_config_load(path_of("agent.yaml"),
					path_of("secrets.yaml"), &schema, &c,
					&err),
			 KR_OK);
	assert_string_equal(err.text, "");
	assert_int_equal(c.workers, 3);
	assert_string_equal(c.cluster, "agent");
	assert_string_equal(c.password, "hunter2");
	assert_int_equal(c.quota_bytes, 2000000000);
	assert_false(c.verify);
	assert_int_equal(c.hosts.count, 1);
	assert_int_equal(c.backends.count, 1);
	assert_string_equal(((struct backend *)c.backends.list)->name, "z");
	kr_config_free(&schema, &c);
}

static void expect_file_refused(const char *name, enum kr_err code,
				const char *text)
{
	struct conf c;
	const char *path = path_of(name);
	const char *at;

	assert_int_equal(kr_config_load(path, NULL, &schema, &c, &err), code);
	at = strstr(err.text, text);
	if (at == NULL)
		fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void test_loops_and_long_chains_are_refused(void **state)
{
	(void)state;

	write_file("a.yaml", "extends: b.yaml\n");
	write_file("b.yaml", "extends: ./a.yaml\n");
	expect_file_refused("a.yaml", KR_E_CONFIG,
			    "/b.yaml:1:1: key `extends`: expected another "
			    "file, got a loop back to ");
	write_file("self.yaml", "extends: self.yaml\n");
	expect_file_refused("self.yaml", KR_E_CONFIG, "got a loop back to ");
	for (int i = 0; i < KR_CONFIG_EXTENDS_MAX + 1; i++) {
		char name[32], text[64];
		snprintf(name, sizeof(name), "c%d.yaml", i);
		snprintf(text, sizeof(text), "extends: c%d.yaml\n", i + 1);
		write_file(name, i < KR_CONFIG_EXTENDS_MAX ? text : "");
	}
	expect_file_refused("c0.yaml", KR_E_CONFIG,
			    "expected at most 8 files in a row, got more");
	write_file("list.yaml", "extends: [a]\n");
	expect_file_refused("list.yaml", KR_E_CONFIG,
			    "/list.yaml:1:10: key `extends`: expected the "
			    "name of a file, got a list");
}

static void test_errors_name_the_file_they_are_in(void **state)
{
	(void)state;

	write_file("bad.yaml", "\n\nworkers: many\n");
	write_file("good.yaml", "extends: bad.yaml\n");
	expect_file_refused("good.yaml", KR_E_CONFIG,
			    "/bad.yaml:3:10: key `workers`: ");
	expect_file_refused("none.yaml", KR_E_NOTFOUND,
			    "/none.yaml: cannot be read: No such file");
	write_file("dangling.yaml", "extends: none.yaml\n");
	expect_file_refused("dangling.yaml", KR_E_NOTFOUND,
			    "/none.yaml: cannot be read: No such file");
	expect_file_refused("", KR_E_IO, "cannot be read: Is a directory");
}

static void test_a_file_may_be_large_but_not_larger(void **state)
{
	char *big = malloc(KR_CONFIG_FILE_MAX + 2);
	struct conf c;
	(void)state;

	assert_non_null(big);
	memset(big, '#', KR_CONFIG_FILE_MAX + 1);
	big[KR_CONFIG_FILE_MAX + 1] = '\0';
	write_file("big.yaml", big);
	expect_file_refused("big.yaml", KR_E_CONFIG, "expected at most 1MiB");
	big[KR_CONFIG_FILE_MAX] = '\0';
	write_file("big.yaml", big);
	assert_int_equal(
		kr_config_load(path_of("big.yaml"), NULL, &schema, &c, &err),
		KR_OK);
	kr_config_free(&schema, &c);
	free(big);
}

#define FILES(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_gives_the_defaults),
		cmocka_unit_test(test_every_type_is_read),
		cmocka_unit_test(
			test_an_unknown_key_is_placed_and_a_near_one_named),
		cmocka_unit_test(
			test_bad_values_say_what_was_expected_and_found),
		cmocka_unit_test(test_what_yaml_offers_beyond_data_is_refused),
		cmocka_unit_test(test_broken_yaml_is_placed),
		cmocka_unit_test(
			test_sizes_of_files_maps_and_lists_are_bounded),
		cmocka_unit_test(test_sizes_and_durations_as_text),
		cmocka_unit_test(test_addresses_are_split),
		cmocka_unit_test(test_flags_set_single_keys),
		cmocka_unit_test(
			test_print_shows_values_defaults_and_no_secret),
		FILES(test_later_sources_win_key_by_key),
		FILES(test_loops_and_long_chains_are_refused),
		FILES(test_errors_name_the_file_they_are_in),
		FILES(test_a_file_may_be_large_but_not_larger),
	};
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
