/* The configuration, libyaml included, when any one allocation fails. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/config.h"
#include "test/unit/core/nomem.h"

struct sub {
	char *name;
	struct kr_config_strings list;
};

struct conf {
	char *text;
	uint64_t number;
	struct kr_config_strings list;
	struct kr_config_objects subs;
};

static const struct kr_config_row sub_rows[] = {
	KR_CONFIG_STRING(struct sub, name, "name", NULL, "h"),
	KR_CONFIG_STRINGS(struct sub, list, "list", "x,y", 0, 9, "h"),
};
static const struct kr_config_schema sub_schema =
	KR_CONFIG_SCHEMA(struct sub, sub_rows);
static const struct kr_config_row rows[] = {
	KR_CONFIG_STRING(struct conf, text, "text", "default", "h"),
	KR_CONFIG_U64(struct conf, number, "a.number", "1", 0, 9, "h"),
	KR_CONFIG_STRINGS(struct conf, list, "list", "a,b", 0, 9, "h"),
	KR_CONFIG_OBJECTS(struct conf, subs, "subs", &sub_schema, 0, 9, "h"),
};
static const struct kr_config_schema schema =
	KR_CONFIG_SCHEMA(struct conf, rows);

static const char yaml[] = "text: hello\n"
			   "a: {number: 4}\n"
			   "list: [p, q]\n"
			   "subs:\n"
			   "- {name: a, list: [z]}\n"
			   "- {name: b}\n";

static void test_load_survives_any_allocation_failing(void **state)
{
	bool failed = true;
	long n;
	(void)state;

	if (!NOMEM_WORKS) {
		print_message("skipped: the sanitizer has the heap\n");
		skip();
	}
	for (n = 0; failed; n++) {
		const long live = nomem_live;
		struct kr_config_error err;
		struct conf c;
		enum kr_err code;
		nomem_arm(n);
		code = kr_config_load_memory("f", yaml, strlen(yaml), &schema,
					     &c, &err);
		failed = nomem_disarm();
		assert_int_equal(code, failed ? KR_E_NOMEM : KR_OK);
		if (code == KR_OK)
			kr_config_free(&schema, &c);
		assert_int_equal(nomem_live, live);
	}
	assert_true(n > 50); /* else nothing was refused */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_survives_any_allocation_failing),
	};
	return cmocka_run_group_tests_name("config_nomem", tests, NULL, NULL);
}
