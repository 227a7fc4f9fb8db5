/* test/unit/backends/file_test.c - backends/file, one behaviour per test, in a
 * directory of its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/file.h"

#define HEX  "ab0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
#define HEX2 "cd0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"

enum { SIZE = 600 * 1024 };

struct fixture {
	char dir[64], root[96];
	struct kr_backend *b;
	uint8_t *bytes;
	int fd; /* holds bytes */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	strcpy(f->dir, "/tmp/kr-file-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	(void)snprintf(f->root, sizeof(f->root), "%s/root/", f->dir);
	f->bytes = malloc(SIZE);
	f->fd = memfd_create("bytes", MFD_CLOEXEC);
	if (f->bytes == NULL || f->fd < 0)
		return -1;
	for (size_t i = 0; i < SIZE; i++)
		f->bytes[i] = (uint8_t)(i * 31 + i / 251);
	if (write(f->fd, f->bytes, SIZE) != SIZE)
		return -1;
	*state = f;
	return kr_backend_file_open(f->root, KR_LAYOUT_SHARDED_DOCKER_BLOB,
				    &f->b) == KR_OK
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	kr_backend_close(f->b);
	close(f->fd);
	free(f->bytes);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
	const int rc = system(command);
	free(f);
	return rc;
}

/* Do the first @len bytes of @fd at @offset equal the fixture's there? */
static void assert_bytes(struct fixture *f, int fd, size_t offset, size_t len)
{
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	assert_int_equal(pread(fd, buf, len + 1, (off_t)offset), len);
	assert_memory_equal(buf, f->bytes + offset, len);
	free(buf);
}

static void test_what_was_put_can_be_had(void **state)
{
	struct fixture *f = *state;
	const int out = memfd_create("out", MFD_CLOEXEC);
	uint64_t size;

	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_E_NOTFOUND);
	assert_int_equal(kr_backend_get(f->b, HEX, 0, UINT64_MAX, out),
			 KR_E_NOTFOUND);
	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, SIZE), KR_OK);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_OK);
	assert_int_equal(size, SIZE);
	assert_int_equal(kr_backend_get(f->b, HEX, 0, UINT64_MAX, out), KR_OK);
	assert_bytes(f, out, 0, SIZE);
	close(out);
}

static void test_it_lies_where_kraken_looks(void **state)
{
	struct fixture *f = *state;
	char path[256];
	struct stat st;

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, 10), KR_OK);
	(void)snprintf(path, sizeof(path),
		       "%sdocker/registry/v2/blobs/sha256/ab/" HEX "/data",
		       f->root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 10);
}

static void test_a_range_lands_at_its_offset(void **state)
{
	struct fixture *f = *state;
	const int out = memfd_create("out", MFD_CLOEXEC);

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, SIZE), KR_OK);
	assert_int_equal(kr_backend_get(f->b, HEX, 1000, 300000, out), KR_OK);
	assert_bytes(f, out, 1000, 300000);
	assert_int_equal(kr_backend_get(f->b, HEX, SIZE, 0, out), KR_OK);
	assert_int_equal(kr_backend_get(f->b, HEX, SIZE, 1, out), KR_E_RANGE);
	assert_int_equal(kr_backend_get(f->b, HEX, SIZE + 1, UINT64_MAX, out),
			 KR_E_RANGE);
	assert_int_equal(kr_backend_get(f->b, HEX, 1, UINT64_MAX - 1, out),
			 KR_E_RANGE);
	close(out);
}

static void test_an_empty_object_is_an_object(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 1;

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, 0), KR_OK);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_OK);
	assert_int_equal(size, 0);
}

static void test_a_put_replaces(void **state)
{
	struct fixture *f = *state;
	uint64_t size;

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, SIZE), KR_OK);
	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, 5), KR_OK);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_OK);
	assert_int_equal(size, 5);
}

static void test_a_source_that_is_short_leaves_what_was_there(void **state)
{
	struct fixture *f = *state;
	uint64_t size;

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, SIZE + 1),
			 KR_E_CORRUPT);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_E_NOTFOUND);
	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, 7), KR_OK);
	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, SIZE + 1),
			 KR_E_CORRUPT);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_OK);
	assert_int_equal(size, 7);
}

