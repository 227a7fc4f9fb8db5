/*
 * core/hash.h - streaming SHA-256 and SHA-512.
 *
 * SHA-256 is done by whichever is fastest here of the SHA extensions (one
 * lane, or two interleaved: the unit is latency-bound, so a second stream is
 * nearly free, ENGINE.md), OpenSSL EVP and plain C.  The choice is made once,
 * at the first use: each must agree with EVP, then each is timed over two
 * streams of 64 KiB (some milliseconds in all).  SHA-512 is EVP's.
 *
 * Threads: the functions are reentrant; a struct kr_hash belongs to one
 * thread at a time.
 */
#ifndef KR_CORE_HASH_H
#define KR_CORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"

struct kr_hash {
	uint8_t alg; /* enum kr_digest_alg */
	uint8_t tail_len;
	uint8_t tail[64];
	uint32_t state[8];
	uint64_t total_bytes;
	void *evp; /* EVP_MD_CTX where EVP does the work, else NULL */
};

/* Start a digest of @alg.  KR_E_NOMEM: EVP had no memory. */
KR_NODISCARD enum kr_err kr_hash_init(struct kr_hash *h,
				      enum kr_digest_alg alg);
void kr_hash_update(struct kr_hash *h, const void *buf, size_t len);

/* Update two independent streams (not the same, both KR_SHA256) by @len bytes each, in one
 * pass where the processor allows it.  @buf_a and @buf_b may be the same
 * memory: a blob's digest and its piece's. */
void kr_hash_update_pair(struct kr_hash *a, const void *buf_a,
			 struct kr_hash *b, const void *buf_b, size_t len);

/* Finish; @h holds nothing afterwards. */
void kr_hash_final(struct kr_hash *h, struct kr_digest *ret);

/* Drop @h unfinished. */
void kr_hash_fini(struct kr_hash *h);

/*
 * Save and restore a KR_SHA256 stream, so that an upload session survives a
 * restart without re-reading what it already received.
 *
 * KR_E_UNSUPPORTED  EVP holds (would hold) the state: the caller re-hashes
 * KR_E_CORRUPT      kr_hash_load only: @buf was not written by kr_hash_save
 */
enum { KR_HASH_STATE_LEN = 8 * 4 + 8 + 1 + 64 };
KR_NODISCARD enum kr_err kr_hash_save(const struct kr_hash *h,
				      uint8_t buf[KR_HASH_STATE_LEN]);
KR_NODISCARD enum kr_err kr_hash_load(struct kr_hash *h,
				      const uint8_t buf[KR_HASH_STATE_LEN]);

/* One-shot SHA-256 of @len bytes into @ret (KR_SHA256_LEN bytes). */
void kr_sha256(const void *buf, size_t len, uint8_t ret[KR_SHA256_LEN]);

/* What the choice was made from. */
enum { KR_HASH_IMPL_COUNT = 3 };
struct kr_hash_impl {
	const char *name;     /* "sha-ni-x2", "openssl-evp", "portable" */
	bool works;           /* on this processor, and rightly */
	bool is_chosen;       /* one is */
	uint64_t bytes_per_s; /* of two streams together; 0: does not work */
};

/* KR_HASH_IMPL_COUNT of them; they live as long as the process. */
const struct kr_hash_impl *kr_hash_impls(void);

/* Name of the implementation in use. */
const char *kr_hash_impl_name(void);

/* For tests and benchmarks only: SHA-256 is done by implementation @name from
 * now on, NULL: by the chosen one.  Nothing changes where it does not work.
 * A stream that EVP began goes on with it. */
void kr_hash_force(const char *name);

#endif
