#define _GNU_SOURCE
#include "test/integration/uring/fixture.h"

#include <sys/mount.h>
#include <sys/stat.h>

enum { LEN = 3 << 20 };

static struct kr_io *io;
static uint8_t *bytes, *back;

static int set_up(void **state)
{
	(void)state;
	io = open_ring(NULL);
	bytes = malloc(LEN);
	back = calloc(1, LEN);
	for (uint32_t i = 0; i < LEN; i++)
		bytes[i] = pattern(i);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kr_ring_close(io);
	free(bytes);
	free(back);
	return 0;
}

static void test_what_is_written_and_flushed_is_read_back(void **state)
{
	int file = make_file(0);
	struct call c = { 0 };
	(void)state;

	start(kr_io_write, io, &c, file, bytes, LEN, 4097);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, LEN);
	start(kr_io_fsync, io, &c, file);
	assert_ok(finish(io, &c));
	assert_int_equal(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
	start(kr_io_read, io, &c, file, back, LEN, 4097);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, LEN);
	assert_memory_equal(bytes, back, LEN);
	close(file);
}

static void test_block_buffers_are_read_and_written_too(void **state)
{
	const uint32_t size = kr_io_buffer_size_bytes(io);
	uint8_t *a = kr_io_buffer_take(io), *b = kr_io_buffer_take(io);
	int file = make_file(0);
	struct call c = { 0 };
	(void)state;

	memcpy(a, bytes, size);
	start(kr_io_write, io, &c, file, a, size, 0);
	assert_ok(finish(io, &c));
	start(kr_io_read, io, &c, file, b + 1, size - 1, 1);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, size - 1);
	assert_memory_equal(b + 1, bytes + 1, size - 1);
	kr_io_buffer_give(io, a);
	kr_io_buffer_give(io, b);
	close(file);
}

static void test_a_read_is_short_only_at_the_end(void **state)
{
	int file = make_file(1000);
	struct call c = { 0 };
	(void)state;

	start(kr_io_read, io, &c, file, back, LEN, 100);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, 900);
	assert_memory_equal(back, bytes + 100, 900);
	start(kr_io_read, io, &c, file, back, LEN, 1000);
	assert_ok(finish(io, &c));
	assert_int_equal(c.n, 0);
	close(file);
}

static void test_space_is_reserved_and_content_kept(void **state)
{
	int file = make_file(1000);
	struct call c = { 0 };
	struct stat st;
	(void)state;

	start(kr_io_allocate, io, &c, file, 1 << 20);
	assert_ok(finish(io, &c));
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_true(st.st_blocks >= (1 << 20) / 512);
	start(kr_io_read, io, &c, file, back, 1001, 0);
	assert_ok(finish(io, &c));
	assert_memory_equal(back, bytes, 1000);
	assert_int_equal(back[1000], 0);
	close(file);
}

static void test_nothing_to_move_is_done_at_once(void **state)
{
	struct call c = { 0 };
	(void)state;

	start(kr_io_write, io, &c, -1, bytes, 0, 0);
	assert_ok(finish(io, &c));
	start(kr_io_read, io, &c, -1, back, 0, 0);
	assert_ok(finish(io, &c));
	start(kr_io_allocate, io, &c, -1, 0);
	assert_ok(finish(io, &c));
}

static void test_a_descriptor_that_is_none_is_an_error(void **state)
{
	struct call c = { 0 };
	(void)state;

	start(kr_io_write, io, &c, 9999, bytes, 1, 0);
	assert_err(finish(io, &c), KR_E_IO);
	start(kr_io_fsync, io, &c, 9999);
	assert_err(finish(io, &c), KR_E_IO);
}

/* -1: not permitted to mount. */
static int open_on_tiny_disk(char *dir)
{
	char path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0) {
		rmdir(dir);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void test_a_full_disk_is_no_space_and_keeps_what_was_there(void **state)
{
	char dir[] = "uring_disk_XXXXXX";
	struct call c = { 0 };
	struct stat st;
	int file;
	(void)state;

	file = open_on_tiny_disk(dir);
	if (file < 0) {
		print_message("skipped: mounting a tmpfs needs root\n");
		skip();
	}
	start(kr_io_write, io, &c, file, bytes, 65536, 0);
	assert_ok(finish(io, &c));
	start(kr_io_write, io, &c, file, bytes, LEN, 65536);
	assert_err(finish(io, &c), KR_E_NOSPC);
	assert_int_equal(fstat(file, &st), 0);
	assert_true(st.st_size <= 1 << 20);
	start(kr_io_read, io, &c, file, back, 65536, 0);
	assert_ok(finish(io, &c));
	assert_memory_equal(back, bytes, 65536);
	start(kr_io_allocate, io, &c, file, 2 << 20);
	assert_err(finish(io, &c), KR_E_NOSPC);
	close(file);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_what_is_written_and_flushed_is_read_back, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_block_buffers_are_read_and_written_too, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_read_is_short_only_at_the_end, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_space_is_reserved_and_content_kept, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_nothing_to_move_is_done_at_once, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_descriptor_that_is_none_is_an_error, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_full_disk_is_no_space_and_keeps_what_was_there,
			set_up, tear_down),
	};
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
