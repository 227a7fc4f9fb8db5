/*
 * core/sha256_portable.h - the SHA-256 compression function in plain C, for a
 * processor without SHA extensions and the self-test.  Private to hash.c.
 *
 * PURE.
 */
#ifndef KR_CORE_SHA256_PORTABLE_H
#define KR_CORE_SHA256_PORTABLE_H

#include <stddef.h>
#include <stdint.h>

/* FIPS 180-4, 4.2.2: K. */
extern const uint32_t kr_sha256_constants[64];

/* Take @block_count blocks of 64 bytes into @state (FIPS 180-4, 6.2.2). */
void kr_sha256_portable_compress(uint32_t state[8], const uint8_t *blocks,
				 size_t block_count);

/* The same for two streams, one after the other. */
void kr_sha256_portable_compress_pair(uint32_t state_a[8],
				      const uint8_t *blocks_a,
				      uint32_t state_b[8],
				      const uint8_t *blocks_b,
				      size_t block_count);

#endif
