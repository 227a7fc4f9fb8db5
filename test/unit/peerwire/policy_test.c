/* test/unit/peerwire/policy_test.c - the table of policies. */
#include "test/support/test.h"

#include <string.h>

#include "peerwire/policy.h"

static void test_defaults_can_be_worked_with(void **state)
{
	const struct kr_policy_row *row = NULL;
	struct kr_policy p;
	(void)state;

	kr_policy_defaults(&p);
	assert_ok(kr_policy_check(&p, &row));
	assert_int_equal(p.window_min_bytes, 8 * KR_POLICY_MIB);
}

static void test_rows_name_their_field(void **state)
{
	struct kr_policy p;
	size_t count;
	const struct kr_policy_row *rows = kr_policy_rows(&count);
	(void)state;

	kr_policy_defaults(&p);
	assert_int_equal(count * sizeof(uint64_t), sizeof(p));
	for (size_t i = 0; i < count; i++) {
		uint64_t v;

		memcpy(&v, (const char *)&p + rows[i].offset, sizeof(v));
		assert_int_equal(v, rows[i].value);
		assert_true(strlen(rows[i].reason) > 10);
		for (size_t k = 0; k < i && rows[i].key != NULL; k++)
			assert_true(rows[k].key == NULL ||
				    strcmp(rows[k].key, rows[i].key) != 0);
	}
}

static void test_a_value_that_cannot_work_is_named(void **state)
{
	const struct kr_policy_row *row = NULL;
	struct kr_policy p;
	(void)state;

	kr_policy_defaults(&p);
	p.upload_slots = 0;
	assert_err(kr_policy_check(&p, &row), KR_E_CONFIG);
	assert_string_equal(row->name, "upload_slots");
	kr_policy_defaults(&p);
	p.degree_max = p.degree_target - 1;
	assert_err(kr_policy_check(&p, &row), KR_E_CONFIG);
	assert_string_equal(row->name, "degree_max");
	kr_policy_defaults(&p);
	p.window_max_bytes = p.window_min_bytes - 1;
	assert_err(kr_policy_check(&p, &row), KR_E_CONFIG);
	assert_string_equal(row->name, "window_max_bytes");
	kr_policy_defaults(&p);
	p.up_bytes_per_s = p.down_bytes_per_s = 64 * 1024;
	assert_ok(kr_policy_check(&p, &row));
	p.up_bytes_per_s = 64 * 1024 - 1;
	assert_err(kr_policy_check(&p, &row), KR_E_CONFIG);
	assert_string_equal(row->key, "upload_rate");
	p.up_bytes_per_s = 0;
	p.down_bytes_per_s = 1;
	assert_err(kr_policy_check(&p, &row), KR_E_CONFIG);
	assert_string_equal(row->key, "download_rate");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_can_be_worked_with),
		cmocka_unit_test(test_rows_name_their_field),
		cmocka_unit_test(test_a_value_that_cannot_work_is_named),
	};
	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
