/* test/unit/peerwire/metainfo_test.c - what makes a piece worth trusting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/mp.h"
#include "peerwire/metainfo.h"
#include "test/support/fault_alloc.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

enum { PIECES = 3, PIECE = 64 * 1024, SIZE = 2 * PIECE + 7, BUF_LEN = 1024 };

static uint8_t hashes[PIECES * KR_SHA256_LEN];
static const struct kr_digest digest = { .alg = KR_SHA256, .bytes = { 1, 2 } };

static int setup_group(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hashes); i++)
		hashes[i] = (uint8_t)i;
	return 0;
}

static void make(struct kr_metainfo *ret)
{
	assert_int_equal(kr_metainfo_make(kr_alloc_heap(), &digest, SIZE, PIECE,
					  hashes, ret),
			 KR_OK);
}

static void fini(struct kr_metainfo *m)
{
	kr_metainfo_fini(kr_alloc_heap(), m);
}

static size_t encode(uint8_t *buf)
{
	struct kr_metainfo m;
	size_t len = 0;

	make(&m);
	assert_true(kr_metainfo_encoded_max(&m) <= BUF_LEN);
	assert_int_equal(kr_metainfo_encode(&m, buf, BUF_LEN, &len), KR_OK);
	fini(&m);
	return len;
}

static enum kr_err decode(const uint8_t *buf, size_t len)
{
	struct kr_metainfo m;
	const enum kr_err err =
		kr_metainfo_decode(kr_alloc_heap(), buf, len, &m);

	if (err == KR_OK)
		fini(&m);
	return err;
}

static void piece_lengths_follow_the_size(void **state)
{
	static const struct {
		uint64_t size, piece;
	} rows[] = {
		{ 0, 256 * KIB },        { 1, 256 * KIB },
		{ 64 * MIB, 256 * KIB }, { 64 * MIB + 1, 1 * MIB },
		{ 4 * GIB, 1 * MIB },    { 4 * GIB + 1, 2 * MIB },
		{ 16 * GIB, 2 * MIB },   { 16 * GIB + 1, 4 * MIB },
		{ 64 * GIB, 4 * MIB },   { 64 * GIB + 1, 8 * MIB },
		{ 8 * TIB, 8 * MIB },    { 8 * TIB + 1, 16 * MIB },
		{ 64 * TIB, 64 * MIB },  { UINT64_MAX, 64 * MIB },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(kr_metainfo_piece_bytes_for(rows[i].size),
				 rows[i].piece);
}

static void pieces_are_counted_and_measured(void **state)
{
	struct kr_metainfo m;
	(void)state;

	assert_int_equal(kr_metainfo_piece_count_for(0, PIECE), 0);
	assert_int_equal(kr_metainfo_piece_count_for(1, PIECE), 1);
	assert_int_equal(kr_metainfo_piece_count_for(PIECE, PIECE), 1);
	assert_int_equal(kr_metainfo_piece_count_for(PIECE + 1, PIECE), 2);
	assert_int_equal(kr_metainfo_piece_count_for(UINT64_MAX, 1),
			 UINT32_MAX);
	make(&m);
	assert_int_equal(m.piece_count, PIECES);
	assert_int_equal(kr_metainfo_piece_len(&m, 0), PIECE);
	assert_int_equal(kr_metainfo_piece_len(&m, 1), PIECE);
	assert_int_equal(kr_metainfo_piece_len(&m, 2), 7);
	fini(&m);
}

static void a_blob_of_whole_pieces_ends_with_a_whole_one(void **state)
{
	struct kr_metainfo m;
	(void)state;

	assert_int_equal(kr_metainfo_make(kr_alloc_heap(), &digest, 2 * PIECE,
					  PIECE, hashes, &m),
			 KR_OK);
	assert_int_equal(m.piece_count, 2);
	assert_int_equal(kr_metainfo_piece_len(&m, 1), PIECE);
	fini(&m);
}

static void an_empty_blob_has_no_pieces(void **state)
{
	struct kr_metainfo m, back;
	uint8_t buf[BUF_LEN];
	size_t len;
	(void)state;

	assert_int_equal(
		kr_metainfo_make(kr_alloc_heap(), &digest, 0, PIECE, NULL, &m),
		KR_OK);
	assert_int_equal(m.piece_count, 0);
	assert_int_equal(kr_metainfo_encode(&m, buf, sizeof(buf), &len), KR_OK);
	assert_int_equal(kr_metainfo_decode(kr_alloc_heap(), buf, len, &back),
			 KR_OK);
	assert_int_equal(back.piece_count, 0);
	fini(&back);
	fini(&m);
}

static void what_is_encoded_comes_back_with_its_id(void **state)
{
	struct kr_metainfo m, back;
	uint8_t buf[BUF_LEN], id[KR_SHA256_LEN];
	(void)state;

	const size_t len = encode(buf);
	make(&m);
	assert_int_equal(kr_metainfo_decode(kr_alloc_heap(), buf, len, &back),
			 KR_OK);
	assert_true(kr_digest_equal(&back.digest, &digest));
	assert_true(back.size_bytes == SIZE);
	assert_int_equal(back.piece_bytes, PIECE);
	assert_int_equal(back.piece_count, PIECES);
	assert_memory_equal(back.hashes, hashes, sizeof(hashes));
	kr_sha256(buf, len, id);
	assert_memory_equal(back.id, id, sizeof(id));
	assert_memory_equal(m.id, id, sizeof(id));
	fini(&back);
	fini(&m);
}

static void it_keeps_the_bytes_that_it_was_made_of(void **state)
{
	static const uint8_t pair[] = { 0xa4, 'n', 'e', 'x', 't', 0xc0 };
	struct kr_metainfo m, back;
	uint8_t buf[BUF_LEN], id[KR_SHA256_LEN];
	size_t len = encode(buf);
	(void)state;

	make(&m);
	assert_int_equal(m.encoded_len, len);
	assert_memory_equal(m.encoded, buf, len);
	assert_int_equal(buf[0]++, 0x85); /* a map of one pair more */
	memcpy(buf + len, pair, sizeof(pair));
	len += sizeof(pair);
	assert_int_equal(kr_metainfo_decode(kr_alloc_heap(), buf, len, &back),
			 KR_OK);
	kr_sha256(buf, len, id);
	assert_memory_equal(back.id, id, sizeof(id));
	assert_memory_not_equal(back.id, m.id, sizeof(id));
	assert_int_equal(back.encoded_len, len);
	assert_memory_equal(back.encoded, buf, len);
	fini(&back);
	fini(&m);
}

