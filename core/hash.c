#include "core/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/bytes.h"
#include "core/sha256_ni.h"

enum { BLOCK_LEN = 64 };

/* FIPS 180-4, 5.3.3 */
static const uint32_t initial_state[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static void start_ni(struct kr_hash *h)
{
	*h = (struct kr_hash){ .alg = KR_SHA256 };
	memcpy(h->state, initial_state, sizeof(h->state));
}

/* Bytes at the front that complete a block begun earlier. */
static size_t fill_tail(struct kr_hash *h, const uint8_t *p, size_t len)
{
	size_t n = 0;

	if (h->tail_len == 0)
		return 0;
	n = BLOCK_LEN - h->tail_len;
	if (n > len)
		n = len;
	memcpy(h->tail + h->tail_len, p, n);
	h->tail_len = (uint8_t)(h->tail_len + n);
	if (h->tail_len == BLOCK_LEN) {
		kr_sha256_ni_compress(h->state, h->tail, 1);
		h->tail_len = 0;
	}
	return n;
}

static void keep_tail(struct kr_hash *h, const uint8_t *p, size_t len)
{
	memcpy(h->tail + h->tail_len, p, len);
	h->tail_len = (uint8_t)(h->tail_len + len);
}

static void update_ni(struct kr_hash *h, const uint8_t *p, size_t len)
{
	h->total_bytes += len;
	size_t at = fill_tail(h, p, len);

	const size_t blocks = (len - at) / BLOCK_LEN;
	kr_sha256_ni_compress(h->state, p + at, blocks);
	at += blocks * BLOCK_LEN;
	keep_tail(h, p + at, len - at);
}

/* The lanes need not be at the same place in their blocks: each first fills
 * its own, then they go side by side for as long as both have whole blocks. */
static void update_pair_ni(struct kr_hash *a, const uint8_t *pa,
			   struct kr_hash *b, const uint8_t *pb, size_t len)
{
	const size_t at_a = fill_tail(a, pa, len);
	const size_t at_b = fill_tail(b, pb, len);
	const size_t blocks_a = (len - at_a) / BLOCK_LEN;
	const size_t blocks_b = (len - at_b) / BLOCK_LEN;
	const size_t both = blocks_a < blocks_b ? blocks_a : blocks_b;

	kr_sha256_ni_compress_pair(a->state, pa + at_a, b->state, pb + at_b,
				   both);
	a->total_bytes += at_a + both * BLOCK_LEN;
	b->total_bytes += at_b + both * BLOCK_LEN;
	update_ni(a, pa + at_a + both * BLOCK_LEN,
		  len - at_a - both * BLOCK_LEN);
	update_ni(b, pb + at_b + both * BLOCK_LEN,
		  len - at_b - both * BLOCK_LEN);
}

/* A one bit, zeroes, and the length in bits end the last block
 * (FIPS 180-4, 5.1.1). */
static void final_ni(struct kr_hash *h, uint8_t ret[KR_SHA256_LEN])
{
	uint8_t last[2 * BLOCK_LEN] = { 0 };
	const size_t blocks = h->tail_len < BLOCK_LEN - 8 ? 1 : 2;

	memcpy(last, h->tail, h->tail_len);
	last[h->tail_len] = 0x80;
	kr_put_be64(last + blocks * BLOCK_LEN - 8, h->total_bytes * 8);
	kr_sha256_ni_compress(h->state, last, blocks);
	for (size_t i = 0; i < 8; i++)
		kr_put_be32(ret + 4 * i, h->state[i]);
}

/* Which implementation new streams get; decided once. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ni_works;
static atomic_bool evp_is_forced;

enum { SELF_TEST_LEN = 3 * BLOCK_LEN + 57 };

static bool agrees_with_evp(const uint8_t *p, size_t len,
			    const uint8_t got[KR_SHA256_LEN])
{
	uint8_t want[EVP_MAX_MD_SIZE];

	return EVP_Digest(p, len, want, NULL, EVP_sha256(), NULL) == 1 &&
	       memcmp(want, got, KR_SHA256_LEN) == 0;
}

/* One lane and two against OpenSSL, over several blocks and a long tail. */
static bool self_test(void)
{
	uint8_t buf[SELF_TEST_LEN + 1], got_a[KR_SHA256_LEN],
		got_b[KR_SHA256_LEN];
	struct kr_hash a, b;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 37 + 11);
	start_ni(&a);
	update_ni(&a, buf, SELF_TEST_LEN);
	final_ni(&a, got_a);
	if (!agrees_with_evp(buf, SELF_TEST_LEN, got_a))
		return false;

	start_ni(&a);
	start_ni(&b);
	update_pair_ni(&a, buf, &b, buf + 1, SELF_TEST_LEN);
	final_ni(&a, got_a);
	final_ni(&b, got_b);
	return agrees_with_evp(buf, SELF_TEST_LEN, got_a) &&
	       agrees_with_evp(buf + 1, SELF_TEST_LEN, got_b);
}

