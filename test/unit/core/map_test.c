#include "test/support/test.h"

#include <stdbool.h>
#include <string.h>

#include "core/map.h"
#include "core/rand.h"
#include "test/support/fault_alloc.h"

enum { MANY = 5000 };

/* Something to point at: value n is &values[n]. */
static char values[MANY];

static struct kr_digest digest_of(uint32_t n)
{
	struct kr_digest d = { .alg = KR_SHA256 };

	memcpy(d.bytes, &n, sizeof(n));
	return d;
}

static void test_an_empty_map_answers_without_memory(void **state)
{
	struct kr_u64_map m;
	uint32_t cursor = 0;
	uint64_t key;
	void *value;
	(void)state;

	kr_u64_map_open(&m, kr_alloc_heap());
	assert_null(kr_u64_map_get(&m, 1));
	assert_null(kr_u64_map_del(&m, 1));
	assert_false(kr_u64_map_next(&m, &cursor, &key, &value));
	assert_int_equal(kr_u64_map_count(&m), 0);
	kr_u64_map_close(&m);
}

static void test_every_key_finds_its_value_after_growing(void **state)
{
	struct kr_digest_map m;
	(void)state;

	kr_digest_map_open(&m, kr_alloc_heap());
	for (uint32_t i = 0; i < MANY; i++) {
		const struct kr_digest key = digest_of(i);
		assert_ok(kr_digest_map_put(&m, &key, &values[i]));
	}
	assert_int_equal(kr_digest_map_count(&m), MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		const struct kr_digest key = digest_of(i);
		assert_ptr_equal(kr_digest_map_get(&m, &key), &values[i]);
	}
	const struct kr_digest stranger = digest_of(MANY);
	assert_null(kr_digest_map_get(&m, &stranger));
	kr_digest_map_close(&m);
}

static void test_digests_of_two_algorithms_are_two_keys(void **state)
{
	struct kr_digest a = digest_of(1), b = digest_of(1);
	struct kr_digest_map m;
	(void)state;

	b.alg = KR_SHA512;
	kr_digest_map_open(&m, kr_alloc_heap());
	assert_ok(kr_digest_map_put(&m, &a, &values[0]));
	assert_null(kr_digest_map_get(&m, &b));
	kr_digest_map_close(&m);
}

static void test_putting_again_replaces_the_value(void **state)
{
	struct kr_u64_map m;
	(void)state;

	kr_u64_map_open(&m, kr_alloc_heap());
	assert_ok(kr_u64_map_put(&m, 7, &values[1]));
	assert_ok(kr_u64_map_put(&m, 7, &values[2]));
	assert_ptr_equal(kr_u64_map_get(&m, 7), &values[2]);
	assert_int_equal(kr_u64_map_count(&m), 1);
	kr_u64_map_close(&m);
}

static void test_deleting_returns_the_value_once(void **state)
{
	struct kr_u64_map m;
	(void)state;

	kr_u64_map_open(&m, kr_alloc_heap());
	assert_ok(kr_u64_map_put(&m, 7, &values[1]));
	assert_ptr_equal(kr_u64_map_del(&m, 7), &values[1]);
	assert_null(kr_u64_map_del(&m, 7));
	assert_null(kr_u64_map_get(&m, 7));
	kr_u64_map_close(&m);
}

static void test_random_puts_and_deletes_agree_with_an_array(void **state)
{
	void *model[64] = { NULL };
	struct kr_u64_map m;
	struct kr_rand rand;
	uint32_t count = 0;
	(void)state;

	kr_rand_init(&rand, 5);
	kr_u64_map_open(&m, kr_alloc_heap());
	for (uint32_t i = 0; i < 20000; i++) {
		const uint32_t key = kr_rand_below(&rand, 64);

		if (kr_rand_below(&rand, 2) == 0) {
			assert_ok(kr_u64_map_put(&m, key, &values[i % MANY]));
			count += model[key] == NULL;
			model[key] = &values[i % MANY];
		} else {
			assert_ptr_equal(kr_u64_map_del(&m, key), model[key]);
			count -= model[key] != NULL;
			model[key] = NULL;
		}
		assert_int_equal(kr_u64_map_count(&m), count);
	}
	for (uint32_t key = 0; key < 64; key++)
		assert_ptr_equal(kr_u64_map_get(&m, key), model[key]);
	kr_u64_map_close(&m);
}

static void test_coming_and_going_does_not_grow_the_table(void **state)
{
	struct fault_alloc fa;
	struct kr_u64_map m;
	(void)state;

	fault_alloc_init(&fa, UINT32_MAX);
	kr_u64_map_open(&m, &fa.alloc);
	for (uint64_t i = 0; i < 10000; i++) {
		assert_ok(kr_u64_map_put(&m, i, &values[0]));
		if (i >= 4)
			assert_non_null(kr_u64_map_del(&m, i - 4));
	}
	assert_int_equal(m.map.cap, 16);
	kr_u64_map_close(&m);
	assert_int_equal(fa.live, 0);
}

static void test_iterating_meets_each_entry_once_while_deleting(void **state)
{
	bool seen[1000] = { false };
	struct kr_u64_map m;
	uint32_t cursor = 0, met = 0;
	uint64_t key;
	void *value;
	(void)state;

	kr_u64_map_open(&m, kr_alloc_heap());
	for (uint64_t i = 0; i < 1000; i++)
		assert_ok(kr_u64_map_put(&m, i, &values[i]));
	while (kr_u64_map_next(&m, &cursor, &key, &value)) {
		assert_false(seen[key]);
		seen[key] = true;
		assert_ptr_equal(value, &values[key]);
		assert_ptr_equal(kr_u64_map_del(&m, key), value);
		met++;
	}
	assert_int_equal(met, 1000);
	assert_int_equal(kr_u64_map_count(&m), 0);
	kr_u64_map_close(&m);
}

static enum kr_err put_hundred(const struct kr_alloc *alloc)
{
	enum kr_err err = KR_OK;
	struct kr_u64_map m;
	uint64_t i;

	kr_u64_map_open(&m, alloc);
	for (i = 0; i < 100 && err == KR_OK; i++)
		err = kr_u64_map_put(&m, i, &values[i]);
	/* whatever failed, the entries before it are there */
	for (uint64_t k = 0; k + (err != KR_OK) < i; k++)
		assert_ptr_equal(kr_u64_map_get(&m, k), &values[k]);
	kr_u64_map_close(&m);
	return err;
}

static void test_a_failed_growth_leaves_the_map_as_it_was(void **state)
{
	struct fault_alloc fa;
	(void)state;

	FOR_EACH_ALLOC_FAILURE (&fa, put_hundred(&fa.alloc))
		;
	assert_true(fa.calls > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_map_answers_without_memory),
		cmocka_unit_test(test_every_key_finds_its_value_after_growing),
		cmocka_unit_test(test_digests_of_two_algorithms_are_two_keys),
		cmocka_unit_test(test_putting_again_replaces_the_value),
		cmocka_unit_test(test_deleting_returns_the_value_once),
		cmocka_unit_test(
			test_random_puts_and_deletes_agree_with_an_array),
		cmocka_unit_test(test_coming_and_going_does_not_grow_the_table),
		cmocka_unit_test(
			test_iterating_meets_each_entry_once_while_deleting),
		cmocka_unit_test(test_a_failed_growth_leaves_the_map_as_it_was),
	};
	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
