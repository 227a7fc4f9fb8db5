#include "test/support/test.h"

#include <string.h>

#include "core/digest.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static enum kr_err parse(const char *text, struct kr_digest *ret)
{
	return kr_digest_parse(text, strlen(text), ret);
}

static void test_both_algorithms_print_as_they_were_parsed(void **state)
{
	static const char *const texts[] = { "sha256:" HEX64,
					     "sha512:" HEX64 HEX64 };
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		char buf[KR_DIGEST_TEXT_MAX];
		struct kr_digest d;

		assert_ok(parse(texts[i], &d));
		assert_int_equal(d.alg, i);
		assert_string_equal(kr_digest_print(&d, buf), texts[i]);
		assert_string_equal(kr_digest_print_hex(&d, buf), texts[i] + 7);
		assert_string_equal(kr_digest_alg_name(d.alg),
				    i == 0 ? "sha256" : "sha512");
	}
}

static void test_malformed_digests_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		"sha256",
		"sha256:",
		":" HEX64,
		"sha256:" HEX64 "0",
		"sha256:0123456789ABCDEF0123456789abcdef"
		"0123456789abcdef0123456789abcdef",
		"sha256:" HEX64 HEX64,
		"sha512:" HEX64,
		"SHA256:" HEX64,
		"sha256 :" HEX64,
		"md5:",
		"md5+:abc",
		"+md5:abc",
		"a++b:abc",
		"md5:a/b",
		"md5:a:b",
	};
	struct kr_digest d = { .alg = 77 };
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_err(parse(bad[i], &d), KR_E_INVALID);
	assert_int_equal(d.alg, 77);
}

static void test_other_algorithms_are_unsupported(void **state)
{
	static const char *const other[] = { "md5:abc", "sha384:00",
					     "multihash+base58:QmRZxt2b1FVZ" };
	struct kr_digest d;
	(void)state;

	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
		assert_err(parse(other[i], &d), KR_E_UNSUPPORTED);
}

static void test_no_byte_after_the_length_is_read(void **state)
{
	const char text[] = "sha256:" HEX64 "garbage";
	struct kr_digest d;
	(void)state;

	assert_ok(kr_digest_parse(text, 7 + 64, &d));
	assert_err(kr_digest_parse(text, 7 + 63, &d), KR_E_INVALID);
}

static void test_equality_and_hash_see_every_byte_and_the_algorithm(
	void **state)
{
	struct kr_digest a, b;
	(void)state;

	assert_ok(parse("sha256:" HEX64, &a));
	b = a;
	assert_true(kr_digest_equal(&a, &b));
	assert_true(kr_digest_hash(&a) == kr_digest_hash(&b));
	for (size_t i = 0; i < KR_SHA256_LEN; i++) {
		b = a;
		b.bytes[i] ^= 1;
		assert_false(kr_digest_equal(&a, &b));
		assert_true(kr_digest_hash(&a) != kr_digest_hash(&b));
	}
	b = a;
	b.alg = KR_SHA512;
	assert_false(kr_digest_equal(&a, &b));
	assert_true(kr_digest_hash(&a) != kr_digest_hash(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_both_algorithms_print_as_they_were_parsed),
		cmocka_unit_test(test_malformed_digests_are_refused),
		cmocka_unit_test(test_other_algorithms_are_unsupported),
		cmocka_unit_test(test_no_byte_after_the_length_is_read),
		cmocka_unit_test(
			test_equality_and_hash_see_every_byte_and_the_algorithm),
	};
	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
