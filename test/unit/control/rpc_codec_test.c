/* test/unit/control/rpc_codec_test.c - msgpack-RPC there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/rpc_codec.h"

enum { BUF_LEN = 1024, MAX = 1 << 20 };

struct fixture {
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;
	struct kr_rpc_msg msg;
	size_t used;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	kr_mp_w_init(&f->w, f->buf, sizeof(f->buf));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* Decode what was written. */
static enum kr_err decode_max(struct fixture *f, size_t max_len)
{
	size_t len = 0;

	assert_int_equal(kr_mp_w_done(&f->w, &len), KR_OK);
	return kr_rpc_decode(f->buf, len, max_len, &f->msg, &f->used);
}

static enum kr_err decode(struct fixture *f)
{
	return decode_max(f, MAX);
}

static void assert_text(struct kr_bytes got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	if (got.len > 0)
		assert_memory_equal(got.ptr, want, got.len);
}

static void assert_value(struct kr_bytes got, const uint8_t *want, size_t len)
{
	assert_int_equal(got.len, len);
	assert_memory_equal(got.ptr, want, len);
}

static void assert_bytes(const struct fixture *f, const void *want, size_t len)
{
	assert_int_equal(f->w.len, len);
	assert_memory_equal(f->buf, want, len);
}

/* Every prefix of what was written asks for more. */
static void assert_every_cut_waits(struct fixture *f)
{
	for (size_t len = 0; len < f->w.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		struct kr_rpc_msg m;
		size_t used;

		assert_non_null(exact);
		memcpy(exact, f->buf, len);
		assert_int_equal(kr_rpc_decode(exact, len, MAX, &m, &used),
				 KR_AGAIN);
		free(exact);
	}
}

static void a_request_comes_back(void **state)
{
	static const uint8_t golden[] = { 0x94, 0x00, 0x07, 0xa9, 'i', 'n',
					  'd',  'e',  'x',  '.',  'g', 'e',
					  't',  0x81, 0xa1, 't',  0x01 };
	static const uint8_t params[] = { 0x81, 0xa1, 't', 0x01 };
	struct fixture *f = *state;

	kr_rpc_request_head(&f->w, 7, "index.get");
	kr_mp_w_map(&f->w, 1);
	kr_mp_w_cstr(&f->w, "t");
	kr_mp_w_u64(&f->w, 1);
	assert_bytes(f, golden, sizeof(golden));
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->used, sizeof(golden));
	assert_int_equal(f->msg.type, KR_RPC_REQUEST);
	assert_int_equal(f->msg.id, 7);
	assert_text(f->msg.method, "index.get");
	assert_value(f->msg.params, params, sizeof(params));
	assert_every_cut_waits(f);
}

static void a_notification_comes_back(void **state)
{
	static const uint8_t golden[] = { 0x93, 0x02, 0xa1, 'n', 0x90 };
	static const uint8_t params[] = { 0x90 };
	struct fixture *f = *state;

	kr_rpc_notification_head(&f->w, "n");
	kr_mp_w_array(&f->w, 0);
	assert_bytes(f, golden, sizeof(golden));
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->msg.type, KR_RPC_NOTIFICATION);
	assert_text(f->msg.method, "n");
	assert_value(f->msg.params, params, sizeof(params));
	assert_every_cut_waits(f);
}

static void a_response_comes_back(void **state)
{
	static const uint8_t golden[] = { 0x94, 0x01, 0xce, 0xff, 0xff,
					  0xff, 0xff, 0xc0, 0xc3 };
	static const uint8_t result[] = { 0xc3 };
	struct fixture *f = *state;

	kr_rpc_response_head(&f->w, UINT32_MAX);
	kr_mp_w_bool(&f->w, true);
	assert_bytes(f, golden, sizeof(golden));
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->msg.type, KR_RPC_RESPONSE);
	assert_int_equal(f->msg.id, UINT32_MAX);
	assert_int_equal(f->msg.error, KR_OK);
	assert_value(f->msg.result, result, sizeof(result));
	assert_every_cut_waits(f);
}

static void every_error_of_ours_comes_back(void **state)
{
	struct fixture *f = *state;

	for (int e = 0; e < KR_ERR_COUNT; e++) {
		if (e == KR_OK || e == KR_AGAIN)
			continue;
		kr_mp_w_init(&f->w, f->buf, KR_RPC_ERROR_MAX);
		kr_rpc_response_error(&f->w, 9, (enum kr_err)e, "why");
		assert_int_equal(decode(f), KR_OK);
		assert_int_equal(f->msg.type, KR_RPC_RESPONSE);
		assert_int_equal(f->msg.id, 9);
		assert_int_equal(f->msg.error, e);
		assert_text(f->msg.error_text, "why");
	}
	assert_every_cut_waits(f);
}

