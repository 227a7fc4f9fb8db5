/* test/unit/peerwire/frame_test.c - what twelve bytes are judged by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "peerwire/frame.h"

/* The table again, by hand, from PROTOCOL.md: a slip in one shows. */
static const struct {
	const char *name;
	uint8_t type;
	uint32_t min, max;
	uint16_t stream;
	bool early;
} page[] = {
	{ "HELLO", 1, 1, 4096, 0, true },
	{ "OPEN", 2, 1, 262144, 9, false },
	{ "OPENED", 3, 1, 262144, 9, false },
	{ "HAVE", 4, 1, 262144, 9, false },
	{ "REQUEST", 5, 4, 256, 9, false },
	{ "CANCEL", 6, 3, 256, 9, false },
	{ "BLOCK", 7, 9, 67108872, 9, false },
	{ "REJECT", 8, 5, 256, 9, false },
	{ "LOAD", 9, 0, 256, 0, false },
	{ "CLOSE", 10, 0, 256, 9, false },
	{ "PING", 11, 0, 256, 0, false },
	{ "PONG", 12, 0, 256, 0, false },
	{ "BYE", 13, 0, 256, 0, true },
};
enum { PAGE_COUNT = sizeof(page) / sizeof(page[0]) };

static enum kr_err judge(uint8_t type, uint8_t flags, uint16_t stream,
			 uint32_t len)
{
	uint8_t buf[KR_FRAME_HEAD_LEN];
	struct kr_frame_head h;

	kr_put_be32(buf, len);
	buf[4] = type;
	buf[5] = flags;
	kr_put_be16(buf + 6, stream);
	kr_put_be32(buf + 8, 7);
	return kr_frame_head_decode(buf, sizeof(buf), &h);
}

static void a_head_stands_in_twelve_bytes_big_endian(void **state)
{
	static const uint8_t golden[] = { 0x00, 0x01, 0x02, 0x03, 0x02, 0x80,
					  0x12, 0x34, 0xde, 0xad, 0xbe, 0xef };
	const struct kr_frame_head h = { .len = 0x010203,
					 .type = KR_FRAME_OPEN,
					 .flags = 0x80,
					 .stream = 0x1234,
					 .arg = 0xdeadbeef };
	uint8_t buf[KR_FRAME_HEAD_LEN];
	struct kr_frame_head back;
	(void)state;

	kr_frame_head_encode(&h, buf);
	assert_memory_equal(buf, golden, sizeof(golden));
	assert_int_equal(kr_frame_head_decode(buf, sizeof(buf), &back), KR_OK);
	assert_int_equal(back.len, h.len);
	assert_int_equal(back.type, h.type);
	assert_int_equal(back.flags, h.flags);
	assert_int_equal(back.stream, h.stream);
	assert_int_equal(back.arg, h.arg);
}

static void a_head_cut_anywhere_asks_for_more(void **state)
{
	const struct kr_frame_head h = { .type = KR_FRAME_PING, .arg = 1 };
	uint8_t buf[KR_FRAME_HEAD_LEN];
	struct kr_frame_head back = { .arg = 99 };
	(void)state;

	kr_frame_head_encode(&h, buf);
	for (size_t len = 0; len < sizeof(buf); len++)
		assert_int_equal(kr_frame_head_decode(buf, len, &back),
				 KR_AGAIN);
	assert_int_equal(back.arg, 99);
}

static void lengths_are_judged_by_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGE_COUNT; i++) {
		const uint8_t t = page[i].type;
		const uint16_t s = page[i].stream;

		assert_string_equal(kr_frame_type_name(t), page[i].name);
		assert_int_equal(judge(t, 0, s, page[i].min), KR_OK);
		assert_int_equal(judge(t, 0, s, page[i].max), KR_OK);
		assert_int_equal(judge(t, 0, s, page[i].max + 1), KR_E_PROTO);
		assert_int_equal(judge(t, 0, s, UINT32_MAX), KR_E_PROTO);
		if (page[i].min > 0)
			assert_int_equal(judge(t, 0, s, page[i].min - 1),
					 KR_E_PROTO);
	}
}

static void a_stream_stands_where_it_must_and_nowhere_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGE_COUNT; i++)
		assert_int_equal(judge(page[i].type, 0, page[i].stream ? 0 : 1,
				       page[i].min),
				 KR_E_PROTO);
}

