/* test/unit/control/rpc_scan_test.c - control/rpc_scan, one behaviour per
 * test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/rpc_link.h"
#include "core/mp.h"
#include "core/rand.h"

/* Write one random value of any type; returns how many values it begins. */
static uint32_t write_one(struct kr_mp_writer *w, struct kr_rand *r,
			  bool may_nest)
{
	static const uint8_t bytes[300];
	const uint32_t n = kr_rand_below(r, 5);

	switch (kr_rand_below(r, may_nest ? 8 : 6)) {
	case 0:
		kr_mp_w_nil(w);
		return 0;
	case 1:
		kr_mp_w_bool(w, true);
		return 0;
	case 2:
		kr_mp_w_u64(w, kr_rand_u64(r) >> kr_rand_below(r, 64));
		return 0;
	case 3:
		kr_mp_w_i64(w, -(int64_t)(kr_rand_u64(r) >>
					  (1 + kr_rand_below(r, 62))));
		return 0;
	case 4:
		kr_mp_w_str(w, (const char *)bytes, kr_rand_below(r, 300));
		return 0;
	case 5:
		kr_mp_w_bin(w, bytes, kr_rand_below(r, 300));
		return 0;
	case 6:
		kr_mp_w_array(w, n);
		return n;
	default:
		kr_mp_w_map(w, n);
		return 2 * n;
	}
}

/* Write one random value with all it contains, a thousand or so at most. */
static void write_random(struct kr_mp_writer *w, struct kr_rand *r)
{
	uint32_t pending = 1, written = 0;

	while (pending > 0) {
		pending += write_one(w, r, written < 1000);
		pending--;
		written++;
	}
}

static void test_it_ends_where_the_value_ends_however_it_arrives(void **state)
{
	static uint8_t buf[1 << 20];
	struct kr_rand r;
	(void)state;

	for (uint64_t seed = 1; seed <= 1000; seed++) {
		struct kr_mp_writer w;
		struct kr_rpc_scan s;
		size_t len = 0;

		kr_rand_init(&r, seed);
		kr_mp_w_init(&w, buf, sizeof(buf) - 4);
		write_random(&w, &r);
		assert_false(w.overflow);
		memset(buf + w.len, 0x91, 4); /* the next message's */
		kr_rpc_scan_init(&s);
		for (;;) {
			const enum kr_err err =
				kr_rpc_scan_step(&s, buf, len, sizeof(buf));
			if (err == KR_OK)
				break;
			assert_int_equal(err, KR_AGAIN);
			assert_true(len < w.len);
			len += 1 + kr_rand_below(&r, 40);
			if (len > w.len + 4)
				len = w.len + 4;
		}
		if (s.at != w.len)
			print_error("seed %llu\n", (unsigned long long)seed);
		assert_int_equal(s.at, w.len);
	}
}

/* Every head byte with a body, against the reader of core/mp.h. */
static void test_it_agrees_with_the_reader_on_every_head(void **state)
{
	(void)state;

	for (unsigned head = 0; head < 256; head++) {
		uint8_t buf[512] = { 0 };
		struct kr_mp_reader r;
		struct kr_rpc_scan s;

		buf[0] = (uint8_t)head;
		buf[1] = head >= 0xdc && head <= 0xdf ? 0 : 1;
		kr_rpc_scan_init(&s);
		const enum kr_err err =
			kr_rpc_scan_step(&s, buf, sizeof(buf), 1 << 30);
		kr_mp_r_init(&r, buf, sizeof(buf));
		assert_int_equal(err, kr_mp_r_skip(&r));
		if (err == KR_OK)
			assert_int_equal(s.at, r.at);
	}
}

static void test_what_cannot_fit_is_refused_at_its_head(void **state)
{
	static const uint8_t lies[][6] = {
		{ 0xc6, 0xff, 0xff, 0xff, 0xff }, /* bin of 4 GiB */
		{ 0xdd, 0xff, 0xff, 0xff, 0xff }, /* 2^32 values */
		{ 0xdf, 0xff, 0xff, 0xff, 0xff }, /* 2^33 values */
		{ 0xc9, 0xff, 0xff, 0xff, 0xff, 1 },
		{ 0xdc, 0x01, 0x00 }, /* 256 values in 200 bytes */
		{ 0xc5, 0x00, 0xc8 }, /* 200 bytes and a head */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct kr_rpc_scan s;
		kr_rpc_scan_init(&s);
		assert_int_equal(kr_rpc_scan_step(&s, lies[i], 6, 200),
				 KR_E_TOOBIG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_it_ends_where_the_value_ends_however_it_arrives),
		cmocka_unit_test(test_it_agrees_with_the_reader_on_every_head),
		cmocka_unit_test(test_what_cannot_fit_is_refused_at_its_head),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