static void choose(void)
{
	ni_works = kr_sha256_ni_is_there() && self_test();
}

static bool use_ni(void)
{
	kr_assert(pthread_once(&once, choose) == 0);
	return ni_works &&
	       !atomic_load_explicit(&evp_is_forced, memory_order_relaxed);
}

void kr_hash_force_evp(bool on)
{
	atomic_store_explicit(&evp_is_forced, on, memory_order_relaxed);
}

const char *kr_hash_impl_name(void)
{
	return use_ni() ? "sha-ni-x2" : "openssl-evp";
}

enum kr_err kr_hash_init(struct kr_hash *h, enum kr_digest_alg alg)
{
	kr_assert(alg < KR_DIGEST_ALG_COUNT);
	if (alg == KR_SHA256 && use_ni()) {
		start_ni(h);
		return KR_OK;
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (ctx == NULL)
		return KR_E_NOMEM;
	if (EVP_DigestInit_ex(ctx,
			      alg == KR_SHA256 ? EVP_sha256() : EVP_sha512(),
			      NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		return KR_E_NOMEM;
	}
	*h = (struct kr_hash){ .alg = (uint8_t)alg, .evp = ctx };
	return KR_OK;
}

void kr_hash_update(struct kr_hash *h, const void *buf, size_t len)
{
	if (len == 0)
		return; /* @buf may be NULL */
	if (h->evp != NULL)
		kr_assert(EVP_DigestUpdate(h->evp, buf, len) == 1);
	else
		update_ni(h, buf, len);
}

void kr_hash_update_pair(struct kr_hash *a, const void *buf_a,
			 struct kr_hash *b, const void *buf_b, size_t len)
{
	kr_assert(a != b && a->alg == KR_SHA256 && b->alg == KR_SHA256);
	if (len > 0 && a->evp == NULL && b->evp == NULL) {
		update_pair_ni(a, buf_a, b, buf_b, len);
		return;
	}
	kr_hash_update(a, buf_a, len);
	kr_hash_update(b, buf_b, len);
}

void kr_hash_final(struct kr_hash *h, struct kr_digest *ret)
{
	struct kr_digest d = { .alg = h->alg };

	if (h->evp != NULL)
		kr_assert(EVP_DigestFinal_ex(h->evp, d.bytes, NULL) == 1);
	else
		final_ni(h, d.bytes);
	kr_hash_fini(h);
	*ret = d;
}

void kr_hash_fini(struct kr_hash *h)
{
	EVP_MD_CTX_free(h->evp);
	*h = (struct kr_hash){ .alg = h->alg };
}

enum kr_err kr_hash_save(const struct kr_hash *h,
			 uint8_t buf[KR_HASH_STATE_LEN])
{
	if (h->evp != NULL)
		return KR_E_UNSUPPORTED;
	for (size_t i = 0; i < 8; i++)
		kr_put_be32(buf + 4 * i, h->state[i]);
	kr_put_be64(buf + 32, h->total_bytes);
	buf[40] = h->tail_len;
	memset(buf + 41, 0, BLOCK_LEN);
	memcpy(buf + 41, h->tail, h->tail_len);
	return KR_OK;
}

enum kr_err kr_hash_load(struct kr_hash *h,
			 const uint8_t buf[KR_HASH_STATE_LEN])
{
	struct kr_hash loaded;

	if (!use_ni())
		return KR_E_UNSUPPORTED;
	start_ni(&loaded);
	for (size_t i = 0; i < 8; i++)
		loaded.state[i] = kr_get_be32(buf + 4 * i);
	loaded.total_bytes = kr_get_be64(buf + 32);
	loaded.tail_len = buf[40];
	if (loaded.tail_len != loaded.total_bytes % BLOCK_LEN)
		return KR_E_CORRUPT;
	memcpy(loaded.tail, buf + 41, loaded.tail_len);
	*h = loaded;
	return KR_OK;
}

void kr_sha256(const void *buf, size_t len, uint8_t ret[KR_SHA256_LEN])
{
	struct kr_hash h;

	if (!use_ni()) {
		kr_assert(EVP_Digest(buf, len, ret, NULL, EVP_sha256(), NULL) ==
			  1);
		return;
	}
	start_ni(&h);
	if (len > 0)
		update_ni(&h, buf, len);
	final_ni(&h, ret);
}
