#include "core/rand.h"

#include "core/err.h"

void kr_rand_init(struct kr_rand *r, uint64_t seed)
{
	r->state = seed;
}

uint64_t kr_rand_u64(struct kr_rand *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* The high half of a 32 x 32 bit product scales without a division; taking
 * the 32 bits out of 64 good ones leaves a bias of @n / 2^32 per value. */
uint32_t kr_rand_below(struct kr_rand *r, uint32_t n)
{
	kr_assert(n > 0);
	return (uint32_t)((kr_rand_u64(r) >> 32) * n >> 32);
}