static void an_error_need_not_have_a_text(void **state)
{
	struct fixture *f = *state;

	kr_rpc_response_error(&f->w, 9, KR_E_BUSY, NULL);
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->msg.error, KR_E_BUSY);
	assert_int_equal(f->msg.error_text.len, 0);
}

static void a_long_text_is_cut_and_fits_where_promised(void **state)
{
	struct fixture *f = *state;
	char text[2 * KR_RPC_ERROR_TEXT_MAX + 1];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	kr_mp_w_init(&f->w, f->buf, KR_RPC_ERROR_MAX);
	kr_rpc_response_error(&f->w, UINT32_MAX, KR_E_UNSUPPORTED, text);
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->msg.error_text.len, KR_RPC_ERROR_TEXT_MAX);
}

static void the_longest_head_fits_where_promised(void **state)
{
	struct fixture *f = *state;
	char name[KR_RPC_NAME_MAX + 1];

	memset(name, 'm', KR_RPC_NAME_MAX);
	name[KR_RPC_NAME_MAX] = '\0';
	kr_mp_w_init(&f->w, f->buf, KR_RPC_HEAD_MAX);
	kr_rpc_request_head(&f->w, UINT32_MAX, name);
	kr_mp_w_nil(&f->w);
	assert_int_equal(decode(f), KR_OK);
	assert_text(f->msg.method, name);
}

/* The front of a response; error and result are written next. */
static void respond_by_hand(struct fixture *f)
{
	kr_mp_w_array(&f->w, 4);
	kr_mp_w_u64(&f->w, KR_RPC_RESPONSE);
	kr_mp_w_u64(&f->w, 1);
}

static void an_error_of_another_program_is_still_an_error(void **state)
{
	struct fixture *f = *state;

	respond_by_hand(f);
	kr_mp_w_cstr(&f->w, "boom");
	kr_mp_w_nil(&f->w);
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->msg.error, KR_E_UNAVAILABLE);
	assert_text(f->msg.error_text, "boom");
}

static void a_code_that_is_none_of_an_error_is_still_an_error(void **state)
{
	static const char *const codes[] = { "KR_OK", "KR_AGAIN", "KR_E_", "",
					     "KR_E_PROTO2" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		kr_mp_w_init(&f->w, f->buf, sizeof(f->buf));
		respond_by_hand(f);
		kr_mp_w_map(&f->w, 3);
		kr_mp_w_u64(&f->w, 5);
		kr_mp_w_u64(&f->w, 6);
		kr_mp_w_cstr(&f->w, "text");
		kr_mp_w_u64(&f->w, 7);
		kr_mp_w_cstr(&f->w, "code");
		kr_mp_w_cstr(&f->w, codes[i]);
		kr_mp_w_nil(&f->w);
		assert_int_equal(decode(f), KR_OK);
		assert_int_equal(f->msg.error, KR_E_UNAVAILABLE);
		assert_int_equal(f->msg.error_text.len, 0);
	}
}

static void messages_follow_each_other(void **state)
{
	struct fixture *f = *state;

	kr_rpc_notification_head(&f->w, "a");
	kr_mp_w_nil(&f->w);
	const size_t first = f->w.len;
	kr_rpc_notification_head(&f->w, "b");
	kr_mp_w_nil(&f->w);
	assert_int_equal(decode(f), KR_OK);
	assert_int_equal(f->used, first);
	assert_text(f->msg.method, "a");
	assert_int_equal(kr_rpc_decode(f->buf + first, f->w.len - first, MAX,
				       &f->msg, &f->used),
			 KR_OK);
	assert_text(f->msg.method, "b");
}

static void more_than_the_limit_is_too_big(void **state)
{
	static const uint8_t zeros[100];
	struct fixture *f = *state;
	struct kr_rpc_msg m;
	size_t used;

	kr_rpc_request_head(&f->w, 1, "m");
	kr_mp_w_array(&f->w, 1);
	kr_mp_w_bin(&f->w, zeros, sizeof(zeros));
	const size_t len = f->w.len;
	for (size_t max = 0; max < len; max++) {
		/* A front below the limit waits, one at it is refused. */
		for (size_t have = max > 0 ? max - 1 : 0; have <= len; have++)
			assert_int_equal(
				kr_rpc_decode(f->buf, have, max, &m, &used),
				have < max ? KR_AGAIN : KR_E_TOOBIG);
	}
	assert_int_equal(decode_max(f, len), KR_OK);
}

