/* test/unit/peerwire/slab_test.c - peerwire/slab. */
#include "test/support/fault_alloc.h"
#include "test/support/test.h"

#include <string.h>

#include "peerwire/slab.h"

struct thing {
	uint64_t a, b, c;
};

static void test_objects_are_zero_and_apart(void **state)
{
	struct fault_alloc fa;
	struct kr_slab s;
	struct thing *t[10];
	(void)state;

	fault_alloc_init(&fa, UINT32_MAX);
	kr_slab_open(&s, &fa.alloc, sizeof(struct thing), 4, 10);
	assert_int_equal(fa.calls, 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++) {
			t[i] = kr_slab_take(&s);
			assert_non_null(t[i]);
			assert_true(t[i]->a == 0 && t[i]->c == 0);
			memset(t[i], 0xff, sizeof(*t[i]));
		}
		assert_null(kr_slab_take(&s)); /* the maximum */
		for (int i = 0; i < 10; i++)
			kr_slab_give(&s, t[i]);
	}
	assert_int_equal(fa.calls, 3); /* kept from round to round */
	kr_slab_close(&s);
	assert_int_equal(fa.live, 0);
}

static void test_without_memory_nothing_is_taken(void **state)
{
	struct fault_alloc fa;
	struct kr_slab s;
	(void)state;

	fault_alloc_init(&fa, 0);
	kr_slab_open(&s, &fa.alloc, sizeof(struct thing), 4, 10);
	assert_null(kr_slab_take(&s));
	assert_int_equal(s.taken, 0);
	assert_non_null(kr_slab_take(&s)); /* there is some again */
	kr_slab_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_are_zero_and_apart),
		cmocka_unit_test(test_without_memory_nothing_is_taken),
	};
	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
