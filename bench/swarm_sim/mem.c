#include "bench/swarm_sim/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/err.h"

enum { HEAD = 16 }; /* keeps the size of a block, and its alignment */

void *sim_get(size_t bytes)
{
	void *ptr = calloc(1, bytes);

	kr_assert(ptr != NULL);
	return ptr;
}

void sim_put(void *ptr)
{
	free(ptr);
}

void *sim_grow(void *ptr, uint32_t *cap, uint32_t want, size_t size)
{
	uint32_t bigger = *cap ? *cap : 64;

	if (want <= *cap)
		return ptr;
	while (bigger < want)
		bigger *= 2;
	ptr = realloc(ptr, bigger * size);
	kr_assert(ptr != NULL);
	*cap = bigger;
	return ptr;
}

static void *account_get(void *ctx, size_t bytes, size_t align)
{
	struct sim_account *a = ctx;
	uint8_t *ptr;

	kr_assert(align <= HEAD);
	ptr = malloc(bytes + HEAD);
	kr_assert(ptr != NULL);
	memcpy(ptr, &bytes, sizeof(bytes));
	a->bytes += bytes;
	if (a->bytes > a->peak_bytes)
		a->peak_bytes = a->bytes;
	return ptr + HEAD;
}

static void account_put(void *ctx, void *ptr)
{
	struct sim_account *a = ctx;
	size_t bytes;

	if (ptr == NULL)
		return;
	memcpy(&bytes, (uint8_t *)ptr - HEAD, sizeof(bytes));
	a->bytes -= bytes;
	free((uint8_t *)ptr - HEAD);
}

void sim_account_init(struct sim_account *a)
{
	*a = (struct sim_account){
		.alloc = { .ctx = a, .get = account_get, .put = account_put }
	};
}

uint64_t sim_rss_peak_bytes(void)
{
	struct rusage u;

	kr_assert(getrusage(RUSAGE_SELF, &u) == 0);
	return (uint64_t)u.ru_maxrss << 10;
}
