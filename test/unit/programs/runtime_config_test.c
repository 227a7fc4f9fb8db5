#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/programs/runtime_config.h"

enum what { CONTAINERD, DOCKER, PODMAN };

static struct kr_rtc rtc(enum kr_rtc_action action)
{
	return (struct kr_rtc){ .action = action,
				.agent = "127.0.0.1:16000",
				.upstreams = { "docker.io" },
				.upstream_count = 1,
				.root = "" };
}

static enum kr_err change(enum what what, const struct kr_rtc *r,
			  const char *old, struct kr_buf *out)
{
	const struct kr_bytes was = { (const uint8_t *)old, strlen(old) };
	const char *why = NULL;
	enum kr_err err;

	kr_buf_init(out, KR_RTC_FILE_BYTES_MAX);
	if (what == CONTAINERD)
		err = kr_rtc_containerd(r, r->upstreams[0], was, out, &why);
	else if (what == DOCKER)
		err = kr_rtc_docker(r, was, out, &why);
	else
		err = kr_rtc_podman(r, was, out, &why);
	if (err == KR_E_CONFIG)
		assert_non_null(why);
	if (err == KR_OK)
		assert_int_equal(kr_buf_append(out, "", 1), KR_OK);
	return err;
}

static void expect(enum what what, enum kr_rtc_action action, const char *old,
		   const char *want)
{
	const struct kr_rtc r = rtc(action);
	struct kr_buf out;

	assert_int_equal(change(what, &r, old, &out), KR_OK);
	assert_string_equal((const char *)out.ptr, want);
	kr_buf_fini(&out);
}

static void expect_refused(enum what what, enum kr_rtc_action action,
			   const char *old)
{
	const struct kr_rtc r = rtc(action);
	struct kr_buf out;

	assert_int_equal(change(what, &r, old, &out), KR_E_CONFIG);
	kr_buf_fini(&out);
}

/* Put in, again, and out: the second changes nothing, the third all. */
static void expect_round(enum what what, const char *old, const char *with)
{
	expect(what, KR_RTC_APPLY, old, with);
	expect(what, KR_RTC_SHOW, old, with);
	expect(what, KR_RTC_APPLY, with, with);
	expect(what, KR_RTC_REMOVE, with, old);
	expect(what, KR_RTC_REMOVE, old, old);
}

#define BEGIN "# kraken: begin (kraken runtime-config)\n"
#define HOST                                  \
	"[host.\"http://127.0.0.1:16000\"]\n" \
	"  capabilities = [\"pull\", \"resolve\"]\n"
#define END "# kraken: end\n"

static void test_containerd_gets_a_file(void **state)
{
	(void)state;
	expect_round(CONTAINERD, "",
		     BEGIN
		     "server = \"https://registry-1.docker.io\"\n\n" HOST END);
}

static void test_containerd_keeps_what_is_there(void **state)
{
	(void)state;
	expect_round(CONTAINERD,
		     "server = \"https://a.b\"\n\n"
		     "  [host.\"https://other\"]\n    x = [\"y\"]\n",
		     "server = \"https://a.b\"\n\n" BEGIN HOST END
		     "  [host.\"https://other\"]\n    x = [\"y\"]\n");
	expect_round(CONTAINERD, "server = \"https://a.b\"\n",
		     "server = \"https://a.b\"\n" BEGIN HOST END);
}

#define JOINED "# kraken: begin (kraken runtime-config, line end included)\n"

/* What looks like a table, inside of what is none. */
static void test_containerd_block_stands_before_tables_only(void **state)
{
	static const char *const keys[] = {
		"client = [\n  [\"a\", \"b\"],\n  [\"c\"],\n]\n",
		"ca = \"x\" # [ not open\n",
		"a = \"[\\\"[\"\nb = '[\\'\n",
		"a = \"\"\"\n[no]\n\\\"\"\"\"\nb = '''\n[no]\n'''\n",
		"a = { b = [ 1,\n 2 ] }\r\n",
	};
	char old[400], with[600];
	(void)state;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		(void)snprintf(old, sizeof(old), "%s[host.\"https://o\"]\n",
			       keys[i]);
		(void)snprintf(with, sizeof(with),
			       "%s" BEGIN HOST END "[host.\"https://o\"]\n",
			       keys[i]);
		expect_round(CONTAINERD, old, with);
	}
}

static void test_containerd_file_without_a_last_line_end(void **state)
{
	(void)state;
	expect_round(CONTAINERD, "server = \"https://a.b\"",
		     "server = \"https://a.b\"\n" JOINED HOST END);
	expect_round(CONTAINERD, "\n",
		     "\n" BEGIN
		     "server = \"https://registry-1.docker.io\"\n\n" HOST END);
}

