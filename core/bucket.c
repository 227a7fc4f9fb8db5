#include "core/bucket.h"

#include "core/err.h"

#define UNITS INT64_C(1000000000) /* of a byte */
#define FLOOR (-(int64_t)KR_BUCKET_DEBT_MAX * UNITS)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int64_t full(const struct kr_bucket *b)
{
	return (int64_t)b->burst_bytes * UNITS;
}

void kr_bucket_init(struct kr_bucket *b, uint64_t rate_bytes_per_s,
		    uint64_t burst_bytes, uint64_t now_ns)
{
	kr_assert(rate_bytes_per_s == 0 || burst_bytes > 0);
	b->rate_bytes_per_s = min_u64(rate_bytes_per_s, KR_BUCKET_RATE_MAX);
	b->burst_bytes = min_u64(burst_bytes, KR_BUCKET_BURST_MAX);
	b->level = full(b);
	b->at_ns = now_ns;
}

bool kr_bucket_is_limited(const struct kr_bucket *b)
{
	return b->rate_bytes_per_s != 0;
}

/* Whether the bucket is full by @now_ns is asked first: the product is only
 * made where it is less than what was missing. */
static void fill(struct kr_bucket *b, uint64_t now_ns)
{
	if (now_ns <= b->at_ns)
		return;
	const uint64_t passed_ns = now_ns - b->at_ns;
	const uint64_t missing = (uint64_t)(full(b) - b->level);

	b->at_ns = now_ns;
	if (passed_ns > missing / b->rate_bytes_per_s)
		b->level = full(b);
	else
		b->level += (int64_t)(passed_ns * b->rate_bytes_per_s);
}

uint64_t kr_bucket_bytes(struct kr_bucket *b, uint64_t now_ns)
{
	if (!kr_bucket_is_limited(b))
		return UINT64_MAX;
	fill(b, now_ns);
	return b->level > 0 ? (uint64_t)(b->level / UNITS) : 0;
}

void kr_bucket_take(struct kr_bucket *b, uint64_t now_ns, uint64_t bytes)
{
	if (!kr_bucket_is_limited(b))
		return;
	fill(b, now_ns);
	const int64_t units =
		(int64_t)min_u64(bytes, KR_BUCKET_DEBT_MAX) * UNITS;

	b->level = b->level < FLOOR + units ? FLOOR : b->level - units;
}

void kr_bucket_give(struct kr_bucket *b, uint64_t bytes)
{
	if (!kr_bucket_is_limited(b))
		return;
	const uint64_t missing = (uint64_t)(full(b) - b->level);

	if (bytes > missing / (uint64_t)UNITS)
		b->level = full(b);
	else
		b->level += (int64_t)bytes * UNITS;
}

uint64_t kr_bucket_ready_ns(struct kr_bucket *b, uint64_t now_ns,
			    uint64_t bytes)
{
	if (!kr_bucket_is_limited(b))
		return now_ns;
	fill(b, now_ns);
	const int64_t wanted = (int64_t)min_u64(bytes, b->burst_bytes) * UNITS;

	if (b->level >= wanted)
		return now_ns;
	const uint64_t missing = (uint64_t)(wanted - b->level);

	return b->at_ns + (missing - 1) / b->rate_bytes_per_s + 1;
}
