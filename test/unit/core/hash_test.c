/*
 * The tests run in three groups: with the implementation chosen for this
 * processor, with EVP forced, and with plain C forced, as on a processor
 * without SHA extensions.
 */
#include "test/support/test.h"

#include <string.h>

#include <openssl/evp.h>

#include "core/hash.h"
#include "core/rand.h"

enum { LEN_MAX = 300 };

static uint8_t text[4096];

static void fill_text(void)
{
	struct kr_rand rand;

	kr_rand_init(&rand, 6);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)kr_rand_u64(&rand);
}

static void assert_is_sha256_of(const uint8_t *got, const void *p, size_t len)
{
	uint8_t want[EVP_MAX_MD_SIZE];

	assert_int_equal(EVP_Digest(p, len, want, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(got, want, KR_SHA256_LEN);
}

static void start(struct kr_hash *h)
{
	assert_ok(kr_hash_init(h, KR_SHA256));
}

static void finish_is_sha256_of(struct kr_hash *h, const void *p, size_t len)
{
	struct kr_digest d;

	kr_hash_final(h, &d);
	assert_int_equal(d.alg, KR_SHA256);
	assert_is_sha256_of(d.bytes, p, len);
}

static void test_the_vectors_of_fips_180_come_out(void **state)
{
	static const struct {
		const char *text, *digest;
	} rows[] = {
		{ "", "sha256:e3b0c44298fc1c149afbf4c8996fb924"
		      "27ae41e4649b934ca495991b7852b855" },
		{ "abc", "sha256:ba7816bf8f01cfea414140de5dae2223"
			 "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "sha256:248d6a61d20638b8e5c026930c3e6039"
		  "a33ce45964ff2167f6ecedd419db06c1" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct kr_digest d = { .alg = KR_SHA256 };
		char buf[KR_DIGEST_TEXT_MAX];

		kr_sha256(rows[i].text, strlen(rows[i].text), d.bytes);
		assert_string_equal(kr_digest_print(&d, buf), rows[i].digest);
	}
}

static void test_every_short_length_agrees_with_evp(void **state)
{
	(void)state;

	for (size_t len = 0; len <= LEN_MAX; len++) {
		uint8_t got[KR_SHA256_LEN];

		kr_sha256(text, len, got);
		assert_is_sha256_of(got, text, len);
	}
}

static void test_every_split_gives_the_same_digest(void **state)
{
	(void)state;

	for (size_t first = 0; first <= LEN_MAX; first++) {
		struct kr_hash h;

		start(&h);
		kr_hash_update(&h, text, first);
		kr_hash_update(&h, text + first, LEN_MAX - first);
		finish_is_sha256_of(&h, text, LEN_MAX);
	}
}

static void test_byte_by_byte_gives_the_same_digest(void **state)
{
	struct kr_hash h;
	(void)state;

	start(&h);
	for (size_t i = 0; i < LEN_MAX; i++)
		kr_hash_update(&h, text + i, 1);
	kr_hash_update(&h, NULL, 0);
	finish_is_sha256_of(&h, text, LEN_MAX);
}

static void test_pairs_of_every_length_agree_with_evp(void **state)
{
	(void)state;

	for (size_t len = 0; len <= LEN_MAX; len++) {
		struct kr_hash a, b;

		start(&a);
		start(&b);
		kr_hash_update_pair(&a, text, &b, text + 1000, len);
		finish_is_sha256_of(&a, text, len);
		finish_is_sha256_of(&b, text + 1000, len);
	}
}

static void test_pairs_may_stand_anywhere_in_their_blocks(void **state)
{
	(void)state;

	for (size_t ahead_a = 0; ahead_a < 66; ahead_a += 5) {
		for (size_t ahead_b = 0; ahead_b < 66; ahead_b++) {
			struct kr_hash a, b;

			start(&a);
			start(&b);
			kr_hash_update(&a, text, ahead_a);
			kr_hash_update(&b, text, ahead_b);
			kr_hash_update_pair(&a, text + ahead_a, &b,
					    text + ahead_b, 200);
			kr_hash_update_pair(&a, text + ahead_a + 200, &b,
					    text + ahead_b + 200, 30);
			finish_is_sha256_of(&a, text, ahead_a + 230);
			finish_is_sha256_of(&b, text, ahead_b + 230);
		}
	}
}

static void test_a_blob_and_its_pieces_hash_in_one_pass(void **state)
{
	enum { PIECE = 1024 };
	struct kr_hash blob, piece;
	(void)state;

	start(&blob);
	for (size_t at = 0; at < sizeof(text); at += PIECE) {
		start(&piece);
		kr_hash_update_pair(&blob, text + at, &piece, text + at, PIECE);
		finish_is_sha256_of(&piece, text + at, PIECE);
	}
	finish_is_sha256_of(&blob, text, sizeof(text));
}

static void test_a_pair_of_different_implementations_works(void **state)
{
	struct kr_hash a, b;
	(void)state;

	start(&a);
	kr_hash_force("openssl-evp");
	start(&b);
	kr_hash_update_pair(&a, text, &b, text + 1, 500);
	finish_is_sha256_of(&a, text, 500);
	finish_is_sha256_of(&b, text + 1, 500);
	kr_hash_force(NULL);
}

static void test_sha512_is_evps(void **state)
{
	uint8_t want[EVP_MAX_MD_SIZE];
	struct kr_digest d;
	struct kr_hash h;
	(void)state;

	assert_ok(kr_hash_init(&h, KR_SHA512));
	kr_hash_update(&h, text, 100);
	kr_hash_update(&h, text + 100, 200);
	kr_hash_final(&h, &d);
	assert_int_equal(d.alg, KR_SHA512);
	assert_int_equal(EVP_Digest(text, 300, want, NULL, EVP_sha512(), NULL),
			 1);
	assert_memory_equal(d.bytes, want, KR_SHA512_LEN);
}

static void test_a_dropped_stream_leaks_nothing(void **state)
{
	struct kr_hash h;
	(void)state;

	start(&h);
	kr_hash_update(&h, text, 100);
	kr_hash_fini(&h); /* LeakSanitizer is the judge */
	kr_hash_fini(&h);
	assert_null(h.evp);
}

static void skip_with_evp(void)
{
	if (strcmp(kr_hash_impl_name(), "openssl-evp") == 0) {
		print_message("skipped: EVP is the fastest here\n");
		skip();
	}
}

static void test_a_saved_stream_goes_on_where_it_was(void **state)
{
	(void)state;

	skip_with_evp();
	for (size_t first = 0; first <= LEN_MAX; first++) {
		uint8_t saved[KR_HASH_STATE_LEN];
		struct kr_hash a, b;

		start(&a);
		kr_hash_update(&a, text, first);
		assert_ok(kr_hash_save(&a, saved));
		kr_hash_fini(&a);
		assert_ok(kr_hash_load(&b, saved));
		kr_hash_update(&b, text + first, LEN_MAX - first);
		finish_is_sha256_of(&b, text, LEN_MAX);
	}
}

static void test_a_damaged_saved_stream_is_refused(void **state)
{
	uint8_t saved[KR_HASH_STATE_LEN];
	struct kr_hash h;
	(void)state;

	skip_with_evp();
	start(&h);
	kr_hash_update(&h, text, 100);
	assert_ok(kr_hash_save(&h, saved));
	saved[40] = 64; /* a tail of a whole block */
	assert_err(kr_hash_load(&h, saved), KR_E_CORRUPT);
	saved[40] = 35; /* not 100 % 64 */
	assert_err(kr_hash_load(&h, saved), KR_E_CORRUPT);
}

static void test_evp_cannot_be_saved(void **state)
{
	uint8_t saved[KR_HASH_STATE_LEN] = { 0 };
	struct kr_hash h;
	(void)state;

	start(&h);
	assert_err(kr_hash_save(&h, saved), KR_E_UNSUPPORTED);
	kr_hash_fini(&h);
	assert_err(kr_hash_load(&h, saved), KR_E_UNSUPPORTED);
}

static void test_forcing_evp_changes_the_name(void **state)
{
	(void)state;

	assert_string_equal(kr_hash_impl_name(), "openssl-evp");
}

static void test_forcing_plain_c_changes_the_name(void **state)
{
	(void)state;

	assert_string_equal(kr_hash_impl_name(), "portable");
}

static void test_the_fastest_that_works_is_chosen(void **state)
{
	const struct kr_hash_impl *all = kr_hash_impls(), *chosen = NULL;
	uint64_t best = 0;
	(void)state;

	for (int i = 0; i < KR_HASH_IMPL_COUNT; i++) {
		assert_true(all[i].works == (all[i].bytes_per_s > 0));
		if (all[i].bytes_per_s > best)
			best = all[i].bytes_per_s;
		if (all[i].is_chosen) {
			assert_null(chosen);
			chosen = &all[i];
		}
	}
	assert_non_null(chosen);
	assert_true(chosen->works);
	assert_true(chosen->bytes_per_s == best);
	assert_string_equal(kr_hash_impl_name(), chosen->name);
}

static void test_plain_c_and_evp_work_everywhere(void **state)
{
	const struct kr_hash_impl *all = kr_hash_impls();
	(void)state;

	for (int i = 0; i < KR_HASH_IMPL_COUNT; i++)
		assert_true(all[i].works ||
			    strcmp(all[i].name, "sha-ni-x2") == 0);
}

/* As after a restart with the same store on another processor. */
static void test_a_stream_saved_by_one_goes_on_with_another(void **state)
{
	uint8_t saved[KR_HASH_STATE_LEN];
	struct kr_hash a, b;
	(void)state;

	skip_with_evp();
	start(&a);
	kr_hash_update(&a, text, 1000);
	assert_ok(kr_hash_save(&a, saved));
	kr_hash_fini(&a);
	kr_hash_force("portable");
	assert_ok(kr_hash_load(&b, saved));
	kr_hash_update(&b, text + 1000, 1000);
	finish_is_sha256_of(&b, text, 2000);
	kr_hash_force(NULL);
}

static int force_portable(void **state)
{
	(void)state;
	kr_hash_force("portable");
	return 0;
}

static int force_evp(void **state)
{
	(void)state;
	kr_hash_force("openssl-evp");
	return 0;
}

#define BOTH                                                                   \
	cmocka_unit_test(test_the_vectors_of_fips_180_come_out),               \
		cmocka_unit_test(test_every_short_length_agrees_with_evp),     \
		cmocka_unit_test(test_every_split_gives_the_same_digest),      \
		cmocka_unit_test(test_byte_by_byte_gives_the_same_digest),     \
		cmocka_unit_test(test_pairs_of_every_length_agree_with_evp),   \
		cmocka_unit_test(                                              \
			test_pairs_may_stand_anywhere_in_their_blocks),        \
		cmocka_unit_test(test_a_blob_and_its_pieces_hash_in_one_pass), \
		cmocka_unit_test(test_sha512_is_evps),                         \
		cmocka_unit_test(test_a_dropped_stream_leaks_nothing)

int main(void)
{
	const struct CMUnitTest chosen[] = {
		BOTH,
		cmocka_unit_test(
			test_a_pair_of_different_implementations_works),
		cmocka_unit_test(test_a_saved_stream_goes_on_where_it_was),
		cmocka_unit_test(test_a_damaged_saved_stream_is_refused),
		cmocka_unit_test(test_the_fastest_that_works_is_chosen),
		cmocka_unit_test(test_plain_c_and_evp_work_everywhere),
		cmocka_unit_test(
			test_a_stream_saved_by_one_goes_on_with_another),
	};
	const struct CMUnitTest plain[] = {
		BOTH,
		cmocka_unit_test(test_a_saved_stream_goes_on_where_it_was),
		cmocka_unit_test(test_a_damaged_saved_stream_is_refused),
		cmocka_unit_test(test_forcing_plain_c_changes_the_name),
	};
	const struct CMUnitTest evp[] = {
		BOTH,
		cmocka_unit_test(test_evp_cannot_be_saved),
		cmocka_unit_test(test_forcing_evp_changes_the_name),
	};

	fill_text();
	return cmocka_run_group_tests_name("hash", chosen, NULL, NULL) +
	       cmocka_run_group_tests_name("hash, plain C forced", plain,
					   force_portable, NULL) +
	       cmocka_run_group_tests_name("hash, EVP forced", evp, force_evp,
					   NULL);
}