static void test_containerd_follows_another_agent(void **state)
{
	const char *old = "a = 1\n" BEGIN HOST END "[host.\"x\"]\n";
	struct kr_rtc r = rtc(KR_RTC_APPLY);
	struct kr_buf out;
	(void)state;

	r.agent = "10.0.0.1:5000";
	assert_int_equal(change(CONTAINERD, &r, old, &out), KR_OK);
	assert_string_equal((const char *)out.ptr,
			    "a = 1\n" BEGIN "[host.\"http://10.0.0.1:5000\"]\n"
			    "  capabilities = [\"pull\", \"resolve\"]\n" END
			    "[host.\"x\"]\n");
	kr_buf_fini(&out);
}

static void test_containerd_files_that_we_do_not_understand_stay(void **state)
{
	(void)state;
	expect_refused(CONTAINERD, KR_RTC_APPLY, BEGIN HOST);
	expect_refused(CONTAINERD, KR_RTC_REMOVE, BEGIN HOST);
	expect_refused(CONTAINERD, KR_RTC_APPLY, HOST); /* not twice */
}

static void test_docker_gets_a_mirror(void **state)
{
	(void)state;
	expect_round(DOCKER, "",
		     "{\n    \"registry-mirrors\": [\n"
		     "        \"http://127.0.0.1:16000\"\n    ]\n}\n");
}

static void test_docker_keeps_other_keys_and_mirrors(void **state)
{
	static const char old[] = "{\n    \"zz\": 1,\n"
				  "    \"registry-mirrors\": [\n"
				  "        \"https://m\"\n    ],\n"
				  "    \"aa\": {\n        \"b\": null\n"
				  "    }\n}\n";
	static const char with[] = "{\n    \"zz\": 1,\n"
				   "    \"registry-mirrors\": [\n"
				   "        \"http://127.0.0.1:16000\",\n"
				   "        \"https://m\"\n    ],\n"
				   "    \"aa\": {\n        \"b\": null\n"
				   "    }\n}\n";
	(void)state;

	expect_round(DOCKER, old, with);
	/* nothing to change: not even the spaces */
	expect(DOCKER, KR_RTC_REMOVE, "{ \"a\":1 }", "{ \"a\":1 }");
}

/* Spaces, line ends, escapes, numbers, the order of keys. */
static void test_docker_files_come_back_byte_for_byte(void **state)
{
	static const char *const olds[] = {
		"{}",
		"{ }\n",
		"{\"a\":1}",
		"{\r\n\t\"a\": 1.10,\r\n\t\"b\": \"\\u00e9\\/\"\r\n}\r\n",
		"{\"registry-mirrors\":[]}",
		"{\"registry-mirrors\" : [ ], \"a\": [1]}",
		"{\"a\":1,\"registry-mirrors\":[\"https://m\",\"https://n\"]}",
		"\n {\"registry-mirrors\": [\r\n  \"https://m\"\r\n ]}",
	};
	struct kr_buf with, again, back;
	const struct kr_rtc in = rtc(KR_RTC_APPLY), out = rtc(KR_RTC_REMOVE);
	(void)state;

	for (size_t i = 0; i < sizeof(olds) / sizeof(olds[0]); i++) {
		assert_int_equal(change(DOCKER, &in, olds[i], &with), KR_OK);
		assert_non_null(strstr((const char *)with.ptr,
				       "\"http://127.0.0.1:16000\""));
		assert_int_equal(
			change(DOCKER, &in, (const char *)with.ptr, &again),
			KR_OK);
		assert_string_equal((const char *)again.ptr,
				    (const char *)with.ptr);
		assert_int_equal(
			change(DOCKER, &out, (const char *)with.ptr, &back),
			KR_OK);
		assert_string_equal((const char *)back.ptr, olds[i]);
		kr_buf_fini(&with);
		kr_buf_fini(&again);
		kr_buf_fini(&back);
	}
}

/* Where no edit does it, the file is printed anew and says what it said. */
static void test_docker_files_that_are_hard_to_edit(void **state)
{
	(void)state;
	expect(DOCKER, KR_RTC_APPLY, "{\"x\":{\"registry-mirrors\":[]}}",
	       "{\n    \"x\": {\n        \"registry-mirrors\": []\n    },\n"
	       "    \"registry-mirrors\": [\n"
	       "        \"http://127.0.0.1:16000\"\n    ]\n}\n");
	expect(DOCKER, KR_RTC_REMOVE,
	       "{\"registry-mirrors\":[\"https://m\","
	       "\"http:\\/\\/127.0.0.1:16000\"]}",
	       "{\n    \"registry-mirrors\": [\n        \"https://m\"\n"
	       "    ]\n}\n");
}

static void test_docker_files_that_are_no_objects_stay(void **state)
{
	static const char *const bad[] = { "[]",
					   "{",
					   "{\"a\":1,}",
					   "nonsense",
					   "{\"a\":1,\"a\":2}",
					   "{\"registry-mirrors\":\"x\"}" };
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_refused(DOCKER, KR_RTC_APPLY, bad[i]);
}

