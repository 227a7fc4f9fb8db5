/*
 * core/sha256_ni.h - the SHA-256 compression function in one lane and in two,
 * by the x86 SHA extensions.  Private to hash.c.
 *
 * PURE.
 */
#ifndef KR_CORE_SHA256_NI_H
#define KR_CORE_SHA256_NI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Has this processor SHA, SSSE3 and SSE4.1?  False on other architectures,
 * where the functions below must not be called. */
bool kr_sha256_ni_is_there(void);

/* Take @block_count blocks of 64 bytes into @state (FIPS 180-4, 6.2.2). */
void kr_sha256_ni_compress(uint32_t state[8], const uint8_t *blocks,
			   size_t block_count);

/* The same for two streams at once. */
void kr_sha256_ni_compress_pair(uint32_t state_a[8], const uint8_t *blocks_a,
				uint32_t state_b[8], const uint8_t *blocks_b,
				size_t block_count);

#endif