static void every_cut_is_refused(void **state)
{
	uint8_t buf[BUF_LEN];
	const size_t len = encode(buf);
	(void)state;

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut + 1);
		assert_non_null(exact);
		memcpy(exact + 1, buf, cut);
		assert_int_equal(decode(exact + 1, cut), KR_E_PROTO);
		free(exact);
	}
	buf[len] = 0;
	assert_int_equal(decode(buf, len + 1), KR_E_PROTO);
}

static void a_buffer_too_short_is_told(void **state)
{
	uint8_t buf[BUF_LEN];
	struct kr_metainfo m;
	size_t no = 77;
	(void)state;

	const size_t len = encode(buf);
	make(&m);
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(kr_metainfo_encode(&m, buf, cap, &no),
				 KR_E_TOOBIG);
	assert_int_equal(no, 77);
	fini(&m);
}

static void parts_that_contradict_the_limits_make_nothing(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t piece;
	} bad[] = {
		{ 1, 0 },
		{ 1, PIECE / 2 },
		{ 1, PIECE + 1 },
		{ 1, PIECE * 3 },
		{ 1, KR_PIECE_BYTES_MAX * 2 },
		{ (uint64_t)PIECE * KR_METAINFO_PIECES_MAX + 1, PIECE },
		{ UINT64_MAX, KR_PIECE_BYTES_MAX },
	};
	const struct kr_digest odd = { .alg = KR_DIGEST_ALG_COUNT };
	struct kr_metainfo m;
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kr_metainfo_make(kr_alloc_heap(), &digest,
						  bad[i].size, bad[i].piece,
						  hashes, &m),
				 KR_E_INVALID);
	assert_int_equal(kr_metainfo_make(kr_alloc_heap(), &odd, SIZE, PIECE,
					  hashes, &m),
			 KR_E_INVALID);
}

/* An encoding by hand: keys in another order, one of them new. */
static enum kr_err decode_by_hand(uint64_t version, const char *digest_text,
				  uint64_t size, uint64_t piece,
				  size_t hashes_len)
{
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;
	size_t len = 0;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 7);
	kr_mp_w_cstr(&w, "hashes");
	kr_mp_w_bin(&w, hashes, hashes_len);
	kr_mp_w_cstr(&w, "new");
	kr_mp_w_array(&w, 1);
	kr_mp_w_nil(&w);
	kr_mp_w_bool(&w, false); /* a key that is no string */
	kr_mp_w_nil(&w);
	kr_mp_w_cstr(&w, "piece");
	kr_mp_w_u64(&w, piece);
	kr_mp_w_cstr(&w, "size");
	kr_mp_w_u64(&w, size);
	kr_mp_w_cstr(&w, "digest");
	kr_mp_w_cstr(&w, digest_text);
	kr_mp_w_cstr(&w, "v");
	kr_mp_w_u64(&w, version);
	assert_int_equal(kr_mp_w_done(&w, &len), KR_OK);
	return decode(buf, len);
}