#define OURS "# Written by `kraken runtime-config`; `--remove` deletes it.\n"

static void test_podman_gets_a_file_of_ours(void **state)
{
	(void)state;
	expect_round(PODMAN, "",
		     OURS "\n[[registry]]\nprefix = \"docker.io\"\n"
			  "location = \"docker.io\"\n\n[[registry.mirror]]\n"
			  "location = \"127.0.0.1:16000\"\n"
			  "insecure = true\n");
	expect_refused(PODMAN, KR_RTC_APPLY, "# somebody's\n");
	expect_refused(PODMAN, KR_RTC_REMOVE, "# somebody's\n");
}

static void test_podman_may_keep_the_host(void **state)
{
	struct kr_rtc r = rtc(KR_RTC_APPLY);
	struct kr_buf out;
	(void)state;

	r.keep_host = true;
	r.upstreams[0] = "quay.io";
	r.upstreams[1] = "docker.io";
	r.upstream_count = 2;
	assert_int_equal(change(PODMAN, &r, "", &out), KR_OK);
	assert_non_null(strstr((const char *)out.ptr,
			       "location = \"127.0.0.1:16000/quay.io\"\n"));
	assert_non_null(strstr((const char *)out.ptr,
			       "location = \"127.0.0.1:16000/docker.io\"\n"));
	kr_buf_fini(&out);
	r.upstreams[0] = "*";
	assert_int_equal(change(PODMAN, &r, "", &out), KR_E_CONFIG);
	kr_buf_fini(&out);
}

static void test_a_file_keeps_its_mode_and_link(void **state)
{
	char dir[] = "/tmp/kraken-rtc.XXXXXX", real[64], link[64];
	const struct kr_bytes text = { (const uint8_t *)"new", 3 };
	struct kr_buf got;
	struct stat st;
	(void)state;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(real, sizeof(real), "%s/a/b/real", dir);
	(void)snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(kr_rtc_write(real, text), KR_OK); /* and a, a/b */
	assert_int_equal(chmod(real, 0600), 0);
	assert_int_equal(symlink(real, link), 0);
	assert_int_equal(kr_rtc_write(link, text), KR_OK);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(real, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	kr_buf_init(&got, KR_RTC_FILE_BYTES_MAX);
	assert_int_equal(kr_rtc_read(real, &got), KR_OK);
	assert_int_equal(got.len, 3);
	assert_memory_equal(got.ptr, "new", 3);
	kr_buf_fini(&got);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(kr_rtc_delete(real, false), KR_OK);
	assert_int_equal(kr_rtc_write(real, text), KR_OK); /* b is there */
	assert_int_equal(kr_rtc_delete(real, true), KR_OK);
	assert_int_equal(kr_rtc_delete(real, true), KR_E_NOTFOUND);
	(void)snprintf(link, sizeof(link), "%s/a", dir);
	assert_int_equal(rmdir(link), 0); /* b went with the file */
	assert_int_equal(rmdir(dir), 0);
}

static void test_a_link_to_nowhere_stays(void **state)
{
	char dir[] = "/tmp/kraken-rtc.XXXXXX", link[64], to[64] = "";
	const struct kr_bytes text = { (const uint8_t *)"new", 3 };
	(void)state;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(symlink("absent", link), 0);
	assert_int_equal(kr_rtc_write(link, text), KR_E_NOTFOUND);
	assert_int_equal(readlink(link, to, sizeof(to) - 1), 6);
	assert_string_equal(to, "absent");
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_containerd_gets_a_file),
		cmocka_unit_test(test_containerd_keeps_what_is_there),
		cmocka_unit_test(
			test_containerd_block_stands_before_tables_only),
		cmocka_unit_test(test_containerd_file_without_a_last_line_end),
		cmocka_unit_test(test_containerd_follows_another_agent),
		cmocka_unit_test(
			test_containerd_files_that_we_do_not_understand_stay),
		cmocka_unit_test(test_docker_gets_a_mirror),
		cmocka_unit_test(test_docker_keeps_other_keys_and_mirrors),
		cmocka_unit_test(test_docker_files_come_back_byte_for_byte),
		cmocka_unit_test(test_docker_files_that_are_hard_to_edit),
		cmocka_unit_test(test_docker_files_that_are_no_objects_stay),
		cmocka_unit_test(test_podman_gets_a_file_of_ours),
		cmocka_unit_test(test_podman_may_keep_the_host),
		cmocka_unit_test(test_a_file_keeps_its_mode_and_link),
		cmocka_unit_test(test_a_link_to_nowhere_stays),
	};

	return cmocka_run_group_tests_name("runtime_config", tests, NULL, NULL);
}
