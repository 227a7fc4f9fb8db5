/*
 * sha256rnds2 has a latency of four cycles and a throughput of one in two, and
 * each depends on the last: one stream leaves the unit idle half of the time.
 * A second, independent stream fills the gaps and costs next to nothing
 * (ENGINE.md: 1.5 -> 3.0 GB/s).  Two lanes are 2 x (2 state + 4 message)
 * registers and a few temporaries: they just fit in sixteen.  Three spill.
 *
 * The rounds are macros over named locals so that the compiler keeps every one
 * of them in a register; arrays and loops made it spill.
 */
#include "core/sha256_ni.h"

#include "core/err.h"
#include "core/sha256_portable.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

bool kr_sha256_ni_is_there(void)
{
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		return false;
	if ((ecx & bit_SSSE3) == 0 || (ecx & bit_SSE4_1) == 0)
		return false;
	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return false;
	return (ebx & 1U << 29) != 0; /* SHA; Intel SDM 2A, CPUID */
}

/* The instructions want the eight words as (a, b, e, f) and (c, d, g, h), the
 * first in the highest lane. */
TARGET static inline void load_state(const uint32_t s[8], __m128i *abef,
				     __m128i *cdgh)
{
	const __m128i abcd = _mm_loadu_si128((const void *)&s[0]);
	const __m128i efgh = _mm_loadu_si128((const void *)&s[4]);
	const __m128i cdab = _mm_shuffle_epi32(abcd, 0xb1);
	const __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);

	*abef = _mm_alignr_epi8(cdab, hgfe, 8);
	*cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
}

TARGET static inline void store_state(uint32_t s[8], __m128i abef, __m128i cdgh)
{
	const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
	const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);

	_mm_storeu_si128((void *)&s[0], _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((void *)&s[4], _mm_alignr_epi8(dchg, feba, 8));
}

TARGET static inline __m128i load_words(const uint8_t *p)
{
	const __m128i big_endian =
		_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

	return _mm_shuffle_epi8(_mm_loadu_si128((const void *)p), big_endian);
}

/* Four rounds of lane @L with the words @m, which are those of rounds 4 * @i
 * to 4 * @i + 3. */
#define ROUNDS(L, m, i)                                                        \
	do {                                                                   \
		__m128i wk_ = _mm_add_epi32(                                   \
			m,                                                     \
			_mm_load_si128(                                        \
				(const void *)&kr_sha256_constants[4 * (i)])); \
		cdgh##L = _mm_sha256rnds2_epu32(cdgh##L, abef##L, wk_);        \
		wk_ = _mm_shuffle_epi32(wk_, 0x0e);                            \
		abef##L = _mm_sha256rnds2_epu32(abef##L, cdgh##L, wk_);        \
	} while (0)

/* The words sixteen rounds after @m0, from the sixteen words before them. */
#define SCHEDULE(m0, m1, m2, m3)                                               \
	(m0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), \
						 _mm_alignr_epi8(m3, m2, 4)),  \
				   m3))

#define LANES_1(DO, ...) DO(A, __VA_ARGS__)
#define LANES_2(DO, ...)            \
	do {                        \
		DO(A, __VA_ARGS__); \
		DO(B, __VA_ARGS__); \
	} while (0)

#define ROUNDS_OF(L, n, i)         ROUNDS(L, m##n##L, i)
#define SCHEDULE_OF(L, a, b, c, d) SCHEDULE(m##a##L, m##b##L, m##c##L, m##d##L)

/* Sixteen rounds beginning with 4 * @i; all but the last sixteen also make the
 * words for the sixteen after. */
#define SIXTEEN_MORE(LANES, i)                  \
	do {                                    \
		LANES(ROUNDS_OF, 0, i);         \
		LANES(SCHEDULE_OF, 0, 1, 2, 3); \
		LANES(ROUNDS_OF, 1, (i) + 1);   \
		LANES(SCHEDULE_OF, 1, 2, 3, 0); \
		LANES(ROUNDS_OF, 2, (i) + 2);   \
		LANES(SCHEDULE_OF, 2, 3, 0, 1); \
		LANES(ROUNDS_OF, 3, (i) + 3);   \
		LANES(SCHEDULE_OF, 3, 0, 1, 2); \
	} while (0)

#define SIXTEEN_LAST(LANES)              \
	do {                             \
		LANES(ROUNDS_OF, 0, 12); \
		LANES(ROUNDS_OF, 1, 13); \
		LANES(ROUNDS_OF, 2, 14); \
		LANES(ROUNDS_OF, 3, 15); \
	} while (0)

#define LOAD_BLOCK(L, p)                          \
	__m128i m0##L = load_words(p);            \
	__m128i m1##L = load_words((p) + 16);     \
	__m128i m2##L = load_words((p) + 32);     \
	__m128i m3##L = load_words((p) + 48);     \
	const __m128i abef##L##_before = abef##L; \
	const __m128i cdgh##L##_before = cdgh##L

#define ADD_BEFORE(L)                                               \
	do {                                                        \
		abef##L = _mm_add_epi32(abef##L, abef##L##_before); \
		cdgh##L = _mm_add_epi32(cdgh##L, cdgh##L##_before); \
	} while (0)

TARGET void kr_sha256_ni_compress(uint32_t state[8], const uint8_t *blocks,
				  size_t block_count)
{
	__m128i abefA, cdghA;

	load_state(state, &abefA, &cdghA);
	for (; block_count > 0; block_count--, blocks += 64) {
		LOAD_BLOCK(A, blocks);
		SIXTEEN_MORE(LANES_1, 0);
		SIXTEEN_MORE(LANES_1, 4);
		SIXTEEN_MORE(LANES_1, 8);
		SIXTEEN_LAST(LANES_1);
		ADD_BEFORE(A);
	}
	store_state(state, abefA, cdghA);
}

TARGET void kr_sha256_ni_compress_pair(uint32_t state_a[8],
				       const uint8_t *blocks_a,
				       uint32_t state_b[8],
				       const uint8_t *blocks_b,
				       size_t block_count)
{
	__m128i abefA, cdghA, abefB, cdghB;

	load_state(state_a, &abefA, &cdghA);
	load_state(state_b, &abefB, &cdghB);
	for (; block_count > 0; block_count--) {
		LOAD_BLOCK(A, blocks_a);
		LOAD_BLOCK(B, blocks_b);
		SIXTEEN_MORE(LANES_2, 0);
		SIXTEEN_MORE(LANES_2, 4);
		SIXTEEN_MORE(LANES_2, 8);
		SIXTEEN_LAST(LANES_2);
		ADD_BEFORE(A);
		ADD_BEFORE(B);
		blocks_a += 64;
		blocks_b += 64;
	}
	store_state(state_a, abefA, cdghA);
	store_state(state_b, abefB, cdghB);
}

#else

bool kr_sha256_ni_is_there(void)
{
	return false;
}

void kr_sha256_ni_compress(uint32_t state[8], const uint8_t *blocks,
			   size_t block_count)
{
	(void)state, (void)blocks, (void)block_count;
	kr_assert(kr_sha256_ni_is_there());
}

void kr_sha256_ni_compress_pair(uint32_t state_a[8], const uint8_t *blocks_a,
				uint32_t state_b[8], const uint8_t *blocks_b,
				size_t block_count)
{
	(void)state_a, (void)blocks_a, (void)state_b, (void)blocks_b;
	(void)block_count;
	kr_assert(kr_sha256_ni_is_there());
}

#endif
