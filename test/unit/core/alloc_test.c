#include "test/support/test.h"

#include <stdint.h>
#include <string.h>

#include "core/alloc.h"

static void test_memory_is_aligned_as_asked(void **state)
{
	const struct kr_alloc *heap = kr_alloc_heap();
	(void)state;

	for (size_t align = 1; align <= 4096; align *= 2) {
		void *p = heap->get(heap->ctx, 100, align);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % align, 0);
		memset(p, 0xaa, 100);
		heap->put(heap->ctx, p);
	}
}

static void test_putting_null_is_harmless(void **state)
{
	const struct kr_alloc *heap = kr_alloc_heap();
	(void)state;

	heap->put(heap->ctx, NULL);
}

static void test_sizes_that_would_wrap_are_refused(void **state)
{
	const struct kr_alloc *heap = kr_alloc_heap();
	(void)state;

	assert_null(heap->get(heap->ctx, SIZE_MAX - 3, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_is_aligned_as_asked),
		cmocka_unit_test(test_putting_null_is_harmless),
		cmocka_unit_test(test_sizes_that_would_wrap_are_refused),
	};
	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
