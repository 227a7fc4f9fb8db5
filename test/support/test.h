/* test/support/test.h - cmocka and what it wants included before it. */
#ifndef KR_TEST_TEST_H
#define KR_TEST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/err.h"

/* Errors by name in the message of a failed test. */
#define assert_err(got, want) \
	assert_string_equal(kr_err_name(got), kr_err_name(want))
#define assert_ok(got) assert_err(got, KR_OK)

#endif
