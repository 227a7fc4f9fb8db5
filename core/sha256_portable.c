/*
 * One stream in plain C: sixteen words of the message schedule roll, so that
 * all of it fits in cache lines that are hot anyway.
 */
#include "core/sha256_portable.h"

#include "core/bytes.h"

enum { BLOCK_LEN = 64 };

const uint32_t kr_sha256_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

/* FIPS 180-4, 4.1.2. */
static inline uint32_t big_sigma_0(uint32_t x)
{
	return ror(x, 2) ^ ror(x, 13) ^ ror(x, 22);
}

static inline uint32_t big_sigma_1(uint32_t x)
{
	return ror(x, 6) ^ ror(x, 11) ^ ror(x, 25);
}

static inline uint32_t sigma_0(uint32_t x)
{
	return ror(x, 7) ^ ror(x, 18) ^ x >> 3;
}

static inline uint32_t sigma_1(uint32_t x)
{
	return ror(x, 17) ^ ror(x, 19) ^ x >> 10;
}

/* W of round @i; those of the last sixteen rounds are in @w. */
static inline uint32_t next_word(uint32_t w[16], unsigned i)
{
	if (i >= 16)
		w[i % 16] += sigma_1(w[(i + 14) % 16]) + w[(i + 9) % 16] +
			     sigma_0(w[(i + 1) % 16]);
	return w[i % 16];
}

static void compress_block(uint32_t state[8], const uint8_t *block)
{
	uint32_t w[16], s[8];

	for (size_t i = 0; i < 16; i++)
		w[i] = kr_get_be32(block + 4 * i);
	for (size_t i = 0; i < 8; i++)
		s[i] = state[i];
	for (unsigned i = 0; i < 64; i++) {
		const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
		const uint32_t majority =
			(s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
		const uint32_t t1 = s[7] + big_sigma_1(s[4]) + choice +
				    kr_sha256_constants[i] + next_word(w, i);
		const uint32_t t2 = big_sigma_0(s[0]) + majority;

		s[7] = s[6];
		s[6] = s[5];
		s[5] = s[4];
		s[4] = s[3] + t1;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = s[0];
		s[0] = t1 + t2;
	}
	for (size_t i = 0; i < 8; i++)
		state[i] += s[i];
}

void kr_sha256_portable_compress(uint32_t state[8], const uint8_t *blocks,
				 size_t block_count)
{
	for (; block_count > 0; block_count--, blocks += BLOCK_LEN)
		compress_block(state, blocks);
}

void kr_sha256_portable_compress_pair(uint32_t state_a[8],
				      const uint8_t *blocks_a,
				      uint32_t state_b[8],
				      const uint8_t *blocks_b,
				      size_t block_count)
{
	kr_sha256_portable_compress(state_a, blocks_a, block_count);
	kr_sha256_portable_compress(state_b, blocks_b, block_count);
}
