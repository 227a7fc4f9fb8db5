#include "test/support/test.h"

#include "uring/slots.h"

static struct kr_op_slots slots;

static int set_up(void **state)
{
	(void)state;
	return kr_op_slots_init(&slots, 3) == KR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	kr_op_slots_fini(&slots);
	return 0;
}

static void test_a_tag_finds_its_request_until_the_slot_is_given(void **state)
{
	struct kr_op a = { 0 }, b = { 0 };
	(void)state;

	assert_true(kr_op_slots_take(&slots, &a));
	assert_true(kr_op_slots_take(&slots, &b));
	const uint64_t tag = kr_op_slots_tag(&a);

	assert_ptr_equal(kr_op_slots_find(&slots, tag), &a);
	assert_ptr_equal(kr_op_slots_find(&slots, kr_op_slots_tag(&b)), &b);
	kr_op_slots_give(&slots, &a);
	assert_null(kr_op_slots_find(&slots, tag));
}

static void test_a_late_tag_misses_the_next_owner_of_the_slot(void **state)
{
	struct kr_op a = { 0 }, b = { 0 };
	(void)state;

	assert_true(kr_op_slots_take(&slots, &a));
	const uint64_t tag = kr_op_slots_tag(&a);

	kr_op_slots_give(&slots, &a);
	assert_true(kr_op_slots_take(&slots, &b));
	assert_int_equal(b.slot, a.slot);
	assert_null(kr_op_slots_find(&slots, tag));
	assert_ptr_equal(kr_op_slots_find(&slots, kr_op_slots_tag(&b)), &b);
}

static void test_a_full_table_says_so_and_recovers(void **state)
{
	struct kr_op ops[4] = { 0 };
	(void)state;

	for (int i = 0; i < 3; i++)
		assert_true(kr_op_slots_take(&slots, &ops[i]));
	assert_false(kr_op_slots_take(&slots, &ops[3]));
	kr_op_slots_give(&slots, &ops[1]);
	assert_true(kr_op_slots_take(&slots, &ops[3]));
	assert_int_equal(ops[3].slot, 1);
	assert_int_equal(slots.used_count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_tag_finds_its_request_until_the_slot_is_given,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_late_tag_misses_the_next_owner_of_the_slot,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_full_table_says_so_and_recovers, set_up,
			tear_down),
	};
	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