static uint32_t count_files(const char *dir)
{
	char command[160];
	uint32_t count = 0;

	(void)snprintf(command, sizeof(command), "find %s -type f | wc -l",
		       dir);
	FILE *p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%u", &count), 1);
	pclose(p);
	return count;
}

/* A write that fails half-way: nothing is left behind, nothing is visible.
 * (RLIMIT_FSIZE stands in for the full disk.) */
static void test_a_write_that_fails_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small;
	uint64_t size;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = SIZE / 2;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	const enum kr_err err = kr_backend_put(f->b, HEX, f->fd, SIZE);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(err, KR_E_TOOBIG);
	assert_int_equal(kr_backend_stat(f->b, HEX, &size), KR_E_NOTFOUND);
	assert_int_equal(count_files(f->root), 0);
}

static void test_a_full_disk_says_so(void **state)
{
	struct fixture *f = *state;
	char small[96];
	struct kr_backend *b;

	(void)snprintf(small, sizeof(small), "%s/small", f->dir);
	assert_int_equal(mkdir(small, 0700), 0);
	if (mount("none", small, "tmpfs", 0, "size=256k") != 0) {
		print_message("skipped: a file system of 256 KiB cannot be "
			      "mounted without privilege\n");
		skip();
	}
	assert_int_equal(kr_backend_file_open(small, KR_LAYOUT_IDENTITY, &b),
			 KR_OK);
	const enum kr_err err = kr_backend_put(b, "x", f->fd, SIZE);
	const enum kr_err after = kr_backend_put(b, "x", f->fd, 100 * 1024);
	kr_backend_close(b);
	assert_int_equal(umount(small), 0);
	assert_int_equal(err, KR_E_NOSPC);
	assert_int_equal(after, KR_OK); /* nothing was left in the way */
}

struct names {
	uint32_t count, stop_at;
	char last[128];
};

static _Bool on_name(void *ctx, const char *name)
{
	struct names *n = ctx;

	n->count++;
	strncpy(n->last, name, sizeof(n->last) - 1);
	return n->count != n->stop_at;
}

static void test_lists_name_what_is_there_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct names all = { 0 }, some = { 0 }, one = { .stop_at = 1 };
	char path[256];

	assert_int_equal(kr_backend_put(f->b, HEX, f->fd, 1), KR_OK);
	assert_int_equal(kr_backend_put(f->b, HEX2, f->fd, 1), KR_OK);
	(void)snprintf(path, sizeof(path),
		       "%sdocker/registry/v2/blobs/sha256/ab/" HEX
		       "/.kraken-tmp-1-1",
		       f->root);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(kr_backend_list(f->b, "", on_name, &all), KR_OK);
	assert_int_equal(all.count, 2);
	assert_int_equal(kr_backend_list(f->b, "cd", on_name, &some), KR_OK);
	assert_int_equal(some.count, 1);
	assert_string_equal(some.last, HEX2);
	assert_int_equal(kr_backend_list(f->b, "", on_name, &one), KR_OK);
	assert_int_equal(one.count, 1);
}

static void test_names_of_another_layout_are_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t size;

	assert_int_equal(kr_backend_stat(f->b, "../x", &size), KR_E_INVALID);
	assert_int_equal(kr_backend_put(f->b, "a:b", f->fd, 1), KR_E_INVALID);
	assert_int_equal(kr_backend_get(f->b, "", 0, 1, f->fd), KR_E_INVALID);
}

static void test_a_root_without_parent_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct kr_backend *b;

	(void)snprintf(path, sizeof(path), "%s/no/such/root", f->dir);
	assert_int_equal(kr_backend_file_open(path, KR_LAYOUT_IDENTITY, &b),
			 KR_E_NOTFOUND);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_what_was_put_can_be_had),
		T(test_it_lies_where_kraken_looks),
		T(test_a_range_lands_at_its_offset),
		T(test_an_empty_object_is_an_object),
		T(test_a_put_replaces),
		T(test_a_source_that_is_short_leaves_what_was_there),
		T(test_a_write_that_fails_leaves_nothing),
		T(test_a_full_disk_says_so),
		T(test_lists_name_what_is_there_and_nothing_else),
		T(test_names_of_another_layout_are_refused),
		T(test_a_root_without_parent_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
