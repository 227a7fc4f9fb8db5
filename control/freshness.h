/*
 * control/freshness.h - is what is known of a tag of another registry good
 * enough, or is that registry to be asked, and what if it cannot be?
 *
 * PURE: a function of the policy of the repository, when the tag was learned,
 * the time, and what the upstream said.
 *
 *	                 +--- known is young enough ---> KNOWN
 *	question --------+
 *	                 +--> ASK --+-- it has the tag --> NEW
 *	                            +-- it has not ------> GONE
 *	                            +-- cannot be asked -> STALE, FAILED
 */
#ifndef KR_CONTROL_FRESHNESS_H
#define KR_CONTROL_FRESHNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct kr_freshness {
	uint64_t cache_ns; /* so long it is not asked again; 0: always ask */
	bool stale; /* serve what is known while upstream cannot be asked */
};

enum kr_fresh {
	KR_FRESH_KNOWN,  /* serve what is known */
	KR_FRESH_ASK,    /* ask upstream, then decide again */
	KR_FRESH_NEW,    /* serve, and remember, what upstream said */
	KR_FRESH_GONE,   /* not found; forget what was known */
	KR_FRESH_STALE,  /* serve what is known, old as it is */
	KR_FRESH_FAILED, /* the question cannot be answered now */
	KR_FRESH_COUNT
};

/*
 * @learned_ns  wall time at which upstream said what is known; 0: nothing is
 * @now_ns      wall time; before @learned_ns: the clock was set back, and
 *              nobody knows how old what is known is
 * @answer      KR_AGAIN: upstream was not asked yet; KR_OK; KR_E_NOTFOUND: it
 *              has no such tag; anything else: it could not be asked
 */
enum kr_fresh kr_freshness_decide(const struct kr_freshness *policy,
				  uint64_t learned_ns, uint64_t now_ns,
				  enum kr_err answer);

#endif