static void only_hello_and_bye_come_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGE_COUNT; i++)
		assert_int_equal(kr_frame_may_precede_hello(page[i].type),
				 page[i].early);
	assert_false(kr_frame_may_precede_hello(0));
	assert_false(kr_frame_may_precede_hello(200));
}

static void an_unknown_type_is_skipped_only_where_it_says_so(void **state)
{
	static const uint8_t unknown[] = { 0, 14, 255 };
	(void)state;

	for (size_t i = 0; i < sizeof(unknown); i++) {
		const uint8_t t = unknown[i];

		assert_false(kr_frame_is_known(t));
		assert_string_equal(kr_frame_type_name(t), "unknown");
		assert_int_equal(judge(t, 0, 0, 0), KR_E_PROTO);
		assert_int_equal(judge(t, 0xfe, 0, 0), KR_E_PROTO);
		assert_int_equal(judge(t, 0x01, 0, 0), KR_OK);
		assert_int_equal(judge(t, 0x01, 5, 262144), KR_OK);
		assert_int_equal(judge(t, 0x01, 5, 262145), KR_E_PROTO);
	}
}

static void flags_without_meaning_are_ignored(void **state)
{
	(void)state;
	assert_int_equal(judge(KR_FRAME_PING, 0xff, 0, 0), KR_OK);
	assert_int_equal(judge(KR_FRAME_PING, 0xff, 0, 257), KR_E_PROTO);
}

static void a_block_is_preceded_by_twenty_bytes(void **state)
{
	static const uint8_t golden[KR_FRAME_BLOCK_LEN] = {
		0x00, 0x10, 0x00, 0x08, 0x07, 0x00, 0x00, 0x03, 0x00, 0x00,
		0x00, 0x11, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x12, 0x34
	};
	const struct kr_block_head b = { .offset = 1 << 20,
					 .queued_kib = 0x1234 };
	uint8_t buf[KR_FRAME_BLOCK_LEN];
	struct kr_frame_head h;
	struct kr_block_head back;
	(void)state;

	kr_block_encode(3, 17, &b, KR_BLOCK_BYTES, buf);
	assert_memory_equal(buf, golden, sizeof(golden));
	assert_int_equal(kr_frame_head_decode(buf, sizeof(buf), &h), KR_OK);
	assert_int_equal(h.len - KR_BLOCK_HEAD_LEN, KR_BLOCK_BYTES);
	for (size_t len = 0; len < KR_BLOCK_HEAD_LEN; len++)
		assert_int_equal(kr_block_head_decode(&h, buf + 12, len, &back),
				 KR_AGAIN);
	assert_int_equal(kr_block_head_decode(&h, buf + 12, 8, &back), KR_OK);
	assert_int_equal(back.offset, b.offset);
	assert_int_equal(back.queued_kib, b.queued_kib);
}

static void a_block_ends_within_the_largest_piece(void **state)
{
	const struct kr_frame_head h = { .len = KR_BLOCK_HEAD_LEN + 100,
					 .type = KR_FRAME_BLOCK,
					 .stream = 1 };
	uint8_t buf[KR_BLOCK_HEAD_LEN] = { 0 };
	struct kr_block_head back;
	(void)state;

	kr_put_be32(buf, KR_PIECE_BYTES_MAX - 100);
	assert_int_equal(kr_block_head_decode(&h, buf, 8, &back), KR_OK);
	kr_put_be32(buf, KR_PIECE_BYTES_MAX - 99);
	assert_int_equal(kr_block_head_decode(&h, buf, 8, &back), KR_E_PROTO);
	kr_put_be32(buf, UINT32_MAX);
	assert_int_equal(kr_block_head_decode(&h, buf, 8, &back), KR_E_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_stands_in_twelve_bytes_big_endian),
		cmocka_unit_test(a_head_cut_anywhere_asks_for_more),
		cmocka_unit_test(lengths_are_judged_by_type),
		cmocka_unit_test(
			a_stream_stands_where_it_must_and_nowhere_else),
		cmocka_unit_test(only_hello_and_bye_come_first),
		cmocka_unit_test(
			an_unknown_type_is_skipped_only_where_it_says_so),
		cmocka_unit_test(flags_without_meaning_are_ignored),
		cmocka_unit_test(a_block_is_preceded_by_twenty_bytes),
		cmocka_unit_test(a_block_ends_within_the_largest_piece),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
