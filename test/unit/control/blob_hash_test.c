#include <stdlib.h>
#include <string.h>

#include "control/blob_hash.h"
#include "core/alloc.h"
#include "test/support/test.h"

enum { PIECE = 64 * 1024, LEN = 5 * PIECE + 777 };

static uint8_t bytes[LEN];

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
	return 0;
}

static void assert_right(struct kr_blob_hash *h, size_t len)
{
	struct kr_metainfo m;
	struct kr_digest d;
	uint8_t want[KR_SHA256_LEN];

	assert_ok(kr_blob_hash_final(h, &d, &m));
	kr_sha256(bytes, len, want);
	assert_memory_equal(d.bytes, want, sizeof(want));
	assert_int_equal(m.size_bytes, len);
	assert_int_equal(m.piece_count, (len + PIECE - 1) / PIECE);
	for (uint32_t i = 0; i < m.piece_count; i++) {
		kr_sha256(bytes + i * PIECE, kr_metainfo_piece_len(&m, i),
			  want);
		assert_memory_equal(m.hashes + i * KR_SHA256_LEN, want,
				    sizeof(want));
	}
	kr_metainfo_fini(kr_alloc_heap(), &m);
}

static void test_one_pass_gives_digest_and_piece_hashes(void **state)
{
	static const size_t lens[] = { 0,         1,         PIECE - 1, PIECE,
				       PIECE + 1, 3 * PIECE, LEN };
	struct kr_blob_hash h;
	(void)state;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_ok(kr_blob_hash_init(&h, KR_SHA256, PIECE));
		for (size_t at = 0; at < lens[i];) {
			size_t n = at % 5000 + 1;

			if (n > lens[i] - at)
				n = lens[i] - at;
			assert_ok(kr_blob_hash_update(&h, bytes + at, n));
			at += n;
		}
		assert_right(&h, lens[i]);
	}
}

static void test_state_goes_on_after_a_restart_at_any_place(void **state)
{
	struct kr_blob_hash h, again;
	uint8_t buf[4096];
	size_t len;
	(void)state;

	for (size_t cut = 0; cut <= LEN; cut += 7919) {
		assert_ok(kr_blob_hash_init(&h, KR_SHA256, PIECE));
		assert_ok(kr_blob_hash_update(&h, bytes, cut));
		const enum kr_err err =
			kr_blob_hash_save(&h, buf, sizeof(buf), &len);

		kr_blob_hash_fini(&h);
		if (err == KR_E_UNSUPPORTED)
			skip(); /* no SHA extensions: EVP has the state */
		assert_ok(err);
		assert_ok(kr_blob_hash_load(&again, buf, len));
		assert_ok(kr_blob_hash_update(&again, bytes + cut, LEN - cut));
		assert_right(&again, LEN);
	}
}

static void test_a_state_that_does_not_fit_is_said(void **state)
{
	struct kr_blob_hash h;
	uint8_t buf[300];
	size_t len;
	(void)state;

	assert_ok(kr_blob_hash_init(&h, KR_SHA256, PIECE));
	assert_ok(kr_blob_hash_update(&h, bytes, LEN));
	assert_err(kr_blob_hash_save(&h, buf, sizeof(buf), &len), KR_E_TOOBIG);
	kr_blob_hash_fini(&h);
}

static void test_a_damaged_state_is_refused(void **state)
{
	struct kr_blob_hash h, again;
	uint8_t buf[4096];
	size_t len;
	(void)state;

	assert_ok(kr_blob_hash_init(&h, KR_SHA256, PIECE));
	assert_ok(kr_blob_hash_update(&h, bytes, PIECE + 100));
	const enum kr_err err = kr_blob_hash_save(&h, buf, sizeof(buf), &len);

	kr_blob_hash_fini(&h);
	if (err == KR_E_UNSUPPORTED)
		skip();
	for (size_t cut = 0; cut < len; cut++)
		assert_int_not_equal(kr_blob_hash_load(&again, buf, cut),
				     KR_OK);
	for (size_t i = 0; i < 17; i++) { /* the head */
		buf[i] ^= 0x40;
		assert_err(kr_blob_hash_load(&again, buf, len), KR_E_CORRUPT);
		buf[i] ^= 0x40;
	}
	assert_ok(kr_blob_hash_load(&again, buf, len));
	kr_blob_hash_fini(&again);
}

static void test_sha512_blobs_have_sha256_pieces(void **state)
{
	struct kr_blob_hash h;
	struct kr_metainfo m;
	struct kr_digest d, want;
	struct kr_hash plain;
	(void)state;

	assert_ok(kr_blob_hash_init(&h, KR_SHA512, PIECE));
	assert_ok(kr_blob_hash_update(&h, bytes, LEN));
	assert_ok(kr_blob_hash_final(&h, &d, &m));
	assert_ok(kr_hash_init(&plain, KR_SHA512));
	kr_hash_update(&plain, bytes, LEN);
	kr_hash_final(&plain, &want);
	assert_true(kr_digest_equal(&d, &want));
	kr_sha256(bytes, PIECE, want.bytes);
	assert_memory_equal(m.hashes, want.bytes, KR_SHA256_LEN);
	kr_metainfo_fini(kr_alloc_heap(), &m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_pass_gives_digest_and_piece_hashes),
		cmocka_unit_test(
			test_state_goes_on_after_a_restart_at_any_place),
		cmocka_unit_test(test_a_state_that_does_not_fit_is_said),
		cmocka_unit_test(test_a_damaged_state_is_refused),
		cmocka_unit_test(test_sha512_blobs_have_sha256_pieces),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
