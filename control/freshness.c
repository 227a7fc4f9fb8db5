#include "control/freshness.h"

static bool is_young(const struct kr_freshness *policy, uint64_t learned_ns,
		     uint64_t now_ns)
{
	return learned_ns != 0 && learned_ns <= now_ns &&
	       now_ns - learned_ns < policy->cache_ns;
}

enum kr_fresh kr_freshness_decide(const struct kr_freshness *policy,
				  uint64_t learned_ns, uint64_t now_ns,
				  enum kr_err answer)
{
	switch (answer) {
	case KR_AGAIN:
		return is_young(policy, learned_ns, now_ns) ? KR_FRESH_KNOWN
							    : KR_FRESH_ASK;
	case KR_OK:
		return KR_FRESH_NEW;
	case KR_E_NOTFOUND:
		return KR_FRESH_GONE;
	default:
		return policy->stale && learned_ns != 0 ? KR_FRESH_STALE
							: KR_FRESH_FAILED;
	}
}
