/* Upload sessions: what counts, what is resumed, what becomes a blob. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/store.h"

struct fixture {
	char dir[64];
	struct kr_store_opts opts;
	struct kr_store *s;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/kr_upload_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->opts.dir = f->dir;
	f->opts.quota_bytes = 1 << 20;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	kr_store_close(f->s);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	kr_store_close(f->s);
	f->s = NULL;
	assert_int_equal(kr_store_open(&f->opts, &f->s), KR_OK);
}

static const char *upload_path(const struct fixture *f, const char *uuid,
			       const char *suffix)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/uploads/%s%s", f->dir, uuid, suffix);
	return path;
}

static struct kr_store_usage usage(struct fixture *f)
{
	struct kr_store_usage use;

	kr_store_usage(f->s, &use);
	return use;
}

static struct kr_digest digest_of(const char *text)
{
	struct kr_digest d;
	struct kr_hash h;

	assert_int_equal(kr_hash_init(&h, KR_SHA256), KR_OK);
	kr_hash_update(&h, text, strlen(text));
	kr_hash_final(&h, &d);
	return d;
}

/* A session with @text at @from, not saved; its UUID goes to @uuid. */
static struct kr_store_upload *begin(struct fixture *f, const char *text,
				     char uuid[KR_STORE_UUID_LEN + 1])
{
	const size_t len = strlen(text);
	struct kr_store_upload *u = NULL;

	assert_int_equal(kr_store_upload_create(f->s, &u), KR_OK);
	assert_int_equal(kr_store_upload_reserve(u, len), KR_OK);
	assert_int_equal(pwrite(kr_store_upload_fd(u), text, len, 0), len);
	memcpy(uuid, kr_store_upload_uuid(u), KR_STORE_UUID_LEN + 1);
	return u;
}

static void test_a_saved_session_is_resumed_with_its_state(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello world", uuid);
	size_t len = 0;

	assert_int_equal(kr_store_upload_save(u, 11, "state", 5), KR_OK);
	assert_int_equal(pwrite(kr_store_upload_fd(u), "torn", 4, 11), 4);
	kr_store_upload_close(u, true);
	reopen(f);
	assert_int_equal(usage(f).upload_count, 1);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_OK);
	assert_int_equal(kr_store_upload_size(u), 11);
	assert_memory_equal(kr_store_upload_state(u, &len), "state", 5);
	assert_int_equal(len, 5);
	assert_int_equal(lseek(kr_store_upload_fd(u), 0, SEEK_END), 11);
	assert_int_equal(usage(f).upload_bytes, 11);
	kr_store_upload_close(u, false);
	assert_int_equal(usage(f).upload_bytes, 0);
	assert_int_not_equal(access(upload_path(f, uuid, ""), F_OK), 0);
	assert_int_not_equal(access(upload_path(f, uuid, ".state"), F_OK), 0);
}

static void test_what_was_never_saved_does_not_count(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid);
	size_t len = 1;

	kr_store_upload_close(u, true);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_OK);
	assert_int_equal(kr_store_upload_size(u), 0);
	(void)kr_store_upload_state(u, &len);
	assert_int_equal(len, 0);
	assert_int_equal(lseek(kr_store_upload_fd(u), 0, SEEK_END), 0);
	kr_store_upload_close(u, true);
}

static void test_a_session_becomes_a_blob(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest_of("hello world");
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello world, torn", uuid);
	struct kr_store_blob *b;
	char got[11];

	assert_int_equal(kr_store_upload_save(u, 11, NULL, 0), KR_OK);
	assert_int_equal(kr_store_upload_commit(u, &d), KR_OK);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_E_NOTFOUND);
	assert_int_equal(usage(f).upload_bytes, 0);
	assert_int_equal(usage(f).upload_count, 0);
	assert_int_equal(usage(f).blob_bytes, 11);
	reopen(f);
	assert_int_equal(kr_store_blob_open(f->s, &d, &b), KR_OK);
	assert_int_equal(kr_store_blob_size(b), 11);
	assert_int_equal(pread(kr_store_blob_fd(b), got, 11, 0), 11);
	assert_memory_equal(got, "hello world", 11);
	kr_store_blob_close(b);
}

static void test_bytes_that_were_not_saved_are_not_committed(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest_of("hello");
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid);

	assert_int_equal(kr_store_upload_commit(u, &d), KR_E_INVALID);
	assert_int_equal(kr_store_upload_save(u, 6, NULL, 0), KR_E_INVALID);
	assert_int_equal(kr_store_upload_save(u, 5, NULL, 0), KR_OK);
	assert_int_equal(kr_store_upload_commit(u, &d), KR_OK);
}

