/*
 * core/bucket.h - a token bucket: how many bytes may pass by when.  PURE.
 *
 * Tokens come at a rate and are kept up to the burst, so in any span of time
 * at most burst + rate * span bytes pass.  They are counted in billionths of a
 * byte: rate * nanoseconds is a whole number of them, so nothing is rounded
 * and nothing drifts.  What has passed already may be taken even so (debt);
 * it is paid before anything else passes.
 *
 * A rate of 0 means no limit: everything passes at once.
 *
 * Limits: rates above KR_BUCKET_RATE_MAX and bursts above KR_BUCKET_BURST_MAX
 * count as those; debt ends at KR_BUCKET_DEBT_MAX.  With them no sum here
 * leaves 63 bits, however long the bucket was left alone.
 */
#ifndef KR_CORE_BUCKET_H
#define KR_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define KR_BUCKET_RATE_MAX  UINT64_C(1000000000000) /* bytes per second */
#define KR_BUCKET_BURST_MAX (UINT64_C(1) << 30)     /* bytes */
#define KR_BUCKET_DEBT_MAX  (UINT64_C(4) << 30)     /* bytes */

struct kr_bucket { /* fields are private */
	uint64_t rate_bytes_per_s;
	uint64_t burst_bytes;
	int64_t level; /* billionths of a byte; below 0: debt */
	uint64_t at_ns;
};

/* Begin full at @now_ns.  @burst_bytes >= 1; it is not used without a rate. */
void kr_bucket_init(struct kr_bucket *b, uint64_t rate_bytes_per_s,
		    uint64_t burst_bytes, uint64_t now_ns);

bool kr_bucket_is_limited(const struct kr_bucket *b);

/* Bytes that may pass at @now_ns; without a rate UINT64_MAX.  A time before
 * one that the bucket has seen counts as that one, here and below. */
uint64_t kr_bucket_bytes(struct kr_bucket *b, uint64_t now_ns);

/* @bytes pass: take their tokens, into debt if they are not there. */
void kr_bucket_take(struct kr_bucket *b, uint64_t now_ns, uint64_t bytes);

/* @bytes of what was taken did not pass: put their tokens back. */
void kr_bucket_give(struct kr_bucket *b, uint64_t bytes);

/* The first moment, not before @now_ns, at which @bytes may pass, if nothing
 * is taken until then.  More than the burst is never there: it counts as the
 * burst. */
uint64_t kr_bucket_ready_ns(struct kr_bucket *b, uint64_t now_ns,
			    uint64_t bytes);

#endif
