/*
 * uring/probe.h - what this kernel's io_uring can do, found out once, and a
 * readable refusal where it cannot do enough.
 */
#ifndef KR_URING_PROBE_H
#define KR_URING_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

struct io_uring;
struct io_uring_params;

enum kr_feature_id {
	KR_FEATURE_SETUP,
	KR_FEATURE_EXT_ARG,
	KR_FEATURE_NODROP,
	KR_FEATURE_FAST_POLL,
	KR_FEATURE_OPS,
	KR_FEATURE_BUFFER_RING,
	KR_FEATURE_WORKERS_MAX,
	KR_FEATURE_RING_FD,
	KR_FEATURE_FIXED_BUFFERS,
	KR_FEATURE_CACHESTAT,
	KR_FEATURE_COUNT
};

struct kr_feature {
	const char *name;
	bool required;
	const char *since;   /* kernel */
	const char *without; /* what happens if it is missing */
	bool have;
};

struct kr_features {
	struct kr_feature row[KR_FEATURE_COUNT];
};

enum { KR_PROBE_TEXT_MAX = 256 };

/* All rows, nothing had yet. */
void kr_probe_init(struct kr_features *f);

/*
 * Set up @ring with @params, look at what came of it, and set the rows up to
 * KR_FEATURE_OPS and KR_FEATURE_CACHESTAT.
 *
 * KR_E_UNSUPPORTED  refused or something required is missing; logged
 * KR_E_NOMEM, KR_E_NOFILE
 * With any error there is no ring.
 */
KR_NODISCARD enum kr_err kr_probe_setup(struct kr_features *f,
					struct io_uring *ring, unsigned entries,
					struct io_uring_params *params);

/*
 * Log the missing optional rows, or the first missing required one.
 * KR_E_UNSUPPORTED  a required one is missing
 */
KR_NODISCARD enum kr_err kr_probe_judge(const struct kr_features *f);

/*
 * Say why io_uring_setup(2) failed with @errnum, and what to do.
 *
 * @disabled  content of kernel.io_uring_disabled: 0, 1, 2; -1: not readable
 * @release   of uname(2)
 * @buf       of KR_PROBE_TEXT_MAX bytes; returned
 */
const char *kr_probe_explain(int errnum, int disabled, const char *release,
			     char *buf);

#endif
