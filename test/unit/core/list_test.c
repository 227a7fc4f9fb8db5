#include "test/support/test.h"

#include "core/list.h"

struct item {
	int number;
	struct kr_list link; /* not first, so that the offset matters */
};

/* The numbers in the list as the digits of one. */
static int digits(const struct kr_list *list)
{
	int value = 0;

	kr_list_for_each (it, list)
		value = value * 10 +
			KR_CONTAINER_OF(it, struct item, link)->number;
	return value;
}

struct fixture {
	struct kr_list list;
	struct item items[4];
};

static void set_up(struct fixture *f)
{
	kr_list_init(&f->list);
	for (int i = 0; i < 4; i++) {
		f->items[i].number = i + 1;
		kr_list_init(&f->items[i].link);
	}
}

static void test_a_new_list_is_empty(void **state)
{
	struct fixture f;
	(void)state;

	set_up(&f);
	assert_true(kr_list_empty(&f.list));
	assert_null(kr_list_first(&f.list));
}

static void test_elements_stand_in_order_of_tail_and_head(void **state)
{
	struct fixture f;
	(void)state;

	set_up(&f);
	kr_list_add_tail(&f.list, &f.items[1].link);
	kr_list_add_tail(&f.list, &f.items[2].link);
	kr_list_add_head(&f.list, &f.items[0].link);
	assert_int_equal(digits(&f.list), 123);
	assert_ptr_equal(kr_list_first(&f.list), &f.items[0].link);
}

static void test_deleting_takes_out_one_and_may_be_repeated(void **state)
{
	struct fixture f;
	(void)state;

	set_up(&f);
	for (int i = 0; i < 3; i++)
		kr_list_add_tail(&f.list, &f.items[i].link);
	kr_list_del(&f.items[1].link);
	kr_list_del(&f.items[1].link);
	assert_int_equal(digits(&f.list), 13);
	assert_true(kr_list_empty(&f.items[1].link));
}

static void test_the_safe_walk_survives_deleting_on_the_way(void **state)
{
	struct fixture f;
	int seen = 0;
	(void)state;

	set_up(&f);
	for (int i = 0; i < 4; i++)
		kr_list_add_tail(&f.list, &f.items[i].link);
	kr_list_for_each_safe(it, &f.list)
	{
		seen++;
		if (KR_CONTAINER_OF(it, struct item, link)->number % 2 == 0)
			kr_list_del(it);
	}
	assert_int_equal(seen, 4);
	assert_int_equal(digits(&f.list), 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_list_is_empty),
		cmocka_unit_test(test_elements_stand_in_order_of_tail_and_head),
		cmocka_unit_test(
			test_deleting_takes_out_one_and_may_be_repeated),
		cmocka_unit_test(
			test_the_safe_walk_survives_deleting_on_the_way),
	};
	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