static void test_a_second_upload_of_a_blob_is_dropped(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = digest_of("hello");
	char uuid[KR_STORE_UUID_LEN + 1];

	for (int i = 0; i < 2; i++) {
		struct kr_store_upload *u = begin(f, "hello", uuid);
		assert_int_equal(kr_store_upload_save(u, 5, NULL, 0), KR_OK);
		assert_int_equal(kr_store_upload_commit(u, &d), KR_OK);
	}
	assert_int_equal(usage(f).blob_bytes, 5);
	assert_int_equal(usage(f).upload_bytes, 0);
	assert_int_not_equal(access(upload_path(f, uuid, ""), F_OK), 0);
}

static void test_names_and_double_opens_are_refused(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid), *second;

	assert_int_equal(kr_store_upload_open(f->s, uuid, &second), KR_E_BUSY);
	assert_int_equal(kr_store_upload_open(f->s, "../lock", &second),
			 KR_E_INVALID);
	assert_int_equal(kr_store_upload_open(f->s, "", &second), KR_E_INVALID);
	assert_int_equal(
		kr_store_upload_open(
			f->s, "01234567-89ab-4cde-8f01-23456789abcd", &second),
		KR_E_NOTFOUND);
	kr_store_upload_close(u, false);
}

static void test_a_damaged_state_costs_the_session(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid);
	int fd;

	assert_int_equal(kr_store_upload_save(u, 5, "state", 5), KR_OK);
	kr_store_upload_close(u, true);
	fd = open(upload_path(f, uuid, ".state"), O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 22), 1);
	close(fd);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_E_NOTFOUND);
	assert_int_equal(usage(f).upload_count, 0);
	assert_int_equal(usage(f).upload_bytes, 0);
	assert_int_not_equal(access(upload_path(f, uuid, ""), F_OK), 0);
}

static void test_data_shorter_than_saved_cost_the_session(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid);

	assert_int_equal(kr_store_upload_save(u, 5, NULL, 0), KR_OK);
	kr_store_upload_close(u, true);
	assert_int_equal(truncate(upload_path(f, uuid, ""), 3), 0);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_E_NOTFOUND);
}

static void test_states_have_a_limit(void **state)
{
	struct fixture *f = *state;
	static const char big[KR_STORE_STATE_MAX + 1];
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "hello", uuid);
	size_t len;

	assert_int_equal(kr_store_upload_save(u, 5, big, sizeof(big)),
			 KR_E_TOOBIG);
	assert_int_equal(kr_store_upload_save(u, 5, big, KR_STORE_STATE_MAX),
			 KR_OK);
	kr_store_upload_close(u, true);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &u), KR_OK);
	(void)kr_store_upload_state(u, &len);
	assert_int_equal(len, KR_STORE_STATE_MAX);
	kr_store_upload_close(u, false);
}

static void test_idle_sessions_expire_open_ones_do_not(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1], other[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *idle, *open_one, *third;

	f->opts.upload_ttl_ns = 1;
	reopen(f);
	open_one = begin(f, "open", other);
	idle = begin(f, "idle", uuid);
	kr_store_upload_close(idle, true);
	usleep(1000);
	assert_int_equal(kr_store_upload_create(f->s, &third), KR_OK);
	assert_int_equal(usage(f).upload_count, 2);
	assert_int_equal(kr_store_upload_open(f->s, uuid, &idle),
			 KR_E_NOTFOUND);
	kr_store_upload_close(third, true);
	kr_store_upload_close(open_one, true);
	usleep(1000);
	reopen(f);
	assert_int_equal(usage(f).upload_count, 0);
	assert_int_equal(usage(f).upload_bytes, 0);
}

static void test_reserved_bytes_count_against_the_quota(void **state)
{
	struct fixture *f = *state;
	char uuid[KR_STORE_UUID_LEN + 1];
	struct kr_store_upload *u = begin(f, "", uuid);

	assert_int_equal(kr_store_upload_reserve(u, 1 << 20), KR_OK);
	assert_int_equal(usage(f).upload_bytes, 1 << 20);
	assert_int_equal(kr_store_upload_reserve(u, 1), KR_E_NOSPC);
	kr_store_upload_close(u, true); /* what is not there is given back */
	assert_int_equal(usage(f).upload_bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_saved_session_is_resumed_with_its_state),
		TEST(test_what_was_never_saved_does_not_count),
		TEST(test_a_session_becomes_a_blob),
		TEST(test_bytes_that_were_not_saved_are_not_committed),
		TEST(test_a_second_upload_of_a_blob_is_dropped),
		TEST(test_names_and_double_opens_are_refused),
		TEST(test_a_damaged_state_costs_the_session),
		TEST(test_data_shorter_than_saved_cost_the_session),
		TEST(test_states_have_a_limit),
		TEST(test_idle_sessions_expire_open_ones_do_not),
		TEST(test_reserved_bytes_count_against_the_quota),
	};
	return cmocka_run_group_tests_name("store_upload", tests, NULL, NULL);
}