static void encodings_that_contradict_themselves_are_refused(void **state)
{
	static const char ok[] = "sha256:0123456789abcdef0123456789abcdef"
				 "0123456789abcdef0123456789abcdef";
	const size_t n = sizeof(hashes);
	(void)state;

	assert_int_equal(decode_by_hand(1, ok, SIZE, PIECE, n), KR_OK);
	assert_int_equal(decode_by_hand(2, ok, SIZE, PIECE, n), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok + 1, SIZE, PIECE, n), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, "md5:00", SIZE, PIECE, n),
			 KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, SIZE, PIECE, n - 1), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, SIZE, PIECE, n - 32),
			 KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, SIZE, PIECE, 0), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, 3 * PIECE + 1, PIECE, n),
			 KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, 0, PIECE, n), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, SIZE, 0, n), KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, SIZE, PIECE / 2, n), KR_E_PROTO);
	assert_int_equal(
		decode_by_hand(1, ok, SIZE, (UINT64_C(1) << 32) + PIECE, n),
		KR_E_PROTO);
	assert_int_equal(decode_by_hand(1, ok, UINT64_MAX, PIECE, n),
			 KR_E_PROTO);
}

static void a_missing_key_is_refused(void **state)
{
	uint8_t buf[BUF_LEN];
	const size_t len = encode(buf);
	(void)state;

	/* "v" stands second: another letter makes it a key of the future. */
	assert_int_equal(buf[2], 'v');
	buf[2] = 'w';
	assert_int_equal(decode(buf, len), KR_E_PROTO);
	buf[2] = 'v';
	assert_int_equal(decode(buf, len), KR_OK);
}

static void another_blobs_is_refused(void **state)
{
	struct kr_digest other = digest;
	struct fault_alloc fa;
	struct kr_metainfo m;
	uint8_t buf[BUF_LEN];
	const size_t len = encode(buf);
	(void)state;

	fault_alloc_init(&fa, UINT32_MAX);
	assert_int_equal(
		kr_metainfo_decode_of(&fa.alloc, &digest, buf, len, &m), KR_OK);
	kr_metainfo_fini(&fa.alloc, &m);
	other.bytes[0] ^= 1;
	assert_int_equal(kr_metainfo_decode_of(&fa.alloc, &other, buf, len, &m),
			 KR_E_CORRUPT);
	assert_int_equal(fa.live, 0);
}

static enum kr_err make_and_read(struct fault_alloc *fa, const uint8_t *buf,
				 size_t len)
{
	struct kr_metainfo m, back;
	enum kr_err err =
		kr_metainfo_make(&fa->alloc, &digest, SIZE, PIECE, hashes, &m);

	if (err != KR_OK)
		return err;
	err = kr_metainfo_decode(&fa->alloc, buf, len, &back);
	if (err == KR_OK)
		kr_metainfo_fini(&fa->alloc, &back);
	kr_metainfo_fini(&fa->alloc, &m);
	return err;
}

static void nothing_is_kept_when_memory_runs_out(void **state)
{
	struct fault_alloc fa;
	uint8_t buf[BUF_LEN];
	const size_t len = encode(buf);
	(void)state;

	FOR_EACH_ALLOC_FAILURE (&fa, make_and_read(&fa, buf, len))
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(piece_lengths_follow_the_size),
		cmocka_unit_test(pieces_are_counted_and_measured),
		cmocka_unit_test(a_blob_of_whole_pieces_ends_with_a_whole_one),
		cmocka_unit_test(an_empty_blob_has_no_pieces),
		cmocka_unit_test(what_is_encoded_comes_back_with_its_id),
		cmocka_unit_test(it_keeps_the_bytes_that_it_was_made_of),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(a_buffer_too_short_is_told),
		cmocka_unit_test(parts_that_contradict_the_limits_make_nothing),
		cmocka_unit_test(
			encodings_that_contradict_themselves_are_refused),
		cmocka_unit_test(a_missing_key_is_refused),
		cmocka_unit_test(another_blobs_is_refused),
		cmocka_unit_test(nothing_is_kept_when_memory_runs_out),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
