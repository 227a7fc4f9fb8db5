#include "control/ring.h"

#include <string.h>

#include "core/bytes.h"

/* The finaliser of splitmix64 (core/rand.h): every bit of the argument counts
 * in every bit of the result. */
static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t seed_of(const char *name, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = mix(h + UINT64_C(0x9e3779b97f4a7c15) + (uint8_t)name[i]);
	return h;
}

static uint64_t weight_of(uint64_t seed, const struct kr_digest *d)
{
	const size_t len = kr_digest_len((enum kr_digest_alg)d->alg);
	uint64_t h = seed ^ mix(d->alg);

	for (size_t i = 0; i + 8 <= len; i += 8)
		h = mix(h ^ kr_get_be64(d->bytes + i));
	return h;
}

enum kr_err kr_ring_init(struct kr_ring *r, const char *const *names,
			 uint32_t count, uint32_t replicas)
{
	if (count > KR_RING_HOSTS_MAX)
		return KR_E_LIMIT;
	if (count == 0)
		return KR_E_INVALID;
	kr_assert(replicas > 0);
	for (uint32_t i = 0; i < count; i++) {
		const size_t len = strlen(names[i]);

		if (len == 0)
			return KR_E_INVALID;
		r->seeds[i] = seed_of(names[i], len);
		for (uint32_t j = 0; j < i; j++)
			if (r->seeds[j] == r->seeds[i])
				return KR_E_INVALID;
	}
	r->host_count = count;
	r->replicas = replicas;
	return KR_OK;
}

struct weighed {
	uint64_t weight;
	uint32_t index;
};

/* The best @max hosts that may be used, by insertion: @max and the number of
 * hosts are small. */
uint32_t kr_ring_order(const struct kr_ring *r, const struct kr_digest *d,
		       kr_ring_healthy_fn *healthy, void *ctx, uint32_t *ret,
		       uint32_t max)
{
	struct weighed best[KR_RING_HOSTS_MAX];
	uint32_t count = 0;

	if (max > r->host_count)
		max = r->host_count;
	for (uint32_t i = 0; i < r->host_count && max > 0; i++) {
		const uint64_t weight = weight_of(r->seeds[i], d);
		uint32_t at = count;

		if (healthy != NULL && !healthy(ctx, i))
			continue;
		while (at > 0 && best[at - 1].weight < weight)
			at--;
		if (at == max)
			continue;
		if (count < max)
			count++;
		memmove(&best[at + 1], &best[at],
			(count - 1 - at) * sizeof(best[0]));
		best[at] = (struct weighed){ weight, i };
	}
	for (uint32_t i = 0; i < count; i++)
		ret[i] = best[i].index;
	return count;
}

uint32_t kr_ring_owners(const struct kr_ring *r, const struct kr_digest *d,
			kr_ring_healthy_fn *healthy, void *ctx, uint32_t *ret,
			uint32_t max)
{
	return kr_ring_order(r, d, healthy, ctx, ret,
			     max < r->replicas ? max : r->replicas);
}

bool kr_ring_owns(const struct kr_ring *r, const struct kr_digest *d,
		  uint32_t index)
{
	uint32_t owners[KR_RING_HOSTS_MAX];
	const uint32_t count =
		kr_ring_owners(r, d, NULL, NULL, owners, KR_RING_HOSTS_MAX);

	for (uint32_t i = 0; i < count; i++)
		if (owners[i] == index)
			return true;
	return false;
}
