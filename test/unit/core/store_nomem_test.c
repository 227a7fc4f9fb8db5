/* The store when any one allocation fails: an error, nothing lost, no leak. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/log.h"
#include "core/store.h"
#include "test/unit/core/nomem.h"

static struct kr_digest digest_of(const char *text)
{
	struct kr_digest d;
	struct kr_hash h;

	assert_int_equal(kr_hash_init(&h, KR_SHA256), KR_OK);
	kr_hash_update(&h, text, strlen(text));
	kr_hash_final(&h, &d);
	return d;
}

static bool is_expected(enum kr_err code)
{
	return code == KR_OK || code == KR_E_NOMEM;
}

/* Something of everything on store @s; each call may lack memory.  Nothing is
 * asserted here: cmocka needs the heap for that. */
static bool use_all(struct kr_store *s, const struct kr_digest *abc,
		    const struct kr_digest *xyz)
{
	struct kr_store_blob *b = NULL;
	struct kr_store_partial *p = NULL;
	struct kr_store_upload *u = NULL;
	bool ok = is_expected(kr_store_blob_open(s, abc, &b));

	kr_store_blob_close(b);
	ok = ok && is_expected(kr_store_partial_open(s, xyz, 5000, 100, &p));
	kr_store_partial_close(p, false);
	ok = ok && is_expected(kr_store_upload_create(s, &u));
	kr_store_upload_close(u, false);
	ok = ok && kr_store_delete(s, abc) == KR_OK;
	return ok && is_expected(kr_store_blob_put(s, abc, "abc", 3));
}

static void test_the_store_survives_any_allocation_failing(void **state)
{
	char dir[] = "/tmp/kr_nomem_test.XXXXXX", command[64];
	const struct kr_digest abc = digest_of("abc"), xyz = digest_of("xyz");
	const struct kr_store_opts opts = { .dir = dir,
					    .quota_bytes = 1 << 20 };
	struct kr_store *s = NULL;
	struct kr_store_usage use;
	bool failed = true, ok;
	long n;
	(void)state;

	if (!NOMEM_WORKS) {
		print_message("skipped: the sanitizer has the heap\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	assert_int_equal(kr_store_open(&opts, &s), KR_OK);
	kr_store_close(s); /* the metrics are registered, for good */
	for (n = 0; failed; n++) {
		long live;
		enum kr_err code;
		assert_int_equal(kr_store_open(&opts, &s), KR_OK);
		assert_int_equal(kr_store_blob_put(s, &abc, "abc", 3), KR_OK);
		kr_store_close(s);
		live = nomem_live;
		nomem_arm(n);
		code = kr_store_open(&opts, &s);
		ok = code != KR_OK || use_all(s, &abc, &xyz);
		failed = nomem_disarm();
		assert_true(ok);
		if (!is_expected(code))
			fail_msg("allocation %ld: %s", n, kr_err_name(code));
		if (code == KR_OK) {
			kr_store_usage(s, &use);
			assert_int_equal(use.partial_bytes, 0);
			assert_int_equal(use.upload_bytes, 0);
			assert_int_equal(use.blob_bytes, 3 * use.blob_count);
			kr_store_close(s);
		}
		assert_int_equal(nomem_live, live);
	}
	assert_true(n > 10); /* else nothing was refused */
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_store_survives_any_allocation_failing),
	};

	kr_log_set_level(KR_LOG_ERROR);
	kr_log_set_fd(-1); /* "cannot open" is what is expected */
	return cmocka_run_group_tests_name("store_nomem", tests, NULL, NULL);
}
