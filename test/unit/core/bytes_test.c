#include "test/support/test.h"

#include <string.h>

#include "core/bytes.h"

static void test_integers_are_big_endian(void **state)
{
	uint8_t b[8];
	(void)state;

	kr_put_be16(b, 0x1234);
	assert_memory_equal(b, "\x12\x34", 2);
	kr_put_be32(b, 0x89abcdef);
	assert_memory_equal(b, "\x89\xab\xcd\xef", 4);
	kr_put_be64(b, UINT64_C(0xfedcba9876543210));
	assert_memory_equal(b, "\xfe\xdc\xba\x98\x76\x54\x32\x10", 8);
}

static void test_integers_come_back(void **state)
{
	uint8_t b[9];
	(void)state;

	kr_put_be16(b + 1, 0xfffe); /* unaligned on purpose */
	assert_int_equal(kr_get_be16(b + 1), 0xfffe);
	kr_put_be32(b + 1, UINT32_MAX - 1);
	assert_int_equal(kr_get_be32(b + 1), UINT32_MAX - 1);
	kr_put_be64(b + 1, UINT64_MAX - 1);
	assert_true(kr_get_be64(b + 1) == UINT64_MAX - 1);
}

static void test_hex_is_lower_case_and_ends_with_nul(void **state)
{
	char out[9];
	(void)state;

	kr_hex_encode((const uint8_t *)"\x00\x9a\xbc\xff", 4, out);
	assert_string_equal(out, "009abcff");
	kr_hex_encode(NULL, 0, out);
	assert_string_equal(out, "");
}

static void test_hex_decodes_every_byte_it_encodes(void **state)
{
	(void)state;

	for (int i = 0; i < 256; i++) {
		const uint8_t byte = (uint8_t)i;
		uint8_t back = (uint8_t)~byte;
		char hex[3];

		kr_hex_encode(&byte, 1, hex);
		assert_ok(kr_hex_decode(hex, 2, &back));
		assert_int_equal(back, byte);
	}
}

static void test_hex_refuses_what_is_not_lower_case_hex(void **state)
{
	static const char *const bad[] = { "a",  "abc", "AB", "0g",
					   "g0", " 1",  "0/", "0:" };
	uint8_t out[2];
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_err(kr_hex_decode(bad[i], strlen(bad[i]), out),
			   KR_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers_are_big_endian),
		cmocka_unit_test(test_integers_come_back),
		cmocka_unit_test(test_hex_is_lower_case_and_ends_with_nul),
		cmocka_unit_test(test_hex_decodes_every_byte_it_encodes),
		cmocka_unit_test(test_hex_refuses_what_is_not_lower_case_hex),
	};
	return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
