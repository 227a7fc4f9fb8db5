/*
 * control/locate.h - the metainfo of a blob, asked of whom this host asks: an
 * agent its trackers, a proxy the origins.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_LOCATE_H
#define KR_CONTROL_LOCATE_H

#include "control/origins.h"
#include "control/trackers.h"

/* One question; embedded by its owner, lent until done or canceled. */
struct kr_locate;
typedef void kr_locate_fn(struct kr_locate *l, enum kr_err err,
			  struct kr_bytes metainfo, const char *text);
struct kr_locate { /* private */
	kr_locate_fn *done;
	bool of_trackers;
	union {
		struct kr_trackers_ask trackers;
		struct kr_origins_ask origins;
	} ask;
};

/* Ask @trackers, or where that is NULL @origins.  Errors are those of
 * kr_trackers_metainfo and kr_origins_metainfo; @metainfo and @text are
 * borrowed until done() returns. */
void kr_locate(struct kr_locate *l, struct kr_trackers *trackers,
	       struct kr_origins *origins, const char *ns,
	       const struct kr_digest *d, kr_locate_fn *done);

/* done() will not come. */
void kr_locate_cancel(struct kr_locate *l);

#endif
