/*
 * core/digest.h - content digests as OCI names them (image-spec descriptor.md,
 * "Digests"): "sha256:" + 64 hex digits, "sha512:" + 128 hex digits.
 */
#ifndef KR_CORE_DIGEST_H
#define KR_CORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum kr_digest_alg { KR_SHA256, KR_SHA512, KR_DIGEST_ALG_COUNT };

enum {
	KR_SHA256_LEN = 32,
	KR_SHA512_LEN = 64,
	KR_DIGEST_LEN_MAX = KR_SHA512_LEN,
	KR_DIGEST_TEXT_MAX = 7 + 2 * KR_DIGEST_LEN_MAX + 1, /* with the NUL */
};

struct kr_digest {
	uint8_t alg;                      /* enum kr_digest_alg */
	uint8_t bytes[KR_DIGEST_LEN_MAX]; /* unused tail is 0 */
};

/* Length in bytes of a digest of @alg. */
size_t kr_digest_len(enum kr_digest_alg alg);

/*
 * Parse @text (@len bytes, no NUL needed).  Lower-case hex only, as the
 * specification has it.
 *
 * KR_E_INVALID      not of the form algorithm:hex
 * KR_E_UNSUPPORTED  well-formed, of another algorithm
 */
KR_NODISCARD enum kr_err kr_digest_parse(const char *text, size_t len,
					 struct kr_digest *ret);

/* Print "alg:hex" and a NUL into @buf of KR_DIGEST_TEXT_MAX.  Returns @buf. */
char *kr_digest_print(const struct kr_digest *d, char *buf);

/* The hex part only, with a NUL. */
char *kr_digest_print_hex(const struct kr_digest *d, char *buf);

/* "sha256" */
const char *kr_digest_alg_name(enum kr_digest_alg alg);

bool kr_digest_equal(const struct kr_digest *a, const struct kr_digest *b);

/* A 64-bit hash for tables: digests are random already. */
uint64_t kr_digest_hash(const struct kr_digest *d);

#endif
