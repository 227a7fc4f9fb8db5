/*
 * core/rand.h - seeded random numbers for decisions (splitmix64; Steele, Lea,
 * Flood, "Fast splittable pseudorandom number generators", 2014).
 *
 * PURE: the same seed gives the same numbers, which is what makes a simulation
 * repeatable.  Not for secrets.
 */
#ifndef KR_CORE_RAND_H
#define KR_CORE_RAND_H

#include <stdint.h>

struct kr_rand {
	uint64_t state;
};

/* Any @seed is as good as any other; see kr_clock_entropy. */
void kr_rand_init(struct kr_rand *r, uint64_t seed);

uint64_t kr_rand_u64(struct kr_rand *r);

/* A number in [0, @n), @n > 0; no value is favoured by more than @n / 2^32. */
uint32_t kr_rand_below(struct kr_rand *r, uint32_t n);

#endif
