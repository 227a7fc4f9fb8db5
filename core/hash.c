#include "core/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/sha256_ni.h"
#include "core/sha256_portable.h"

enum { BLOCK_LEN = 64 };

/* FIPS 180-4, 5.3.3 */
static const uint32_t initial_state[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Who compresses blocks where EVP does not: of streams begun by either, since
 * the state of a stream is the standard's, not an implementation's. */
struct lanes {
	const char *name;
	bool (*is_there)(void);
	void (*one)(uint32_t state[8], const uint8_t *blocks,
		    size_t block_count);
	void (*two)(uint32_t state_a[8], const uint8_t *blocks_a,
		    uint32_t state_b[8], const uint8_t *blocks_b,
		    size_t block_count);
};

static bool always(void)
{
	return true;
}

static const struct lanes ni = { "sha-ni-x2", kr_sha256_ni_is_there,
				 kr_sha256_ni_compress,
				 kr_sha256_ni_compress_pair };
static const struct lanes portable = { "portable", always,
				       kr_sha256_portable_compress,
				       kr_sha256_portable_compress_pair };

static void start(struct kr_hash *h)
{
	*h = (struct kr_hash){ .alg = KR_SHA256 };
	memcpy(h->state, initial_state, sizeof(h->state));
}

/* Bytes at the front that complete a block begun earlier. */
static size_t fill_tail(const struct lanes *l, struct kr_hash *h,
			const uint8_t *p, size_t len)
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
		l->one(h->state, h->tail, 1);
		h->tail_len = 0;
	}
	return n;
}

static void keep_tail(struct kr_hash *h, const uint8_t *p, size_t len)
{
	memcpy(h->tail + h->tail_len, p, len);
	h->tail_len = (uint8_t)(h->tail_len + len);
}

static void update(const struct lanes *l, struct kr_hash *h, const uint8_t *p,
		   size_t len)
{
	h->total_bytes += len;
	size_t at = fill_tail(l, h, p, len);

	const size_t blocks = (len - at) / BLOCK_LEN;
	l->one(h->state, p + at, blocks);
	at += blocks * BLOCK_LEN;
	keep_tail(h, p + at, len - at);
}

/* The lanes need not be at the same place in their blocks: each first fills
 * its own, then they go side by side for as long as both have whole blocks. */
static void update_pair(const struct lanes *l, struct kr_hash *a,
			const uint8_t *pa, struct kr_hash *b, const uint8_t *pb,
			size_t len)
{
	const size_t at_a = fill_tail(l, a, pa, len);
	const size_t at_b = fill_tail(l, b, pb, len);
	const size_t blocks_a = (len - at_a) / BLOCK_LEN;
	const size_t blocks_b = (len - at_b) / BLOCK_LEN;
	const size_t both = blocks_a < blocks_b ? blocks_a : blocks_b;

	l->two(a->state, pa + at_a, b->state, pb + at_b, both);
	a->total_bytes += at_a + both * BLOCK_LEN;
	b->total_bytes += at_b + both * BLOCK_LEN;
	update(l, a, pa + at_a + both * BLOCK_LEN,
	       len - at_a - both * BLOCK_LEN);
	update(l, b, pb + at_b + both * BLOCK_LEN,
	       len - at_b - both * BLOCK_LEN);
}

/* A one bit, zeroes, and the length in bits end the last block
 * (FIPS 180-4, 5.1.1). */
static void final(const struct lanes *l, struct kr_hash *h,
		  uint8_t ret[KR_SHA256_LEN])
{
	uint8_t last[2 * BLOCK_LEN] = { 0 };
	const size_t blocks = h->tail_len < BLOCK_LEN - 8 ? 1 : 2;

	memcpy(last, h->tail, h->tail_len);
	last[h->tail_len] = 0x80;
	kr_put_be64(last + blocks * BLOCK_LEN - 8, h->total_bytes * 8);
	l->one(h->state, last, blocks);
	for (size_t i = 0; i < 8; i++)
		kr_put_be32(ret + 4 * i, h->state[i]);
}

/* ---- the choice */

enum {
	SELF_TEST_LEN = 3 * BLOCK_LEN + 57,
	MEASURE_LEN = 64 * 1024, /* of each of two streams */
	MEASURE_TRIES = 5,       /* the best counts: others may have the core */
};

static bool agrees_with_evp(const uint8_t *p, size_t len,
			    const uint8_t got[KR_SHA256_LEN])
{
	uint8_t want[EVP_MAX_MD_SIZE];

	return EVP_Digest(p, len, want, NULL, EVP_sha256(), NULL) == 1 &&
	       memcmp(want, got, KR_SHA256_LEN) == 0;
}

/* One lane and two against OpenSSL, over several blocks and a long tail. */
static bool self_test(const struct lanes *l)
{
	uint8_t buf[SELF_TEST_LEN + 1], got_a[KR_SHA256_LEN],
		got_b[KR_SHA256_LEN];
	struct kr_hash a, b;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 37 + 11);
	start(&a);
	update(l, &a, buf, SELF_TEST_LEN);
	final(l, &a, got_a);
	if (!agrees_with_evp(buf, SELF_TEST_LEN, got_a))
		return false;

	start(&a);
	start(&b);
	update_pair(l, &a, buf, &b, buf + 1, SELF_TEST_LEN);
	final(l, &a, got_a);
	final(l, &b, got_b);
	return agrees_with_evp(buf, SELF_TEST_LEN, got_a) &&
	       agrees_with_evp(buf + 1, SELF_TEST_LEN, got_b);
}