static void a_count_that_cannot_come_waits_up_to_the_limit_only(void **state)
{
	/* params is an array of 2^32 - 1 elements */
	static const uint8_t buf[] = { 0x94, 0x00, 0x01, 0xa1, 'm',
				       0xdd, 0xff, 0xff, 0xff, 0xff };
	struct fixture *f = *state;

	assert_int_equal(kr_rpc_decode(buf, sizeof(buf), sizeof(buf) + 1,
				       &f->msg, &f->used),
			 KR_AGAIN);
	assert_int_equal(
		kr_rpc_decode(buf, sizeof(buf), sizeof(buf), &f->msg, &f->used),
		KR_E_TOOBIG);
}

static void what_is_no_message_is_refused(void **state)
{
	static const struct {
		uint8_t bytes[12];
		size_t len;
	} bad[] = {
		{ { 'G', 'E', 'T' }, 3 },                     /* HTTP */
		{ { 0x16, 0x03, 0x01 }, 3 },                  /* TLS */
		{ { 0x92, 0x00, 0x00 }, 3 },                  /* two elements */
		{ { 0x95, 0, 0, 0, 0, 0 }, 6 },               /* five */
		{ { 0xdc, 0x00, 0x04 }, 3 },                  /* a long head */
		{ { 0x94, 0x03, 0x00, 0xc0, 0xc0 }, 5 },      /* type 3 */
		{ { 0x94, 0xff, 0x00, 0xc0, 0xc0 }, 5 },      /* type -1 */
		{ { 0x94, 0x02, 0xa1, 'n', 0x90 }, 5 },       /* 2 of four */
		{ { 0x93, 0x00, 0x01, 0xa1, 'n' }, 5 },       /* 0 of three */
		{ { 0x94, 0x00, 0xa1, 'x', 0xa1, 'm' }, 6 },  /* id */
		{ { 0x94, 0x00, 0xff, 0xa1, 'm', 0x80 }, 6 }, /* id -1 */
		{ { 0x94, 0, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0 }, 11 },  /* 2^32 */
		{ { 0x94, 0x00, 0x01, 0xc4, 0x01, 'm', 0x80 }, 7 }, /* bin */
		{ { 0x94, 0x00, 0x01, 0xa0, 0x80 }, 5 },      /* no name */
		{ { 0x94, 0x00, 0x01, 0xa1, 'm', 0x05 }, 6 }, /* params: 5 */
		{ { 0x94, 0x00, 0x01, 0xa1, 'm', 0xa0 }, 6 }, /* params: "" */
		{ { 0x94, 0x01, 0x01, 0xc1, 0xc0 }, 5 },      /* no value */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kr_rpc_decode(bad[i].bytes, bad[i].len, MAX,
					       &f->msg, &f->used),
				 KR_E_PROTO);
}

static void a_name_too_long_is_refused(void **state)
{
	struct fixture *f = *state;
	char name[KR_RPC_NAME_MAX + 1];

	memset(name, 'm', sizeof(name));
	kr_mp_w_array(&f->w, 3);
	kr_mp_w_u64(&f->w, KR_RPC_NOTIFICATION);
	kr_mp_w_str(&f->w, name, sizeof(name));
	kr_mp_w_nil(&f->w);
	assert_int_equal(decode(f), KR_E_PROTO);
}

static void params_too_deep_are_refused(void **state)
{
	struct fixture *f = *state;

	kr_rpc_notification_head(&f->w, "m");
	for (int i = 0; i < KR_MP_DEPTH_MAX + 1; i++)
		kr_mp_w_array(&f->w, 1);
	kr_mp_w_nil(&f->w);
	assert_int_equal(decode(f), KR_E_PROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_comes_back),
		TEST(a_notification_comes_back),
		TEST(a_response_comes_back),
		TEST(every_error_of_ours_comes_back),
		TEST(an_error_need_not_have_a_text),
		TEST(a_long_text_is_cut_and_fits_where_promised),
		TEST(the_longest_head_fits_where_promised),
		TEST(an_error_of_another_program_is_still_an_error),
		TEST(a_code_that_is_none_of_an_error_is_still_an_error),
		TEST(messages_follow_each_other),
		TEST(more_than_the_limit_is_too_big),
		TEST(a_count_that_cannot_come_waits_up_to_the_limit_only),
		TEST(what_is_no_message_is_refused),
		TEST(a_name_too_long_is_refused),
		TEST(params_too_deep_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
