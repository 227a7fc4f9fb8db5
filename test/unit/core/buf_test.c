#include "test/support/test.h"

#include <string.h>

#include "core/buf.h"

static void assert_holds(const struct kr_buf *b, const char *text)
{
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->ptr, text, b->len);
}

static void test_what_is_appended_stands_in_order(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 1000);
	assert_ok(kr_buf_append(&b, "ab", 2));
	assert_ok(kr_buf_append(&b, NULL, 0));
	assert_ok(kr_buf_append_str(&b, "cd"));
	assert_ok(kr_buf_printf(&b, "-%d-%s", 42, "x"));
	assert_holds(&b, "abcd-42-x");
	kr_buf_fini(&b);
}

static void test_growing_keeps_the_content(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 100000);
	for (uint32_t i = 0; i < 20000; i++) {
		const uint8_t byte = (uint8_t)(i * 7);
		assert_ok(kr_buf_append(&b, &byte, 1));
	}
	assert_int_equal(b.len, 20000);
	for (uint32_t i = 0; i < 20000; i++)
		assert_int_equal(b.ptr[i], (uint8_t)(i * 7));
	kr_buf_fini(&b);
}

static void test_the_ceiling_can_be_reached_but_not_passed(void **state)
{
	char big[300] = { 0 };
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 300);
	assert_ok(kr_buf_append(&b, big, 299));
	assert_err(kr_buf_append(&b, big, 2), KR_E_TOOBIG);
	assert_int_equal(b.len, 299);
	assert_ok(kr_buf_append(&b, big, 1));
	assert_err(kr_buf_append(&b, big, 1), KR_E_TOOBIG);
	assert_err(kr_buf_reserve(&b, SIZE_MAX), KR_E_TOOBIG);
	assert_true(b.cap <= 300);
	kr_buf_fini(&b);
}

static void test_printing_above_the_ceiling_leaves_the_content(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 8);
	assert_ok(kr_buf_append_str(&b, "abc"));
	assert_err(kr_buf_printf(&b, "%s", "123456"), KR_E_TOOBIG);
	assert_holds(&b, "abc");
	kr_buf_fini(&b);
}

/* Sanitizers abort on sizes that malloc(3) merely refuses, unless told not to
 * by these functions, which they look for by name. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void test_an_exhausted_heap_is_an_error(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, SIZE_MAX);
	assert_ok(kr_buf_append_str(&b, "abc"));
	assert_err(kr_buf_reserve(&b, SIZE_MAX / 2), KR_E_NOMEM);
	assert_holds(&b, "abc");
	kr_buf_fini(&b);
}

static void test_consuming_moves_the_rest_to_the_front(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 100);
	assert_ok(kr_buf_append_str(&b, "abcdef"));
	kr_buf_consume(&b, 0);
	assert_holds(&b, "abcdef");
	kr_buf_consume(&b, 4);
	assert_holds(&b, "ef");
	kr_buf_consume(&b, 2);
	assert_int_equal(b.len, 0);
	kr_buf_fini(&b);
}

static void test_reset_keeps_the_memory_and_fini_gives_it_back(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_buf_init(&b, 100);
	assert_ok(kr_buf_append_str(&b, "abc"));
	kr_buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_true(b.cap > 0);
	kr_buf_fini(&b);
	assert_null(b.ptr);
	assert_ok(kr_buf_append_str(&b, "again"));
	assert_holds(&b, "again");
	kr_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_appended_stands_in_order),
		cmocka_unit_test(test_growing_keeps_the_content),
		cmocka_unit_test(
			test_the_ceiling_can_be_reached_but_not_passed),
		cmocka_unit_test(
			test_printing_above_the_ceiling_leaves_the_content),
		cmocka_unit_test(test_an_exhausted_heap_is_an_error),
		cmocka_unit_test(test_consuming_moves_the_rest_to_the_front),
		cmocka_unit_test(
			test_reset_keeps_the_memory_and_fini_gives_it_back),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