/* Hash two streams, as a download is hashed; @l NULL: by EVP. */
static void hash_two(const struct lanes *l, const uint8_t *buf)
{
	uint8_t md[EVP_MAX_MD_SIZE];
	struct kr_hash a, b;

	if (l == NULL) {
		for (int i = 0; i < 2; i++)
			kr_assert(EVP_Digest(buf, MEASURE_LEN, md, NULL,
					     EVP_sha256(), NULL) == 1);
		return;
	}
	start(&a);
	start(&b);
	update_pair(l, &a, buf, &b, buf, MEASURE_LEN);
	final(l, &a, md);
	final(l, &b, md);
}

static uint64_t measure(const struct lanes *l, const uint8_t *buf)
{
	uint64_t best_ns = UINT64_MAX;

	for (int i = 0; i < MEASURE_TRIES; i++) {
		const uint64_t since_ns = kr_clock_mono_ns();

		hash_two(l, buf);
		const uint64_t took_ns = kr_clock_mono_ns() - since_ns;

		if (took_ns < best_ns)
			best_ns = took_ns;
	}
	return UINT64_C(2) * MEASURE_LEN * UINT64_C(1000000000) /
	       (best_ns > 0 ? best_ns : 1);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct kr_hash_impl impls[KR_HASH_IMPL_COUNT];
static const struct lanes *const lanes_of[KR_HASH_IMPL_COUNT] = {
	&ni, NULL /* EVP */, &portable
};
static int chosen;                          /* index of both */
static atomic_int in_use;                   /* the same, unless forced */
static _Atomic(const struct lanes *) lanes; /* that streams of ours use */

static void use(int i)
{
	if (lanes_of[i] != NULL)
		atomic_store(&lanes, lanes_of[i]);
	atomic_store(&in_use, i);
}

static void choose(void)
{
	static uint8_t buf[MEASURE_LEN];

	memset(buf, 0x5a, sizeof(buf));
	for (int i = 0; i < KR_HASH_IMPL_COUNT; i++) {
		const struct lanes *l = lanes_of[i];
		struct kr_hash_impl *im = &impls[i];

		im->name = l != NULL ? l->name : "openssl-evp";
		im->works = l == NULL || (l->is_there() && self_test(l));
		if (im->works)
			im->bytes_per_s = measure(l, buf);
		if (im->bytes_per_s > impls[chosen].bytes_per_s)
			chosen = i;
	}
	impls[chosen].is_chosen = true;
	/* Streams that were saved go on with the better of ours. */
	use(impls[0].works ? 0 : KR_HASH_IMPL_COUNT - 1);
	use(chosen);
}

static bool use_ours(void)
{
	kr_assert(pthread_once(&once, choose) == 0);
	return lanes_of[atomic_load_explicit(&in_use, memory_order_relaxed)] !=
	       NULL;
}

static const struct lanes *our_lanes(void)
{
	return atomic_load_explicit(&lanes, memory_order_relaxed);
}

const struct kr_hash_impl *kr_hash_impls(void)
{
	(void)use_ours();
	return impls;
}

void kr_hash_force(const char *name)
{
	(void)use_ours();
	if (name == NULL) {
		use(chosen);
		return;
	}
	for (int i = 0; i < KR_HASH_IMPL_COUNT; i++)
		if (strcmp(name, impls[i].name) == 0 && impls[i].works)
			use(i);
}

const char *kr_hash_impl_name(void)
{
	(void)use_ours();
	return impls[atomic_load(&in_use)].name;
}

/* ---- streams */

enum kr_err kr_hash_init(struct kr_hash *h, enum kr_digest_alg alg)
{
	kr_assert(alg < KR_DIGEST_ALG_COUNT);
	if (alg == KR_SHA256 && use_ours()) {
		start(h);
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
		update(our_lanes(), h, buf, len);
}

void kr_hash_update_pair(struct kr_hash *a, const void *buf_a,
			 struct kr_hash *b, const void *buf_b, size_t len)
{
	kr_assert(a != b && a->alg == KR_SHA256 && b->alg == KR_SHA256);
	if (len > 0 && a->evp == NULL && b->evp == NULL) {
		update_pair(our_lanes(), a, buf_a, b, buf_b, len);
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
		final(our_lanes(), h, d.bytes);
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

	if (!use_ours())
		return KR_E_UNSUPPORTED;
	start(&loaded);
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

	if (!use_ours()) {
		kr_assert(EVP_Digest(buf, len, ret, NULL, EVP_sha256(), NULL) ==
			  1);
		return;
	}
	start(&h);
	if (len > 0)
		update(our_lanes(), &h, buf, len);
	final(our_lanes(), &h, ret);
}
